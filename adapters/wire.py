"""From the bytes of a wire format to exact integers in batch rows, without a Python object in between.

Venues send price levels as JSON arrays of two quoted decimals, ``[["61737.63000000","0.00000000"],…]``. The kernels
here read those bytes straight into ``BATCH`` rows. They accept exactly that grammar and answer a negative code for
anything else: a sign, an exponent, NaN, a bare number, a digit finer than the instrument's unit, a number beyond 64
bits, a missing quote, a third element, trailing bytes. Nothing is rounded and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from adapters.contract import MalformedFrame
from engine.core.events import ASK, BATCH, LAST, LEVEL, MARK, QUOTE, TRADE, Batch
from engine.core.jit import entry_point, kernel
from engine.core.types import Instrument

CHUNK_ROWS = 8192

# What a kernel answers instead of a row count.
FULL, GRAMMAR, FINER, TOO_LARGE, NO_PRICE = -1, -2, -3, -4, -5

_QUOTE_MARK, _COMMA, _DOT, _ZERO, _NINE, _OPEN, _CLOSE = 34, 44, 46, 48, 57, 91, 93
_LARGEST = (2**63 - 1) // 10  # a value below can take one more digit, this one a digit up to 7
_WORDS = {
    GRAMMAR: "quoted plain decimals",
    FINER: "at most {0.price_decimals} decimals in prices and {0.size_decimals} in sizes (the config can set more)",
    TOO_LARGE: "numbers that fit 64 bits in units of {0.name}",
    NO_PRICE: "prices (and sizes of trades) above zero",
}


@kernel
def _space(text: bytes, at: int) -> int:
    """The position of the first byte from ``at`` on that is not JSON white space."""
    while at < len(text) and (text[at] == 32 or text[at] == 10 or text[at] == 13 or text[at] == 9):
        at += 1
    return at


@kernel
def _decimal(text: bytes, at: int, decimals: int) -> tuple[int, int]:
    """Read one quoted decimal at ``at``: its integer in ``10**-decimals``, and the position behind it or a code."""
    end = len(text)
    value = 0
    if at >= end or text[at] != _QUOTE_MARK:
        return 0, GRAMMAR
    at += 1
    first = at
    while at < end and _ZERO <= text[at] <= _NINE:
        at += 1
    digits = at - first
    if digits == 0 or (text[first] == _ZERO and digits > 1):
        return 0, GRAMMAR
    is_long = digits + decimals > 18  # only then can it pass 64 bits
    for i in range(first, at):
        if is_long and (value > _LARGEST or (value == _LARGEST and text[i] > _ZERO + 7)):
            return 0, TOO_LARGE
        value = value * 10 + (text[i] - _ZERO)
    missing = decimals
    if at < end and text[at] == _DOT:
        at += 1
        first = at
        while at < end and _ZERO <= text[at] <= _NINE:
            if missing > 0:
                if is_long and (value > _LARGEST or (value == _LARGEST and text[at] > _ZERO + 7)):
                    return 0, TOO_LARGE
                value = value * 10 + (text[at] - _ZERO)
                missing -= 1
            elif text[at] != _ZERO:
                return 0, FINER
            at += 1
        if at == first:
            return 0, GRAMMAR
    if at >= end or text[at] != _QUOTE_MARK:
        return 0, GRAMMAR
    while missing > 0:
        if is_long and value > _LARGEST:
            return 0, TOO_LARGE
        value *= 10
        missing -= 1
    return value, at + 1


@kernel
def scan_side(
    rows: Batch, row: int, text: bytes, at: int, flags: int, scale: int, last_id: int, venue_ns: int, recv_ns: int,
) -> tuple[int, int]:  # fmt: skip
    """Read one side's array at ``at`` into rows from ``row`` on: the next free row (or a code), and where it ended."""
    symbol = scale & 0xFFFF
    price_decimals = scale >> 16 & 0xFF
    size_decimals = scale >> 24 & 0xFF
    end = len(text)
    at = _space(text, at)
    if at >= end or text[at] != _OPEN:
        return GRAMMAR, at
    at = _space(text, at + 1)
    if at < end and text[at] == _CLOSE:
        return row, at + 1
    while True:
        if at >= end or text[at] != _OPEN:
            return GRAMMAR, at
        price, at = _decimal(text, _space(text, at + 1), price_decimals)
        if at < 0:
            return at, at
        at = _space(text, at)
        if at >= end or text[at] != _COMMA:
            return GRAMMAR, at
        size, at = _decimal(text, _space(text, at + 1), size_decimals)
        if at < 0:
            return at, at
        at = _space(text, at)
        if at >= end or text[at] != _CLOSE:
            return GRAMMAR, at
        if price == 0:
            return NO_PRICE, at
        if row >= len(rows):
            return FULL, at
        slot = rows[row]
        slot.kind = LEVEL
        slot.flags = flags
        slot.symbol = symbol
        slot.reason = 0
        slot.price = price
        slot.size = size
        slot.venue_ns = venue_ns
        slot.recv_ns = recv_ns
        slot.id = last_id
        row += 1
        at = _space(text, at + 1)
        if at >= end:
            return GRAMMAR, at
        if text[at] == _CLOSE:
            return row, at + 1
        if text[at] != _COMMA:
            return GRAMMAR, at
        at = _space(text, at + 1)


@kernel
def finish_levels(
    rows: Batch, start: int, row: int, flags: int, scale: int, last_id: int, venue_ns: int, recv_ns: int
) -> int:
    """LAST on the last of the rows from ``start`` to ``row``, or a MARK row where there are none; the next row."""
    if row == start:
        if row >= len(rows):
            return FULL
        slot = rows[row]
        slot.kind = MARK
        slot.flags = flags
        slot.symbol = scale & 0xFFFF
        slot.reason = 0
        slot.price = 0
        slot.size = 0
        slot.venue_ns = venue_ns
        slot.recv_ns = recv_ns
        slot.id = last_id
        row += 1
    rows[row - 1].flags |= LAST
    return row


@kernel
def _levels(
    rows: Batch, start: int, bids: bytes, asks: bytes, scale: int, last_id: int, venue_ns: int, recv_ns: int,
) -> int:  # fmt: skip
    """A whole depth frame: bids, asks, LAST on its last row, or one MARK row; the row behind it, or a code."""
    flags = scale >> 32
    row, at = scan_side(rows, start, bids, 0, flags, scale, last_id, venue_ns, recv_ns)
    if row < 0:
        return row
    if _space(bids, at) != len(bids):
        return GRAMMAR
    row, at = scan_side(rows, row, asks, 0, flags | ASK, scale, last_id, venue_ns, recv_ns)
    if row < 0:
        return row
    if _space(asks, at) != len(asks):
        return GRAMMAR
    return finish_levels(rows, start, row, flags, scale, last_id, venue_ns, recv_ns)


@kernel
def _pair(
    rows: Batch, row: int, kind: int, flags: int, price_text: bytes, size_text: bytes, scale: int, id_: int,
    venue_ns: int, recv_ns: int,
) -> int:  # fmt: skip
    """One row from one quoted price and one quoted size; the row behind it, or a code. A price of 0 is allowed."""
    price, end = _decimal(price_text, 0, scale >> 16 & 0xFF)
    if end < 0:
        return end
    size, size_end = _decimal(size_text, 0, scale >> 24 & 0xFF)
    if size_end < 0:
        return size_end
    if end != len(price_text) or size_end != len(size_text):
        return GRAMMAR
    if row >= len(rows):
        return FULL
    slot = rows[row]
    slot.kind = kind
    slot.flags = flags
    slot.symbol = scale & 0xFFFF
    slot.reason = 0
    slot.price = price
    slot.size = size
    slot.venue_ns = venue_ns
    slot.recv_ns = recv_ns
    slot.id = id_
    return row + 1


@kernel
def _quote(
    rows: Batch, row: int, bid: bytes, bid_size: bytes, ask: bytes, ask_size: bytes, scale: int, id_: int,
    venue_ns: int, recv_ns: int,
) -> int:  # fmt: skip
    """A venue's own best bid and ask as two rows; the row behind them, or a code."""
    row = _pair(rows, row, QUOTE, 0, bid, bid_size, scale, id_, venue_ns, recv_ns)
    if row < 0:
        return row
    return _pair(rows, row, QUOTE, ASK | LAST, ask, ask_size, scale, id_, venue_ns, recv_ns)


@cache
def _entry_points() -> tuple[Callable[..., int], Callable[..., int], Callable[..., int]]:
    rows, empty = np.zeros(4, BATCH), b"[]"
    return (
        entry_point(_levels, rows, 0, empty, empty, 0, 0, 0, 0),
        entry_point(_pair, rows, 0, TRADE, 0, empty, empty, 0, 0, 0, 0),
        entry_point(_quote, rows, 0, empty, empty, empty, empty, 0, 0, 0, 0),
    )


class Scale:
    """An instrument's index and decimals as the kernels take them, packed into one integer."""

    __slots__ = ("instrument", "packed")

    def __init__(self, instrument: Instrument, symbol: int) -> None:
        self.instrument = instrument
        self.packed = symbol | instrument.price_decimals << 16 | instrument.size_decimals << 24


class Scanner:
    """Turns wire bytes into batches that belong to the receiver.

    Rows come from chunks of ``CHUNK_ROWS``, handed out as consecutive slices; a chunk lives as long as any of its
    slices, and a used-up chunk is replaced, never written again.

    >>> from engine.core.types import Instrument
    >>> btc = Instrument(venue="v", symbol="X", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)
    >>> batch = Scanner().levels(Scale(btc, 0), b'[["61737.63000000","0.50000000"]]', b"[]", 9, 1, 2)
    >>> int(batch["price"][0]), int(batch["size"][0])
    (6173763, 50000)
    """

    __slots__ = ("_levels", "_pair", "_quote", "at", "rows")

    def __init__(self) -> None:
        self._levels, self._pair, self._quote = _entry_points()
        self.rows: Batch = np.zeros(CHUNK_ROWS, BATCH)
        self.at = 0

    def levels(
        self, scale: Scale, bids: bytes, asks: bytes, last_id: int, venue_ns: int, recv_ns: int, flags: int = 0
    ) -> Batch:
        """The rows of a depth frame, LAST on the last; a MARK row where both sides are empty.

        Raises:
            MalformedFrame: anything but arrays of two quoted plain decimals in the instrument's units.
        """
        start = self.at
        end = self._levels(self.rows, start, bids, asks, scale.packed | flags << 32, last_id, venue_ns, recv_ns)
        if end < 0:
            if end != FULL:
                raise malformed(end, scale.instrument)
            self.renew((len(bids) + len(asks)) // 9 + 1)  # the shortest level, ["1","0"], has nine bytes
            return self.levels(scale, bids, asks, last_id, venue_ns, recv_ns, flags)
        self.at = end
        return self.rows[start:end]

    def trade(
        self, scale: Scale, price: bytes, size: bytes, flags: int, trade_id: int, venue_ns: int, recv_ns: int
    ) -> Batch:
        """One TRADE row from its quoted price and size.

        Raises:
            MalformedFrame: not quoted plain decimals in the instrument's units, or not above zero.
        """
        start = self.at
        if start + 1 > len(self.rows):
            self.renew(1)
            start = 0
        packed = scale.packed
        end = self._pair(self.rows, start, TRADE, flags | LAST, price, size, packed, trade_id, venue_ns, recv_ns)
        if end < 0:
            raise malformed(end, scale.instrument)
        batch = self.rows[start:end]
        if batch["price"][0] == 0 or batch["size"][0] == 0:
            raise malformed(NO_PRICE, scale.instrument)
        self.at = end
        return batch

    def quote(
        self, scale: Scale, bid: bytes, bid_size: bytes, ask: bytes, ask_size: bytes, update_id: int, venue_ns: int,
        recv_ns: int,
    ) -> Batch:  # fmt: skip
        """Two QUOTE rows, bid then ask; a missing side is 0.

        Raises:
            MalformedFrame: not quoted plain decimals in the instrument's units.
        """
        start = self.at
        if start + 2 > len(self.rows):
            self.renew(2)
            start = 0
        packed = scale.packed
        end = self._quote(self.rows, start, bid, bid_size, ask, ask_size, packed, update_id, venue_ns, recv_ns)
        if end < 0:
            raise malformed(end, scale.instrument)
        self.at = end
        return self.rows[start:end]

    def renew(self, rows: int) -> None:
        """A fresh chunk with room for at least so many rows; what was handed out stays with its receivers."""
        self.rows = np.zeros(max(CHUNK_ROWS, rows), BATCH)
        self.at = 0


def malformed(code: int, instrument: Instrument) -> MalformedFrame:
    """What a kernel's negative code says in words."""
    return MalformedFrame(f"{instrument.name}: expected {_WORDS[code].format(instrument)}; the frame is not used")
