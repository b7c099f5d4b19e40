"""How a prediction fares over other times than its own: shorter and longer horizons, and entries that come late."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.core.events import FRAME, Frames
from engine.core.jit import kernel
from engine.core.types import NEVER_NS
from engine.features.set import usable

FACTORS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Horizons of the decay curve, in horizons of the model."""

DELAYS_NS: Final = (0, 100_000_000, 300_000_000, 1_000_000_000)
"""How much later the return begins, in the curve of entry latency."""

MOST: Final = 4096
"""Samples that wait; with more in the longest span, every second, third … sample is followed."""

SAMPLE: Final = np.dtype([("ns", "i8"), ("epoch", "i8"), ("prediction", "f8")])

SPAN: Final = np.dtype(
    [
        ("from_ns", "i8"),  # after the sample
        ("to_ns", "i8"),
        ("begun", "i8"),  # samples, from the first ever, whose span has begun
        ("ended", "i8"),
        ("count", "i8"),
        ("mean_p", "f8"),
        ("mean_y", "f8"),
        ("var_p", "f8"),
        ("var_y", "f8"),
        ("covariance", "f8"),
    ]
)

CURSOR: Final = np.dtype(
    [
        ("added", "i8"),
        ("kept", "i8"),  # the first sample that some span still waits for
        ("epoch", "i8"),
        ("frame_ns", "i8"),
        ("next_ns", "i8"),  # nothing happens up to here
        ("stale_ns", "i8"),
        ("twice_mid", "f8"),  # 0: the book may not be used
    ]
)


@kernel
def _mid(at: np.void, sample: np.void, now_ns: int) -> float:
    """Twice the mid as it stands for a sample, nan where nobody knows."""
    if at["twice_mid"] <= 0.0 or sample["epoch"] != at["epoch"] or now_ns - at["frame_ns"] > at["stale_ns"]:
        return np.nan
    return float(at["twice_mid"])


@kernel
def _score(span: np.void, prediction: float, label: float) -> None:
    span["count"] += 1
    delta_p, delta_y = prediction - span["mean_p"], label - span["mean_y"]
    span["mean_p"] += delta_p / span["count"]
    span["mean_y"] += delta_y / span["count"]
    span["var_p"] += delta_p * (prediction - span["mean_p"])
    span["var_y"] += delta_y * (label - span["mean_y"])
    span["covariance"] += delta_p * (label - span["mean_y"])


@kernel
def _pass(
    samples: npt.NDArray[np.void],
    entries: npt.NDArray[np.float64],
    spans: npt.NDArray[np.void],
    cursor: npt.NDArray[np.void],
    before_ns: int,
) -> None:
    """Begin and end all spans that do so before a time, at the mid as it stands."""
    at = cursor[0]
    size = samples.shape[0]
    next_ns, kept = NEVER_NS, at["added"]
    for k in range(spans.shape[0]):
        span = spans[k]
        while span["begun"] < at["added"]:
            slot = span["begun"] % size
            begins = samples[slot]["ns"] + span["from_ns"]
            if begins >= before_ns:
                next_ns = min(next_ns, begins)
                break
            entries[slot, k] = _mid(at, samples[slot], begins)
            span["begun"] += 1
        while span["ended"] < span["begun"]:
            slot = span["ended"] % size
            ends = samples[slot]["ns"] + span["to_ns"]
            if ends >= before_ns:
                next_ns = min(next_ns, ends)
                break
            label = np.log(_mid(at, samples[slot], ends) / entries[slot, k]) * 1e4
            if label == label:
                _score(span, samples[slot]["prediction"], label)
            span["ended"] += 1
        kept = min(kept, span["ended"])
    at["next_ns"], at["kept"] = next_ns, kept


@kernel
def _follow(
    samples: npt.NDArray[np.void],
    entries: npt.NDArray[np.float64],
    spans: npt.NDArray[np.void],
    cursor: npt.NDArray[np.void],
    frames: Frames,
    symbol: int,
) -> None:
    at = cursor[0]
    for i in range(frames.shape[0]):
        frame = frames[i]
        if frame["symbol"] != symbol:
            continue
        if frame["recv_ns"] > at["next_ns"]:
            _pass(samples, entries, spans, cursor, frame["recv_ns"])
        at["frame_ns"] = max(at["frame_ns"], frame["recv_ns"])
        if usable(frame):
            at["twice_mid"] = float(frame["bid"][0]) + float(frame["ask"][0])
        elif at["twice_mid"] > 0.0:
            at["twice_mid"] = 0.0
            at["epoch"] += 1


@kernel
def _add(
    samples: npt.NDArray[np.void],
    entries: npt.NDArray[np.float64],
    spans: npt.NDArray[np.void],
    cursor: npt.NDArray[np.void],
    now_ns: int,
    prediction: float,
) -> bool:
    at = cursor[0]
    if at["twice_mid"] <= 0.0:
        return False
    _pass(samples, entries, spans, cursor, now_ns + 1)
    if at["added"] - at["kept"] >= samples.shape[0]:
        return False
    one = samples[at["added"] % samples.shape[0]]
    one["ns"], one["epoch"], one["prediction"] = now_ns, at["epoch"], prediction
    at["added"] += 1
    _pass(samples, entries, spans, cursor, now_ns + 1)
    return True


class Point(NamedTuple):
    """The information coefficient of one span, ``begins_ns`` to ``ends_ns`` after the sample; None: not known yet."""

    begins_ns: int
    ends_ns: int
    ic: float | None
    pairs: int


class Curves:
    """Follows samples of one model over many spans at once, in a bounded queue.

    >>> curves = Curves(symbol=0, horizon_ns=10**9, every_ns=5 * 10**8)
    >>> from engine.core.events import FRAME_READY
    >>> frames = np.zeros(400, FRAME)
    >>> frames["flags"], frames["recv_ns"] = FRAME_READY, np.arange(400) * 10**8
    >>> frames["bid"][:, 0] = 1000 + 10 * (np.arange(400) // 20 % 2)
    >>> frames["ask"][:, 0] = frames["bid"][:, 0] + 2
    >>> for i in range(0, 400, 5):
    ...     curves.follow(frames[i : i + 5])
    ...     _ = curves.add((i + 4) * 10**8, prediction=-1.0 if i // 20 % 2 else 1.0)
    >>> [(one.ends_ns / 1e9, round(one.ic, 2)) for one in curves.decay()[2:5]]
    [(0.5, 0.49), (1.0, 0.70), (2.0, 1.0)]
    """

    def __init__(self, symbol: int, horizon_ns: int, every_ns: int, stale_ns: int = NEVER_NS) -> None:
        self.symbol = symbol
        wanted = [(0, max(1, round(factor * horizon_ns))) for factor in FACTORS]
        wanted += [(delay, delay + horizon_ns) for delay in DELAYS_NS[1:]]
        longest = max(ends for _, ends in wanted)
        size = min(MOST, longest // every_ns + 2)
        self.stride = -(-(longest // every_ns + 2) // size)
        self.offered = 0
        self._samples: npt.NDArray[np.void] = np.zeros(size, SAMPLE)
        self._entries: npt.NDArray[np.float64] = np.zeros((size, len(wanted)))
        self._spans: npt.NDArray[np.void] = np.zeros(len(wanted), SPAN)
        self._spans["from_ns"], self._spans["to_ns"] = np.array(wanted).T
        self._cursor: npt.NDArray[np.void] = np.zeros(1, CURSOR)
        self._cursor["next_ns"], self._cursor["stale_ns"] = NEVER_NS, stale_ns
        self._cursor["frame_ns"] = -NEVER_NS // 2
        # Compiled here, at the start, and not at the first tick.
        self.follow(np.zeros(0, FRAME))
        _add(self._samples, self._entries, self._spans, self._cursor, 0, 0.0)  # no book yet: nothing is added

    def follow(self, frames: Frames) -> None:
        """Take frames of any symbols, oldest first."""
        _follow(self._samples, self._entries, self._spans, self._cursor, frames, self.symbol)

    def add(self, now_ns: int, prediction: float) -> bool:
        """Follow a sample, or pass it over (False): not its turn, no usable book, or no room."""
        self.offered += 1
        if (self.offered - 1) % self.stride:
            return False
        return _add(self._samples, self._entries, self._spans, self._cursor, now_ns, prediction)

    def decay(self) -> list[Point]:
        """By horizon, ``FACTORS`` of the model's own: the correlation of the prediction with the return so far."""
        return [self._point(at) for at in range(len(FACTORS))]

    def entry(self) -> list[Point]:
        """By delay, ``DELAYS_NS``: the correlation with the return over the horizon that begins so much later."""
        first = FACTORS.index(1.0)
        return [self._point(at) for at in (first, *range(len(FACTORS), len(self._spans)))]

    def _point(self, at: int) -> Point:
        begins, ends, _, _, count, _, _, var_p, var_y, covariance = self._spans[at].item()
        scale = math.sqrt(var_p) * math.sqrt(var_y)
        ic = max(-1.0, min(1.0, covariance / scale)) if scale > 0.0 else None
        return Point(begins, ends, ic, count)

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        parts = {name: getattr(self, f"_{name}").tobytes() for name in ("samples", "entries", "spans", "cursor")}
        return {"offered": self.offered, **parts}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of curves of the same horizon gave."""
        self.offered = state["offered"]
        for name in ("samples", "entries", "spans", "cursor"):
            mine: npt.NDArray[Any] = getattr(self, f"_{name}")
            mine[:] = np.frombuffer(state[name], mine.dtype).reshape(mine.shape)


def told(points: list[Point]) -> list[dict[str, float | int | None]]:
    """Points as plain values, times in seconds."""
    return [
        {
            "begins_s": one.begins_ns / 1e9,
            "ends_s": one.ends_ns / 1e9,
            "ic": None if one.ic is None else round(one.ic, 6),
            "pairs": one.pairs,
        }
        for one in points
    ]
