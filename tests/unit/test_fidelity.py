"""``papertape fidelity``: the whole way from orders to a table, a choice and a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner

from engine.live.cli import app
from engine.research.fidelity import BY_IDS, Row, choose
from engine.research.fidelity_score import Bin, Fidelity, Score
from engine.research.ghosts import MODELS
from engine.research.level3 import haunted
from engine.research.market_orders import market_orders

SCORE = Score(10, 0.3, 0.3, 0.0, 1.0, 1.0, 0.9, 0.8, 1.0, 0.01, 0.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("orders") / "sim.orders.parquet"
    market_orders(seed=3, seconds=20).write_parquet(path)
    return path


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(app, ["fidelity", *map(str, words)])


def test_an_order_tape_becomes_scores_a_choice_and_a_page(orders: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(orders, "--feed", "0,1s", "--warm-up", "1s", "--out", out, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert [(one["feed_ns"], one["model"]) for one in said["scores"]] == [
        *((0, model) for model in MODELS),
        *((10**9, model) for model in MODELS),
        (0, BY_IDS),
    ]
    by_ids = next(one for one in said["scores"] if one["model"] == BY_IDS)["fidelity"]["buckets"]["all"]
    assert by_ids["mcc"] == 1.0 and by_ids["n"] == said["sources"][0]["orders"] > 200
    assert [one["feed_ns"] for one in said["choices"]] == [0, 10**9]
    assert {path.name for path in out.iterdir()} == {
        "fidelity.html", "fidelity.parquet", "reliability.parquet", "grades.parquet",
        "sim.tape.parquet", "sim.probes.parquet",
    }  # fmt: skip
    page = (out / "fidelity.html").read_text()
    assert page.count("<svg") == 6 and "MCC by feed speed" in page and "<script" not in page and "http" not in page
    table = pl.read_parquet(out / "fidelity.parquet")
    assert set(table["model"]) == {*MODELS, BY_IDS} and "at best" in table["bucket"]
    again = run(out / "sim.tape.parquet", "--probes", out / "sim.probes.parquet", "--feed", "0,1s", "--json")
    assert json.loads(again.stdout)["scores"] == said["scores"]
    said_alone = CliRunner().invoke(
        app, ["ghosts", *(str(out / f"sim.{what}.parquet") for what in ("tape", "probes")), "--out", str(out / "p")]
    )
    assert said_alone.exit_code == 0


def test_it_prints_a_table_for_people() -> None:
    done = run("--market", "3", "--seconds", "30", "--models", MODELS[0], "--orders", "12")
    assert done.exit_code == 0, done.output
    assert "orders placed for real" in done.stdout and "passive at touch" in done.stdout
    assert "market-3, levels every change" in done.stdout
    assert f"levels every change: use {MODELS[0]}, MCC" in done.stdout


def test_what_cannot_be_measured_is_said_in_one_line(orders: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    tape = tmp_path / "tape.parquet"
    haunted(pl.read_parquet(orders)).tape.write_parquet(tape)
    for words, code, expected in (
        ((), 2, "expected a tape, or --market SEED"),
        ((orders, "--orders", "5"), 2, "expected --market SEED with --orders"),
        ((orders, "--feed", "soon"), 2, "--feed: expected a duration with a unit"),
        ((orders, "--probes", orders, "--probes", orders), 2, "expected --probes for each of 1 tapes, found 2"),
        ((orders, "--models", "luck"), 2, "expected a model among"),
        ((text,), 1, "expected an order tape (parquet) or a Bitstamp log, found neither"),
        ((tmp_path / "none",), 1, "found no such file"),
        ((tape,), 1, "found a tape of levels: give its --probes"),
        ((orders, "--out", text), 1, "expected a place to write to"),
        ((orders, "--warm-up", "1h"), 1, "expected orders near the touch to put ghosts before, found none"),
    ):
        done = run(*words)
        assert (done.exit_code, len(done.stderr.splitlines())) == (code, 1), done.output
        assert expected in done.stderr


def test_the_choice_is_the_best_on_average_and_of_equals_the_less_biased() -> None:
    def row(model: str, mcc: float, bias: float, feed_ns: int = 0) -> Row:
        every = msgspec.structs.replace(SCORE, mcc=mcc, mcc_low=mcc - 0.01, mcc_high=mcc + 0.01, bias=bias)
        return Row("s", feed_ns, model, Fidelity(0, {"all": every}, [Bin(0, 1, 1, 0.5, 0.5)], []))

    rows = [row("a", 0.90, 0.0), row("b", 0.95, 0.02), row("c", 0.95, -0.01), row(BY_IDS, 1.0, 0.0)]
    rows += [row("a", 0.80, 0.0, 10), row("b", 0.70, 0.0, 10)]
    found = choose(rows)
    assert [(one.feed_ns, one.model, one.alike) for one in found] == [(0, "c", ["b"]), (10, "a", [])]
