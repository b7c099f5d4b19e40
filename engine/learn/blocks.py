"""The interval of a running correlation in constant memory: sums over blocks that double when there are too many."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.learn.estimates import Interval, correlation_interval

MOST: Final = 128


class BlockSums:
    """Sums of pairs over blocks of neighbours; a block is at first ``rows`` long, at least several horizons.

    When there are 128 blocks, neighbours are joined and the next are twice as long: so blocks grow with the data, as a
    consistent estimate of a long-run variance needs.

    >>> blocks = BlockSums(rows=10)
    >>> rng = np.random.default_rng(3)
    >>> for p, noise in rng.normal(size=(5000, 2)).tolist():
    ...     blocks.add(p, p + noise)
    >>> low, high = blocks.interval()
    >>> low < 0.7071 < high, round(high - low, 2), blocks.rows
    (True, 0.03, 40)
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._whole: npt.NDArray[np.float64] = np.zeros((MOST, 6))
        self._used = 0
        self._part = [0.0] * 6
        self._origin: tuple[float, float] | None = None  # the first pair: sums are of what is beyond it

    def add(self, prediction: float, label: float) -> None:
        """Take the next pair."""
        if self._origin is None:
            self._origin = (prediction, label)
        p, y = prediction - self._origin[0], label - self._origin[1]
        part = self._part
        part[0] += 1.0
        part[1] += p
        part[2] += y
        part[3] += p * p
        part[4] += y * y
        part[5] += p * y
        if part[0] >= self.rows:
            self._whole[self._used] = part
            self._used += 1
            self._part = [0.0] * 6
            if self._used == MOST:
                self._used //= 2
                self._whole[: self._used] = self._whole[0::2] + self._whole[1::2]
                self.rows *= 2

    def interval(self) -> Interval | None:
        """Of the correlation over all pairs; None while there are too few blocks."""
        whole = self._whole[: self._used].copy()
        if 2.0 * self._part[0] >= self.rows:
            whole = np.vstack((whole, self._part))
        elif self._used:
            whole[-1] += self._part
        return correlation_interval(whole)

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "rows": self.rows,
            "whole": self._whole[: self._used].tobytes(),
            "part": list(self._part),
            "origin": None if self._origin is None else list(self._origin),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""
        whole = np.frombuffer(state["whole"]).reshape(-1, 6)
        self.rows, self._used, self._part = state["rows"], len(whole), list(state["part"])
        self._whole[: self._used] = whole
        self._origin = None if state["origin"] is None else (state["origin"][0], state["origin"][1])
