"""What a handler holds while it runs: it reads the engine and collects what the strategy says, performing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from operator import index as whole
from typing import Any, Protocol, TypeAlias

import msgspec

from engine.core.book import Book
from engine.core.ledger import Ledger
from engine.core.order_terms import PLAIN, Change, terms
from engine.core.orders import Working
from engine.core.records import Note, Record, Signal, encode
from engine.core.risk import Intent
from engine.core.strategy import Order
from engine.core.types import INT64_MAX, NEVER_NS, Instrument, OrderKind, Side, TimeInForce


class UnknownSymbol(LookupError):
    """A strategy named a symbol that the run does not trade, or one that two venues trade."""


class SayCancel(msgspec.Struct, frozen=True):
    order: int


class SayCancelAll(msgspec.Struct, frozen=True):
    symbol: int | None


class SayAmend(msgspec.Struct, frozen=True):
    order: int
    change: Change


class SayEmit(msgspec.Struct, frozen=True):
    signal: Signal


class SayTimer(msgspec.Struct, frozen=True):
    name: str
    due_ns: int


class SayNote(msgspec.Struct, frozen=True):
    fields: dict[str, Any]


Saying: TypeAlias = Intent | SayCancel | SayCancelAll | SayAmend | SayEmit | SayTimer | SayNote


class Host(Protocol):
    """The part of the engine that a context reads."""

    now_ns: int
    ledger: Ledger

    @property
    def instruments(self) -> tuple[Instrument, ...]: ...

    @property
    def book_views(self) -> tuple[Book, ...]: ...

    def working(self, strategy: str) -> Sequence[Working]: ...

    def latest_signal(self, symbol: int, name: str) -> Signal | None: ...

    def next_order_id(self) -> int: ...


class Symbols:
    """Finds an instrument by its full name, or by the venue's own symbol where only one venue trades it.

    >>> btc = Instrument(venue="v", symbol="X", base="B", quote="Q", price_decimals=2, size_decimals=2)
    >>> Symbols((btc,)).index("X"), Symbols((btc,)).index("v:X")
    (0, 0)
    """

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self.names = tuple(instrument.name for instrument in instruments)
        self._index = {name: index for index, name in enumerate(self.names)}
        bare = [instrument.symbol for instrument in instruments]
        for index, symbol in enumerate(bare):
            if bare.count(symbol) == 1:
                self._index.setdefault(symbol, index)

    def index(self, symbol: str) -> int:
        """The engine's index of a symbol.

        Raises:
            UnknownSymbol: not traded in this run, or ambiguous.
        """
        try:
            return self._index[symbol]
        except KeyError:
            raise UnknownSymbol(f"expected one of {', '.join(self.names)}, found {symbol!r}") from None


def _units(value: int) -> int:
    """A size or price as a plain integer that a record can hold; whether it makes sense is for risk to say."""
    number = whole(value)
    if abs(number) > INT64_MAX:
        raise OverflowError(f"expected a size or price of 64 bits, found {number}")
    return number


def _word(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a name as text, found {value!r}")
    return str(value)


class StrategyContext:
    """The ``Context`` of one strategy (see strategy.py for what each word means)."""

    __slots__ = ("_host", "_name", "_symbols", "said")

    def __init__(self, host: Host, name: str, symbols: Symbols) -> None:
        self._host = host
        self._name = name
        self._symbols = symbols
        self.said: list[Saying] = []

    @property
    def now_ns(self) -> int:
        return self._host.now_ns

    @property
    def symbols(self) -> Sequence[str]:
        return self._symbols.names

    @property
    def cash(self) -> dict[str, Decimal]:
        return self._host.ledger.cash()

    def instrument(self, symbol: str) -> Instrument:
        return self._host.instruments[self._symbols.index(symbol)]

    def book(self, symbol: str) -> Book:
        return self._host.book_views[self._symbols.index(symbol)]

    def position(self, symbol: str) -> int:
        return self._host.ledger.position(self._symbols.index(symbol), self._name)

    def orders(self, symbol: str | None = None) -> Sequence[Order]:
        index = None if symbol is None else self._symbols.index(symbol)
        return [
            order.view(self._symbols.names[order.intent.symbol])
            for order in self._host.working(self._name)
            if index is None or order.intent.symbol == index
        ]

    def signal(self, symbol: str, name: str) -> Signal | None:
        return self._host.latest_signal(self._symbols.index(symbol), name)

    def order(
        self,
        symbol: str,
        side: Side,
        size: int,
        price: int | None = None,
        *,
        time_in_force: TimeInForce = TimeInForce.GTC,
        post_only: bool = False,
        expires_ns: int = 0,
        reduce_only: bool = False,
    ) -> int:
        intent = Intent(
            order=self._host.next_order_id(),
            strategy=self._name,
            symbol=self._symbols.index(symbol),
            side=int(Side(side)),
            kind=OrderKind.MARKET if price is None else OrderKind.LIMIT,
            time_in_force=TimeInForce(time_in_force),
            price=0 if price is None else _units(price),
            size=_units(size),
            post_only=bool(post_only),
            terms=terms(expires_ns=_units(expires_ns), reduce_only=bool(reduce_only))
            if expires_ns or reduce_only
            else PLAIN,
        )
        self.said.append(intent)
        return intent.order

    def cancel(self, order: int) -> None:
        self.said.append(SayCancel(_units(order)))

    def cancel_all(self, symbol: str | None = None) -> None:
        self.said.append(SayCancelAll(None if symbol is None else self._symbols.index(symbol)))

    def amend(self, order: int, *, price: int | None = None, size: int | None = None) -> None:
        asked = {name: _units(value) for name, value in (("price", price), ("size", size)) if value is not None}
        if not asked or min(asked.values()) <= 0:
            raise ValueError(f"expected a price or size above 0 to change order {order} to, found {asked or 'neither'}")
        self.said.append(SayAmend(_units(order), Change(**asked)))

    def target(self, symbol: str, size: int) -> int | None:
        index = self._symbols.index(symbol)
        expected = self._host.ledger.position(index, self._name)
        for working in self._host.working(self._name):
            if working.intent.symbol == index:
                expected += working.intent.side * working.left
        for saying in self.said:
            if isinstance(saying, Intent) and saying.symbol == index:
                expected += saying.side * saying.size
        lot = self._host.instruments[index].lot
        distance = _units(size) - expected
        amount = abs(distance) - abs(distance) % lot
        if amount == 0:
            return None
        return self.order(symbol, Side.BUY if distance > 0 else Side.SELL, amount)

    def emit(self, symbol: str, name: str, value: float) -> None:
        full = self._symbols.names[self._symbols.index(symbol)]
        self.said.append(SayEmit(Signal(full, self._name, _word(name), float(value))))

    def timer(self, name: str, after_s: float) -> None:
        due_ns = min(self._host.now_ns + max(0, round(after_s * 1e9)), NEVER_NS)
        self.said.append(SayTimer(_word(name), due_ns))

    def note(self, **fields: Any) -> None:
        encode(Record(0, 0, Note(self._name, fields)))  # what cannot be recorded is refused here, behind the wall
        self.said.append(SayNote(fields))
