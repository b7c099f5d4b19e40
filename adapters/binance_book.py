"""What the Binance adapters remember of one symbol while they bring its book in step with the stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from adapters.contract import Output
from adapters.wire import Scale
from engine.core.events import Batch
from engine.core.types import Instrument

BUFFERED_FRAMES = 4096
BUFFERED_ROWS = 1 << 16
FIRST_RETRY_NS = 1_000_000_000
LONGEST_RETRY_NS = 60_000_000_000
HEALTHY_NS = 30_000_000_000
"""A book that stayed ready this long starts its next resynchronisation without a pause."""


class Difference(msgspec.Struct, frozen=True, gc=False):
    """A parsed depth frame or snapshot: it applies to a book at ``follows`` and brings it to ``last_id``."""

    follows: int
    last_id: int
    rows: Batch


class Market:
    """One symbol's state: in step (``is_ready``), or buffering until a snapshot bridges.

    >>> from engine.core.types import Instrument
    >>> instrument = Instrument(venue="v", symbol="X", base="X", quote="Y", price_decimals=0, size_decimals=0)
    >>> market = Market("X", 0, instrument)
    >>> [market.ask(0) // 10**9 for _ in range(5)]  # each retry waits longer, in seconds
    [0, 1, 2, 4, 8]
    """

    __slots__ = (
        "_asks", "_ready_ns", "asked_ns", "buffer", "has_trades", "index", "is_ready",
        "last_id", "last_trade", "scale", "snapshot", "symbol",
    )  # fmt: skip

    def __init__(self, symbol: str, index: int, instrument: Instrument) -> None:
        self.symbol = symbol
        self.index = index
        self.scale = Scale(instrument, index)
        self.is_ready = False
        self.last_id = -1
        self.buffer: deque[Difference] = deque()
        self.snapshot: Difference | None = None
        self.asked_ns = -1
        """When the outstanding snapshot was to be fetched; -1 where none was asked for."""
        self.has_trades = False
        self.last_trade = -1
        self._asks = 0
        self._ready_ns = 0

    def keep(self, difference: Difference) -> None:
        """Buffer a difference; when the buffer is full the oldest go, and a snapshot must then be newer."""
        self.buffer.append(difference)
        rows = sum(len(each.rows) for each in self.buffer) if len(self.buffer) % 64 == 0 else 0
        while len(self.buffer) > BUFFERED_FRAMES or rows > BUFFERED_ROWS:
            rows -= len(self.buffer.popleft().rows)

    def ask(self, now_ns: int) -> int:
        """When the next snapshot may be fetched, ns UTC: at once, then after pauses that double."""
        pause = min(FIRST_RETRY_NS << (self._asks - 1), LONGEST_RETRY_NS) if self._asks else 0
        self._asks = min(self._asks + 1, 16)
        self.asked_ns = now_ns + pause
        return self.asked_ns

    def ready(self, last_id: int, now_ns: int) -> None:
        """The book is in step with the stream at ``last_id``."""
        self.is_ready = True
        self.last_id = last_id
        self.buffer.clear()
        self.snapshot = None
        self.asked_ns = -1
        self._ready_ns = now_ns

    def unready(self, now_ns: int) -> None:
        """The book is in doubt from now on."""
        self.is_ready = False
        self.buffer.clear()
        self.snapshot = None
        if now_ns - self._ready_ns > HEALTHY_NS:
            self._asks = 0


Channel: TypeAlias = Callable[[Market, Any, int], Sequence[Output]]
