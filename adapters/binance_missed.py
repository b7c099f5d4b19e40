"""What Binance tells of the time in which nobody listened: aggregate trades, and bars of a minute where it was long.

Docs: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints (aggTrades, klines) and
the pages of the same names for USD-M and COIN-M futures. A window of trades is shorter than an hour, a page has at
most 1,000 rows; further pages go by ``fromId``::

    GET /api/v3/aggTrades?symbol=BTCUSDT&startTime=1498793709000&endTime=1498793710000&limit=1000
    [{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true,"M":true}]
    GET /api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=1499040000000&endTime=1499644799999&limit=1000
    [[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499040059999,"2434.19",…]]

A trade's time and a bar's ends are inclusive, in ms of the venue's clock.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from adapters.contract import MalformedFrame, MissedPage
from engine.core.types import Instrument, UnitsError

MILLISECOND_NS: Final = 1_000_000
MINUTE_NS: Final = 60 * 10**9
LONGEST_NS: Final = 3_600 * 10**9 - MINUTE_NS
"""Of a window of trades; a longer absence is told in bars."""

ROWS: Final = 1_000


class _Trade(msgspec.Struct, gc=False):
    a: int
    p: str
    q: str
    l: int  # noqa: E741 - Binance's name
    T: int
    m: bool


_TRADES = msgspec.json.Decoder(list[_Trade])
_BARS = msgspec.json.Decoder(list[list[Any]])


class TellsMissed:
    """The part of a Binance venue that answers for the past."""

    api: ClassVar[str]

    @classmethod
    def missed_url(cls, rest_url: str, symbol: str, since_ns: int, until_ns: int) -> str:
        """Where to ask for what traded after ``since_ns`` up to ``until_ns``, the venue's clock."""
        if until_ns - since_ns > LONGEST_NS:
            return cls.missed_bars_url(rest_url, symbol, since_ns, until_ns)
        start, end = since_ns // MILLISECOND_NS + 1, until_ns // MILLISECOND_NS
        return f"{cls._base(rest_url)}/aggTrades?symbol={symbol}&startTime={start}&endTime={end}&limit={ROWS}"

    @classmethod
    def missed_bars_url(cls, rest_url: str, symbol: str, since_ns: int, until_ns: int) -> str:
        """The same in bars; only those that lie in the window whole."""
        start, end = -(-since_ns // MINUTE_NS) * MINUTE_NS // MILLISECOND_NS, until_ns // MILLISECOND_NS
        return f"{cls._base(rest_url)}/klines?symbol={symbol}&interval=1m&startTime={start}&endTime={end}&limit={ROWS}"

    @classmethod
    def parse_missed(cls, url: str, body: bytes, instrument: Instrument, until_ns: int) -> MissedPage:
        """A page of either kind.

        Raises:
            MalformedFrame: it is not what the venue documents.
        """
        try:
            page = cls._bars if "/klines?" in url else cls._trades
            return page(url, body, instrument, until_ns)
        except (msgspec.DecodeError, UnicodeDecodeError, UnitsError, IndexError, TypeError, ValueError) as error:
            raise MalformedFrame(f"expected a page of trades or bars, found: {error}") from error

    @classmethod
    def _trades(cls, url: str, body: bytes, instrument: Instrument, until_ns: int) -> MissedPage:
        rows = _TRADES.decode(body)
        prints = [
            (
                row.T * MILLISECOND_NS,
                instrument.price_units(row.p),
                instrument.size_units(row.q),
                -1 if row.m else 1,
                row.l,
            )
            for row in rows
            if until_ns >= row.T * MILLISECOND_NS
        ]
        more = ""
        if len(rows) >= ROWS and len(prints) == len(rows):
            more = f"{url.partition('&')[0]}&fromId={rows[-1].a + 1}&limit={ROWS}"
        return MissedPage(prints=prints, more=more)

    @classmethod
    def _bars(cls, url: str, body: bytes, instrument: Instrument, until_ns: int) -> MissedPage:
        rows = _BARS.decode(body)
        bars = [
            (
                (int(row[6]) + 1) * MILLISECOND_NS,
                instrument.price_units(row[3]),
                instrument.price_units(row[2]),
            )
            for row in rows
            if (int(row[6]) + 1) * MILLISECOND_NS <= until_ns
        ]
        more = ""
        if len(rows) >= ROWS and len(bars) == len(rows):
            start, end = bars[-1][0] // MILLISECOND_NS, until_ns // MILLISECOND_NS
            more = f"{url.partition('&')[0]}&interval=1m&startTime={start}&endTime={end}&limit={ROWS}"
        return MissedPage(bars=bars, more=more)

    @classmethod
    def _base(cls, rest_url: str) -> str:
        return f"{rest_url.rstrip('/')}{cls.api}"
