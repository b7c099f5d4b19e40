"""Binance: spot, USD-M futures and COIN-M futures over combined public streams.

Docs: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams

One sample frame a channel; ``adapters/samples`` holds whole conversations::

    {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1700000000100,"s":"BTCUSDT","U":157,"u":160,
      "b":[["24000.10000000","0.50000000"]],"a":[["24000.20000000","0.00000000"]]}}
    {"stream":"btcusdt@trade","data":{"e":"trade","E":1700000000100,"s":"BTCUSDT","t":12345,"p":"24000.10000000",
      "q":"0.10000000","T":1700000000099,"m":true,"M":true}}
    {"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1700000000100,"s":"BTCUSDT","a":12,"p":"24000.10000000",
      "q":"0.10000000","f":100,"l":105,"T":1700000000099,"m":true,"M":true}}
    {"stream":"btcusdt@bookTicker","data":{"u":160,"s":"BTCUSDT","b":"24000.10000000","B":"0.50000000",
      "a":"24000.30000000","A":"1.00000000"}}

Futures depth carries ``T`` and ``pu``, the ``u`` of the symbol's previous frame; COIN-M adds the pair ``ps``. A futures
trade carries ``X``; only ``"X":"MARKET"`` is a trade in the book. Mark price and funding: binance_mark.py.

The local book, as Binance prescribes it; the steps are marked in the code:

1. Open the stream, and buffer its differences.
2. Fetch a depth snapshot (spot 5,000 levels a side, futures 1,000).
3. If the snapshot is older than the first buffered difference, fetch again.
4. Drop the differences that the snapshot holds already: spot ``u <= lastUpdateId``, futures ``u < lastUpdateId``.
5. The first one left must bridge: spot ``U <= lastUpdateId + 1 <= u``; futures ``U <= lastUpdateId <= u``. (A futures
   snapshot that falls between two differences, ``pu <= lastUpdateId < U``, misses nothing either and is taken.)
6. The snapshot, then the differences, are the book: only now may it be used.
7. Each further difference must follow: spot ``U == previous u + 1``, futures ``pu == previous u``. If not, start again.
8. Sizes are absolute, 0 removes the level, and removing a level that is not there is normal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import numpy as np

from adapters import binance_instruments
from adapters.binance_book import Channel, Difference, Market
from adapters.binance_frame import FOLLOWS, LAST_ID, depth_frame
from adapters.binance_mark import mark_price
from adapters.binance_missed import TellsMissed
from adapters.binance_wire import (
    DECODE_ERRORS,
    Data,
    aggregate_trade_id,
    decode_data,
    decode_depth,
    decode_frame,
    decode_other,
    venue_ns,
)
from adapters.contract import Fetch, MalformedFrame, Output, SubscriptionRefused, Venue, VenueFault, VenueSpec
from adapters.wire import Scanner
from engine.core.events import CLEAR, GAP, LAST, LEVEL, READY, SELL, SEQUENCE, SNAPSHOT, STALE_SNAPSHOT, UP, Batch, row
from engine.core.types import ContractKind, Instrument

NOTHING: tuple[Output, ...] = ()
SNAPSHOT_TIMEOUT_NS = 15_000_000_000


class _Binance(TellsMissed, Venue):
    """What the three markets share; they differ in addresses, depth speed and how differences follow each other."""

    kind: ClassVar[ContractKind]
    depth: ClassVar[str]
    snapshot_levels: ClassVar[int]
    also: ClassVar[tuple[str, ...]] = ()  # further channels
    names_previous: ClassVar[bool]  # a difference carries the id of the one before (``pu``)

    def __init__(self, instruments: Mapping[str, tuple[int, Instrument]], rest_url: str = "") -> None:
        super().__init__(instruments, rest_url)
        self._scanner = Scanner()
        self._markets = {
            symbol: Market(symbol, index, instrument) for symbol, (index, instrument) in self.instruments.items()
        }
        self._routes: dict[str, tuple[Channel, Market]] = {}
        self._quick: dict[bytes, tuple[Market, int]] = {}
        self._depth_frame = depth_frame()
        self._ids = np.zeros(2, np.int64)
        self._read_ids: memoryview[int] = self._ids.data
        for symbol, market in self._markets.items():
            for speed in ("", "@0ms", "@100ms", "@250ms", "@500ms", "@1000ms"):
                stream = f"{symbol.lower()}@depth{speed}"
                self._routes[stream] = (self._depth, market)
                if symbol == symbol.upper():
                    packed = market.scale.packed | int(self.names_previous) << 48
                    self._quick[f'{{"stream":"{stream}'.encode()] = (market, packed)
            self._routes[f"{symbol.lower()}@trade"] = (self._trade, market)
            self._routes[f"{symbol.lower()}@aggTrade"] = (self._aggregate_trade, market)
            self._routes[f"{symbol.lower()}@bookTicker"] = (self._quote, market)
            for name in self.also:
                self._routes[f"{symbol.lower()}@{name}"] = (mark_price, market)

    @classmethod
    def websocket_url(cls, ws_url: str, symbols: Sequence[str]) -> str:
        base = (ws_url or cls.spec.ws_url).rstrip("/").removesuffix("/stream")
        channels = (cls.depth, "trade", "bookTicker", *cls.also[:1])
        return f"{base}/stream?streams=" + "/".join(f"{name.lower()}@{each}" for each in channels for name in symbols)

    @classmethod
    def instruments_url(cls, rest_url: str) -> str:
        return f"{(rest_url or cls.spec.rest_url).rstrip('/')}{cls.api}/exchangeInfo"

    @classmethod
    def parse_instruments(cls, venue: str, body: bytes) -> dict[str, Instrument]:
        return binance_instruments.parse(venue, body, cls.kind)

    @classmethod
    def infer_instruments(cls, venue: str, frames: Iterable[bytes]) -> dict[str, Instrument]:
        return binance_instruments.infer(venue, frames, cls.kind)

    @classmethod
    def token_of(cls, url: str) -> str | None:
        address = urlsplit(url)
        symbols = parse_qs(address.query).get("symbol")
        return f"depth:{symbols[0]}" if symbols and address.path.endswith(f"{cls.api}/depth") else None

    def opened(self, now_ns: int) -> Sequence[Output]:
        return [row(UP, symbol=market.index, recv_ns=now_ns) for market in self._markets.values()]

    def received(self, frame: bytes, recv_ns: int) -> Sequence[Output]:
        name_end = frame.find(b'"', 11)
        quick = self._quick.get(frame[:name_end])
        if quick is not None:
            market, packed = quick
            scanner = self._scanner
            rows, start = scanner.rows, scanner.at
            end = self._depth_frame(rows, start, frame, name_end, packed, recv_ns, self._ids)
            if end > 0:
                scanner.at = end
                return self._difference(
                    market, self._read_ids[FOLLOWS], self._read_ids[LAST_ID], rows[start:end], recv_ns
                )
        try:
            message = decode_frame(frame)
        except DECODE_ERRORS as error:
            return self._other(frame, recv_ns, error)
        route = self._routes.get(message.stream)
        if route is None:
            return self._unknown(frame)
        channel, market = route
        return channel(market, message.data, recv_ns)

    def _depth(self, market: Market, data: Data, recv_ns: int) -> Sequence[Output]:
        last_id = data.u
        follows = data.pu if self.names_previous else data.U - 1
        if (
            data.s != market.symbol
            or not 0 <= data.U <= last_id
            or data.E == 0
            or (self.names_previous and follows < 0)
        ):
            raise MalformedFrame(
                f"{market.symbol}: expected a depth frame with s, E, U <= u (futures: pu), found others"
            )
        batch = self._scanner.levels(market.scale, bytes(data.b), bytes(data.a), last_id, venue_ns(data), recv_ns)
        return self._difference(market, follows, last_id, batch, recv_ns)

    def _difference(self, market: Market, follows: int, last_id: int, batch: Batch, recv_ns: int) -> Sequence[Output]:
        if market.is_ready:
            if follows == market.last_id:  # step 7
                market.last_id = last_id
                return (batch,)
            if last_id <= market.last_id:  # seen before
                return NOTHING
            return self._restart(market, Difference(follows, last_id, batch.copy()), recv_ns)
        return self._buffer(market, Difference(follows, last_id, batch.copy()), recv_ns)

    def _restart(self, market: Market, difference: Difference, recv_ns: int) -> Sequence[Output]:
        """Step 7, broken: the book is in doubt; the frame that showed it is the first of the new buffer."""
        market.unready(recv_ns)
        market.buffer.append(difference)
        return [self._gap(market, SEQUENCE, recv_ns), self._fetch(market, recv_ns)]

    def _buffer(self, market: Market, difference: Difference, recv_ns: int) -> Sequence[Output]:
        outputs: list[Output] = []
        if market.buffer:
            newest = market.buffer[-1].last_id
            if difference.last_id <= newest:  # seen before
                return NOTHING
            if difference.follows != newest:
                market.buffer.clear()
                outputs.append(self._gap(market, SEQUENCE, recv_ns))
        market.keep(difference)  # step 1
        if market.snapshot is not None:
            outputs.extend(self._bridge(market, recv_ns))
        elif market.asked_ns < 0:
            outputs.append(self._fetch(market, recv_ns))  # step 2
        return outputs

    def _bridge(self, market: Market, recv_ns: int) -> Sequence[Output]:
        """Steps 3 to 6: join the snapshot and the buffered differences, if they meet."""
        snapshot, buffer = market.snapshot, market.buffer
        assert snapshot is not None  # the callers have just looked
        held = snapshot.last_id - 1 if self.names_previous else snapshot.last_id
        while buffer and buffer[0].last_id <= held:  # step 4
            buffer.popleft()
        if not buffer:
            return NOTHING
        if buffer[0].follows > snapshot.last_id:  # step 3
            market.snapshot = None
            return [self._gap(market, STALE_SNAPSHOT, recv_ns), self._fetch(market, recv_ns)]
        # Step 5 holds here: follows <= lastUpdateId, and step 4 left only differences that reach it or pass it.
        newest = buffer[-1]
        newest_ns = int(newest.rows["venue_ns"][-1])
        parts = [row(CLEAR, symbol=market.index, recv_ns=recv_ns, flags=SNAPSHOT, venue_ns=newest_ns)]
        parts.extend(part[part["kind"] == LEVEL] for part in (snapshot.rows, *(each.rows for each in buffer)))
        parts.append(row(READY, symbol=market.index, recv_ns=recv_ns, venue_ns=newest_ns, id=newest.last_id))
        batch: Batch = np.concatenate(parts)
        batch["flags"][:-1] &= ~np.uint8(LAST)  # one frame: nobody looks before the READY row
        batch["recv_ns"] = recv_ns
        market.ready(newest.last_id, recv_ns)  # step 6
        return (batch,)

    def _trade(self, market: Market, data: Data, recv_ns: int) -> Sequence[Output]:
        if data.X != "MARKET":  # insurance fund, liquidation transfer: not in the book
            return NOTHING
        batch = self._trade_rows(market, data, data.t, recv_ns)
        market.has_trades = True
        if data.t <= market.last_trade:  # seen before
            return NOTHING
        market.last_trade = data.t
        return (batch,)

    def _aggregate_trade(self, market: Market, data: Data, recv_ns: int) -> Sequence[Output]:
        trade_id = aggregate_trade_id(data)
        batch = self._trade_rows(market, data, min(trade_id, data.l), recv_ns)
        if market.has_trades or data.l <= market.last_trade:  # the single trades tell the same
            return NOTHING
        batch["id"] = trade_id
        market.last_trade = data.l
        return (batch,)

    def _trade_rows(self, market: Market, data: Data, trade_id: int, recv_ns: int) -> Batch:
        if data.s != market.symbol or trade_id < 0 or data.m is None or data.T == 0:
            raise MalformedFrame(f"{market.symbol}: expected a trade with s, its id, T and m, found others")
        flags = SELL if data.m else 0
        return self._scanner.trade(market.scale, bytes(data.p), bytes(data.q), flags, trade_id, venue_ns(data), recv_ns)

    def _quote(self, market: Market, data: Data, recv_ns: int) -> Sequence[Output]:
        if data.s != market.symbol or data.u < 0:
            raise MalformedFrame(f"{market.symbol}: expected a best bid and ask with s and u, found others")
        bid, bid_size, ask, ask_size = bytes(data.b), bytes(data.B), bytes(data.a), bytes(data.A)
        batch = self._scanner.quote(market.scale, bid, bid_size, ask, ask_size, data.u, venue_ns(data), recv_ns)
        return (batch,)

    def _unknown(self, frame: bytes) -> Sequence[Output]:
        if b'"e":"serverShutdown"' in frame:
            raise VenueFault("Binance says that this server will shut down; reconnecting")
        self.unknown += 1
        return NOTHING

    def _other(self, frame: bytes, recv_ns: int, error: Exception) -> Sequence[Output]:
        """A frame that is not of a combined stream, or not of a shape that we read."""
        try:
            other = decode_other(frame)
            if other.e and other.s and not other.stream:  # a raw payload, as of /ws/<stream>
                name = {"depthUpdate": "depth", "markPriceUpdate": "markPrice"}.get(other.e, other.e)
                route = self._routes.get(f"{other.s.lower()}@{name}")
                return self._unknown(frame) if route is None else route[0](route[1], decode_data(frame), recv_ns)
        except DECODE_ERRORS as why:
            raise MalformedFrame(f"expected a frame of a combined stream, found {why}") from error
        if bytes(other.error) not in (b"", b"null") or other.code:
            raise SubscriptionRefused(f"Binance refused: {bytes(other.error).decode() or other.msg} ({other.code})")
        if bytes(other.result):
            return NOTHING
        if other.e or (other.stream and other.stream not in self._routes):
            return self._unknown(frame)
        raise MalformedFrame(f"expected a frame of a combined stream, found {error}") from error

    def replied(self, token: str, body: bytes, recv_ns: int) -> Sequence[Output]:
        kind, _, symbol = token.partition(":")
        market = self._markets.get(symbol) if kind == "depth" else None
        if market is None:
            self.unknown += 1
            return NOTHING
        if market.is_ready:  # a later snapshot of a recording, or one that came twice: the book is good
            return NOTHING
        if not body:
            return [self._fetch(market, recv_ns)]
        try:
            depth = decode_depth(body)
        except DECODE_ERRORS as error:
            raise MalformedFrame(f"{symbol}: expected a depth snapshot, found {error}") from error
        if depth.code:
            if depth.code == -1121:
                raise SubscriptionRefused(f"{symbol}: Binance does not know this symbol ({depth.msg})")
            return [self._fetch(market, recv_ns)]
        if depth.lastUpdateId < 0:
            raise MalformedFrame(f"{symbol}: expected a depth snapshot with lastUpdateId, found none")
        bids, asks, last_id = bytes(depth.bids), bytes(depth.asks), depth.lastUpdateId
        batch = self._scanner.levels(market.scale, bids, asks, last_id, venue_ns(depth), recv_ns, SNAPSHOT)
        if market.snapshot is None or market.snapshot.last_id < depth.lastUpdateId:
            market.snapshot = Difference(-1, depth.lastUpdateId, batch.copy())
        return self._bridge(market, recv_ns)

    def ticked(self, now_ns: int) -> Sequence[Output]:
        return [
            self._fetch(market, now_ns)
            for market in self._markets.values()
            if market.asked_ns >= 0 and market.snapshot is None and now_ns - market.asked_ns > SNAPSHOT_TIMEOUT_NS
        ]

    def doubted(self, symbol: int, now_ns: int) -> Sequence[Output]:
        for market in self._markets.values():
            if market.index == symbol and market.is_ready:
                market.unready(now_ns)
                return [self._fetch(market, now_ns)]
        return NOTHING

    def _fetch(self, market: Market, now_ns: int) -> Fetch:
        url = f"{self.rest_url}{self.api}/depth?symbol={market.symbol}&limit={self.snapshot_levels}"
        return Fetch(url, f"depth:{market.symbol}", market.ask(now_ns))

    def _gap(self, market: Market, reason: int, recv_ns: int) -> Batch:
        return row(GAP, symbol=market.index, recv_ns=recv_ns, reason=reason)


class BinanceSpot(_Binance):
    """Binance spot; also what the simulated exchange speaks."""

    spec = VenueSpec(
        name="binance-spot",
        docs_url="https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams",
        ws_url="wss://stream.binance.com:9443",
        rest_url="https://api.binance.com",
        silence_s=30.0,
        max_symbols=300,
    )
    kind = ContractKind.SPOT
    api = "/api/v3"
    depth = "depth@100ms"
    snapshot_levels = 5000
    names_previous = False

    @classmethod
    def sniff(cls, frame: bytes) -> bool:
        if b"@depth" in frame[:80]:
            return b'"depthUpdate"' in frame[:120] and b'"U":' in frame[:250] and b'"pu":' not in frame[:250]
        if b"@bookTicker" in frame[:80]:
            return b'"e":' not in frame and b'"B":' in frame
        return b"rade" in frame[:80] and b'"M":' in frame


class BinanceUsdm(_Binance):
    """Binance USD-M futures: linear, settled in the quote currency."""

    spec = VenueSpec(
        name="binance-usdm",
        docs_url="https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams",
        ws_url="wss://fstream.binance.com",
        rest_url="https://fapi.binance.com",
        silence_s=30.0,
        max_symbols=60,
    )
    kind = ContractKind.LINEAR
    api = "/fapi/v1"
    depth = "depth@0ms"
    also = ("markPrice@1s", "markPrice")
    snapshot_levels = 1000
    names_previous = True

    @classmethod
    def sniff(cls, frame: bytes) -> bool:
        if _COINM_STREAM.search(frame[:80]):
            return False
        return (
            (b"@depth" in frame[:80] and b'"pu":' in frame[:250])
            or b'"e":"bookTicker"' in frame
            or b'"e":"markPriceUpdate"' in frame
            or (b"@trade" in frame[:80] and b'"X":' in frame)
        )


class BinanceCoinm(BinanceUsdm):
    """Binance COIN-M futures: inverse contracts of a fixed worth in USD, settled in the coin."""

    spec = VenueSpec(
        name="binance-coinm",
        docs_url="https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams",
        ws_url="wss://dstream.binance.com",
        rest_url="https://dapi.binance.com",
        silence_s=30.0,
        max_symbols=60,
    )
    kind = ContractKind.INVERSE
    api = "/dapi/v1"

    @classmethod
    def sniff(cls, frame: bytes) -> bool:
        return b'"ps":"' in frame[:300] or _COINM_STREAM.search(frame[:80]) is not None


_COINM_STREAM = re.compile(rb'"[a-z0-9]+usd_(perp|\d{6})@')
