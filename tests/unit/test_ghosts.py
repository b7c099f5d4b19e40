"""``papertape ghosts``: a damaged file is refused or its bad rows are left out; nothing fills out of nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from engine.core.queues.queue_models import MODELS
from engine.live.cli import app
from engine.research.fill_files import (
    GHOST_SCHEMA,
    PREDICTION_SCHEMA,
    TAPE_SCHEMA,
    FillFileError,
    clean_ghosts,
    clean_tape,
    read_table,
)
from engine.research.ghosts import DEFAULT_MODEL, UnknownModel, predict

TAPE = [
    (1, "clear", None, 0, 0, None),
    (1, "level", "bid", 100, 5, None),
    (1, "level", "ask", 102, 5, None),
    (2, "trade", None, 100, 5, "sell"),
    (2, "level", "bid", 100, 0, None),
    (3, "trade", None, 100, 2, "sell"),
]
GHOST = {"order_id": "a", "side": "bid", "price_ticks": 100, "size": 2, "queue_ahead_at_t0": 5, "start_row": 3}


def tape_of(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame([(*row, False) for row in rows], schema=TAPE_SCHEMA, orient="row")


def ghosts_of(*changes: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{**GHOST, "end_row": 99, **change} for change in changes], schema=GHOST_SCHEMA)


def run(folder: Path, tape: pl.DataFrame, probes: pl.DataFrame, *options: str) -> Result:
    tape.write_parquet(folder / "tape.parquet")
    probes.write_parquet(folder / "probes.parquet")
    return again(folder, *options)


def again(folder: Path, *options: str) -> Result:
    names = [str(folder / f"{name}.parquet") for name in ("tape", "probes", "said")]
    return CliRunner().invoke(app, ["ghosts", names[0], names[1], "--out", names[2], *options])


def test_it_writes_a_row_for_each_probe_in_their_order(tmp_path: Path) -> None:
    probes = ghosts_of({"order_id": "late", "start_row": 6}, {"order_id": "a"})
    done = run(tmp_path, tape_of(TAPE), probes, "--json")
    assert json.loads(done.stdout) == {
        "out": str(tmp_path / "said.parquet"), "model": DEFAULT_MODEL, "orders": 2, "filled": 1, "notes": {},
    }  # fmt: skip
    said = read_table(tmp_path / "said.parquet", PREDICTION_SCHEMA, "predictions")
    assert said.select("order_id", "filled_size", "t_first_fill_ns", "p_fill").rows() == [
        ("late", 0, None, 0.0),
        ("a", 2, 3, 0.988),
    ]


def test_wrong_files_are_named_with_what_was_expected(tmp_path: Path) -> None:
    done = again(tmp_path)
    assert done.exit_code == 1 and "found no such file" in done.stderr
    (tmp_path / "tape.parquet").write_text("no parquet")
    done = again(tmp_path)
    assert done.exit_code == 1 and "expected a tape as a parquet file, found one that cannot be read" in done.stderr
    done = run(tmp_path, tape_of(TAPE).drop("side"), ghosts_of({}))
    assert done.exit_code == 1 and "found no side among ts_ns, kind" in done.stderr
    done = run(tmp_path, tape_of(TAPE), ghosts_of({}).with_columns(size=pl.lit("much")))
    assert done.exit_code == 1 and "expected size as Int64, found String" in done.stderr
    done = run(tmp_path, tape_of(TAPE), ghosts_of({}, {}))
    assert done.exit_code == 1 and "expected each order_id once" in done.stderr
    done = run(tmp_path, tape_of(TAPE), ghosts_of({"side": "up"}))
    assert done.exit_code == 1 and "expected side bid or ask, found 'up'" in done.stderr
    done = run(tmp_path, tape_of([(1, "quote", None, 1, 1, None)]), ghosts_of({}))
    assert done.exit_code == 1 and "expected the kinds level, trade, clear, found 'quote'" in done.stderr
    done = run(tmp_path, tape_of(TAPE), ghosts_of({}), "--model", "luck")
    assert done.exit_code == 2 and "expected a model among" in done.stderr
    assert not (tmp_path / "said.parquet").exists()


def test_impossible_rows_are_left_out_and_said(tmp_path: Path) -> None:
    rows = [
        *TAPE[:3],
        (2, "trade", None, 100, 2**60, "sell"),
        (2, "trade", None, 100, -9, "sell"),
        (2, "trade", None, 101, 9, None),
        (1, "level", None, 100, 0, None),
        (2, "level", "bid", 100, -4, None),
    ]
    done = run(tmp_path, tape_of(rows), ghosts_of({}, {"order_id": "b", "size": -1}))
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "note: 3 rows left out, with an impossible price or size",
        "note: 1 rows left out, levels without a side",
        "note: 1 times that went back, held",
        "note: 1 rows left out, trades without a side inside the spread",
        "note: 1 probes that cannot rest",
    ]
    assert pl.read_parquet(tmp_path / "said.parquet")["filled_size"].to_list() == [0, 0]


def test_a_trade_without_a_side_hits_the_side_that_stood_at_its_price() -> None:
    rows = [row if row[1] != "trade" else (*row[:-1], None) for row in TAPE[:4]]
    tape, found = clean_tape(tape_of(rows), "x")
    assert tape["aggressor"][3] == "sell"
    assert found == {"trades without a side, told by the book": 1}


def test_no_row_and_no_time_are_no_tape() -> None:
    with pytest.raises(FillFileError, match="found no row"):
        clean_tape(tape_of([]), "x")
    with pytest.raises(FillFileError, match="a time in every row"):
        clean_tape(tape_of([(None, "clear", None, 0, 0, None)]), "x")
    with pytest.raises(UnknownModel):
        predict(tape_of(TAPE), ghosts_of({}), "luck")


anything = st.one_of(st.none(), st.integers(-(2**62), 2**62), st.integers(95, 105), st.integers(0, 9))


@st.composite
def odd_tapes(draw: st.DrawFn) -> pl.DataFrame:
    row = st.tuples(
        st.integers(-5, 50),
        st.sampled_from(["level", "level", "trade", "trade", "clear", None]),
        st.sampled_from(["bid", "ask", None, "up"]),
        anything,
        anything,
        st.sampled_from(["buy", "sell", None, "?"]),
    )
    return tape_of(draw(st.lists(row, min_size=1, max_size=40)))


@st.composite
def odd_ghosts(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.lists(st.tuples(st.sampled_from(["bid", "ask"]), *[anything] * 5), min_size=1, max_size=6))
    named = [(str(number), *row) for number, row in enumerate(rows)]
    return pl.DataFrame(named, schema=GHOST_SCHEMA, orient="row")


@settings(deadline=None, max_examples=150)
@given(odd_tapes(), odd_ghosts(), st.sampled_from(MODELS))
def test_whatever_the_file_says_no_ghost_gets_more_than_it_asked_and_than_there_was(
    tape: pl.DataFrame, probes: pl.DataFrame, model: str
) -> None:
    clean, _ = clean_tape(tape, "tape")
    whole, _ = clean_ghosts(probes, "probes", clean.height)
    said = predict(clean, whole, model)
    assert said["order_id"].to_list() == probes["order_id"].to_list()
    assert said.schema == PREDICTION_SCHEMA
    there = clean.filter(pl.col("kind").is_in(["trade", "level"])).filter(pl.col("size") <= 2**53)
    most = int(there["size"].sum())
    for filled, first, chance, asked in zip(
        said["filled_size"], said["t_first_fill_ns"], said["p_fill"], whole["size"], strict=True
    ):
        assert 0 <= filled <= min(asked, most)
        assert (first is None) == (filled == 0)
        assert 0.0 <= chance <= 1.0
