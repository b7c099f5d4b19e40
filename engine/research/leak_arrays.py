"""Leaks that show in arrays alone: only what no market allows is told, as a strong signal is no leak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.learn.estimates import Floats, pearson
from engine.research.leak_found import Leak

LAGS: Final = 32
"""How many rows a filter may look ahead to be found."""

TOLD: Final = 0.8
"""Share of the next move's variance, out of sample, that no honest feature tells: returns are not that predictable."""

JUMP: Final = 0.8
"""By how much a correlation may fall when the label starts one row later."""

SHIFTS: Final = (-8, -4, -2, -1, 0, 1, 2, 4, 8, 16)

LEAST_ROWS: Final = 400


def shifts(x: Floats, y: Floats) -> dict[int, float]:
    """The correlation of a feature with the label by how many rows older it is; below 0 it is newer than it was.

    Honest features fall smoothly to the right. To the left they see part of the label and rise.

    >>> y = np.random.default_rng(2).normal(size=1000)
    >>> [round(value, 1) for value in shifts(np.roll(y, 2), y).values()]
    [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    n = len(y)
    return {
        shift: pearson(x[max(0, -shift) : n - max(0, shift)], y[max(0, shift) : n - max(0, -shift)])
        for shift in SHIFTS
        if abs(shift) < n // 2
    }


def jumps(x: Floats, moves: Floats, names: Sequence[str]) -> list[Leak]:
    """Features whose correlation with the next move is gone one row later: they know the move and nothing else."""
    found = []
    for column, name in enumerate(names):
        now = abs(pearson(x[:-1, column], moves[:-1]))
        later = abs(pearson(x[:-1, column], moves[1:]))
        if now - later > JUMP:
            text = f"{name} correlates {now:.2f} with the next move and {later:.2f} with the one after it"
            found.append(Leak("shift", name, now - later, f"{text}: the label begins before the feature was known"))
    return found


def reconstructed(x: Floats, moves: Floats, names: Sequence[str], lags: int = LAGS) -> list[Leak]:
    """Features from which, with their older rows and past moves, the next move follows.

    A filter that has seen k moves ahead is a sum in which the next move stands k rows ago already: a regression takes
    it out again, whatever the filter's weights (centred means, wavelets). Fitted on the first half of the rows, scored
    on the second. ``moves[t]`` is the move from row t to t + 1, which no feature of row t can know.
    """
    known = np.isfinite(moves)
    n, deep = len(moves), 2 * lags
    if n < LEAST_ROWS + deep or not known.all() or float(moves.std()) == 0.0:
        return []
    rows = np.arange(deep, n)
    past = np.column_stack([moves[rows - lag] for lag in range(1, deep + 1)])
    target = moves[rows] - moves[rows].mean()
    half = len(rows) // 2
    found = []
    for column, name in enumerate(names):
        feature = x[:, column]
        if not np.isfinite(feature).all() or float(feature.std()) == 0.0:
            continue
        scaled = (feature - feature.mean()) / feature.std()
        own = np.column_stack([scaled[rows - lag] for lag in range(lags + 1)])
        share = _told(np.column_stack((own, past, np.ones(len(rows)))), target, half)
        if share > TOLD:
            text = f"{name} tells {share:.0%} of the next move, with older rows and past moves".replace("%", " %")
            found.append(Leak("reconstruction", name, share, f"{text}: it has seen the future"))
    return found


def _told(columns: Floats, target: Floats, half: int) -> float:
    """R² out of sample."""
    weights, *_ = np.linalg.lstsq(columns[:half], target[:half], rcond=None)
    unseen = target[half:]
    power = float(unseen @ unseen)
    error = unseen - columns[half:] @ weights
    return 1.0 - float(error @ error) / power if power > 0.0 else 0.0


def normalised(x: Floats, names: Sequence[str]) -> list[Leak]:
    """Features with mean 0 and deviation 1 over all rows, to many digits: made so with rows that were still to come.

    >>> walk = np.cumsum(np.random.default_rng(3).normal(size=500))
    >>> normalised(((walk - walk.mean()) / walk.std())[:, None], ["level"])[0].test
    'normalisation'
    """
    found = []
    for column, name in enumerate(names):
        feature: npt.NDArray[np.float64] = x[np.isfinite(x[:, column]), column]
        if len(feature) < LEAST_ROWS // 4:
            continue
        off = max(abs(float(feature.mean())), min(abs(float(feature.std(ddof=d)) - 1.0) for d in (0, 1)))
        if off < 1e-6:
            text = f"{name} has mean 0 and deviation 1 over all {len(feature)} rows, to {off:.1g}"
            found.append(Leak("normalisation", name, off, f"{text}: normalise with what is past"))
    return found
