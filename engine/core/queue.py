"""Where our resting orders stand in the venue's queues, told from level sizes and trades alone.

The rule is the *risk-averse* one (hftbacktest ``RiskAdverseQueueModel``): an order joins behind all displayed size,
only trades move it forward, and it can never stand behind more than the level shows. A trade and the level change that
it causes arrive apart and in either order. Trade first: the cap then changes nothing. Level first: the size by which
the last change's cap moved us is remembered as *early*, and the next trades at the price are set against it before they
move us again. Only the last change waits: with the one after it, a cancel is the likelier cause. Sizes and prices are
integers in the instrument's units.
"""

from __future__ import annotations

from engine.core.book import Int64s
from engine.core.jit import kernel
from engine.core.state import (
    EXPLAIN_NS,
    F_AHEAD,
    F_MAKER,
    F_ORDER,
    F_PRICE,
    F_SIZE,
    FILL_COUNT,
    NOW,
    R_AHEAD,
    R_EARLY,
    R_EARLY_NS,
    R_FIRST_AHEAD,
    R_LEFT,
    R_MARK,
    R_ORDER,
    R_PRICE,
    R_SIDE,
    R_SYMBOL,
    RESTING_COUNT,
)


@kernel
def record_fill(control: Int64s, fills: Int64s, order: int, price: int, size: int, maker: int, ahead: int) -> None:
    """Append to the fills of this call; the room covers every order several times a frame."""
    at = control[FILL_COUNT]
    fills[at, F_ORDER] = order
    fills[at, F_PRICE] = price
    fills[at, F_SIZE] = size
    fills[at, F_MAKER] = maker
    fills[at, F_AHEAD] = ahead
    control[FILL_COUNT] = at + 1


@kernel
def fill_resting(control: Int64s, fills: Int64s, resting: Int64s, at: int, size: int) -> None:
    """A resting order trades ``size`` at its own price. Fills of one order within one frame are one fill."""
    resting[at, R_LEFT] -= size
    order = resting[at, R_ORDER]
    for i in range(control[FILL_COUNT]):
        if fills[i, F_ORDER] == order:
            fills[i, F_SIZE] += size
            return
    record_fill(control, fills, order, resting[at, R_PRICE], size, 1, resting[at, R_FIRST_AHEAD])


@kernel
def level_changed(control: Int64s, resting: Int64s, symbol: int, side: int, price: int, size: int) -> None:
    """A level of our side now shows ``size``: nobody stands behind more than that. ``side``: 1 bids, -1 asks."""
    for i in range(control[RESTING_COUNT]):
        if (
            resting[i, R_SYMBOL] == symbol
            and resting[i, R_SIDE] == side
            and resting[i, R_PRICE] == price
            and resting[i, R_AHEAD] > size
        ):
            if resting[i, R_EARLY_NS] != control[NOW]:
                resting[i, R_EARLY] = 0
            resting[i, R_EARLY] += resting[i, R_AHEAD] - size
            resting[i, R_EARLY_NS] = control[NOW]
            resting[i, R_AHEAD] = size


@kernel
def traded(control: Int64s, resting: Int64s, fills: Int64s, symbol: int, side: int, price: int, size: int) -> None:
    """A trade of ``size`` at ``price`` hit the ``side`` (1: bids) on which our orders rest.

    Orders at better prices than the print would have met the aggressor first and share its size, best price first.
    At the print's own price the size goes to what is in front of us, the rest to us, oldest order first.
    """
    budget = size
    count = control[RESTING_COUNT]
    for i in range(count):
        resting[i, R_MARK] = 0
    while budget > 0:
        best = -1
        for i in range(count):
            if (
                resting[i, R_SYMBOL] == symbol
                and resting[i, R_SIDE] == side
                and resting[i, R_LEFT] > 0
                and resting[i, R_MARK] == 0
                and (resting[i, R_PRICE] - price) * side > 0
                and (best < 0 or (resting[i, R_PRICE] - resting[best, R_PRICE]) * side > 0)
            ):
                best = i
        if best < 0:
            break
        resting[best, R_MARK] = 1
        resting[best, R_AHEAD] = 0
        resting[best, R_EARLY] = 0
        ours = min(budget, resting[best, R_LEFT])
        budget -= ours
        fill_resting(control, fills, resting, best, ours)
    ours_before = 0
    for i in range(count):
        if (
            resting[i, R_SYMBOL] != symbol
            or resting[i, R_SIDE] != side
            or resting[i, R_PRICE] != price
            or resting[i, R_LEFT] <= 0
        ):
            continue
        rest = budget
        if resting[i, R_EARLY] > 0:
            if control[NOW] - resting[i, R_EARLY_NS] > control[EXPLAIN_NS]:
                resting[i, R_EARLY] = 0
            else:
                explained = min(rest, resting[i, R_EARLY])
                resting[i, R_EARLY] -= explained
                rest -= explained
        public = min(rest, resting[i, R_AHEAD])
        resting[i, R_AHEAD] -= public
        rest -= public + ours_before
        ours = min(rest, resting[i, R_LEFT])
        if ours > 0:
            ours_before += ours
            fill_resting(control, fills, resting, i, ours)
