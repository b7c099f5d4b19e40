"""Squared losses of what experts said about a label, in a unit that neither quiet times nor one absurd label can spoil.

The unit is the mean square of the labels other than 0. Where most labels are 0 a median or a quantile of their sizes is
0 too, and a bound made of it takes away the very labels that tell who is right; a mean square over all of them is so
small that the first label which moves counts a thousandfold. The bound is made of the largest label instead: a label
counts as at most twice the largest before it, and so does what is said.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel

Vector = npt.NDArray[np.float64]

MEMORY: Final = 1000.0  # labels other than 0
REACH: Final = 2.0  # times the largest label so far
_LEAST: Final = 1e-150  # the square of a smaller label is 0

MOVED, SQUARE, LARGEST, BOUND = range(4)
"""Where the scale keeps: labels other than 0 (up to the memory), their mean square, the square of the largest, which
fades as the mean square does, and the bound that the newest label met. So the mean square is never below a thousandth
of the largest square, and a loss hardly above 9,000."""


@kernel
def follow(label: float, scale: Vector) -> float:
    """Move the scale by one label, and return the label as it counts."""
    if abs(label) < _LEAST:
        scale[BOUND] = REACH * np.sqrt(scale[LARGEST])
        return 0.0
    bound = REACH * (np.sqrt(scale[LARGEST]) if scale[LARGEST] > 0.0 else abs(label))
    scale[BOUND] = bound
    label = min(max(label, -bound), bound)
    square = label * label
    scale[MOVED] = min(scale[MOVED] + 1.0, MEMORY)
    scale[SQUARE] += (square - scale[SQUARE]) / scale[MOVED]
    scale[LARGEST] = max(scale[LARGEST] * (1.0 - 1.0 / MEMORY), square)
    return label


@kernel
def judge(label: float, said: Vector, scale: Vector, losses: Vector) -> None:
    """Write each expert's squared loss; nan where it said nothing. Words meet the same bound as the label."""
    bound = scale[BOUND]
    for i in range(said.shape[0]):
        away = label - min(max(said[i], -bound), bound) if said[i] == said[i] else np.nan
        losses[i] = away * away / scale[SQUARE]


class SquaredLoss:
    """The running unit of labels, and the losses of what was said about them.

    >>> loss = SquaredLoss()
    >>> loss.learn(0.0), loss.unit
    (0.0, 0.0)
    >>> loss.learn(-3.0), loss.unit, loss.learn(1e9), loss.unit
    (-3.0, 3.0, 6.0, 4.7)
    >>> loss.of(6.0, np.array([6.0, 0.0, np.nan])).tolist()
    [0.0, 1.6, nan]
    """

    def __init__(self) -> None:
        self.scale: Vector = np.zeros(BOUND + 1)

    @property
    def unit(self) -> float:
        """The root mean square of the labels other than 0; 0 before the first."""
        return math.sqrt(self.scale[SQUARE])

    def learn(self, label: float) -> float:
        """Move the unit by a finite label, and return the label as it counts."""
        return follow(label, self.scale)

    def of(self, label: float, said: Vector) -> Vector:
        """The losses of words about the label, as it counts, that ``learn`` took last; nan while no unit is known."""
        losses: Vector = np.empty(len(said))
        if self.scale[SQUARE] > 0.0:
            judge(label, said, self.scale, losses)
        else:
            losses[:] = np.nan
        return losses

    def bounded(self, said: Vector) -> Vector:
        """What is said, as far as it can count next time; as it is where no label moved yet."""
        if self.scale[LARGEST] <= 0.0:
            return said
        reach = REACH * math.sqrt(self.scale[LARGEST])
        bounded: Vector = np.minimum(np.maximum(said, -reach), reach)
        return bounded

    def save(self) -> bytes:
        """The state as bytes."""
        return self.scale.tobytes()

    def load(self, state: bytes) -> None:
        """Take back what ``save`` gave."""
        self.scale[:] = np.frombuffer(state)
