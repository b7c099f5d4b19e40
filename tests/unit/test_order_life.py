"""How an order changes and ends: amends, times in force that end it, reduce-only, cancel-all, and the state table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from engine.core.desk.orders import LEGAL, WORKING, IllegalTransition, Working
from engine.core.records import (
    Accepted,
    Amended,
    AmendRejected,
    Cancelled,
    CancelRejected,
    Expired,
    Fill,
    Refusal,
    Rejected,
    Request,
    encode,
)
from engine.core.strategy import Context
from engine.core.types import ContractKind, Side, TimeInForce
from engine.core.venue.paper_settings import PaperSettings
from engine.core.venue.venue_rules import VenueRules
from tests.market import BTC, MS, NO_LATENCY, Rig, S, Script, clock, depth, snapshot, trade

LATENT = msgspec.structs.replace(NO_LATENCY, out_ns=2 * MS, back_ns=5 * MS, feed_ns=1 * MS)
LINEAR = msgspec.structs.replace(BTC, kind=ContractKind.LINEAR)
BIDS = [(100, 10), (99, 20)]
ASKS = [(102, 5), (103, 7), (105, 50)]
Act = Callable[[Context], Any]


def rig(*acts: Act, paper: PaperSettings = NO_LATENCY, on: dict[str, Any] | None = None) -> Rig:
    """A strategy that does the first thing at one second, the next half a second later, and so on."""

    def on_timer(name: str, ctx: Context) -> None:
        at = int(name)
        if at + 1 < len(acts):
            ctx.timer(str(at + 1), 0.5)
        acts[at](ctx)

    script = Script({"start": lambda _, ctx: ctx.timer("0", 1.0), "timer": on_timer, **(on or {})})
    made = Rig(script, paper=paper, instruments=(LINEAR,))
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(1 * S))
    return made


def buy(size: int, price: int | None = None, **terms: Any) -> Act:
    return lambda ctx: ctx.order("BTCUSDT", Side.BUY, size, price, **terms)


def sell(size: int, price: int | None = None, **terms: Any) -> Act:
    return lambda ctx: ctx.order("BTCUSDT", Side.SELL, size, price, **terms)


def amend(**change: int) -> Act:
    return lambda ctx: ctx.amend(1, **change)


def then(*acts: Act) -> Act:
    """All of it at one moment."""

    def act(ctx: Context) -> None:
        for one in acts:
            one(ctx)

    return act


def ahead(made: Rig, order: int = 1) -> int | None:
    return made.engine.desk.venue.queue_ahead(order)


def test_the_table_names_every_state_and_ends_are_ends() -> None:
    assert {after for afters in LEGAL.values() for after in afters} | {"sent", "refused"} == set(LEGAL)
    assert {state for state, afters in LEGAL.items() if afters} == WORKING
    assert all(afters <= set(LEGAL) for afters in LEGAL.values())


def test_amend_down_keeps_the_place_in_the_queue() -> None:
    made = rig(buy(8, 100), amend(size=3))
    made.feed(clock(1 * S + MS), trade(1 * S + 2 * MS, 100, 6, sell=True), depth(1 * S + 3 * MS, bids=[(100, 30)]))
    made.feed(clock(2 * S))
    assert made.facts(Amended) == [Amended(1, 100, 3, 4, "user")]
    assert ahead(made) == 4
    made.feed(trade(2 * S + 1, 100, 9, sell=True))
    assert [(fill.size, fill.left) for fill in made.facts(Fill)] == [(3, 0)]


@pytest.mark.parametrize(("change", "behind"), [({"size": 9}, 30), ({"price": 99}, 20), ({"price": 99, "size": 2}, 20)])
def test_amend_up_or_elsewhere_goes_behind_the_queue(change: dict[str, int], behind: int) -> None:
    made = rig(buy(8, 100), amend(**change))
    made.feed(clock(1 * S + MS), depth(1 * S + 3 * MS, bids=[(100, 30)]), clock(2 * S))
    assert [(word.queue_ahead, word.cause) for word in made.facts(Amended)] == [(behind, "user")]
    assert ahead(made) == behind
    order = made.engine.working("s")[0]
    assert (order.price, order.size, order.state) == (change.get("price", 100), change.get("size", 8), "open")
    assert made.engine.desk.working(0) == (change.get("size", 8), 0)


def test_amend_to_a_price_that_crosses_takes() -> None:
    made = rig(buy(8, 100), amend(price=102))
    made.feed(clock(2 * S))
    assert made.facts(Amended) == [Amended(1, 102, 8, 0, "user")]
    assert [(fill.price, fill.size, fill.maker, fill.left) for fill in made.facts(Fill)] == [(102, 5, False, 3)]
    assert made.engine.working("s")[0].at_venue


def test_amend_of_a_post_only_order_that_would_take_is_rejected_and_the_order_stays() -> None:
    made = rig(buy(8, 100, post_only=True), amend(price=102))
    made.feed(clock(2 * S))
    assert made.facts(AmendRejected) == [AmendRejected(1, "would_take")]
    assert ahead(made) == 10 and made.engine.working("s")[0].state == "open"


def test_amend_crosses_a_fill_on_the_way() -> None:
    made = rig(buy(8, 101), amend(size=6), paper=LATENT)
    made.feed(clock(1 * S + 20 * MS), clock(1 * S + 500 * MS))
    assert made.engine.working("s")[0].state == "amending"
    made.feed(trade(1 * S + 501 * MS, 101, 5, sell=True), clock(2 * S))
    assert [(fill.size, fill.left) for fill in made.facts(Fill)] == [(5, 3)]
    order = made.engine.working("s")[0]
    assert (order.size, order.left, order.venue_left, order.state) == (6, 1, 1, "open")
    assert made.engine.desk.working(0) == (1, 0)


def test_amend_below_what_traded_on_the_way_ends_the_order() -> None:
    made = rig(buy(8, 101), amend(size=4), paper=LATENT)
    made.feed(clock(1 * S + 500 * MS), trade(1 * S + 501 * MS, 101, 5, sell=True), clock(2 * S))
    assert made.facts(Cancelled) == [Cancelled(1, 3, "amended")]
    assert made.engine.working("s") == [] and made.engine.desk.working(0) == (0, 0)


def test_amend_comes_too_late_for_an_order_that_filled_on_the_way() -> None:
    made = rig(buy(4, 101), amend(price=100), paper=LATENT)
    made.feed(clock(1 * S + 500 * MS), trade(1 * S + 501 * MS, 101, 5, sell=True), clock(2 * S))
    assert made.facts(AmendRejected) == [AmendRejected(1, "too_late")]
    assert [fill.left for fill in made.facts(Fill)] == [0]


def test_amend_that_risk_refuses_leaves_the_order_and_says_why() -> None:
    words: list[tuple[str, str]] = []
    made = rig(
        buy(8, 100), amend(price=-1 + 2**60), on={"order": lambda order, _: words.append((order.state, order.reason))}
    )
    made.feed(clock(2 * S))
    assert [word.reason for word in made.facts(AmendRejected)] == ["tick"]
    assert words[-1] == ("open", "tick") and ahead(made) == 10


def test_amend_of_what_is_not_there_or_not_ours_is_too_late() -> None:
    made = rig(lambda ctx: ctx.amend(7, size=1))
    made.feed(clock(2 * S))
    assert made.facts(AmendRejected) == [AmendRejected(7, "too_late")]
    stopped = rig(lambda ctx: ctx.amend(7))
    stopped.feed(clock(2 * S))
    assert "expected a price or size above 0" in stopped.engine.roster.stopped["s"]


def test_two_changes_on_the_way_are_both_made_and_the_last_one_stands() -> None:
    made = rig(buy(8, 100), then(amend(size=6), amend(price=99)), paper=LATENT)
    made.feed(clock(1 * S + 503 * MS), clock(2 * S))
    assert [(word.price, word.size) for word in made.facts(Amended)] == [(100, 6), (99, 6)]
    order = made.engine.working("s")[0]
    assert (order.price, order.size, order.state, order.amends) == (99, 6, "open", 0)


def test_a_cancel_after_a_change_wins() -> None:
    made = rig(buy(8, 100), then(amend(size=6), lambda ctx: ctx.cancel(1), amend(size=5)), paper=LATENT)
    made.feed(clock(2 * S))
    assert made.facts(Cancelled) == [Cancelled(1, 6, "user")]
    assert made.facts(AmendRejected) == [AmendRejected(1, "too_late")]  # a cancel was on its way already


def test_cancel_all_takes_this_strategys_orders_back() -> None:
    made = rig(
        lambda ctx: [ctx.order("BTCUSDT", Side.BUY, 1, price) for price in (97, 98, 99)], lambda ctx: ctx.cancel_all()
    )
    made.feed(clock(2 * S))
    assert [word.order for word in made.facts(Cancelled)] == [1, 2, 3]


def test_gtd_ends_at_its_time_in_the_received_stream() -> None:
    ends = 1 * S + 700 * MS
    made = rig(buy(4, 101, time_in_force=TimeInForce.GTD, expires_ns=ends), paper=LATENT)
    made.feed(clock(ends), clock(ends + MS))
    made.feed(trade(ends + 2 * MS, 101, 9, sell=True), clock(ends + 6 * MS))
    assert made.facts(Expired) == [Expired(1, 4, "gtd")] and made.facts(Fill) == []
    assert made.engine.working("s") == [] and made.engine.summary()["orders"]["expired"] == 1


def test_gtd_that_filled_before_its_time_does_not_expire() -> None:
    made = rig(buy(4, 101, time_in_force=TimeInForce.GTD, expires_ns=2 * S))
    made.feed(clock(1 * S + 1), trade(1 * S + 2, 101, 9, sell=True), clock(3 * S))
    assert made.facts(Expired) == [] and made.facts(Fill)[0].left == 0


def test_gtd_whose_time_is_over_on_arrival_is_rejected() -> None:
    made = rig(buy(4, 101, time_in_force=TimeInForce.GTD, expires_ns=1 * S + MS), paper=LATENT)
    made.feed(clock(2 * S))
    assert [word.reason for word in made.facts(Rejected)] == ["expired"]


@pytest.mark.parametrize(
    "terms",
    [
        {"time_in_force": TimeInForce.GTD},
        {"time_in_force": TimeInForce.GTD, "expires_ns": 5},
        {"expires_ns": 9 * S},
        {"time_in_force": TimeInForce.IOC, "post_only": True},
    ],
)
def test_terms_that_do_not_go_together_are_refused(terms: dict[str, Any]) -> None:
    made = rig(buy(4, 101, **terms))
    made.feed(clock(2 * S))
    assert [word.rule for word in made.facts(Refusal)] == ["terms"]


@pytest.mark.parametrize(("day_ends_ns", "ends"), [(0, 86_400 * S), (16 * 3600 * S, 16 * 3600 * S)])
def test_day_ends_with_the_venues_day(day_ends_ns: int, ends: int) -> None:
    paper = msgspec.structs.replace(LATENT, rules=VenueRules(day_ends_ns=day_ends_ns))
    made = rig(buy(4, 101, time_in_force=TimeInForce.DAY, post_only=True), paper=paper)
    made.feed(clock(ends))
    assert made.facts(Accepted) != [] and made.facts(Expired) == []
    made.feed(clock(ends + 5 * MS))
    assert made.facts(Expired) == [Expired(1, 4, "day")]


def test_reduce_only_is_rejected_where_there_is_nothing_to_reduce() -> None:
    made = rig(sell(4, 102, reduce_only=True), buy(2), buy(3, 100, reduce_only=True))
    made.feed(clock(3 * S))
    assert [(word.order, word.reason) for word in made.facts(Rejected)] == [(1, "reduce_only"), (3, "reduce_only")]


def test_reduce_only_is_cut_to_what_there_is_and_gives_way_as_the_position_goes() -> None:
    made = rig(buy(5), sell(9, 104, reduce_only=True), sell(3), sell(2))
    made.feed(clock(1 * S + 600 * MS))
    assert made.facts(Amended) == [Amended(2, 104, 5, -1, "reduce_only")]
    assert made.engine.desk.working(0) == (0, 5)
    made.feed(clock(2 * S + 1))
    assert made.facts(Amended)[-1] == Amended(2, 104, 2, 0, "reduce_only")
    made.feed(clock(3 * S))
    assert made.facts(Expired) == [Expired(2, 2, "reduce_only")]
    assert made.engine.ledger.position(0) == 0 and made.engine.desk.working(0) == (0, 0)


def test_reduce_only_and_another_order_filled_by_one_print_do_not_turn_the_position() -> None:
    made = rig(buy(5), sell(5, 104), sell(5, 104, reduce_only=True))
    made.feed(clock(2 * S + 1), trade(2 * S + 2, 105, 20, sell=False))
    assert [(fill.order, fill.size) for fill in made.facts(Fill)] == [(1, 5), (2, 5)]
    assert made.facts(Expired) == [Expired(3, 5, "reduce_only")]
    assert made.engine.ledger.position(0) == 0


def test_a_cancel_that_came_too_late_is_told_once() -> None:
    made = rig(buy(4, 101), lambda ctx: ctx.cancel(1), paper=LATENT)
    made.feed(clock(1 * S + 500 * MS), trade(1 * S + 501 * MS, 101, 9, sell=True), clock(2 * S))
    assert made.facts(CancelRejected) == [CancelRejected(1)]


def test_working_goes_back_to_where_the_order_stands() -> None:
    made = rig(buy(4, 100))
    made.feed(clock(1 * S + 1))
    order = Working(made.engine.desk.orders[1].intent, "sent", 4)
    order.tell("closing")
    order.learn("open")
    assert (order.state, order.stands) == ("closing", "open")
    with pytest.raises(IllegalTransition, match="open cannot become armed"):
        order.learn("armed")


def test_a_plain_request_is_encoded_as_it_always_was() -> None:
    made = rig(buy(4, 100))
    made.feed(clock(1 * S + 1))
    assert b"terms" not in encode(made.facts(Request)[0])


def test_an_order_that_only_reduces_ends_once_when_one_print_fills_another_and_part_of_it() -> None:
    made = rig(buy(3), then(sell(3, 101, reduce_only=True), sell(4, 100, post_only=False)))
    made.feed(depth(1 * S + 2, bids=[(100, 0)], asks=[(102, 0)]), clock(2 * S), trade(3 * S, 101, 6, sell=False))
    assert [(fill.order, fill.size) for fill in made.facts(Fill)] == [(1, 3), (3, 4)]
    assert made.facts(Expired) == [Expired(2, 3, "reduce_only")] and made.engine.desk.orders == {}
