"""``papertape validate``: the live learners over a tape, scored before they learn, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from engine.live import commands_validate
from engine.research.import_tape import Format, import_tape
from engine.research.loading import ReplayError
from engine.research.validate import BASELINES, PRIMARY, Row, validate

DAY_S = 1_625_097_600
SECOND_NS = 1_000_000_000
KEYS = {"symbol", "horizon", "model", "n", "ic", "ic_lo", "ic_hi", "spearman", "r2_pct", "hit", "us_per_sample"}


def tape(folder: Path, seconds: int = 1200, first_s: int = DAY_S, seed: int = 1, name: str = "a") -> Path:
    """A market whose next move leans with its queue imbalance, half signal and half noise."""
    rng = np.random.default_rng(seed)
    source = folder / name
    source.mkdir()
    stem = "gemini__eth-usd__2021-07-01__"
    books, trades = ["time_seconds,bid_price_bid_size,ask_price_ask_size"], ["time_seconds,price,size,is_buyer_maker"]
    bid = 200_000
    for second in range(seconds):
        imbalance = rng.uniform(-0.9, 0.9)
        bids, asks = 10.0 * (1 + imbalance), 10.0 * (1 - imbalance)
        at = first_s + second
        price = f"{bid / 100:.2f}"
        books.append(f"{at},{price}_{bids:.4f},{(bid + 10) / 100:.2f}_{asks:.4f}")
        trades.append(f"{at}.500,{price},{rng.uniform(0.1, 2):.4f},{int(rng.random() < 0.5)}")
        bid += round(20 * imbalance + rng.normal(0, 10))
    (source / f"{stem}market-depth.csv").write_text("\n".join(books) + "\n")
    (source / f"{stem}trade.csv").write_text("\n".join(trades) + "\n")
    out = folder / f"{name}.ptz"
    import_tape(Format.CCAPI, [source], out)
    return out


def one(rows: list[Row], model: str, horizon: str = "1s") -> Row:
    (found,) = [row for row in rows if (row.model, row.horizon) == (model, horizon)]
    return found


def command(*words: object) -> Result:
    app = typer.Typer()
    commands_validate.register(app)
    app.command()(lambda: None)  # a second command, so that the first is called by its name
    return CliRunner().invoke(app, ["validate", *map(str, words)])


def test_a_planted_signal_when_validated_then_primary_has_found_it_and_baselines_stand_beside(tmp_path: Path) -> None:
    found = validate([tape(tmp_path)], horizons_ns=[SECOND_NS], every_ns=SECOND_NS, models=["clipped-linear"])
    assert [row.model for row in found.rows] == [*BASELINES, "clipped-linear", PRIMARY]
    primary, zero = one(found.rows, PRIMARY), one(found.rows, "zero")
    assert primary.ic is not None and primary.ic_lo is not None and primary.ic > 0.6 and primary.ic_lo > 0.5
    assert primary.r2_pct is not None and primary.r2_pct > 35
    assert (zero.ic, zero.r2_pct) == (None, 0.0)
    p, y = found.pairs["gemini:ETHUSD", "1s", PRIMARY]
    assert primary.n == len(p) and primary.ic == pytest.approx(np.corrcoef(p, y)[0, 1], abs=1e-5)


def test_the_same_tape_when_validated_twice_then_scores_and_digest_are_the_same(tmp_path: Path) -> None:
    recording = tape(tmp_path, seconds=300)
    runs = [validate([recording], horizons_ns=[SECOND_NS], every_ns=SECOND_NS, models=["mlp"]) for _ in range(2)]
    assert runs[0].digest == runs[1].digest
    for key, (p, y) in runs[0].pairs.items():
        assert p.tobytes() == runs[1].pairs[key][0].tobytes()
        assert y.tobytes() == runs[1].pairs[key][1].tobytes()


def test_an_earlier_tape_when_it_warms_then_the_first_predictions_know_of_it(tmp_path: Path) -> None:
    before, now = tape(tmp_path), tape(tmp_path, 200, DAY_S + 7200, seed=2, name="b")
    cold = validate([now], horizons_ns=[SECOND_NS], every_ns=SECOND_NS, models=[])
    warm = validate([now], warm=[before], horizons_ns=[SECOND_NS], every_ns=SECOND_NS, models=[])
    cold_r2, warm_r2 = one(cold.rows, PRIMARY).r2_pct, one(warm.rows, PRIMARY).r2_pct
    assert cold_r2 is not None and warm_r2 is not None and warm_r2 > cold_r2
    assert one(warm.rows, PRIMARY).n == one(cold.rows, PRIMARY).n + 30  # it speaks at once


def test_a_later_tape_when_it_should_warm_then_it_is_refused(tmp_path: Path) -> None:
    now, later = tape(tmp_path, 60), tape(tmp_path, 60, DAY_S + 30, name="b")
    with pytest.raises(ReplayError, match="expected a tape that ends before"):
        validate([now], warm=[later], horizons_ns=[SECOND_NS], every_ns=SECOND_NS, models=[])


def test_the_command_when_asked_for_json_then_one_line_has_the_promised_keys(tmp_path: Path) -> None:
    result = command(tape(tmp_path, 120), "--horizons", "1s,2s", "--every", "1s", "--models", "primary", "--json")
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    rows = json.loads(line)["rows"]
    assert len(rows) == 2 * (len(BASELINES) + 1)
    assert all(row.keys() >= KEYS for row in rows)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--horizons", "soon"], 2, "expected a duration with a unit"),
        (["--every", "0s"], 2, "expected durations above 0"),
        (["--models", "oracle"], 2, "expected one of"),
    ],
)
def test_the_command_when_misused_then_one_clear_line(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    result = command(tape(tmp_path, 30), *words)
    assert result.exit_code == code
    assert said in " ".join(result.output.split())


def test_the_command_when_told_where_then_every_prediction_is_there(tmp_path: Path) -> None:
    out = tmp_path / "pairs.parquet"
    words = ("--horizons", "1s", "--every", "1s", "--models", "primary", "--out", out, "--json")
    rows = json.loads(command(tape(tmp_path, 120), *words).stdout)["rows"]
    counts = pl.read_parquet(out).group_by("model").len().rows()
    assert dict(counts) == {row["model"]: row["n"] for row in rows}
