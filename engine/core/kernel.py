"""The one loop over market data: books, resting paper orders and the ring of frames, until Python must look.

A frame is applied whole before anyone sees it, and concerns one symbol. The kernel stops before a frame when something
is due at or before it, and after a frame when a strategy listens to what changed, a book's state changed, a resting
order traded, or the ring is full.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from engine.core.account.marks import note_mark
from engine.core.book import (
    ASK,
    ASK_COUNT,
    ASK_SIZE,
    BID,
    BID_COUNT,
    BID_SIZE,
    CHANGED_NS,
    DOUBT,
    EPOCH,
    IS_READY,
    UPDATE_ID,
    Int64s,
    set_level,
)
from engine.core.events import (
    ABSURD,
    BATCH,
    CHECK,
    CHECKSUM,
    CLEAR,
    CLOCK,
    CROSSED,
    DOWN,
    FRAME_BOOK,
    FRAME_LEVELS,
    FRAME_READY,
    FRAME_TRADE,
    FUNDING,
    GAP,
    LAST,
    LEVEL,
    MARK,
    MOST_UNITS,
    NEGATIVE,
    QUOTE,
    READY,
    TRADE,
    UP,
    Batch,
)
from engine.core.jit import borrowing, entry_point, inlined, kernel
from engine.core.prints import BOOK_VENUE_NS, counts, hit_side, is_sane, sample_mid
from engine.core.queues.matching import is_any_reached, match_crossed, refresh_taken
from engine.core.queues.queue import level_changed
from engine.core.queues.queue_prints import traded
from engine.core.queues.slots import doubt_queues, settle_queues
from engine.core.state import (
    ASKED,
    CHECK_STATE,
    CHECK_VALUE,
    CONTROL_FIELDS,
    FAILED,
    FILL_COUNT,
    FR_ASK,
    FR_ASK_SIZE,
    FR_BID,
    FR_BID_SIZE,
    FR_BUY_SIZE,
    FR_BUYS,
    FR_FLAGS,
    FR_ID,
    FR_LAST_PRICE,
    FR_RECV_NS,
    FR_SELL_SIZE,
    FR_SELLS,
    FR_SYMBOL,
    FR_VENUE_NS,
    FRAME_FIRST,
    FRAMES_SEEN,
    GAPS_SEEN,
    HEARS_BOOK,
    HEARS_TRADE,
    HELD_CHANGED,
    HELD_FIRST,
    HELD_FLAGS,
    HELD_REASON,
    HELD_WAKE,
    NEXT_DUE,
    NOW,
    RESTING_HERE,
    RING_ON,
    RING_ROOM,
    RING_USED,
    TAKEN_HERE,
    TWIN_COUNT,
    TWIN_ROOM,
    URGENT,
    WAKE,
    WAKE_BOOK,
    WAKE_CHECK,
    WAKE_DUE,
    WAKE_FILL,
    WAKE_FUNDING,
    WAKE_RING,
    WAKE_STATE,
    WAKE_SYMBOL,
    WAKE_TRADE,
    WAKE_TRIGGER,
    WAKE_TWIN,
    Memory,
    memory_of,
)
from engine.core.thresholds import LAST_PRICE, WATCHING, last_wakes, mark_wakes, touch_wakes
from engine.core.types import NEVER_NS


@borrowing
def doubt(m: Memory, symbol: int, reason: int) -> int:
    """Take a book out of use; 1 when it was in use."""
    was_ready = m.top[symbol, IS_READY]
    m.top[symbol, IS_READY] = 0
    m.top[symbol, DOUBT] = reason
    if was_ready:
        m.top[symbol, EPOCH] += 1
        m.control[GAPS_SEEN] += 1
        if m.top[symbol, RESTING_HERE] > 0:
            doubt_queues(m, symbol)
    return int(was_ready)


@inlined
def apply_level(m: Memory, symbol: int, which: int, price: int, size: int) -> None:
    """A level now holds ``size``; ``which`` 0 bids, 1 asks."""
    column = ASK_COUNT if which else BID_COUNT
    m.top[symbol, column] = set_level(
        m.levels[symbol, which, 0],
        m.levels[symbol, which, 1],
        m.top[symbol, column],
        -price if which else price,
        size,
    )
    if m.top[symbol, RESTING_HERE] > 0 and m.top[symbol, IS_READY]:
        level_changed(m, symbol, -1 if which else 1, price, size)
    if m.top[symbol, TAKEN_HERE] > 0:
        refresh_taken(m, symbol, which, price)


@borrowing
def refresh_top(top: Int64s, levels: Int64s, symbol: int) -> None:
    """Copy the best levels to where strategies read them."""
    bids = top[symbol, BID_COUNT]
    asks = top[symbol, ASK_COUNT]
    top[symbol, BID] = levels[symbol, 0, 0, bids - 1] if bids > 0 else 0
    top[symbol, BID_SIZE] = levels[symbol, 0, 1, bids - 1] if bids > 0 else 0
    top[symbol, ASK] = -levels[symbol, 1, 0, asks - 1] if asks > 0 else 0
    top[symbol, ASK_SIZE] = levels[symbol, 1, 1, asks - 1] if asks > 0 else 0


@borrowing
def is_crossed(top: Int64s, symbol: int) -> bool:
    """Both sides are there and the best bid is not below the best ask."""
    both = top[symbol, BID_COUNT] > 0 and top[symbol, ASK_COUNT] > 0
    return bool(both and top[symbol, BID] >= top[symbol, ASK])


@borrowing
def write_frame(
    control: Int64s, top: Int64s, levels: Int64s, ring: Int64s, batch: Batch, first: int, last: int, flags: int
) -> None:
    """Append what the market looks like now to the ring."""
    at = control[RING_USED]
    symbol = batch[last]["symbol"]
    frame = ring[at]
    frame[FR_SYMBOL] = symbol
    frame[FR_RECV_NS] = control[NOW]
    frame[FR_VENUE_NS] = batch[last]["venue_ns"]
    frame[FR_ID] = batch[last]["id"] if flags & FRAME_BOOK else 0
    frame[FR_FLAGS] = flags
    for which in range(2):
        count = top[symbol, ASK_COUNT if which else BID_COUNT]
        shown = min(count, FRAME_LEVELS)
        prices, sizes = levels[symbol, which, 0], levels[symbol, which, 1]
        sign, at_price, at_size = (-1, FR_ASK, FR_ASK_SIZE) if which else (1, FR_BID, FR_BID_SIZE)
        for i in range(shown):
            frame[at_price + i] = sign * prices[count - 1 - i]
            frame[at_size + i] = sizes[count - 1 - i]
        for i in range(shown, FRAME_LEVELS):
            frame[at_price + i] = 0
            frame[at_size + i] = 0
    frame[FR_BUY_SIZE] = 0
    frame[FR_SELL_SIZE] = 0
    frame[FR_BUYS] = 0
    frame[FR_SELLS] = 0
    frame[FR_LAST_PRICE] = 0
    if flags & FRAME_TRADE:
        for i in range(first, last + 1):
            if batch[i]["kind"] == TRADE and is_sane(batch[i]["price"], batch[i]["size"]):
                hit = hit_side(top, symbol, batch[i]["flags"], batch[i]["price"])
                if hit > 0:
                    frame[FR_SELL_SIZE] += batch[i]["size"]
                    frame[FR_SELLS] += 1
                elif hit < 0:
                    frame[FR_BUY_SIZE] += batch[i]["size"]
                    frame[FR_BUYS] += 1
                frame[FR_LAST_PRICE] = batch[i]["price"]
    control[RING_USED] = at + 1


@borrowing
def apply_frames(m: Memory, batch: Batch, start: int) -> int:
    """Apply frames from row ``start`` until Python must look; return the next row. ``control[WAKE]`` says why."""
    control, top, levels = m.control, m.top, m.levels
    control[WAKE] = 0
    if control[CHECK_STATE] == 0:
        control[FILL_COUNT] = 0
    row = start
    rows = batch.size
    while row < rows:
        is_held = control[CHECK_STATE] != 0
        first = control[HELD_FIRST] if is_held else row
        now = max(control[NOW], batch[row]["recv_ns"])
        if control[NEXT_DUE] <= now and not is_held:
            control[WAKE] = WAKE_DUE
            return row
        control[NOW] = now
        symbol = batch[row]["symbol"]
        changed = control[HELD_CHANGED] if is_held else 0
        flags = control[HELD_FLAGS] if is_held else 0
        wake = control[HELD_WAKE] if is_held else 0
        reason = control[HELD_REASON] if is_held else 0
        is_last = False
        while not is_last:
            kind = batch[row]["kind"]
            is_last = batch[row]["flags"] & LAST != 0
            if kind == LEVEL:
                which = batch[row]["flags"] & 1
                price = batch[row]["price"]
                size = batch[row]["size"]
                flags |= FRAME_BOOK
                if price <= 0 or size < 0:
                    reason = NEGATIVE
                elif price > MOST_UNITS or size > MOST_UNITS:
                    reason = ABSURD
                else:
                    apply_level(m, symbol, which, price, size)
                    changed = 1
            elif kind == TRADE:
                flags |= FRAME_TRADE
                price = batch[row]["price"]
                size = batch[row]["size"]
                if counts(m, symbol, price, size, batch[row]["venue_ns"], batch[row]["id"]):
                    if top[symbol, RESTING_HERE] > 0 and top[symbol, IS_READY]:
                        hit = hit_side(top, symbol, batch[row]["flags"], price)
                        if hit != 0:
                            traded(m, symbol, hit, price, size)
                    top[symbol, LAST_PRICE] = price
                    if top[symbol, WATCHING] and last_wakes(top, symbol, price):
                        wake |= WAKE_TRIGGER
            elif kind == CLEAR:
                flags |= FRAME_BOOK
                top[symbol, BID_COUNT] = 0
                top[symbol, ASK_COUNT] = 0
                if doubt(m, symbol, 0):
                    wake |= WAKE_STATE
                if top[symbol, TAKEN_HERE] > 0:
                    refresh_taken(m, symbol, 0, -1)
            elif kind == READY:
                flags |= FRAME_BOOK
                if not top[symbol, IS_READY]:
                    top[symbol, IS_READY] = 1
                    top[symbol, DOUBT] = 0
                    wake |= WAKE_STATE
                    changed = 1
                    if top[symbol, RESTING_HERE] > 0:
                        settle_queues(m, symbol)
            elif kind == MARK:
                flags |= FRAME_BOOK
            elif kind == CHECK:
                flags |= FRAME_BOOK
                if is_held:
                    if control[CHECK_STATE] == FAILED:
                        reason = CHECKSUM
                    control[CHECK_STATE] = 0
                elif top[symbol, IS_READY]:
                    # The frame waits here, whole but unseen, until Python has compared the venue's checksum.
                    refresh_top(top, levels, symbol)
                    control[CHECK_STATE] = ASKED
                    control[CHECK_VALUE] = batch[row]["size"]
                    control[HELD_FIRST] = first
                    control[HELD_CHANGED] = changed
                    control[HELD_FLAGS] = flags
                    control[HELD_WAKE] = wake
                    control[HELD_REASON] = reason
                    control[WAKE] = WAKE_CHECK
                    control[WAKE_SYMBOL] = symbol
                    return row
            elif kind == FUNDING:
                price, size, venue_ns = batch[row]["price"], batch[row]["size"], batch[row]["venue_ns"]
                if note_mark(top, symbol, price, size, batch[row]["id"], venue_ns, now):
                    wake |= WAKE_FUNDING
                if top[symbol, WATCHING] and mark_wakes(top, symbol):
                    wake |= WAKE_TRIGGER
            elif kind in (GAP, DOWN):
                reason = batch[row]["reason"]
                flags |= FRAME_BOOK
            row += 1
            if row == rows:
                is_last = True
        last = row - 1
        kind = batch[last]["kind"]
        if kind in (CLOCK, QUOTE, UP) or (kind == FUNDING and wake == 0):
            continue
        control[FRAMES_SEEN] += 1
        if flags & FRAME_BOOK:
            refresh_top(top, levels, symbol)
            top[symbol, UPDATE_ID] = batch[last]["id"]
            top[symbol, CHANGED_NS] = now
            top[symbol, BOOK_VENUE_NS] = batch[last]["venue_ns"]
            # In a snapshot's frame too: a crossed snapshot is no book.
            if reason == 0 and top[symbol, IS_READY] and is_crossed(top, symbol):
                reason = CROSSED
        if reason != 0:
            if doubt(m, symbol, reason):
                wake |= WAKE_STATE
            elif wake & WAKE_STATE == 0:
                top[symbol, DOUBT] = reason
        is_ready = top[symbol, IS_READY]
        if is_ready:
            flags |= FRAME_READY
            if flags & FRAME_BOOK:
                sample_mid(m, symbol)
            if changed and top[symbol, RESTING_HERE] > 0 and is_any_reached(m, symbol):
                match_crossed(m, symbol)
            if flags & FRAME_BOOK and top[symbol, WATCHING] and touch_wakes(top, symbol):
                wake |= WAKE_TRIGGER
            if changed and top[symbol, HEARS_BOOK]:
                wake |= WAKE_BOOK
        if flags & FRAME_TRADE and top[symbol, HEARS_TRADE]:
            wake |= WAKE_TRADE
        if control[FILL_COUNT] > 0:
            wake |= WAKE_FILL
        if control[URGENT] or 2 * control[TWIN_COUNT] > control[TWIN_ROOM]:
            control[URGENT] = 0
            wake |= WAKE_TWIN
        if control[RING_ON] and flags != 0:
            write_frame(control, top, levels, m.ring, batch, first, last, flags)
            if control[RING_USED] == control[RING_ROOM]:
                wake |= WAKE_RING
        if wake:
            control[WAKE] = wake
            control[WAKE_SYMBOL] = symbol
            control[FRAME_FIRST] = first
            return row
    return row


@kernel
def advance(flat: Int64s, batch: Batch, start: int) -> int:
    """``apply_frames`` for Python."""
    return int(apply_frames(memory_of(flat), batch, start))


@cache
def fast_advance() -> Callable[[Int64s, Batch, int], int]:
    """``advance`` for a contiguous array of ``BATCH`` rows and a state's flat array, and nothing else."""
    flat = np.zeros(CONTROL_FIELDS, np.int64)
    flat[NEXT_DUE] = NEVER_NS
    return entry_point(advance, flat, np.zeros(0, BATCH), 0)
