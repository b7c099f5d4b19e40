"""River's detectors behind one contract, each fed the right way round.

River's detectors are no plain values and some cannot be saved at all. So each keeps the values since it began and a
restored one hears them again; after ``KEPT`` values without an alarm it begins anew, which bounds the memory.
"""

from __future__ import annotations

import abc
import math
from array import array
from collections.abc import Mapping
from typing import Any, Final, cast

from river import drift

from engine.learn.drift.contract import Detector, DriftError, expect

KEPT: Final = 100_000


class River(Detector):
    """One of River's detectors; ``threshold`` is what it calls differently, turned so that more means quieter."""

    forgets = True
    """Whether it begins anew after an alarm."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._made_for = threshold
        self._heard = array("d")
        self._inner = self._make()

    @abc.abstractmethod
    def _make(self) -> Any:
        """River's own, with its options from ``threshold``."""

    def _value(self, value: float) -> Any:
        """What River's own wants to hear."""
        return value

    def update(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if len(self._heard) >= KEPT:
            self.reset()
        self._heard.append(value)
        self._inner.update(self._value(value))
        fired = bool(self._inner.drift_detected)
        if fired and self.forgets:
            self.reset()
        return fired

    def reset(self) -> None:
        self._heard = array("d")
        self._inner = self._make()

    def save(self) -> dict[str, Any]:
        return {"name": self.name, "heard": self._heard.tolist()}

    def load(self, state: Mapping[str, Any]) -> None:
        expect(state, self.name)
        self.reset()
        for value in state["heard"]:
            self._heard.append(value)
            self._inner.update(self._value(value))


class Adwin(River):
    """River's adaptive windowing (Bifet and Gavaldà, 2007): the mean of two parts of the window differs.

    ``delta`` bounds the probability of a false alarm, for values that are independent and of a bounded range: labels
    that overlap are neither, see ``Budget``. ``threshold`` is -log10 of it. After an alarm it keeps the newer part of
    its window.

    >>> adwin = Adwin(delta=0.002)
    >>> [i for i in range(400) if adwin.update(0.2 if i < 200 else 0.9)][:1]
    [223]
    """

    name = "adwin"
    forgets = False
    least, most = 0.1, 280.0

    def __init__(self, delta: float = 0.002) -> None:
        self._delta = delta
        super().__init__(-math.log10(delta))

    def _make(self) -> Any:
        delta = self._delta if self.threshold == self._made_for else 10.0**-self.threshold
        return cast("Any", drift.ADWIN)(delta=delta)


class PageHinkley(River):
    """River's cumulative sum of what exceeds the running mean (Page, 1954), in the values' own unit, two-sided.

    >>> test = PageHinkley(threshold=20.0)
    >>> [i for i in range(400) if test.update(0.0 if i < 200 else 1.0)][:1]
    [221]
    """

    name = "page-hinkley"

    def __init__(self, threshold: float = 50.0, delta: float = 0.005) -> None:
        self._slack = delta
        super().__init__(threshold)

    def _make(self) -> Any:
        return cast("Any", drift.PageHinkley)(threshold=self.threshold, delta=self._slack)


class Kswin(River):
    """River's Kolmogorov-Smirnov test of the newest values against a draw from the window (Raab et al., 2020).

    Labels that overlap are nearly the same value again, and it takes them for independent ones: only every ``each``-th
    is heard. ``threshold`` is -log10 of its significance.
    """

    name = "kswin"
    least, most = 0.5, 30.0

    def __init__(self, alpha: float = 0.005, each: int = 10, seed: int = 0) -> None:
        if each < 1:
            raise DriftError(f"kswin: each: expected at least 1, found {each}")
        self._each, self._seed, self._passed = each, seed, 0
        super().__init__(-math.log10(alpha))

    def _make(self) -> Any:
        return cast("Any", drift.KSWIN)(alpha=10.0**-self.threshold, seed=self._seed)

    def update(self, value: float) -> bool:
        self._passed += 1
        return self._passed % self._each == 0 and super().update(value)

    def reset(self) -> None:
        super().reset()
        self._passed = 0

    def save(self) -> dict[str, Any]:
        return {**super().save(), "passed": self._passed}

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        self._passed = int(state["passed"])


class Miss(River):
    """A detector of misses: a value above a half is a miss, whichever way round River wants to hear it.

    DDM, EDDM and HDDM want 1 for an error, FHDDM wants 1 for a right answer; the wrong way round they are deaf.
    """

    hears_errors = True

    def _value(self, value: float) -> Any:
        return (value > 0.5) == self.hears_errors


class Ddm(Miss):
    """Drift detection method (Gama et al., 2004): the error rate is ``threshold`` deviations above its least."""

    name = "ddm"
    least, most = 0.5, 100.0

    def __init__(self, threshold: float = 3.0) -> None:
        super().__init__(threshold)

    def _make(self) -> Any:
        return cast("Any", drift.binary.DDM)(drift_threshold=self.threshold, warning_threshold=min(2.0, self.threshold))


class Eddm(Miss):
    """Early drift detection method (Baena-García et al., 2006): the distance between errors shrank.

    ``threshold`` is one over the share of its greatest to which the distance must have fallen.
    """

    name = "eddm"
    least, most = 1.01, 100.0

    def __init__(self, threshold: float = 1 / 0.9) -> None:
        super().__init__(threshold)

    def _make(self) -> Any:
        return cast("Any", drift.binary.EDDM)(alpha=1.0, beta=1.0 / self.threshold)


class HddmA(Miss):
    """Hoeffding's bound on averages (Frías-Blanco et al., 2015). ``threshold`` is -log10 of its confidence."""

    name = "hddm-a"
    least, most = 0.1, 280.0

    def __init__(self, confidence: float = 0.001) -> None:
        super().__init__(-math.log10(confidence))

    def _make(self) -> Any:
        level = 10.0**-self.threshold
        return cast("Any", drift.binary.HDDMA)(drift_confidence=level, warning_confidence=max(level, 0.005))


class HddmW(Miss):
    """McDiarmid's bound on weighted averages (Frías-Blanco et al., 2015). ``threshold`` is -log10 of its confidence."""

    name = "hddm-w"
    least, most = 0.1, 280.0

    def __init__(self, confidence: float = 0.001) -> None:
        super().__init__(-math.log10(confidence))

    def _make(self) -> Any:
        level = 10.0**-self.threshold
        return cast("Any", drift.binary.HDDMW)(drift_confidence=level, warning_confidence=max(level, 0.005))


class Fhddm(Miss):
    """Hoeffding's bound in a sliding window (Pesaranghader and Viktor, 2016). ``threshold`` is -log10 of its level."""

    name = "fhddm"
    hears_errors = False
    least, most = 0.1, 280.0

    def __init__(self, confidence: float = 1e-6) -> None:
        super().__init__(-math.log10(confidence))

    def _make(self) -> Any:
        return cast("Any", drift.binary.FHDDM)(confidence_level=10.0**-self.threshold)
