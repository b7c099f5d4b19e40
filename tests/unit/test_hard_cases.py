"""What users' code and bad days do to the core: it goes on, says why, and never hangs."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.core.agenda import MAX_CASCADE
from engine.core.desk.risk import RiskSettings
from engine.core.records import (
    Accepted,
    CancelRejected,
    Fill,
    Note,
    Refusal,
    Rejected,
    Request,
    StrategyStopped,
)
from engine.core.strategy import Context
from engine.core.timers import MAX_INSTANT, MAX_TIMERS
from engine.core.types import Side, TimeInForce
from engine.core.venue.paper_settings import PaperSettings
from tests.market import BTC, ETH, MS, Rig, S, Script, clock, depth, gap, snapshot, trade

BIDS = [(100, 10), (99, 20)]
ASKS = [(102, 5), (103, 7), (105, 50)]
BUY, SELL = Side.BUY, Side.SELL


def acting(act: Callable[[Context], Any], **rig: Any) -> Rig:
    """One strategy that acts when its timer fires at one second, on a ready book."""
    script = Script({"start": lambda _, ctx: ctx.timer("go", 1.0)})
    script.on["timer"] = lambda name, ctx: act(ctx) if name == "go" else None
    made = Rig(script, **rig)
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(1 * S))
    return made


def test_a_clock_that_steps_back_neither_hangs_nor_reorders() -> None:
    made = acting(lambda ctx: ctx.order("BTCUSDT", BUY, 1))
    # The order is due at 1 s; the next frame is stamped before that.
    made.feed(depth(1 * S - 5 * MS, bids=[(98, 1)]))
    assert [fill.price for fill in made.facts(Fill)] == [102]
    assert made.engine.now_ns == 1 * S
    made = acting(lambda ctx: ctx.order("BTCUSDT", BUY, 1))
    made.say("halt", 1 * S - 5 * MS)
    assert [fill.price for fill in made.facts(Fill)] == [102]


def test_a_timer_that_sets_itself_for_now_is_stopped() -> None:
    script = Script({"start": lambda _, ctx: ctx.timer("t", 0.0), "timer": lambda _, ctx: ctx.timer("t", 0.0)})
    made = Rig(script)
    made.feed(clock(1 * S), clock(2 * S))
    (stopped,) = made.facts(StrategyStopped)
    assert stopped.reason == f"kept the engine busy at one instant more than {MAX_INSTANT} times"


def test_an_order_for_every_rejection_at_no_latency_is_stopped() -> None:
    script = Script({"start": lambda _, ctx: ctx.timer("go", 1.0), "timer": lambda _, ctx: late(ctx)})
    script.on["order"] = lambda order, ctx: late(ctx) if order.state == "rejected" else None

    def late(ctx: Context) -> None:
        ctx.order("BTCUSDT", BUY, 1, 102, post_only=True)

    made = Rig(script)
    made.feed(snapshot(1, BIDS, ASKS), clock(1 * S), clock(2 * S))
    assert len(made.facts(StrategyStopped)) == 1


def test_one_strategys_many_words_do_not_stop_another() -> None:
    def say(_: Any, ctx: Context) -> None:
        for _step in range(MAX_CASCADE - 1):
            ctx.note(a=1)

    made = Rig(Script({"start": say}), Script({"start": say}))
    assert made.facts(StrategyStopped) == []
    assert len(made.facts(Note)) == 2 * (MAX_CASCADE - 1)


def test_numbers_of_numpy_are_numbers() -> None:
    numbers: Any = [np.int64(2), np.int64(99), np.int64(7), np.float32(1.5)]

    def act(ctx: Context) -> None:
        ctx.order("BTCUSDT", BUY, numbers[0], numbers[1])
        ctx.cancel(numbers[2])
        ctx.target("ETHUSDT", 0 * numbers[0])
        ctx.emit("BTCUSDT", "x", numbers[3])

    made = acting(act, instruments=(BTC, ETH))
    made.feed(clock(2 * S))
    assert made.facts(StrategyStopped) == []
    assert type(made.facts(Request)[0].size) is type(made.facts(CancelRejected)[0].order) is int
    assert made.facts(CancelRejected) == [CancelRejected(7)]


@pytest.mark.parametrize(
    "act",
    [
        lambda ctx: ctx.order("BTCUSDT", BUY, 1.0),
        lambda ctx: ctx.order("BTCUSDT", BUY, 1, 100.0),
        lambda ctx: ctx.order("BTCUSDT", 0, 1),
        lambda ctx: ctx.order("BTCUSDT", BUY, 1, time_in_force="week"),
        lambda ctx: ctx.cancel("one"),
        lambda ctx: ctx.note(thing=object()),
        lambda ctx: ctx.timer("t", float("nan")),
        lambda ctx: ctx.timer("t", float("inf")),
        lambda ctx: ctx.emit("BTCUSDT", object(), 1.0),
    ],
)
def test_nonsense_stops_its_strategy_and_not_the_run(act: Callable[[Context], Any]) -> None:
    made = acting(act)
    assert [stopped.strategy for stopped in made.facts(StrategyStopped)] == ["s"]
    assert len(made.engine.digest) == 32
    made.feed(clock(2 * S), trade(3 * S, 100, 1, sell=True))


def test_a_timer_beyond_all_time_never_comes_and_never_breaks() -> None:
    def act(ctx: Context) -> None:
        ctx.timer("far", 1e30)
        ctx.timer("past", -5.0)

    made = acting(act)
    made.feed(clock(2 * S))
    made.feed(clock(3 * S))
    assert made.facts(StrategyStopped) == []


@pytest.mark.parametrize("tif", [TimeInForce.IOC, TimeInForce.FOK])
def test_post_only_at_once_is_refused_in_words(tif: TimeInForce) -> None:
    made = acting(lambda ctx: ctx.order("BTCUSDT", BUY, 1, 100, time_in_force=tif, post_only=True))
    (refusal,) = made.facts(Refusal)
    detail = f"expected post_only with an order that may rest, found it with {tif}"
    assert (refusal.rule, refusal.detail) == ("terms", detail)


def test_post_only_at_the_market_is_refused_in_words() -> None:
    made = acting(lambda ctx: ctx.order("BTCUSDT", BUY, 1, post_only=True))
    (refusal,) = made.facts(Refusal)
    assert (refusal.rule, refusal.detail) == ("terms", "expected post_only with a price, found it at the market")


@pytest.mark.parametrize(
    ("size", "price", "rule"), [(1, 0, "tick"), (1, -5, "tick"), (0, 100, "lot"), (-1, 100, "lot")]
)
def test_a_price_or_size_of_nothing_is_refused(size: int, price: int, rule: str) -> None:
    made = acting(lambda ctx: ctx.order("BTCUSDT", BUY, size, price))
    assert [refusal.rule for refusal in made.facts(Refusal)] == [rule]


def test_a_market_order_that_must_fill_whole_does_or_does_not() -> None:
    made = acting(
        lambda ctx: [
            ctx.order("BTCUSDT", BUY, 63, time_in_force=TimeInForce.FOK),
            ctx.order("BTCUSDT", BUY, 62, time_in_force=TimeInForce.FOK),
        ]
    )
    made.feed(clock(2 * S))
    assert made.facts(Rejected) == [Rejected(1, "fok_unfilled")]
    assert [fill.size for fill in made.facts(Fill)] == [5, 7, 50]


def test_flatten_against_an_empty_side_tries_again_with_the_watch_only() -> None:
    made = acting(lambda ctx: ctx.order("BTCUSDT", BUY, 5))
    made.feed(depth(1 * S + 1, bids=[(100, 0), (99, 0)]))
    made.say("flatten", 1 * S + 2)
    made.feed(clock(2 * S), clock(3 * S))
    assert len(made.facts(Request)) < 25
    made.feed(depth(3 * S + 1, bids=[(98, 9)]), clock(4 * S), clock(5 * S))
    assert made.engine.ledger.position(0) == 0


def test_flatten_is_not_held_off_by_a_strategy_that_quotes_on() -> None:
    def quote(ctx: Context) -> int:
        return ctx.order("BTCUSDT", BUY, 1, 99)

    script = Script({"start": lambda _, ctx: ctx.timer("go", 1.0)})
    script.on["timer"] = lambda _, ctx: [ctx.order("BTCUSDT", BUY, 5), quote(ctx)]
    script.on["order"] = lambda order, ctx: quote(ctx) if order.state == "cancelled" else None
    made = Rig(script, paper=PaperSettings(out_ns=MS, back_ns=MS, feed_ns=0))
    made.feed(snapshot(1, BIDS, ASKS), clock(1 * S), clock(1 * S + 10 * MS))
    assert made.engine.ledger.position(0) == 5
    made.say("flatten", 2 * S)
    made.feed(*[clock(2 * S + step * MS) for step in range(1, 50)])
    assert made.engine.ledger.position(0) == 0
    assert {refusal.rule for refusal in made.facts(Refusal)} == {"flattening"}
    made.feed(clock(3 * S))
    assert made.engine.commands._flattening == {}


def test_a_partly_filled_order_keeps_its_rest_over_a_gap_and_a_cross() -> None:
    made = acting(lambda ctx: ctx.order("BTCUSDT", BUY, 6, 101))
    made.feed(clock(1 * S + 1), trade(2 * S, 101, 2, sell=True), gap(3 * S), trade(3 * S + 1, 90, 50, sell=True))
    made.feed(snapshot(4 * S, [(95, 4)], [(101, 3), (102, 9)]))
    assert [(fill.price, fill.size, fill.left) for fill in made.facts(Fill)] == [(101, 2, 4), (101, 3, 1)]
    made.feed(depth(5 * S, asks=[(102, 8)]))
    assert len(made.facts(Fill)) == 2


def test_two_strategies_at_one_level_share_its_volume_in_order_of_arrival() -> None:
    def quoting(after: float) -> Script:
        script = Script({"start": lambda _, ctx: ctx.timer("go", after)})
        script.on["timer"] = lambda _, ctx: ctx.order("BTCUSDT", BUY, 3, 100)
        return script

    made = Rig(quoting(2.0), quoting(1.0))
    made.feed(snapshot(1, BIDS, ASKS), clock(2 * S), clock(3 * S), trade(4 * S, 100, 14, sell=True))
    assert [(fill.strategy, fill.size) for fill in made.facts(Fill)] == [("s1", 3), ("s0", 1)]
    assert made.facts(Accepted) == [Accepted(1, 10), Accepted(2, 10)]


def test_one_symbols_market_moves_no_others_orders() -> None:
    def both(ctx: Context) -> None:
        ctx.order("BTCUSDT", BUY, 2, 101)
        ctx.order("ETHUSDT", BUY, 2, 101)
        ctx.order("ETHUSDT", BUY, 5)

    script = Script({"start": lambda _, ctx: ctx.timer("go", 1.0), "timer": lambda _, ctx: both(ctx)})
    made = Rig(script, instruments=(BTC, ETH))
    made.feed(snapshot(1, BIDS, ASKS), snapshot(2, BIDS, ASKS, symbol=1), clock(1 * S), clock(1 * S + 1))
    made.feed(trade(2 * S, 100, 9, sell=True, symbol=1), gap(2 * S + 1, symbol=1), trade(3 * S, 100, 9, sell=True))
    assert [(fill.order, fill.symbol) for fill in made.facts(Fill)] == [
        (3, "v:ETHUSDT"),
        (2, "v:ETHUSDT"),
        (1, "v:BTCUSDT"),
    ]


def test_the_account_does_not_promise_the_same_money_twice() -> None:
    asked = [
        ("BTCUSDT", 60_000, 100),  # 60 USDT of the 61
        ("BTCUSDT", 50_000, 10),  # 5 more: a cheap order does not make the dear one cheaper
        ("ETHUSDT", 60_000, 100),  # another market is paid from the same purse
        ("ETHUSDT", 1_000, 100),  # the last one
    ]
    script = Script({"start": lambda _, ctx: ctx.timer("go", 1.0)})
    script.on["timer"] = lambda name, ctx: (
        [ctx.order(symbol, BUY, size, price) for symbol, size, price in asked] if name == "go" else ctx.cancel(1)
    )
    risk = RiskSettings(price_collar_bps=0, drawdown_fraction=Decimal(0))
    made = Rig(script, instruments=(BTC, ETH), cash={"USDT": Decimal(61)}, risk=risk)
    made.feed(snapshot(1, BIDS, ASKS), snapshot(2, BIDS, ASKS, symbol=1), clock(1 * S))
    assert [(refusal.order, refusal.rule) for refusal in made.facts(Refusal)] == [(2, "notional"), (3, "notional")]
    desk = made.engine.desk
    promised = desk.promised("USDT")
    assert promised == made.engine.ledger.balance_of("USDT")
    made.feed(clock(1 * S + 1), trade(2 * S, 99, 20_000, sell=True))
    assert made.facts(Fill)[0].size == 20_000
    assert desk.promised("USDT") * 61 == promised * 41
    made.say("halt", 3 * S)
    made.feed(clock(4 * S))
    assert desk.promised("USDT") == 0


def test_a_timer_moved_to_and_fro_does_not_fill_the_queue() -> None:
    def act(_: str, ctx: Context) -> None:
        ctx.timer("t", 3600.0)
        ctx.timer("t", 0.001)

    made = Rig(Script({"start": lambda _, ctx: act("t", ctx), "timer": act}))
    made.feed(clock(20 * S))
    assert made.facts(StrategyStopped) == []
    assert len(made.engine._due) <= 2 * MAX_TIMERS + 1
    assert made.engine._due.next_ns(0) == 20 * S + MS


def test_target_counts_an_order_until_its_cancel_is_told() -> None:
    said: list[tuple[str, int | None]] = []
    script = Script({"book": lambda _, ctx: [ctx.order("BTCUSDT", Side.BUY, 3, 90), ctx.timer("go", 1.0)]})

    def aim(_: Any, ctx: Context) -> None:
        ctx.cancel_all()
        said.append(("asked", ctx.target("BTCUSDT", 3)))

    script.on["timer"] = aim
    script.on["order"] = lambda order, ctx: said.append((order.state, ctx.target("BTCUSDT", 3)))
    rig = Rig(script, paper=PaperSettings(out_ns=50 * MS, back_ns=50 * MS, feed_ns=0))
    rig.feed(
        snapshot(1 * MS, BIDS, ASKS), clock(2 * S)
    )  # until then the order may trade, and three more would be three too many
    assert [(state, number is None) for state, number in said[:4]] == [
        ("open", True),
        ("asked", True),
        ("closing", True),
        ("cancelled", False),
    ]
