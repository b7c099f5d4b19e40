"""Detectors that notice when a model's error is no longer what it was."""

from __future__ import annotations

from typing import Any, Protocol, cast

from river import drift


class DriftDetector(Protocol):
    """Watches one stream of numbers."""

    name: str

    def update(self, value: float) -> bool:
        """Take the next value; True where the stream has changed."""
        ...


class Adwin:
    """River's adaptive windowing (Bifet and Gavaldà, 2007): the mean of two parts of the window differs.

    ``delta`` bounds the probability of a false alarm. The values should be independent and of a bounded range, so the
    caller feeds errors whose labels do not overlap.

    >>> adwin = Adwin(delta=0.002)
    >>> [i for i in range(400) if adwin.update(0.2 if i < 200 else 0.9)][:1]
    [223]
    """

    name = "adwin"

    def __init__(self, delta: float) -> None:
        self._adwin = cast("Any", drift.ADWIN)(delta=delta)

    def update(self, value: float) -> bool:
        self._adwin.update(value)
        return bool(self._adwin.drift_detected)
