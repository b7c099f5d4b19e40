"""What Binance tells of the past: pages of trades and bars, whole or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.binance import BinanceCoinm, BinanceSpot, BinanceUsdm
from adapters.binance_missed import LONGEST_NS, ROWS
from adapters.contract import MalformedFrame, Venue
from adapters.plain import Plain
from engine.core.types import Instrument

MS = 1_000_000
NOW = 1_700_000_000_123 * MS
BTC = Instrument(venue="b", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)


def trade(number: int, ms: int, price: str = "61737.63", size: str = "0.00100", *, made: bool = True) -> dict[str, Any]:
    return {"a": number, "p": price, "q": size, "f": number, "l": number, "T": ms, "m": made, "M": True}


@pytest.mark.parametrize(
    ("venue", "base"),
    [
        (BinanceSpot, "https://x/api/v3"),
        (BinanceUsdm, "https://x/fapi/v1"),
        (BinanceCoinm, "https://x/dapi/v1"),
    ],
)
def test_where_it_is_asked(venue: type[Venue], base: str) -> None:
    url = venue.missed_url("https://x/", "BTCUSDT", NOW, NOW + 5_000 * MS)
    assert url == f"{base}/aggTrades?symbol=BTCUSDT&startTime=1700000000124&endTime=1700000005123&limit=1000"
    url = venue.missed_url("https://x", "BTCUSDT", NOW, NOW + LONGEST_NS + 1)
    assert url == f"{base}/klines?symbol=BTCUSDT&interval=1m&startTime=1700000040000&endTime=1700003540123&limit=1000"


def test_a_page_of_trades_in_units() -> None:
    body = json.dumps([trade(1, 1_700_000_000_200), trade(2, 1_700_000_000_300, made=False)]).encode()
    page = BinanceSpot.parse_missed("https://x/aggTrades?symbol=S", body, BTC, NOW + 10**9)
    assert page.prints == [
        (1_700_000_000_200 * MS, 6_173_763, 100, -1, 1),
        (1_700_000_000_300 * MS, 6_173_763, 100, 1, 2),
    ]
    assert page.more == ""


def test_a_full_page_has_another_behind_it_and_one_that_reaches_the_end_has_not() -> None:
    rows = [trade(number, 1_700_000_000_200 + number) for number in range(ROWS)]
    body, url = json.dumps(rows).encode(), "https://x/aggTrades?symbol=S&startTime=1&endTime=2&limit=1000"
    page = BinanceSpot.parse_missed(url, body, BTC, NOW + 10**10)
    assert (len(page.prints), page.more) == (ROWS, f"https://x/aggTrades?symbol=S&fromId={ROWS}&limit=1000")
    page = BinanceSpot.parse_missed(url, body, BTC, 1_700_000_000_700 * MS)
    assert (len(page.prints), page.more) == (501, "")


def test_bars_that_lie_in_the_window_whole() -> None:
    start = 1_700_000_040_000
    rows = [
        [start + 60_000 * n, "1.00", "3.50", "0.50", "2.00", "9", start + 60_000 * (n + 1) - 1, "0", 1, "0", "0", "0"]
        for n in range(3)
    ]
    page = BinanceSpot.parse_missed("https://x/klines?symbol=S", json.dumps(rows).encode(), BTC, (start + 130_000) * MS)
    assert page.bars == [((start + 60_000) * MS, 50, 350), ((start + 120_000) * MS, 50, 350)]
    assert page.prints == [] and page.more == ""


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("aggTrades", b""),
        ("aggTrades", b"{}"),
        ("aggTrades", b'[{"a":1}]'),
        ("aggTrades", json.dumps([trade(1, 5, price="x")]).encode()),
        ("klines", b"[[1,2]]"),
        ("klines", b'[[1,"a","b","c","d","e",7]]'),
        ("klines", b'{"code":-1121}'),
    ],
)
def test_what_is_no_page(kind: str, body: bytes) -> None:
    with pytest.raises(MalformedFrame, match="expected a page of trades or bars"):
        BinanceSpot.parse_missed(f"https://x/{kind}?symbol=S", body, BTC, NOW)


def test_a_venue_that_tells_nothing() -> None:
    assert Plain.missed_url("https://x", "S", 0, 1) == Plain.missed_bars_url("https://x", "S", 0, 1) == ""
    with pytest.raises(MalformedFrame):
        Plain.parse_missed("u", b"[]", BTC, 1)
