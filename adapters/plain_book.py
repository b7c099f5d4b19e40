"""From the levels that a plain book frame shows to the rows that bring the engine's book there, in one kernel call.

A frame shows all of the book that its source shows. Of a book that is in use only what differs from the frame before
leaves as rows: a snapshot a frame would take the book out of use each time, and with it labels and queue positions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from adapters.contract import MalformedFrame
from adapters.wire import FULL, GRAMMAR, Scanner, finish_levels, malformed, scan_side
from engine.core.events import ASK, BATCH, CLEAR, LAST, LEVEL, MOST_UNITS, READY, SNAPSHOT, Batch
from engine.core.jit import entry_point, kernel
from engine.core.types import Instrument

DEPTH = 5000
"""Most levels a side; the engine's books hold 6,000."""

CROSSED, ORDER, NO_SIZE, DEEP, ABSURD = -20, -21, -22, -23, -24
_WORDS = {
    ORDER: "levels best first and each price once",
    NO_SIZE: "sizes above zero (a level that is gone is not in the frame)",
    DEEP: f"at most {DEPTH:,} levels a side",
    ABSURD: f"prices and sizes of at most {MOST_UNITS} units",
}
_IS_READY = 2

Int64s = npt.NDArray[np.int64]


@kernel
def _flaw(found: Batch, first: int, end: int, is_ask: bool) -> int:
    """What is wrong with one side's levels, or 0."""
    if end - first > DEPTH:
        return DEEP
    for i in range(first, end):
        if found[i]["size"] == 0:
            return NO_SIZE
        if found[i]["price"] > MOST_UNITS or found[i]["size"] > MOST_UNITS:
            return ABSURD
        if i > first:
            step = found[i]["price"] - found[i - 1]["price"]
            if step == 0 or (step > 0) != is_ask:
                return ORDER
    return 0


@kernel
def _put(rows: Batch, at: int, like: Batch, source: int, kind: int, flags: int, price: int, size: int) -> int:
    """One row with the symbol, times and id of ``like[source]``; the row behind it."""
    slot = rows[at]
    slot.kind = kind
    slot.flags = flags
    slot.symbol = like[source]["symbol"]
    slot.reason = 0
    slot.price = price
    slot.size = size
    slot.venue_ns = like[source]["venue_ns"]
    slot.recv_ns = like[source]["recv_ns"]
    slot.id = like[source]["id"]
    return at + 1


@kernel
def _difference(rows: Batch, row: int, found: Batch, first: int, end: int, held: Int64s, count: int, flags: int) -> int:
    """Rows from one side as it is held to one side as it was found, both best first; the row behind the last.

    The row behind the found levels holds the frame's symbol, times and id.
    """
    sign = 1 if flags & ASK else -1  # so that better prices have smaller keys
    i, j = first, 0
    while i < end or j < count:
        new = sign * found[i]["price"] if i < end else 0
        old = sign * held[0, j] if j < count else 0
        if j == count or (i < end and new < old):
            row = _put(rows, row, found, i, LEVEL, flags, found[i]["price"], found[i]["size"])
            i += 1
        elif i == end or old < new:
            row = _put(rows, row, found, end, LEVEL, flags, held[0, j], 0)
            j += 1
        else:
            if found[i]["size"] != held[1, j]:
                row = _put(rows, row, found, i, LEVEL, flags, found[i]["price"], found[i]["size"])
            i += 1
            j += 1
    return row


@kernel
def _hold(held: Int64s, found: Batch, first: int, end: int) -> None:
    for i in range(first, end):
        held[0, i - first] = found[i]["price"]
        held[1, i - first] = found[i]["size"]


@kernel
def _plain_book(
    rows: Batch, start: int, bids: bytes, asks: bytes, scale: int, seq: int, venue_ns: int, recv_ns: int,
    found: Batch, held: npt.NDArray[np.int64], state: Int64s,
) -> int:  # fmt: skip
    """A whole book frame into rows from ``start`` on: the row behind the last, or a code.

    ``held[side, 0 prices | 1 sizes]`` is what the engine's book holds, ``state`` the levels of each side and whether
    the book is ready. Both change only where the frame is taken, and a crossed one is not. Bit 48 of
    ``scale``: the book is in doubt, take the frame whole.
    """
    bid_end, at = scan_side(found, 0, bids, 0, 0, scale, seq, venue_ns, recv_ns)
    if bid_end < 0:
        return DEEP if bid_end == FULL else bid_end
    if at != len(bids):
        return GRAMMAR
    end, at = scan_side(found, bid_end, asks, 0, ASK, scale, seq, venue_ns, recv_ns)
    if end < 0:
        return DEEP if end == FULL else end
    if at != len(asks):
        return GRAMMAR
    if end == len(found):
        return DEEP
    flaw = _flaw(found, 0, bid_end, False)
    if flaw == 0:
        flaw = _flaw(found, bid_end, end, True)
    if flaw != 0:
        return flaw
    if bid_end > 0 and end > bid_end and found[0]["price"] >= found[bid_end]["price"]:
        return CROSSED
    if start + end + state[0] + state[1] + 2 > len(rows):
        return FULL
    finish_levels(found, end, end, 0, scale, seq, venue_ns, recv_ns)  # the row behind them: symbol, times and id
    if state[_IS_READY] and scale >> 48 & 1 == 0:
        row = _difference(rows, start, found, 0, bid_end, held[0], state[0], 0)
        row = _difference(rows, row, found, bid_end, end, held[1], state[1], ASK)
        row = finish_levels(rows, start, row, 0, scale, seq, venue_ns, recv_ns)
    else:
        row = _put(rows, start, found, end, CLEAR, SNAPSHOT, 0, 0)
        for i in range(end):
            flags = found[i]["flags"] | SNAPSHOT
            row = _put(rows, row, found, i, LEVEL, flags, found[i]["price"], found[i]["size"])
        row = _put(rows, row, found, end, READY, SNAPSHOT | LAST, 0, 0)
        state[_IS_READY] = 1
    _hold(held[0], found, 0, bid_end)
    _hold(held[1], found, bid_end, end)
    state[0] = bid_end
    state[1] = end - bid_end
    return row


@cache
def plain_book() -> Callable[..., int]:
    """The compiled kernel."""
    rows, empty = np.zeros(8, BATCH), b"[]"
    held, state = np.zeros((2, 2, 1), np.int64), np.zeros(3, np.int64)
    return entry_point(_plain_book, rows, 0, empty, empty, 0, 1, 0, 0, np.zeros(8, BATCH), held, state)


def scratch() -> Batch:
    """Room for the levels of one frame, for all symbols of a connection."""
    return np.zeros(2 * DEPTH + 1, BATCH)


def flaw(code: int, instrument: Instrument) -> MalformedFrame:
    """What a negative code says in words."""
    if code not in _WORDS:
        return malformed(code, instrument)
    return MalformedFrame(f"{instrument.name}: expected {_WORDS[code]}; the frame is not used")


class PlainBook:
    """One symbol: which frame was the last, and what the engine's book holds."""

    __slots__ = ("_held", "_kernel", "_state", "crossed_ns", "index", "instrument", "packed", "seq")

    def __init__(self, index: int, instrument: Instrument, packed: int) -> None:
        self.index = index
        self.instrument = instrument
        self.packed = packed
        self.seq = 0
        """The last frame's number; 0 before the first."""
        self.crossed_ns = 0
        """Since when the source shows a locked or crossed book that is not taken; 0: it does not."""
        self._held: Int64s = np.zeros((2, 2, DEPTH), np.int64)
        self._state: Int64s = np.zeros(3, np.int64)
        self._kernel = plain_book()

    @property
    def is_ready(self) -> bool:
        """The engine's book is what the last frame showed."""
        return bool(self._state[_IS_READY])

    def doubt(self) -> None:
        """The next frame is taken whole."""
        self._state[_IS_READY] = 0

    def replace(
        self,
        scanner: Scanner,
        found: Batch,
        bids: bytes,
        asks: bytes,
        seq: int,
        venue_ns: int,
        recv_ns: int,
        in_doubt: bool = False,
    ) -> Batch | None:
        """The rows that make the engine's book what the frame shows; None where it is locked or crossed.

        ``in_doubt``: whatever was held is not to be built upon.

        Raises:
            MalformedFrame: not two arrays of levels in the instrument's units, best first.
        """
        start, scale = scanner.at, self.packed | in_doubt << 48
        end = self._kernel(
            scanner.rows, start, bids, asks, scale, seq, venue_ns, recv_ns, found, self._held, self._state
        )
        if end < 0:
            if end == CROSSED:
                return None
            if end != FULL:
                raise flaw(end, self.instrument)
            scanner.renew(4 * DEPTH + 2)
            return self.replace(scanner, found, bids, asks, seq, venue_ns, recv_ns, in_doubt)
        scanner.at = end
        return scanner.rows[start:end]
