"""What level sizes and trades betray of who cancels: queues taken apart into the orders that they were made of.

A level that was seen empty is followed from its first order on: each rise is an order at the back, each print takes
from the front, and a fall that no print explains is a cancel. Where its size is that of some of the orders that wait
there, one of those left; how likely that is depends on where in the queue people give up. So every such cancel has a
likelihood under each possible *share*: of a cancel at a level of size L, the part ``F(x)`` stood within the front
fraction x, ``logit F = share + SHAPE * logit x`` (0 and 1: in proportion; below 0: those who wait longest leave least).
"""

from __future__ import annotations

import math

import numpy as np

from engine.core.book import Int64s
from engine.core.events import CLEAR, GAP, LEVEL, SELL, TRADE, Batch
from engine.core.jit import borrowing, kernel
from engine.core.state import Float64s

SHAPE = 0.38
"""Slope of the share's logit over that of the place, from 101,000 cancels of single orders in front of and behind real
orders of the ES future."""

MERSENNE = 2**31 - 1

HOURS = 24
GRID = 41
LOWEST, STEP = -6.0, 0.2
"""Shares whose likelihood is kept: ``LOWEST + STEP * i``."""

LEVELS = 128
"""Levels followed at once of one symbol."""
ROOM = 64
"""Orders of one level; a longer queue is followed again once it emptied."""
NEAR = 512
"""Levels farther than a 512th of the price from the last trade are not followed: nobody learns from them."""

MOST_BLUR = 2
"""A queue of which more than so many cancels left open who went is no evidence any more: wrong orders would make the
share look like that of a queue without an order."""

LEVEL_FIELDS = 8
# Columns of ``followed``: side is 1 for bids and -1 for asks, 0 in a free row; TRADED is what no fall has explained
# yet, FELL the last fall, which waits for the print that may explain it; BLUR counts the cancels since the queue was
# empty that may have left another order of sizes than we keep.
I_SIDE, I_PRICE, I_COUNT, I_TOTAL, I_TRADED, I_FELL, I_FELL_NS, I_BLUR = range(LEVEL_FIELDS)

SEEN_FIELDS = 6
# Columns of ``seen``, one row a symbol.
S_LAST, S_CANCELS, S_MATCHED, S_TOLD, S_DRAWS, S_NOW = range(SEEN_FIELDS)


@borrowing
def mixed(number: int) -> int:
    """A well mixed number below 2^31 of another, without an overflow: Lehmer steps of good multipliers with shifts.

    >>> [mixed(number) for number in (0, 1, 2)]
    [88211486, 1899016942, 1977433676]
    """
    x = number % MERSENNE
    for multiplier in (48_271, 69_621, 39_373):
        x = (x * multiplier + 11) % MERSENNE
        x ^= x >> 15
    return int(x)


@borrowing
def odds_behind(x: float) -> float:
    """``((1 - x) / x) ** SHAPE``: by which a share's odds are divided at the front fraction x; inf at the front."""
    if x <= 0.0:
        return math.inf
    return 0.0 if x >= 1.0 else ((1.0 - x) / x) ** SHAPE


@borrowing
def within(share: float, before: float, after: float) -> float:
    """Of a cancel the part between two places of the queue, given as ``odds_behind``.

    >>> round(within(0.0, odds_behind(0.0), odds_behind(0.5)), 3), round(within(-1.5, odds_behind(0.0), 1.0), 3)
    (0.5, 0.182)
    """
    odds = math.exp(-share)
    return 1.0 / (1.0 + odds * after) - 1.0 / (1.0 + odds * before)


@borrowing
def take_front(level: Int64s, sizes: Int64s, size: int) -> int:
    """A print takes from the oldest orders; what it found nobody for."""
    gone = 0
    while size > 0 and gone < level[I_COUNT]:
        part = min(size, sizes[gone])
        sizes[gone] -= part
        size -= part
        level[I_TOTAL] -= part
        if sizes[gone] == 0:
            gone += 1
    if gone > 0:
        for i in range(gone, level[I_COUNT]):
            sizes[i - gone] = sizes[i]
        level[I_COUNT] -= gone
    return int(size)


@borrowing
def drop_order(level: Int64s, sizes: Int64s, at: int) -> None:
    level[I_TOTAL] -= sizes[at]
    for i in range(at, level[I_COUNT] - 1):
        sizes[i] = sizes[i + 1]
    level[I_COUNT] -= 1


@kernel
def judge(level: Int64s, sizes: Int64s, seen: Int64s, likelihood: Float64s, share: float) -> None:
    """The fall that waited was a cancel: what it says of each share; then one of those who may have left leaves."""
    size = level[I_FELL]
    level[I_FELL] = 0
    count = level[I_COUNT]
    total = float(level[I_TOTAL])
    seen[S_CANCELS] += 1
    matched = 0
    weights = np.zeros(ROOM)
    places = np.empty(ROOM + 1)
    before = 0
    for i in range(count):
        places[i] = odds_behind(before / total)
        before += sizes[i]
    places[count] = 0.0
    sum_of = 0.0
    for i in range(count):
        if sizes[i] == size:
            matched += 1
            weights[i] = within(share, places[i], places[i + 1])
            sum_of += weights[i]
    if matched == 0:
        level[I_BLUR] += 1
        # Nobody waits with this size: several left, or one got smaller. The youngest that can give it does.
        while size > 0 and level[I_COUNT] > 0:
            at = level[I_COUNT] - 1
            for i in range(at, -1, -1):
                if sizes[i] >= size:
                    at = i
                    break
            part = min(size, sizes[at])
            size -= part
            if part == sizes[at]:
                drop_order(level, sizes, at)
            else:
                sizes[at] -= part
                level[I_TOTAL] -= part
        return
    seen[S_MATCHED] += 1
    if matched < count and level[I_BLUR] <= MOST_BLUR:
        seen[S_TOLD] += 1
        likelihood[GRID] += 1.0
        for g in range(GRID):
            chance = 0.0
            for i in range(count):
                if sizes[i] == size:
                    chance += within(LOWEST + STEP * g, places[i], places[i + 1])
            likelihood[g] += math.log(max(chance, 1e-12))
    seen[S_DRAWS] += 1
    drawn = mixed(seen[S_DRAWS]) / float(MERSENNE) * sum_of
    chosen = -1
    for i in range(count):
        if sizes[i] == size:
            chosen = i
            drawn -= weights[i]
            if drawn <= 0.0:
                break
    first = -1
    last = -1
    for i in range(count):
        if sizes[i] == size:
            first = i if first < 0 else first
            last = i
    if last - first + 1 != matched:
        level[I_BLUR] += 1
    drop_order(level, sizes, chosen)


@borrowing
def level_seen(
    level: Int64s,
    sizes: Int64s,
    seen: Int64s,
    likelihood: Float64s,
    share: float,
    side: int,
    price: int,
    size: int,
) -> None:
    """A level shows ``size``. ``level`` and ``sizes`` are its row, or that of another that shares it."""
    if level[I_SIDE] != side or level[I_PRICE] != price:
        if size == 0 and (level[I_SIDE] == 0 or level[I_TOTAL] == 0):
            last = seen[S_LAST]
            if last > 0 and abs(price - last) * NEAR <= last:
                level[:] = 0
                level[I_SIDE] = side
                level[I_PRICE] = price
        return
    if size == 0:  # whoever was left is gone, and the queue is known again
        level[I_COUNT] = level[I_TOTAL] = level[I_TRADED] = level[I_FELL] = level[I_BLUR] = 0
        return
    if level[I_FELL] > 0:
        judge(level, sizes, seen, likelihood, share)
    if level[I_TRADED] > 0:
        take_front(level, sizes, level[I_TRADED])
        level[I_TRADED] = 0
    rise = size - level[I_TOTAL]
    if rise > 0:
        if level[I_COUNT] == ROOM:
            level[I_SIDE] = 0
            return
        sizes[level[I_COUNT]] = rise
        level[I_COUNT] += 1
        level[I_TOTAL] = size
    elif rise < 0:
        level[I_FELL] = -rise
        level[I_FELL_NS] = seen[S_NOW]


@borrowing
def trade_seen(level: Int64s, sizes: Int64s, seen: Int64s, side: int, price: int, size: int, explain_ns: int) -> None:
    """A print hit a level; a fall that it explains was no cancel."""
    if level[I_SIDE] != side or level[I_PRICE] != price:
        return
    if level[I_FELL] > 0 and seen[S_NOW] - level[I_FELL_NS] <= explain_ns:
        part = min(size, level[I_FELL])
        level[I_FELL] -= part
        size -= part
        take_front(level, sizes, part)
    level[I_TRADED] += size


@borrowing
def follow(
    batch: Batch,
    first: int,
    end: int,
    followed: Int64s,
    sizes: Int64s,
    seen: Int64s,
    likelihood: Float64s,
    shares: Float64s,
    explain_ns: int,
) -> None:
    """Rows ``first`` to ``end`` of what the engine just applied.

    ``followed[symbol, row]``, ``sizes[symbol, row, order]``, ``seen[symbol]``, ``likelihood[symbol, hour, share]``
    (last the count of cancels), ``shares[symbol]``: the share in use.
    """
    for row in range(first, end):
        kind = batch[row]["kind"]
        symbol = batch[row]["symbol"]
        if kind in (LEVEL, TRADE):
            price = batch[row]["price"]
            size = batch[row]["size"]
            flags = batch[row]["flags"]
            if price <= 0 or size < 0:
                continue
            one = seen[symbol]
            one[S_NOW] = max(one[S_NOW], batch[row]["recv_ns"])
            hour = (one[S_NOW] // 3_600_000_000_000) % HOURS
            if kind == LEVEL:
                side = -1 if flags & 1 else 1
            else:
                side = 1 if flags & SELL else -1
                one[S_LAST] = price
            at = mixed(2 * price + (side > 0)) % LEVELS
            level = followed[symbol, at]
            if kind == LEVEL:
                level_seen(level, sizes[symbol, at], one, likelihood[symbol, hour], shares[symbol], side, price, size)
            else:
                trade_seen(level, sizes[symbol, at], one, side, price, size, explain_ns)
        elif kind in (CLEAR, GAP):
            followed[symbol, :, I_SIDE] = 0  # what waited is not known any more
