"""When the venue ends orders by its clock: those with a time in force of their own, soonest first."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from engine.core.desk.orders import Working

SPARE = 64
"""Entries of orders that have ended already that are kept at least, before anyone looks for them."""


class Expiries:
    """One entry an order; those of orders that ended before their time go when they are more than the living."""

    def __init__(self, schedule: Callable[[int, str, object], None]) -> None:
        self._schedule = schedule
        self._heap: list[tuple[int, int, Working]] = []
        self._asked: list[int] = []  # when we are to be called, each earlier than the one before

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, order: Working, ns: int, living: int) -> None:
        """The order ends at an engine time; ``living``: how many orders there are now."""
        if len(self._heap) > SPARE + 2 * living:
            self._heap = [entry for entry in self._heap if not entry[2].ended]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (ns, order.intent.order, order))
        self._ask()

    def due(self, ns: int) -> list[Working]:
        """Whose time is over at an engine time, soonest first, then by number."""
        while self._asked and self._asked[-1] <= ns:
            self._asked.pop()
        over = []
        while self._heap and self._heap[0][0] <= ns:
            over.append(heapq.heappop(self._heap)[2])
        self._ask()
        return over

    def _ask(self) -> None:
        if self._heap and (not self._asked or self._heap[0][0] < self._asked[-1]):
            self._asked.append(self._heap[0][0])
            self._schedule(self._asked[-1], "expire", None)
