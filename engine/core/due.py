"""What is to happen later, by due time, then in the order it was scheduled."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec


class Due(msgspec.Struct, frozen=True, order=True):
    """Something that happens at an engine time; equal times go by ``seq``."""

    ns: int
    seq: int
    what: str
    subject: Any = None


Handler: TypeAlias = Callable[[Any, int], None]
"""Does what is due: gets the subject it was scheduled with and the due time."""


class DueQueue:
    """All that is to happen, by due time, then by sequence.

    >>> queue = DueQueue()
    >>> queue.push(20, "b"); queue.push(10, "a"); queue.push(10, "c")
    >>> [queue.pop().what for _ in range(3)]
    ['a', 'c', 'b']
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Due]] = []
        self._seq = 0

    def push(self, ns: int, what: str, subject: object = None) -> None:
        self._seq += 1
        heapq.heappush(self._heap, (ns, self._seq, Due(ns, self._seq, what, subject)))

    def next_ns(self, never: int) -> int:
        return self._heap[0][0] if self._heap else never

    def pop(self) -> Due:
        return heapq.heappop(self._heap)[2]

    def sweep(self, keep: Callable[[Due], bool]) -> None:
        """Forget what is not to be kept; the rest stays in its order."""
        self._heap = [entry for entry in self._heap if keep(entry[2])]
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)
