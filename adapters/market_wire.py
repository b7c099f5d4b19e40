"""What the simulated exchange says, in the bytes of Binance spot: pages, and frames of its public streams.

Docs: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and …/rest-api

Keys come in Binance's order and every price and size has eight decimals. Nothing here knows a socket or a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from adapters.market import WIRE_UNIT, Event, LevelChange, MarketTrade, SymbolMarket, Top
from adapters.market_world import SymbolSpec
from engine.core.types import Side

MILLISECOND_NS = 1_000_000
DEPTH_MS = {"@depth@100ms": 100, "@depth@1000ms": 1000, "@depth": 1000}
"""Names of the depth streams behind the symbol, and how often they speak, in ms."""


def amount(count: int, unit: int) -> str:
    """``count`` ticks or lots as Binance writes them; ``unit`` is the tick or lot in 1e-8.

    >>> amount(120_001, 50_000_000), amount(7, 1_000)
    ('60000.50000000', '0.00007000')
    """
    whole, rest = divmod(count * unit, WIRE_UNIT)
    return f"{whole}.{rest:08d}"


TRADES_KEPT = 200_000
"""Trades of a symbol that ``aggTrades`` can tell of: id, price, size, ms, and whether the buyer had made it."""


class Streams:
    """The public streams of one symbol: events in, (stream name, payload) out.

    One instance serves all who listen, so the ids of a stream follow each other for as long as it stands.
    """

    def __init__(self, market: SymbolMarket) -> None:
        self._market = market
        spec = market.spec
        self._tick = spec.tick
        self._lot = spec.lot
        self._symbol = spec.symbol
        self._told: deque[tuple[int, str, str, int, str]] = deque(
            maxlen=TRADES_KEPT
        )  # id, price, size, ms, buyer made it
        name = spec.symbol.lower()
        self.trade = f"{name}@trade"
        self.ticker = f"{name}@bookTicker"
        self.names = frozenset({self.trade, self.ticker, *(name + each for each in DEPTH_MS)})
        self._depths = {
            milliseconds: _Depth([name + each for each, ms in DEPTH_MS.items() if ms == milliseconds])
            for milliseconds in sorted(set(DEPTH_MS.values()))
        }

    def start(self) -> None:
        """What has happened before is in the snapshot: the differences begin here."""
        for depth in self._depths.values():
            depth.changed.clear()
            depth.last_id = self._market.book.update_id

    def frames(self, events: Iterable[Event]) -> list[tuple[str, str]]:
        """Trades and best prices, at once; level changes wait for ``depth_frames``."""
        frames: list[tuple[str, str]] = []
        for event in events:
            if isinstance(event, LevelChange):
                for depth in self._depths.values():
                    depth.changed.add((event.side, event.price))
            elif isinstance(event, Top):
                frames.append((self.ticker, self._ticker(event)))
            else:
                frames.append((self.trade, self._trade(event)))
        return frames

    def depth_frames(self, now_ns: int) -> list[tuple[str, str]]:
        """The differences that are due at ``now_ns``, a whole multiple of 100 ms."""
        frames: list[tuple[str, str]] = []
        now_ms = now_ns // MILLISECOND_NS
        for milliseconds, depth in self._depths.items():
            if now_ms % milliseconds == 0 and depth.changed:
                payload = self._difference(depth, now_ms)
                frames.extend((name, payload) for name in depth.names)
        return frames

    def trades_page(self, first_id: int, start_ms: int, end_ms: int, limit: int) -> str:
        """Trades from an id and a time on, oldest first; each is an aggregate of its own here."""
        rows = [row for row in self._told if row[0] >= first_id and start_ms <= row[3] <= end_ms][:limit]
        return (
            "["
            + ",".join(
                f'{{"a":{number},"p":"{price}","q":"{size}","f":{number},"l":{number},"T":{ms},"m":{made},"M":true}}'
                for number, price, size, ms, made in rows
            )
            + "]"
        )

    def _difference(self, depth: _Depth, now_ms: int) -> str:
        """Totals as they are now, best prices first."""
        book = self._market.book
        first, last = depth.last_id + 1, book.update_id
        bids = sorted((price for side, price in depth.changed if side is Side.BUY), reverse=True)
        asks = sorted(price for side, price in depth.changed if side is Side.SELL)
        depth.changed.clear()
        depth.last_id = last
        return (
            f'{{"e":"depthUpdate","E":{now_ms},"s":"{self._symbol}","U":{first},"u":{last},'
            f'"b":{self._levels((price, book.bids.total(price)) for price in bids)},'
            f'"a":{self._levels((price, book.asks.total(price)) for price in asks)}}}'
        )

    def _levels(self, levels: Iterable[tuple[int, int]]) -> str:
        tick, lot = self._tick, self._lot
        return "[" + ",".join(f'["{amount(price, tick)}","{amount(size, lot)}"]' for price, size in levels) + "]"

    def _trade(self, event: MarketTrade) -> str:
        now_ms = event.ns // MILLISECOND_NS
        price, size = amount(event.price, self._tick), amount(event.size, self._lot)
        buyer_is_maker = "true" if event.side is Side.SELL else "false"
        self._told.append((event.trade_id, price, size, now_ms, buyer_is_maker))
        return (
            f'{{"e":"trade","E":{now_ms},"s":"{self._symbol}","t":{event.trade_id},"p":"{price}","q":"{size}",'
            f'"T":{now_ms},"m":{buyer_is_maker},"M":true}}'
        )

    def _ticker(self, event: Top) -> str:
        bid, bid_size = amount(event.bid, self._tick), amount(event.bid_size, self._lot)
        ask, ask_size = amount(event.ask, self._tick), amount(event.ask_size, self._lot)
        return (
            f'{{"u":{event.update_id},"s":"{self._symbol}","b":"{bid}","B":"{bid_size}","a":"{ask}","A":"{ask_size}"}}'
        )

    def snapshot(self, limit: int) -> str:
        """The depth page: the best ``limit`` levels a side as of now."""
        book = self._market.book
        bids, asks = self._levels(book.bids.depth(limit)), self._levels(book.asks.depth(limit))
        return f'{{"lastUpdateId":{book.update_id},"bids":{bids},"asks":{asks}}}'


class _Depth:
    """The differences of one speed that nobody has been told yet."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.changed: set[tuple[Side, int]] = set()
        self.last_id = 0


def exchange_info(specs: Iterable[SymbolSpec], now_ns: int) -> bytes:
    """The ``exchangeInfo`` page."""
    page = {
        "timezone": "UTC",
        "serverTime": now_ns // MILLISECOND_NS,
        "rateLimits": [],
        "exchangeFilters": [],
        "symbols": [_symbol(spec) for spec in specs],
    }
    return msgspec.json.encode(page)


def _symbol(spec: SymbolSpec) -> dict[str, object]:
    tick, lot, most = amount(1, spec.tick), amount(1, spec.lot), "9000000.00000000"
    sizes = {"minQty": lot, "maxQty": most, "stepSize": lot}
    notional = {"minNotional": "5.00000000", "applyMinToMarket": True, "maxNotional": most, "applyMaxToMarket": False}
    return {
        "symbol": spec.symbol,
        "status": "TRADING",
        "baseAsset": spec.base,
        "baseAssetPrecision": 8,
        "quoteAsset": spec.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "9000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", **sizes},
            {"filterType": "NOTIONAL", **notional, "avgPriceMins": 5},
        ],
        "permissions": ["SPOT"],
    }


def refusal(code: int, text: str) -> bytes:
    """A refusal as Binance writes it.

    >>> refusal(-1121, "Invalid symbol.")
    b'{"code":-1121,"msg":"Invalid symbol."}'
    """
    return msgspec.json.encode({"code": code, "msg": text})
