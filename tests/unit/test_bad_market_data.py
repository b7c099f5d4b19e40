"""What venues send on a bad day, while orders rest: no negative queue, no fill out of nothing, and it is said.

The prices: our bid rests at 100 behind ten, the market is 100 to 102.
"""

from __future__ import annotations

import numpy as np
import pytest

from engine.core import events as ev
from engine.core.events import MOST_UNITS, Batch
from engine.core.prints import LEFT_OUT, TRADED
from engine.core.records import Accepted, Cancelled, FeedState, Fill, Rejected
from engine.core.strategy import Context
from engine.core.types import Side
from engine.core.venue.paper_settings import PaperSettings
from tests.market import MS, Rig, S, Script, clock, depth, gap, snapshot, trade

BIDS = [(100, 10), (99, 20)]
ASKS = [(102, 5), (103, 7)]


def resting(size: int = 4, price: int = 100) -> Rig:
    """One order, placed at one second on a ready book."""

    def place(_: str, ctx: Context) -> None:
        ctx.order("BTCUSDT", Side.BUY, size, price)

    made = Rig(Script({"start": lambda _, ctx: ctx.timer("go", 1.0), "timer": place}))
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(1 * S))
    return made


def on_its_way(frame: Batch, price: int | None = 100) -> Rig:
    """An order sent at one second meets the market ten milliseconds later; the frame comes before that."""
    script = Script({"start": lambda _, ctx: ctx.timer("go", 1.0)})
    script.on["timer"] = lambda _, ctx: ctx.order("BTCUSDT", Side.BUY, 4, price)
    made = Rig(script, paper=PaperSettings())
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(1 * S), frame, clock(2 * S))
    return made


def told(batch: Batch, *, venue_ns: int) -> Batch:
    """The same with the venue's own time."""
    batch["venue_ns"] = venue_ns
    return batch


def filled(made: Rig) -> int:
    return sum(fill.size for fill in made.facts(Fill))


def ahead(made: Rig) -> int | None:
    return made.engine.desk.venue.queue_ahead(1)


def reasons(made: Rig) -> list[str]:
    return [fact.reason for fact in made.facts(FeedState) if not fact.ready]


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (depth(2 * S, bids=[(103, 5)]), "crossed"),
        (depth(2 * S, bids=[(102, 5)]), "crossed"),  # locked: a bid at the ask
        (depth(2 * S, asks=[(99, 5)]), "crossed"),
        (depth(2 * S, bids=[(0, 5)]), "negative"),
        (depth(2 * S, bids=[(-100, 5)]), "negative"),
        (depth(2 * S, bids=[(100, -1)]), "negative"),
        (depth(2 * S, bids=[(99, MOST_UNITS + 1)]), "absurd"),
        (depth(2 * S, asks=[(MOST_UNITS + 1, 1)]), "absurd"),
        (gap(2 * S), "sequence"),
        (ev.row(ev.DOWN, symbol=0, recv_ns=2 * S, reason=ev.CONNECTION), "connection"),
    ],
)
def test_a_book_in_doubt_fills_nobody_and_the_order_is_unsure_after_it(frame: Batch, why: str) -> None:
    made = resting()
    made.feed(frame, trade(2 * S + 1, 100, 50, sell=True), trade(2 * S + 2, 90, 50, sell=True))
    made.feed(depth(2 * S + 3, asks=[(98, 9)]))
    assert filled(made) == 0 and reasons(made) == [why]
    made.feed(snapshot(3 * S, [(100, 3), (99, 1)], ASKS))
    assert ahead(made) == 3  # nobody stands behind more than the fresh book shows
    made.feed(trade(3 * S + 1, 100, 3 + 4, sell=True), clock(9 * S))
    (fill,) = made.facts(Fill)
    assert fill.size == 4 and fill.grade == "ambiguous"
    assert made.engine.summary()["truth"]["unsure"] == 1


def test_an_order_that_meets_a_book_in_doubt_is_rejected() -> None:
    made = on_its_way(gap(1 * S + 2 * MS))
    assert [fact.reason for fact in made.facts(Rejected)] == ["book_not_ready"]


@pytest.mark.parametrize("emptied", ["both", "own", "other"])
def test_an_empty_side_is_a_market_without_that_side(emptied: str) -> None:
    made = resting()
    bids = [(price, 0) for price, _ in BIDS] if emptied != "other" else []
    asks = [(price, 0) for price, _ in ASKS] if emptied != "own" else []
    made.feed(depth(2 * S, bids, asks))
    assert filled(made) == 0 and ahead(made) == (10 if emptied == "other" else 0)
    made.feed(trade(3 * S, 100, 1, sell=True))
    assert filled(made) == (0 if emptied == "other" else 1)  # alone at the price, we met it


def test_a_market_order_that_meets_an_empty_side_gets_nothing() -> None:
    made = on_its_way(depth(1 * S + 2 * MS, asks=[(price, 0) for price, _ in ASKS]), price=None)
    assert [fact.reason for fact in made.facts(Rejected)] == ["no_liquidity"] and filled(made) == 0


@pytest.mark.parametrize(
    ("price", "size"),
    [(0, 5), (-100, 5), (100, 0), (100, -7), (MOST_UNITS + 1, 5), (99, MOST_UNITS + 1), (99, 2**63 - 1)],
)
def test_a_trade_that_makes_no_sense_moves_nothing_and_is_counted(price: int, size: int) -> None:
    made = resting()
    made.feed(trade(2 * S, price, size, sell=True), trade(2 * S + 1, price, size, sell=False))
    assert filled(made) == 0 and ahead(made) == 10
    top = made.engine.books.top[0]
    assert (top[LEFT_OUT], top[TRADED]) == (2, 0)
    assert made.engine.summary()["prints_left_out"] == 2


def test_trades_outside_the_book_give_at_most_their_own_size() -> None:
    made = resting()
    made.feed(trade(2 * S, 1, 3, sell=True))  # far through: it would have met us first
    assert filled(made) == 3
    made.feed(trade(3 * S, 10_000, 50, sell=True))  # a sale far above us met somebody else
    made.feed(trade(4 * S, 10_000, 50, sell=False), trade(4 * S, 1, 50, sell=False))  # buyers do not meet bids
    assert filled(made) == 3


@pytest.mark.parametrize(("price", "moves"), [(99, 20), (100, 20), (101, 0), (102, 0), (103, 0)])
def test_a_trade_without_a_side_counts_only_where_the_quotes_tell_it(price: int, moves: int) -> None:
    made = resting()
    unsided = trade(2 * S, price, 20, sell=False)
    unsided["flags"] |= ev.UNSIDED
    made.feed(unsided)
    assert filled(made) == (4 if moves else 0)
    heard = Script()
    listening = Rig(heard)
    listening.feed(snapshot(1 * MS, BIDS, ASKS), unsided)
    assert heard.all("trade")[0].side is (Side.SELL if price < 101 else Side.BUY)


def test_sizes_that_jump_never_put_us_behind_more_than_is_there() -> None:
    made = resting()
    sizes = [10, 10**15, 3, MOST_UNITS, 7, 0, 10**12, 1]
    least = 10
    for step, size in enumerate(sizes):
        made.feed(depth(2 * S + step, bids=[(100, size)]))
        least = min(least, size)
        place = ahead(made)
        assert place is not None and 0 <= place <= least
    made.feed(trade(3 * S, 100, 2, sell=True))
    assert filled(made) == 2


def test_a_trade_told_twice_counts_once() -> None:
    made = resting()
    print_ = told(trade(2 * S, 100, 7, sell=True, id=5), venue_ns=2 * S)
    made.feed(print_.copy(), print_.copy(), told(trade(2 * S + 9, 100, 7, sell=True, id=5), venue_ns=2 * S))
    assert filled(made) == 0 and ahead(made) == 3
    made.feed(told(trade(2 * S + 10, 100, 7, sell=True, id=6), venue_ns=2 * S))
    assert filled(made) == 4
    assert made.engine.books.top[0, LEFT_OUT] == 2


def test_a_print_from_before_the_order_came_does_not_fill_it() -> None:
    def placed(venue_ns: int) -> Rig:
        made = Rig(
            Script(
                {
                    "start": lambda _, ctx: ctx.timer("go", 1.0),
                    "timer": lambda _, ctx: ctx.order("BTCUSDT", Side.BUY, 4, 100),
                }
            )
        )
        made.feed(snapshot(1 * MS, BIDS, ASKS), told(depth(2 * MS, bids=[(99, 21)]), venue_ns=100 * S), clock(1 * S))
        made.feed(told(trade(2 * S, 99, 50, sell=True), venue_ns=venue_ns))
        return made

    assert filled(placed(90 * S)) == 0  # ten seconds late
    assert filled(placed(99 * S + 500 * MS)) == 4  # within the second that coarse stamps need
    assert filled(placed(101 * S)) == 4
    assert filled(placed(0)) == 4  # the venue gives no time


def test_prices_off_the_tick_are_prices() -> None:
    made = resting(price=101)
    made.feed(depth(2 * S, bids=[(101, 3)]), trade(3 * S, 100, 2, sell=True))
    assert filled(made) == 2
    made.feed(depth(4 * S, asks=[(101, 1)], bids=[(101, 0), (100, 0)]))
    assert filled(made) == 3 and [fact.reason for fact in made.facts(Cancelled)] == []
    assert len(made.facts(Accepted)) == 1


def test_a_batch_of_nonsense_is_survived_and_the_next_snapshot_heals() -> None:
    rng = np.random.default_rng(1)
    made = resting()
    for step in range(300):
        batch = ev.rows(3)
        batch["kind"] = rng.choice([ev.LEVEL, ev.TRADE, ev.CLEAR, ev.MARK, ev.QUOTE], 3)
        batch["flags"] = rng.integers(0, 8, 3)
        batch["price"] = rng.choice([-(2**62), -1, 0, 1, 99, 100, 101, 102, 2**53, 2**62, 2**63 - 1], 3)
        batch["size"] = rng.choice([-(2**62), -1, 0, 1, 5, 2**53, 2**63 - 1], 3)
        batch["recv_ns"], batch["flags"][-1] = 2 * S + step, ev.LAST
        made.feed(batch)
    before = filled(made)
    assert 0 <= before <= 4
    made.feed(snapshot(4 * S, BIDS, ASKS), trade(5 * S, 99, 9, sell=True))
    assert filled(made) == 4
