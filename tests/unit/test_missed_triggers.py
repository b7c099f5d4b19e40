"""Stops and take-profits of the time of absence: woken by what traded, at an assumed price with its alternatives."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.binance import BinanceSpot
from engine.core.book import Book
from engine.core.desk.order_terms import Trail, TrailBy, Trigger, TriggerBy, TriggerKind
from engine.core.engine import Engine
from engine.core.events import Command
from engine.core.order_facts import Assumed, Cancelled, Expired, Rejected, Triggered
from engine.core.prints import BOOK_VENUE_NS
from engine.core.records import Fill
from engine.core.settings import EngineSettings
from engine.core.strategy import Config, Context, Strategy
from engine.core.types import Side
from engine.live.recovery.codec import freeze, thaw
from engine.live.recovery.missed import ask_missed
from engine.live.venues import Reached
from tests.away import ASKS, BIDS, START, Away, Begin, S
from tests.market import BTC, LOOSE, NO_LATENCY, snapshot

BUY, SELL = Side.BUY, Side.SELL


def stop(price: int, by: TriggerBy = TriggerBy.LAST) -> Trigger:
    return Trigger(TriggerKind.STOP, price, by)


def take(price: int) -> Trigger:
    return Trigger(TriggerKind.TAKE_PROFIT, price)


def order(side: Side, size: int, price: int | None = None, **terms: Any) -> Begin:
    return lambda ctx: ctx.order(BTC.name, side, size, price, **terms)


def test_a_stop_whose_trigger_was_traded_through_fills_at_the_print_and_says_so() -> None:
    away = Away(order(SELL, 5, trigger=stop(9_990)))
    away.back([(5, 9_995, 3, -1), (10, 9_980, 7, -1), (10.5, 9_960, 1, -1), (20, 9_000, 1, -1)])
    (fill,) = away.facts(Fill)
    assert (fill.price, fill.size, fill.maker, fill.cause, fill.grade) == (9_980, 5, False, "assumed", "assumed")
    assert fill.matched_ns == START + 10 * S
    (woken,) = away.facts(Triggered)
    assert (woken.price, woken.seen) == (9_990, 9_980)
    assert away.told == [(5, 9_980, 9_990, 9_960)], "the best is the trigger, the worst what traded a second later"
    assert away.engine.ledger.position(0, "s") == -5
    assert not away.engine.desk.orders and not away.engine.desk.watches(0)
    truth = away.engine.summary()["truth"]
    assert (truth["fills"], truth["assumed"], truth["score"]) == (0, 1, None)


def test_buys_mirror_sells() -> None:
    away = Away(order(BUY, 5, trigger=stop(10_030)))
    away.back([(10, 10_040, 7, 1), (10.9, 10_060, 1, 1), (10.95, 10_000, 1, 1)])
    assert away.told == [(5, 10_040, 10_030, 10_060)]
    assert away.engine.ledger.position(0, "s") == 5


@pytest.mark.parametrize(("price", "is_woken"), [(10_030, True), (10_029, False)])
def test_a_take_profit_fills_at_its_trigger_when_more_was_paid(price: int, is_woken: bool) -> None:
    away = Away(order(SELL, 5, trigger=take(10_030)))
    away.back([(10, price, 7, 1)])
    assert bool(away.fills) == is_woken
    if is_woken:
        away = Away(order(SELL, 5, trigger=take(10_030)))
        away.back([(10, 10_050, 7, 1)])
        assert away.told == [(5, 10_030, 10_050, 10_030)]


@pytest.mark.parametrize(
    ("by", "at", "through"),
    [(TriggerBy.LAST, True, True), (TriggerBy.MID, False, True), (TriggerBy.BEST, False, True)],
)
def test_the_last_price_reaches_a_trigger_and_others_must_be_traded_through(
    by: TriggerBy, at: bool, through: bool
) -> None:
    for price, is_woken in ((9_990, at), (9_989, through)):
        away = Away(order(SELL, 5, trigger=stop(9_990, by)))
        away.back([(10, price, 7, -1)])
        assert bool(away.fills) == is_woken
        assert away.engine.desk.watches(0) != is_woken, "or it waits on"


def test_of_a_bar_the_middle_between_trigger_and_far_end_is_assumed() -> None:
    away = Away(order(SELL, 5, trigger=stop(9_990)), order(BUY, 4, trigger=stop(10_030)))
    away.back(bars=[(30, 9_951, 10_000), (31, 9_000, 10_029)])
    assert away.fills == [(1, 9_970, 5)]
    assert away.told == [(5, 9_970, 9_990, 9_000)]
    (told,) = away.facts(Assumed)
    assert told.basis == "bars"
    away.back(bars=[(59, 10_050, 10_061)])
    assert away.fills[1:] == [(2, 10_056, 4)], "it gapped over the trigger: the bar's low was the best there was"


def test_a_stop_limit_trades_no_worse_than_its_limit_or_waits_for_it() -> None:
    away = Away(order(SELL, 5, 9_985, trigger=stop(9_990)))
    away.back([(10, 9_988, 7, -1), (10.5, 9_900, 7, -1)])
    assert away.told == [(5, 9_988, 9_990, 9_985)]
    away = Away(order(SELL, 5, 9_985, trigger=stop(9_990)))
    away.back([(10, 9_980, 7, -1), (12, 9_985, 7, 1)])
    assert away.fills == [], "at its limit it would stand behind others"
    assert away.engine.desk.watches(0)
    away = Away(order(SELL, 5, 9_985, trigger=stop(9_990)))
    away.back([(10, 9_980, 7, -1), (12, 9_986, 7, 1)])
    assert away.told == [(5, 9_985, 9_985, 9_985)]


def test_a_trailing_stop_follows_what_traded_and_fires_on_the_way_back() -> None:
    trigger = Trigger(TriggerKind.STOP, trail=Trail(TrailBy.PRICE, 30))
    away = Away(order(SELL, 5, trigger=trigger))
    away.back([(5, 10_050, 1, 1), (6, 10_100, 1, 1), (7, 10_075, 1, -1), (8, 10_069, 1, -1)])
    assert away.told == [(5, 10_069, 10_070, 10_069)]


def test_one_of_a_pair_ends_the_other_and_what_only_reduces_does_not_open() -> None:
    def pair(ctx: Context) -> None:
        ctx.order(BTC.name, BUY, 5)
        ctx.oco(BTC.name, SELL, 5, 10_100, stop(9_990))

    away = Away(pair)
    away.back([(10, 9_980, 50, -1), (11, 10_200, 50, 1)])
    assert away.fills == [(1, 10_010, 5), (3, 9_980, 5)] and away.engine.ledger.position(0, "s") == 0
    assert not away.engine.desk.orders
    away = Away(order(SELL, 5, trigger=stop(9_990), reduce_only=True))
    away.back([(10, 9_980, 50, -1)])
    assert away.fills == [] and away.told == [] and not away.engine.desk.orders
    assert away.facts(Expired) or away.facts(Rejected) or away.facts(Cancelled)


class Waits(Strategy[Config]):
    """Rests and waits."""

    def on_book(self, book: Book, ctx: Context) -> None:
        if book.is_ready and not ctx.orders():
            ctx.order(BTC.name, BUY, 5, 9_990, post_only=True)
            ctx.order(BTC.name, SELL, 3, trigger=stop(9_990))


def test_what_rests_and_what_waits_are_told_apart_and_a_snapshot_in_between_keeps_both() -> None:
    away = Away()
    settings = EngineSettings(paper=NO_LATENCY, risk=LOOSE, cash={"USDT": Decimal(10**9), "BTC": Decimal(10**3)})
    away.engine = Engine([BTC], {"s": partial(Waits, Config())}, settings)
    away.engine.process(Command(START, "start"))
    away.engine.process(snapshot(START + 1, BIDS, ASKS))
    args = {"symbol": BTC.name, "prints": [[START + 10 * S, 9_980, 7, -1]], "bars": []}
    records = away.engine.process(Command(START + S, "missed", args))
    (again,) = thaw(freeze((away.engine,)), ["tests"])
    end = [Command(START + S, "away", {"until_ns": START + 60 * S}), Command(START + 60 * S, "resume")]
    found = [[record for item in end for record in engine.process(item)] for engine in (away.engine, again)]
    assert found[0] == found[1] and records
    away.records = found[0]
    assert sorted(away.told) == [(3, 9_980, 9_990, 9_980), (5, 9_990, 0, 0)]


PRINTS = st.lists(
    st.tuples(st.floats(1.0, 50.0), st.integers(9_940, 10_070), st.integers(1, 120), st.sampled_from([-1, 0, 1])),
    max_size=12,
)
WAITING = st.lists(
    st.tuples(
        st.sampled_from([BUY, SELL]),
        st.integers(1, 60),
        st.sampled_from([TriggerKind.STOP, TriggerKind.TAKE_PROFIT]),
        st.integers(1, 5),
        st.booleans(),
        st.sampled_from([TriggerBy.LAST, TriggerBy.MID]),
    ),
    min_size=1,
    max_size=5,
)


@given(waiting=WAITING, prints=PRINTS)
def test_whatever_traded_it_fills_once_whole_and_between_its_alternatives(waiting: Any, prints: Any) -> None:
    begins = []
    for side, size, kind, steps, is_limit, by in waiting:
        above = (kind is TriggerKind.STOP) == (side is BUY)
        price = 10_010 + 10 * steps if above else 10_000 - 10 * steps
        trigger = Trigger(kind, price, by)
        begins.append(order(side, size, price + 10 * int(side) if is_limit else None, trigger=trigger))
    away = Away(*begins)
    away.back(prints)
    sizes = {number: one[1] for number, one in enumerate(waiting, 1)}
    for told in away.facts(Assumed):
        assert told.size == sizes[told.order]
        assert told.best * told.side <= told.price * told.side <= told.worst * told.side
    assert sorted(fill[0] for fill in away.fills) == sorted(one.order for one in away.facts(Assumed))
    filled = {number for number, _, _ in away.fills}
    assert filled | set(away.engine.desk.orders) == set(sizes)


class Answers:
    """A venue's REST side that has nothing to tell, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def get(self, url: str, timeout_s: float) -> bytes:
        self.asked.append(url)
        return b"[]"


async def test_the_venue_is_asked_for_symbols_on_which_orders_only_wait() -> None:
    for begins, is_asked in (([order(SELL, 5, trigger=stop(9_990))], True), ([], False)):
        away, transport = Away(*begins), Answers()
        away.engine.process(snapshot(START + 2, BIDS, ASKS))  # before it the order was on its way
        away.engine.books.top[0, BOOK_VENUE_NS] = START
        kept: Any = SimpleNamespace(engine=away.engine)
        past: Any = SimpleNamespace(kept=kept, last_ns=START + S)
        reached: Any = Reached("v", BinanceSpot, cast(Any, transport), "", "https://x", {BTC.symbol: BTC})
        found = await ask_missed([reached], past, START + 60 * S)
        assert bool(transport.asked) == is_asked
        assert [one["symbol"] for one in found] == ([BTC.name] if is_asked else [])
