"""What a handler holds while it runs: it reads the engine and collects what the strategy says, performing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from operator import index as whole
from typing import Any, Protocol, TypeAlias

import msgspec

from engine.core.account.ledger import Ledger
from engine.core.book import Book
from engine.core.desk.order_terms import (
    PLAIN,
    Change,
    Peg,
    PegTo,
    SelfTrade,
    Terms,
    Trail,
    TrailBy,
    Trigger,
    TriggerBy,
    TriggerKind,
    terms,
)
from engine.core.desk.orders import ARMED, PENDING, Working
from engine.core.desk.risk import Intent
from engine.core.records import Note, Record, Signal, encode
from engine.core.side import SideStreams
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


class SayList(msgspec.Struct, frozen=True):
    """Orders that leave together; the first is the one that does not wait for another of them."""

    intents: tuple[Intent, ...]


class SayEmit(msgspec.Struct, frozen=True):
    signal: Signal


class SayTimer(msgspec.Struct, frozen=True):
    name: str
    due_ns: int


class SayNote(msgspec.Struct, frozen=True):
    fields: dict[str, Any]


Saying: TypeAlias = Intent | SayCancel | SayCancelAll | SayAmend | SayList | SayEmit | SayTimer | SayNote


class Host(Protocol):
    """The part of the engine that a context reads."""

    now_ns: int
    ledger: Ledger
    side: SideStreams

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
    try:
        number = whole(value)
    except TypeError:
        here = "a whole number of the instrument's units (of text: ctx.instrument(symbol).price_units, size_units)"
        raise TypeError(f"expected {here}, found {value!r}") from None
    if abs(number) > INT64_MAX:
        raise OverflowError(f"expected a size or price of 64 bits, found {number}")
    return number


def _trigger(value: Trigger | None) -> Trigger | None:
    """What a record can hold: a trigger made of words and plain integers, or none."""
    if value is None:
        return None
    if not isinstance(value, Trigger):
        raise TypeError(f"expected Trigger, found {value!r}")
    trail = value.trail
    if trail is not None:
        trail = Trail(TrailBy(trail.by), _units(trail.value), _units(trail.activation), _units(trail.first))
    return Trigger(TriggerKind(value.kind), _units(value.price), TriggerBy(value.by), trail)


def _peg(value: Peg | None) -> Peg | None:
    if value is not None and not isinstance(value, Peg):
        raise TypeError(f"expected Peg, found {value!r}")
    return None if value is None else Peg(PegTo(value.to), _units(value.offset))


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

    def side(self, stream: str, field: str) -> float | None:
        """The latest value of a side stream; None while there is none or the stream is out of use."""
        return self._host.side.value(stream, field)

    def order(
        self,
        symbol: str,
        side: Side,
        size: int,
        price: int | None = None,
        *,
        time_in_force: TimeInForce = TimeInForce.GTC,
        post_only: bool = False,
        trigger: Trigger | None = None,
        display: int = 0,
        peg: Peg | None = None,
        expires_ns: int = 0,
        reduce_only: bool = False,
        self_trade: SelfTrade | None = None,
        parent: int = 0,
    ) -> int:
        asked = PLAIN
        if trigger or display or peg or expires_ns or reduce_only or self_trade or parent:
            asked = terms(
                trigger=_trigger(trigger),
                display=_units(display),
                peg=_peg(peg),
                expires_ns=_units(expires_ns),
                reduce_only=bool(reduce_only),
                self_trade=None if self_trade is None else SelfTrade(self_trade),
                parent=_units(parent),
            )
        tif = time_in_force if type(time_in_force) is TimeInForce else TimeInForce(time_in_force)
        intent = self._intent(symbol, side, size, price, tif, bool(post_only), asked)
        self.said.append(intent)
        return intent.order

    def _intent(
        self, symbol: str, side: Side, size: int, price: int | None, tif: TimeInForce, post_only: bool, asked: Terms
    ) -> Intent:
        return Intent(
            order=self._host.next_order_id(),
            strategy=self._name,
            symbol=self._symbols.index(symbol),
            side=int(side if type(side) is Side else Side(side)),
            kind=OrderKind.MARKET if price is None and asked.peg is None else OrderKind.LIMIT,
            time_in_force=tif,
            price=0 if price is None else _units(price),
            size=_units(size),
            post_only=post_only,
            terms=asked,
        )

    def oco(
        self,
        symbol: str,
        side: Side,
        size: int,
        price: int,
        stop: Trigger,
        *,
        stop_price: int | None = None,
        reduce_only: bool = False,
        parent: int = 0,
    ) -> tuple[int, int]:
        first, second = self._pair(symbol, side, size, price, stop, stop_price, reduce_only, _units(parent))
        self.said.append(SayList((first, second)))
        return first.order, second.order

    def bracket(
        self, symbol: str, side: Side, size: int, price: int | None = None, *, target: int, stop: Trigger
    ) -> tuple[int, int, int]:
        entry = self._intent(symbol, side, size, price, TimeInForce.GTC, False, PLAIN)
        first, second = self._pair(symbol, Side(side).opposite, size, target, stop, None, False, entry.order)
        self.said.append(SayList((entry, first, second)))
        return entry.order, first.order, second.order

    def _pair(
        self,
        symbol: str,
        side: Side,
        size: int,
        price: int,
        stop: Trigger,
        stop_price: int | None,
        reduce_only: bool,
        parent: int,
    ) -> tuple[Intent, Intent]:
        asked = Terms(parent=parent, reduce_only=bool(reduce_only))
        first = self._intent(symbol, side, size, price, TimeInForce.GTC, False, asked)
        asked = msgspec.structs.replace(asked, pair=first.order)
        waits = msgspec.structs.replace(asked, trigger=_trigger(stop))
        second = self._intent(symbol, side, size, stop_price, TimeInForce.GTC, False, waits)
        return msgspec.structs.replace(first, terms=asked), second

    def cancel(self, order: int) -> None:
        self.said.append(SayCancel(_units(order)))

    def cancel_all(self, symbol: str | None = None) -> None:
        self.said.append(SayCancelAll(None if symbol is None else self._symbols.index(symbol)))

    def amend(
        self, order: int, *, price: int | None = None, size: int | None = None, trigger: int | None = None
    ) -> None:
        told = {"price": price, "size": size, "trigger": trigger}
        asked = {name: _units(value) for name, value in told.items() if value is not None}
        if not asked or min(asked.values()) <= 0:
            raise ValueError(f"expected a price or size above 0 to change order {order} to, found {asked or 'neither'}")
        self.said.append(SayAmend(_units(order), Change(**asked)))

    def target(self, symbol: str, size: int) -> int | None:
        index = self._symbols.index(symbol)
        expected = self._host.ledger.position(index, self._name)
        for working in self._host.working(self._name):
            if working.intent.symbol == index and working.stands not in (PENDING, ARMED):
                expected += working.intent.side * working.left
        for saying in self.said:
            if isinstance(saying, SayList):
                saying = saying.intents[0]
            if isinstance(saying, Intent) and saying.symbol == index and not saying.terms.trigger:
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
