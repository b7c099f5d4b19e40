"""``new`` writes what passes as it is; ``conform`` says what does not, and how a wrong word is answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from engine.core.conformance import CardResult
from engine.live import commands_plugins
from engine.live.commands_plugins import SUITES, Kind, Suite, register

ROOT = Path(__file__).resolve().parents[2]


def papertape(*words: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, list(words))


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def scaffold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new plug-in of every kind, written as a user would."""
    folder = tmp_path_factory.mktemp("scaffold")
    for kind in Kind:
        assert papertape("new", kind, f"my-{kind}", "--dir", str(folder)).exit_code == 0
    return folder


def test_new_when_written_then_its_own_tests_pass(scaffold: Path) -> None:
    done = run(scaffold, "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(scaffold), ".")
    assert done.returncode == 0, done.stdout + done.stderr


def test_new_when_written_then_ruff_is_content(scaffold: Path) -> None:
    settings = ("--config", str(ROOT / "pyproject.toml"), "--no-cache", ".")
    for words in (("check", *settings), ("format", "--check", *settings)):
        done = run(scaffold, "ruff", *words)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_new_when_written_then_mypy_is_content(scaffold: Path) -> None:
    done = run(
        scaffold,
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--cache-dir",
        str(scaffold / "cache"),
        *sorted(path.name for path in scaffold.glob("*.py")),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_new_when_asked_for_json_then_it_says_what_to_use(tmp_path: Path) -> None:
    result = papertape("new", "strategy", "other_idea", "--dir", str(tmp_path / "deep"), "--json")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert said["use"] == "other_idea:OtherIdea"
    assert [Path(path).exists() for path in said["files"]] == [True, True]


def test_new_when_the_file_is_there_then_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("kept")
    result = papertape("new", "model", "mine", "--dir", str(tmp_path))
    assert (result.exit_code, "expected new files" in result.output) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]


def test_new_when_the_folder_is_a_file_then_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = papertape("new", "model", "mine", "--dir", str(tmp_path / "file"))
    assert (result.exit_code, "expected a folder" in result.output) == (1, True)


@pytest.mark.parametrize("name", ["My", "1st", "a b", "../up", "a__b", ""])
def test_new_when_the_name_is_no_module_then_usage_error(name: str, tmp_path: Path) -> None:
    assert papertape("new", "venue", name, "--dir", str(tmp_path)).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_conform_when_registered_then_table_and_json_agree() -> None:
    table, line = papertape("conform", "hold"), papertape("conform", "hold", "--json")
    assert (table.exit_code, line.exit_code) == (0, 0)
    said = json.loads(line.stdout)
    assert (said["kind"], said["passed"]) == ("strategy", True)
    assert f"{len(said['cards'])} of {len(said['cards'])} cards passed" in table.stdout


def test_conform_when_a_class_beside_us_then_found(scaffold: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scaffold)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert papertape("conform", "my_strategy:MyStrategy").exit_code == 0
    assert papertape("conform", "my_model:MyModel", "--kind", "model").exit_code == 0
    wrong = papertape("conform", "my_model:MyModel", "--kind", "strategy")
    assert (wrong.exit_code, "expected a class derived from" in wrong.output) == (2, True)


def test_conform_when_the_module_raises_then_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_plugin.py").write_text("raise ValueError('half done')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    result = papertape("conform", "broken_plugin:Broken")
    assert (result.exit_code, "found ValueError: half done" in result.output) == (2, True)


def test_conform_when_a_card_fails_then_one(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = [CardResult("V1", "is true", True), CardResult("V2", "is fair", False, "found it foul")]
    monkeypatch.setattr(commands_plugins, "check", lambda kind, cls: failed)
    result = papertape("conform", "binance-spot")
    assert result.exit_code == 1
    assert "FAIL  V2  is fair: found it foul" in result.stdout and "1 of 2 cards passed" in result.stdout


@pytest.mark.parametrize(
    "target", ["nothing", "no.such:Thing", "engine:Nothing", "engine:", ":x", "engine.core.types:Side"]
)
def test_conform_when_there_is_no_such_thing_then_usage_error(target: str) -> None:
    result = papertape("conform", target)
    assert (result.exit_code, "expected" in result.output) == (2, True)


def test_conform_when_two_kinds_share_a_name_then_it_asks_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, Kind.MODEL, Suite("papertape.strategies", "", ""))
    result = papertape("conform", "hold")
    assert (result.exit_code, "--kind" in result.output) == (2, True)
