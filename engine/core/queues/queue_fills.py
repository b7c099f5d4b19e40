"""What a resting order trades: written down once for the venue's own rule, and for each rule beside it."""

from __future__ import annotations

from engine.core.jit import borrowing, inlined
from engine.core.queues.queue_samples import chance_of
from engine.core.state import (
    ALONE,
    CAUSE_AT_PRICE,
    CLAMPED,
    F_AHEAD,
    F_AHEAD_NOW,
    F_CAUSE,
    F_CHANCE,
    F_MAKER,
    F_ORDER,
    F_PRICE,
    F_RULE,
    F_SIZE,
    FILL_COUNT,
    LANE_RULE,
    NOW,
    OPTIMIST,
    OWN,
    OWN_RULE,
    PESSIMIST,
    Q_LEFT,
    Q_ROW,
    Q_SLICE,
    R_DISPLAY,
    R_DONE_NS,
    R_FIRST_AHEAD,
    R_ORDER,
    R_PRICE,
    R_RULE,
    R_TRADED,
    S_REACHED,
    TWIN_COUNT,
    URGENT,
    W_CAUSE,
    W_LANE,
    W_NS,
    W_ORDER,
    W_PRICE,
    W_SIZE,
    Memory,
)


@borrowing
def rule_of(m: Memory, slot: int, lane: int) -> int:
    """The code of the rule that a lane follows for an order."""
    rule = m.lanes[LANE_RULE, lane]
    return int(m.resting[slot, R_RULE] if rule == OWN_RULE else rule)


@borrowing
def is_alone(m: Memory, slot: int) -> bool:
    """The order is a ghost, or all are: it shares no print and no display with others."""
    return bool(m.control[ALONE] != 0 or m.resting[slot, R_ORDER] < 0)


@borrowing
def record_fill(m: Memory, order: int, price: int, size: int) -> None:
    """A taker got this much at one price: append to the fills of this call."""
    at = m.control[FILL_COUNT]
    m.fills[at, :] = 0
    m.fills[at, F_ORDER] = order
    m.fills[at, F_PRICE] = price
    m.fills[at, F_SIZE] = size
    m.control[FILL_COUNT] = at + 1


@inlined
def next_part(left: int, display: int, whole: int) -> int:
    """What an iceberg shows next, ``left`` of a part: 0, or below where it traded beyond it; ``whole``: left of all.

    >>> next_part(0, 3, 10), next_part(-1, 3, 10), next_part(-3, 3, 10), next_part(-1, 3, 1)
    (3, 2, 3, 1)
    """
    return min(display - -left % display, whole)


@borrowing
def show_next(m: Memory, slot: int, lane: int, size: int, cause: int) -> None:
    """An iceberg traded ``size`` in a lane: what it shows now.

    After prints at its price a part that is used up waits for ``refill``. What goes through the price or crosses it
    finds all of the order, shown and hidden, and meets the rest of it at once.
    """
    queue = m.queues[slot, lane]
    queue[Q_SLICE] -= size
    if queue[Q_SLICE] > 0:
        queue[Q_SLICE] = min(queue[Q_SLICE], queue[Q_LEFT])
    elif cause != CAUSE_AT_PRICE:
        queue[Q_SLICE] = next_part(queue[Q_SLICE], m.resting[slot, R_DISPLAY], queue[Q_LEFT])


@borrowing
def fill_resting(m: Memory, slot: int, lane: int, size: int, cause: int, ahead: int) -> None:
    """A resting order trades ``size`` at its own price in a lane. Fills of one order within one frame are one fill."""
    row = m.resting[slot]
    m.queues[slot, lane, Q_LEFT] -= size
    if row[R_DISPLAY] > 0:
        show_next(m, slot, lane, size, cause)
    at = m.queues[slot, lane, Q_ROW]
    if lane == PESSIMIST:
        m.control[URGENT] = 1
    if lane != OWN:
        if at < m.control[TWIN_COUNT]:
            twin = m.twins[at]
            if twin[W_ORDER] == row[R_ORDER] and twin[W_LANE] == lane and twin[W_NS] == m.control[NOW]:
                twin[W_SIZE] += size
                if twin[W_CAUSE] == CAUSE_AT_PRICE:
                    twin[W_CAUSE] = cause
                return
        at = m.control[TWIN_COUNT]
        twin = m.twins[at]
        twin[W_ORDER] = row[R_ORDER]
        twin[W_LANE] = lane
        twin[W_PRICE] = row[R_PRICE]
        twin[W_SIZE] = size
        twin[W_CAUSE] = cause
        twin[W_NS] = m.control[NOW]
        m.queues[slot, lane, Q_ROW] = at
        m.control[TWIN_COUNT] = at + 1
        return
    if m.queues[slot, lane, Q_LEFT] == 0 and row[R_ORDER] > 0:
        row[R_DONE_NS] = m.control[NOW]  # a ghost stays, to learn what its bounds make of it
    row[R_TRADED] += size
    is_sure = m.queues[slot, PESSIMIST, Q_LEFT] <= m.queues[slot, OWN, Q_LEFT]
    chance = chance_of(cause, is_sure, m.samples[slot, S_REACHED])
    if at < m.control[FILL_COUNT] and m.fills[at, F_ORDER] == row[R_ORDER]:
        m.fills[at, F_SIZE] += size
        if m.fills[at, F_CAUSE] == CAUSE_AT_PRICE:
            m.fills[at, F_CAUSE] = cause
        m.fills[at, F_CHANCE] = chance
        return
    at = m.control[FILL_COUNT]
    fill = m.fills[at]
    fill[F_ORDER] = row[R_ORDER]
    fill[F_PRICE] = row[R_PRICE]
    fill[F_SIZE] = size
    fill[F_MAKER] = 1
    fill[F_AHEAD] = row[R_FIRST_AHEAD]
    fill[F_AHEAD_NOW] = ahead
    fill[F_RULE] = row[R_RULE]
    fill[F_CAUSE] = cause
    fill[F_CHANCE] = chance
    m.queues[slot, lane, Q_ROW] = at
    m.control[FILL_COUNT] = at + 1


@borrowing
def within_bounds(m: Memory, slot: int, lane: int, size: int) -> int:
    """What an order may trade in a lane so that it is filled no less than the pessimist and no more than the optimist.

    The bounds' own lanes come first, and were served already.
    """
    if m.control[CLAMPED] == 0 or lane == OPTIMIST:
        return size
    left = m.queues[slot, lane, Q_LEFT]
    size = min(size, left - m.queues[slot, OPTIMIST, Q_LEFT])
    if lane != PESSIMIST:
        size = max(size, left - m.queues[slot, PESSIMIST, Q_LEFT])
    return int(size)
