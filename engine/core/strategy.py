"""What a strategy is, what it may read and what it may say.

A strategy is a class with up to nine handlers. It performs nothing: what it says through its ``Context`` leaves the
handler as a value, passes risk, and reaches the paper venue later, as a real order would.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

from engine.core.book import Book
from engine.core.desk.order_terms import PLAIN, Peg, SelfTrade, Terms, Trigger, type_of
from engine.core.records import Fill, Signal
from engine.core.types import Instrument, OrderKind, Side, TimeInForce


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of a strategy's own settings; its section of the TOML becomes this, and an unknown key is an error."""


class Trade(msgspec.Struct, frozen=True):
    """One public trade. ``side`` is the aggressor's; ``venue_ns`` is the venue's clock and only for its own order."""

    symbol: str
    side: Side
    price: int
    size: int
    recv_ns: int
    venue_ns: int
    id: int


class Gap(msgspec.Struct, frozen=True):
    """The book of ``symbol`` is in doubt from here on; it is not ready until the venue resynchronised it."""

    symbol: str
    reason: str


class Order(msgspec.Struct, frozen=True):
    """An order as its owner knows it now. ``state`` is one of those in orders.py, where the table of changes is."""

    id: int
    strategy: str
    symbol: str
    side: Side
    kind: OrderKind
    time_in_force: TimeInForce
    price: int
    size: int
    filled: int
    post_only: bool
    state: str
    reason: str = ""
    terms: Terms = PLAIN

    @property
    def left(self) -> int:
        return self.size - self.filled

    @property
    def is_working(self) -> bool:
        return self.state not in ("filled", "cancelled", "expired", "rejected", "refused")

    @property
    def type(self) -> str:
        """The field's name for it: ``market``, ``limit``, ``stop``, ``trailing_limit``, ``iceberg`` …"""
        return type_of(self.kind, self.terms)


class Context(Protocol):
    """What a handler may read and say. Valid only while the handler runs.

    A symbol is an instrument name (``venue:SYMBOL``), or just ``SYMBOL`` where that is unambiguous.
    """

    @property
    def now_ns(self) -> int:
        """Engine time, ns UTC."""
        ...

    @property
    def symbols(self) -> Sequence[str]:
        """The instrument names of this run."""
        ...

    def instrument(self, symbol: str) -> Instrument: ...

    def book(self, symbol: str) -> Book: ...

    def position(self, symbol: str) -> int:
        """This strategy's own signed position in size units, from the fills it was told of."""
        ...

    def orders(self, symbol: str | None = None) -> Sequence[Order]:
        """This strategy's working orders, oldest first."""
        ...

    def signal(self, symbol: str, name: str) -> Signal | None:
        """The latest signal of that name for the symbol, from whatever source."""
        ...

    def side(self, stream: str, field: str) -> float | None:
        """The latest value of a side stream; None while there is none or the stream is out of use."""
        ...

    @property
    def cash(self) -> dict[str, Decimal]:
        """The whole account's balances by currency, exact."""
        ...

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
        """Ask for an order (``price is None``: at the market) and get its id; risk decides after the handler.

        What the other words mean is told in order_terms.py; README.md of strategies has an example of each.
        """
        ...

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
        """Ask for a limit order and a stop of one side and size, of which one cancels the other; their ids."""
        ...

    def bracket(
        self, symbol: str, side: Side, size: int, price: int | None = None, *, target: int, stop: Trigger
    ) -> tuple[int, int, int]:
        """Ask for an entry which, once filled, is closed by a limit at ``target`` or by ``stop``; the three ids."""
        ...

    def amend(
        self, order: int, *, price: int | None = None, size: int | None = None, trigger: int | None = None
    ) -> None:
        """Ask to change price, whole size or trigger price; a fill on the way wins.

        Less size keeps the place in the queue; another price or more size goes behind it.
        """
        ...

    def cancel(self, order: int) -> None:
        """Ask to cancel; a fill on the way wins."""
        ...

    def cancel_all(self, symbol: str | None = None) -> None:
        """Ask to cancel all of this strategy's working orders, of one symbol or of all."""
        ...

    def target(self, symbol: str, size: int) -> int | None:
        """Ask for the market order that brings position plus working orders to ``size``; None when it is there.

        Orders that wait for a trigger or a parent do not count: they protect the position, they do not make it. One
        that is asked to cancel counts until its end is told, in the handler that asks too: a fill on the way wins.
        """
        ...

    def emit(self, symbol: str, name: str, value: float) -> None:
        """Say a signal; every strategy with ``on_signal`` hears it after this handler."""
        ...

    def timer(self, name: str, after_s: float) -> None:
        """Ask for one ``on_timer(name)`` that many seconds of engine time from now; a later call replaces it."""
        ...

    def note(self, **fields: Any) -> None:
        """Write words for the journal."""
        ...


ConfigT = TypeVar("ConfigT", bound=Config)


class Strategy(Generic[ConfigT]):
    """Base of all strategies: override the handlers you need; the engine calls no other.

    The class attribute ``config_type`` is found from ``Strategy[MyConfig]``.

    >>> class Mine(Strategy[Config]):
    ...     "Does nothing."
    >>> Mine.config_type is Config
    True
    """

    config_type: ClassVar[type[Config]] = Config

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            for argument in getattr(base, "__args__", ()):
                if isinstance(argument, type) and issubclass(argument, Config):
                    cls.config_type = argument

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def on_start(self, ctx: Context) -> None:
        """The run begins; no book is ready yet."""

    def on_book(self, book: Book, ctx: Context) -> None:
        """The frame that just arrived changed this ready book."""

    def on_trade(self, trade: Trade, ctx: Context) -> None:
        """A public trade, after its frame was applied whole."""

    def on_signal(self, signal: Signal, ctx: Context) -> None:
        """A model or a strategy said something."""

    def on_fill(self, fill: Fill, ctx: Context) -> None:
        """One of this strategy's orders traded."""

    def on_order(self, order: Order, ctx: Context) -> None:
        """One of this strategy's orders changed its state."""

    def on_gap(self, gap: Gap, ctx: Context) -> None:
        """A book this strategy trades is in doubt."""

    def on_timer(self, name: str, ctx: Context) -> None:
        """A timer this strategy asked for is due."""

    def on_stop(self, ctx: Context) -> None:
        """The run ends; orders asked for here still leave, nothing comes back."""

    def save(self) -> dict[str, Any]:
        """The strategy's own state as plain values, for a snapshot or a reload."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""
        del state
