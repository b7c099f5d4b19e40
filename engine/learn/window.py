"""The samples whose labels are known, newest last, in a ring: what a network is trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.features.set import Vector


class Window:
    """At most ``capacity`` rows of (time, features, label); the oldest makes room.

    ``labels`` above 1: each row has so many. A row that is not finite everywhere teaches nothing: it is counted in
    ``holes`` and left out.

    >>> window = Window(capacity=2, width=1)
    >>> for i in range(3):
    ...     window.add(i, np.array([i * 1.0]), i * 10.0)
    >>> window.rows()[2].tolist(), len(window)
    ([10.0, 20.0], 2)
    """

    def __init__(self, capacity: int, width: int, labels: int = 1) -> None:
        self.capacity = capacity
        self.added = 0
        self.holes = 0
        self._times: npt.NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._ends: npt.NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._x: npt.NDArray[np.float32] = np.zeros((capacity, width), np.float32)
        self._y: npt.NDArray[np.float64] = np.zeros(capacity if labels == 1 else (capacity, labels))
        self._weights: npt.NDArray[np.float64] = np.zeros(capacity)

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, time_ns: int, x: Vector, y: float | Vector, end_ns: int | None = None, weight: float = 1.0) -> None:
        """Append one row: its label was known at ``end_ns`` (the row's own time where it is not told)."""
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            self.holes += 1
            return
        at = self.added % self.capacity
        self._times[at], self._x[at], self._y[at] = time_ns, x, y
        self._ends[at], self._weights[at] = time_ns if end_ns is None else end_ns, weight
        self.added += 1

    def clear(self) -> None:
        """Begin anew; what was left out stays counted."""
        self.added = 0

    def rows(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Copies of times, features and labels, oldest first."""
        order = self._order()
        return self._times[order], self._x[order], self._y[order]

    def spans(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Copies of the labels' ends and of the rows' weights, in the order of ``rows``."""
        order = self._order()
        return self._ends[order], self._weights[order]

    def _order(self) -> npt.NDArray[np.int64]:
        """Oldest sample first; labels that end early come in another order."""
        order = np.arange(self.added - len(self), self.added) % self.capacity
        return order[np.argsort(self._times[order], kind="stable")]

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "added": self.added,
            "holes": self.holes,
            **{name: getattr(self, f"_{name}").tobytes() for name in ("times", "ends", "x", "y", "weights")},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of a window of the same size gave."""
        self.added, self.holes = state["added"], state["holes"]
        for name in ("times", "ends", "x", "y", "weights"):
            mine: npt.NDArray[Any] = getattr(self, f"_{name}")
            mine[:] = np.frombuffer(state[name], mine.dtype).reshape(mine.shape)
