"""The simulated exchange: real matching, agents and regimes, seeded, without a clock, a socket or a thread.

``advance(until_ns)`` steps the market and returns what happened. Time is passed in and all chance comes from the
seed: the same seed and the same end give the same events however the way is divided. ``MARKET.md`` tells the rules.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from adapters.market_agents import Agent, crowd
from adapters.market_book import Fill, MatchingBook, Order
from adapters.market_world import Change, SymbolSpec, World
from engine.core.types import Side

WIRE_UNIT = 10**8

VISITOR = 1_000
"""From here on owners of orders are visitors: whoever uses ``place`` and ``withdraw`` from outside the crowd."""


class LevelChange(NamedTuple):
    """The new total at a price (lots; 0: the level is gone)."""

    symbol: str
    ns: int
    update_id: int
    side: Side
    price: int
    size: int


class MarketTrade(NamedTuple):
    """One trade; ``side`` is the taker's."""

    symbol: str
    ns: int
    trade_id: int
    side: Side
    price: int
    size: int


class Top(NamedTuple):
    """The best bid and ask changed, in price or size; they are those of the book at ``update_id``."""

    symbol: str
    ns: int
    update_id: int
    bid: int
    bid_size: int
    ask: int
    ask_size: int


Event: TypeAlias = LevelChange | MarketTrade | Top

_KNOWN = {
    "BTCUSDT": SymbolSpec(
        symbol="BTCUSDT", base="BTC", quote="USDT", tick=50_000_000, lot=1_000, start=120_000, typical=20_000
    ),
    "ETHUSDT": SymbolSpec(
        symbol="ETHUSDT", base="ETH", quote="USDT", tick=1_000_000, lot=10_000, start=300_000, typical=20_000,
        volatility=7.0,
    ),
}  # fmt: skip
_QUOTES = ("FDUSD", "USDT", "USDC", "BTC", "ETH", "BNB", "EUR", "TRY", "USD")


def spec_of(symbol: str) -> SymbolSpec:
    """How a symbol is traded here: the known ones as such, any other at 100 with a tick of 0.01 and a lot of 0.001.

    >>> spec_of("BTCUSDT").base, spec_of("SOLUSDC").quote, spec_of("SOLUSDC").tick
    ('BTC', 'USDC', 1000000)

    Raises:
        ValueError: not a symbol.
    """
    if symbol in _KNOWN:
        return _KNOWN[symbol]
    if not (symbol.isascii() and symbol.isalnum() and symbol.isupper() and 2 <= len(symbol) <= 20):
        raise ValueError(f"expected a symbol of 2 to 20 capital letters and digits such as BTCUSDT, found {symbol!r}")
    quote = next((each for each in _QUOTES if symbol.endswith(each) and symbol != each), "USDT")
    base = symbol.removesuffix(quote)
    return SymbolSpec(
        symbol=symbol, base=base, quote=quote, tick=1_000_000, lot=100_000, start=10_000, typical=5_000, volatility=3.0
    )


class SymbolMarket:
    """One symbol: its book, its world and its crowd.

    It begins at ``start_ns``; its agents count time from there, so that the seed alone decides what they do. A
    ``change`` comes at its own time.
    ``visits`` collects every fill of a visitor's order with its time, for who asked for it to take away.
    """

    def __init__(self, spec: SymbolSpec, seed: int, start_ns: int, change: Change | None = None) -> None:
        self.spec = spec
        self.now_ns = start_ns
        self.book = MatchingBook()
        self.world = World(spec, random.Random(f"{seed}:{spec.symbol}:world"), change)
        patient, agents = crowd(spec, self.book, self.world, str(seed))
        self._agents: list[Agent] = [self.world, *agents]
        patient.fill_book(0)
        self._start_ns = start_ns
        self._due = [(1 + place, place) for place in range(len(self._agents))]
        self._top = (0, 0, 0, 0)
        self._opening: list[Event] = []
        self.visits: list[tuple[int, Fill]] = []
        self._report(0, self._opening)

    @property
    def next_ns(self) -> int:
        """When the next agent acts."""
        return self._start_ns + self._due[0][0]

    def advance(self, until_ns: int) -> list[Event]:
        """Everything that happens up to and including ``until_ns``, in order."""
        events, self._opening = self._opening, []
        due, agents, book = self._due, self._agents, self.book
        last_ns = until_ns - self._start_ns
        while due[0][0] <= last_ns:
            now_ns, place = due[0]
            heapq.heapreplace(due, (agents[place].act(now_ns), place))
            if book.changed:
                self._report(now_ns, events)
        self.now_ns = max(self.now_ns, until_ns)
        return events

    def place(
        self, visitor: int, side: Side, size: int, price: int | None = None, *, rests: bool = True
    ) -> Order | None:
        """An order from outside the crowd arrives now, at ``now_ns``; None where nothing of it rests.

        ``price`` in ticks, None at the market; ``size`` in lots; ``rests`` False takes back at once what did not trade.
        ``visitor`` is ``VISITOR`` or above. What it did is told by the next ``advance``.
        """
        if visitor < VISITOR:
            raise ValueError(f"expected a visitor's number of {VISITOR} or above, found {visitor}")
        order = None
        if price is None:
            self.book.market(visitor, side, size)
        else:
            order = self.book.limit(visitor, side, price, size)
            if not rests:
                self.book.cancel(order)
        self._report(self.now_ns - self._start_ns, self._opening)
        return order if order is not None and order.size else None

    def withdraw(self, order: Order) -> bool:
        """Take a visitor's order back now; False where nothing of it rests."""
        done = self.book.cancel(order)
        self._report(self.now_ns - self._start_ns, self._opening)
        return done

    def _report(self, since_ns: int, events: list[Event]) -> None:
        """What one action of an agent did: its trades, then the new levels, then the new top."""
        book, symbol, now_ns = self.book, self.spec.symbol, self._start_ns + since_ns
        self.visits += [(now_ns, fill) for fill in book.fills if fill.taker >= VISITOR or fill.maker >= VISITOR]
        events.extend(MarketTrade(symbol, now_ns, fill.number, fill.side, fill.price, fill.size) for fill in book.fills)
        update_id = book.update_id
        for side, price in sorted(book.changed):
            events.append(LevelChange(symbol, now_ns, update_id, side, price, book.half(side).total(price)))
        book.fills.clear()
        book.changed.clear()
        top = (book.bids.best, book.bids.best_size, book.asks.best, book.asks.best_size)
        if top != self._top:
            self._top = top
            events.append(Top(symbol, now_ns, update_id, *top))


class Market:
    """All symbols of the simulated exchange, independent of each other.

    >>> market = Market(["BTCUSDT"], seed=1, start_ns=0)
    >>> events = market.advance(2_000_000_000)
    >>> book = market["BTCUSDT"].book
    >>> len(events) > 100, 0 < book.bids.best < book.asks.best
    (True, True)
    """

    def __init__(self, symbols: Sequence[str], seed: int, start_ns: int, change: Change | None = None) -> None:
        self.symbols = {symbol: SymbolMarket(spec_of(symbol), seed, start_ns, change) for symbol in symbols}

    def __getitem__(self, symbol: str) -> SymbolMarket:
        return self.symbols[symbol]

    def advance(self, until_ns: int) -> list[Event]:
        """Everything that happens on any symbol up to and including ``until_ns``, in the order of time."""
        each = [one.advance(until_ns) for one in self.symbols.values()]
        return each[0] if len(each) == 1 else sorted((event for some in each for event in some), key=_time)


def _time(event: Event) -> int:
    return event.ns
