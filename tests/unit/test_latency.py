"""Latencies: constant, jittered, from a tape, measured; what an order meets and when its owner hears of it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from statistics import median
from typing import Any

import pytest

from adapters.entry import EntryKind
from engine.core.records import Accepted, Cancelled, CancelRejected, CancelRequested, Fill, Sent
from engine.core.strategy import Context
from engine.core.types import Side
from engine.core.venue.latency import (
    AMEND,
    CANCEL,
    MESSAGES,
    MILLION,
    ORDER,
    TABLE,
    LatencyModel,
    LatencySettings,
    LatencyTape,
    factors,
)
from engine.core.venue.paper_settings import PaperSettings
from tests.market import MS, Rig, S, Script, clock, snapshot, trade
from tests.watched import Watched, buys

BIDS = [(100, 10), (99, 20)]
ASKS = [(102, 5), (103, 7), (105, 50)]


def paper(settings: LatencySettings | None = None, out: int = 2, back: int = 5, feed: int = 1) -> PaperSettings:
    return PaperSettings(
        out_ns=out * MS,
        back_ns=back * MS,
        feed_ns=feed * MS,
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
        latency=settings,
    )


def model(settings: LatencySettings, out: int = 1000, back: int = 600, feed: int = 400) -> LatencyModel:
    return LatencyModel(settings, out, back, feed, 2)


def out(made: LatencyModel, line: int, what: int, message: int, now_ns: int) -> int:
    return made.way_out(line, what, message, now_ns)[0]


def test_each_message_has_its_own_way_out_and_a_fill_its_own_way_back() -> None:
    made = model(LatencySettings(amend_out_ns=700, cancel_out_ns=300, fill_back_ns=50))
    assert [made.way_out(0, what, 1, 0) for what in (ORDER, AMEND, CANCEL)] == [(1000, 400), (700, 400), (300, 400)]
    assert [made.way_back(0, is_fill, 1, 0) for is_fill in (False, True)] == [600, 50]


@pytest.mark.parametrize(("shape", "spread"), [("lognormal", 0.3), ("lognormal", 0.8), ("gamma", 0.3), ("gamma", 0.9)])
def test_jitter_keeps_its_median_and_spread(shape: str, spread: float) -> None:
    made = model(LatencySettings(kind="jitter", shape=shape, spread=spread, seed=7))
    drawn = [out(made, 0, ORDER, order * MESSAGES, 0) for order in range(20_000)]
    assert abs(median(drawn) / 1000 - 1) < 0.02
    upper = sorted(drawn)[int(0.841 * len(drawn))] / 1000  # one standard deviation above
    expected = factors(shape, spread)[int(0.841 * TABLE)] / MILLION
    assert abs(upper / expected - 1) < 0.03
    assert min(drawn) >= 0


def test_jitter_is_capped_and_depends_on_seed_leg_and_message_only() -> None:
    made = model(LatencySettings(kind="jitter", spread=1.0, cap_ns=1500))
    drawn = [out(made, 0, ORDER, message, 0) for message in range(1000)]
    assert max(drawn) == 1500
    assert drawn == [out(made, 1, ORDER, message, 10**18) for message in range(1000)]
    other = model(LatencySettings(kind="jitter", spread=1.0, cap_ns=1500, seed=2))
    assert drawn != [out(other, 0, ORDER, message, 0) for message in range(1000)]
    same_medians = model(LatencySettings(kind="jitter"), out=1000, back=1000)
    assert out(same_medians, 0, ORDER, 5, 0) != same_medians.way_back(0, False, 5, 0)


def test_a_tape_of_latencies_is_interpolated_and_held_at_its_ends() -> None:
    tape = LatencyTape(at_ns=[0, 100, 200], out_ns=[1000, 2000, 500], back_ns=[600, 600, 900])
    made = model(LatencySettings(kind="tape", tape=tape, cancel_out_ns=800))
    assert [out(made, 0, ORDER, 1, now) for now in (-1, 50, 100, 150, 999)] == [1000, 1500, 2000, 1250, 500]
    assert [made.way_back(0, True, 1, now) for now in (0, 150)] == [600, 750]
    assert made.way_out(0, ORDER, 1, 0)[1] == 400  # no column of its own
    assert out(made, 0, CANCEL, 1, 200) == 300  # as much quicker than an order as the settings say


def test_measured_starts_with_the_constants_and_takes_the_median_of_the_last_round_trips() -> None:
    made = model(LatencySettings(kind="measured", window=3, processing_ns=10))
    assert (out(made, 0, ORDER, 1, 0), made.way_out(0, ORDER, 1, 0)[1], made.way_back(0, False, 1, 0)) == (
        1000,
        400,
        600,
    )
    for trip in (100, 9_000, 201, 301):
        made.measured(0, trip)
    assert made.round_trip_ns(0) == 301 and made.round_trip_ns(1) == 0
    # half the way out and what the venue takes, the rest back; market data as old as an answer
    assert (out(made, 0, ORDER, 1, 0), made.way_back(0, False, 1, 0), made.way_out(0, ORDER, 1, 0)[1]) == (
        160,
        151,
        151,
    )
    assert out(made, 1, ORDER, 1, 0) == 1000
    configured = model(LatencySettings(kind="measured", is_feed_set=True))
    configured.measured(0, 100)
    assert configured.way_out(0, ORDER, 1, 0)[1] == 400


def test_market_data_that_comes_later_than_at_best_is_older() -> None:
    made = model(LatencySettings(kind="measured", window=3))
    for delay in (0, 40, 30):
        made.measured(0, 200, delay)
    assert made.feed_delay_ns(0) == 30 and made.typical(0, 0) == (100, 100, 130)
    assert made.way_out(0, ORDER, 1, 0) == (100, 130) and made.way_back(0, True, 1, 0) == 100
    drawn = model(LatencySettings(kind="measured", draw="sample"))
    for trip, delay in ((100, 1), (200, 2), (300, 3)):
        drawn.measured(0, trip, delay)
    ways = {drawn.way_out(0, ORDER, order * MESSAGES + 1, 0) for order in range(200)}
    assert ways == {(50, 51), (100, 102), (150, 153)}  # both of one measurement


def test_measured_may_draw_one_of_the_last_round_trips() -> None:
    made = model(LatencySettings(kind="measured", draw="sample", is_feed_set=True))
    for trip in (100, 200, 300):
        made.measured(0, trip)
    drawn = [out(made, 0, ORDER, order * MESSAGES + 1, 0) for order in range(200)]
    assert set(drawn) == {50, 100, 150}


def once(act: Callable[[Context], Any]) -> Script:
    return Script({"start": lambda _, ctx: ctx.timer("go", 1.0), "timer": lambda _, ctx: act(ctx)})


def test_an_order_takes_effect_and_is_told_at_the_sums_of_its_legs() -> None:
    made = Rig(once(lambda ctx: ctx.order("BTCUSDT", Side.BUY, 4, 100)), paper=paper())
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(2 * S))
    assert made.facts(Sent) == [Sent(1, 1 * S + 3 * MS)]
    accepted = [record for record in made.records if isinstance(record.fact, Accepted)]
    assert [record.ns for record in accepted] == [1 * S + 7 * MS]  # t + out + back
    order = made.engine.desk.orders[1]
    assert (order.out_ns, order.feed_ns, order.back_ns) == (2 * MS, 1 * MS, 5 * MS)


def test_a_cancel_that_crosses_a_fill_on_the_way_loses() -> None:
    def act(name: str, ctx: Context) -> None:
        if name == "order":
            ctx.order("BTCUSDT", Side.BUY, 4, 100)
            ctx.timer("cancel", 1.0)
        else:
            ctx.cancel(1)

    script = Script({"start": lambda _, ctx: ctx.timer("order", 1.0), "timer": act})
    made = Rig(script, paper=paper())
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(2 * S + MS))
    assert made.facts(CancelRequested) == [CancelRequested(1, 2 * S + 3 * MS)]
    made.feed(trade(2 * S + 2 * MS, 100, 14, sell=True), clock(3 * S))  # while the cancel is on its way
    assert [fill.size for fill in made.facts(Fill)] == [4]
    assert made.facts(Cancelled) == [] and made.facts(CancelRejected) == [CancelRejected(1)]
    told = [(record.fact, record.ns) for record in made.records if isinstance(record.fact, Fill | CancelRejected)]
    assert [(type(fact), ns) for fact, ns in told] == [(Fill, 2 * S + 6 * MS), (CancelRejected, 2 * S + 7 * MS)]


def test_the_fastest_cancel_does_not_overtake_its_order() -> None:
    quick = LatencySettings(cancel_out_ns=0)

    def act(ctx: Context) -> None:
        ctx.order("BTCUSDT", Side.BUY, 4, 100)
        ctx.cancel(1)

    made = Rig(once(act), paper=paper(quick))
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(1 * S + MS))
    order = made.engine.desk.orders[1]
    assert (order.out_ns, order.feed_ns) == (2 * MS, 1 * MS)  # of the cancel, which waited for the order
    made.feed(clock(2 * S))
    assert made.facts(CancelRequested) == [CancelRequested(1, 1 * S + 3 * MS)]
    assert made.facts(Cancelled) == [Cancelled(1, 4, "user")]


def test_a_settings_own_latency_tape_drives_an_order() -> None:
    tape = LatencyTape(at_ns=[0, 2 * S], out_ns=[0, 20 * MS], back_ns=[8 * MS, 8 * MS], feed_ns=[0, 0])
    made = Rig(
        once(lambda ctx: ctx.order("BTCUSDT", Side.BUY, 4, 100)), paper=paper(LatencySettings(kind="tape", tape=tape))
    )
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(3 * S))
    assert made.facts(Sent)[0].arrives_ns == 1 * S + 12 * MS - 2 * MS  # an order's out is the tape's own


def test_measured_round_trips_are_on_the_tape_before_the_engine_follows_them() -> None:
    watched = Watched(buys(1_000), paper=paper(LatencySettings(kind="measured")))
    before = watched.view.latencies()
    assert before[0]["out_ms"] == 2.0 and before[0]["round_trip_ms"] is None
    for trip in (4 * MS, 9 * MS, 6 * MS):
        watched.runner.measured("v", trip)
        watched.runner.drain(1)
    measured = [(entry.source, entry.data) for entry in watched.taped if entry.kind is EntryKind.PINGED]
    assert measured == [("v", b"4000000 0"), ("v", b"9000000 0"), ("v", b"6000000 0")]
    assert watched.view.latencies() == [
        {
            "venue": "v",
            "kind": "measured",
            "out_ms": 3.0,
            "back_ms": 3.0,
            "feed_ms": 3.0,
            "round_trip_ms": 6.0,
            "feed_delay_ms": 0.0,
        }
    ]
    watched.make_ready()
    order = next(iter(watched.engine.desk.orders.values()))
    assert (order.out_ns, order.feed_ns) == (3 * MS, 3 * MS)


def test_a_round_trip_when_the_bus_is_full_then_it_is_left_out_of_the_tape_too() -> None:
    watched = Watched(capacity=1)
    watched.runner.command("halt")
    watched.runner.measured("v", 5 * MS)
    assert [entry.kind for entry in watched.taped].count(EntryKind.PINGED) == 0
    assert watched.runner.round_trip.count == 1
