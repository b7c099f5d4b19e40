"""The paper venue: what an order meets, and when its owner is told."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.core import events as ev
from engine.core.records import Accepted, Cancelled, CancelRejected, Fill, Rejected, Sent
from engine.core.strategy import Context
from engine.core.types import Side, TimeInForce
from engine.core.venue.paper_settings import PaperSettings
from tests.market import MS, NO_LATENCY, Rig, S, Script, clock, depth, gap, snapshot, trade

LATENT = PaperSettings(out_ns=2 * MS, back_ns=5 * MS, feed_ns=1 * MS, maker_fee=Decimal(0), taker_fee=Decimal(0))

BIDS = [(100, 10), (99, 20)]
ASKS = [(102, 5), (103, 7), (105, 50)]


def once(act: Callable[[Context], Any], at: str = "timer") -> Script:
    """A strategy that acts when its one-second timer fires."""
    return Script({"start": lambda _, ctx: ctx.timer("go", 1.0), at: lambda _, ctx: act(ctx)})


def rig(act: Callable[[Context], Any], paper: PaperSettings | None = None) -> Rig:
    made = Rig(once(act), paper=paper or NO_LATENCY)
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(1 * S))
    return made


def fills(made: Rig) -> list[tuple[int, int, bool]]:
    return [(fill.price, fill.size, fill.maker) for fill in made.facts(Fill)]


def test_market_order_walks_the_levels_and_pays_the_taker_fee() -> None:
    made = rig(lambda ctx: ctx.order("BTCUSDT", Side.BUY, 8))
    made.feed(clock(1 * S + 1))
    assert fills(made) == [(102, 5, False), (103, 3, False)]
    # 0.005 * 1.02 * 0.001
    assert made.facts(Fill)[0].fee == "0.0000051"


def test_taken_liquidity_is_gone_until_the_level_is_refreshed() -> None:
    made = rig(lambda ctx: [ctx.order("BTCUSDT", Side.BUY, 5), ctx.order("BTCUSDT", Side.BUY, 5)])
    made.feed(clock(1 * S + 1))
    assert fills(made) == [(102, 5, False), (103, 5, False)]
    again = Script({"book": lambda _, ctx: ctx.order("BTCUSDT", Side.BUY, 1) if ctx.now_ns > S else None})
    made = Rig(again)
    made.feed(snapshot(1, [(100, 1)], [(102, 1), (104, 1)]))
    made.feed(depth(2 * S, bids=[(99, 1)]), depth(2 * S + 1, bids=[(98, 1)]))  # takes 102, then 104
    made.feed(depth(2 * S + 2, asks=[(102, 1)]), clock(3 * S))  # takes nothing on arrival of the frame: 102 is fresh
    assert [price for price, _, _ in fills(made)] == [102, 104, 102]


def test_market_order_beyond_the_book_is_cancelled_for_what_is_left() -> None:
    made = rig(lambda ctx: ctx.order("BTCUSDT", Side.SELL, 100))
    made.feed(clock(1 * S + 1))
    assert fills(made) == [(100, 10, False), (99, 20, False)]
    assert made.facts(Cancelled) == [Cancelled(1, 70, "no_liquidity")]


@pytest.mark.parametrize(
    ("size", "price", "tif", "expected", "end"),
    [
        (20, 103, TimeInForce.IOC, [(102, 5, False), (103, 7, False)], Cancelled(1, 8, "ioc")),
        (20, 101, TimeInForce.IOC, [], Cancelled(1, 20, "ioc")),
        (12, 103, TimeInForce.FOK, [(102, 5, False), (103, 7, False)], None),
        (13, 103, TimeInForce.FOK, [], Rejected(1, "fok_unfilled")),
        (20, 103, TimeInForce.GTC, [(102, 5, False), (103, 7, False)], None),
    ],
)
def test_time_in_force(
    size: int, price: int, tif: TimeInForce, expected: list[tuple[int, int, bool]], end: object
) -> None:
    made = rig(lambda ctx: ctx.order("BTCUSDT", Side.BUY, size, price, time_in_force=tif))
    made.feed(clock(1 * S + 1))
    assert fills(made) == expected
    assert [*made.facts(Cancelled), *made.facts(Rejected)] == ([end] if end else [])
    left = made.engine.working("s")
    assert [order.left for order in left] == ([8] if tif is TimeInForce.GTC else [])


def test_post_only_is_rejected_where_it_would_take() -> None:
    made = rig(lambda ctx: ctx.order("BTCUSDT", Side.BUY, 1, 102, post_only=True))
    made.feed(clock(1 * S + 1))
    assert made.facts(Rejected) == [Rejected(1, "would_take")]


def test_an_order_on_a_book_in_doubt_is_refused_or_rejected() -> None:
    made = rig(lambda ctx: ctx.order("BTCUSDT", Side.BUY, 1), LATENT)
    made.feed(clock(1 * S + 1), gap(1 * S + MS), clock(1 * S + 20 * MS))
    assert made.facts(Rejected) == [Rejected(1, "book_not_ready")]
    assert made.engine.summary()["orders"]["rejections"] == {"book_not_ready": 1}


def maker(made_with: PaperSettings | None = None, price: int = 100, size: int = 4) -> Rig:
    made = rig(lambda ctx: ctx.order("BTCUSDT", Side.BUY, size, price, post_only=True), made_with)
    made.feed(clock(1 * S + 20 * MS))
    return made


def test_maker_waits_behind_the_displayed_queue() -> None:
    made = maker()
    assert made.facts(Accepted) == [Accepted(1, 10)]
    made.feed(trade(2 * S, 100, 7, sell=True), trade(2 * S + 1, 100, 5, sell=True))
    assert fills(made) == [(100, 2, True)]
    made.feed(trade(2 * S + 2, 100, 50, sell=True))
    assert fills(made) == [(100, 2, True), (100, 2, True)]
    assert made.facts(Fill)[0].queue_ahead == 10
    assert made.engine.working("s") == []


def test_two_prints_in_one_frame_are_one_fill() -> None:
    made = maker()
    both = np.concatenate([trade(2 * S, 100, 11, sell=True), trade(2 * S, 100, 2, sell=True)])
    both["flags"][0] &= ~np.uint8(ev.LAST)
    made.feed(both)
    assert fills(made) == [(100, 3, True)]


def test_buying_aggressors_do_not_fill_our_bid() -> None:
    made = maker()
    made.feed(trade(2 * S, 100, 70, sell=False))
    assert fills(made) == []


def test_nobody_stands_behind_more_than_the_level_shows() -> None:
    made = maker()
    made.feed(depth(2 * S, bids=[(100, 3)]), trade(4 * S, 100, 4, sell=True))
    assert fills(made) == [(100, 1, True)]


def test_a_level_change_before_its_trade_is_not_counted_twice() -> None:
    made = maker()
    # The level falls by 6 first; the trade of 6 that did it comes after. Four are still in front.
    made.feed(depth(2 * S, bids=[(100, 4)]), trade(2 * S + MS, 100, 6, sell=True))
    assert fills(made) == []
    made.feed(trade(2 * S + 2 * MS, 100, 5, sell=True))
    assert fills(made) == [(100, 1, True)]


def test_a_trade_before_its_level_change_is_not_counted_twice() -> None:
    made = maker()
    made.feed(trade(2 * S, 100, 6, sell=True), depth(2 * S + MS, bids=[(100, 4)]))
    made.feed(trade(2 * S + 2 * MS, 100, 5, sell=True))
    assert fills(made) == [(100, 1, True)]


def test_a_print_below_our_bid_met_us_first() -> None:
    made = maker(size=4)
    made.feed(trade(2 * S, 99, 3, sell=True))
    assert fills(made) == [(100, 3, True)]


def test_better_priced_orders_of_ours_share_the_print() -> None:
    made = rig(
        lambda ctx: [
            ctx.order("BTCUSDT", Side.BUY, 2, 99),
            ctx.order("BTCUSDT", Side.BUY, 2, 101),
            ctx.order("BTCUSDT", Side.BUY, 2, 101),
        ]
    )
    made.feed(clock(1 * S + 1), trade(2 * S, 98, 5, sell=True))
    assert [(fill.order, fill.size) for fill in made.facts(Fill)] == [(2, 2), (3, 2), (1, 1)]


def test_two_of_our_orders_at_one_price_do_not_share_the_same_volume() -> None:
    made = rig(lambda ctx: [ctx.order("BTCUSDT", Side.BUY, 3, 101), ctx.order("BTCUSDT", Side.BUY, 3, 101)])
    made.feed(clock(1 * S + 1), trade(2 * S, 101, 4, sell=True))
    assert [(fill.order, fill.size) for fill in made.facts(Fill)] == [(1, 3), (2, 1)]


def test_an_offer_at_our_bid_met_us() -> None:
    made = maker(size=4)
    made.feed(depth(2 * S, bids=[(100, 0), (99, 20)], asks=[(100, 3)]))
    assert fills(made) == [(100, 3, True)]
    made.feed(depth(3 * S, bids=[(99, 19)]))  # the same offer again: we already took it
    assert fills(made) == [(100, 3, True)]
    made.feed(depth(3 * S + 1, asks=[(100, 2)]))
    assert fills(made) == [(100, 3, True), (100, 1, True)]


def test_resting_sells_mirror_resting_buys() -> None:
    made = rig(lambda ctx: ctx.order("BTCUSDT", Side.SELL, 4, 102, post_only=True))
    made.feed(clock(1 * S + 1), trade(2 * S, 102, 6, sell=False), trade(2 * S + 1, 103, 2, sell=False))
    assert fills(made) == [(102, 1, True), (102, 2, True)]
    made.feed(depth(3 * S, bids=[(102, 9)], asks=[(102, 0)]))
    assert fills(made)[-1] == (102, 1, True)


def test_no_fill_while_the_book_is_in_doubt() -> None:
    made = maker()
    made.feed(gap(2 * S), trade(2 * S + 1, 99, 50, sell=True))
    assert fills(made) == []
    made.feed(snapshot(3 * S, [(100, 2)], ASKS), trade(3 * S + 1, 100, 3, sell=True))
    assert fills(made) == [(100, 1, True)]


def test_latencies_place_the_order_in_the_stream_and_delay_the_news() -> None:
    made = rig(lambda ctx: ctx.order("BTCUSDT", Side.BUY, 1), LATENT)
    assert made.facts(Sent) == [Sent(1, 1 * S + 3 * MS)]
    made.feed(depth(1 * S + 3 * MS - 1, asks=[(102, 0), (101, 9)]))  # arrives before the order
    made.feed(depth(1 * S + 3 * MS + 1, asks=[(101, 0)]))  # arrives after it
    assert fills(made) == []
    made.feed(clock(1 * S + 7 * MS))
    told = [(record.ns, record.fact) for record in made.records if isinstance(record.fact, Fill)]
    assert [(ns, fill.price, fill.matched_ns) for ns, fill in told] == [(1 * S + 7 * MS, 101, 1 * S + 3 * MS)]


def test_a_cancel_loses_against_a_fill_on_the_way() -> None:
    script = Script(
        {
            "start": lambda _, ctx: ctx.timer("go", 1.0),
            "timer": lambda name, ctx: (
                ctx.order("BTCUSDT", Side.BUY, 4, 101) and ctx.timer("cancel", 0.5) if name == "go" else ctx.cancel(1)
            ),
        }
    )
    made = Rig(script, paper=LATENT)
    made.feed(snapshot(1, BIDS, ASKS), clock(1 * S), clock(1 * S + 500 * MS))
    made.feed(trade(1 * S + 502 * MS, 101, 9, sell=True), clock(2 * S))
    assert fills(made) == [(101, 4, True)]
    assert made.facts(CancelRejected) == [CancelRejected(1)]
    assert made.facts(Cancelled) == []


def test_a_cancel_that_wins_takes_the_rest_back() -> None:
    script = Script({"order": lambda order, ctx: ctx.cancel(order.id) if order.state == "open" else None})
    script.on["start"] = lambda _, ctx: ctx.timer("go", 1.0)
    script.on["timer"] = lambda _, ctx: ctx.order("BTCUSDT", Side.BUY, 4, 101)
    made = Rig(script)
    made.feed(snapshot(1, BIDS, ASKS), clock(1 * S), clock(2 * S), trade(2 * S, 101, 5, sell=True))
    assert made.facts(Cancelled) == [Cancelled(1, 4, "user")]
    assert fills(made) == []
    assert [order.state for order in script.all("order")] == ["open", "closing", "cancelled"]


def test_the_venue_bounds_resting_orders() -> None:
    small = PaperSettings(out_ns=0, back_ns=0, feed_ns=0, max_orders=2)
    made = rig(lambda ctx: [ctx.order("BTCUSDT", Side.BUY, 1, 90 + i) for i in range(3)], small)
    made.feed(clock(1 * S + 1))
    assert made.facts(Rejected) == [Rejected(3, "too_many_orders")]


def test_queue_position_can_be_asked() -> None:
    made = maker()
    venue = made.engine.desk.venue
    assert venue.queue_ahead(1) == 10
    made.feed(trade(2 * S, 100, 7, sell=True))
    assert venue.queue_ahead(1) == 3
    assert venue.queue_ahead(2) is None


def test_an_unexplained_level_change_is_forgotten_in_time() -> None:
    made = maker()
    made.feed(depth(2 * S, bids=[(100, 4)]), trade(4 * S, 100, 6, sell=True))
    assert fills(made) == [(100, 2, True)]


def test_the_memory_of_what_we_took_is_bounded() -> None:
    small = PaperSettings(out_ns=0, back_ns=0, feed_ns=0, max_taken=2)
    made = Rig(once(lambda ctx: [ctx.order("BTCUSDT", Side.BUY, 40), ctx.order("BTCUSDT", Side.BUY, 1)]), paper=small)
    made.feed(snapshot(1, BIDS, [(101 + i, 10) for i in range(8)]), clock(1 * S), clock(2 * S))
    # The third level pushed the memory of the first out, so the next taker meets it again.
    assert [price for price, _, _ in fills(made)] == [101, 102, 103, 104, 101]


def test_a_whole_book_is_not_taken_twice() -> None:
    deep = [(101 + i, 1) for i in range(600)]
    made = Rig(once(lambda ctx: [ctx.order("BTCUSDT", Side.BUY, 900), ctx.order("BTCUSDT", Side.BUY, 900)]), depth=1000)
    made.feed(snapshot(1, BIDS, deep), clock(1 * S), clock(2 * S))
    assert sum(fill.size for fill in made.facts(Fill)) == 600
    assert made.facts(Rejected) == [Rejected(2, "no_liquidity")]


def test_only_the_last_level_change_waits_for_its_trade() -> None:
    made = maker()
    # A cancel, then the change that a trade of 5 made, then that trade: it is explained by the last change only.
    made.feed(depth(2 * S, bids=[(100, 7)]), depth(2 * S + MS, bids=[(100, 2)]))
    made.feed(trade(2 * S + 2 * MS, 100, 5, sell=True))
    assert fills(made) == []
    made.feed(trade(2 * S + 3 * MS, 100, 3, sell=True))
    assert fills(made) == [(100, 1, True)]
