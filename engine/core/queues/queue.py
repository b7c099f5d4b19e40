"""Where our resting orders stand in the venue's queues, told from level sizes and trades alone, under each rule.

A trade and the level change that it causes arrive apart and in either order. Trade first: it moves us, and the fall of
the level that follows is, up to its size, no cancel. Level first: the fall moves us as a cancel would, but where we
stood before it is kept, and a trade at the price that comes in time is set against it: the answer is then what it would
have been with the trade first. Only the last fall that moved us waits: with the one after it, a cancel is the likelier
cause. The pessimistic bound lets all of them wait. Our own orders are never in the public level; at a price they share
what gets through to them, oldest first.

The bounds. The optimist stands in front of everybody; for the pessimist every cancel is behind. In every lane the same
orders are served in the same order, with queues and sizes left between those of the bounds, so what is filled lies
between them too; rules that ignore prints (touch, through) are held inside by force.
"""

from __future__ import annotations

from engine.core.book import Int64s
from engine.core.jit import inlined, kernel
from engine.core.prints import came_after
from engine.core.queues.queue_fills import fill_resting, is_alone, rule_of, within_bounds
from engine.core.queues.queue_models import BACK, FITTED, FRONT, PRINT, RISK_AVERSE, TOUCH, has_queue, share_in_front
from engine.core.queues.queue_samples import (
    answer_places,
    place_ahead,
    place_level,
    place_print,
    place_through,
    rejoin_places,
)
from engine.core.queues.slots import KEYS, SLOT, first_at, index_slot, is_closed, unindex_slot
from engine.core.state import (
    ALONE,
    CAUSE_AT_PRICE,
    CAUSE_THROUGH,
    CLAMPED,
    EXPLAIN_NS,
    FINE,
    LANE_BEFORE,
    LANE_BUDGET,
    LANE_GIVEN,
    LANE_RULE,
    LANES,
    NOW,
    OWN,
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
    Q_SLICE,
    Q_TRADED,
    Q_WAS,
    R_ANSWERED,
    R_BEHIND,
    R_DISPLAY,
    R_ORDER,
    R_PRINTED,
    R_REFILLS,
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


@kernel
def gone_in_front(rule: int, ahead: int, level: int, cancel: int, unit: float) -> int:
    """Of a cancel what stood in front of us, FINE units; ``level`` is the size just before it."""
    front = min(ahead / FINE, float(level))
    share = share_in_front(rule, front, level - front, unit)
    return min(ahead, int(share * cancel * FINE + 0.5))


@kernel
def answered(m: Memory, slot: int, lane: int, printed: int, front: int) -> None:
    """The level answered prints of this size: what of them got through to us after all, past ``front``, trades now."""
    queue = m.queues[slot, lane]
    got = queue[Q_TRADED]
    queue[Q_TRADED] = 0
    if m.resting[slot, R_DISPLAY] > 0:
        return
    alone = is_alone(m, slot)
    given = 0
    if not alone:
        front = max(front, m.lanes[LANE_BEFORE, lane])
        m.lanes[LANE_BEFORE, lane] = front
        given = m.lanes[LANE_GIVEN, lane]
    ours = within_bounds(m, slot, lane, max(0, min(queue[Q_LEFT], printed - front - given - got)))
    if not alone:
        m.lanes[LANE_GIVEN, lane] = given + got + ours
    if ours > 0:
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


@kernel
def printed_through(m: Memory, slot: int, size: int) -> bool:
    """A trade of ``size`` at a worse price than ours met us first; False where nothing of it is left in any lane."""
    alone = is_alone(m, slot)
    goes_on = alone
    place_through(m.samples[slot])
    for lane in range(m.control[LANES]):
        rule = rule_of(m, slot, lane)
        queue = m.queues[slot, lane]
        budget = size if alone else m.lanes[LANE_BUDGET, lane]
        ours = 0
        ahead = (queue[Q_AHEAD] + FINE // 2) // FINE
        if budget > 0 and rule != TOUCH:
            queue[Q_AHEAD] = 0
            queue[Q_FELL] = 0
            ours = min(budget, queue[Q_LEFT])
        ours = within_bounds(m, slot, lane, ours)
        if ours > 0:
            fill_resting(m, slot, lane, ours, CAUSE_THROUGH, ahead)
            if not alone:
                m.lanes[LANE_BUDGET, lane] = budget - ours
        goes_on = goes_on or budget > ours
    return goes_on


@kernel
def print_reached(m: Memory, slot: int, lane: int, rule: int, budget: int, size: int) -> int:
    """A trade of ``size`` at our price, ``budget`` of it after our better orders: FINE units it spends before us."""
    queue = m.queues[slot, lane]
    ahead = queue[Q_AHEAD]
    if queue[Q_FELL] > 0 and m.control[NOW] - queue[Q_FELL_NS] > m.control[EXPLAIN_NS]:
        queue[Q_FELL] = 0
    if queue[Q_FELL] == 0:
        queue[Q_TRADED] += size
        queue[Q_AHEAD] = max(0, ahead - budget * FINE)
        front = ahead
    else:
        explained = min(budget, queue[Q_FELL])
        front = queue[Q_WAS]
        queue[Q_WAS] = max(0, front - explained * FINE)
        queue[Q_FELL] -= explained
        queue[Q_FROM] -= explained
        queue[Q_TRADED] += size - explained
        left = queue[Q_WAS]
        if left > 0 and queue[Q_FELL] > 0 and queue[Q_FROM] > 0 and rule != BACK:
            unit = m.params[m.resting[slot, R_SYMBOL], P_UNIT]
            left -= gone_in_front(rule, left, queue[Q_FROM], queue[Q_FELL], unit)
        left = min(left, ahead, m.resting[slot, R_SHOWN] * FINE)
        queue[Q_AHEAD] = max(0, left - (budget - explained) * FINE)
    if lane > PESSIMIST and m.control[CLAMPED]:
        queue[Q_AHEAD] = min(queue[Q_AHEAD], m.queues[slot, PESSIMIST, Q_AHEAD])
    return int(min(front, budget * FINE))


@kernel
def printed_at(m: Memory, slot: int, size: int) -> None:
    """A trade of ``size`` at our price goes to what is in front of us, the rest to us."""
    alone = is_alone(m, slot)
    params = m.params[m.resting[slot, R_SYMBOL]]
    front = place_print(m.samples[slot], m.control[NOW], m.control[EXPLAIN_NS], size, params)
    m.resting[slot, R_PRINTED] = 1
    worst = size * FINE  # what the print spends before us in the pessimist's lane
    for lane in range(m.control[LANES]):
        rule = rule_of(m, slot, lane)
        left = m.queues[slot, lane, Q_LEFT]
        if left == 0:
            continue
        budget = size if alone else max(0, m.lanes[LANE_BUDGET, lane])
        ahead = (m.queues[slot, lane, Q_AHEAD] + FINE // 2) // FINE
        ours = 0
        if has_queue(rule) or rule in (FRONT, PRINT):
            before = 0
            if rule == FITTED:
                before = min(front * FINE, budget * FINE, worst)
                m.queues[slot, lane, Q_AHEAD] = min(
                    place_ahead(m.samples[slot]) * FINE, m.queues[slot, PESSIMIST, Q_AHEAD]
                )
            elif has_queue(rule):
                before = print_reached(m, slot, lane, rule, budget, size)
            if lane == PESSIMIST:
                worst = before
            given = 0
            if not alone:
                # Nobody of ours overtakes an older one: what is before that is before us.
                before = max(before, m.lanes[LANE_BEFORE, lane])
                m.lanes[LANE_BEFORE, lane] = before
                given = m.lanes[LANE_GIVEN, lane]
            if m.resting[slot, R_DISPLAY] > 0 and has_queue(rule):
                left = m.queues[slot, lane, Q_SLICE]
            ours = max(0, min(left, (budget * FINE - before - given * FINE + FINE // 2) // FINE))
        ours = within_bounds(m, slot, lane, ours)
        if ours > 0:
            if not alone:
                m.lanes[LANE_GIVEN, lane] += ours
            fill_resting(m, slot, lane, ours, CAUSE_AT_PRICE, ahead)
        if rule == FITTED:
            # Of this print all that is spoken for: by us, and by our orders at better prices.
            m.queues[slot, lane, Q_TRADED] += ours + size - budget


@kernel
def refill(m: Memory, slot: int, size: int) -> bool:
    """Icebergs show their next part, behind all that the level shows; whether it did so in the venue's own lane.

    A print of ``size`` that was larger than the whole level meets the hidden rest too.
    """
    row = m.resting[slot]
    row[R_REFILLS] = 0
    moved = False
    for lane in range(m.control[LANES]):
        queue = m.queues[slot, lane]
        if queue[Q_SLICE] > 0 or queue[Q_LEFT] == 0:
            continue
        moved = moved or lane == OWN
        is_fitted = rule_of(m, slot, lane) == FITTED
        printed = m.samples[slot, S_UNANSWERED] if is_fitted else queue[Q_TRADED]
        after = max(0, row[R_SHOWN] - printed)
        before = max(0, row[R_SHOWN] - printed + size)
        queue[Q_AHEAD] = after * FINE
        queue[Q_FELL] = 0
        if is_fitted:
            queue[Q_TRADED] = 0
            rejoin_places(m.samples[slot], row[R_SHOWN])
        queue[Q_SLICE] = min(row[R_DISPLAY], queue[Q_LEFT])
        budget = size if m.control[ALONE] else m.lanes[LANE_BUDGET, lane]
        ours = within_bounds(m, slot, lane, max(0, min(queue[Q_LEFT], budget - before - m.lanes[LANE_GIVEN, lane])))
        if ours > 0:
            m.lanes[LANE_GIVEN, lane] += ours
            fill_resting(m, slot, lane, ours, CAUSE_AT_PRICE, before)
            if queue[Q_SLICE] == 0:
                queue[Q_SLICE] = min(row[R_DISPLAY], queue[Q_LEFT])
                row[R_REFILLS] = 0
    return moved


@kernel
def refill_all(m: Memory, first: int, end: int, size: int) -> None:
    """Of our orders in these places of the index, those whose shown part is used up go behind the others."""
    at = first
    for _ in range(first, end):
        slot = m.places[SLOT, at]
        if m.resting[slot, R_REFILLS] and refill(m, slot, size):
            unindex_slot(m, slot)
            index_slot(m, slot)
        else:
            at += 1


@kernel
def traded(m: Memory, symbol: int, side: int, price: int, size: int) -> None:
    """A trade of ``size`` at ``price`` hit the ``side`` (1: bids) on which our orders rest.

    Orders at better prices than the print would have met the aggressor first and share its size, best price first. At
    the print's own price the size goes to what is in front of us, the rest to us, oldest order first.
    """
    column = 0 if side > 0 else 1
    count = m.top[symbol, OWN_COUNT + column]
    if count == 0:
        return
    at = m.top[symbol, OWN_FIRST + column]
    end = at + count
    key = -price * side
    keys = m.places[KEYS]
    if keys[at] > key:
        return
    for lane in range(m.control[LANES]):
        m.lanes[LANE_BUDGET, lane] = size
        m.lanes[LANE_BEFORE, lane] = 0
        m.lanes[LANE_GIVEN, lane] = 0
    while at < end and keys[at] < key:
        slot = m.places[SLOT, at]
        if not is_closed(m, slot) and not came_after(m, slot) and not printed_through(m, slot, size):
            break
        at += 1
    at = first = first_at(keys, at, end, key)
    refills = 0
    while at < end and keys[at] == key:
        slot = m.places[SLOT, at]
        if not is_closed(m, slot) and not came_after(m, slot):
            printed_at(m, slot, size)
            refills += m.resting[slot, R_REFILLS]
        at += 1
    if refills:
        refill_all(m, first, at, size)
