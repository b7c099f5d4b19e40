"""What a print gives to our resting orders, in each lane.

Orders at better prices than the print would have met the aggressor first and share its size. At its own price the size
goes to what is in front of us, the rest to us, oldest order first.

An iceberg serves its shown part only, and comes back behind all others when that is used up, in each lane at another
moment. So lanes neither serve the same order first nor leave the same size of it, and an order's lower bound could ask
for what another order of the lane already has. Where an iceberg of ours is at the level, each lane is served by itself,
in its own order of arrival, the bounds before the others; and of the print a lane keeps back what the lower bounds of
the orders still to come ask for. That is always there: a lane's better orders spend no more than the pessimist's, and
what the bounds of its orders ask for together is no more than what the pessimist's lane gave them of the same print.
"""

from __future__ import annotations

from engine.core.jit import borrowing
from engine.core.prints import came_after
from engine.core.queues.queue import gone_in_front
from engine.core.queues.queue_fills import fill_resting, is_alone, next_part, rule_of, within_bounds
from engine.core.queues.queue_models import BACK, FITTED, FRONT, PRINT, TOUCH, has_queue
from engine.core.queues.queue_samples import place_ahead, place_print, place_through, rejoin_places
from engine.core.queues.slots import KEYS, RANKED, SLOT, first_at, index_slot, is_closed, unindex_slot
from engine.core.state import (
    CAUSE_AT_PRICE,
    CAUSE_THROUGH,
    CLAMPED,
    EXPLAIN_NS,
    FINE,
    JOINED,
    LANE_BEFORE,
    LANE_BUDGET,
    LANE_GIVEN,
    LANE_RESERVED,
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
    Q_SINCE,
    Q_SLICE,
    Q_TRADED,
    Q_WAS,
    R_DISPLAY,
    R_FRONT,
    R_PRINTED,
    R_SHOWN,
    R_SYMBOL,
    R_WORST,
    S_UNANSWERED,
    Memory,
)


@borrowing
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


@borrowing
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


@borrowing
def printed_at(m: Memory, slot: int, size: int, first_lane: int, end_lane: int) -> None:
    """A trade of ``size`` at our price goes to what is in front of us, the rest to us, in these lanes.

    The first lane comes first: with it the order hears of the print.
    """
    alone = is_alone(m, slot)
    row = m.resting[slot]
    if first_lane == 0:
        params = m.params[row[R_SYMBOL]]
        row[R_FRONT] = place_print(m.samples[slot], m.control[NOW], m.control[EXPLAIN_NS], size, params)
        row[R_WORST] = size * FINE
        row[R_PRINTED] = 1
    for lane in range(first_lane, end_lane):
        rule = rule_of(m, slot, lane)
        left = m.queues[slot, lane, Q_LEFT]
        if left == 0:
            continue
        budget = size if alone else max(0, m.lanes[LANE_BUDGET, lane])
        ahead = (m.queues[slot, lane, Q_AHEAD] + FINE // 2) // FINE
        ours = 0
        given = 0
        if has_queue(rule) or rule in (FRONT, PRINT):
            before = 0
            if rule == FITTED:
                before = min(row[R_FRONT] * FINE, budget * FINE, row[R_WORST])
                m.queues[slot, lane, Q_AHEAD] = min(
                    place_ahead(m.samples[slot]) * FINE, m.queues[slot, PESSIMIST, Q_AHEAD]
                )
            elif has_queue(rule):
                before = print_reached(m, slot, lane, rule, budget, size)
            if lane == PESSIMIST:
                row[R_WORST] = before
            if not alone:
                # Nobody of ours overtakes an older one: what is before that is before us.
                before = max(before, m.lanes[LANE_BEFORE, lane])
                m.lanes[LANE_BEFORE, lane] = before
                given = m.lanes[LANE_GIVEN, lane]
            most = left
            if row[R_DISPLAY] > 0 and has_queue(rule):
                most = m.queues[slot, lane, Q_SLICE]
            ours = max(0, min(most, (budget * FINE - before - given * FINE + FINE // 2) // FINE))
        reserved = 0 if alone else m.lanes[LANE_RESERVED, lane]
        if reserved > 0:
            reserved -= max(0, left - m.queues[slot, PESSIMIST, Q_LEFT])
            m.lanes[LANE_RESERVED, lane] = reserved
            ours = min(ours, budget - m.lanes[LANE_GIVEN, lane] - reserved)
        ours = within_bounds(m, slot, lane, ours)
        if ours > 0:
            if not alone:
                m.lanes[LANE_GIVEN, lane] += ours
            fill_resting(m, slot, lane, ours, CAUSE_AT_PRICE, ahead)
        if rule == FITTED:
            # Of this print all that is spoken for: by us if alone, and by our orders at better prices.
            m.queues[slot, lane, Q_TRADED] += size - budget + (ours if alone else 0)


@borrowing
def spoken_for(m: Memory, first: int, end: int) -> None:
    """What our orders in these places of the index got of a print no level's answer gives to another of them."""
    for lane in range(m.control[LANES]):
        given = m.lanes[LANE_GIVEN, lane]
        if given == 0 or m.lanes[LANE_RULE, lane] not in (OWN_RULE, FITTED):
            continue
        for at in range(first, end):
            slot = m.places[SLOT, at]
            if rule_of(m, slot, lane) == FITTED and not is_alone(m, slot) and not came_after(m, slot):
                m.queues[slot, lane, Q_TRADED] += given


@borrowing
def refill(m: Memory, slot: int, lane: int, size: int) -> None:
    """In a lane an iceberg shows its next part, behind all that the level shows.

    A print of ``size`` that was larger than the whole level meets the hidden rest too.
    """
    row = m.resting[slot]
    queue = m.queues[slot, lane]
    is_fitted = rule_of(m, slot, lane) == FITTED
    printed = m.samples[slot, S_UNANSWERED] if is_fitted else queue[Q_TRADED]
    after = max(0, row[R_SHOWN] - printed)
    before = max(0, row[R_SHOWN] - printed + size)
    queue[Q_AHEAD] = after * FINE
    queue[Q_FELL] = 0
    queue[Q_SINCE] = m.control[JOINED]
    m.control[JOINED] += 1
    queue[Q_SLICE] = next_part(queue[Q_SLICE], row[R_DISPLAY], queue[Q_LEFT])
    given, budget = 0, size
    if not is_alone(m, slot):
        given, budget = m.lanes[LANE_GIVEN, lane], m.lanes[LANE_BUDGET, lane]
    ours = within_bounds(m, slot, lane, max(0, min(queue[Q_LEFT], budget - before - given)))
    if ours > 0:
        if not is_alone(m, slot):
            m.lanes[LANE_GIVEN, lane] = given + ours
        fill_resting(m, slot, lane, ours, CAUSE_AT_PRICE, before)
        queue[Q_SLICE] = next_part(queue[Q_SLICE], row[R_DISPLAY], queue[Q_LEFT])
    if is_fitted:
        queue[Q_TRADED] = 0
        rejoin_places(m.samples[slot], row[R_SHOWN])


@borrowing
def rank_slots(m: Memory, first: int, end: int, lane: int) -> None:
    """Write down the slots in these places of the index in the order in which a lane serves them; mostly it is that."""
    ranked = m.places[RANKED]
    for at in range(first, end):
        slot = m.places[SLOT, at]
        since = m.queues[slot, lane, Q_SINCE]
        to = at
        while to > first and m.queues[ranked[to - 1], lane, Q_SINCE] > since:
            ranked[to] = ranked[to - 1]
            to -= 1
        ranked[to] = slot


@borrowing
def asked_for(m: Memory, first: int, end: int, lane: int) -> int:
    """What the lower bounds of our orders in these places of the index ask of a lane together."""
    asked = 0
    if m.control[CLAMPED] != 0 and lane > PESSIMIST:
        for at in range(first, end):
            slot = m.places[SLOT, at]
            if not is_alone(m, slot):
                asked += max(0, m.queues[slot, lane, Q_LEFT] - m.queues[slot, PESSIMIST, Q_LEFT])
    return asked


@borrowing
def printed_at_icebergs(m: Memory, first: int, end: int, size: int) -> None:
    """A trade of ``size`` at the price of our orders in these places of the index, of which one is an iceberg."""
    since = m.control[JOINED]
    for lane in range(m.control[LANES]):
        rank_slots(m, first, end, lane)
        m.lanes[LANE_RESERVED, lane] = asked_for(m, first, end, lane)
        for at in range(first, end):
            slot = m.places[RANKED, at]
            if not is_closed(m, slot) and not came_after(m, slot):
                printed_at(m, slot, size, lane, lane + 1)
        m.lanes[LANE_RESERVED, lane] = 0
        for at in range(first, end):
            slot = m.places[RANKED, at]
            queue = m.queues[slot, lane]
            if m.resting[slot, R_DISPLAY] > 0 and queue[Q_SLICE] <= 0 < queue[Q_LEFT]:
                refill(m, slot, lane, size)
    at = first
    for _ in range(first, end):
        slot = m.places[SLOT, at]
        if m.queues[slot, OWN, Q_SINCE] >= since:
            unindex_slot(m, slot)
            index_slot(m, slot)
        else:
            at += 1


@borrowing
def traded(m: Memory, symbol: int, side: int, price: int, size: int) -> None:
    """A trade of ``size`` at ``price`` hit the ``side`` (1: bids) on which our orders rest."""
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
        m.lanes[LANE_RESERVED, lane] = 0
    while at < end and keys[at] < key:
        slot = m.places[SLOT, at]
        if not is_closed(m, slot) and not came_after(m, slot) and not printed_through(m, slot, size):
            break
        at += 1
    first = first_at(keys, at, end, key)
    at = first
    icebergs = 0
    while at < end and keys[at] == key:
        icebergs += m.resting[m.places[SLOT, at], R_DISPLAY] > 0
        at += 1
    end = at
    if icebergs:
        printed_at_icebergs(m, first, end, size)
    else:
        for at in range(first, end):
            slot = m.places[SLOT, at]
            if not is_closed(m, slot) and not came_after(m, slot):
                printed_at(m, slot, size, 0, m.control[LANES])
    spoken_for(m, first, end)
