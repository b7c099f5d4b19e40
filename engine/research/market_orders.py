"""The simulated exchange as an order tape: it knows each order, so the truth of every ghost is exact."""

from __future__ import annotations

from typing import Any

import polars as pl

from adapters.market import SymbolMarket, spec_of
from adapters.market_book import Half, MatchingBook, Order
from adapters.market_world import SECOND_NS
from engine.core.types import Side
from engine.research.level3 import ORDER_SCHEMA

SIDES = {Side.BUY: "bid", Side.SELL: "ask"}
AGGRESSORS = {Side.BUY: "sell", Side.SELL: "buy"}


class _Scribe:
    """Writes down what happens to orders. What is taken off an order was traded if the next trade follows it."""

    def __init__(self, book: MatchingBook) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.now_ns = 0
        self._book = book
        self._taken: tuple[Order, int, int, int] | None = None

    def added(self, order: Order) -> None:
        self.settle()
        self._write("add", order, order.size)

    def took(self, order: Order, size: int) -> None:
        self.settle()
        self._taken = (order, size, order.size, self._book.trade_id)

    def settle(self) -> None:
        """Write down what was taken last: only now it is known why."""
        if self._taken is None:
            return
        order, size, left, trade_id = self._taken
        self._taken = None
        if self._book.trade_id > trade_id:
            self._write("trade", order, size)
        self._write("change" if left else "delete", order, left)

    def _write(self, kind: str, order: Order, size: int) -> None:
        aggressor = AGGRESSORS[order.side] if kind == "trade" else None
        row = (self.now_ns, kind, str(order.number), SIDES[order.side], order.price, size, aggressor, False)
        self.rows.append(row)


class _TracedHalf(Half):
    """One side of a book that stands already, and tells a scribe what happens to it."""

    __slots__ = ("_scribe",)

    def __init__(self, half: Half, side: Side, scribe: _Scribe) -> None:
        super().__init__(side)
        self.keys, self.levels = half.keys, half.levels
        self._scribe = scribe

    def add(self, order: Order) -> None:
        super().add(order)
        self._scribe.added(order)

    def take(self, order: Order, size: int) -> None:
        super().take(order, size)
        self._scribe.took(order, size)


def market_orders(seed: int, seconds: int, symbol: str = "BTCUSDT") -> pl.DataFrame:
    """The order tape of a simulated market in virtual time: prices in its ticks, sizes in its lots.

    >>> orders = market_orders(seed=1, seconds=2)
    >>> sorted(orders["kind"].unique()), orders["ts_ns"].is_sorted()
    (['add', 'change', 'delete', 'trade'], True)
    """
    market = SymbolMarket(spec_of(symbol), seed, start_ns=0)
    book = market.book
    scribe = _Scribe(book)
    for half in (book.bids, book.asks):
        for level in half.levels.values():
            for order in level.orders.values():
                scribe.added(order)
    book.bids = _TracedHalf(book.bids, Side.BUY, scribe)
    book.asks = _TracedHalf(book.asks, Side.SELL, scribe)
    while market.next_ns <= seconds * SECOND_NS:
        scribe.now_ns = market.next_ns
        market.advance(scribe.now_ns)
        scribe.settle()
    return pl.DataFrame(scribe.rows, schema=ORDER_SCHEMA, orient="row")
