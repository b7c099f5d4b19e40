"""Running standardisation that one absurd row cannot spoil."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.core.jit import inlined, kernel
from engine.features.set import Vector

SETTLED_AFTER = 30  # rows; before that nothing is bounded while learning, as nothing is known
LEARNING_BOUND = 8.0  # standard deviations; how far one row can pull the running scale
MEMORY = 10_000  # rows; what is older is forgotten
ABSURD = 1e100  # a value of this size or more says as little as nan: its square may not be a number any more


@kernel
def learn_row(x: Vector, state: npt.NDArray[np.float64]) -> None:
    """Move counts, means and variances, the three rows of ``state``, by one row; what is missing moves nothing."""
    for i in range(x.shape[0]):
        value, count, mean, variance = x[i], state[0, i], state[1, i], state[2, i]
        if not abs(value) < ABSURD:
            continue
        if count >= SETTLED_AFTER and variance > 0.0:
            reach = LEARNING_BOUND * np.sqrt(variance)
            value = min(max(value, mean - reach), mean + reach)
        count = min(count + 1.0, MEMORY)
        moved = mean + (value - mean) / count
        state[0, i] = count
        state[1, i] = moved
        state[2, i] = variance + ((value - mean) * (value - moved) - variance) / count


@inlined
def scaled_by(value: float, mean: float, variance: float, bound: float) -> float:
    """A value in standard deviations, clipped; 0 where it is missing, or where nothing ever moved."""
    scaled = (value - mean) / np.sqrt(variance) if variance > 0.0 else 0.0
    return min(max(scaled, -bound), bound) if scaled == scaled else 0.0


@kernel
def _scale(x: Vector, state: npt.NDArray[np.float64], bound: float, out: Vector) -> None:
    for i in range(x.shape[0]):
        out[i] = scaled_by(x[i], state[1, i], state[2, i], bound)


@inlined
def reach_of(square: float, size: float, scales: float, moves: float) -> float:
    """How large a value may be that has this mean square and mean size; 0 while all were 0.

    So many root mean squares or so many usual moves, whichever is more. Root mean squares alone would not do where most
    values are 0: where one in a hundred moves, eight of them are less than a move. So each move would be cut, the next
    bound be smaller still, and in the end nothing be left. The mean square by the mean size is the size of a usual
    move, however many values are 0.
    """
    return max(scales * math.sqrt(square), moves * square / size) if size > 0.0 else 0.0


class Scaler:
    """Standardises each feature by its running mean and deviation, clipped at ``bound``; missing (nan) becomes 0.

    Young, every row weighs the same (Welford); later the last ``MEMORY`` rows count and older ones fade.

    >>> scaler = Scaler(width=1, bound=4.0)
    >>> for i in range(200):
    ...     scaler.learn(np.array([float(i % 2)]))
    >>> scaler.learn(np.array([1e12]))
    >>> [round(float(scaler.scale(np.array([x]))[0]), 1) for x in (0.5, 1.0, 1e12, np.nan)]
    [-0.0, 0.9, 4.0, 0.0]
    """

    def __init__(self, width: int, bound: float) -> None:
        self.bound = bound
        self._state: npt.NDArray[np.float64] = np.zeros((3, width))
        self._out: Vector = np.zeros(width)
        # Compiled here, at the start, and not at the first label.
        learn_row(np.zeros(0), self._state)
        self.scale(self._out)

    def learn(self, x: Vector) -> None:
        """Take one row."""
        learn_row(x, self._state)

    def scale(self, x: Vector) -> Vector:
        """One row in standard deviations; the array is written again by the next call."""
        _scale(x, self._state, self.bound, self._out)
        return self._out

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "counts": self._state[0].tolist(),
            "means": self._state[1].tolist(),
            "variances": self._state[2].tolist(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""
        self._state[:] = [state["counts"], state["means"], state["variances"]]
