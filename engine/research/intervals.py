"""Scores of time-ordered predictions with intervals that know that neighbouring labels say the same thing.

Labels over a horizon overlap and features move slowly, so rows are no independent draws: an interval that takes them
for that is several times too narrow. Here whole blocks of rows are drawn with replacement (the circular block bootstrap
of Politis and Romano, 1992, after the moving blocks of Künsch, 1989): rows that depend on each other stay together.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.learn.estimates import LEAST_BLOCKS, NORMAL, Floats, pearson, ranks, student

_CHUNK = 1 << 20  # blocks drawn at once: 8 MB


class Scored(NamedTuple):
    """Scores of ``n`` pairs with 95 % intervals; nan is what cannot be told. ``r2_pct``: 100 is perfect, 0 is no better
    than always saying 0."""

    ic: float
    ic_lo: float
    ic_hi: float
    r2_pct: float
    r2_lo: float
    r2_hi: float
    spearman: float
    hit: float
    n: int


def bootstrap_scores(
    prediction: npt.ArrayLike, label: npt.ArrayLike, block_rows: int, resamples: int = 500, seed: int = 0
) -> Scored:
    """Correlation, rank correlation, R² against always saying 0 and hit rate, with block bootstrap intervals.

    ``prediction`` and ``label`` are in one unit (bps) and in the order of time; rows where either is not finite are
    left out. ``block_rows`` should span several horizons, and what the features remember. The interval is the
    percentile interval, widened as Student's t is for so many blocks; nan for fewer
    than ``LEAST_BLOCKS``.

    Raises:
        ValueError: arrays of other lengths, or a block or a number of resamples that cannot be.

    >>> rng = np.random.default_rng(1)
    >>> truth = rng.normal(size=4000)
    >>> one = bootstrap_scores(0.25 * truth, truth + rng.normal(size=4000), block_rows=50)
    >>> one.ic_lo < 0.7071 < one.ic_hi, one.n, round(one.r2_pct)
    (True, 4000, 22)
    >>> bootstrap_scores([1.0, 2.0], [2.0, 1.0], block_rows=50)
    Scored(ic=-1.0, ic_lo=nan, ic_hi=nan, r2_pct=60.0, r2_lo=nan, r2_hi=nan, spearman=-1.0, hit=1.0, n=2)
    """
    p, y = np.asarray(prediction, np.float64), np.asarray(label, np.float64)
    if p.ndim != 1 or p.shape != y.shape:
        raise ValueError(f"expected two flat arrays of one length, found shapes {p.shape} and {y.shape}")
    if block_rows < 1 or resamples < 20:
        raise ValueError(
            f"expected block_rows of at least 1 and at least 20 resamples, found {block_rows} and {resamples}"
        )
    whole = np.isfinite(p) & np.isfinite(y)
    p, y = p[whole], y[whole]
    n = len(p)
    if not n:
        return Scored(*(math.nan,) * 8, 0)
    columns = _statistics(p, y)
    ic, r2 = _scores(columns.sum(axis=0)[None, :])
    ic_lo = ic_hi = r2_lo = r2_hi = math.nan
    blocks = round(n / block_rows)
    if blocks >= LEAST_BLOCKS:
        sums = _block_sums(columns, block_rows)
        ics, r2s = _resample(sums, blocks, resamples, seed)
        widening = student(blocks - 1) / NORMAL
        ic_lo, ic_hi = np.tanh(_interval(np.arctanh(_inside(ics)), float(np.arctanh(_inside(ic)[0])), widening))
        r2_lo, r2_hi = _interval(r2s, float(r2[0]), widening)
    called = (p != 0.0) & (y != 0.0)
    hit = float(np.mean((p[called] > 0.0) == (y[called] > 0.0))) if called.any() else math.nan
    rank_ic = pearson(ranks(p), ranks(y))
    return Scored(float(ic[0]), float(ic_lo), float(ic_hi), float(r2[0]), float(r2_lo), float(r2_hi), rank_ic, hit, n)


def _statistics(p: Floats, y: Floats) -> Floats:
    """A row for each pair, of what sums to moments; values are brought to mean 0 and size 1: nothing cancels."""
    a, b = p - p.mean(), y - y.mean()
    a /= float(np.sqrt(np.mean(a * a))) or 1.0
    b /= float(np.sqrt(np.mean(b * b))) or 1.0
    size = float(np.sqrt(np.mean(y * y))) or 1.0
    return np.column_stack((np.ones(len(p)), a, b, a * a, b * b, a * b, ((y - p) / size) ** 2, (y / size) ** 2))


def _scores(sums: Floats) -> tuple[Floats, Floats]:
    """Correlation, and R² against 0 in percent, a row of summed statistics each; nan where they do not exist."""
    n, a, b, aa, bb, ab, error, truth = sums.T
    spread = np.maximum(aa - a * a / n, 0.0) * np.maximum(bb - b * b / n, 0.0)
    tiny = (n * 1e-12) ** 2
    ic = np.divide(ab - a * b / n, np.sqrt(spread), out=np.full(len(n), np.nan), where=spread > tiny)
    r2 = 100.0 - 100.0 * np.divide(error, truth, out=np.full(len(n), np.nan), where=truth > 0.0)
    return np.clip(ic, -1.0, 1.0), r2


def _block_sums(columns: Floats, block_rows: int) -> Floats:
    """The sums over every block of so many rows, wrapped around at the end: one block a starting row."""
    around = np.concatenate((columns, columns[: block_rows - 1]))
    prefix = np.concatenate((np.zeros((1, columns.shape[1])), np.cumsum(around, axis=0)))
    return np.ascontiguousarray(prefix[block_rows:] - prefix[:-block_rows])


def _resample(sums: Floats, blocks: int, resamples: int, seed: int) -> tuple[Floats, Floats]:
    chance = np.random.default_rng(seed)
    step = max(1, _CHUNK // blocks)
    totals = np.zeros((resamples, sums.shape[1]))
    for done in range(0, resamples, step):
        drawn = chance.integers(0, len(sums), (min(step, resamples - done), blocks))
        _add_up(sums, drawn, totals[done : done + step])
    return _scores(totals)


@kernel
def _add_up(sums: Floats, drawn: npt.NDArray[np.int64], totals: Floats) -> None:
    """Add to each row of ``totals`` the block sums drawn for it."""
    for i in range(drawn.shape[0]):
        for j in range(drawn.shape[1]):
            for k in range(sums.shape[1]):
                totals[i, k] += sums[drawn[i, j], k]


def _inside(ic: Floats) -> Floats:
    """Kept off ±1, where Fisher's transform has no value."""
    return np.clip(ic, -1.0 + 1e-12, 1.0 - 1e-12)


def _interval(drawn: Floats, centre: float, widening: float) -> Floats:
    known = drawn[np.isfinite(drawn)]
    if len(known) < len(drawn) // 2 or not math.isfinite(centre):
        return np.full(2, np.nan)
    return centre + (np.quantile(known, (0.025, 0.975)) - centre) * widening
