"""Labels that arrive late: what the mid did over the horizon after a sample, known only when that time has passed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from engine.core.events import FRAME, Frames
from engine.core.jit import kernel
from engine.core.types import NEVER_NS
from engine.features.set import Vector, usable

PENDING = np.dtype(
    [
        ("sample_ns", "i8"),
        ("due_ns", "i8"),
        ("id", "i8"),
        ("epoch", "i8"),  # how often the book had been in doubt when the sample was taken
        ("twice_mid", "f8"),  # bid + ask, price units
        ("prediction", "f8"),  # bps; nan where the model said nothing
        ("label", "f8"),  # bps, once matured; nan where void
    ]
)
CURSOR = np.dtype([("head", "i8"), ("count", "i8"), ("matured", "i8"), ("epoch", "i8"), ("twice_mid", "f8")])
"""Where the queue stands, and the book as of the last frame; ``twice_mid`` 0: it may not be used."""


@kernel
def _mature(queue: npt.NDArray[np.void], cursor: npt.NDArray[np.void], before_ns: int) -> None:
    """Give their label to all that are due before a time, from the mid as it stands."""
    at = cursor[0]
    while at["matured"] < at["count"]:
        one = queue[(at["head"] + at["matured"]) % queue.shape[0]]
        if one["due_ns"] >= before_ns:
            break
        whole = at["twice_mid"] > 0.0 and one["epoch"] == at["epoch"]
        one["label"] = np.log(at["twice_mid"] / one["twice_mid"]) * 1e4 if whole else np.nan
        at["matured"] += 1


@kernel
def _follow(queue: npt.NDArray[np.void], cursor: npt.NDArray[np.void], frames: Frames, symbol: int) -> None:
    at = cursor[0]
    for i in range(frames.shape[0]):
        frame = frames[i]
        if frame["symbol"] != symbol:
            continue
        if at["matured"] < at["count"]:
            _mature(queue, cursor, frame["recv_ns"])
        if usable(frame):
            at["twice_mid"] = float(frame["bid"][0]) + float(frame["ask"][0])
        elif at["twice_mid"] > 0.0:
            at["twice_mid"] = 0.0
            at["epoch"] += 1


class Matured(msgspec.Struct, frozen=True):
    """A sample whose label is known; ``prediction`` is None where the model said nothing. Both in bps."""

    sample_ns: int
    id: int
    prediction: float | None
    label: float
    x: Vector


class Labels:
    """The samples of one model that wait for their label: a bounded queue, first in, first out.

    The label of a sample at t is the log return of the mid from t to t + horizon, in bps, from the last mid at or
    before each. It is void where the book was in doubt at any time between.

    >>> labels = Labels(symbol=0, horizon_ns=10, capacity=4, width=1)
    >>> from engine.core.events import FRAME_READY
    >>> frames = np.zeros(2, FRAME)
    >>> frames["flags"], frames["recv_ns"] = FRAME_READY, [1, 8]
    >>> frames["bid"][:, 0], frames["ask"][:, 0] = [99, 199], [101, 201]
    >>> labels.follow(frames[:1])
    >>> labels.add(2, id=1, x=np.ones(1), prediction=0.5)
    True
    >>> labels.follow(frames[1:])
    >>> [round(one.label) for one in labels.ripe(12)]
    [6931]
    """

    def __init__(self, symbol: int, horizon_ns: int, capacity: int, width: int) -> None:
        self.symbol = symbol
        self.horizon_ns = horizon_ns
        self.void = 0
        self.dropped = 0
        self._queue: npt.NDArray[np.void] = np.zeros(capacity, PENDING)
        self._cursor: npt.NDArray[np.void] = np.zeros(1, CURSOR)
        self._x: npt.NDArray[np.float64] = np.zeros((capacity, width))
        # Compiled here, at the start, and not at the first tick.
        self.follow(np.zeros(0, FRAME))
        _mature(self._queue, self._cursor, 0)

    def __len__(self) -> int:
        return int(self._cursor["count"][0])

    def follow(self, frames: Frames) -> None:
        """Take frames of any symbols, oldest first. A label that falls due between two frames sees the first."""
        _follow(self._queue, self._cursor, frames, self.symbol)

    def add(self, now_ns: int, *, id: int, x: Vector, prediction: float | None) -> bool:  # noqa: A002 - the record's word
        """Begin to wait for a label; False where the book may not be used or the queue is full (counted)."""
        at = self._cursor[0]
        if at["twice_mid"] <= 0.0:
            return False
        if at["count"] == len(self._queue):
            self.dropped += 1
            return False
        slot = int((at["head"] + at["count"]) % len(self._queue))
        spoken = np.nan if prediction is None else prediction
        self._queue[slot] = (now_ns, now_ns + self.horizon_ns, id, at["epoch"], at["twice_mid"], spoken, np.nan)
        self._x[slot] = x
        at["count"] += 1
        return True

    def ripe(self, now_ns: int) -> Iterator[Matured]:
        """Take out what matured at or before now, oldest first; the void are counted and left out."""
        _mature(self._queue, self._cursor, now_ns + 1)
        at = self._cursor[0]
        while at["matured"] > 0:
            slot = int(at["head"])
            sample_ns, _, id_, _, _, prediction, label = self._queue[slot].item()
            at["head"] = (slot + 1) % len(self._queue)
            at["count"] -= 1
            at["matured"] -= 1
            if label != label:
                self.void += 1
                continue
            spoken = None if prediction != prediction else prediction
            yield Matured(sample_ns, id_, spoken, label, self._x[slot].copy())

    def next_due_ns(self) -> int:
        """When the oldest sample's label matures."""
        at = self._cursor[0]
        return int(self._queue[int(at["head"])]["due_ns"]) if at["count"] else NEVER_NS

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "queue": self._queue.tobytes(),
            "cursor": self._cursor.tobytes(),
            "x": self._x.tobytes(),
            "void": self.void,
            "dropped": self.dropped,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of a queue of the same size gave."""
        self._queue[:] = np.frombuffer(state["queue"], PENDING)
        self._cursor[:] = np.frombuffer(state["cursor"], CURSOR)
        self._x[:] = np.frombuffer(state["x"]).reshape(self._x.shape)
        self.void, self.dropped = state["void"], state["dropped"]
