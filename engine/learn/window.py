"""The samples whose labels are known, newest last, in a ring: what a network is trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.features.set import Vector


class Window:
    """At most ``capacity`` rows of (time, features, label); the oldest makes room.

    >>> window = Window(capacity=2, width=1)
    >>> for i in range(3):
    ...     window.add(i, np.array([i * 1.0]), i * 10.0)
    >>> window.rows()[2].tolist(), len(window)
    ([10.0, 20.0], 2)
    """

    def __init__(self, capacity: int, width: int) -> None:
        self.capacity = capacity
        self.added = 0
        self._times: npt.NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._x: npt.NDArray[np.float32] = np.zeros((capacity, width), np.float32)
        self._y: npt.NDArray[np.float64] = np.zeros(capacity)

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, time_ns: int, x: Vector, y: float) -> None:
        """Append one row."""
        at = self.added % self.capacity
        self._times[at], self._x[at], self._y[at] = time_ns, x, y
        self.added += 1

    def rows(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Copies of times, features and labels, oldest first."""
        order = np.arange(self.added - len(self), self.added) % self.capacity
        return self._times[order], self._x[order], self._y[order]

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "added": self.added,
            "times": self._times.tobytes(),
            "x": self._x.tobytes(),
            "y": self._y.tobytes(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of a window of the same size gave."""
        self.added = state["added"]
        self._times[:] = np.frombuffer(state["times"], np.int64)
        self._x[:] = np.frombuffer(state["x"], np.float32).reshape(self._x.shape)
        self._y[:] = np.frombuffer(state["y"])
