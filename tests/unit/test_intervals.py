"""Block bootstrap intervals: they cover as often as they say, and equal what a plain loop over the blocks gives."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from engine.learn.estimates import LEAST_BLOCKS, pearson, ranks, student
from engine.research.intervals import Scored, bootstrap_scores

HORIZON = 10

Floats = npt.NDArray[np.float64]


def overlapping(seed: int, rows: int, signal: float, memory: float = 0.9) -> tuple[Floats, Floats]:
    """A slow feature and the sum of the next ten steps of a walk that it drives a little."""
    chance = np.random.default_rng(seed)
    feature = np.zeros(rows)
    pushes = chance.normal(size=rows) * math.sqrt(1.0 - memory**2)
    feature[0] = chance.normal()
    for i in range(1, rows):
        feature[i] = memory * feature[i - 1] + pushes[i]
    steps = chance.normal(size=rows + HORIZON)
    steps[:rows] += signal * feature
    path = np.concatenate(([0.0], np.cumsum(steps)))
    return feature, path[HORIZON : HORIZON + rows] - path[:rows]


@pytest.mark.parametrize("signal", [0.0, 0.1])
def test_the_interval_covers_the_truth_where_one_for_independent_rows_does_not(signal: float) -> None:
    feature, label = overlapping(10**6, 200_000, signal)
    truth = pearson(feature, label)
    covered = naive = 0
    for seed in range(200):
        feature, label = overlapping(seed, 2000, signal)
        found = bootstrap_scores(feature, label, block_rows=5 * HORIZON, resamples=200, seed=seed)
        covered += found.ic_lo <= truth <= found.ic_hi
        naive += abs(found.ic - truth) < 1.96 * (1.0 - found.ic**2) / math.sqrt(found.n)
    assert covered >= 0.88 * 200  # measured .915 and .92
    assert naive <= 0.60 * 200  # measured .46 and .50


def test_it_is_what_a_plain_loop_over_the_same_blocks_gives() -> None:
    feature, label = overlapping(3, 120, 0.3)
    found = bootstrap_scores(feature, label, block_rows=20, resamples=40, seed=7)
    starts = np.random.default_rng(7).integers(0, 120, (40, 6))
    ics, r2s = [], []
    for row in starts:
        at = (row[:, None] + np.arange(20)).ravel() % 120
        ics.append(math.atanh(np.corrcoef(feature[at], label[at])[0, 1]))
        r2s.append(100.0 - 100.0 * np.sum((label[at] - feature[at]) ** 2) / np.sum(label[at] ** 2))
    widening = student(5) / 1.959963984540054
    centre = math.atanh(found.ic)
    expected = np.tanh(centre + (np.quantile(ics, (0.025, 0.975)) - centre) * widening)
    assert np.allclose((found.ic_lo, found.ic_hi), expected)
    expected = found.r2_pct + (np.quantile(r2s, (0.025, 0.975)) - found.r2_pct) * widening
    assert np.allclose((found.r2_lo, found.r2_hi), expected)


def test_units_and_a_far_off_mean_change_nothing_and_the_seed_alone_decides() -> None:
    feature, label = overlapping(5, 3000, 0.2)
    one = bootstrap_scores(feature, label, 50, 100, seed=1)
    assert one == bootstrap_scores(feature, label, 50, 100, seed=1)
    assert one != bootstrap_scores(feature, label, 50, 100, seed=2)
    other = bootstrap_scores(1e9 + feature, 1e-6 * label, 50, 100, seed=1)
    assert np.allclose((one.ic, one.ic_lo, one.ic_hi), (other.ic, other.ic_lo, other.ic_hi), atol=1e-6)
    assert one.spearman == pytest.approx(other.spearman, abs=1e-6)


def test_what_cannot_be_told_is_nan_and_holes_are_left_out() -> None:
    feature, label = overlapping(6, 500, 0.2)
    holed = feature.copy()
    holed[::7] = np.nan
    found = bootstrap_scores(holed, label, 20)
    kept = np.isfinite(holed)
    assert found == bootstrap_scores(feature[kept], label[kept], 20) and found.n == int(kept.sum())
    still = bootstrap_scores(np.zeros(500), label, 20)
    assert math.isnan(still.ic) and math.isnan(still.ic_lo) and math.isnan(still.hit) and still.r2_pct == 0.0
    few = bootstrap_scores(feature[: 20 * LEAST_BLOCKS - 15], label[: 20 * LEAST_BLOCKS - 15], 20)
    assert math.isnan(few.ic_lo) and math.isnan(few.r2_hi) and math.isfinite(few.ic)
    nothing = bootstrap_scores([], [], 20)
    assert nothing.n == 0 and all(math.isnan(value) for value in nothing[:-1])
    assert isinstance(nothing, Scored)


@pytest.mark.parametrize(
    ("prediction", "label", "block", "resamples"),
    [([1.0], [1.0, 2.0], 5, 100), ([1.0], [1.0], 0, 100), ([1.0], [1.0], 5, 1), ([[1.0]], [[1.0]], 5, 100)],
)
def test_what_cannot_be_is_refused(prediction: list[float], label: list[float], block: int, resamples: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        bootstrap_scores(prediction, label, block, resamples)


def test_ranks_share_ties_and_the_rank_correlation_sees_no_outlier() -> None:
    chance = np.random.default_rng(8)
    values = chance.integers(0, 20, 300).astype(float)
    slow = [1.0 + np.sum(values < one) + (np.sum(values == one) - 1) / 2.0 for one in values]
    assert ranks(values).tolist() == slow
    x = chance.normal(size=400)
    y = x.copy()
    y[0] = -1e9
    found = bootstrap_scores(x, y, 20)
    assert found.spearman > 0.97 and abs(found.ic) < 0.2


def test_students_quantile_is_the_tables() -> None:
    for freedom, quantile in ((5, 2.571), (10, 2.228), (30, 2.042), (1000, 1.962)):
        assert student(freedom) == pytest.approx(quantile, abs=2e-3)
