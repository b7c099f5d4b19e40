"""Recursive least squares with forgetting, and exponentially weighted least squares with a ridge that stays.

Both weigh a row by ``memory`` to the power of its age. The first keeps the inverse and moves at every row; the second
keeps the normal equations and solves them now and then, so its ridge never fades.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from engine.core.jit import kernel
from engine.features.set import Vector
from engine.learn.contract import ModelError, ModelSettings, read_options
from engine.learn.linear.guard import LEARNED, RESTARTS, Array, Guarded, runs_away, take_label, take_row
from engine.learn.linear.normal_equations import add_row, ridge_of, solve

PRIOR_VARIANCE = 0.01

PRIOR, MEMORY, CAP = range(3)
"""Parameters of the recursion: the first variance of each weight, the forgetting factor, and the largest variance."""


@kernel
def recurse(row: Vector, y: float, weights: Vector, covariance: Array, gain: Vector, told: Array) -> bool:
    """One step of recursive least squares (L. Ljung, "System Identification", 2nd ed., eq. 11.11).

    What is not excited would lose its memory until its variance explodes (wind-up). So where a variance would exceed
    the cap, its row and column are shrunk to it, which keeps the matrix positive. False where it was not any more: it
    then starts from the prior again, and the weights stay.
    """
    n = row.shape[0]
    said = 0.0
    for i in range(n):
        said += weights[i] * row[i]
    gain[:] = 0.0
    for j in range(n):
        value = row[j]
        if value != 0.0:
            for i in range(n):
                gain[i] += covariance[j, i] * value
    power = told[MEMORY]
    for i in range(n):
        power += row[i] * gain[i]
    whole = bool(power > 0.0 and power < np.inf)
    if whole:
        error, forget = y - said, 1.0 / told[MEMORY]
        capped = False
        for i in range(n):
            share = gain[i] / power
            weights[i] += share * error
            for j in range(i, n):
                covariance[i, j] = (covariance[i, j] - share * gain[j]) * forget
            capped |= covariance[i, i] > told[CAP]
            whole &= covariance[i, i] > 0.0
        if capped:
            for i in range(n):
                shrink = np.sqrt(told[CAP] / covariance[i, i]) if covariance[i, i] > told[CAP] else 1.0
                if shrink < 1.0:
                    for j in range(i, n):
                        covariance[i, j] *= shrink
                    for j in range(i + 1):
                        covariance[j, i] *= shrink
        for i in range(n):
            for j in range(i):
                covariance[i, j] = covariance[j, i]
    if not whole:
        covariance[:] = 0.0
        for i in range(n):
            covariance[i, i] = told[PRIOR]
    return whole


@kernel
def _learn(
    x: Vector,
    y: float,
    bound: float,
    guard: Array,
    scaler: Array,
    row: Vector,
    weights: Vector,
    covariance: Array,
    gain: Vector,
    told: Array,
) -> None:
    label = take_label(y, guard)
    if label != label:
        return
    take_row(x, guard, scaler, bound, row)
    whole = recurse(row, label, weights, covariance, gain, told)
    if runs_away(weights):
        whole = False
        weights[:] = 0.0
        covariance[:] = 0.0
        for i in range(weights.shape[0]):
            covariance[i, i] = told[PRIOR]
    if not whole:
        guard[RESTARTS] += 1.0


class RecursiveOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Own settings of ``recursive-least-squares``; ``memory`` is the weight of a row by that of the next one.

    ``prior`` is the variance of each weight before anything is known, in units of the noise's; 0 takes 0.01, less where
    labels overlap. ``cap`` is the largest that forgetting may lead to, as a multiple of the prior.
    """

    memory: float = 0.9998
    prior: float = 0.0
    cap: float = 1.0
    clip: float = 4.0


class RecursiveLeastSquares(Guarded):
    """Recursive least squares with forgetting on standardised features; predicts bps. Options: ``RecursiveOptions``.

    >>> model = RecursiveLeastSquares(ModelSettings(name="m", symbol="v:X", options={"prior": 1.0}), ["a", "b"])
    >>> for x in np.random.default_rng(1).normal(size=(300, 2)):
    ...     model.learn_one(x, 2.0 * x[0])
    >>> round(model.predict_one(np.array([1.0, 0.0])) or 0.0)
    2
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        own = read_options(settings, RecursiveOptions)
        if not (0.5 < own.memory <= 1.0 and own.prior >= 0.0 and own.cap >= 1.0):
            raise ModelError(
                f"model {settings.name}: options: expected memory of 0.5 to 1, prior of at least 0 and cap of at "
                f"least 1, found {own.memory}, {own.prior} and {own.cap}"
            )
        super().__init__(settings, names, own.clip)
        width = len(self.weights)
        prior = own.prior or PRIOR_VARIANCE / max(1.0, settings.overlap)
        self.told: Array = np.array([prior, own.memory, prior * own.cap])
        self.covariance: Array = np.eye(width) * prior
        self.gain: Array = np.zeros(width)  # scratch
        self.arrays["covariance"] = self.covariance
        self.compile()

    def learn_one(self, x: Vector, y: float) -> None:
        _learn(x, y, self.bound, self.guard, self.scaler, self.row, self.weights, self.covariance, self.gain, self.told)


@kernel
def fade(row: Vector, y: float, memory: float, gram: Array, moment: Vector) -> None:
    """Let all rows so far weigh less, and add one."""
    n = row.shape[0]
    for i in range(n):
        moment[i] *= memory
        for j in range(i, n):
            gram[i, j] *= memory
    add_row(row, y, gram, moment, 1.0)


@kernel
def _weigh(
    x: Vector,
    y: float,
    bound: float,
    guard: Array,
    scaler: Array,
    row: Vector,
    weights: Vector,
    gram: Array,
    moment: Vector,
    work: Array,
    told: Array,
) -> None:
    label = take_label(y, guard)
    if label != label:
        return
    take_row(x, guard, scaler, bound, row)
    fade(row, label, told[0], gram, moment)
    # The intercept's own product is the weight of all rows, so the ridge is one a row.
    rows = gram[gram.shape[0] - 1, gram.shape[0] - 1]
    if guard[LEARNED] % told[2] == 0.0 and (
        not solve(gram, moment, told[1] * rows, work, weights) or runs_away(weights)
    ):
        guard[RESTARTS] += 1.0
        weights[:] = 0.0


class WeightedOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Own settings of ``weighted-least-squares``: ``ridge`` a row (0: ``ridge_of``), labels between solutions."""

    memory: float = 0.9995
    ridge: float = 0.0
    solve_every: int = 10
    clip: float = 4.0


class WeightedLeastSquares(Guarded):
    """Exponentially weighted ridge regression on standardised features; predicts bps. Options: ``WeightedOptions``.

    >>> model = WeightedLeastSquares(ModelSettings(name="m", symbol="v:X", options={"ridge": 0.01}), ["a", "b"])
    >>> for x in np.random.default_rng(1).normal(size=(300, 2)):
    ...     model.learn_one(x, 2.0 * x[0])
    >>> round(model.predict_one(np.array([1.0, 0.0])) or 0.0)
    2
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        own = read_options(settings, WeightedOptions)
        if not (0.5 < own.memory < 1.0 and own.ridge >= 0.0 and own.solve_every >= 1):
            raise ModelError(
                f"model {settings.name}: options: expected memory above 0.5 and below 1, ridge of at least 0 and "
                f"solve_every of at least 1, found {own.memory}, {own.ridge} and {own.solve_every}"
            )
        super().__init__(settings, names, own.clip)
        width = len(self.weights)
        self.told: Array = np.array([own.memory, own.ridge or ridge_of(settings), own.solve_every], np.float64)
        self.gram: Array = np.zeros((width, width))
        self.moment: Array = np.zeros(width)
        self.work: Array = np.zeros((width, width + 1))  # scratch
        self.arrays |= {"gram": self.gram, "moment": self.moment}
        self.compile()

    def learn_one(self, x: Vector, y: float) -> None:
        _weigh(
            x,
            y,
            self.bound,
            self.guard,
            self.scaler,
            self.row,
            self.weights,
            self.gram,
            self.moment,
            self.work,
            self.told,
        )
