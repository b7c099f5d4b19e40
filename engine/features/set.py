"""All features of a run: one state row a symbol, one compiled loop over the frames, one vector out.

The state array is everything: copy it and put it back, and the features go on bit for bit as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from engine.core.events import FRAME, FRAME_READY, Frames
from engine.core.jit import kernel
from engine.features import book, flow, returns

VERSION = 1
"""Raised when the same name begins to mean another number."""

WARM_UP_NS = 5_000_000_000
"""How long a book must have been usable, without a break, before its features are read."""

Vector: TypeAlias = npt.NDArray[np.float64]

FAMILIES = (("book", book.FEATURES), ("flow", flow.FEATURES), ("returns", returns.FEATURES))

STATE = np.dtype(
    [
        ("last", FRAME),  # the frame before; its recv_ns is what the features stand at
        ("ready", "i8"),  # 1: the last frame's book may be used
        ("since_ns", "i8"),  # of the first frame since the book became usable
        ("doubts", "i8"),  # how often the book went from usable to not
        ("tick", "f8"),  # price units
        ("book", "f8", (book.MEMORY,)),
        ("flow", "f8", (flow.MEMORY,)),
        ("returns", "f8", (returns.MEMORY,)),
    ]
)
"""One symbol's memory."""

_BOOK = len(book.FEATURES)
_FLOW = _BOOK + len(flow.FEATURES)
_ALL = _FLOW + len(returns.FEATURES)


@kernel
def usable(frame: np.void) -> bool:
    """The book is verified, has both sides, and is not crossed."""
    bid, ask = frame["bid"][0], frame["ask"][0]
    return bool((frame["flags"] & FRAME_READY) != 0 and bid > 0 and ask > bid)


@kernel
def _update(state: npt.NDArray[np.void], frames: Frames) -> None:
    for i in range(frames.shape[0]):
        now = frames[i]
        symbol = now["symbol"]
        mine = state[symbol]
        was_ready = mine["ready"] != 0
        if not usable(now):
            mine["ready"] = 0
            if was_ready:
                mine["doubts"] += 1
        elif not was_ready:
            mine["ready"] = 1
            mine["since_ns"] = now["recv_ns"]
            book.start(now, mine["book"])
            flow.start(mine["flow"])
            returns.start(mine["returns"])
        else:
            last = mine["last"]
            seconds = max(0, now["recv_ns"] - last["recv_ns"]) * 1e-9
            book.update(last, now, seconds, mine["book"])
            flow.update(now, seconds, mine["flow"])
            returns.update(last, now, seconds, mine["returns"])
        state["last"][symbol] = now


@kernel
def _read(state: npt.NDArray[np.void], symbol: int, now_ns: int, warm_up_ns: int, out: Vector) -> bool:
    mine = state[symbol]
    if mine["ready"] == 0 or now_ns - mine["since_ns"] < warm_up_ns:
        return False
    last = mine["last"]
    seconds = max(0, now_ns - last["recv_ns"]) * 1e-9
    book.read(last, mine["tick"], seconds, mine["book"], out[:_BOOK])
    flow.read(last, seconds, mine["flow"], out[_BOOK:_FLOW])
    returns.read(seconds, mine["returns"], out[_FLOW:])
    return True


class FeatureSet:
    """The streaming features of all symbols; ``ticks`` are the price steps in price units, one a symbol.

    >>> features = FeatureSet(ticks=[1], warm_up_ns=0)
    >>> frame = np.zeros(1, FRAME)
    >>> frame["flags"], frame["bid"][0, 0], frame["bid_size"][0, 0] = FRAME_READY, 9_999, 30
    >>> frame["ask"][0, 0], frame["ask_size"][0, 0] = 10_001, 10
    >>> features.update(frame)
    >>> out = features.vector()
    >>> features.read(0, now_ns=0, out=out)
    True
    >>> named = dict(zip(features.names, out.tolist(), strict=True))
    >>> named["spread_bps"], named["spread_ticks"], named["imbalance_1"], named["microprice_bps"]
    (2.0, 2.0, 0.5, 0.5)
    """

    names: tuple[str, ...] = tuple(name for _, family in FAMILIES for name, _ in family)
    units: tuple[str, ...] = tuple(unit for _, family in FAMILIES for _, unit in family)
    version: int = VERSION

    def __init__(self, ticks: Sequence[int], warm_up_ns: int = WARM_UP_NS) -> None:
        self.warm_up_ns = warm_up_ns
        self.state: npt.NDArray[np.void] = np.zeros(len(ticks), STATE)
        self.state["tick"] = ticks
        # Compiled here, at the start, and not at the first tick.
        self.update(np.zeros(0, FRAME))
        if len(ticks):
            self.read(0, 0, self.vector())

    def update(self, frames: Frames) -> None:
        """Take frames, oldest first. One that is not ready forgets its symbol, and the warm-up begins again."""
        _update(self.state, frames)

    def read(self, symbol: int, now_ns: int, out: Vector) -> bool:
        """Write a symbol's features as of ``now_ns`` into ``out``; False (and nothing written) while not warm.

        Reading changes nothing: read as often as you like, or never.
        """
        return _read(self.state, symbol, now_ns, self.warm_up_ns, out)

    def frame_ns(self, symbol: int) -> int:
        """Engine time of a symbol's last frame; 0 before the first."""
        return int(self.state[symbol]["last"]["recv_ns"])

    def restore(self, state: bytes) -> None:
        """Go on from the bytes of another set's ``state``."""
        self.state[:] = np.frombuffer(state, STATE)

    def vector(self) -> Vector:
        """A zeroed vector of the right length."""
        return np.zeros(len(self.names))

    @property
    def hash(self) -> str:
        """SHA-256 over what the numbers mean: names, units, half-lives, warm-up, version. Models carry it."""
        return _hash(self.warm_up_ns)


def _hash(warm_up_ns: int) -> str:
    meaning = {
        "version": VERSION,
        "features": [list(pair) for _, family in FAMILIES for pair in family],
        "half_lives_s": [
            list(book.HALF_LIVES_S),
            book.DEPTH_HALF_LIFE_S,
            list(flow.HALF_LIVES_S),
            list(returns.HALF_LIVES_S),
            list(returns.VOLATILITY_HALF_LIVES_S),
        ],
        "warm_up_ns": warm_up_ns,
    }
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
