"""What moves money by the clock, apart from fills: the parts that are scheduled, and how they reach the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from engine.core.book import Books
from engine.core.borrow import Borrowing
from engine.core.due import Handler
from engine.core.funding import FundingPayments
from engine.core.ledger import Ledger
from engine.core.liquidation import MarginAccount
from engine.core.paper_settings import PaperSettings
from engine.core.records import AnyFact
from engine.core.risk import Risk
from engine.core.treasury import Treasury
from engine.core.types import Instrument

if TYPE_CHECKING:
    from engine.core.desk import Desk


class Host(Protocol):
    """The part of the engine that charges need."""

    now_ns: int
    ledger: Ledger
    books: Books
    risk: Risk
    desk: Desk
    treasury: Treasury
    handlers: dict[str, Handler]

    @property
    def instruments(self) -> tuple[Instrument, ...]: ...

    def schedule(self, ns: int, what: str, subject: object = None) -> None: ...


class Charges:
    """Funding, interest, margin."""

    def __init__(self, host: Host, settings: PaperSettings, emit: Callable[[AnyFact], None]) -> None:
        instruments, ledger, top = host.instruments, host.ledger, host.books.top
        self._host = host
        self.funding = FundingPayments(instruments, top, ledger, emit, host.schedule)
        self.borrowing = Borrowing(instruments, settings.borrow, ledger, emit, host.schedule)
        self.margin = MarginAccount(
            instruments,
            settings.margin,
            ledger,
            top,
            emit,
            host.treasury.mark2,
            lambda symbol: host.desk.working(symbol),
            self._take_out,
        )
        host.handlers |= {"funding": self.funding.due, "interest": self.borrowing.due}
        host.risk.lacking_margin = self.margin.lacking

    def filled(self, symbol: int, price: int) -> None:
        """A fill was booked."""
        self.margin.filled(symbol, price)
        self.borrowing.moved(self._host.now_ns)

    def watch(self) -> None:
        """Positions were valued anew."""
        self.margin.watch()
        self.borrowing.moved(self._host.now_ns)

    def _take_out(self, symbol: int) -> None:
        """The venue ends the orders of a symbol that reached it."""
        desk, now_ns = self._host.desk, self._host.now_ns
        for order in list(desk.orders.values()):
            if order.intent.symbol == symbol and order.arrived and not order.ended:
                desk.cancel_arrives(order, "liquidation", now_ns)

    def plain(self) -> dict[str, Any]:
        """Margin by position, where margin is on."""
        return {"margin": self.margin.plain()} if self.margin.is_on else {}

    def snapshot(self) -> dict[str, Any]:
        """What the ledger does not hold, as plain values."""
        return {"margin": self.margin.snapshot(), "borrowing": self.borrowing.snapshot()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what ``snapshot`` gave, once the ledger has been restored."""
        self.margin.restore(state["margin"])
        self.borrowing.restore(state["borrowing"], self._host.now_ns)
