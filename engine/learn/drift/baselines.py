"""What a detector must beat: one that always fires, one that never does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.learn.drift.contract import Detector, Floats, expect


class Always(Detector):
    """Fires every ``threshold`` values, whatever they are.

    >>> always = Always(3)
    >>> [always.update(0.0) for _ in range(6)]
    [False, False, True, False, False, True]
    """

    name = "always"

    def __init__(self, threshold: float = 5000) -> None:
        self.threshold = threshold
        self._count = 0

    def update(self, value: float) -> bool:
        self._count += 1
        if self._count < self.threshold:
            return False
        self._count = 0
        return True

    def reset(self) -> None:
        self._count = 0

    def save(self) -> dict[str, Any]:
        return {"name": self.name, "count": self._count}

    def load(self, state: Mapping[str, Any]) -> None:
        expect(state, self.name)
        self._count = int(state["count"])


class Never(Detector):
    """Never fires."""

    name = "never"

    def __init__(self) -> None:
        self.threshold = 1.0

    def update(self, value: float) -> bool:
        return False

    def run(self, values: Floats) -> int:
        return -1

    def reset(self) -> None:
        """There is nothing to forget."""

    def save(self) -> dict[str, Any]:
        return {"name": self.name}

    def load(self, state: Mapping[str, Any]) -> None:
        expect(state, self.name)
