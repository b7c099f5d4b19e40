"""The simulated exchange in virtual time: its events as the batches that a feed would bring, without a socket.

The market is stepped as far as asked and no clock runs. A frame reaches us ``feed_ns`` after it happened. With
``pace_ns == 0`` each action of the market is one frame, its trades before its level changes; otherwise trades come one
by one and the levels that changed every ``pace_ns``, as on Binance's ``@trade`` and ``@depth@100ms``. ``view`` bounds
how many levels a side are shown, as partial depth streams do; 0 shows all.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import numpy as np

from adapters.market import WIRE_UNIT, LevelChange, MarketTrade, SymbolMarket
from adapters.market_world import SymbolSpec
from engine.core import events as ev
from engine.core.desk.risk import RiskSettings
from engine.core.events import BATCH, Batch
from engine.core.types import ContractKind, Instrument, Side

NO_LIMITS: Final = RiskSettings(
    max_order_notional=Decimal(0), max_position_notional=Decimal(0), price_collar_bps=0, stale_book_ns=0,
    max_orders_per_window=0, max_open_orders=0, drawdown_fraction=Decimal(0), allow_short=True, allow_debt=True,
)  # fmt: skip
"""A gate that lets everything pass: for experiments about the venue, not about risk."""

Row = tuple[int, int, int, int, int, int, int, int, int]


def _decimals(unit: int) -> int:
    """How many decimals a unit of 1e-8 needs.

    >>> _decimals(50_000_000), _decimals(1_000), _decimals(100_000_000)
    (1, 5, 0)
    """
    decimals = 8
    while decimals and unit % 10 == 0:
        unit //= 10
        decimals -= 1
    return decimals


def instrument_of(spec: SymbolSpec, venue: str = "market") -> Instrument:
    """The symbol as the engine trades it; on margin, so that paper orders may be short.

    >>> from adapters.market import spec_of
    >>> one = instrument_of(spec_of("BTCUSDT"))
    >>> one.price_decimals, one.tick, one.size_decimals, one.lot
    (1, 5, 5, 1)
    """
    price, size = _decimals(spec.tick), _decimals(spec.lot)
    return Instrument(
        venue=venue,
        symbol=spec.symbol,
        base=spec.base,
        quote=spec.quote,
        price_decimals=price,
        size_decimals=size,
        kind=ContractKind.LINEAR,
        tick=spec.tick * 10**price // WIRE_UNIT,
        lot=spec.lot * 10**size // WIRE_UNIT,
        contract_size=Decimal(1),
    )


class VirtualFeed:
    """Turns what a ``SymbolMarket`` does into batches; prices and sizes in the instrument's units."""

    def __init__(
        self, market: SymbolMarket, *, feed_ns: int, pace_ns: int = 0, view: int = 0, venue: str = "market"
    ) -> None:
        if feed_ns < 0 or pace_ns < 0 or view < 0 or (view and not pace_ns):
            raise ValueError(
                f"expected feed_ns, pace_ns and view of at least 0, and a pace where there is a view, found "
                f"{feed_ns}, {pace_ns}, {view}"
            )
        self.market = market
        self.instrument = instrument_of(market.spec, venue)
        self._feed_ns = feed_ns
        self._pace_ns = pace_ns
        self._view = view
        self._shown: dict[tuple[int, int], int] = {}

    def opening(self) -> Batch:
        """The book as it stands now, as a snapshot that makes it ready."""
        self.market.advance(self.market.now_ns)
        book, now_ns = self.market.book, self.market.now_ns
        self._shown = self._levels()
        rows = [self._row(ev.CLEAR, ev.SNAPSHOT, 0, 0, now_ns, 0)]
        for (ask, price), size in self._shown.items():
            rows.append(self._row(ev.LEVEL, ev.SNAPSHOT | ask, price, size, now_ns, book.update_id))
        rows.append(self._row(ev.READY, ev.SNAPSHOT | ev.LAST, 0, 0, now_ns, book.update_id))
        return np.array(rows, BATCH)

    def advance(self, until_ns: int) -> Batch:
        """All frames of what happens up to and including ``until_ns`` (a whole number of paces); may be empty."""
        if not self._pace_ns:
            return np.array(self._ticks(until_ns), BATCH)
        rows: list[Row] = []
        while self.market.now_ns + self._pace_ns <= until_ns:
            self._paced(self.market.now_ns + self._pace_ns, rows)
        return np.array(rows, BATCH)

    def _ticks(self, until_ns: int) -> list[Row]:
        rows: list[Row] = []
        update_id = -1
        ended = True
        for event in self.market.advance(until_ns):
            if isinstance(event, MarketTrade):
                if not ended:
                    _end(rows)
                    ended = True
                rows.append(self._trade(event, 0))
            elif isinstance(event, LevelChange):
                if not ended and event.update_id != update_id:
                    _end(rows)
                update_id, ended = event.update_id, False
                ask = ev.ASK if event.side is Side.SELL else 0
                rows.append(self._row(ev.LEVEL, ask, event.price, event.size, event.ns, event.update_id))
        if rows:
            _end(rows)
        return rows

    def _paced(self, until_ns: int, rows: list[Row]) -> None:
        happened = self.market.advance(until_ns)
        rows.extend(self._trade(event, ev.LAST) for event in happened if isinstance(event, MarketTrade))
        levels, update_id = self._levels(), self.market.book.update_id
        changes = [(key, levels.get(key, 0)) for key in sorted(self._shown.keys() | levels.keys())]
        frame = [
            self._row(ev.LEVEL, ask, price, size, until_ns, update_id)
            for (ask, price), size in changes
            if self._shown.get((ask, price), 0) != size
        ]
        self._shown = levels
        if frame:
            _end(frame)
            rows.extend(frame)

    def _levels(self) -> dict[tuple[int, int], int]:
        book = self.market.book
        count = self._view or len(book.bids.keys) + len(book.asks.keys)
        shown = {(0, price): size for price, size in book.bids.depth(count)}
        return shown | {(ev.ASK, price): size for price, size in book.asks.depth(count)}

    def _trade(self, event: MarketTrade, flags: int) -> Row:
        sell = ev.SELL if event.side is Side.SELL else 0
        return self._row(ev.TRADE, sell | flags, event.price, event.size, event.ns, event.trade_id)

    def _row(self, kind: int, flags: int, ticks: int, lots: int, ns: int, number: int) -> Row:
        one = self.instrument
        return (kind, flags, 0, 0, ticks * one.tick, lots * one.lot, ns, ns + self._feed_ns, number)


def _end(rows: list[Row]) -> None:
    """The last row so far ends its frame."""
    last = rows[-1]
    rows[-1] = (last[0], last[1] | ev.LAST, *last[2:])


def joined(batches: Sequence[Batch]) -> Batch:
    """Many batches as one."""
    return np.concatenate(list(batches)) if batches else ev.rows(0)
