"""The shape of the project: what a newcomer may rely on, held by tests."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import engine
from engine.core.records import AnyFact, Fact
from engine.core.roster import HANDLERS
from engine.core.strategy import Strategy

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("engine", "adapters", "strategies", "tests")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, "split it: 400 lines are the limit"
    if path.name != "__init__.py" or "tests" not in path.parts:
        assert ast.get_docstring(ast.parse(text)), "the first sentence of a file says what it is for"


def test_no_type_is_waived() -> None:
    waived = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"#\s*type:\s*ignore", line)
    ]
    assert waived == []
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert mypy["strict"] is True and "overrides" not in mypy


def test_the_public_names_are_exactly_what_is_exported() -> None:
    assert engine.__all__ == sorted(engine.__all__)
    imported = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse((ROOT / "engine" / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("engine.")
        for alias in node.names
    }
    assert imported == set(engine.__all__)


def test_a_strategy_has_nine_handlers() -> None:
    assert {name for name in vars(Strategy) if name.startswith("on_")} == set(HANDLERS)
    assert len(HANDLERS) == 9


def test_every_fact_is_in_the_union_of_records() -> None:
    def leaves(kind: type[Fact]) -> set[type[Fact]]:
        below = kind.__subclasses__()
        return {kind} if not below else {leaf for one in below for leaf in leaves(one)}

    ours = {leaf for leaf in leaves(Fact) if leaf.__module__.startswith("engine.core.")}
    assert ours == set(AnyFact.__args__)


@pytest.mark.parametrize(
    "folder",
    ["engine", "engine/core", "engine/core/account", "engine/core/desk", "engine/core/honesty", "engine/core/queues",
     "engine/core/venue", "engine/features", "engine/learn", "engine/learn/drift", "engine/learn/ensemble",
     "engine/learn/experts", "engine/learn/foreign", "engine/learn/linear", "engine/learn/networks", "engine/live",
     "engine/live/journal", "engine/live/recovery", "engine/live/registry", "engine/live/blackbox",
     "engine/live/shards", "engine/research", "adapters", "strategies", "deploy", "tests"],
)  # fmt: skip
def test_every_folder_says_what_lives_there(folder: str) -> None:
    assert (ROOT / folder / "README.md").read_text().startswith("# ")


def test_files_named_in_readmes_exist() -> None:
    readmes = [
        ROOT / "README.md",
        *ROOT.glob("*/README.md"),
        *ROOT.glob("engine/*/README.md"),
        *ROOT.glob("engine/core/*/README.md"),
        *ROOT.glob("engine/live/*/README.md"),
    ]
    missing = [
        f"{readme.relative_to(ROOT)}: {link}"
        for readme in readmes
        for link in re.findall(r"\]\(([^)#:]+)\)", readme.read_text())
        if not (readme.parent / link).exists()
    ]
    assert missing == []


def test_import_contracts_hold() -> None:
    done = subprocess.run(["lint-imports"], cwd=ROOT, capture_output=True, text=True, env=_path(), check=False)
    assert done.returncode == 0, done.stdout


def _path() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
