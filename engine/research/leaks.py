"""Does a pipeline know what it could not have known? Tests that find leaks of the future, and stay silent without one.

What can be tested exactly is tested exactly: features are built again with another future, and none at or before the
cut may change. Where only arrays are at hand, a leak must show beyond what any market allows before it is told. What a
test lacked to run is told too, as the silence of a test that did not run proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy.typing as npt

from engine.learn.estimates import Floats
from engine.learn.purge import Times
from engine.research.leak_arrays import jumps, normalised, reconstructed, shifts
from engine.research.leak_found import Leak
from engine.research.leak_splits import Split, memorised, overlapping, shuffled
from engine.research.leak_streams import Builder, Built, late_rows, live_features, with_another_future

__all__ = ["TESTS", "Built", "Leak", "Suspect", "Verdict", "find_leaks", "live_features"]

TESTS: Final = {
    "future": "features built again with another future must not change before the cut",
    "availability": "no row may use what came after it",
    "shift": "older features score smoothly less; a label that begins one row later must not take everything",
    "reconstruction": "the next move must not follow from the features, as from a filter that has seen it",
    "normalisation": "no feature may have the mean and deviation of the whole sample",
    "overlap": "no row may train whose label shares time with a validation row's",
    "shuffle": "validation rows must not lie one by one between training rows",
    "scheme": "the claimed validation must not score far above walk-forward with purging",
}


class Suspect(NamedTuple):
    """What there is of a pipeline; every part is optional, and each test takes what it needs.

    ``build`` makes features of ``events`` (a numpy array, one row an event), which were known at ``known_ns``: when
    they reached the trader, not when they happened. ``keep``: fields of structured events that stay with their place,
    such as times. ``x`` are features in rows at ``starts_ns``, ``y`` labels known at ``ends_ns``, ``moves`` the move of
    the mid from each row to the next, the first thing that its features cannot know. ``used_ns``: for each row when the
    newest thing that it used was available. ``splits``: rows that train and rows that validate, in the order of time.
    """

    build: Builder | None = None
    events: npt.NDArray[Any] | None = None
    known_ns: Times | None = None
    keep: Sequence[str] = ()
    starts_ns: Times | None = None
    x: Floats | None = None
    names: Sequence[str] = ()
    y: Floats | None = None
    ends_ns: Times | None = None
    moves: Floats | None = None
    used_ns: Times | None = None
    splits: Sequence[Split] = ()


class Verdict(msgspec.Struct, frozen=True):
    """What was found; which tests ran, and what the others lacked; the best feature's score by rows it is older."""

    leaks: list[Leak]
    ran: list[str]
    lacked: dict[str, str]
    shifts: dict[int, float]

    @property
    def is_clean(self) -> bool:
        """No test that ran found a leak."""
        return not self.leaks


def find_leaks(suspect: Suspect, seed: int = 0) -> Verdict:
    """Run every test for which there is enough.

    Raises:
        ValueError: names that are not one a feature.

    >>> import numpy as np
    >>> moves = np.random.default_rng(1).normal(size=3000)
    >>> knows = np.convolve(moves, np.ones(9) / 9, mode="same")
    >>> verdict = find_leaks(Suspect(x=knows[:, None], names=["smooth"], moves=moves))
    >>> verdict.leaks[0].detail
    'smooth tells 100 % of the next move, with older rows and past moves: it has seen the future'
    >>> past = np.roll(np.convolve(moves, np.ones(9) / 9)[:3000], 1)
    >>> find_leaks(Suspect(x=past[:, None], names=["smooth"], moves=moves)).is_clean
    True
    >>> verdict.lacked["future"]
    'needs build, events and known_ns'
    """
    s = suspect
    found: dict[str, list[Leak]] = {}
    if s.build is not None and s.events is not None and s.known_ns is not None:
        found["future"] = with_another_future(s.build, s.events, s.known_ns, s.keep, seed)
    if s.starts_ns is not None and s.used_ns is not None:
        found["availability"] = late_rows(s.starts_ns, s.used_ns)
    profile: dict[int, float] = {}
    if s.x is not None:
        names = list(s.names) or [f"feature {at}" for at in range(s.x.shape[1])]
        if len(names) != s.x.shape[1]:
            raise ValueError(f"expected a name for each of {s.x.shape[1]} features, found {len(names)}")
        found["normalisation"] = normalised(s.x, names)
        if s.moves is not None:
            found["shift"] = jumps(s.x, s.moves, names)
            found["reconstruction"] = reconstructed(s.x, s.moves, names)
        if s.y is not None:
            curves = [shifts(s.x[:, column], s.y) for column in range(s.x.shape[1])]
            profile = max(curves, key=lambda curve: abs(curve.get(0, 0.0)), default={})
    if s.splits and s.starts_ns is not None:
        found["shuffle"] = shuffled(s.starts_ns, s.splits)
        if s.ends_ns is not None:
            found["overlap"] = overlapping(s.starts_ns, s.ends_ns, s.splits)
            if s.x is not None and s.y is not None:
                found["scheme"] = memorised(s.x, s.y, s.starts_ns, s.ends_ns, s.splits, seed)
    lacked = {test: f"needs {NEEDS[test]}" for test in TESTS if test not in found}
    return Verdict([leak for test in TESTS for leak in found.get(test, [])], [*found], lacked, profile)


NEEDS: Final = {
    "future": "build, events and known_ns",
    "availability": "starts_ns and used_ns",
    "shift": "x and moves",
    "reconstruction": "x and moves",
    "normalisation": "x",
    "overlap": "splits, starts_ns and ends_ns",
    "shuffle": "splits and starts_ns",
    "scheme": "splits, starts_ns, ends_ns, x and y",
}
"""What of a suspect each test takes."""
