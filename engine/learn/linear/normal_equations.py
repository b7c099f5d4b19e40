"""The normal equations of least squares: rows come in and go out, and a Cholesky solve gives the weights."""

from __future__ import annotations

import numpy as np

from engine.core.jit import inlined, kernel
from engine.features.set import Vector
from engine.learn.contract import ModelSettings
from engine.learn.linear.guard import Array

PIVOT = 1e-12
"""A pivot below this share of its own diagonal has lost its digits: the matrix cannot be told from a singular one."""


RIDGE = 0.03  # a row whose label overlaps with no other


def ridge_of(settings: ModelSettings) -> float:
    """The ridge a row: the larger the more labels overlap, as a row then brings the less news.

    >>> ridge_of(ModelSettings(name="m", symbol="v:X", horizon_ns=1_000, every_ns=100))
    0.3
    """
    return RIDGE * max(1.0, settings.overlap)


@inlined
def add_row(row: Vector, y: float, gram: Array, moment: Vector, sign: float) -> None:
    """Add (``sign`` 1) or take away (-1) a row's products; of the symmetric ``gram`` the upper half is kept."""
    n = row.shape[0]
    for i in range(n):
        left = sign * row[i]
        moment[i] += left * y
        for j in range(i, n):
            gram[i, j] += left * row[j]


@kernel
def solve(gram: Array, moment: Vector, ridge: float, work: Array, out: Vector) -> bool:
    """Solve (gram + ridge) out = moment by Cholesky; the last row, the intercept, gets no ridge.

    False, and ``out`` as it was, where the matrix is not positive definite. ``work`` has one column more than ``gram``.
    """
    n = gram.shape[0]
    for i in range(n):
        for j in range(i, n):
            work[i, j] = gram[i, j]
        work[i, n] = moment[i]
        if i < n - 1:
            work[i, i] += ridge
    for k in range(n):
        pivot = work[k, k]
        if not pivot > PIVOT * (gram[k, k] + ridge):
            return False
        inverse = 1.0 / np.sqrt(pivot)
        for j in range(k, n + 1):
            work[k, j] *= inverse
        # Whole rows at once, the right-hand side in the last column with them: this order needs no sums along a row.
        for i in range(k + 1, n):
            share = work[k, i]
            for j in range(i, n + 1):
                work[i, j] -= share * work[k, j]
    for i in range(n - 1, -1, -1):
        total = work[i, n]
        for j in range(i + 1, n):
            total -= work[i, j] * out[j]
        out[i] = total / work[i, i]
    return True
