"""Thresholds for a false-alarm budget in slices of a millisecond, so that they can be found inside the loop.

``Budget.tune`` bisects: it plays the drawn streams again for each threshold it tries, for seconds. Here each stream is
played once without a threshold, and the greatest that each window told is kept. A detector fires in a stream exactly
when that is above its threshold, so all thresholds are known at the end. What this counts is first alarms: a stream of
``ROWS`` values with two of them counts once, which budgets of less than one in a stream do not feel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from engine.learn.drift.budget import FIT_RATE, MEAN_BLOCK, bootstrap_rows
from engine.learn.drift.contract import DriftError, Floats, Ranked

JUDGED: Final = 7000
"""Values of a stream that are judged, behind those that a detector only hears: a scan plays them in a millisecond."""

EXPECTED: Final = 2.7
"""False alarms in all streams at the budget: of one that breaks it, at most one is seen in less than a quarter of all
cases (Poisson)."""

ALLOWED: Final = 1
"""Streams with an alarm that the threshold leaves."""

LONGEST: Final = 2_500_000
"""Labels between two alarms of the rarest budget: it takes a thousand streams, and the past has thousands of labels."""


class Tuning:
    """Finds the thresholds of detectors side by side, one stream of one detector a ``step``.

    ``past`` has a column for each of ``parts``, which are played here and watch nothing themselves. ``per``: values
    to a false alarm of all together.

    >>> from engine.learn.drift.scan import Scan
    >>> past = np.random.default_rng(1).normal(size=(3000, 2))
    >>> tuning = Tuning([Scan("location"), Scan("spread")], past, per=20_000, seed=1)
    >>> while not tuning.is_done:
    ...     tuning.step()
    >>> tuning.steps, [round(one, 2) for one in tuning.thresholds()]
    (16, [1.28, 1.05])
    """

    def __init__(self, parts: Sequence[Ranked], past: Floats, per: int, seed: int) -> None:
        if past.ndim != 2 or past.shape[1] != len(parts) or not len(past):
            raise DriftError(f"tuning: expected a past with {len(parts)} columns, found one of shape {past.shape}")
        if per > LONGEST:
            raise DriftError(f"tuning: expected an alarm in at most {LONGEST:,} values, found one in {per:,}")
        self.parts = list(parts)
        self.past = past
        self.seed = seed
        self.steps = 0
        self.streams = max(4 * ALLOWED, math.ceil(EXPECTED * per / JUDGED))
        self._peaks: list[list[list[float]]] = [[] for _ in parts]

    @property
    def is_done(self) -> bool:
        """Whether all streams were played."""
        return self.steps >= self.streams * len(self.parts)

    def step(self) -> None:
        """Play the next stream of the next detector."""
        stream, column = divmod(self.steps, len(self.parts))
        part = self.parts[column]
        rows = bootstrap_rows(len(self.past), part.silent + JUDGED, MEAN_BLOCK, self.seed + stream)
        peaks = part.peaks(np.ascontiguousarray(self.past[rows, column]))
        self._peaks[column].append(np.nan_to_num(peaks, posinf=0.0, neginf=0.0).tolist())
        self.steps += 1

    def units(self, column: int) -> Floats:
        """What one unit of each window of a detector is: each alone would be crossed as often."""
        peaks = np.sort(np.array(self._peaks[column]), axis=0)[::-1]
        often = min(self.streams - 1, int(FIT_RATE * self.streams * JUDGED / 100_000))
        units: Floats = peaks[often]
        return np.where(units > 1e-6, units, 1.0)

    def thresholds(self) -> list[float]:
        """For each detector, in its units: its share of the budget, then all by one factor, as alarms coincide.

        A detector with one window keeps its own unit.
        """
        peaks = []
        for column in range(len(self.parts)):
            told = np.array(self._peaks[column])
            scaled = told / self.units(column) if told.shape[1] > 1 else told
            peaks.append(scaled.max(axis=1))
        own = [max(part.floor, _left(one, 0)) for part, one in zip(self.parts, peaks, strict=True)]
        together = np.max([one / level for one, level in zip(peaks, own, strict=True)], axis=0)
        factor = _left(together, ALLOWED)
        found = [level * factor for level in own]
        return [max(part.floor, one) for part, one in zip(self.parts, found, strict=True)]

    def apply(self, parts: Sequence[Ranked]) -> None:
        """Give detectors like these what was found; what they have heard stays."""
        for column, (part, threshold) in enumerate(zip(parts, self.thresholds(), strict=True)):
            if len(self._peaks[column][0]) > 1:
                part.scale(self.units(column))
            part.threshold = threshold

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "past": self.past.tobytes(),
            "seed": self.seed,
            "steps": self.steps,
            "streams": self.streams,
            "peaks": self._peaks,
        }

    @classmethod
    def restored(cls, parts: Sequence[Ranked], state: Mapping[str, Any]) -> Tuning:
        """What ``save`` gave, with detectors like those it had."""
        past = np.frombuffer(state["past"]).reshape(-1, len(parts)).copy()
        tuning = cls(parts, past, 1, state["seed"])
        tuning.steps, tuning.streams = state["steps"], state["streams"]
        tuning._peaks = [[list(one) for one in column] for column in state["peaks"]]
        return tuning


def _left(values: Floats, above: int) -> float:
    """The least level that so many of the values exceed at most."""
    return float(np.sort(values)[::-1][above])
