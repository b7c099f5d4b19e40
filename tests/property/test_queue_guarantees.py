"""What holds for every resting order and queue rule, whatever the market says."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import numpy as np
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from engine.core.state import (
    OWN_COUNT,
    OWN_FIRST,
    R_ORDER,
    R_PRICE,
    R_SIDE,
    R_SYMBOL,
    RESTING_COUNT,
    RESTING_HERE,
)
from tests.queues import ASK, BID, Queues

FREE = ("touch", "through")
"""Rules that ignore prints: only the bounds' force gives them these, so they serve nobody in turn."""


MANY_MARKETS = (st.integers(0, 2**32), st.booleans(), st.sampled_from((1, 2, 4)), st.sampled_from(("fitted", "power2")))
"""Seed, whether some orders are icebergs, how many prices there are, and the venue's own rule."""


def price_near(chance: Random, side: int, prices: int = 4) -> int:
    return 100 + (side < 0) - side * chance.randrange(prices)


def step(queues: Queues, chance: Random, icebergs: bool, prices: int = 4) -> tuple[str, int, int, int]:
    """Something happens: an order comes, goes or shrinks, a level changes, a trade is told. What, side, price, size."""
    side, kind = chance.choice((BID, ASK)), chance.random()
    if kind < 0.2 and len(queues.slots) < 40:
        size = chance.choice((1, 2, 5, 9, 20))
        display = chance.randint(1, size) if icebergs and chance.random() < 0.5 else 0
        queues.rest(side, price_near(chance, side, prices), size, display=display, symbol=0)
        return "rest", 0, 0, 0
    if kind < 0.25 and queues.slots:
        order = chance.choice(list(queues.slots))
        queues.leave(order)
        return "leave", 0, 0, 0
    if kind < 0.3 and queues.slots:
        order = chance.choice(list(queues.slots))
        if queues.left(order) > 1:
            queues.shrink(order, 1)
            queues.sizes[order] -= 1
        return "shrink", 0, 0, 0
    if kind < 0.65:
        price, size = price_near(chance, side, prices), chance.choice((0, 1, 3, 8, 20, 60))
        if chance.random() < 0.06:
            price += 2 * side  # over to the other side
        queues.level(side, price, size)
        return "level", side, price, size
    price, size = price_near(chance, side, prices), chance.choice((1, 2, 5, 12, 40))
    queues.trade(side, price, size)
    return "trade", side, price, size


def filled(queues: Queues) -> dict[tuple[int, str], int]:
    return {(order, lane): queues.filled.get((order, lane), 0) for order in queues.slots for lane in queues.lanes}


@settings(max_examples=60, deadline=None)
@given(*MANY_MARKETS)
@example(217, True, 2, "power2")  # the pessimist's iceberg alone shows another part to the same print
def test_every_rule_is_between_the_bounds_order_by_order(seed: int, icebergs: bool, prices: int, model: str) -> None:
    chance, queues = Random(seed), Queues(model)
    for _ in range(120):
        event(step(queues, chance, icebergs, prices)[0])
        for order in queues.slots:
            least, most = queues.left(order, "front"), queues.left(order, "back")
            for lane, rule in zip(queues.lanes, queues.names, strict=True):
                assert 0 <= least <= queues.left(order, lane) <= most, (order, lane)
                assert queues.ahead(order, lane) >= 0
                if not icebergs and rule not in (*FREE, "front", "print", "fitted"):
                    assert queues.ahead(order, lane) <= queues.ahead(order, "back"), (order, lane)


@settings(max_examples=120, deadline=None)
@given(*MANY_MARKETS)
@example(221, True, 1, "power2")  # a younger order's lower bound asks for what an older iceberg took
@example(6, False, 1, "power2")  # an order is filled by a print and gone before the level answers it
def test_nothing_is_traded_twice_in_any_lane(seed: int, icebergs: bool, prices: int, model: str) -> None:
    """The fitted rule may fill when the level answers prints: then from what they left over at this price."""
    chance, queues = Random(seed), Queues(model)
    fitted = queues.lanes[queues.names.index("fitted")]
    over: dict[tuple[str, int, int], int] = defaultdict(int)
    for _ in range(120):
        before = filled(queues)
        what, side, price, size = step(queues, chance, icebergs, prices)
        after = filled(queues)
        for lane in queues.lanes:
            changes = {key[0]: after[key] - amount for key, amount in before.items() if key in after and key[1] == lane}
            got = {order: change for order, change in changes.items() if change}
            assert all(amount > 0 for amount in got.values())
            if what == "trade":
                assert sum(got.values()) <= size, lane
                assert all(queues.side(order) == side for order in got)
                over[lane, side, price] += size - sum(got.values())
            elif what == "level":
                left = over.pop((lane, side, price), 0) if lane == fitted else 0
                for taker in (BID, ASK):
                    mine = {order: amount for order, amount in got.items() if queues.side(order) == taker}
                    late = sum(mine[order] for order in mine if (taker, queues.price(order)) == (side, price))
                    there = displayed(queues, taker, max((queues.price(order) * taker for order in mine), default=0))
                    assert sum(mine.values()) <= there + min(left, late), lane
            else:
                assert not got
        for order in [order for order in queues.slots if not any(queues.left(order, lane) for lane in queues.lanes)]:
            queues.leave(order)


def displayed(queues: Queues, taker: int, best: int) -> int:
    """What the other side displays up to our best price, times our side; 0 where nobody of ours traded."""
    reached = [size for (side, price), size in queues.shown.items() if side == -taker and price * taker <= best]
    return sum(reached) if best else 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_our_older_orders_at_a_price_are_served_first(seed: int) -> None:
    chance, queues = Random(seed), Queues()
    for _ in range(120):
        before = filled(queues)
        what, *_ = step(queues, chance, icebergs=False)
        if what not in ("trade", "level"):
            continue
        after = filled(queues)
        for lane in set(queues.lanes) - set(FREE):
            waiting: set[tuple[int, int]] = set()
            for order in queues.slots:  # oldest first
                place = (queues.side(order), queues.price(order))
                got = after[order, lane] - before[order, lane]
                assert not (got and place in waiting), (order, lane)
                if queues.left(order, lane):
                    waiting.add(place)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_the_index_holds_every_order_in_its_place(seed: int) -> None:
    chance, queues = Random(seed), Queues(symbols=3)
    top, resting, places = queues.state.books.top, queues.state.resting, queues.state.places
    for _ in range(80):
        if queues.slots and chance.random() < 0.4:
            queues.leave(chance.choice(list(queues.slots)))
        else:
            queues.rest(chance.choice((BID, ASK)), chance.randint(90, 95), 1, symbol=chance.randrange(3))
        count = len(queues.slots)
        assert queues.state.control[RESTING_COUNT] == count == top[:, RESTING_HERE].sum()
        rows = [resting[slot] for slot in places[1, :count]]
        order = [
            (int(row[R_SYMBOL]), -int(row[R_SIDE]), -int(row[R_SIDE] * row[R_PRICE]), int(row[R_ORDER])) for row in rows
        ]
        assert order == sorted(order)
        assert {row[3] for row in order} == set(queues.slots)
        assert [int(key) for key in places[0, :count]] == [row[2] for row in order]
        at = 0
        for symbol in range(3):
            for column, side in ((0, BID), (1, ASK)):
                assert top[symbol, OWN_FIRST + column] == at
                at += int(top[symbol, OWN_COUNT + column])
                assert at == sum((row[0], row[1]) <= (symbol, -side) for row in order)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_absurd_sizes_leave_no_negative_queue(seed: int) -> None:
    chance, queues = Random(seed), Queues()
    huge = 2**53
    for _ in range(60):
        side = chance.choice((BID, ASK))
        kind = chance.random()
        if kind < 0.2 and len(queues.slots) < 20:
            queues.rest(side, price_near(chance, side), chance.choice((1, huge)))
        elif kind < 0.6:
            queues.level(side, price_near(chance, side), chance.choice((0, 1, huge // 3, huge - 1, huge)))
        else:
            queues.trade(side, price_near(chance, side), chance.choice((1, huge // 7, huge)))
        for order in queues.slots:
            for lane in queues.lanes:
                assert 0 <= queues.ahead(order, lane) <= huge
                assert 0 <= queues.left(order, lane) <= queues.sizes[order]
    assert np.all(queues.state.control >= 0)
