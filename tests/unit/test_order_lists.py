"""Orders that hang together (OCO, OTO, brackets), and orders of one account that would trade with each other."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.core.desk.order_terms import SelfTrade, TriggerBy, stop, take_profit
from engine.core.records import Cancelled, Expired, Pending, Refusal, Rejected
from engine.core.strategy import Context
from engine.core.types import TimeInForce
from tests.market import BTC, LOOSE, MS, S, clock, depth, trade
from tests.orders import BUY, SELL, fills, order, prints, rig, states, with_rules

# Lists.


def test_oco_fills_one_and_ends_the_other() -> None:
    made = rig(lambda ctx: ctx.oco("BTCUSDT", SELL, 4, 104, stop(98)))
    assert states(made) == {1: "open", 2: "armed"} and made.engine.desk.working(0) == (0, 4)
    made.feed(trade(2 * S, 104, 9, sell=False))
    assert fills(made) == [(1, 104, 4)] and made.facts(Expired) == [Expired(2, 4, "list")]
    assert made.engine.desk.working(0) == (0, 0) and not made.engine.desk.watches(0)
    other = rig(lambda ctx: ctx.oco("BTCUSDT", SELL, 4, 104, stop(98)))
    other.feed(prints(2 * S, 97))
    assert fills(other) == [(2, 100, 4)] and other.facts(Expired) == [Expired(1, 4, "list")]


@pytest.mark.parametrize(("ends", "stop_left"), [(False, 3), (True, 0)])
def test_a_part_of_one_takes_as_much_off_the_other_or_ends_it(ends: bool, stop_left: int) -> None:
    made = rig(lambda ctx: ctx.oco("BTCUSDT", SELL, 4, 104, stop(98)), paper=with_rules(ends_pair_on_part=ends))
    made.feed(trade(2 * S, 104, 1, sell=False))
    left = made.engine.desk.orders[2].left if 2 in made.engine.desk.orders else 0
    assert fills(made) == [(1, 104, 1)] and left == stop_left
    assert made.engine.desk.working(0) == (0, 3)


def test_one_print_through_both_of_a_pair_fills_no_more_than_one_asked_for() -> None:
    def two(ctx: Context) -> None:
        ctx.oco("BTCUSDT", SELL, 4, 104, take_profit(103, TriggerBy.BEST), stop_price=106)

    made = rig(two)
    made.feed(depth(2 * S, bids=[(103, 1)], asks=[(103, 0), (102, 0), (104, 0), (105, 0), (107, 9)]))
    # The second woke and ended the first; then neither trades more than four in all.
    made.feed(trade(3 * S, 108, 50, sell=False))
    assert sum(size for _, _, size in fills(made)) == 4


def test_taking_one_of_a_pair_back_ends_both() -> None:
    made = rig(lambda ctx: ctx.oco("BTCUSDT", SELL, 4, 104, stop(98)), lambda ctx: ctx.cancel(2))
    made.feed(clock(2 * S))
    assert made.facts(Cancelled) == [Cancelled(2, 4, "user")] and made.facts(Expired) == [Expired(1, 4, "list")]


def test_a_bracket_closes_what_it_opened() -> None:
    made = rig(lambda ctx: ctx.bracket("BTCUSDT", BUY, 4, 100, target=104, stop=stop(98)))
    assert states(made) == {1: "open", 2: "pending", 3: "pending"}
    assert made.facts(Pending) == [Pending(2, 1), Pending(3, 1)]
    assert made.engine.desk.working(0) == (4, 0)
    made.feed(trade(2 * S, 100, 14, sell=True))
    assert states(made) == {2: "open", 3: "armed"} and made.engine.desk.working(0) == (0, 4)
    made.feed(prints(3 * S, 98))
    assert fills(made) == [(1, 100, 4), (3, 100, 4)] and states(made) == {}
    assert made.engine.ledger.position(0) == 0


def test_a_bracket_at_the_market_is_complete_at_once_on_spot() -> None:
    strict = msgspec.structs.replace(LOOSE, allow_short=False, allow_debt=False)
    made = rig(lambda ctx: ctx.bracket("BTCUSDT", BUY, 4, target=104, stop=stop(98)), instrument=BTC, risk=strict)
    assert states(made) == {2: "open", 3: "armed"} and made.facts(Refusal) == []
    made.feed(trade(2 * S, 104, 9, sell=False))
    assert [size for _, _, size in fills(made)] == [4, 4]


def test_an_entry_that_ended_in_part_lets_its_children_in_for_that_part() -> None:
    made = rig(lambda ctx: ctx.bracket("BTCUSDT", BUY, 4, 100, target=104, stop=stop(98)), lambda ctx: ctx.cancel(1))
    made.feed(trade(1 * S + 2, 100, 11, sell=True), clock(2 * S))
    assert {number: one.left for number, one in made.engine.desk.orders.items()} == {2: 1, 3: 1}
    whole = rig(
        lambda ctx: ctx.bracket("BTCUSDT", BUY, 4, 100, target=104, stop=stop(98)),
        lambda ctx: ctx.cancel(1),
        paper=with_rules(lets_in_parts=False),
    )
    whole.feed(trade(1 * S + 2, 100, 11, sell=True), clock(2 * S))
    assert [word.reason for word in whole.facts(Expired)] == ["list", "list"] and states(whole) == {}


def test_one_triggers_the_other_by_its_number() -> None:
    made = rig(order(BUY, 2, 100), order(BUY, 3, 99, parent=1), order(BUY, 1, 97, parent=77))
    made.feed(clock(1 * S + 600 * MS))
    assert states(made) == {1: "open", 2: "pending"} and made.engine.desk.working(0) == (5, 0)
    made.feed(trade(1 * S + 700 * MS, 100, 12, sell=True))
    assert states(made) == {2: "open"}
    made.feed(clock(3 * S))
    assert [(word.order, word.rule) for word in made.facts(Refusal)] == [(3, "terms")]


def test_a_list_leaves_whole_or_not_at_all() -> None:
    made = rig(lambda ctx: ctx.bracket("BTCUSDT", BUY, 4, 100, target=104, stop=stop(-98)))
    assert [(word.order, word.rule) for word in made.facts(Refusal)] == [(1, "terms"), (2, "terms"), (3, "terms")]
    assert made.engine.desk.working(0) == (0, 0) and made.engine.desk.orders == {}


def test_target_does_not_count_what_protects() -> None:
    asked: list[int | None] = []
    made = rig(
        lambda ctx: ctx.bracket("BTCUSDT", BUY, 4, target=104, stop=stop(98)),
        order(SELL, 2, trigger=stop(97)),
        lambda ctx: asked.append(ctx.target("BTCUSDT", 0)),
    )
    made.feed(clock(3 * S))
    # Four bought, four offered by the target: nothing is left to do. The stops wait and do not count.
    assert asked == [None]


# Self-trade prevention.


@pytest.mark.parametrize(
    ("mode", "expected", "ends"),
    [
        (SelfTrade.NONE, [(2, 100, 6)], []),
        (SelfTrade.EXPIRE_MAKER, [(2, 100, 6)], [Expired(1, 4, "self_trade")]),
        (SelfTrade.EXPIRE_TAKER, [], [Expired(2, 6, "self_trade")]),
        (SelfTrade.EXPIRE_BOTH, [], [Expired(1, 4, "self_trade"), Expired(2, 6, "self_trade")]),
        (SelfTrade.DECREMENT, [(2, 100, 2)], [Expired(1, 4, "self_trade")]),
    ],
)
def test_self_trade_prevention(mode: SelfTrade, expected: Any, ends: Any) -> None:
    made = rig(order(BUY, 4, 101), order(SELL, 6, self_trade=mode))
    made.feed(clock(2 * S))
    assert fills(made) == expected and made.facts(Expired) == ends
    assert made.engine.desk.working(0)[1] == 0


def test_self_trade_prevention_leaves_alone_what_is_behind_enough_public_size() -> None:
    made = rig(order(BUY, 4, 100), order(SELL, 10), paper=with_rules(self_trade=SelfTrade.EXPIRE_BOTH))
    made.feed(clock(2 * S))
    assert fills(made) == [(2, 100, 10)] and made.facts(Expired) == []
    more = rig(order(BUY, 4, 100), order(SELL, 13), paper=with_rules(self_trade=SelfTrade.EXPIRE_TAKER))
    more.feed(clock(2 * S))
    assert fills(more) == [(2, 100, 10)] and more.facts(Expired) == [Expired(2, 3, "self_trade")]


def test_decrement_takes_off_both_sides() -> None:
    made = rig(order(BUY, 4, 101), order(SELL, 3, 101), paper=with_rules(self_trade=SelfTrade.DECREMENT))
    made.feed(clock(2 * S))
    assert made.facts(Expired) == [Expired(2, 3, "self_trade")]
    assert made.engine.desk.orders[1].left == 1 and made.engine.desk.working(0) == (1, 0)


def test_an_order_that_is_rejected_ends_nobody() -> None:
    both = with_rules(self_trade=SelfTrade.EXPIRE_BOTH)
    made = rig(order(BUY, 4, 101), order(SELL, 50, 100, time_in_force=TimeInForce.FOK), paper=both)
    made.feed(clock(2 * S))
    assert [word.reason for word in made.facts(Rejected)] == ["fok_unfilled"] and made.facts(Expired) == []
