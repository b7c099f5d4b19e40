"""Labels that arrive late: what the market did after a sample, known only when that time has passed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from engine.core.events import FRAME, Frames
from engine.core.types import NEVER_NS
from engine.features.set import Vector
from engine.learn import label_kernels as kernels
from engine.learn.targets import LabelOptions, Target

NAN = float("nan")


class Part(NamedTuple):
    """One label of a sample as it came out of its queue; ``label`` is nan where it is void."""

    slot: int
    sample_ns: int
    end_ns: int
    id: int
    regime: int
    spread_bps: float
    weight: float
    last: float
    prediction: float
    label: float
    move_bps: float = NAN
    unit_bps: float = NAN


class Matured(msgspec.Struct, frozen=True):
    """A sample whose label is known; ``prediction`` is None where the model said nothing. Both in the label's unit.

    ``end_ns``: when the label was known. ``weight``: its uniqueness, the mean of 1 / labels alive over its span.
    ``spread_bps`` at the sample. ``last``: the label that had matured last by then, None before the first.
    ``move_bps``: what the mid moved until ``end_ns``. ``unit_bps``: what a prediction of 1 means, None where it is no
    move. ``others``: the same of the model's further labels.
    """

    sample_ns: int
    id: int
    prediction: float | None
    label: float
    x: Vector
    end_ns: int = 0
    weight: float = 1.0
    spread_bps: float = 0.0
    last: float | None = None
    regime: int = -1
    move_bps: float = 0.0
    unit_bps: float | None = None
    others: tuple[Matured, ...] = ()

    @property
    def labels(self) -> Vector:
        """All labels, the first of ``settings.labels`` first."""
        return np.array([self.label, *(one.label for one in self.others)])


def known(value: float) -> float | None:
    """None for nan."""
    return None if value != value else value


class Labels:
    """The samples of one model that wait for one label: a bounded queue.

    The label of a sample at t looks at the mid from t to t + horizon, by default its log return in bps, from the last
    mid at or before each. It is void where the book was in doubt at any time between, and where it ends more than
    ``stale_ns`` after the last frame. Labels come out in the order in which they were known, and carry their uniqueness
    (Lopez de Prado, 2018, 4.4): the mean over their span of 1 / labels alive.

    >>> labels = Labels(symbol=0, horizon_ns=10, capacity=4, width=1)
    >>> from engine.core.events import FRAME_READY
    >>> frames = np.zeros(2, FRAME)
    >>> frames["flags"], frames["recv_ns"] = FRAME_READY, [1, 8]
    >>> frames["bid"][:, 0], frames["ask"][:, 0] = [99, 199], [101, 201]
    >>> labels.follow(frames[:1])
    >>> labels.add(2, id=1, x=np.ones(1), prediction=0.5)
    True
    >>> labels.follow(frames[1:])
    >>> [(round(one.label), one.end_ns, one.weight) for one in labels.ripe(12)]
    [(6931, 12, 1.0)]
    """

    def __init__(
        self,
        symbol: int,
        horizon_ns: int,
        capacity: int,
        width: int,
        kind: str = "return",
        options: LabelOptions | None = None,
        stale_ns: int = NEVER_NS,
    ) -> None:
        self.symbol = symbol
        self.horizon_ns = horizon_ns
        self.target = Target(kind, horizon_ns)
        self.void = 0
        self.dropped = 0  # the queue was full: time stood still, or ran backwards
        self.unordered = 0  # a sample at or before the one before
        self._queue: npt.NDArray[np.void] = np.zeros(capacity, kernels.PENDING)
        self._order: npt.NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._cursor: npt.NDArray[np.void] = np.zeros(1, kernels.CURSOR)
        self._cursor["last"] = NAN
        self._cursor["frame_ns"] = -NEVER_NS // 2
        self._newest_ns = -NEVER_NS
        self._x: npt.NDArray[np.float64] = np.zeros((capacity, width))
        self._rules = _rules(self.target, options or LabelOptions(), stale_ns)
        self._compile()

    def _compile(self) -> None:
        """Here, at the start, and not at the first tick."""
        self.follow(np.zeros(0, FRAME))
        cursor, queue = self._cursor.copy(), self._queue.copy()
        kernels.begin(queue, cursor, self._rules, 0, 0, NAN, -1)
        kernels.release(queue, self._order, cursor)
        kernels.sweep(queue, cursor)
        kernels.mature(self._queue, self._order, self._cursor, self._rules, 0)

    def __len__(self) -> int:
        at = self._cursor[0]
        return int(at["alive"] + at["ready"])

    def follow(self, frames: Frames) -> None:
        """Take frames of any symbols, oldest first. A label that falls due between two frames sees the first."""
        kernels.follow(self._queue, self._order, self._cursor, self._rules, frames, self.symbol)

    def add(
        self,
        now_ns: int,
        *,
        id: int,  # noqa: A002 - the record's word
        x: Vector,
        prediction: float | None,
        regime: int = -1,
    ) -> bool:
        """Begin to wait for a label; False where the book may not be used, or (counted) the queue is full or now is not
        after the sample before."""
        at = self._cursor[0]
        if at["twice_mid"] <= 0.0:
            return False
        if now_ns <= self._newest_ns:
            self.unordered += 1
            return False
        kernels.mature(self._queue, self._order, self._cursor, self._rules, now_ns + 1)
        if at["count"] == len(self._queue):
            self.dropped += 1
            return False
        spoken = NAN if prediction is None else prediction
        slot = kernels.begin(self._queue, self._cursor, self._rules, now_ns, id, spoken, regime)
        self._x[slot] = x
        self._newest_ns = now_ns
        return True

    def drain(self, now_ns: int) -> Iterator[Part]:
        """Take out what is known at or before now, the void too; what ``x`` gives for it is good until the next one."""
        kernels.mature(self._queue, self._order, self._cursor, self._rules, now_ns + 1)
        while (slot := kernels.release(self._queue, self._order, self._cursor)) >= 0:
            sample_ns, _, end_ns, id_, _, _, regime, _, spread, *rest = self._queue[slot].item()
            _, _, _, _, weight, last, prediction, label, move, unit = rest
            if label != label:
                self.void += 1
            yield Part(slot, sample_ns, end_ns, id_, regime, spread, weight, last, prediction, label, move, unit)
            kernels.sweep(self._queue, self._cursor)

    def x(self, slot: int) -> Vector:
        """The features of a sample that came out."""
        row: Vector = self._x[slot].copy()
        return row

    def ripe(self, now_ns: int) -> Iterator[Matured]:
        """Take out what is known at or before now, in the order of their ends; the void are counted and left out."""
        for part in self.drain(now_ns):
            if part.label == part.label:
                yield matured(part, self.x(part.slot))

    def next_due_ns(self) -> int:
        """When the oldest sample's label matures at the latest."""
        at = self._cursor[0]
        if at["passed"] >= at["count"]:
            return NEVER_NS
        return int(self._queue[int(at["head"] + at["passed"]) % len(self._queue)]["due_ns"])

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "queue": self._queue.tobytes(),
            "order": self._order.tobytes(),
            "cursor": self._cursor.tobytes(),
            "x": self._x.tobytes(),
            "counts": [self.void, self.dropped, self.unordered, self._newest_ns],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of a queue of the same size gave."""
        self._queue[:] = np.frombuffer(state["queue"], kernels.PENDING)
        self._order[:] = np.frombuffer(state["order"], np.int64)
        self._cursor[:] = np.frombuffer(state["cursor"], kernels.CURSOR)
        self._x[:] = np.frombuffer(state["x"]).reshape(self._x.shape)
        self.void, self.dropped, self.unordered, self._newest_ns = state["counts"]


def matured(part: Part, x: Vector, others: tuple[Matured, ...] = ()) -> Matured:
    """A label that is not void, with its sample's features."""
    return Matured(
        part.sample_ns,
        part.id,
        known(part.prediction),
        part.label,
        x,
        part.end_ns,
        part.weight,
        part.spread_bps,
        known(part.last),
        part.regime,
        part.move_bps,
        known(part.unit_bps),
        others,
    )


def _rules(target: Target, options: LabelOptions, stale_ns: int) -> npt.NDArray[np.void]:
    rules: npt.NDArray[np.void] = np.zeros(1, kernels.RULES)
    rules[0] = (
        target.about.code,
        target.horizon_ns,
        stale_ns,
        kernels.fading(options.volatility_half_life_ns),
        options.band_bps,
        options.band_half_spreads,
        options.profit,
        options.stop,
        options.barrier == "volatility",
        options.outcome == "return",
        options.least_volatility_bps,
    )
    return rules
