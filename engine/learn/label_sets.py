"""Several labels of one sample: each waits in a queue of its own, and the sample comes out when all are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from engine.core.events import Frames
from engine.core.types import NEVER_NS
from engine.features.set import Vector
from engine.learn.labels import NAN, Labels, Matured, Part, matured
from engine.learn.targets import LabelOptions, Target


class LabelSet:
    """The labels of a model: one queue a label, all bounded by their horizons.

    A sample comes out when its last label is known, with the mean of its labels' weights and the end of the last. It is
    void where one of them is: a row with a hole teaches nothing.

    >>> both = LabelSet(0, (Target("return", 10), Target("direction", 20)), every_ns=5, width=1)
    >>> from engine.core.events import FRAME, FRAME_READY
    >>> frames = np.zeros(2, FRAME)
    >>> frames["flags"], frames["recv_ns"] = FRAME_READY, [1, 8]
    >>> frames["bid"][:, 0], frames["ask"][:, 0] = [99, 199], [101, 201]
    >>> both.follow(frames[:1])
    >>> both.add(5, 1, np.ones(1), [0.5, None], regime=-1)
    True
    >>> both.follow(frames[1:])
    >>> list(both.ripe(24))
    []
    >>> [(round(one.label), one.others[0].label, one.end_ns) for one in both.ripe(25)]
    [(6931, 1.0, 25)]
    """

    def __init__(
        self,
        symbol: int,
        wanted: Sequence[Target],
        every_ns: int,
        width: int,
        options: LabelOptions | None = None,
        stale_ns: int = NEVER_NS,
    ) -> None:
        self.targets = tuple(wanted)
        self.void = 0
        self._queues = [
            Labels(
                symbol,
                one.horizon_ns,
                capacity(one.horizon_ns, every_ns),
                width * (at == 0),
                one.kind,
                options,
                stale_ns,
            )
            for at, one in enumerate(self.targets)
        ]
        self._most = capacity(max(one.horizon_ns for one in self.targets), every_ns)
        self._parts: dict[int, list[Part | None]] = {}  # of samples with more than one label, by their number
        self._x: dict[int, Vector] = {}

    @property
    def most(self) -> int:
        """How many samples wait at most."""
        return self._most

    @property
    def dropped(self) -> int:
        return self._queues[0].dropped + self._queues[0].unordered

    def __len__(self) -> int:
        return len(self._queues[0]) if len(self._queues) == 1 else len(self._parts)

    def follow(self, frames: Frames) -> None:
        """Take frames of any symbols, oldest first."""
        for queue in self._queues:
            queue.follow(frames)

    def add(self, now_ns: int, number: int, x: Vector, predictions: Sequence[float | None], regime: int) -> bool:
        """Begin to wait for the labels of a sample; False as ``Labels.add`` says of the first."""
        first, *others = self._queues
        if len(self._parts) >= self._most or not first.add(
            now_ns, id=number, x=x, prediction=predictions[0], regime=regime
        ):
            return False
        if others:
            nothing = np.zeros(0)
            self._parts[number] = [None] * len(self._queues)
            self._x[number] = x.copy()
            for at, (queue, prediction) in enumerate(zip(others, predictions[1:], strict=True), 1):
                if not queue.add(now_ns, id=number, x=nothing, prediction=prediction, regime=regime):
                    self._parts[number][at] = Part(0, now_ns, now_ns, number, regime, NAN, NAN, NAN, NAN, NAN)
        return True

    def ripe(self, now_ns: int) -> Iterator[Matured]:
        """Take out the samples whose labels are all known at or before now."""
        if len(self._queues) == 1:
            yield from self._queues[0].ripe(now_ns)
            self.void = self._queues[0].void
            return
        done: list[tuple[int, int]] = []
        for at, queue in enumerate(self._queues):
            for part in queue.drain(now_ns):
                parts = self._parts[part.id]
                parts[at] = part
                if None not in parts:
                    done.append((part.end_ns, part.id))
        for _, number in sorted(done):
            whole = [part for part in self._parts.pop(number) if part is not None]
            x = self._x.pop(number)
            if any(part.label != part.label for part in whole):
                self.void += 1
                continue
            end_ns, weight = max(part.end_ns for part in whole), sum(part.weight for part in whole) / len(whole)
            others = tuple(matured(part, x) for part in whole[1:])
            yield matured(whole[0]._replace(end_ns=end_ns, weight=weight), x, others)

    def next_due_ns(self) -> int:
        """When the next label matures at the latest."""
        return min(queue.next_due_ns() for queue in self._queues)

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "void": self.void,
            "queues": [queue.save() for queue in self._queues],
            "parts": [
                [number, [part and list(part) for part in parts], self._x[number].tobytes()]
                for number, parts in self._parts.items()
            ],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of a set of the same labels gave."""
        self.void = state["void"]
        for queue, saved in zip(self._queues, state["queues"], strict=True):
            queue.load(saved)
        self._parts = {number: [part and Part(*part) for part in parts] for number, parts, _ in state["parts"]}
        self._x = {number: np.frombuffer(x).copy() for number, _, x in state["parts"]}


def capacity(horizon_ns: int, every_ns: int) -> int:
    """How many samples wait at most, one each grid time."""
    return horizon_ns // every_ns + 2
