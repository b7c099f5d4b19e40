"""The simulated exchange without a socket: matching, what moves it, and what it writes."""

from __future__ import annotations

import asyncio
import json
import random

import msgspec
import numpy as np
import pytest

from adapters.market import LevelChange, Market, MarketTrade, SymbolMarket, Top, spec_of
from adapters.market_book import MatchingBook
from adapters.market_client import QUEUE_FRAMES, STREAM_FRAMES, Client
from adapters.market_server import MarketServer
from adapters.market_wire import Streams, amount, exchange_info
from adapters.market_world import CHANGES, REGIMES, Change, World
from engine.core.types import Side

SECOND = 1_000_000_000
MS = 1_000_000


def test_better_prices_trade_first_then_older_orders() -> None:
    book = MatchingBook()
    late_and_best = book.limit(1, Side.SELL, 102, 5)
    older = book.limit(2, Side.SELL, 103, 5)
    newer = book.limit(3, Side.SELL, 103, 5)
    best = book.limit(4, Side.SELL, 101, 5)
    assert book.market(9, Side.BUY, 17) == 0
    assert [(fill.maker, fill.price, fill.size) for fill in book.fills] == [
        (4, 101, 5),
        (1, 102, 5),
        (2, 103, 5),
        (3, 103, 2),
    ]
    assert [each.size for each in (late_and_best, older, newer, best)] == [0, 0, 3, 0]


def test_limit_order_trades_up_to_its_price_and_rests_the_remainder() -> None:
    book = MatchingBook()
    book.limit(1, Side.SELL, 101, 5)
    book.limit(1, Side.SELL, 103, 5)
    order = book.limit(2, Side.BUY, 102, 8)
    assert order.size == 3
    assert book.bids.depth(5) == [(102, 3)] and book.asks.depth(5) == [(103, 5)]
    assert book.changed == {(Side.SELL, 101), (Side.SELL, 103), (Side.BUY, 102)}


def test_market_order_drops_what_finds_nobody() -> None:
    book = MatchingBook()
    assert book.market(1, Side.BUY, 4) == 4
    assert book.update_id == 0
    book.limit(2, Side.SELL, 10, 3)
    assert book.market(1, Side.BUY, 4) == 1
    assert book.asks.best == 0 and book.asks.best_size == 0 and book.mid2 == 0


def test_cancel_takes_the_rest_out_once() -> None:
    book = MatchingBook()
    order = book.limit(1, Side.BUY, 10, 4)
    book.market(2, Side.SELL, 1)
    update_id = book.update_id
    assert book.cancel(order) and not book.cancel(order)
    assert book.bids.depth(1) == [] and book.update_id == update_id + 1


@pytest.mark.parametrize(("price", "size"), [(0, 1), (1, 0), (-1, 5), (5, -1)])
def test_orders_without_a_price_or_size_are_refused(price: int, size: int) -> None:
    book = MatchingBook()
    with pytest.raises(ValueError, match="above 0"):
        book.limit(1, Side.BUY, price, size)
    if size <= 0:
        with pytest.raises(ValueError, match="above 0"):
            book.market(1, Side.BUY, size)
    assert book.update_id == 0


def test_middle_of_a_one_sided_book_is_the_side_that_is_there() -> None:
    book = MatchingBook()
    book.limit(1, Side.BUY, 10, 1)
    assert book.mid2 == 20
    book.limit(1, Side.SELL, 13, 1)
    assert book.mid2 == 23


def test_a_known_symbol_has_its_own_grid_and_any_other_a_sensible_one() -> None:
    assert amount(1, spec_of("BTCUSDT").tick) == "0.50000000"
    assert amount(1, spec_of("ETHUSDT").lot) == "0.00010000"
    odd = spec_of("ABCXYZ")
    assert (odd.base, odd.quote) == ("ABCXYZ", "USDT")
    for wrong in ("btcusdt", "", "BTC/USDT", "X" * 21):
        with pytest.raises(ValueError, match="BTCUSDT"):
            spec_of(wrong)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_of_regime_comes_at_its_time_and_nothing_is_otherwise_before(kind: str) -> None:
    change = Change(after_ns=20 * SECOND, kind=kind)
    plain, changed, later = (
        Market(["BTCUSDT"], seed=3, start_ns=0, change=each)["BTCUSDT"]
        for each in (Change(after_ns=10**18, kind=kind), change, msgspec.structs.replace(change, after_ns=10**18))
    )
    assert plain.advance(19 * SECOND) == changed.advance(19 * SECOND) == later.advance(19 * SECOND)
    assert plain.advance(40 * SECOND) == later.advance(40 * SECOND) != changed.advance(40 * SECOND)
    assert [name for _, name in later.world.changes] == ["calm"] * len(later.world.changes)
    names = [(ns >= 20 * SECOND, name) for ns, name in changed.world.changes]
    assert {name for after, name in names if after} == {f"calm, {'turned' if kind == 'turn' else 'stormy'}"}


def test_after_a_turn_moves_tell_the_opposite_of_what_they_told() -> None:
    told = []
    for after_ns in (10**18, 0):
        market = Market(["BTCUSDT"], seed=3, start_ns=0, change=Change(after_ns=after_ns, kind="turn"))["BTCUSDT"]
        mids = []
        for step in range(2400):
            market.advance(30 * SECOND + step * 100 * MS)
            mids.append(market.book.mid2 / 2)
        mid = np.array(mids)
        told.append(np.corrcoef(mid[5:-10] - mid[:-15], mid[15:] - mid[5:-10])[0, 1])
    assert told[0] > 0.3 and told[1] < -0.4


def test_a_storm_moves_the_price_three_times_as_much() -> None:
    moved = []
    for after_ns in (10**18, 0):
        world = World(spec_of("BTCUSDT"), random.Random(1), Change(after_ns=after_ns, kind="storm"))
        prices = []
        for step in range(4000):
            world.act(step * 50 * MS)
            prices.append(world.price)
        moved.append(np.abs(np.diff(prices)).mean())
    assert 2.0 < moved[1] / moved[0] < 4.0


@pytest.fixture(scope="module")
def watched() -> tuple[SymbolMarket, list[tuple[float, float, int, int, str]]]:
    """Ten minutes of a market after its warm-up, looked at each 100 ms: mid, imbalance, spread, levels, regime."""
    market = Market(["BTCUSDT"], seed=3, start_ns=0)["BTCUSDT"]
    market.advance(30 * SECOND)
    looks = []
    for step in range(6_000):
        market.advance(30 * SECOND + (step + 1) * 100 * MS)
        bids, asks = market.book.bids, market.book.asks
        imbalance = (bids.best_size - asks.best_size) / (bids.best_size + asks.best_size)
        levels = min(len(bids.keys), len(asks.keys))
        looks.append((market.book.mid2 / 2, imbalance, asks.best - bids.best, levels, market.world.regime.name))
    return market, looks


def test_book_is_tight_and_deep(watched: tuple[SymbolMarket, list[tuple[float, float, int, int, str]]]) -> None:
    _, looks = watched
    spreads = np.array([look[2] for look in looks])
    assert spreads.min() >= 1
    assert (spreads <= 3).mean() > 0.9
    assert np.mean([look[3] for look in looks]) > 50


def test_imbalance_tells_of_the_next_second(
    watched: tuple[SymbolMarket, list[tuple[float, float, int, int, str]]],
) -> None:
    _, looks = watched
    mids, imbalances = np.array([look[0] for look in looks]), np.array([look[1] for look in looks])
    moves = mids[10:] - mids[:-10]
    assert 0.05 < np.corrcoef(imbalances[:-10], moves)[0, 1] < 0.6


def test_regimes_change_and_differ(watched: tuple[SymbolMarket, list[tuple[float, float, int, int, str]]]) -> None:
    market, looks = watched
    names = np.array([look[4] for look in looks[10:]])
    mids = np.array([look[0] for look in looks])
    moves = mids[10:] - mids[:-10]
    assert set(names) <= {regime.name for regime in REGIMES} and len(set(names)) >= 4
    assert len(market.world.changes) >= 5
    assert moves[names == "wild"].std() > 1.5 * moves[names == "calm"].std()
    assert moves[names == "rising"].mean() > 0 > moves[names == "falling"].mean()


def test_agents_hold_what_others_sold(
    watched: tuple[SymbolMarket, list[tuple[float, float, int, int, str]]],
) -> None:
    market, _ = watched
    assert sum(market.book.positions.values()) == 0
    assert len(market.book.positions) == 9


def test_events_come_in_order_and_the_top_is_that_of_the_book() -> None:
    market = Market(["BTCUSDT", "ETHUSDT"], seed=5, start_ns=1_000)
    events = market.advance(3 * SECOND)
    assert [event.ns for event in events] == sorted(event.ns for event in events)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        ids = [event.update_id for event in events if event.symbol == symbol and not isinstance(event, MarketTrade)]
        assert ids == sorted(ids)
        trades = [event.trade_id for event in events if event.symbol == symbol and isinstance(event, MarketTrade)]
        assert trades == list(range(1, len(trades) + 1)) and trades
        top = [event for event in events if event.symbol == symbol and isinstance(event, Top)][-1]
        book = market[symbol].book
        assert (top.bid, top.bid_size, top.ask, top.ask_size) == (
            book.bids.best,
            book.bids.best_size,
            book.asks.best,
            book.asks.best_size,
        )


def test_frames_are_written_as_binance_does() -> None:
    streams = Streams(Market(["BTCUSDT"], seed=1, start_ns=0)["BTCUSDT"])
    frames = streams.frames(
        [
            MarketTrade("BTCUSDT", 1_700_000_000_123_456_789, 7, Side.SELL, 120_001, 1_500),
            Top("BTCUSDT", 1, 42, 120_000, 5, 120_001, 6),
            LevelChange("BTCUSDT", 1, 42, Side.BUY, 1, 0),
        ]
    )
    assert frames == [
        (
            "btcusdt@trade",
            '{"e":"trade","E":1700000000123,"s":"BTCUSDT","t":7,"p":"60000.50000000","q":"0.01500000",'
            '"T":1700000000123,"m":true,"M":true}',
        ),
        (
            "btcusdt@bookTicker",
            '{"u":42,"s":"BTCUSDT","b":"60000.00000000","B":"0.00005000","a":"60000.50000000","A":"0.00006000"}',
        ),
    ]
    ((name, payload),) = streams.depth_frames(100 * MS)
    last = streams._market.book.update_id
    assert name == "btcusdt@depth@100ms"
    assert payload == (
        f'{{"e":"depthUpdate","E":100,"s":"BTCUSDT","U":1,"u":{last},"b":[["0.50000000","0.00000000"]],"a":[]}}'
    )
    assert [each for each, _ in streams.depth_frames(1000 * MS)] == ["btcusdt@depth@1000ms", "btcusdt@depth"]
    assert streams.depth_frames(2000 * MS) == []


def test_exchange_info_names_tick_and_lot() -> None:
    page = json.loads(exchange_info([spec_of("BTCUSDT"), spec_of("SOLUSDT")], 5 * MS))
    assert page["serverTime"] == 5
    assert [symbol["symbol"] for symbol in page["symbols"]] == ["BTCUSDT", "SOLUSDT"]
    filters = {each["filterType"]: each for each in page["symbols"][0]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.50000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"


def answers(client: Client, *texts: str) -> list[object]:
    """What a client is told, as JSON values."""
    for text in texts:
        client.asked(text)
    found = []
    while not client._queue.empty():
        found.append(msgspec.json.decode(client._queue.get_nowait()))
    return found


def test_subscriptions_are_kept_listed_and_given_up() -> None:
    client = Client(["a@trade"], False)
    assert answers(
        client,
        '{"method":"SUBSCRIBE","params":["b@trade","c@depth"],"id":1}',
        '{"method":"UNSUBSCRIBE","params":["a@trade","never@trade"],"id":"two"}',
        '{"method":"LIST_SUBSCRIPTIONS","id":3}',
        '{"method":"GET_PROPERTY","params":["combined"],"id":4}',
        '{"method":"SET_PROPERTY","params":["combined",true],"id":5}',
    ) == [
        {"result": None, "id": 1},
        {"result": None, "id": "two"},
        {"result": ["b@trade", "c@depth"], "id": 3},
        {"result": False, "id": 4},
        {"result": None, "id": 5},
    ]
    client.tell([("a@trade", "1"), ("b@trade", "2")])
    assert answers(client) == [{"stream": "b@trade", "data": 2}]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 3),
        ("[" * 100_000, 3),
        ("[]", 2),
        ('{"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":["a"],"id":-1}', 2),
        ('{"method":"SUBSCRIBE","params":["a"],"id":true}', 2),
        ('{"method":"HELLO","id":1}', 2),
        ('{"method":"SUBSCRIBE","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":"a","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2),
        ('{"method":"SET_PROPERTY","params":["other",true],"id":1}', 0),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1),
        (json.dumps({"method": "SUBSCRIBE", "params": [str(each) for each in range(1025)], "id": 1}), 2),
    ],
)
def test_wrong_requests_are_refused_with_a_code(text: str, code: int) -> None:
    client = Client([], False)
    (answer,) = answers(client, text)
    assert isinstance(answer, dict) and answer["error"]["code"] == code
    assert client.names == {}


def test_a_client_that_falls_behind_is_given_up() -> None:
    client = Client(["a"], False)
    client.tell([("a", "1")] * QUEUE_FRAMES)
    was_slow = client.is_slow
    client.tell([("a", "1")] * 3)
    assert (was_slow, client.is_slow) == (False, True)
    assert [client._queue.get_nowait() for _ in range(client._queue.qsize())] == []


def test_who_listens_to_much_may_be_owed_more() -> None:
    symbols = [f"S{number:02d}USDT" for number in range(100)]
    market = Market(symbols, 1, 0)
    names = [f"{symbol.lower()}@{kind}" for symbol in symbols for kind in ("depth@100ms", "trade", "bookTicker")]
    client = Client(names, True)
    for symbol in market.symbols.values():  # what a market that stalled for two seconds makes up for at once
        streams = Streams(symbol)
        streams.start()
        client.tell(streams.frames(symbol.advance(2 * SECOND)))
    assert client._queue.qsize() > QUEUE_FRAMES and not client.is_slow
    client.tell([(names[0], "{}")] * STREAM_FRAMES * len(names))
    assert client.is_slow


async def test_a_market_that_stalled_catches_up_in_parts_and_others_get_a_turn_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = MarketServer(["BTCUSDT"], seed=1, warm_up_s=0.0)
    parts: list[int] = []
    turns: list[int] = []
    advance = server.advance

    def look(until_ns: int) -> None:
        parts.append(until_ns - server.now_ns)
        turns.append(0)
        advance(until_ns)

    async def beside() -> None:
        while True:
            await asyncio.sleep(0)
            if turns:
                turns[-1] += 1

    monkeypatch.setattr(server, "advance", look)
    pacing, other = asyncio.create_task(server.pace()), asyncio.create_task(beside())
    await asyncio.sleep(0)  # it has looked at the time
    server.now_ns -= SECOND
    async with asyncio.timeout(30.0):
        while len(parts) < 10:
            await asyncio.sleep(0)
    for task in (pacing, other):
        task.cancel()
    await asyncio.gather(pacing, other, return_exceptions=True)
    assert max(parts) <= 100 * MS
    assert all(turns[:9]), turns
