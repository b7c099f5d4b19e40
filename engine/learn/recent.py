"""Scores that need all pairs at once, told of recent ones: rank correlation, and reliability by tenths."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.learn.estimates import Interval, correlation_interval, moments, pearson, ranks

CAPACITY: Final = 1024
BLOCKS: Final = 32
TENTHS: Final = 10


class Recent:
    """A ring of (prediction, label) pairs, one of each ``stride`` so that it reaches back further.

    ``block`` is how many kept pairs depend on each other, at least.

    >>> recent = Recent(stride=1, block=4)
    >>> for i in range(100):
    ...     recent.add(float(i % 10), float(i % 10) ** 3)
    >>> recent.spearman()[0], [round(label) for _, label, _ in recent.reliability()][:3]
    (1.0, [0, 1, 8])
    """

    def __init__(self, stride: int, block: int) -> None:
        self.stride, self.block = stride, block
        self.seen = 0
        self._pairs: npt.NDArray[np.float64] = np.zeros((CAPACITY, 2))
        self._told: tuple[int, tuple[float | None, Interval | None]] | None = None

    def __len__(self) -> int:
        return min(-(-self.seen // self.stride), CAPACITY)

    def add(self, prediction: float, label: float) -> None:
        """Take the next pair, or pass it over."""
        if self.seen % self.stride == 0:
            at = self.seen // self.stride % CAPACITY
            self._pairs[at, 0], self._pairs[at, 1] = prediction, label
        self.seen += 1

    def pairs(self) -> npt.NDArray[np.float64]:
        """The kept pairs, oldest first."""
        kept, last = len(self), -(-self.seen // self.stride)
        return self._pairs[np.arange(last - kept, last) % CAPACITY]

    def spearman(self) -> tuple[float | None, Interval | None]:
        """The rank correlation and its interval; None where they cannot be told."""
        if self._told is not None and self._told[0] == self.seen:
            return self._told[1]
        p, y = self.pairs().T
        p, y = ranks(p), ranks(y)
        rho = pearson(p, y)
        count = min(BLOCKS, len(p) // self.block) or 1
        sums = np.array([part.sum(axis=0) for part in np.array_split(moments(p, y), count)])
        found = (None, None) if rho != rho else (rho, correlation_interval(sums))
        self._told = (self.seen, found)
        return found

    def reliability(self) -> list[tuple[float, float, int]]:
        """By tenths of the prediction, lowest first: its mean, the mean label, and how many pairs."""
        pairs = self.pairs()
        if len(pairs) < 2 * TENTHS:
            return []
        parts = np.array_split(pairs[np.argsort(pairs[:, 0], kind="stable")], TENTHS)
        return [(float(part[:, 0].mean()), float(part[:, 1].mean()), len(part)) for part in parts]

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"seen": self.seen, "pairs": self._pairs.tobytes()}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""
        self.seen = state["seen"]
        self._pairs[:] = np.frombuffer(state["pairs"]).reshape(self._pairs.shape)
        self._told = None
