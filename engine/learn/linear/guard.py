"""What stands between a real tape and a linear model: inputs and labels are bounded, and what had to be is counted.

Inputs are standardised and clipped, a missing one reads as the usual value, labels are clipped at a multiple of their
running size, and a state that grew absurd is started afresh. Nothing that is not finite reaches a weight.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.core.jit import inlined, kernel
from engine.features.set import Vector
from engine.learn.contract import LABEL_LIMIT, Model, ModelError, ModelSettings
from engine.learn.scaler import ABSURD, LEARNING_BOUND, MEMORY, learn_row, reach_of, scaled_by

SPEAKS_AFTER = 30  # labels
RARE_BOUND = 2.0  # usual moves: how far a label may lie where most are 0; more than 1, or the bound presses itself down
TARGET_BOUND = 5.0  # times the label's root mean square, or a usual move: of what is learned and of what is said
WEIGHT_LIMIT = 1e6  # sum of absolute weights: bps a standard deviation, or root mean squares of it

LEARNED, SQUARE, ABSOLUTE, MISSING, CLIPPED, LABELS_REFUSED, LABELS_CLIPPED, RESTARTS = range(8)
"""Where the guard keeps: labels taken, their running mean square and mean size, and what it had to contain."""

Array = npt.NDArray[np.float64]


@inlined
def said_within(guard: Array) -> float:
    """How large a prediction may be, and a label that a bounded step learns."""
    return reach_of(guard[SQUARE], guard[ABSOLUTE], TARGET_BOUND, 1.0)


@inlined
def take_label(y: float, guard: Array) -> float:
    """The label as it may be learned, bps; nan where it must not be."""
    if not abs(y) < LABEL_LIMIT:
        guard[LABELS_REFUSED] += 1.0
        return np.nan
    guard[LEARNED] += 1.0
    reach = reach_of(guard[SQUARE], guard[ABSOLUTE], LEARNING_BOUND, RARE_BOUND)
    if guard[LEARNED] > SPEAKS_AFTER and reach > 0.0 and abs(y) > reach:
        guard[LABELS_CLIPPED] += 1.0
        y = reach if y > 0.0 else -reach
    weight = min(guard[LEARNED], MEMORY)
    guard[SQUARE] += (y * y - guard[SQUARE]) / weight
    guard[ABSOLUTE] += (abs(y) - guard[ABSOLUTE]) / weight
    return y


@inlined
def take_row(x: Vector, guard: Array, scaler: Array, bound: float, row: Vector) -> None:
    """Learn a row's scale and write the row in standard deviations; what was missing or clipped is counted."""
    learn_row(x, scaler)
    for i in range(x.shape[0]):
        value = x[i]
        scaled = scaled_by(value, scaler[1, i], scaler[2, i], bound)
        if not abs(value) < ABSURD:
            guard[MISSING] += 1.0
        elif abs(scaled) == bound:
            guard[CLIPPED] += 1.0
        row[i] = scaled


@inlined
def in_units(label: float, guard: Array) -> float:
    """A label in units of its running root mean square, bounded."""
    reach = said_within(guard)
    return min(max(label, -reach), reach) / math.sqrt(guard[SQUARE]) if reach > 0.0 else 0.0


@inlined
def runs_away(weights: Vector) -> bool:
    """Whether weights have become absurd, or are not numbers any more."""
    total = 0.0
    for i in range(weights.shape[0]):
        total += abs(weights[i])
    return not total < WEIGHT_LIMIT


@kernel
def respond(x: Vector, scaler: Array, weights: Vector, bound: float) -> float:
    """What linear weights, the intercept last, say to a raw row."""
    width = x.shape[0]
    total = float(weights[width])
    for i in range(width):
        total += weights[i] * scaled_by(x[i], scaler[1, i], scaler[2, i], bound)
    return total


def counts_of(guard: Array) -> dict[str, int]:
    """What a guard had to contain, by name."""
    kept = guard.tolist()
    return {
        "inputs_missing": int(kept[MISSING]),
        "inputs_clipped": int(kept[CLIPPED]),
        "labels_refused": int(kept[LABELS_REFUSED]),
        "labels_clipped": int(kept[LABELS_CLIPPED]),
        "restarts": int(kept[RESTARTS]),
    }


class Guarded(Model):
    """A linear model behind the guard; a subclass says how one row and label move ``weights`` (``learn_one``).

    ``arrays`` is the whole state, by name. What the guard had to contain is in ``contained``.
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str], bound: float) -> None:
        super().__init__(settings, names)
        width = len(self.names)
        if not (0.0 < bound < float("inf")):
            raise ModelError(f"model {settings.name}: options: clip: expected more than 0, found {bound}")
        self.bound = bound
        self.guard: Array = np.zeros(RESTARTS + 1)
        self.scaler: Array = np.zeros((3, width))
        self.weights: Array = np.zeros(width + 1)
        self.row: Array = np.zeros(width + 1)  # scratch
        self.row[width] = 1.0
        self.arrays: dict[str, Array] = {"guard": self.guard, "scaler": self.scaler, "weights": self.weights}

    def compile(self) -> None:
        """Compile at the start, and not at the first label: live through one, and forget it."""
        before = {name: array.copy() for name, array in self.arrays.items()}
        self.learn_one(np.zeros(len(self.names)), 0.0)
        self.respond(np.zeros(len(self.names)))
        for name, array in self.arrays.items():
            array[:] = before[name]

    @property
    def learned(self) -> int:
        """Labels taken."""
        return int(self.guard[LEARNED])

    @abc.abstractmethod
    def learn_one(self, x: Vector, y: float) -> None:
        """Learn from one matured label ``y``, in bps."""

    def respond(self, x: Vector) -> float:
        """The prediction before it is bounded, bps."""
        return float(respond(x, self.scaler, self.weights, self.bound))

    def predict_one(self, x: Vector) -> float | None:
        if self.guard[LEARNED] < SPEAKS_AFTER:
            return None
        reach = said_within(self.guard)
        return max(-reach, min(reach, self.respond(x)))

    def contained(self) -> dict[str, int]:
        return counts_of(self.guard)

    def save(self) -> dict[str, Any]:
        return {name: array.tobytes() for name, array in self.arrays.items()}

    def load(self, state: dict[str, Any]) -> None:
        for name, array in self.arrays.items():
            found = state.get(name, b"")
            if len(found) != array.nbytes:
                raise ModelError(
                    f"model {self.settings.name}: saved {name}: expected {array.nbytes} bytes, found {len(found)}: "
                    "saved with other features or options; start without it"
                )
        for name, array in self.arrays.items():
            array[:] = np.frombuffer(state[name]).reshape(array.shape)
