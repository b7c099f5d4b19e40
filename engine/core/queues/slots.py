"""Slots of resting orders and their index: sorted by symbol, side, price (best first) and arrival.

A slot stays an order's own while it rests. The index holds, in two rows, the sort key of each price (small is good:
minus the price for bids, the price for asks) and the slot. A level's orders are then a few neighbours, found by binary
search, or by one comparison where we have no order as good as that.
"""

from __future__ import annotations

from engine.core.book import Int64s, find_level
from engine.core.jit import borrowing, inlined, kernel
from engine.core.prints import BOOK_VENUE_NS
from engine.core.queues.queue_samples import join_places, settle_places
from engine.core.state import (
    FINE,
    GRACE_NS,
    JOINED,
    LANES,
    NOW,
    OWN_COUNT,
    OWN_FIRST,
    Q_AHEAD,
    Q_FELL,
    Q_LEFT,
    Q_SINCE,
    Q_SLICE,
    Q_TRADED,
    R_BEHIND,
    R_DISPLAY,
    R_DONE_NS,
    R_FIRST_AHEAD,
    R_JOINED_NS,
    R_JOINED_VENUE_NS,
    R_NEXT,
    R_ORDER,
    R_PRICE,
    R_RULE,
    R_SHOWN,
    R_SIDE,
    R_SYMBOL,
    R_UNSURE,
    RESTING_COUNT,
    RESTING_HERE,
    SLOT_FREE,
    SLOTS_USED,
    SYMBOLS,
    Memory,
    memory_of,
)

KEYS, SLOT, RANKED = 0, 1, 2
# Rows of the index; the last holds slots of one level in the order of one lane, while a print is shared out.


@borrowing
def displayed_at(top: Int64s, levels: Int64s, symbol: int, which: int, price: int) -> int:
    """The public size at a price; ``which`` 0 bids, 1 asks."""
    count = top[symbol, 7 + which]
    at = find_level(levels[symbol, which, 0], count, -price if which else price)
    return int(levels[symbol, which, 1, at]) if at >= 0 else 0


@borrowing
def first_at(keys: Int64s, low: int, high: int, key: int) -> int:
    """The first place in ``keys[low:high]`` that is not better than ``key``."""
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def is_closed(m: Memory, slot: int) -> bool:
    """The venue's own rule filled the order so long ago that its twins are over too."""
    done_ns = m.resting[slot, R_DONE_NS]
    return bool(done_ns != 0 and m.control[NOW] - done_ns > m.control[GRACE_NS])


@borrowing
def move_borders(m: Memory, symbol: int, column: int, by: int) -> None:
    """The index grew or shrank by one row of this symbol and side (column 0 bids, 1 asks): all after it move."""
    m.top[symbol, OWN_COUNT + column] += by
    if column == 0:
        m.top[symbol, OWN_FIRST + 1] += by
    for other in range(symbol + 1, m.control[SYMBOLS]):
        m.top[other, OWN_FIRST] += by
        m.top[other, OWN_FIRST + 1] += by
    m.top[symbol, RESTING_HERE] += by
    m.control[RESTING_COUNT] += by


@borrowing
def index_slot(m: Memory, slot: int) -> None:
    """Put a slot behind all of ours at its price."""
    symbol = m.resting[slot, R_SYMBOL]
    side = m.resting[slot, R_SIDE]
    column = 0 if side > 0 else 1
    key = -m.resting[slot, R_PRICE] * side
    first = m.top[symbol, OWN_FIRST + column]
    at = first_at(m.places[KEYS], first, first + m.top[symbol, OWN_COUNT + column], key + 1)
    for i in range(m.control[RESTING_COUNT], at, -1):
        m.places[KEYS, i] = m.places[KEYS, i - 1]
        m.places[SLOT, i] = m.places[SLOT, i - 1]
    m.places[KEYS, at] = key
    m.places[SLOT, at] = slot
    move_borders(m, symbol, column, 1)


@borrowing
def unindex_slot(m: Memory, slot: int) -> None:
    """Take a slot out of the index."""
    symbol = m.resting[slot, R_SYMBOL]
    side = m.resting[slot, R_SIDE]
    column = 0 if side > 0 else 1
    first = m.top[symbol, OWN_FIRST + column]
    at = first_at(m.places[KEYS], first, first + m.top[symbol, OWN_COUNT + column], -m.resting[slot, R_PRICE] * side)
    while m.places[SLOT, at] != slot:
        at += 1
    for i in range(at, m.control[RESTING_COUNT] - 1):
        m.places[KEYS, i] = m.places[KEYS, i + 1]
        m.places[SLOT, i] = m.places[SLOT, i + 1]
    move_borders(m, symbol, column, -1)


@borrowing
def join_queue(
    m: Memory,
    symbol: int,
    side: int,
    price: int,
    size: int,
    order: int,
    rule: int,
    ahead: int,
    display: int,
    behind: int,
) -> int:
    """An order comes to rest, in every lane behind ``ahead`` (-1: all that is displayed); its slot. There is room.

    ``display``: what an iceberg shows at once, 0: all of it. ``behind``: public size that from now on is shown and
    stays behind it, 0 but for a ghost, whose original does.
    """
    slot = m.control[SLOT_FREE] - 1
    if slot >= 0:
        m.control[SLOT_FREE] = m.resting[slot, R_NEXT]
    else:
        slot = m.control[SLOTS_USED]
        m.control[SLOTS_USED] = slot + 1
    if ahead < 0:
        ahead = displayed_at(m.top, m.levels, symbol, 0 if side > 0 else 1, price)
    row = m.resting[slot]
    row[:] = 0
    row[R_ORDER] = order
    row[R_SYMBOL] = symbol
    row[R_SIDE] = side
    row[R_PRICE] = price
    row[R_FIRST_AHEAD] = ahead
    row[R_RULE] = rule
    row[R_SHOWN] = ahead
    row[R_BEHIND] = behind
    row[R_JOINED_NS] = m.control[NOW]
    row[R_DISPLAY] = display
    row[R_JOINED_VENUE_NS] = m.top[symbol, BOOK_VENUE_NS]
    m.queues[slot] = 0
    for lane in range(m.control[LANES]):
        m.queues[slot, lane, Q_LEFT] = size
        m.queues[slot, lane, Q_AHEAD] = ahead * FINE
        m.queues[slot, lane, Q_SLICE] = min(display, size)
        m.queues[slot, lane, Q_SINCE] = m.control[JOINED]
    m.control[JOINED] += 1
    join_places(m.samples[slot], ahead, order)
    index_slot(m, slot)
    return int(slot)


@borrowing
def leave_queue(m: Memory, slot: int) -> None:
    """An order is gone in every lane; its slot is free."""
    unindex_slot(m, slot)
    m.resting[slot, R_ORDER] = 0
    m.resting[slot, R_NEXT] = m.control[SLOT_FREE]
    m.control[SLOT_FREE] = slot + 1


@borrowing
def shrink_queue(m: Memory, slot: int, by: int) -> None:
    """An order gets smaller in every lane, and keeps its place."""
    for lane in range(m.control[LANES]):
        left = max(0, m.queues[slot, lane, Q_LEFT] - by)
        m.queues[slot, lane, Q_LEFT] = left
        m.queues[slot, lane, Q_SLICE] = min(left, m.queues[slot, lane, Q_SLICE])


@borrowing
def settle_queues(m: Memory, symbol: int) -> None:
    """After a resync nobody stands behind more than the fresh book shows; nothing waits for an explaining trade."""
    first = m.top[symbol, OWN_FIRST]
    for at in range(first, first + m.top[symbol, OWN_COUNT] + m.top[symbol, OWN_COUNT + 1]):
        slot = m.places[SLOT, at]
        which = 0 if m.resting[slot, R_SIDE] > 0 else 1
        shown = displayed_at(m.top, m.levels, symbol, which, m.resting[slot, R_PRICE])
        shown = max(0, shown - m.resting[slot, R_BEHIND])
        m.resting[slot, R_SHOWN] = shown
        settle_places(m.samples[slot], shown)
        for lane in range(m.control[LANES]):
            queue = m.queues[slot, lane]
            queue[Q_AHEAD] = min(queue[Q_AHEAD], shown * FINE)
            queue[Q_FELL] = 0
            queue[Q_TRADED] = 0


@borrowing
def doubt_queues(m: Memory, symbol: int) -> None:
    """The book went out of use: whoever rests here stood through a gap."""
    first = m.top[symbol, OWN_FIRST]
    for at in range(first, first + m.top[symbol, OWN_COUNT] + m.top[symbol, OWN_COUNT + 1]):
        m.resting[m.places[SLOT, at], R_UNSURE] += 1


@kernel
def join(flat: Int64s, symbol: int, side: int, price: int, size: int, order: int, rule: int, display: int) -> int:
    """``join_queue`` for Python."""
    return join_queue(memory_of(flat), symbol, side, price, size, order, rule, -1, display, 0)


@kernel
def leave(flat: Int64s, slot: int) -> None:
    """``leave_queue`` for Python."""
    leave_queue(memory_of(flat), slot)


@kernel
def shrink(flat: Int64s, slot: int, by: int) -> None:
    """``shrink_queue`` for Python."""
    shrink_queue(memory_of(flat), slot, by)
