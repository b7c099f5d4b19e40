"""The queue rule against the true fates of real orders: as good as it was measured to be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from engine.live.cli import app
from engine.research.fidelity_score import Fidelity, score
from engine.research.fill_files import FATE_SCHEMA, PREDICTION_SCHEMA, read_table, read_tape
from engine.research.ghosts import DEFAULT_MODEL, predict
from tests.data import recordings


def files(name: str) -> tuple[Path, Path]:
    folder = recordings() / "fills"
    if not folder.is_dir():
        pytest.skip(f"the orders of known fate are not at {folder}")
    return folder / f"{name}.tape.parquet", folder / f"{name}.probes.parquet"


def scored(name: str, out: Path, *options: str) -> Fidelity:
    tape, probes = files(name)
    done = CliRunner().invoke(app, ["ghosts", str(tape), str(probes), "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    said = read_table(out, PREDICTION_SCHEMA, "predictions")
    return score(read_table(probes, FATE_SCHEMA, "probes"), said, read_tape(tape)[0])


@pytest.mark.parametrize(
    ("model", "name", "mcc", "bias", "edge", "brier"),
    [
        # The default's targets: MCC .962 and bias within .005 on ES, .93 at 100 ms, .996 and .985 on the thin books.
        ("fitted", "es", 0.967, 0.002, 0.016, 0.008),
        ("fitted", "es_100ms", 0.954, -0.007, -0.013, 0.007),
        ("fitted", "aapl", 0.998, 0.0, -0.002, 0.0),
        ("fitted", "bitstamp", 1.0, 0.0, 0.0, 0.0),
        ("risk_averse", "es", 0.945, -0.015, -0.049, 0.005),
        ("power2", "es", 0.963, 0.005, 0.032, 0.034),
        ("print", "es", 0.739, 0.129, 0.307, 0.138),
    ],
)
def test_ghosts_share_the_fate_of_real_orders(
    model: str, name: str, mcc: float, bias: float, edge: float, brier: float, tmp_path: Path
) -> None:
    every = scored(name, tmp_path / "said.parquet", "--model", model).buckets["all"]
    found = (every.mcc, every.bias, every.edge, every.brier)
    assert found == pytest.approx((mcc, bias, edge, brier), abs=0.003)


def test_grades_are_true(tmp_path: Path) -> None:
    fills = []
    for name in ("es", "es_100ms", "aapl", "bitstamp"):
        tape, probes = (pl.read_parquet(file) for file in files(name))
        said = predict(tape, probes).join(probes.select("order_id", real="filled_size"), on="order_id")
        fills.append(said.filter(pl.col("filled_size") > 0).with_columns(pl.col("real") > 0))
    grades = pl.concat(fills).group_by("grade").agg(share=pl.len(), happened=pl.col("real").mean())
    found = {grade: (count / sum(map(len, fills)), true) for grade, count, true in grades.iter_rows()}
    assert found == {
        "certain": (pytest.approx(0.82, abs=0.02), pytest.approx(0.9998, abs=0.0002)),
        "likely": (pytest.approx(0.11, abs=0.02), pytest.approx(0.989, abs=0.005)),
        "ambiguous": (pytest.approx(0.07, abs=0.02), pytest.approx(0.72, abs=0.05)),
    }


@pytest.mark.parametrize("name", ["es", "es_100ms", "aapl", "bitstamp"])
def test_no_fill_is_later_than_the_pessimist_or_sooner_than_the_optimist(name: str) -> None:
    tape, probes = (pl.read_parquet(file) for file in files(name))
    back, said, front = (predict(tape, probes, model) for model in ("back", DEFAULT_MODEL, "front"))
    for lower, higher in ((back, said), (said, front)):
        assert (lower["filled_size"] <= higher["filled_size"]).all()
        has = lower["filled_size"] > 0
        assert (higher["t_first_fill_ns"] <= lower["t_first_fill_ns"]).filter(has).all()


@pytest.mark.parametrize("name", ["es", "es_100ms", "aapl", "bitstamp"])
def test_the_scores_are_those_of_the_scorer_that_others_use(name: str, tmp_path: Path) -> None:
    tape, probes = files(name)
    scorer = recordings().parent / "tools" / "score_fills.py"
    if not scorer.is_file():
        pytest.skip(f"the other scorer is not at {scorer}")
    out = tmp_path / "said.parquet"
    ours = scored(name, out)
    command = [sys.executable, str(scorer), str(probes), str(out), "--tape", str(tape), "--json"]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert ours.missing == theirs.pop("missing")
    assert list(ours.buckets) == list(theirs)
    for bucket, figures in theirs.items():
        one = ours.buckets[bucket]
        low, high = figures.pop("mcc_ci")
        expected = {**figures, "low": low, "high": high}
        found = {
            **{key: getattr(one, key) for key in ("n", "true_rate", "bias", "precision", "recall", "mcc", "brier")},
            "pred_rate": one.said_rate,
            "median_time_error_ms": one.time_error_ms,
            "volume_ratio": one.volume,
            "edge_1s_paper_minus_real_ticks": one.edge,
            "low": one.mcc_low,
            "high": one.mcc_high,
        }
        assert found == pytest.approx(expected, abs=1e-9), bucket
