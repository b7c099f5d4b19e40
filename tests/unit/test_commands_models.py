"""``papertape models`` and ``compare`` on a run's folder, and what they say of damage."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from engine.core.records import ModelSwapped, Promoted, Record
from engine.learn.models import Models
from engine.live.cli import app
from engine.live.registry.registry import Registry
from engine.live.registry.shelf import Shelf
from engine.live.registry.store import card_path, content_name, model_path
from tests.learning import INSTRUMENTS, settings
from tests.registry import job, models, short_run, store


def papertape(*words: str | Path) -> Result:
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def told(*words: str | Path) -> Any:
    result = papertape(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    folder = tmp_path_factory.mktemp("run")
    return folder, short_run(folder)


@pytest.fixture
def run(made: tuple[Path, list[Record]], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(made[0] / "models", tmp_path / "models")
    return tmp_path


@pytest.fixture
def versions(run: Path) -> list[str]:
    return [row["version"] for row in told("models", "--run", run) if row["model"] == "net"]


def test_the_list_has_every_swap_and_who_speaks(made: tuple[Path, list[Record]], run: Path) -> None:
    rows = told("models", "--run", run)
    swapped = [one.fact.version for one in made[1] if isinstance(one.fact, ModelSwapped)]
    assert [row["version"] for row in rows if row["model"] == "net"] == swapped and len(swapped) > 2
    assert [row["state"] for row in rows] == ["learns", "learns", *["replaced"] * (len(swapped) - 1), "answers"]
    assert {row["model"]: row["speaks_for"] for row in rows}["flat"] == ["best"], "it was rolled back"
    assert all(row["trigger"] == "schedule" and row["rows"] >= 60 for row in rows if row["version"])
    assert sum(row["labels"] for row in rows if row["model"] == "net") > 100
    shown = papertape("models", "--all", "--run", run)
    assert shown.exit_code == 0 and swapped[-1][:12] in shown.stdout and "learns, speaks for best" in shown.stdout


def test_a_card_tells_what_a_training_was_made_of_and_what_became_of_it(run: Path, versions: list[str]) -> None:
    first, second = (told("models", version[:8], "--run", run) for version in versions[:2])
    card = second["card"]
    assert (card["parent"], card["model"], card["use"], card["trigger"]) == (versions[0], "net", "mlp", "schedule")
    assert card["window"]["rows"] == 110 and card["window"]["last_ns"] < card["requested_ns"]
    assert card["size"] == model_path(run / "models", versions[1]).stat().st_size
    assert card["holdout"].keys() >= {"ic", "rmse", "r2"} and card["seed"] != first["card"]["seed"]
    assert [event["what"] for event in second["life"]] == ["stored", "swapped", "scored"]
    assert second["life"][1]["replaced"] == versions[0] and second["live"]["labels"] == 50
    text = papertape("models", versions[1][:8], "--run", run).stdout
    for words in (
        versions[1],
        versions[0],
        "110 rows",
        "schedule",
        "**swapped** in the place of",
        card["window"]["sha256"],
    ):
        assert words in text


def test_a_model_that_learns_from_each_label_has_a_card_with_who_promoted_it_and_why(
    made: tuple[Path, list[Record]], run: Path
) -> None:
    line = told("models", "line", "--run", run)
    (fact,) = (one.fact for one in made[1] if isinstance(one.fact, Promoted) and one.fact.model == "line")
    entered, came, went, scored = line["life"]
    assert (came["what"], came["over"], came["who"], came["contest"]) == (
        "promoted",
        "flat",
        "papertape promote",
        "best",
    )
    assert (came["labels"], came["wealth"], came["needed"]) == (fact.labels, fact.wealth, 0.0)
    assert (went["what"], went["by_model"], went["who"]) == ("deposed", "flat", "papertape rollback")
    assert scored["labels"] == line["versions"][0]["labels"] > 100
    assert entered["what"] == "entered" and (run / "models" / f"{entered['lineage']}.lineage.json").exists()
    assert line["card"]["contests"] == {"best": "challenger"} and line["card"]["trains"] is False
    assert line["card"]["settings"]["use"] == "clipped-linear" and "engine/learn" in line["card"]["code"]
    text = papertape("models", "line", "--run", run).stdout
    assert "**promoted** in best over flat, by papertape promote: loss" in text


def test_a_run_that_has_just_begun_lists_its_models(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    registry.enter(models())
    registry.enter(models())
    rows = told("models", "--run", tmp_path)
    assert {row["model"]: row["state"] for row in rows} == {"flat": "learns", "line": "learns", "net": "untrained"}
    assert [event.what for event in Shelf(tmp_path / "models").log.events] == ["entered"] * 3
    assert "| answers | none yet |" in papertape("models", "net", "--run", tmp_path).stdout
    assert "found one that learns from each label" in papertape("compare", "net", "net", "--run", tmp_path).stdout


def test_a_lineage_ends_where_settings_or_somebody_elses_code_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, code = tmp_path / "models", tmp_path / "own_models.py"
    source = "from engine.learn.baselines import Zero\nclass Mine(Zero):\n    pass\n"
    code.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for changes in ({}, {}, {"every_ns": 10**9}, {"every_ns": 10**9}):
        Registry(folder).enter(Models(INSTRUMENTS, [settings("own_models:Mine", **changes)]))
    code.write_text(source + "# another\n")
    Registry(folder).enter(Models(INSTRUMENTS, [settings("own_models:Mine", every_ns=10**9)]))
    shelf = Shelf(folder)
    assert [event.what for event in shelf.log.events] == ["entered"] * 3 and len(shelf.lineages) == 3
    last = shelf.lineages[shelf.log.events[-1].more["lineage"]]
    assert shelf.find("m") == last and last.code.keys() >= {"own_models", "engine/learn", "torch"}


def test_two_versions_side_by_side(run: Path, versions: list[str]) -> None:
    found = told("compare", versions[0][:6], "net", "--run", run)
    assert found["b"]["version"] == versions[-1]
    assert {one["key"] for one in found["differs"]} >= {"seed", "parent", "window.rows", "window.sha256"}
    assert {"settings_sha256", "features.sha256", "settings.epochs"} <= set(found["same"])
    tensors = {one["tensor"]: one["relative"] for one in found["weights"]["tensors"]}
    assert tensors["weight.0"] > 0.0 and found["weights"]["only_in_one"] == []
    assert told("compare", "net", versions[-1], "--run", run)["weights"] == {"same": True}
    text = papertape("compare", versions[0][:6], "net", "--run", run).stdout
    assert "| window.rows |" in text and "| weight.0 |" in text


def test_two_models_side_by_side(run: Path) -> None:
    found = told("compare", "flat", "line", "--run", run)
    differs = {one["key"]: (one["a"], one["b"]) for one in found["differs"]}
    assert differs["use"] == ("zero", "clipped-linear") and differs["model"] == ("flat", "line")
    assert "learns from each label" in found["weights"]["why"]
    assert found["a"]["live"]["labels"] > 100 and "features.sha256" in found["same"]
    assert "Not compared" in papertape("compare", "flat", "net", "--run", run).stdout


def test_what_is_asked_for_and_not_there_is_one_line(run: Path, tmp_path: Path) -> None:
    for words in (("models", "zzzz"), ("models", "a"), ("compare", "zzzz", "net"), ("compare", "net", "zzzz")):
        done = papertape(*words, "--run", run)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "flat, line, net, found" in done.stderr
    for words in (("models", "verify"), ("models", "net"), ("compare", "a", "b"), ("models", "--all")):
        done = papertape(*words, "--run", tmp_path / "none")
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1) and "expected the models of a run" in done.stderr
    assert papertape("models", "--mlflow", "x", "--run", run).exit_code == 2
    assert papertape("models", "export", "--run", run).exit_code == 2


def test_digits_that_several_versions_begin_with_are_refused(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    found: dict[str, list[bytes]] = {}
    for number in range(2000):
        found.setdefault(content_name(b"%d" % number)[:4], []).append(b"%d" % number)
    prefix, payloads = next(item for item in found.items() if len(item[1]) > 1)
    for payload in payloads[:2]:
        store(registry, job(), content_name(payload), payload, 0.1)
    done = papertape("models", prefix, "--run", tmp_path)
    assert (
        done.exit_code == 1 and f"found 2 that begin with {prefix}" in done.stderr and "give more digits" in done.stderr
    )
    assert told("models", content_name(payloads[0])[:40], "--run", tmp_path)["card"]["size"] == len(payloads[0])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [cut, flip, Path.unlink])
@pytest.mark.parametrize("which", ["payload", "card", "lineage", "log"])
def test_verify_names_the_file_that_is_not_as_it_was(
    run: Path, versions: list[str], harm: Callable[[Path], None], which: str
) -> None:
    folder = run / "models"
    whole = papertape("models", "verify", "--run", run)
    assert whole.exit_code == 0 and f"{folder}: whole; {len(versions)} payloads" in whole.stdout, whole.stderr
    lineage = Shelf(folder).cards[versions[0]].lineage
    path = {
        "payload": model_path(folder, versions[0]),
        "card": card_path(folder, versions[0]),
        "lineage": folder / f"{lineage}.lineage.json",
        "log": folder / "lives.log",
    }[which]
    harm(path)
    done = papertape("models", "verify", "--run", run)
    verdict = papertape("models", "verify", "--run", run, "--json")
    found = json.loads(verdict.stdout)
    if which == "log" and harm is not flip:  # half a line is no damage; without a log there is nothing to hold on to
        assert (done.exit_code, found["ok"], bool(found["remarks"])) == (0, True, True)
        assert str(path) in done.stdout or "is not in the log" in done.stdout
        return
    assert (done.exit_code, verdict.exit_code, found["ok"]) == (1, 1, False)
    assert str(path) in done.stderr and any(str(path) in problem for problem in found["problems"])
    assert "not whole" in done.stdout
    listed = papertape("models", "--run", run)
    assert listed.exit_code == 0 and "net" in listed.stdout, "what is whole can still be read"


def test_a_damaged_payload_is_neither_compared_nor_replaced_by_what_is_like_it(run: Path, versions: list[str]) -> None:
    path = model_path(run / "models", versions[0])
    payload = path.read_bytes()
    flip(path)
    found = told("compare", versions[0], versions[1], "--run", run)
    assert "it was damaged" in found["weights"]["why"]
    store(Registry(run / "models"), job("net"), versions[0], payload, 0.1)
    assert path.read_bytes() == payload, "the same content made again heals it"


def test_a_payload_of_an_older_papertape_and_one_half_written_are_remarks(run: Path) -> None:
    folder = run / "models"
    model_path(folder, content_name(b"old")).write_bytes(b"old")
    (folder / "x.ptm.part").write_bytes(b"ol")
    found = json.loads(papertape("models", "verify", "--run", run, "--json").stdout)
    assert found["ok"] and len(found["remarks"]) == 2
    Registry(folder).enter(models())
    assert not (folder / "x.ptm.part").exists()


def test_a_missing_parent_is_named(run: Path, versions: list[str]) -> None:
    folder = run / "models"
    for path in (model_path(folder, versions[0]), card_path(folder, versions[0])):
        path.unlink()
    done = papertape("models", "verify", "--run", run)
    assert (
        f"{card_path(folder, versions[0])}: expected the card of the parent of {versions[1]}, found none" in done.stderr
    )


def test_a_start_takes_up_where_the_log_ends(run: Path, versions: list[str]) -> None:
    """A session that recovered without the fact of a swap says which version it found at work."""
    again = models()
    again.slot("net").version = "c" * 64
    before = Shelf(run / "models").log.events
    registry = Registry(run / "models")
    registry.enter(again, [Record(max(event.seq for event in before), 5, ModelSwapped("net", versions[-1]))])
    events = Shelf(run / "models").log.events
    assert events[: len(before)] == before
    assert [(event.what, event.version) for event in events[len(before) :]] == [("found", "c" * 64)]
    assert Shelf(run / "models").answering("net") == "c" * 64


def test_an_export_without_mlflow_names_what_to_install(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    done = papertape("models", "export", "--mlflow", run / "store", "--run", run)
    assert done.exit_code == 1 and "pip install 'papertape[mlflow]'" in done.stderr


class FakeStore:
    """What a client of MLflow is told, instead of MLflow; held against the real package by hand."""

    def __init__(self, tracking_uri: str) -> None:
        self.uri = tracking_uri
        self.runs: list[dict[str, Any]] = []

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return name

    def search_runs(self, experiments: list[str], filter_string: str, max_results: int) -> list[dict[str, Any]]:
        version = filter_string.removeprefix("tags.`papertape.version` = '").removesuffix("'")
        return [run for run in self.runs if run["tags"]["papertape.version"] == version]

    def create_run(self, experiment: str, start_time: int, tags: dict[str, str]) -> Any:
        empty: dict[str, Any] = {"parameters": {}, "metrics": {}, "artifacts": {}}
        self.runs.append({"experiment": experiment, "start_ms": start_time, "tags": tags, **empty})
        return SimpleNamespace(info=SimpleNamespace(run_id=len(self.runs) - 1))

    def log_param(self, run: int, name: str, value: str) -> None:
        self.runs[run]["parameters"][name] = value

    def log_metric(self, run: int, name: str, value: float, timestamp: int) -> None:
        self.runs[run]["metrics"][name] = value

    def log_artifact(self, run: int, path: str) -> None:
        self.runs[run]["artifacts"][Path(path).name] = Path(path).read_bytes()

    def set_terminated(self, run: int, end_time: int) -> None:
        self.runs[run]["end_ms"] = end_time


def test_an_export_tells_mlflow_all_of_a_card_once(
    run: Path, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refuses(Exception):
        pass

    stores: list[FakeStore] = []

    def client(tracking_uri: str) -> FakeStore:
        stores[:] = stores or [FakeStore(tracking_uri)]
        return stores[0]

    fake = SimpleNamespace(MlflowClient=client, exceptions=SimpleNamespace(MlflowException=Refuses))
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    out = run / "store"
    assert told("models", "export", "--mlflow", out, "--run", run) == {
        "uri": out.as_uri(),
        "runs": len(versions),
        "there": 0,
    }
    assert told("models", "export", "--mlflow", out, "--run", run)["there"] == len(versions)
    (store,) = stores
    assert [one["tags"]["papertape.version"] for one in store.runs] == versions
    first = store.runs[0]
    payload = model_path(run / "models", versions[0]).read_bytes()
    assert first["artifacts"][f"{versions[0]}.ptm"] == payload
    assert first["artifacts"].keys() >= {"card.json", "card.md", "weights.safetensors", "graph.onnx"}
    assert first["parameters"]["settings.epochs"] == "2" and first["parameters"]["window.rows"] == "60"
    assert first["metrics"]["live.labels"] == 50.0 and "holdout.ic" in first["metrics"]
    assert (first["experiment"], first["end_ms"] - first["start_ms"]) == ("papertape net", 500)
