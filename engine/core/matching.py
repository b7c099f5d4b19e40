"""Taking: an order walks the displayed levels, and what it took stays taken until the venue refreshes the level."""

from __future__ import annotations

from engine.core.book import ASK_COUNT, BID_COUNT, Int64s, find_level
from engine.core.jit import kernel
from engine.core.queue import fill_resting, record_fill
from engine.core.state import (
    R_LEFT,
    R_PRICE,
    R_SIDE,
    R_SYMBOL,
    RESTING_COUNT,
    T_PRICE,
    T_SIDE,
    T_SIZE,
    T_SYMBOL,
    TAKEN_COUNT,
    TAKEN_HERE,
    TAKEN_ROOM,
)


@kernel
def taken_at(control: Int64s, taken: Int64s, symbol: int, side: int, price: int) -> int:
    """How much of a level (``side`` 0 bids, 1 asks) our own orders already took."""
    for i in range(control[TAKEN_COUNT]):
        if taken[i, T_SYMBOL] == symbol and taken[i, T_SIDE] == side and taken[i, T_PRICE] == price:
            return int(taken[i, T_SIZE])
    return 0


@kernel
def drop_taken(control: Int64s, top: Int64s, taken: Int64s, at: int) -> None:
    """Forget one row; the rest keep their order, oldest first."""
    top[taken[at, T_SYMBOL], TAKEN_HERE] -= 1
    count = control[TAKEN_COUNT] - 1
    for i in range(at, count):
        taken[i, :] = taken[i + 1, :]
    control[TAKEN_COUNT] = count


@kernel
def refresh_taken(control: Int64s, top: Int64s, taken: Int64s, symbol: int, side: int, price: int) -> None:
    """The venue said the level's size anew: what we took from it is in there. ``price`` -1: the whole symbol."""
    i = 0
    while i < control[TAKEN_COUNT]:
        here = taken[i, T_SYMBOL] == symbol
        if here and (price == -1 or (taken[i, T_SIDE] == side and taken[i, T_PRICE] == price)):
            drop_taken(control, top, taken, i)
        else:
            i += 1


@kernel
def remember_taken(control: Int64s, top: Int64s, taken: Int64s, symbol: int, side: int, price: int, size: int) -> None:
    """Add to what we took from a level; when the table is full the oldest memory goes."""
    for i in range(control[TAKEN_COUNT]):
        if taken[i, T_SYMBOL] == symbol and taken[i, T_SIDE] == side and taken[i, T_PRICE] == price:
            taken[i, T_SIZE] += size
            return
    if control[TAKEN_COUNT] == control[TAKEN_ROOM]:
        drop_taken(control, top, taken, 0)
    at = control[TAKEN_COUNT]
    taken[at, T_SYMBOL] = symbol
    taken[at, T_SIDE] = side
    taken[at, T_PRICE] = price
    taken[at, T_SIZE] = size
    control[TAKEN_COUNT] = at + 1
    top[symbol, TAKEN_HERE] += 1


@kernel
def walk(
    control: Int64s,
    top: Int64s,
    levels: Int64s,
    taken: Int64s,
    fills: Int64s,
    symbol: int,
    side: int,
    limit: int,
    size: int,
    order: int,
) -> int:
    """Match up to ``size`` against the displayed levels and return how much there was.

    ``side``: 1 buys from the asks, -1 sells to the bids. ``limit``: worst price, 0 for any. ``order`` 0 only looks;
    otherwise each level gives one fill at its own price and is remembered as taken.
    """
    which = 1 if side > 0 else 0
    count = top[symbol, ASK_COUNT if which else BID_COUNT]
    keys = levels[symbol, which, 0]
    sizes = levels[symbol, which, 1]
    found = 0
    for i in range(count - 1, -1, -1):
        price = -keys[i] if which else keys[i]
        if found >= size or (limit != 0 and (price - limit) * side > 0):
            break
        here = sizes[i]
        if top[symbol, TAKEN_HERE] > 0:
            here -= taken_at(control, taken, symbol, which, price)
        here = min(here, size - found)
        if here <= 0:
            continue
        found += here
        if order != 0:
            remember_taken(control, top, taken, symbol, which, price, here)
            record_fill(control, fills, order, price, here, 0, 0)
    return found


@kernel
def displayed_at(top: Int64s, levels: Int64s, symbol: int, which: int, price: int) -> int:
    """The public size at a price; ``which`` 0 bids, 1 asks."""
    count = top[symbol, ASK_COUNT if which else BID_COUNT]
    at = find_level(levels[symbol, which, 0], count, -price if which else price)
    return int(levels[symbol, which, 1, at]) if at >= 0 else 0


@kernel
def match_crossed(
    control: Int64s, top: Int64s, levels: Int64s, resting: Int64s, taken: Int64s, fills: Int64s, symbol: int
) -> None:
    """Resting orders that the opposite side now reaches trade at their own price, up to what it displays.

    The venue shows an offer at or through our bid only when nobody bids there any more: it would have met us. The
    oldest order goes first at each price because the table is in order of arrival; better prices go before.
    """
    count = control[RESTING_COUNT]
    while True:
        best = -1
        for i in range(count):
            if resting[i, R_SYMBOL] != symbol or resting[i, R_LEFT] <= 0:
                continue
            side = resting[i, R_SIDE]
            if walk(control, top, levels, taken, fills, symbol, side, resting[i, R_PRICE], 1, 0) == 0:
                continue
            if best < 0 or (
                resting[i, R_SIDE] == resting[best, R_SIDE]
                and (resting[i, R_PRICE] - resting[best, R_PRICE]) * side > 0
            ):
                best = i
        if best < 0:
            return
        side = resting[best, R_SIDE]
        which = 1 if side > 0 else 0
        levels_left = top[symbol, ASK_COUNT if which else BID_COUNT]
        for i in range(levels_left - 1, -1, -1):
            price = -levels[symbol, which, 0, i] if which else levels[symbol, which, 0, i]
            if resting[best, R_LEFT] <= 0 or (price - resting[best, R_PRICE]) * side > 0:
                break
            here = levels[symbol, which, 1, i] - taken_at(control, taken, symbol, which, price)
            ours = min(here, resting[best, R_LEFT])
            if ours > 0:
                remember_taken(control, top, taken, symbol, which, price, ours)
                fill_resting(control, fills, resting, best, ours)
