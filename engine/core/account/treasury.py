"""All money of a run in one place: the account, what fills cost, and what a currency is worth in another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.core.account.currencies import Conversions
from engine.core.account.fees import FeeRates, Fees
from engine.core.account.ledger import FEE, Ledger
from engine.core.account.money import to_text
from engine.core.book import Books
from engine.core.types import Instrument
from engine.core.venue.paper_settings import PaperSettings


class Treasury:
    """The ledger, its fees and its rates between currencies."""

    def __init__(
        self, instruments: Sequence[Instrument], settings: PaperSettings, books: Books, ledger: Ledger
    ) -> None:
        self.ledger = ledger
        self._reporting_currency = settings.reporting_currency
        self._books = books
        self.conversions = Conversions(instruments, self.mark2)
        plain = FeeRates(settings.maker_fee, settings.taker_fee)
        self.fees = Fees(instruments, ledger, plain, settings.fees, self.conversions)

    def mark2(self, symbol: int) -> int:
        """Twice a symbol's price now: the middle of a book that may be used, else the last one known, else 0."""
        book = self._books.views[symbol]
        bid, ask = book.bid, book.ask
        return bid + ask if bid and ask and book.is_ready else self.ledger.mark2(symbol)

    def reporting(self, strategies: Iterable[str]) -> dict[str, Any] | None:
        """Profit and equity in the reporting currency at the marks now, as exact text; None where none is set.

        What no mark leads to stands beside it under ``*_left_out`` by currency, and is not in the sum.
        """
        currency = self._reporting_currency
        if not currency:
            return None
        told: dict[str, Any] = {"currency": currency}
        told |= self._in_one("profit", self.ledger.profits(), currency)
        told |= self._in_one("equity", self.ledger.equities(), currency)
        told["strategies"] = {name: self._in_one("profit", self.ledger.profits(name), currency) for name in strategies}
        return told

    def _in_one(self, name: str, amounts: Mapping[str, int], currency: str) -> dict[str, Any]:
        total, left_out = self.conversions.total(amounts, currency)
        return {name: to_text(total), f"{name}_left_out": {each: to_text(value) for each, value in left_out.items()}}

    def plain(self, strategies: Iterable[str]) -> dict[str, Any]:
        """What moved money apart from fills, by kind and currency; fee tiers; and all in the reporting currency."""
        kinds: dict[str, dict[str, int]] = {}
        for _, currency, kind, value in self.ledger.flows():
            if kind != FEE:
                by_currency = kinds.setdefault(kind, {})
                by_currency[currency] = by_currency.get(currency, 0) + value
        carry = {kind: {name: to_text(value) for name, value in sorted(kinds[kind].items())} for kind in sorted(kinds)}
        return {"carry": carry, "fee_tiers": self.fees.status(), "reporting": self.reporting(strategies)}
