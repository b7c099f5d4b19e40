"""Several detectors on several signals of one model, with one threshold and one budget.

One signal sees one kind of drift: prediction times outcome that the relation turned, the residual that its mean moved,
its size that its variance did. Together they see all, and their false alarms add up: one budget is held for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from engine.learn.drift.contract import Detector, DriftError, Floats, expect

SIGNALS: Final = ("residual", "log_abs", "product", "miss", "label")
"""Of a prediction and its label: label less prediction; the log of its size; their product; 1 where the signs differ;
the label alone."""

_TINY: Final = 1e-9


def signals_of(prediction: npt.ArrayLike, label: npt.ArrayLike) -> dict[str, Floats]:
    """The signals of pairs, in the order of their labels; both in bps. A label of 0 is neither hit nor miss: nan.

    >>> signals_of([1.0, -2.0], [3.0, 2.0])["product"].tolist()
    [3.0, -4.0]
    """
    p, y = np.asarray(prediction, np.float64), np.asarray(label, np.float64)
    residual = y - p
    called = np.sign(p) * np.sign(y)
    return {
        "residual": residual,
        "log_abs": np.log(np.abs(residual) + _TINY),
        "product": p * y,
        "miss": np.where(called == 0.0, np.nan, (called < 0.0) * 1.0),
        "label": y,
    }


class Together:
    """Detectors side by side, each on a column of its own; the first to fire makes all begin anew.

    ``threshold`` multiplies the parts' own thresholds: ``Budget.tune`` finds it for all at once.
    """

    name = "together"
    least: ClassVar[float] = 0.05
    most: ClassVar[float] = 50.0

    def __init__(self, parts: Sequence[tuple[str, Detector]]) -> None:
        if not parts:
            raise DriftError("together: expected at least one detector, found none")
        self.parts = list(parts)
        self.fired = ""
        """The signal whose detector fired last."""
        self._own = [part.threshold for _, part in parts]
        self._threshold = 1.0

    @property
    def signals(self) -> list[str]:
        """What the columns are, in their order."""
        return [signal for signal, _ in self.parts]

    @property
    def threshold(self) -> float:
        """What the parts' own thresholds are multiplied by."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._threshold = value
        for own, (_, part) in zip(self._own, self.parts, strict=True):
            part.threshold = own * value

    def rebase(self) -> None:
        """Take the parts' thresholds as they are now for their own ones."""
        self._own = [part.threshold for _, part in self.parts]
        self._threshold = 1.0

    def update(self, values: Sequence[float]) -> bool:
        """Take the next value of each signal; True where one of them has changed.

        Raises:
            ValueError: another number of values than of parts.
        """
        fired = [part.update(value) for (_, part), value in zip(self.parts, values, strict=True)]
        if not any(fired):
            return False
        self.fired = self.parts[fired.index(True)][0]
        self.reset()
        return True

    def run(self, values: Floats) -> int:
        """Take rows up to the first alarm and say where it was; -1: none, and all were taken."""
        first, end = -1, len(values)
        for column, (signal, part) in enumerate(self.parts):
            at = part.run(np.ascontiguousarray(values[:end, column]))
            if at >= 0:
                first, end, self.fired = at, at, signal
        if first >= 0:
            self.reset()
        return first

    def reset(self) -> None:
        """Forget the stream."""
        for _, part in self.parts:
            part.reset()

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "name": self.name,
            "threshold": self._threshold,
            "fired": self.fired,
            "parts": [part.save() for _, part in self.parts],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what ``save`` gave of the same parts.

        Raises:
            DriftError: the state is of others.
        """
        expect(state, self.name)
        if len(state["parts"]) != len(self.parts):
            raise DriftError(f"together: expected {len(self.parts)} parts, found {len(state['parts'])}")
        for (_, part), saved in zip(self.parts, state["parts"], strict=True):
            part.load(saved)
        self.threshold = state["threshold"]
        self.fired = state["fired"]
