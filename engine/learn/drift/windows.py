"""Two windows compared whole: the population stability index, and Kolmogorov and Smirnov's test."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from engine.learn.drift.contract import DriftError, Floats, Ranked, expect

BINS: Final = 10


class Compared(Ranked):
    """The newest ``recent`` values against the first ``reference`` ones, every ``each`` values."""

    usual: ClassVar[float]

    def __init__(
        self, threshold: float | None = None, reference: int = 2000, recent: int = 500, each: int = 50
    ) -> None:
        if min(reference, recent) < 2 * BINS or each < 1:
            raise DriftError(
                f"{self.name}: expected windows of at least {2 * BINS} values and each of at least 1, "
                f"found {reference}, {recent} and {each}"
            )
        self.threshold = self.usual if threshold is None else threshold
        self._each = each
        self._reference = np.zeros(reference)
        self._ring = np.zeros(recent)
        self._count = 0

    @abc.abstractmethod
    def _learn(self, reference: Floats) -> None:
        """Make of the reference, once it is whole, what ``_differ`` compares with."""

    @abc.abstractmethod
    def _differ(self, recent: Floats) -> float:
        """How much the newest values differ from the reference."""

    def update(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        whole = len(self._reference)
        at = self._count
        self._count += 1
        if at < whole:
            self._reference[at] = value
            if self._count == whole:
                self._learn(self._reference)
            return False
        self._ring[(at - whole) % len(self._ring)] = value
        since = self._count - whole
        if since < len(self._ring) or since % self._each:
            return False
        told = self._differ(self._ring)
        if told <= self.threshold:
            return False
        self.level, self.span = told, len(self._ring)
        self.reset()
        return True

    @property
    def silent(self) -> int:
        return len(self._reference) + len(self._ring)

    def peaks(self, values: Floats) -> Floats:
        heard = values[np.isfinite(values)]
        whole, width = len(self._reference), len(self._ring)
        if len(heard) < whole + width:
            return np.zeros(1)
        self._learn(heard[:whole])
        ends = range(whole + width + -width % self._each, len(heard) + 1, self._each)
        peak = max((self._differ(heard[end - width : end]) for end in ends), default=0.0)
        self.reset()
        return np.array([peak])

    def reset(self) -> None:
        self._count = 0

    def save(self) -> dict[str, Any]:
        known = min(self._count, len(self._reference))
        return {
            "name": self.name,
            "count": self._count,
            "reference": self._reference[:known].tolist(),
            "ring": self._ring.tolist(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        expect(state, self.name)
        if len(state["ring"]) != len(self._ring) or len(state["reference"]) > len(self._reference):
            raise DriftError(f"{self.name}: expected the state of windows as long as these, found another")
        self._count = int(state["count"])
        self._reference[: len(state["reference"])] = state["reference"]
        self._ring[:] = state["ring"]
        if self._count >= len(self._reference):
            self._learn(self._reference)


class Psi(Compared):
    """The population stability index over tenths of the reference; by custom 0.2 is "another population".

    >>> chance = np.random.default_rng(1)
    >>> values = chance.normal(size=8000) + np.repeat((0.0, 1.0), 4000)
    >>> Psi(0.2).run(values)
    4249
    """

    name = "psi"
    usual = 0.2
    floor = 0.2

    def _learn(self, reference: Floats) -> None:
        self._edges = np.quantile(reference, np.arange(1, BINS) / BINS)
        self._share = self._shares(reference)

    def _shares(self, values: Floats) -> Floats:
        counts = np.bincount(np.searchsorted(self._edges, values, side="right"), minlength=BINS)
        return np.asarray((counts + 0.5) / (len(values) + 0.5 * BINS), np.float64)

    def _differ(self, recent: Floats) -> float:
        now = self._shares(recent)
        return float(np.sum((now - self._share) * np.log(now / self._share)))


class TwoSample(Compared):
    """Kolmogorov and Smirnov's distance of the two windows, times the root of n·m / (n + m).

    1.63 is one false alarm in a hundred for independent values; those of a market are not.
    """

    name = "two-sample"
    usual = 1.63
    floor = 1.63

    def _learn(self, reference: Floats) -> None:
        self._sorted = np.sort(reference)

    def _differ(self, recent: Floats) -> float:
        ordered = np.sort(recent)
        both = np.concatenate((self._sorted, ordered))
        n, m = len(self._sorted), len(ordered)
        left = np.searchsorted(self._sorted, both, side="right") / n
        right = np.searchsorted(ordered, both, side="right") / m
        return float(np.max(np.abs(left - right)) * math.sqrt(n * m / (n + m)))
