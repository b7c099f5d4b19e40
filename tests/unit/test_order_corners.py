"""Orders at corners that reviews found: nobody is left waiting, counted twice, let past a limit, or kept for ever."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.core import events as ev
from engine.core.account.corporate import CorporateAction, EquitySettings
from engine.core.account.marks import MARK_PRICE
from engine.core.account.settlement import MOST_PENDING, Settlement
from engine.core.desk.order_terms import Peg, PegTo, SelfTrade, TriggerBy, stop, trailing
from engine.core.records import AmendRejected, Cancelled, Expired, Refusal, TwinFill
from engine.core.strategy import Context
from engine.core.types import Side, TimeInForce
from engine.core.venue.gateway import Gate, Outage
from engine.core.venue.venue_rules import VenueRules
from tests.market import BTC, LOOSE, MS, NO_LATENCY, Rig, S, Script, clock, depth, gap, snapshot, trade
from tests.orders import ASKS, BIDS, BUY, LATENT, LINEAR, SELL, fills, order, rig, states

SHUT = msgspec.structs.replace(NO_LATENCY, gates={"v": Gate(outages=(Outage(3 * S, 2 * S),))})


def test_a_strategy_that_changes_its_order_for_ever_at_one_instant_is_stopped() -> None:
    def again(told: Any, ctx: Context) -> None:
        if told.is_working:
            ctx.amend(told.id, price=94 + told.price % 2)

    made = Rig(
        Script(
            {
                "start": lambda _, ctx: ctx.timer("0", 1.0),
                "order": again,
                "timer": lambda _, ctx: order(BUY, 1, 95)(ctx),
            }
        ),
        instruments=(LINEAR,),
    )
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(2 * S))
    assert list(made.engine.roster.stopped) == ["s"] and states(made) == {}


def test_what_is_flattened_while_the_venue_is_shut_is_asked_back_again() -> None:
    made = rig(order(BUY, 3), order(BUY, 1, 95), paper=SHUT)
    made.feed(clock(2 * S))
    assert states(made) == {2: "open"}
    made.say("flatten", 3 * S + MS)
    for at in range(31, 80):
        made.feed(clock(at * S // 10))
    assert states(made) == {} and made.engine.ledger.position(0, "s") == 0


def test_what_the_kill_switch_could_not_take_back_is_asked_back_again() -> None:
    made = rig(order(BUY, 1, 95), order(SELL, 1, 110, trigger=stop(94)), paper=SHUT)
    made.feed(clock(2 * S))
    made.say("halt", 3 * S + MS)
    for at in range(31, 80):
        made.feed(clock(at * S // 10))
    assert states(made) == {} and len(made.facts(Cancelled)) == 2


def test_what_a_stopped_strategy_left_behind_while_the_venue_is_shut_is_asked_back_again() -> None:
    def fails(_: Context) -> None:
        raise ValueError("enough")

    made = rig(order(BUY, 1, 95), *[lambda _: None] * 4, fails, paper=SHUT)
    for at in range(11, 80):
        made.feed(clock(at * S // 10))
    assert list(made.engine.roster.stopped) == ["s"] and states(made) == {}


def test_a_split_ends_orders_though_the_door_is_shut() -> None:
    split = CorporateAction(ns=4 * S, symbol="v:BTCUSDT", kind="split", value=Decimal(2))
    paper = msgspec.structs.replace(SHUT, equities=EquitySettings(actions=(split,)))
    made = rig(order(BUY, 1, 95), paper=paper, instrument=BTC)
    made.feed(clock(4 * S + 1))
    assert [fact.reason for fact in made.facts(Cancelled)] == ["split"] and states(made) == {}


def test_children_of_one_order_close_no_more_together_than_it_opens() -> None:
    limits = msgspec.structs.replace(LOOSE, max_position_notional=Decimal("0.0052"))
    made = rig(
        order(BUY, 5, 100),
        lambda ctx: [ctx.order("BTCUSDT", SELL, 5, 103, parent=1) for _ in range(3)],
        risk=limits,
    )
    made.feed(clock(2 * S))
    assert [fact.rule for fact in made.facts(Refusal)] == ["position"]
    assert list(states(made)) == [1, 2, 3] and made.engine.desk.working(0) == (5, 5)


def test_a_child_that_grows_is_looked_at_by_risk() -> None:
    limits = msgspec.structs.replace(LOOSE, max_order_notional=Decimal(0), max_position_notional=Decimal("0.01"))
    made = rig(
        order(BUY, 5, 100),
        lambda ctx: ctx.order("BTCUSDT", SELL, 5, 103, parent=1),
        lambda ctx: ctx.amend(2, size=5000),
        risk=limits,
    )
    made.feed(clock(3 * S))
    assert made.engine.desk.orders[2].size == 5


def test_a_pegged_order_whose_size_changes_goes_on_following() -> None:
    made = rig(order(BUY, 5, peg=Peg(PegTo.PRIMARY)), lambda ctx: ctx.amend(1, size=4))
    made.feed(clock(2 * S))
    made.feed(depth(2 * S + MS, [(101, 3)]))
    (one,) = made.engine.desk.orders.values()
    assert (one.price, one.size) == (101, 4)


def test_a_pegged_post_only_order_that_meets_one_of_ours_ends() -> None:
    rules = msgspec.structs.replace(NO_LATENCY, rules=VenueRules(self_trade=SelfTrade.EXPIRE_TAKER))
    made = rig(
        order(SELL, 5, 101),
        lambda ctx: ctx.order("BTCUSDT", BUY, 5, peg=Peg(PegTo.PRIMARY, 1), post_only=True),
        paper=rules,
    )
    made.feed(depth(1 * S + MS, [(100, 0)]), clock(2 * S))
    assert states(made) == {1: "open", 2: "open"}
    made.feed(depth(2 * S + MS, [(100, 3)]))
    assert made.facts(Expired) == [Expired(2, 5, "would_take")] and states(made) == {1: "open"}


def test_money_is_kept_back_for_the_price_that_a_purchase_was_changed_to() -> None:
    strict = msgspec.structs.replace(LOOSE, allow_debt=False)
    made = rig(
        order(BUY, 1000, 50),
        lambda ctx: ctx.amend(1, price=100),
        paper=LATENT,
        instrument=BTC,
        risk=strict,
    )
    made.feed(clock(1 * S + 600 * MS))
    order_worth = made.engine.ledger.worth[0].notional2(2 * 100, 1000) // 2
    assert made.engine.desk.promised("USDT") == order_worth
    made.feed(clock(3 * S))
    assert made.engine.desk.promised("USDT") == order_worth


def test_orders_that_only_reduce_are_forgotten_when_they_end() -> None:
    def requote(_: str, ctx: Context) -> None:
        ctx.cancel_all()
        ctx.order("BTCUSDT", SELL, 3, 110, reduce_only=True)
        ctx.timer("again", 0.01)

    script = Script({"start": lambda _, ctx: ctx.timer("0", 1.0), "timer": requote})
    made = Rig(script, instruments=(LINEAR,))
    made.feed(snapshot(1 * MS, BIDS, ASKS))
    script.on["timer"] = lambda _, ctx: (ctx.order("BTCUSDT", BUY, 3), ctx.timer("again", 0.01))
    made.feed(clock(1 * S + 1))
    script.on["timer"] = requote
    made.feed(clock(9 * S))
    assert sum(map(len, made.engine.desk._exchange._reducing._resting.values())) <= 2


def test_days_of_orders_taken_back_leave_nothing_to_be_done_at_its_end() -> None:
    def requote(_: str, ctx: Context) -> None:
        ctx.cancel_all()
        ctx.order("BTCUSDT", BUY, 1, 95, time_in_force=TimeInForce.DAY)
        ctx.timer("again", 0.001)

    made = Rig(Script({"start": lambda _, ctx: ctx.timer("0", 1.0), "timer": requote}), instruments=(LINEAR,))
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(9 * S))
    assert made.engine.desk.sent > 7000
    assert len(made.engine._due) < 1100


def test_the_rules_beside_the_venues_own_keep_what_they_traded_when_an_order_moves_past_one_of_ours() -> None:
    rules = msgspec.structs.replace(NO_LATENCY, rules=VenueRules(self_trade=SelfTrade.EXPIRE_MAKER))
    made = rig(order(BUY, 10, 100), order(SELL, 2, 101), lambda ctx: ctx.amend(1, price=101), paper=rules)
    made.feed(trade(1 * S + 100 * MS, 100, 4, sell=True))  # the optimist has 4
    made.feed(clock(3 * S))
    made.feed(trade(3 * S + MS, 101, 100, sell=True), clock(5 * S))
    front = sum(fact.size for fact in made.facts(TwinFill) if "front" in fact.models and fact.order == 1)
    assert fills(made)[-1][0] == 1
    assert front <= 10


BIG = 2**63 - 1
FAR: dict[str, dict[str, Any]] = {
    "trigger": {"trigger": stop(BIG, TriggerBy.MID)},
    "trail": {"trigger": trailing(BIG)},
    "trail until it is known": {"trigger": trailing(1, "volatility", by=TriggerBy.MID, first=BIG)},
    "activation": {"trigger": trailing(5, by=TriggerBy.MID, activation=BIG)},
    "peg": {"peg": Peg(PegTo.MARKET, BIG)},
    "end": {"price": 95, "time_in_force": TimeInForce.GTD, "expires_ns": BIG},
}


@pytest.mark.parametrize("terms", FAR.values(), ids=FAR)
def test_terms_too_large_for_any_market_are_refused_and_the_run_goes_on(terms: dict[str, Any]) -> None:
    made = rig(order(SELL, 1, **terms), paper=LATENT)
    made.feed(clock(2 * S), depth(2 * S + 1, [(101, 5)]), clock(9 * S))
    assert [fact.rule for fact in made.facts(Refusal)] == ["terms"] and made.engine.roster.stopped == {}


def test_a_trigger_changed_to_where_no_market_is_stays() -> None:
    made = rig(order(BUY, 1, trigger=stop(110, TriggerBy.MID)), lambda ctx: ctx.amend(1, trigger=BIG))
    made.feed(clock(3 * S))
    assert [fact.reason for fact in made.facts(AmendRejected)] == ["terms"] and states(made) == {1: "armed"}


def test_terms_that_are_no_whole_numbers_stop_the_strategy_and_nothing_else() -> None:
    price: Any = "100"
    made = rig(order(SELL, 1, trigger=stop(price)))
    made.feed(clock(2 * S))
    assert list(made.engine.roster.stopped) == ["s"]


def test_a_mark_price_that_no_market_has_says_nothing() -> None:
    made = rig()
    for price in (-5, 2**63 - 1):
        made.feed(ev.row(ev.FUNDING, symbol=0, recv_ns=2 * S, price=price, size=1))
    assert int(made.engine.books.top[0, MARK_PRICE]) == 0


def test_ends_by_the_clock_are_asked_for_once() -> None:
    def requote(_: str, ctx: Context) -> None:
        ctx.cancel_all()
        ctx.order("BTCUSDT", BUY, 1, 95, time_in_force=TimeInForce.DAY)
        ctx.order("BTCUSDT", BUY, 1, 96, time_in_force=TimeInForce.GTD, expires_ns=ctx.now_ns + MS)
        ctx.timer("again", 0.01)

    made = Rig(Script({"start": lambda _, ctx: ctx.timer("0", 1.0), "timer": requote}), instruments=(LINEAR,))
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(9 * S))
    assert len(made.facts(Expired)) == 800 and len(made.engine._due) < 10


def test_sums_on_their_way_never_change_their_currency() -> None:
    settlement = Settlement(lambda _: None, lambda *_: None)
    for at in range(MOST_PENDING):
        settlement.hold("USD", 1, at + 1)
    settlement.hold("EUR", 5, 3)
    settlement.hold("EUR", 5, 4)
    assert (settlement.unsettled("USD"), settlement.unsettled("EUR")) == (MOST_PENDING, 10)


def a_little_lower(ctx: Context) -> None:
    for one in ctx.orders():
        if one.price:
            ctx.amend(one.id, price=one.price - 1)


@pytest.mark.parametrize("side", [BUY, SELL])
def test_of_a_pair_risk_counts_the_larger_one(side: Side) -> None:
    limits = msgspec.structs.replace(
        LOOSE, allow_short=False, allow_debt=False, max_position_notional=Decimal("0.0055")
    )
    asked = (110, stop(90)) if side is SELL else (95, stop(106))
    made = rig(
        *([order(BUY, 5)] if side is SELL else [lambda _: None]),
        lambda ctx: ctx.oco("BTCUSDT", side, 5, *asked),
        a_little_lower,
        instrument=BTC,
        risk=limits,
    )
    made.feed(clock(4 * S))
    assert made.facts(Refusal) == made.facts(AmendRejected) == []
    assert set(states(made).values()) == {"open", "armed"}
    assert made.engine.desk.working(0) == ((5, 0) if side is BUY else (0, 5))


def test_a_stop_that_a_trade_reached_while_the_book_was_in_doubt_wakes_after_it() -> None:
    made = rig(order(SELL, 3, trigger=stop(98)))
    made.feed(clock(2 * S), gap(2 * S + 1), trade(2 * S + 2, 95, 5, sell=True))
    assert states(made) == {1: "armed"}
    made.feed(snapshot(2 * S + 3, [(97, 5)], [(98, 4)]))
    assert fills(made) == [(1, 97, 3)]


def test_a_child_comes_in_once_all_was_said_of_who_ended_its_parent() -> None:
    rules = VenueRules(self_trade=SelfTrade.EXPIRE_MAKER, lets_in_parts=True)
    made = rig(
        order(BUY, 5, 101),
        order(BUY, 3, 94, parent=1),
        order(SELL, 200, 94),
        paper=msgspec.structs.replace(NO_LATENCY, rules=rules),
    )
    made.feed(trade(1 * S + MS, 101, 2, sell=True), clock(3 * S))
    assert [(fact.order, fact.left) for fact in made.facts(Expired)] == [(1, 3), (3, 120)]
    assert fills(made)[1:] == [(3, 100, 10), (3, 99, 20), (3, 95, 50)] and states(made) == {2: "open"}
