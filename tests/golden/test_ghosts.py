"""The queue rule against the true fates of real orders: as good as it was measured to be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.live.cli import app
from engine.research.fidelity_score import Fidelity, score
from engine.research.fill_files import FATE_SCHEMA, PREDICTION_SCHEMA, read_table, read_tape
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
    ("name", "expected", "bias"),
    [("es", 0.932, -0.020), ("es_100ms", 0.919, -0.025), ("aapl", 0.992, -0.001), ("bitstamp", 0.994, -0.002)],
)
def test_ghosts_share_the_fate_of_real_orders(name: str, expected: float, bias: float, tmp_path: Path) -> None:
    every = scored(name, tmp_path / "said.parquet", "--model", "risk_averse").buckets["all"]
    assert (every.mcc, every.bias) == pytest.approx((expected, bias), abs=0.005)


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
