"""Ridge regression over the last rows, exactly: rows leave the sums as they leave the window."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from engine.core.jit import kernel
from engine.features.set import Vector
from engine.learn.contract import ModelError, ModelSettings, read_options
from engine.learn.linear.guard import LEARNED, RESTARTS, Array, Guarded, runs_away, take_label, take_row
from engine.learn.linear.normal_equations import add_row, ridge_of, solve


@kernel
def roll(row: Vector, y: float, ring: Array, ages: Vector, sums: Array, moments: Array) -> None:
    """Add a row to a window's sums and take away the one that falls out.

    What is added and taken away leaves a rounding error for good. So a second pair of sums grows beside the first, only
    ever added to; when it has seen a whole window it is that window's sums without such errors, and takes over.
    ``ages`` counts the rows so far, and those of the second pair.
    """
    capacity, width = ring.shape[0], row.shape[0]
    at = int(ages[0]) % capacity
    if ages[0] >= capacity:
        add_row(ring[at, :width], ring[at, width], sums[0], moments[0], -1.0)
    ring[at, :width] = row
    ring[at, width] = y
    add_row(row, y, sums[0], moments[0], 1.0)
    add_row(row, y, sums[1], moments[1], 1.0)
    ages[0] += 1.0
    ages[1] += 1.0
    if ages[1] == capacity:
        sums[0] = sums[1]
        moments[0] = moments[1]
        sums[1] = 0.0
        moments[1] = 0.0
        ages[1] = 0.0


@kernel
def _learn(
    x: Vector,
    y: float,
    bound: float,
    guard: Array,
    scaler: Array,
    row: Vector,
    weights: Vector,
    ring: Array,
    ages: Vector,
    sums: Array,
    moments: Array,
    work: Array,
    told: Array,
) -> None:
    label = take_label(y, guard)
    if label != label:
        return
    take_row(x, guard, scaler, bound, row)
    roll(row, label, ring, ages, sums, moments)
    rows = min(ages[0], float(ring.shape[0]))
    due = guard[LEARNED] % told[1] == 0.0
    if due and (not solve(sums[0], moments[0], told[0] * rows, work, weights) or runs_away(weights)):
        guard[RESTARTS] += 1.0
        weights[:] = 0.0


class RollingOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Own settings of ``rolling-ridge``: rows of the window, ``ridge`` a row (0: ``ridge_of``), labels a solution."""

    rows: int = 3000
    ridge: float = 0.0
    solve_every: int = 10
    clip: float = 4.0


class RollingRidge(Guarded):
    """Ridge regression over the last rows, on features standardised as they came; predicts bps.

    Options: ``RollingOptions``.

    >>> model = RollingRidge(ModelSettings(name="m", symbol="v:X", options={"rows": 200, "ridge": 0.01}), ["a", "b"])
    >>> for x in np.random.default_rng(1).normal(size=(300, 2)):
    ...     model.learn_one(x, 2.0 * x[0])
    >>> round(model.predict_one(np.array([1.0, 0.0])) or 0.0)
    2
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        own = read_options(settings, RollingOptions)
        if not (own.rows >= 8 and own.ridge >= 0.0 and own.solve_every >= 1):
            raise ModelError(
                f"model {settings.name}: options: expected rows of at least 8, ridge of at least 0 and solve_every of "
                f"at least 1, found {own.rows}, {own.ridge} and {own.solve_every}"
            )
        super().__init__(settings, names, own.clip)
        width = len(self.weights)
        self.told: Array = np.array([own.ridge or ridge_of(settings), own.solve_every], np.float64)
        self.ring: Array = np.zeros((own.rows, width + 1))
        self.ages: Array = np.zeros(2)
        self.sums: Array = np.zeros((2, width, width))
        self.moments: Array = np.zeros((2, width))
        self.work: Array = np.zeros((width, width + 1))  # scratch
        self.arrays |= {"ring": self.ring, "ages": self.ages, "sums": self.sums, "moments": self.moments}
        self.compile()

    def learn_one(self, x: Vector, y: float) -> None:
        _learn(
            x,
            y,
            self.bound,
            self.guard,
            self.scaler,
            self.row,
            self.weights,
            self.ring,
            self.ages,
            self.sums,
            self.moments,
            self.work,
            self.told,
        )
