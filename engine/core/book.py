"""The order book: one sorted array a side with the best level at the end, and what strategies see of it.

A side is two int64 arrays: *keys* in ascending order (a bid's key is its price, an ask's its negated price, so that the
best is always last and most changes touch only the tail) and the displayed *sizes*. Nothing here allocates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.core.jit import borrowing

if TYPE_CHECKING:
    from engine.core.types import Instrument

Int64s: TypeAlias = npt.NDArray[np.int64]

TOP_FIELDS = 64
# Columns of a symbol's row in ``Books.top``; state.py names those from the twelfth on.
BID, BID_SIZE, ASK, ASK_SIZE, IS_READY, CHANGED_NS, UPDATE_ID, BID_COUNT, ASK_COUNT, DOUBT, SYNCING, EPOCH = range(12)


class Books:
    """The arrays of all books of a run: ``levels[symbol, side, 0 keys | 1 sizes, :]`` and ``top[symbol]``.

    ``top`` and ``levels`` may be memory that the kernel shares. ``depth`` bounds each side: when it is full, the level
    farthest from the touch makes room.
    """

    def __init__(
        self,
        instruments: tuple[Instrument, ...],
        depth: int = 6000,
        top: Int64s | None = None,
        levels: Int64s | None = None,
    ) -> None:
        self.instruments = instruments
        self.depth = depth
        self.levels: Int64s = np.zeros((len(instruments), 2, 2, depth), np.int64) if levels is None else levels
        self.top: Int64s = np.zeros((len(instruments), TOP_FIELDS), np.int64) if top is None else top
        self.views = tuple(Book(self, index) for index in range(len(instruments)))


class Book:
    """A live, read-only view of one symbol's book; valid while a handler runs, never in the middle of a frame.

    Prices and sizes are integers in the instrument's units. A missing side reads as 0.

    >>> from engine.core.types import Instrument
    >>> btc = Instrument(venue="v", symbol="X", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)
    >>> book = Books((btc,)).views[0]
    >>> book.symbol, book.is_ready, book.bid
    ('v:X', False, 0)
    """

    __slots__ = ("_levels", "_top", "_top_view", "instrument", "symbol")

    def __init__(self, books: Books, index: int) -> None:
        self.instrument = books.instruments[index]
        self.symbol = self.instrument.name
        self._top = books.top[index]
        self._top_view: memoryview[int] = memoryview(self._top)
        self._levels = books.levels[index]

    @property
    def bid(self) -> int:
        """Best bid price."""
        return self._top_view[0]

    @property
    def bid_size(self) -> int:
        """Displayed size at the best bid."""
        return self._top_view[1]

    @property
    def ask(self) -> int:
        """Best ask price."""
        return self._top_view[2]

    @property
    def ask_size(self) -> int:
        """Displayed size at the best ask."""
        return self._top_view[3]

    @property
    def is_ready(self) -> bool:
        """Verified by a snapshot and without a gap since."""
        return self._top_view[4] != 0

    @property
    def changed_ns(self) -> int:
        """Engine time of the last depth frame."""
        return self._top_view[5]

    @property
    def update_id(self) -> int:
        """The venue's id of the last depth frame."""
        return self._top_view[6]

    @property
    def mid(self) -> float:
        """Mid price in price units; 0 where a side is missing."""
        bid, ask = self._top_view[0], self._top_view[2]
        return (bid + ask) / 2 if bid and ask else 0.0

    @property
    def spread(self) -> int:
        """Best ask less best bid; 0 where a side is missing."""
        bid, ask = self._top_view[0], self._top_view[2]
        return ask - bid if bid and ask else 0

    def imbalance(self, levels: int = 1) -> float:
        """(bid size - ask size) / (bid size + ask size) over the best levels of each side, in [-1, 1]."""
        bids, asks = self._sum(0, levels), self._sum(1, levels)
        return (bids - asks) / (bids + asks) if bids + asks else 0.0

    def levels(self, side: str, count: int = 10) -> list[tuple[int, int]]:
        """The best ``count`` levels of ``"bid"`` or ``"ask"`` as (price, size), best first."""
        which = 1 if side == "ask" else 0
        n = self._top_view[7 + which]
        keys, sizes = self._levels[which]
        sign = -1 if which else 1
        return [(sign * int(keys[i]), int(sizes[i])) for i in range(n - 1, max(-1, n - 1 - count), -1)]

    def size_at(self, side: str, price: int) -> int:
        """Displayed size at a price; 0 where there is no such level."""
        which = 1 if side == "ask" else 0
        n = self._top_view[7 + which]
        key = -price if which else price
        at = int(np.searchsorted(self._levels[which, 0, :n], key))
        return int(self._levels[which, 1, at]) if at < n and self._levels[which, 0, at] == key else 0

    def _sum(self, which: int, levels: int) -> int:
        n = self._top_view[7 + which]
        return int(self._levels[which, 1, max(0, n - levels) : n].sum())


@borrowing
def set_level(keys: Int64s, sizes: Int64s, count: int, key: int, size: int) -> int:
    """Set one level and return the new count; size 0 removes it. Searches the tail first, where markets live."""
    at = count
    stop = max(0, count - 16)
    while at > stop and keys[at - 1] >= key:
        at -= 1
    if at == stop and at > 0 and keys[at - 1] >= key:
        low, high = 0, at
        while low < high:
            middle = (low + high) >> 1
            if keys[middle] < key:
                low = middle + 1
            else:
                high = middle
        at = low
    if at < count and keys[at] == key:
        if size > 0:
            sizes[at] = size
            return count
        for i in range(at, count - 1):
            keys[i] = keys[i + 1]
            sizes[i] = sizes[i + 1]
        return count - 1
    if size <= 0:
        return count
    if count == keys.size:
        if at == 0:
            return count
        for i in range(at - 1):
            keys[i] = keys[i + 1]
            sizes[i] = sizes[i + 1]
        keys[at - 1] = key
        sizes[at - 1] = size
        return count
    for i in range(count, at, -1):
        keys[i] = keys[i - 1]
        sizes[i] = sizes[i - 1]
    keys[at] = key
    sizes[at] = size
    return count + 1


@borrowing
def find_level(keys: Int64s, count: int, key: int) -> int:
    """The index of a key, or -1."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < count and keys[low] == key else -1
