"""Small statistics: ranks, correlation, and intervals from blocks of rows that depend on their neighbours."""

from __future__ import annotations

import math
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel

Floats: TypeAlias = npt.NDArray[np.float64]

NORMAL: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

LEAST_BLOCKS: Final = 6
"""Fewer blocks than that say nothing about how much blocks differ."""


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs.

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    found: Floats = np.zeros(len(values))
    _share(values, np.argsort(values), found)
    return found


@kernel
def _share(values: Floats, order: npt.NDArray[np.int64], found: Floats) -> None:
    first = 0
    for at in range(1, len(order) + 1):
        if at == len(order) or values[order[at]] != values[order[first]]:
            for tied in range(first, at):
                found[order[tied]] = (first + 1 + at) / 2.0
            first = at


def pearson(one: Floats, other: Floats) -> float:
    """Pearson's correlation; nan where either never moved or there are fewer than two pairs.

    >>> pearson(np.array([1.0, 2.0, 4.0]), np.array([2.0, 4.0, 8.0]))
    1.0
    """
    if len(one) < 2:
        return math.nan
    a, b = one - one.mean(), other - other.mean()
    scale = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    return max(-1.0, min(1.0, float(a @ b) / scale)) if scale > 0.0 else math.nan


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by the Cornish-Fisher expansion (Abramowitz and Stegun, 26.7.5).

    >>> student(5), student(30)
    (2.57, 2.04)
    """
    z, v = NORMAL, float(freedom)
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    third = (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0
    fourth = (79.0 * z**9 + 776.0 * z**7 + 1482.0 * z**5 - 1920.0 * z**3 - 945.0 * z) / 92160.0
    return z + first / v + second / v**2 + third / v**3 + fourth / v**4


def moments(p: Floats, y: Floats) -> Floats:
    """What sums to a correlation, a row a pair: 1, p, y, their squares and their product."""
    return np.column_stack((np.ones(len(p)), p, y, p * p, y * y, p * y))


def correlation_interval(blocks: Floats) -> Interval | None:
    """Of a correlation, from the summed ``moments`` of blocks of neighbouring rows, a row each, of about one length.

    A block is long enough to hold what depends on each other, so that blocks differ as much as they do by chance: batch
    means of the correlation's influence function, on Fisher's scale. None while there are too few blocks.

    >>> rng = np.random.default_rng(2)
    >>> p, noise = rng.normal(size=(2, 4000))
    >>> sums = moments(p, 0.5 * p + noise).reshape(40, 100, 6).sum(axis=1)
    >>> one = correlation_interval(sums)
    >>> one.low < 0.4472 < one.high, one.high - one.low
    (True, 0.05)
    """
    count = len(blocks)
    if count < LEAST_BLOCKS:
        return None
    n, p, y, pp, yy, py = blocks.sum(axis=0)
    mean_p, mean_y = p / n, y / n
    var_p, var_y = pp / n - mean_p**2, yy / n - mean_y**2
    if var_p <= 1e-12 * pp / n or var_y <= 1e-12 * yy / n:
        return None
    m, p, y, pp, yy, py = blocks.T
    product = (py - mean_p * y - mean_y * p + m * mean_p * mean_y) / math.sqrt(var_p * var_y)
    rho = float(max(-1.0 + 1e-12, min(1.0 - 1e-12, product.sum() / n)))
    squares = (pp - 2.0 * mean_p * p + m * mean_p**2) / var_p + (yy - 2.0 * mean_y * y + m * mean_y**2) / var_y
    influence = product - rho * squares / 2.0
    error = math.sqrt(float(influence @ influence) * count / (count - 1)) / n / (1.0 - rho * rho)
    reach = student(count - 1) * error
    return Interval(math.tanh(math.atanh(rho) - reach), math.tanh(math.atanh(rho) + reach))
