"""The exact tests: features built again from the same past with another future must be the same, to the bit.

What counts as past is what was *known*: an event that happened before the cut but became available after it belongs to
the future, so a join by event time is found like any other leak.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.core.events import Frames
from engine.features.set import WARM_UP_NS, FeatureSet
from engine.learn.estimates import Floats
from engine.learn.purge import Times
from engine.research.leak_found import Leak

CUTS: Final = 6


class Built(NamedTuple):
    """Features in rows: when each row was made, its values, and the features' names."""

    times_ns: Times
    x: Floats
    names: Sequence[str]


Builder: TypeAlias = Callable[[npt.NDArray[Any]], Built]


def with_another_future(
    build: Builder, events: npt.NDArray[Any], known_ns: Times, keep: Sequence[str] = (), seed: int = 0
) -> list[Leak]:
    """Features that change at or before a cut when what became known after it is other data, or missing.

    ``known_ns``: when each event reached us, rising or not. ``keep``: fields of structured events that stay with their
    place, such as times. The other data are events of the same recording in another order, some twice and some not at
    all, so that no sum, mean or extreme of the whole stays as it was.

    >>> prices = np.cumsum(np.random.default_rng(1).normal(size=400))
    >>> times = np.arange(400)
    >>> def honest(events):
    ...     return Built(times[: len(events)], np.cumsum(events)[:, None], ["sum"])
    >>> def centred(events):
    ...     return Built(times[: len(events)], np.convolve(events, np.ones(5) / 5, mode="same")[:, None], ["smooth"])
    >>> with_another_future(honest, prices, times)
    []
    >>> with_another_future(centred, prices, times)[0].detail
    'smooth changes up to 1 ns before the cut when the future does, in 12 of 12 trials'
    """
    chance = np.random.default_rng(seed)
    base = build(events)
    if not len(base.times_ns):
        return []
    changed: dict[str, list[int]] = {}
    cuts = np.unique(base.times_ns[np.linspace(0, len(base.times_ns) - 1, CUTS + 2).round().astype(int)[1:-1]])
    for cut_ns in cuts.tolist():
        later = np.flatnonzero(known_ns > cut_ns)
        if not len(later):
            continue
        other = events.copy()
        other[later] = events[chance.integers(0, len(events), len(later))]
        for field in keep:
            other[field][later] = events[field][later]
        for again in (build(other), build(events[known_ns <= cut_ns])):
            for name, reach_ns in _differences(base, again, cut_ns).items():
                changed.setdefault(name, []).append(reach_ns)
    trials = 2 * len(cuts)
    return [
        Leak(
            "future",
            name,
            float(max(reaches)),
            f"{name} changes up to {max(reaches):,} ns before the cut when the future does, "
            f"in {len(reaches)} of {trials} trials",
        )
        for name, reaches in changed.items()
    ]


def _differences(base: Built, again: Built, cut_ns: int) -> dict[str, int]:
    """By feature that is not the same at or before the cut: how long before it at most, ns."""
    common, at, there = np.intersect1d(base.times_ns, again.times_ns, return_indices=True)
    past = common <= cut_ns
    one, other = base.x[at[past]], again.x[there[past]]
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return {
        name: int(cut_ns - common[past][~same[:, column]].min())
        for column, name in enumerate(base.names)
        if not same[:, column].all()
    }


def late_rows(row_ns: Times, used_ns: Times, name: str = "the join") -> list[Leak]:
    """Rows that used what was available only after them; ``used_ns``: when the newest thing in each became available.

    >>> late_rows(np.array([10, 20, 30]), np.array([9, 25, 30]))[0].detail
    'the join: 1 of 3 rows used what came up to 5 ns later: join by when things were available, not when they happened'
    """
    late = used_ns > row_ns
    if not late.any():
        return []
    most = int((used_ns - row_ns).max())
    text = f"{name}: {int(late.sum())} of {len(row_ns)} rows used what came up to {most:,} ns later"
    advice = "join by when things were available, not when they happened"
    return [Leak("availability", name, float(late.mean()), f"{text}: {advice}")]


def live_features(
    ticks: Sequence[int], symbol: int, every_ns: int, warm_up_ns: int = WARM_UP_NS
) -> Callable[[Frames], Built]:
    """A builder of the live path: the streaming features over frames, read on the grid of engine time as a model does.

    A row at t has seen the frames at or before t, so ``known_ns`` of a frame is its ``recv_ns``.
    """

    def build(frames: Frames) -> Built:
        features = FeatureSet(ticks, warm_up_ns)
        recv_ns = frames["recv_ns"]
        times: list[int] = []
        rows: list[Floats] = []
        done = 0
        if len(frames):
            first = int(recv_ns[0]) // every_ns * every_ns + every_ns
            for now_ns in range(first, int(recv_ns[-1]) + 1, every_ns):
                upto = int(np.searchsorted(recv_ns, now_ns, side="right"))
                features.update(frames[done:upto])
                done = upto
                x = features.vector()
                if features.read(symbol, now_ns, x):
                    times.append(now_ns)
                    rows.append(x)
        width = len(features.names)
        return Built(np.array(times, np.int64), np.array(rows).reshape(-1, width), features.names)

    return build
