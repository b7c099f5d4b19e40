"""What always holds on the simulated exchange, whatever is ordered and however its time is divided."""

from __future__ import annotations

import json
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.market import Event, LevelChange, Market, MarketTrade, Top
from adapters.market_book import Half, MatchingBook, Order
from adapters.market_wire import Streams
from engine.core.types import Side

MS = 1_000_000


class Ask(NamedTuple):
    """A command: a limit order, a market order (price 0), or a cancel (size 0) of the order at ``pick``."""

    owner: int
    side: Side
    price: int
    size: int
    pick: int


asks = st.builds(
    Ask,
    owner=st.integers(1, 4),
    side=st.sampled_from(Side),
    price=st.one_of(st.just(0), st.integers(1, 12), st.integers(4, 8)),
    size=st.one_of(st.just(0), st.integers(1, 20)),
    pick=st.integers(0, 50),
)


class Plain:
    """The same rules as one slow list: the reference."""

    def __init__(self) -> None:
        self.resting: list[list[int]] = []  # [number, side, price, size], oldest first
        self.number = 0

    def order(self, side: Side, price: int, size: int) -> list[tuple[int, int, int]]:
        """Trades as (number of the resting order, price, size)."""
        trades = []
        for other in sorted(
            (each for each in self.resting if each[1] == -side), key=lambda each: (each[2] * side, each[0])
        ):
            if not size or (price and other[2] * side > price * side):
                break
            traded = min(size, other[3])
            other[3] -= traded
            size -= traded
            trades.append((other[0], other[2], traded))
        self.resting = [each for each in self.resting if each[3]]
        if price:
            self.number += 1
            if size:
                self.resting.append([self.number, int(side), price, size])
        return trades

    def levels(self, side: Side) -> list[tuple[int, int]]:
        totals: dict[int, int] = {}
        for _, its, price, size in self.resting:
            if its == side:
                totals[price] = totals.get(price, 0) + size
        return sorted(totals.items(), reverse=side is Side.BUY)


def check(half: Half) -> None:
    """The inside of a side is sound."""
    assert half.keys == sorted(price * half.sign for price in half.levels)
    for level in half.levels.values():
        assert level.orders and level.total == sum(order.size for order in level.orders.values())
        assert all(order.size > 0 for order in level.orders.values())
        assert list(level.orders) == sorted(level.orders)


@given(st.lists(asks, max_size=60))
def test_matching_is_price_then_time_and_conserves(commands: list[Ask]) -> None:
    book, plain = MatchingBook(), Plain()
    orders: list[Order] = []
    owners: dict[int, int] = {}
    position = dict.fromkeys(range(1, 5), 0)
    for owner, side, price, size, pick in commands:
        before = book.update_id
        fills_before = len(book.fills)
        if not size:
            if orders:
                order = orders[pick % len(orders)]
                plain.resting = [each for each in plain.resting if each[0] != order.number]
                book.cancel(order)
            expected = []
        elif price:
            expected = plain.order(side, price, size)
            orders.append(book.limit(owner, side, price, size))
            owners[orders[-1].number] = owner
        else:
            expected = plain.order(side, 0, size)
            book.market(owner, side, size)
        fills = book.fills[fills_before:]
        assert [(fill.maker, fill.price, fill.size) for fill in fills] == [
            (owners[number], at, traded) for number, at, traded in expected
        ]
        for fill in fills:
            position[fill.taker] += fill.size * fill.side
            position[fill.maker] -= fill.size * fill.side
        assert book.bids.depth(99) == plain.levels(Side.BUY)
        assert book.asks.depth(99) == plain.levels(Side.SELL)
        assert not (book.bids.keys and book.asks.keys) or book.bids.best < book.asks.best
        check(book.bids)
        check(book.asks)
        assert before <= book.update_id <= before + 1
        assert bool(fills) <= (book.update_id > before)
    assert {owner: held for owner, held in position.items() if held} == {
        owner: held for owner, held in book.positions.items() if held
    }
    assert sum(book.positions.values()) == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 700), min_size=1, max_size=12), st.integers(0, 2**60))
def test_same_seed_same_stream_however_time_is_divided(seed: int, steps: list[int], start_ns: int) -> None:
    symbols = ["BTCUSDT", "XYZUSDT"]
    divided, whole = Market(symbols, seed, start_ns), Market(symbols, seed, 0)
    now_ns, events = start_ns, list[Event]()
    for step in steps:
        now_ns += step * MS
        events += divided.advance(now_ns)
    assert [event._replace(ns=event.ns - start_ns) for event in events] == whole.advance(now_ns - start_ns)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_events_alone_rebuild_a_book_that_never_crosses(seed: int) -> None:
    market = Market(["ETHUSDT"], seed, 0)
    sides: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}
    for event in market.advance(3_000 * MS):
        if isinstance(event, LevelChange):
            assert event.size >= 0
            sides[event.side][event.price] = event.size
            if not event.size:
                del sides[event.side][event.price]
        elif isinstance(event, Top):
            bid, ask = max(sides[Side.BUY]), min(sides[Side.SELL])
            assert bid < ask
            assert event[3:] == (bid, sides[Side.BUY][bid], ask, sides[Side.SELL][ask])
        else:
            assert isinstance(event, MarketTrade) and event.size > 0
    book = market["ETHUSDT"].book
    assert sorted(sides[Side.BUY].items(), reverse=True) == book.bids.depth(10_000)
    assert sorted(sides[Side.SELL].items()) == book.asks.depth(10_000)
    assert sum(book.positions.values()) == 0


def levels(page: list[list[str]]) -> dict[str, str]:
    return {each[0]: each[1] for each in page}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 29), st.sampled_from(["@depth@100ms", "@depth@1000ms"]))
def test_differences_on_a_snapshot_are_the_book(seed: int, taken: int, speed: str) -> None:
    """A snapshot taken at any moment, and the differences after it by Binance's rules, give the book of the end."""
    market = Market(["BTCUSDT"], seed, 0)["BTCUSDT"]
    market.advance(500 * MS)
    streams = Streams(market)
    streams.start()
    snapshot, differences = "", list[str]()
    for step in range(6, 31):
        stop_ns = step * 100 * MS
        events = market.advance(stop_ns - 37 * MS)
        if step == 6 + taken % 25:
            snapshot = streams.snapshot(5_000)
        for part in (events, market.advance(stop_ns)):
            streams.frames(part)
        differences += [payload for name, payload in streams.depth_frames(stop_ns) if name == "btcusdt" + speed]
    page = json.loads(snapshot)
    book = {"b": levels(page["bids"]), "a": levels(page["asks"])}
    follows = None
    for difference in map(json.loads, differences):
        assert follows is None or difference["U"] == follows + 1
        follows = difference["u"]
        if difference["u"] <= page["lastUpdateId"]:
            continue
        for side in ("b", "a"):
            book[side].update(levels(difference[side]))
    empty = "0.00000000"
    end = json.loads(streams.snapshot(5_000))
    assert end["lastUpdateId"] == follows
    assert {price: size for price, size in book["b"].items() if size != empty} == levels(end["bids"])
    assert {price: size for price, size in book["a"].items() if size != empty} == levels(end["asks"])
