"""Taking: an order walks the displayed levels, and what it took stays taken until the venue refreshes the level."""

from __future__ import annotations

from engine.core.book import ASK, ASK_COUNT, BID, BID_COUNT, Int64s
from engine.core.jit import borrowing, inlined, kernel
from engine.core.queues.queue_fills import fill_resting, is_alone, record_fill, rule_of, within_bounds
from engine.core.queues.queue_models import FITTED
from engine.core.queues.queue_samples import place_ahead
from engine.core.queues.slots import KEYS, SLOT, is_closed
from engine.core.state import (
    CAUSE_CROSSED,
    FILL_COUNT,
    FINE,
    LANE_BUDGET,
    LANES,
    OWN,
    OWN_COUNT,
    OWN_FIRST,
    Q_AHEAD,
    Q_LEFT,
    R_ORDER,
    T_OWNER,
    T_PRICE,
    T_SIDE,
    T_SYMBOL,
    TAKEN_COUNT,
    TAKEN_FIELDS,
    TAKEN_HERE,
    TAKEN_ROOM,
    Memory,
    memory_of,
)


@borrowing
def find_taken(m: Memory, symbol: int, which: int, price: int, owner: int) -> int:
    """The row that remembers what we took from a level (``which`` 0 bids, 1 asks), or -1."""
    if m.top[symbol, TAKEN_HERE] > 0:
        for i in range(m.control[TAKEN_COUNT]):
            row = m.taken[i]
            if row[T_PRICE] == price and row[T_SYMBOL] == symbol and row[T_SIDE] == which and row[T_OWNER] == owner:
                return i
    return -1


@borrowing
def drop_taken(m: Memory, at: int) -> None:
    """Forget one row; the rest keep their order, oldest first."""
    m.top[m.taken[at, T_SYMBOL], TAKEN_HERE] -= 1
    count = m.control[TAKEN_COUNT] - 1
    for i in range(at, count):
        for column in range(TAKEN_FIELDS + m.control[LANES]):
            m.taken[i, column] = m.taken[i + 1, column]
    m.control[TAKEN_COUNT] = count


@borrowing
def refresh_taken(m: Memory, symbol: int, which: int, price: int) -> None:
    """The venue said the level's size anew: what we took from it is in there. ``price`` -1: the whole symbol."""
    i = 0
    while i < m.control[TAKEN_COUNT]:
        here = m.taken[i, T_SYMBOL] == symbol
        if here and (price == -1 or (m.taken[i, T_SIDE] == which and m.taken[i, T_PRICE] == price)):
            drop_taken(m, i)
        else:
            i += 1


@borrowing
def taken_row(m: Memory, symbol: int, which: int, price: int, owner: int) -> int:
    """The row that remembers what we take from a level, a new one if need be; in a full table the oldest goes."""
    at = find_taken(m, symbol, which, price, owner)
    if at >= 0:
        return at
    if m.control[TAKEN_COUNT] == m.control[TAKEN_ROOM]:
        drop_taken(m, 0)
    at = m.control[TAKEN_COUNT]
    m.taken[at, :] = 0
    m.taken[at, T_SYMBOL] = symbol
    m.taken[at, T_SIDE] = which
    m.taken[at, T_PRICE] = price
    m.taken[at, T_OWNER] = owner
    m.control[TAKEN_COUNT] = at + 1
    m.top[symbol, TAKEN_HERE] += 1
    return int(at)


@borrowing
def walk_levels(m: Memory, symbol: int, side: int, limit: int, size: int, order: int) -> int:
    """Match up to ``size`` against the displayed levels and return how much there was.

    ``side``: 1 buys from the asks, -1 sells to the bids. ``limit``: worst price, 0 for any. ``order`` 0 only looks;
    otherwise each level gives one fill at its own price and is remembered as taken, in every lane.
    """
    which = 1 if side > 0 else 0
    count = m.top[symbol, ASK_COUNT if which else BID_COUNT]
    keys = m.levels[symbol, which, 0]
    sizes = m.levels[symbol, which, 1]
    found = 0
    for i in range(count - 1, -1, -1):
        price = -keys[i] if which else keys[i]
        if found >= size or (limit != 0 and (price - limit) * side > 0):
            break
        here = sizes[i]
        at = find_taken(m, symbol, which, price, 0)
        if at >= 0:
            here -= m.taken[at, TAKEN_FIELDS + OWN]
        here = min(here, size - found)
        if here <= 0:
            continue
        found += here
        if order != 0:
            at = taken_row(m, symbol, which, price, 0)
            for lane in range(m.control[LANES]):
                m.taken[at, TAKEN_FIELDS + lane] += here
            record_fill(m, order, price, here)
    return found


@kernel
def walk(flat: Int64s, symbol: int, side: int, limit: int, size: int, order: int) -> int:
    """``walk_levels`` for Python; its fills are the only ones in the table."""
    m = memory_of(flat)
    m.control[FILL_COUNT] = 0
    return int(walk_levels(m, symbol, side, limit, size, order))


@borrowing
def meet_display(m: Memory, slot: int, symbol: int, which: int, price: int, size: int) -> bool:
    """A resting order meets a level of the other side, ``size`` large; False where no lane has anything left of it."""
    alone = is_alone(m, slot)
    owner = m.resting[slot, R_ORDER] if alone else 0
    taken = find_taken(m, symbol, which, price, owner) if alone else -1
    goes_on = alone
    for lane in range(m.control[LANES]):
        budget = m.lanes[LANE_BUDGET, lane]
        if alone:
            budget = size - (m.taken[taken, TAKEN_FIELDS + lane] if taken >= 0 else 0)
        budget = max(0, budget)
        ours = within_bounds(m, slot, lane, min(budget, m.queues[slot, lane, Q_LEFT]))
        if ours > 0:
            if not alone:
                m.lanes[LANE_BUDGET, lane] -= ours
            m.taken[taken_row(m, symbol, which, price, owner), TAKEN_FIELDS + lane] += ours
            ahead = (m.queues[slot, lane, Q_AHEAD] + FINE // 2) // FINE
            if rule_of(m, slot, lane) == FITTED:
                ahead = place_ahead(m.samples[slot])
            fill_resting(m, slot, lane, ours, CAUSE_CROSSED, ahead)
        goes_on = goes_on or budget > ours
    return goes_on


@inlined
def is_any_reached(m: Memory, symbol: int) -> bool:
    """The best price of a side is at or beyond the best of our resting orders on the other."""
    top, keys = m.top, m.places[KEYS]
    bids, asks = top[symbol, OWN_COUNT], top[symbol, OWN_COUNT + 1]
    bid, ask = top[symbol, BID], top[symbol, ASK]
    return bool(
        (bids > 0 and ask > 0 and keys[top[symbol, OWN_FIRST]] <= -ask)
        or (asks > 0 and bid > 0 and keys[top[symbol, OWN_FIRST + 1]] <= bid)
    )


@borrowing
def match_crossed(m: Memory, symbol: int) -> None:
    """Resting orders that the opposite side now reaches trade at their own price, up to what it displays.

    The venue shows an offer at or through our bid only when nobody bids there any more: it would have met us. Better
    prices go first, at one price the oldest order. Most frames end at the first comparison: nobody is reached.
    """
    for column in range(2):
        count = m.top[symbol, OWN_COUNT + column]
        which = 1 - column
        levels = m.top[symbol, ASK_COUNT if which else BID_COUNT]
        if count == 0 or levels == 0:
            continue
        side = 1 if column == 0 else -1
        first = m.top[symbol, OWN_FIRST + column]
        keys = m.places[KEYS]
        for i in range(levels - 1, -1, -1):
            # The other side's price as a key of ours: reached is who has a key at or below minus it.
            price = -m.levels[symbol, which, 0, i] if which else m.levels[symbol, which, 0, i]
            key = -price * side
            if keys[first] > key:
                break
            size = m.levels[symbol, which, 1, i]
            taken = find_taken(m, symbol, which, price, 0)
            for lane in range(m.control[LANES]):
                m.lanes[LANE_BUDGET, lane] = size - (m.taken[taken, TAKEN_FIELDS + lane] if taken >= 0 else 0)
            at = first
            while at < first + count and keys[at] <= key:
                slot = m.places[SLOT, at]
                if not is_closed(m, slot) and not meet_display(m, slot, symbol, which, price, size):
                    break
                at += 1
