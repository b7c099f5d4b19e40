"""All money of a run in one place: the account, what fills cost, and what a currency is worth in another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.core.book import Books
from engine.core.currencies import Conversions
from engine.core.fees import FeeRates, Fees
from engine.core.ledger import Ledger
from engine.core.paper_settings import PaperSettings
from engine.core.types import Instrument


class Treasury:
    """The ledger, its fees and its rates between currencies."""

    def __init__(
        self, instruments: Sequence[Instrument], settings: PaperSettings, books: Books, ledger: Ledger
    ) -> None:
        self.ledger = ledger
        self._books = books
        self.conversions = Conversions(instruments, self.mark2)
        plain = FeeRates(settings.maker_fee, settings.taker_fee)
        self.fees = Fees(instruments, ledger, plain, settings.fees, self.conversions)

    def mark2(self, symbol: int) -> int:
        """Twice a symbol's price now: the middle of a book that may be used, else the last one known, else 0."""
        book = self._books.views[symbol]
        bid, ask = book.bid, book.ask
        return bid + ask if book.is_ready and bid and ask else self.ledger.mark2(symbol)

    def status(self) -> dict[str, Any]:
        """What a person wants to know of the money beyond profit and cash."""
        fees = self.fees.status()
        return {"fee_tiers": fees} if fees else {}
