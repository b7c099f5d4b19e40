"""A family of features by itself, frame after frame, and the plain sampling that its tests compare to."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import numpy.typing as npt

from engine.core.events import FRAME, FRAME_BOOK, FRAME_READY, Frames
from tests.frames import START_NS
from tests.recorded import recorded

COINM = ("binance/cm-btcusd_perp_20240808.gz",)

Vector = npt.NDArray[np.float64]


class Stream:
    """A family's memory of one symbol; its frames are usable ones, oldest first."""

    def __init__(self, family: ModuleType) -> None:
        self.family = family
        self.names = tuple(name for name, _ in family.FEATURES)
        self.memory: Vector = np.zeros(family.MEMORY)
        self.last: Frames = np.zeros(0, FRAME)

    def update(self, frames: Frames) -> None:
        for k in range(len(frames)):
            now = frames[k]
            if not len(self.last):
                self.family.start(now, self.memory)
            else:
                last = self.last[0]
                seconds = max(0, int(now["recv_ns"]) - int(last["recv_ns"])) * 1e-9
                self.family.update(last, now, seconds, self.memory)
            self.last = frames[k : k + 1].copy()

    def vector(self, now_ns: int) -> Vector:
        out = np.zeros(len(self.names))
        last = self.last[0]
        seconds = max(0, now_ns - int(last["recv_ns"])) * 1e-9
        self.family.read(last, 1.0, seconds, now_ns, self.memory, out)
        return out

    def read(self, now_ns: int) -> dict[str, float]:
        return dict(zip(self.names, self.vector(now_ns).tolist(), strict=True))


def usable(files: tuple[str, ...], count: int = 12_000) -> Frames:
    """The first frames of a recording that a family sees: both sides are there, and the book is not in doubt."""
    frames = recorded(files, 0, count)
    bid, ask = frames["bid"][:, 0], frames["ask"][:, 0]
    found: Frames = frames[(frames["flags"] & FRAME_READY != 0) & (bid > 0) & (ask > bid)]
    return found


def mids(frames: Frames) -> Vector:
    """The mid of each frame."""
    return np.asarray((frames["bid"][:, 0].astype(np.float64) + frames["ask"][:, 0]) / 2.0, np.float64)


def step_ends(frames: Frames, step_ns: int, now_ns: int) -> npt.NDArray[np.int64]:
    """The ends of the steps of engine time after the first frame, up to now."""
    first = int(frames["recv_ns"][0]) // step_ns + 1
    return np.arange(first, now_ns // step_ns + 1, dtype=np.int64) * step_ns


def sampled(frames: Frames, step_ns: int, now_ns: int) -> Vector:
    """The mid that stood when each of those steps ended."""
    at = np.searchsorted(frames["recv_ns"], step_ends(frames, step_ns, now_ns), side="left") - 1
    return mids(frames)[at]


def of_mids(prices: npt.ArrayLike, step_ns: int, start_ns: int = START_NS) -> Frames:
    """Frames with these mids, a step apart, the first just after ``start_ns``; a spread of two units."""
    whole = np.asarray(prices, np.int64)
    frames = np.zeros(len(whole), FRAME)
    frames["recv_ns"] = start_ns + 1 + np.arange(len(whole)) * step_ns
    frames["flags"] = FRAME_READY | FRAME_BOOK
    frames["bid"][:, 0], frames["ask"][:, 0] = whole - 1, whole + 1
    frames["bid_size"][:, 0] = frames["ask_size"][:, 0] = 10
    return frames
