"""The queue rule against the true fates of real orders: as good as it was measured to be."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import polars as pl
import pytest

from engine.research.ghosts import main
from tests.data import recordings

GRACE_NS = 1_000_000_000
"""How long after its order's true full fill a ghost may still trade."""


def agreement(probes: pl.DataFrame, predictions: pl.DataFrame) -> tuple[float, float]:
    """Matthews' correlation of filled or not, predicted and true, and the predicted less the true share of fills."""
    both = probes.join(predictions, on="order_id", suffix="_said", validate="1:1")
    deadline = (pl.col("t_full_fill_ns") + GRACE_NS).fill_null(pl.col("t_end_ns")).fill_null(2**62)
    said = both.select((pl.col("t_first_fill_ns_said") <= deadline).fill_null(value=False)).to_series().to_numpy()
    true = both["filled_size"].to_numpy() > 0
    hits, wrong = float((said & true).sum()), float((said & ~true).sum())
    missed, rest = float((~said & true).sum()), float((~said & ~true).sum())
    scale = sqrt((hits + wrong) * (hits + missed) * (rest + wrong) * (rest + missed))
    return (hits * rest - wrong * missed) / scale, (wrong - missed) / len(both)


@pytest.mark.parametrize(
    ("name", "expected", "bias"),
    [("es", 0.932, -0.020), ("es_100ms", 0.919, -0.025), ("aapl", 0.992, -0.001), ("bitstamp", 0.994, -0.002)],
)
def test_ghosts_share_the_fate_of_real_orders(name: str, expected: float, bias: float, tmp_path: Path) -> None:
    folder = recordings() / "fills"
    if not folder.is_dir():
        pytest.skip(f"the orders of known fate are not at {folder}")
    tape, probes = folder / f"{name}.tape.parquet", folder / f"{name}.probes.parquet"
    assert main([str(tape), str(probes), str(tmp_path / "said.parquet")]) == 0
    measured = agreement(pl.read_parquet(probes), pl.read_parquet(tmp_path / "said.parquet"))
    assert measured == pytest.approx((expected, bias), abs=0.005)
