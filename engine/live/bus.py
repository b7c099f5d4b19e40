"""The one queue between the edge and the engine: bounded, first in first out, with a policy for each kind.

=========  ==========================================================================================
market     always taken, so that the tape and the engine see the same; beyond the bound the answer is
           False, and the connection that put it is lost and resynchronised
clock      only when nothing else waits: market data tells the time as well
command    refused with ``BusFull`` beyond the bound; the caller says so to the user
model      waits for room
round trip left out where there is no room: the next one comes soon
side row   waits for room, and its source with it
=========  ==========================================================================================
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from engine.core.events import Batch, Command, Input, Judged, Measured, ModelReady, Observed


class BusFull(RuntimeError):
    """The engine is far behind; the command was not taken. Try again."""


class Item(NamedTuple):
    """An input of the engine; ``stamp_ns`` is the receive time of its frame, ns UTC, 0 for others."""

    payload: Input
    stamp_ns: int = 0


class Bus:
    """Bounded by ``capacity`` items; a connection's farewell may go over by one."""

    def __init__(self, capacity: int = 65_536) -> None:
        self.capacity = capacity
        self.put = 0
        self.overflows = 0
        self.refused = 0
        self._items: deque[Item] = deque()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def put_market(self, batch: Batch, stamp_ns: int) -> bool:
        """Take market data; False when we fell behind."""
        self._append(Item(batch, stamp_ns))
        if len(self._items) > self.capacity:
            self.overflows += 1
            return False
        return True

    def put_clock(self, batch: Batch) -> bool:
        """Take a clock row when the bus is empty; False when it is not needed."""
        if self._items:
            return False
        self._append(Item(batch))
        return True

    def has_room(self) -> bool:
        """Whether a command would be taken."""
        return len(self._items) < self.capacity

    def put_command(self, command: Command) -> None:
        """Take a command.

        Raises:
            BusFull: the engine is far behind.
        """
        if not self.has_room():
            self.refused += 1
            raise BusFull(f"expected fewer than {self.capacity} inputs waiting for the engine; try again")
        self._append(Item(command))

    def put_measured(self, measured: Measured) -> None:
        """Take a measured round trip; the caller saw that there is room."""
        self._append(Item(measured))

    async def room(self) -> None:
        """Wait until a model or a side row would be taken."""
        while not self.has_room():
            self._drained.clear()
            await self._drained.wait()

    def put_model(self, ready: ModelReady) -> None:
        self._append(Item(ready))

    def put_side(self, item: Observed | Judged) -> None:
        """Take what a side stream says; the caller waited for room."""
        self._append(Item(item))

    async def wait(self, timeout_s: float) -> bool:
        """Wait for an item; False when none came in time."""
        if self._items:
            return True
        self._filled.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._filled.wait()
        except TimeoutError:
            return bool(self._items)
        return True

    def pop(self) -> Item | None:
        """The oldest item, None when there is none."""
        if not self._items:
            return None
        item = self._items.popleft()
        if len(self._items) < self.capacity:
            self._drained.set()
        return item

    def waiting(self) -> Iterator[Item]:
        """What waits, oldest first; for looking only."""
        return iter(self._items)

    def _append(self, item: Item) -> None:
        self.put += 1
        self._items.append(item)
        self._filled.set()
