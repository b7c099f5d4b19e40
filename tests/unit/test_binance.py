"""Binance beside the golden conversation: odd orders, errors, and channels that tell the same twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from adapters.binance import BinanceCoinm, BinanceSpot, BinanceUsdm
from adapters.binance_book import BUFFERED_FRAMES
from adapters.contract import Fetch, MalformedFrame, Output, SubscriptionRefused, Venue, VenueFault
from adapters.entry import Entry, EntryKind
from adapters.feed import Feed
from engine.core.events import CLEAR, DOWN, GAP, LEVEL, READY, SEQUENCE, STALE_SNAPSHOT, TRADE, UP
from engine.core.types import Instrument

S = 1_000_000_000
BTC = Instrument(venue="b", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)
PERP = Instrument(venue="c", symbol="BTCUSD_PERP", base="BTC", quote="USD", price_decimals=1, size_decimals=0)


def spot() -> BinanceSpot:
    venue = BinanceSpot({"BTCUSDT": (0, BTC)})
    venue.opened(1)
    return venue


def usdm() -> BinanceUsdm:
    venue = BinanceUsdm({"BTCUSDT": (0, BTC)})
    venue.opened(1)
    return venue


def depth(
    first: int, last: int, previous: int | None = None, *, bids: str = '[["99.5","2"]]', time: int = 17 * 10**11
) -> bytes:
    pu = "" if previous is None else f'"pu":{previous},'
    return (
        f'{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{time},"s":"BTCUSDT","U":{first},'
        f'"u":{last},{pu}"b":{bids},"a":[]}}}}'
    ).encode()


def snapshot(last_id: int) -> bytes:
    return b'{"lastUpdateId":%d,"bids":[["99","1"]],"asks":[["101","1"]]}' % last_id


def trade(channel: str, fields: str) -> bytes:
    data = f'"s":"BTCUSDT","p":"100","q":"1","T":1700000000000,"m":false,{fields}'
    return f'{{"stream":"btcusdt@{channel}","data":{{{data}}}}}'.encode()


def kinds(outputs: Sequence[Output]) -> list[int]:
    return [int(kind) for each in outputs if isinstance(each, np.ndarray) for kind in each["kind"]]


def fetches(outputs: Sequence[Output]) -> list[Fetch]:
    return [each for each in outputs if isinstance(each, Fetch)]


def ready(venue: Venue, last: int = 10) -> None:
    previous = last - 5 if isinstance(venue, BinanceUsdm) else None
    venue.received(depth(last - 4, last, previous), 2 * S)
    assert kinds(venue.replied("depth:BTCUSDT", snapshot(last - 1), 3 * S))[-1] == READY


def test_the_first_difference_when_it_comes_then_the_snapshot_is_fetched_once() -> None:
    venue = spot()
    (fetch,) = fetches(venue.received(depth(1, 2), 5 * S))
    assert fetch == Fetch("https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000", "depth:BTCUSDT", 5 * S)
    assert venue.received(depth(3, 4), 6 * S) == []


@pytest.mark.parametrize(("last_id", "expected"), [(4, [GAP]), (5, [CLEAR]), (8, [CLEAR]), (9, [CLEAR]), (10, [])])
def test_a_spot_snapshot_when_it_meets_the_buffer_then_it_bridges_or_not(last_id: int, expected: list[int]) -> None:
    venue = spot()
    venue.received(depth(6, 10), 2 * S)
    outputs = venue.replied("depth:BTCUSDT", snapshot(last_id), 3 * S)
    assert kinds(outputs)[:1] == expected
    if expected == [GAP]:
        assert isinstance(outputs[0], np.ndarray) and outputs[0]["reason"][0] == STALE_SNAPSHOT
        assert fetches(outputs)[0].not_before_ns == 4 * S
    if expected == []:  # newer than all at hand: the next difference bridges it
        assert kinds(venue.received(depth(11, 12), 4 * S)) == [CLEAR, LEVEL, LEVEL, LEVEL, READY]


@pytest.mark.parametrize(("last_id", "expected"), [(4, [GAP]), (5, [CLEAR]), (6, [CLEAR]), (10, [CLEAR]), (11, [])])
def test_a_futures_snapshot_when_it_meets_the_buffer_then_it_bridges_or_not(last_id: int, expected: list[int]) -> None:
    venue = usdm()
    venue.received(depth(6, 10, 5), 2 * S)
    assert kinds(venue.replied("depth:BTCUSDT", snapshot(last_id), 3 * S))[:1] == expected


def test_buffered_differences_when_they_bridge_then_only_the_newer_ones_are_applied_in_one_frame() -> None:
    venue = spot()
    for number in range(1, 6):
        venue.received(depth(number, number, bids=f'[["{number}","1"]]'), number * S)
    (batch,) = venue.replied("depth:BTCUSDT", snapshot(3), 9 * S)
    assert isinstance(batch, np.ndarray)
    assert batch["price"].tolist() == [0, 9900, 10100, 400, 500, 0]
    assert set(batch["recv_ns"].tolist()) == {9 * S} and int(batch["id"][-1]) == 5
    assert [bool(flags & 128) for flags in batch["flags"]] == [False] * 5 + [True]


@pytest.mark.parametrize("frame", [depth(12, 13), depth(13, 13)])
def test_a_spot_chain_when_it_breaks_then_gap_fetch_and_silence_until_ready(frame: bytes) -> None:
    venue = spot()
    ready(venue)
    outputs = venue.received(frame, 4 * S)
    assert kinds(outputs) == [GAP] and len(fetches(outputs)) == 1
    assert isinstance(outputs[0], np.ndarray) and outputs[0]["reason"][0] == SEQUENCE
    assert kinds(venue.received(depth(14, 15), 5 * S)) == []
    assert kinds(venue.replied("depth:BTCUSDT", snapshot(13), 6 * S))[-1] == READY


def test_a_futures_chain_when_pu_differs_then_gap() -> None:
    venue = usdm()
    ready(venue)
    assert kinds(venue.received(depth(20, 21, 10), 4 * S)) == [LEVEL]
    assert kinds(venue.received(depth(30, 31, 22), 5 * S)) == [GAP]


def test_a_gap_while_buffering_when_it_happens_then_the_buffer_starts_again() -> None:
    venue = spot()
    venue.received(depth(1, 2), 2 * S)
    assert kinds(venue.received(depth(5, 6), 3 * S)) == [GAP]
    assert kinds(venue.replied("depth:BTCUSDT", snapshot(2), 4 * S)) == [GAP]  # older than what is left
    assert kinds(venue.replied("depth:BTCUSDT", snapshot(5), 5 * S))[-1] == READY


def test_a_malformed_difference_when_the_book_is_ready_then_the_next_one_is_a_gap() -> None:
    venue = spot()
    ready(venue)
    with pytest.raises(MalformedFrame):
        venue.received(depth(11, 12, bids='[["99.5","-2"]]'), 4 * S)
    assert kinds(venue.received(depth(13, 14), 5 * S)) == [GAP]


def test_a_later_snapshot_when_the_book_is_ready_then_it_is_left_alone() -> None:
    venue = spot()
    ready(venue)
    for body in (snapshot(3), snapshot(500), b"", b"broken", b'{"code":-1003,"msg":"Too many requests"}'):
        assert venue.replied("depth:BTCUSDT", body, 4 * S) == ()
    assert kinds(venue.received(depth(11, 12), 5 * S)) == [LEVEL]


def test_an_unsolicited_snapshot_when_it_comes_first_then_the_first_difference_bridges_it() -> None:
    venue = spot()
    assert venue.replied("depth:BTCUSDT", snapshot(8), 1 * S) == ()
    assert kinds(venue.received(depth(6, 10), 2 * S))[-1] == READY


def test_the_buffer_when_no_snapshot_ever_comes_then_it_stays_bounded() -> None:
    venue = spot()
    for number in range(1, BUFFERED_FRAMES + 101):
        venue.received(depth(number, number), number)
    assert kinds(venue.replied("depth:BTCUSDT", snapshot(50), 9 * S)) == [GAP]
    assert kinds(venue.replied("depth:BTCUSDT", snapshot(BUFFERED_FRAMES), 9 * S))[-1] == READY


def test_the_snapshot_when_it_does_not_come_then_it_is_asked_again_by_the_clock() -> None:
    venue = spot()
    venue.received(depth(1, 2), 2 * S)
    assert fetches(venue.ticked(10 * S)) == []
    assert [fetch.not_before_ns for fetch in fetches(venue.ticked(20 * S))] == [21 * S]
    assert fetches(venue.ticked(30 * S)) == []


def test_a_doubted_book_when_said_then_it_is_synchronised_again() -> None:
    venue = spot()
    assert venue.doubted(0, 1) == ()
    ready(venue)
    assert venue.doubted(7, 4 * S) == ()
    assert len(fetches(venue.doubted(0, 4 * S))) == 1
    assert kinds(venue.received(depth(11, 12), 5 * S)) == []
    assert kinds(venue.replied("depth:BTCUSDT", snapshot(12), 6 * S)) == []
    assert kinds(venue.received(depth(13, 14), 7 * S))[-1] == READY


def test_trades_when_both_channels_tell_them_then_each_counts_once() -> None:
    venue = spot()
    assert kinds(venue.received(trade("aggTrade", '"a":7,"f":100,"l":102'), 1)) == [TRADE]
    assert kinds(venue.received(trade("trade", '"t":102'), 2)) == []
    assert kinds(venue.received(trade("trade", '"t":103'), 3)) == [TRADE]
    assert kinds(venue.received(trade("aggTrade", '"a":8,"f":103,"l":104'), 4)) == []
    assert kinds(venue.received(trade("trade", '"t":103'), 5)) == []
    with pytest.raises(MalformedFrame):
        venue.received(trade("aggTrade", '"a":"x","f":1,"l":2'), 6)


def test_an_aggregate_trade_when_used_then_its_own_id_is_kept() -> None:
    (batch,) = spot().received(trade("aggTrade", '"a":7,"f":100,"l":102'), 1)
    assert isinstance(batch, np.ndarray) and int(batch["id"][0]) == 7


def test_a_futures_trade_when_it_is_not_of_the_market_then_nothing() -> None:
    assert usdm().received(trade("trade", '"t":1,"X":"INSURANCE_FUND"'), 1) == ()


@pytest.mark.parametrize(
    ("time", "venue_ns"),
    [(1_700_000_000_123, 1_700_000_000_123_000_000), (1_700_000_000_123_456, 1_700_000_000_123_456_000)],
)
def test_a_time_when_in_milliseconds_or_microseconds_then_ns(time: int, venue_ns: int) -> None:
    venue = spot()
    ready(venue)
    (batch,) = venue.received(depth(11, 12, time=time), 4 * S)
    assert isinstance(batch, np.ndarray) and int(batch["venue_ns"][0]) == venue_ns


def test_a_raw_payload_when_it_comes_without_a_stream_then_it_is_read_too() -> None:
    venue = spot()
    ready(venue)
    raw = depth(11, 12).partition(b'"data":')[2][:-1]
    assert kinds(venue.received(raw, 4 * S)) == [LEVEL]


def test_frames_beside_the_streams_when_they_come_then_each_has_its_answer() -> None:
    venue = spot()
    assert venue.received(b'{"result":null,"id":1}', 1) == ()
    with pytest.raises(SubscriptionRefused, match="Invalid request"):
        venue.received(b'{"error":{"code":2,"msg":"Invalid request"},"id":1}', 1)
    with pytest.raises(VenueFault, match="shut down"):
        venue.received(b'{"stream":"btcusdt@x","data":{"e":"serverShutdown"}}', 1)
    with pytest.raises(VenueFault):
        venue.received(b'{"e":"serverShutdown","E":1700000000000}', 1)
    assert venue.received(b'{"stream":"!ticker@arr","data":[1,2]}', 1) == ()
    assert venue.received(depth(1, 2).replace(b"btcusdt", b"ethusdt"), 1) == ()
    assert venue.unknown == 2
    for frame in (b"", b"null", b"[]", b"{}", b"\xff", b'{"stream":"btcusdt@trade","data":[]}'):
        with pytest.raises(MalformedFrame):
            venue.received(frame, 1)


def test_an_unknown_reply_when_it_comes_then_it_is_counted() -> None:
    venue = spot()
    assert venue.replied("depth:ETHUSDT", b"{}", 1) == () and venue.replied("x", b"", 1) == ()
    assert venue.unknown == 2


def test_addresses_when_made_then_they_are_the_documented_ones() -> None:
    assert BinanceSpot.websocket_url("", ["BTCUSDT", "ETHBTC"]) == (
        "wss://stream.binance.com:9443/stream?streams=btcusdt@depth@100ms/ethbtc@depth@100ms/btcusdt@trade/"
        "ethbtc@trade/btcusdt@bookTicker/ethbtc@bookTicker"
    )
    assert BinanceCoinm.instruments_url("") == "https://dapi.binance.com/dapi/v1/exchangeInfo"
    assert BinanceUsdm.token_of("https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT&limit=1000") == "depth:BTCUSDT"
    assert BinanceUsdm.token_of("https://fapi.binance.com/fapi/v1/exchangeInfo") is None


def test_a_feed_when_the_venue_faults_then_it_is_deaf_until_it_opens_again() -> None:
    feed = Feed("b", BinanceSpot, {"BTCUSDT": (0, BTC)})

    def apply(kind: EntryKind, data: bytes = b"", token: str = "") -> list[int]:
        return kinds(feed.apply(Entry(kind, 5, "b", token, data)))

    assert apply(EntryKind.RECEIVED, depth(1, 2)) == [] and apply(EntryKind.LOST) == []
    assert apply(EntryKind.OPENED) == [UP]
    assert apply(EntryKind.RECEIVED, b'{"e":"serverShutdown"}') == [] and isinstance(feed.fault, VenueFault)
    assert apply(EntryKind.RECEIVED, depth(1, 2)) == []
    assert apply(EntryKind.LOST, token="connection") == [DOWN]
    assert apply(EntryKind.OPENED) == [UP]
    assert apply(EntryKind.REPLIED, snapshot(8), "instruments") == []
    assert apply(EntryKind.REPLIED, snapshot(8), "depth:BTCUSDT") == []
    assert apply(EntryKind.RECEIVED, depth(6, 10))[-1] == READY
    assert apply(EntryKind.RECEIVED, depth(12, 13)) == [GAP]
    assert apply(EntryKind.DOUBTED, token="0") == [] and apply(EntryKind.TICKED) == [] and apply(EntryKind.CLOCK) == []
    assert apply(EntryKind.RECEIVED, b"{") == []
    stats = feed.stats
    assert (stats.frames, stats.gaps, stats.reconnects, stats.malformed) == (4, 1, 1, 1)
    assert stats.malformed_samples[0][2] == b"{"
