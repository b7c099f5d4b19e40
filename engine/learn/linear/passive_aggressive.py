"""Passive-aggressive regression: it does nothing while the error is small, and as much as is needed when it is not.

K. Crammer, O. Dekel, J. Keshet, S. Shalev-Shwartz, Y. Singer (2006), "Online Passive-Aggressive Algorithms", Journal of
Machine Learning Research 7, section 5: PA (mode 0), PA-I (1) and PA-II (2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from engine.core.jit import kernel
from engine.features.set import Vector
from engine.learn.contract import ModelError, ModelSettings, read_options
from engine.learn.linear.guard import (
    RESTARTS,
    SQUARE,
    Array,
    Guarded,
    in_units,
    runs_away,
    take_label,
    take_row,
)

AGGRESSIVENESS = 0.003


@kernel
def react(x: Vector, y: float, weights: Vector, mode: float, aggressiveness: float, epsilon: float) -> None:
    """One step on one row; the intercept is the last weight, and is no part of the row's length (as in River)."""
    width = weights.shape[0] - 1
    said, square = weights[width], 0.0
    for i in range(width):
        said += weights[i] * x[i]
        square += x[i] * x[i]
    loss = max(0.0, abs(said - y) - epsilon)
    if mode == 2.0:
        size = loss / (square + 0.5 / aggressiveness)
    elif square == 0.0:
        size = 0.0
    else:
        size = loss / square
        if mode == 1.0:
            size = min(aggressiveness, size)
    step = size if y > said else -size
    for i in range(width):
        weights[i] += step * x[i]
    weights[width] += step


@kernel
def _learn(
    x: Vector, y: float, bound: float, guard: Array, scaler: Array, row: Vector, weights: Vector, told: Array
) -> None:
    label = take_label(y, guard)
    if label != label:
        return
    take_row(x, guard, scaler, bound, row)
    react(row, in_units(label, guard), weights, told[0], told[1], told[2])
    if runs_away(weights):
        guard[RESTARTS] += 1.0
        weights[:] = 0.0


class PassiveAggressiveOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Own settings of ``passive-aggressive``; ``epsilon`` in root mean squares of the label.

    ``aggressiveness`` is the paper's C: the largest step of PA-I, the softness of PA-II; PA takes no notice of it. 0
    takes 0.003, less where labels overlap.
    """

    mode: Literal[0, 1, 2] = 1
    aggressiveness: float = 0.0
    epsilon: float = 0.5
    clip: float = 4.0


class PassiveAggressive(Guarded):
    """Passive-aggressive regression on standardised features; predicts bps. Options: ``PassiveAggressiveOptions``.

    >>> model = PassiveAggressive(ModelSettings(name="m", symbol="v:X", options={"aggressiveness": 0.1}), ["a"])
    >>> for x in np.random.default_rng(1).normal(size=(1000, 1)):
    ...     model.learn_one(x, 2.0 * x[0])
    >>> round(model.predict_one(np.array([1.0])) or 0.0)
    2
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        own = read_options(settings, PassiveAggressiveOptions)
        if not (own.aggressiveness >= 0.0 and own.epsilon >= 0.0):
            raise ModelError(
                f"model {settings.name}: options: expected aggressiveness and epsilon of at least 0, "
                f"found {own.aggressiveness} and {own.epsilon}"
            )
        super().__init__(settings, names, own.clip)
        aggressiveness = own.aggressiveness or AGGRESSIVENESS / max(1.0, settings.overlap)
        self.told: Array = np.array([own.mode, aggressiveness, own.epsilon], np.float64)
        self.compile()

    def learn_one(self, x: Vector, y: float) -> None:
        _learn(x, y, self.bound, self.guard, self.scaler, self.row, self.weights, self.told)

    def respond(self, x: Vector) -> float:
        return super().respond(x) * math.sqrt(self.guard[SQUARE])
