"""What moves money by the clock, apart from fills: the parts that are scheduled, and how they reach the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from engine.core.account.borrow import Borrowing
from engine.core.account.corporate import CorporateAction, CorporateActions
from engine.core.account.funding import FundingPayments
from engine.core.account.ledger import Ledger
from engine.core.account.liquidation import MarginAccount
from engine.core.account.treasury import Treasury
from engine.core.book import Books
from engine.core.desk.risk import Risk
from engine.core.due import Handler
from engine.core.records import AnyFact, Fill
from engine.core.types import Instrument
from engine.core.venue.paper_settings import PaperSettings

if TYPE_CHECKING:
    from engine.core.desk.desk import Desk
    from engine.core.honesty.honesty import Honesty


class Host(Protocol):
    """The part of the engine that charges need."""

    now_ns: int
    seq: int
    ledger: Ledger
    books: Books
    risk: Risk
    desk: Desk
    honesty: Honesty
    treasury: Treasury
    handlers: dict[str, Handler]

    @property
    def instruments(self) -> tuple[Instrument, ...]: ...

    def schedule(self, ns: int, what: str, subject: object = None) -> None: ...


class Charges:
    """Funding, interest, margin, shares. Twin accounts have funding, dividends and splits too, but are never closed."""

    def __init__(self, host: Host, settings: PaperSettings, emit: Callable[[AnyFact], None]) -> None:
        instruments, ledger, top, mark2 = host.instruments, host.ledger, host.books.top, host.treasury.mark2
        self._host = host
        self.funding = FundingPayments(instruments, top, ledger, emit, host.schedule, self._twins)
        self.borrowing = Borrowing(instruments, settings.borrow, ledger, emit, host.schedule)
        self.margin = MarginAccount(
            instruments,
            settings.margin,
            ledger,
            top,
            emit,
            mark2,
            self._working,
            self._take_out,
        )
        self.corporate = CorporateActions(
            instruments,
            settings.equities,
            ledger,
            mark2,
            emit,
            host.schedule,
            self._twins,
            self._splits,
        )
        host.handlers |= {
            "funding": self.funding.due,
            "interest": self.borrowing.due,
            "corporate": self._corporate,
            "short_fee": self.corporate.short_fee_due,
            "settled": self.corporate.settlement.due,
        }
        host.risk.lacking_margin = self.margin.lacking
        host.risk.spendable = self.corporate.spendable

    def _twins(self) -> list[Ledger]:
        return [account.ledger for account in self._host.honesty.twins.accounts.values()]

    def _corporate(self, action: CorporateAction, ns: int) -> None:
        if self._host.seq:  # before the first record nothing was held: it is history
            self.corporate.due(action, ns)

    def filled(self, symbol: int, fill: Fill) -> None:
        """A fill was booked."""
        now_ns = self._host.now_ns
        self.margin.filled(symbol, fill.price)
        self.borrowing.moved(now_ns)
        self.corporate.filled(symbol, fill, now_ns)

    def watch(self) -> None:
        """Positions were valued anew."""
        self.margin.watch()
        self.borrowing.moved(self._host.now_ns)

    def _splits(self, symbol: int) -> None:
        """Prices of before are no more those of after: orders end, and what is followed ends with them."""
        self._end_orders(symbol, "split")
        self._host.honesty.splits(symbol)

    def _working(self, symbol: int) -> tuple[int, int]:
        return self._host.desk.working(symbol)

    def _take_out(self, symbol: int) -> None:
        self._end_orders(symbol, "liquidation")

    def _end_orders(self, symbol: int, reason: str) -> None:
        """The venue ends the orders of a symbol that reached it."""
        desk, now_ns = self._host.desk, self._host.now_ns
        for order in list(desk.orders.values()):
            if order.intent.symbol == symbol and order.arrived and not order.ended:
                desk.end(order, reason, now_ns)

    def plain(self) -> dict[str, Any]:
        """Margin by position, where margin is on; money on its way, where there is any."""
        margin = {"margin": self.margin.plain()} if self.margin.is_on else {}
        return margin | self.corporate.plain()

    def snapshot(self) -> dict[str, Any]:
        """What the ledger does not hold, as plain values."""
        return {
            "funding": self.funding.snapshot(),
            "margin": self.margin.snapshot(),
            "borrowing": self.borrowing.snapshot(),
            "corporate": self.corporate.snapshot(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what ``snapshot`` gave, once the ledger has been restored."""
        now_ns = self._host.now_ns
        self.funding.restore(state["funding"])
        self.margin.restore(state["margin"])
        self.borrowing.restore(state["borrowing"], now_ns)
        self.corporate.restore(state["corporate"], now_ns)
