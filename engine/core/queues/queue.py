"""Where our resting orders stand in the venue's queues, told from level sizes and trades alone, under each rule.

A trade and the level change that it causes arrive apart and in either order. Trade first: it moves us, and the fall of
the level that follows is, up to its size, no cancel. Level first: the fall moves us as a cancel would, but where we
stood before it is kept, and a trade at the price that comes in time is set against it: the answer is then what it would
have been with the trade first. Only the last fall that moved us waits: with the one after it, a cancel is the likelier
cause. The pessimistic bound lets all of them wait. Our own orders are never in the public level; at a price they share
what gets through to them, oldest first.

The bounds. The optimist stands in front of everybody; for the pessimist every cancel is behind. In every lane the same
orders are served in the same order, with queues and sizes left between those of the bounds, so what is filled lies
between them too; rules that ignore prints (touch, through) are held inside by force. What icebergs of ours change in
that is told in queue_prints.py.
"""

from __future__ import annotations

from engine.core.book import Int64s
from engine.core.jit import borrowing, inlined
from engine.core.queues.queue_fills import fill_resting, is_alone, within_bounds
from engine.core.queues.queue_models import BACK, FITTED, RISK_AVERSE, has_queue, share_in_front
from engine.core.queues.queue_samples import answer_places, place_level
from engine.core.queues.slots import KEYS, SLOT, first_at, is_closed
from engine.core.state import (
    CAUSE_AT_PRICE,
    EXPLAIN_NS,
    FINE,
    LANE_BEFORE,
    LANE_GIVEN,
    LANE_RULE,
    LANES,
    NOW,
    OWN_COUNT,
    OWN_FIRST,
    OWN_RULE,
    P_UNIT,
    PESSIMIST,
    Q_AHEAD,
    Q_FELL,
    Q_FELL_NS,
    Q_FROM,
    Q_LEFT,
    Q_TRADED,
    Q_WAS,
    R_ANSWERED,
    R_BEHIND,
    R_DISPLAY,
    R_ORDER,
    R_PRINTED,
    R_RULE,
    R_SHOWN,
    R_SYMBOL,
    R_TRADED,
    S_FELL,
    S_UNANSWERED,
    Memory,
)

NOBODY_PAST = 1 << 60
"""More than any print, in size units."""


@borrowing
def gone_in_front(rule: int, ahead: int, level: int, cancel: int, unit: float) -> int:
    """Of a cancel what stood in front of us, FINE units; ``level`` is the size just before it."""
    front = min(ahead / FINE, float(level))
    share = share_in_front(rule, front, level - front, unit)
    return min(ahead, int(share * cancel * FINE + 0.5))


@borrowing
def answered(m: Memory, slot: int, lane: int, printed: int, front: int) -> None:
    """The level answered prints of this size: what of them got through to us after all, past ``front``, trades now."""
    queue = m.queues[slot, lane]
    got = queue[Q_TRADED]
    queue[Q_TRADED] = 0
    if m.resting[slot, R_DISPLAY] > 0:
        return
    alone = is_alone(m, slot)
    given = 0  # of what is not spoken for
    if not alone:
        front = max(front, m.lanes[LANE_BEFORE, lane])
        m.lanes[LANE_BEFORE, lane] = front
        given = m.lanes[LANE_GIVEN, lane]
    ours = within_bounds(m, slot, lane, max(0, min(queue[Q_LEFT], printed - front - given - got)))
    if ours > 0:
        if not alone:
            m.lanes[LANE_GIVEN, lane] = given + ours
        fill_resting(m, slot, lane, ours, CAUSE_AT_PRICE, 0)


@inlined
def lane_fell(
    control: Int64s, queues: Int64s, slot: int, lane: int, rule: int, before: int, size: int, unit: float
) -> None:
    """In one lane, the level of an order went from ``before`` to ``size``."""
    level = before - queues[slot, lane, Q_TRADED]
    queues[slot, lane, Q_TRADED] = 0
    ahead = queues[slot, lane, Q_AHEAD]
    if size >= before or ahead == 0:
        return
    cancel = level - size
    left = ahead
    if cancel > 0 and rule > RISK_AVERSE:
        left -= gone_in_front(rule, ahead, level, cancel, unit)
    left = min(left, size * FINE)
    if left == ahead:
        return
    now = control[NOW]
    waits = queues[slot, lane, Q_FELL_NS] == now
    if rule == BACK:
        waits = now - queues[slot, lane, Q_FELL_NS] <= control[EXPLAIN_NS]
    if queues[slot, lane, Q_FELL] == 0 or not waits:
        queues[slot, lane, Q_WAS] = ahead
        queues[slot, lane, Q_FELL] = 0
        queues[slot, lane, Q_FROM] = level
    queues[slot, lane, Q_FELL] += max(cancel, (ahead - left + FINE - 1) // FINE)
    queues[slot, lane, Q_FELL_NS] = now
    queues[slot, lane, Q_AHEAD] = left


@inlined
def level_moved(m: Memory, slot: int, size: int) -> None:
    """The level of a resting order now shows ``size``."""
    # Handing all of ``m`` on for each lane would cost more than the rule.
    control, resting, queues, rules, places = m.control, m.resting, m.queues, m.lanes[LANE_RULE], m.samples[slot]
    symbol = resting[slot, R_SYMBOL]
    size = max(0, size - resting[slot, R_BEHIND])
    before = resting[slot, R_SHOWN]
    resting[slot, R_SHOWN] = size
    unit = m.params[symbol, P_UNIT]
    if resting[slot, R_TRADED] > 0:
        resting[slot, R_ANSWERED] = 1
    if resting[slot, R_PRINTED] == 0:
        if queues[slot, PESSIMIST, Q_AHEAD] == 0:
            return  # nobody is in front in any lane, and there is no print to confirm
        if size >= before:
            places[S_FELL] = 0  # others joined behind us
            return
    resting[slot, R_PRINTED] = 0
    front = place_level(places, control[NOW], control[EXPLAIN_NS], before, size, m.params[symbol])
    printed = places[S_UNANSWERED]
    if printed > 0:
        answer_places(places)
    for lane in range(control[LANES]):
        rule = rules[lane]
        if rule == OWN_RULE:
            rule = resting[slot, R_RULE]
        if rule == FITTED:
            if printed > 0:
                answered(m, slot, lane, printed, front)
            else:
                queues[slot, lane, Q_TRADED] = 0
            if queues[slot, lane, Q_LEFT] > 0 and resting[slot, R_ORDER] > 0:
                m.lanes[LANE_BEFORE, lane] = NOBODY_PAST  # who came later waits for it, whatever the level answers
        elif has_queue(rule):
            lane_fell(control, queues, slot, lane, rule, before, size, unit)


@inlined
def level_changed(m: Memory, symbol: int, side: int, price: int, size: int) -> None:
    """A level of our side now shows ``size``. ``side``: 1 bids, -1 asks."""
    column = 0 if side > 0 else 1
    count = m.top[symbol, OWN_COUNT + column]
    if count == 0:
        return
    first = m.top[symbol, OWN_FIRST + column]
    end = first + count
    key = -price * side
    keys = m.places[KEYS]
    if key < keys[first] or key > keys[end - 1]:
        return
    at = first_at(keys, first, end, key)
    for lane in range(m.control[LANES]):
        m.lanes[LANE_BEFORE, lane] = 0
        m.lanes[LANE_GIVEN, lane] = 0
    while at < end and keys[at] == key:
        slot = m.places[SLOT, at]
        if not is_closed(m, slot):
            level_moved(m, slot, size)
        at += 1
