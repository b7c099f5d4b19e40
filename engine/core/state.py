"""The kernel's memory: one int64 array for everything, so that a call from Python passes few arguments.

Layout, in order: ``control`` (scalars), ``top`` (one row a symbol), ``resting`` (paper orders in the venue's book,
oldest first), ``taken`` (liquidity that our takers consumed and the venue has not refreshed), ``fills`` (what the last
call matched), ``levels`` (see book.py) and the ``ring`` of frames. The Python side holds views of the same memory.
Everything is bounded when the run starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from engine.core.book import TOP_FIELDS, Books, Int64s
from engine.core.events import FRAME, Frames
from engine.core.types import NEVER_NS

if TYPE_CHECKING:
    from engine.core.types import Instrument

CONTROL_FIELDS = 32
# Scalars in ``control``.
(
    NEXT_DUE,  # engine time at which Python must act; the kernel stops before a frame at or after it
    NOW,  # engine time, never decreasing
    WAKE,  # why the kernel came back: WAKE_* bits
    WAKE_SYMBOL,  # the symbol of the frame it stopped after
    FRAME_FIRST,  # first row of that frame
    RING_USED,
    RING_ON,  # 1: write frames to the ring
    RESTING_COUNT,
    TAKEN_COUNT,
    FILL_COUNT,
    SYMBOLS,
    RESTING_ROOM,
    TAKEN_ROOM,
    FILL_ROOM,
    EXPLAIN_NS,  # how long a level change waits for the trade that explains it
    FRAMES_SEEN,
    GAPS_SEEN,
    DEPTH,
    RING_ROOM,
    CHECK_STATE,  # 0 none; ASKED: a frame waits for its checksum; PASSED or FAILED: Python's answer
    CHECK_VALUE,  # what the venue says
    HELD_FIRST,  # the frame that waits: its first row, and what was seen of it so far
    HELD_CHANGED,
    HELD_FLAGS,
    HELD_WAKE,
    HELD_REASON,
) = range(26)

ASKED, PASSED, FAILED = 1, 2, 3

# Bits of WAKE.
WAKE_DUE = 1  # something is due before the next frame
WAKE_BOOK = 2  # a book that a strategy listens to changed
WAKE_TRADE = 4  # trades that a strategy listens to
WAKE_STATE = 8  # a book became ready or fell in doubt
WAKE_FILL = 16  # resting paper orders traded
WAKE_RING = 32  # the ring of frames is full
WAKE_CHECK = 64  # a frame waits for Python to compare the venue's checksum
WAKE_FUNDING = 256  # the venue named another funding time (see marks.py)

# Further columns of a symbol's row in ``top`` (see book.py for the first twelve).
HEARS_BOOK, HEARS_TRADE, RESTING_HERE, TAKEN_HERE = 12, 13, 14, 15

RESTING_FIELDS = 10
# Columns of ``resting``.
R_ORDER, R_SYMBOL, R_SIDE, R_PRICE, R_LEFT, R_AHEAD, R_EARLY, R_EARLY_NS, R_FIRST_AHEAD, R_MARK = range(10)
"""AHEAD: public size in front. EARLY: how much of it left by the last level change and no trade has explained yet."""

TAKEN_FIELDS = 4
T_SYMBOL, T_SIDE, T_PRICE, T_SIZE = range(4)

FRAME_FIELDS = FRAME.itemsize // 8
# Columns of ``ring``: the fields of FRAME, all int64.
(
    FR_SYMBOL,
    FR_RECV_NS,
    FR_VENUE_NS,
    FR_ID,
    FR_FLAGS,
    FR_BID,
    FR_BID_SIZE,
    FR_ASK,
    FR_ASK_SIZE,
    FR_BUY_SIZE,
    FR_SELL_SIZE,
    FR_BUYS,
    FR_SELLS,
    FR_LAST_PRICE,
) = (0, 1, 2, 3, 4, 5, 10, 15, 20, 25, 26, 27, 28, 29)

FILL_FIELDS = 5
F_ORDER, F_PRICE, F_SIZE, F_MAKER, F_AHEAD = range(5)


class State:
    """All memory of the kernel for one run."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        depth: int,
        *,
        max_orders: int,
        explain_ns: int,
        taken_room: int,
        ring_room: int = 8192,
    ) -> None:
        symbols = len(instruments)
        # One frame fills each resting order at most once; one taker walks at most every level of a side.
        fill_room = max_orders + depth
        sizes = (
            CONTROL_FIELDS,
            symbols * TOP_FIELDS,
            max_orders * RESTING_FIELDS,
            taken_room * TAKEN_FIELDS,
            fill_room * FILL_FIELDS,
            symbols * 4 * depth,
            ring_room * FRAME_FIELDS,
        )
        ends = np.cumsum(sizes)
        self.flat: Int64s = np.zeros(int(ends[-1]), np.int64)
        self.control = self.flat[: ends[0]]
        self.books = Books(
            tuple(instruments),
            depth,
            top=self.flat[ends[0] : ends[1]].reshape(symbols, TOP_FIELDS),
            levels=self.flat[ends[4] : ends[5]].reshape(symbols, 2, 2, depth),
        )
        self.resting = self.flat[ends[1] : ends[2]].reshape(max_orders, RESTING_FIELDS)
        self.taken = self.flat[ends[2] : ends[3]].reshape(taken_room, TAKEN_FIELDS)
        self.fills = self.flat[ends[3] : ends[4]].reshape(fill_room, FILL_FIELDS)
        self.ring: Frames = self.flat[ends[5] : ends[6]].view(FRAME)
        self.control[NEXT_DUE] = NEVER_NS
        self.control[SYMBOLS] = symbols
        self.control[RESTING_ROOM] = max_orders
        self.control[TAKEN_ROOM] = taken_room
        self.control[FILL_ROOM] = fill_room
        self.control[EXPLAIN_NS] = explain_ns
        self.control[DEPTH] = depth
        self.control[RING_ROOM] = ring_room
