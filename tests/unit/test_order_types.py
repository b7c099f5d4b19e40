"""Every order type: what wakes it, what it shows, what it follows, what it hangs on, whom it does not trade with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.core import events as ev
from engine.core.desk.order_terms import Peg, PegTo, TrailBy, Trigger, TriggerBy, stop, take_profit, trailing
from engine.core.records import (
    Accepted,
    Amended,
    AmendRejected,
    Armed,
    Cancelled,
    Expired,
    Fill,
    Refusal,
    Rejected,
    StrategyStopped,
    Triggered,
)
from engine.core.types import Side, TimeInForce
from tests.market import MS, NO_LATENCY, Rig, S, Script, clock, depth, gap, snapshot, trade
from tests.orders import ASKS, BIDS, BUY, LATENT, LINEAR, SELL, fills, order, prints, rig, states, with_rules

# Stops and take-profits.


@pytest.mark.parametrize(
    ("side", "trigger", "misses", "reaches"),
    [
        (SELL, stop(98), (99, 101), 98),
        (BUY, stop(104), (103, 99), 105),
        (SELL, take_profit(104), (103, 99), 104),
        (BUY, take_profit(98), (99, 101), 97),
    ],
)
def test_a_trigger_fires_at_the_first_trade_that_reaches_it(
    side: Side, trigger: Trigger, misses: tuple[int, ...], reaches: int
) -> None:
    made = rig(order(side, 3, trigger=trigger))
    assert made.facts(Armed) == [Armed(1, trigger.price)] and states(made) == {1: "armed"}
    made.feed(prints(2 * S, *misses))
    assert made.facts(Triggered) == []
    made.feed(prints(3 * S, misses[0], reaches, misses[1]))
    assert made.facts(Triggered) == [Triggered(1, trigger.price, reaches)]
    assert fills(made) == [(1, 102 if side is BUY else 100, 3)]
    assert not made.engine.desk.watches(0)


def test_a_woken_order_meets_the_market_of_that_frame_without_another_way_out() -> None:
    made = rig(order(SELL, 3, trigger=stop(98)), paper=LATENT)
    made.feed(clock(1 * S + 500 * MS), trade(2 * S, 98, 1, sell=True), clock(3 * S))
    (fill,) = made.facts(Fill)
    assert fill.matched_ns == 2 * S
    told = [(type(record.fact).__name__, record.ns) for record in made.records if record.ns > 1 * S + 500 * MS]
    assert told[:3] == [("Triggered", 2 * S + 4 * MS), ("Accepted", 2 * S + 4 * MS), ("Fill", 2 * S + 4 * MS)]


def test_a_stop_limit_rests_at_its_price_when_the_market_is_past_it() -> None:
    made = rig(order(SELL, 3, 101, trigger=stop(98)))
    made.feed(prints(2 * S, 98))
    assert [word.queue_ahead for word in made.facts(Accepted)] == [0]
    assert states(made) == {1: "open"} and made.engine.working("s")[0].view("").type == "stop_limit"


@pytest.mark.parametrize(("by", "price", "fires"), [(TriggerBy.MID, 99, 99), (TriggerBy.BEST, 98, 98)])
def test_mid_and_best_wake_by_the_book(by: TriggerBy, price: int, fires: int) -> None:
    made = rig(order(SELL, 3, trigger=stop(price, by)))
    made.feed(prints(2 * S, 90), depth(2 * S + 1, bids=[(100, 0)]))
    assert made.facts(Triggered) == []
    made.feed(depth(3 * S, bids=[(99, 0), (98, 4)], asks=[(102, 0), (103, 0), (100, 6)]))
    assert made.facts(Triggered) == [Triggered(1, price, fires)]


def test_nothing_wakes_in_doubt_and_the_fresh_book_wakes_at_once() -> None:
    made = rig(order(SELL, 3, trigger=stop(98, TriggerBy.BEST)))
    made.feed(gap(2 * S), depth(2 * S + 1, bids=[(100, 0), (99, 0)]), prints(2 * S + 2, 90))
    assert made.facts(Triggered) == []
    made.feed(snapshot(3 * S, [(95, 9)], ASKS))
    assert [word.seen for word in made.facts(Triggered)] == [95] and fills(made) == [(1, 95, 3)]


@pytest.mark.parametrize(("rejects", "word"), [(True, "would_trigger"), (False, "")])
def test_a_trigger_that_the_market_has_passed(rejects: bool, word: str) -> None:
    made = rig(order(SELL, 3, trigger=stop(101, TriggerBy.BEST)), paper=with_rules(rejects_reached=rejects))
    assert [fact.reason for fact in made.facts(Rejected)] == ([word] if rejects else [])
    assert fills(made) == ([] if rejects else [(1, 100, 3)])


def test_a_trigger_by_a_mark_that_nobody_said_is_rejected() -> None:
    made = rig(order(SELL, 3, trigger=stop(98, TriggerBy.MARK)))
    assert [word.reason for word in made.facts(Rejected)] == ["no_mark_price"]


def test_a_trigger_by_the_mark_fires_with_the_marks_of_the_venue() -> None:
    script = Script({"start": lambda _, ctx: ctx.timer("go", 1.0)})
    script.on["timer"] = lambda _, ctx: ctx.order("BTCUSDT", SELL, 3, trigger=stop(98, TriggerBy.MARK))
    made = Rig(script, instruments=(LINEAR,), paper=NO_LATENCY)
    made.feed(snapshot(1 * MS, BIDS, ASKS), ev.row(ev.FUNDING, symbol=0, recv_ns=2 * MS, price=101))
    made.feed(clock(1 * S), clock(1 * S + 1), prints(2 * S, 90))
    assert made.facts(Armed) == [Armed(1, 98)] and made.facts(Triggered) == []
    made.feed(ev.row(ev.FUNDING, symbol=0, recv_ns=3 * S, price=97))
    assert made.facts(Triggered) == [Triggered(1, 98, 97)] and fills(made) == [(1, 100, 3)]


def test_a_waiting_order_can_be_changed_and_taken_back() -> None:
    made = rig(
        order(SELL, 3, trigger=stop(98)),
        lambda ctx: ctx.amend(1, trigger=96, size=2),
        lambda ctx: ctx.cancel(1),
    )
    made.feed(clock(1 * S + 600 * MS), prints(1 * S + 700 * MS, 97))
    assert made.facts(Triggered) == [] and made.facts(Amended) == [Amended(1, 0, 2, -1, "user")]
    assert states(made) == {1: "armed"} and made.engine.desk.working(0) == (0, 2)
    made.feed(clock(2 * S + 1), prints(3 * S, 90))
    assert made.facts(Cancelled) == [Cancelled(1, 2, "user")] and fills(made) == []
    plain = rig(order(SELL, 3, 105), lambda ctx: ctx.amend(1, trigger=96))
    plain.feed(clock(2 * S))
    assert [word.reason for word in plain.facts(AmendRejected)] == ["terms"]


def test_a_waiting_order_can_expire() -> None:
    made = rig(order(SELL, 3, trigger=stop(98), time_in_force=TimeInForce.GTD, expires_ns=2 * S))
    made.feed(clock(2 * S + 1), prints(3 * S, 90))
    assert made.facts(Expired) == [Expired(1, 3, "gtd")] and fills(made) == []


# Trailing stops.


def test_trailing_follows_the_best_price_and_never_back() -> None:
    made = rig(order(SELL, 3, trigger=trailing(4)))
    for at, price in enumerate((110, 107, 112, 109)):
        made.feed(prints(2 * S + at, price))
        assert made.facts(Triggered) == []
    made.feed(prints(3 * S, 113, 109))  # the new best moves it, the next trade reaches it
    assert made.facts(Triggered) == [Triggered(1, 109, 109)]


def test_trailing_by_basis_points_for_a_buy() -> None:
    made = rig(order(BUY, 3, trigger=trailing(200, TrailBy.BPS, by=TriggerBy.BEST)))
    made.feed(depth(2 * S, bids=[(100, 0), (99, 0)], asks=[(102, 0), (100, 9)]))
    made.feed(depth(3 * S, asks=[(100, 0)]))
    assert made.facts(Triggered) == [Triggered(1, 102, 103)]


def test_trailing_begins_at_its_activation() -> None:
    made = rig(order(SELL, 3, trigger=trailing(2, activation=108)))
    made.feed(prints(2 * S, 107, 90, 107))
    assert made.facts(Triggered) == []
    made.feed(prints(3 * S, 109), prints(3 * S + 1, 107))
    assert made.facts(Triggered) == [Triggered(1, 107, 107)]


def test_trailing_by_volatility_takes_the_first_distance_until_it_is_measured() -> None:
    paper = with_rules(volatility_samples=2, volatility_step_ns=100 * MS)
    made = rig(order(SELL, 3, trigger=trailing(3000, TrailBy.VOLATILITY, by=TriggerBy.MID, first=20)), paper=paper)
    assert made.facts(Armed) == [Armed(1, 81)]
    # The mid moves by one a step: three times the mean of that is 3 below the best.
    for at in range(1, 4):
        made.feed(depth(1 * S + at * 100 * MS - MS, bids=[(100 + at, 5)], asks=[(101 + at, 0), (102 + at, 5)]))
        made.feed(clock(1 * S + at * 100 * MS + MS))
    armed = made.engine.desk._exchange.triggers._armed[0][0]
    assert armed.stop == armed.best - 6
    made.feed(clock(20 * S))
    made.feed(depth(21 * S, bids=[(103, 0), (102, 0), (101, 0), (100, 0)]))
    assert len(made.facts(Triggered)) == 1
    made.feed(clock(30 * S))
    assert made.engine.desk._exchange.triggers._volatility == {}  # nobody samples any more


# Icebergs and pegs.


def test_an_iceberg_shows_a_part_at_a_time_behind_the_queue() -> None:
    made = rig(order(BUY, 7, 100, display=3))
    venue = made.engine.desk.venue
    made.feed(trade(2 * S, 100, 13, sell=True))
    assert fills(made) == [(1, 100, 3)]
    made.feed(depth(3 * S, bids=[(100, 6)]), trade(4 * S, 100, 9, sell=True))
    made.feed(depth(5 * S, bids=[(100, 0)]), trade(6 * S, 100, 5, sell=True))
    assert fills(made) == [(1, 100, 3), (1, 100, 3), (1, 100, 1)]
    assert venue.queue_ahead(1) is None and made.engine.desk.orders == {}


def test_an_iceberg_takes_whole_on_arrival_and_hides_only_what_rests() -> None:
    made = rig(order(BUY, 9, 102, display=2), lambda ctx: ctx.amend(1, size=6))
    assert fills(made) == [(1, 102, 5)]
    one = made.engine.desk.orders[1]
    assert (one.venue_left, one.done) == (4, 5)
    made.feed(clock(2 * S))
    assert (one.venue_left, one.size) == (1, 6)


@pytest.mark.parametrize(
    ("side", "peg", "limit", "at", "moved"),
    [
        (BUY, Peg(PegTo.PRIMARY), None, 100, 101),
        (BUY, Peg(PegTo.PRIMARY, -2), None, 98, 99),
        (BUY, Peg(PegTo.PRIMARY), 100, 100, 100),
        (SELL, Peg(PegTo.MID, 1), None, 102, 103),
        (BUY, Peg(PegTo.MARKET, -3), None, 99, 100),
    ],
)
def test_a_peg_follows_the_market(side: Side, peg: Peg, limit: int | None, at: int, moved: int) -> None:
    made = rig(order(side, 2, limit, peg=peg))
    one = made.engine.desk.orders[1]
    assert one.intent.price == one.price == at and one.at_venue
    made.feed(depth(2 * S, bids=[(101, 4)], asks=[(102, 0)]))
    assert one.intent.price == moved
    assert [word.cause for word in made.facts(Amended)] == ["peg"] * (1 + (moved != at))
    made.feed(depth(3 * S, bids=[(101, 9)]))
    assert one.intent.price == moved


# What does not go together.


@pytest.mark.parametrize(
    "terms",
    [
        {"trigger": stop(0)},
        {"trigger": trailing(0)},
        {"trigger": trailing(10_000, TrailBy.BPS)},
        {"trigger": trailing(500, TrailBy.VOLATILITY)},
        {"trigger": trailing(5, first=3)},
        {"trigger": trailing(5, activation=-3)},
        {"trigger": stop(98), "display": 1},
        {"peg": Peg(PegTo.MID), "time_in_force": TimeInForce.IOC},
        {"peg": Peg(PegTo.MID), "display": 1},
        {"display": 2},
        {"price": 100, "display": 9},
        {"price": 100, "display": 2, "time_in_force": TimeInForce.FOK},
    ],
)
def test_terms_that_do_not_go_together_are_refused_in_words(terms: dict[str, Any]) -> None:
    price = terms.pop("price", None)
    made = rig(order(SELL, 4, price, **terms))
    (refusal,) = made.facts(Refusal)
    assert refusal.rule == "terms" and refusal.detail.startswith("expected ") and "found" in refusal.detail


def test_terms_of_another_kind_stop_the_strategy() -> None:
    made = rig(order(SELL, 4, trigger=98))
    assert "expected Trigger, found 98" in made.engine.roster.stopped["s"]


# Words and numbers that are none.


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: stop(98, by="luck"), "expected one of last, mid, best, mark, found 'luck'"),
        (lambda: take_profit(98, by="luck"), "expected one of last, mid, best, mark, found 'luck'"),
        (lambda: trailing(3, "percent"), "expected one of price, bps, volatility, found 'percent'"),
    ],
)
def test_a_word_that_is_none_is_told_with_those_that_are(call: Callable[[], Trigger], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_a_size_that_is_not_whole_stops_the_strategy_with_what_was_expected() -> None:
    told: Any = 0.5  # what a strategy without types may say
    made = rig(order(BUY, told))
    (stopped,) = made.facts(StrategyStopped)
    assert "expected a whole number of the instrument's units" in stopped.reason and "found 0.5" in stopped.reason
