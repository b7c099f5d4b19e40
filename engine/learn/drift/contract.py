"""What every detector can do: hear a value, start again, be saved, and be made more or less easily alarmed."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class DriftError(ValueError):
    """A detector that cannot be made, tuned or restored so; the text says what was expected and found."""


class DriftDetector(Protocol):
    """Watches one stream of numbers: all that a model at work needs."""

    name: str

    def update(self, value: float) -> bool:
        """Take the next value; True where the stream has changed."""
        ...


class Detector(abc.ABC):
    """Watches one stream and says at which value it has changed.

    ``threshold`` is what ``Budget.tune`` moves: the higher, the fewer alarms, in the detector's own unit. After an
    alarm the detector has forgotten the stream before it, unless its docstring says otherwise. A value that is not
    finite is passed over: a missing label is no drift.
    """

    name: str
    least: ClassVar[float] = 1e-3
    most: ClassVar[float] = 1e6
    """Between these thresholds ``Budget.tune`` looks."""

    threshold: float

    level = 0.0
    """What passed the threshold in the last alarm, in its unit; 0: this one does not tell it."""

    span = 0
    """How many of the newest values the last alarm was about; 0: this one does not tell it."""

    @abc.abstractmethod
    def update(self, value: float) -> bool:
        """Take the next value; True where the stream has changed."""

    def run(self, values: Floats) -> int:
        """Take values up to the first alarm and say where it was; -1: none, and all were taken.

        The same as ``update`` one by one, for those with a kernel much faster.
        """
        for at, value in enumerate(values.tolist()):
            if self.update(value):
                return at
        return -1

    @abc.abstractmethod
    def reset(self) -> None:
        """Forget the stream; the settings stay."""

    @abc.abstractmethod
    def save(self) -> dict[str, Any]:
        """The state as plain values: numbers, text, lists."""

    @abc.abstractmethod
    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what ``save`` gave of a detector with the same settings.

        Raises:
            DriftError: the state is of another detector.
        """


class Ranked(Detector):
    """A detector of which one can read how near to an alarm a stream comes: one pass tells what any threshold does."""

    floor: ClassVar[float]
    """No threshold that is found is below: a stream that never varied says nothing of how it will."""

    @property
    @abc.abstractmethod
    def silent(self) -> int:
        """How many values it hears before it judges."""

    @abc.abstractmethod
    def peaks(self, values: Floats) -> Floats:
        """The greatest that each of its windows tells over a stream, were there no alarm; it is left as new."""

    def scale(self, units: Floats) -> None:
        """Take what one unit of each window is; one that has a single window has nothing to scale."""
        del units


class Watcher(Protocol):
    """What a budget can be held for: a detector of one stream, or several together on the columns of a table."""

    threshold: float
    least: ClassVar[float]
    most: ClassVar[float]

    def run(self, values: Floats) -> int:
        """As ``Detector.run``."""
        ...

    def reset(self) -> None:
        """Forget the stream."""
        ...

    def save(self) -> dict[str, Any]:
        """As ``Detector.save``."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """As ``Detector.load``."""
        ...


def expect(state: Mapping[str, Any], name: str) -> None:
    """Refuse a state that another detector saved."""
    if state.get("name") != name:
        found = state.get("name")
        raise DriftError(f"expected the state of {name}, found that of {found!r}: load what it saved itself")
