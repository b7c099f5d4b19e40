"""What moves money by the clock, apart from fills: the parts that are scheduled, and how they reach the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from engine.core.book import Books
from engine.core.due import Handler
from engine.core.funding import FundingPayments
from engine.core.ledger import Ledger
from engine.core.records import AnyFact
from engine.core.types import Instrument


class Host(Protocol):
    """The part of the engine that charges need."""

    ledger: Ledger
    books: Books
    handlers: dict[str, Handler]

    @property
    def instruments(self) -> tuple[Instrument, ...]: ...

    def schedule(self, ns: int, what: str, subject: object = None) -> None: ...


class Charges:
    """Funding at the venue's times."""

    def __init__(self, host: Host, emit: Callable[[AnyFact], None]) -> None:
        self.funding = FundingPayments(host.instruments, host.books.top, host.ledger, emit, host.schedule)
        host.handlers["funding"] = self.funding.due
