"""Interest on what an account owes: a spot short owes the coin, a purchase on credit the quote currency.

At each full hour (UTC, engine time) every currency with a rate is charged debt x rate for the hour that ended, rounded
up at 1e-30. The debt is the largest negative balance of that hour: an hour that was begun counts whole, as margin
accounts of crypto venues have it. Interest is paid in the same currency, so an unpaid charge is debt of the next hour.
Strategies share a charge by what they owe of that currency themselves; what none of them owes (a balance that was
negative from the start) is charged to the first that traded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.account.ledger import INTEREST, Ledger
from engine.core.account.money import amount, ratio, shares, to_text
from engine.core.money_facts import Interest
from engine.core.records import AnyFact
from engine.core.types import ContractKind, Instrument

HOUR_NS = 3_600_000_000_000


class BorrowSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``hourly``: by currency, the interest of an hour as a fraction of the debt; a currency without one is free."""

    hourly: dict[str, Decimal] = {}


class Borrowing:
    """Watches debts and charges them by the hour, while there are any."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        settings: BorrowSettings,
        ledger: Ledger,
        emit: Callable[[AnyFact], None],
        schedule: Callable[[int, str, object], None],
    ) -> None:
        self._spots = [(symbol, one) for symbol, one in enumerate(instruments) if one.kind is ContractKind.SPOT]
        self._rates = {currency: (rate, ratio(rate)) for currency, rate in settings.hourly.items() if rate}
        self._peaks = dict.fromkeys(self._rates, 0)
        self._ledger = ledger
        self._emit = emit
        self._schedule = schedule
        self._is_due = False

    def moved(self, now_ns: int) -> None:
        """Balances may have changed: remember the largest debts of this hour, and come back at its end."""
        owes = False
        for currency in self._rates:
            debt = -self._ledger.balance_of(currency)
            if debt > 0:
                owes = True
                self._peaks[currency] = max(self._peaks[currency], debt)
        if owes and not self._is_due:
            self._is_due = True
            self._schedule((now_ns // HOUR_NS + 1) * HOUR_NS, "interest", None)

    def due(self, subject: object, ns: int) -> None:
        """An hour is over: charge it."""
        del subject
        self._is_due = False
        for currency, debt in self._peaks.items():
            if debt:
                self._charge(currency, debt)
            self._peaks[currency] = 0
        self.moved(ns)

    def _charge(self, currency: str, debt: int) -> None:
        rate, (numerator, denominator) = self._rates[currency]
        charge = -(-debt * numerator // denominator)
        owed = self._owed(currency)
        for (strategy, _), part in zip(owed.items(), shares(charge, list(owed.values())), strict=True):
            if part:
                self._ledger.flow(strategy, currency, INTEREST, -part)
                self._emit(Interest(strategy, currency, format(rate, "f"), to_text(debt), to_text(-part)))

    def _owed(self, currency: str) -> dict[str, int]:
        """What each strategy itself owes of a currency: coins it is short of, money its purchases and costs took."""
        net: dict[str, int] = {}
        for symbol, one in self._spots:
            size_one = amount(Decimal(1).scaleb(-one.size_decimals))
            for entry in self._ledger.entries():
                if entry.symbol == symbol:
                    held = entry.size * size_one if one.base == currency else 0
                    held += entry.realised - entry.cost - entry.fees if one.quote == currency else 0
                    net[entry.strategy] = net.get(entry.strategy, 0) + held
        for strategy, name, _, value in self._ledger.flows():
            if name == currency:
                net[strategy] = net.get(strategy, 0) + value
        owed = {strategy: max(0, -value) for strategy, value in net.items()}
        first = next(iter(self._ledger.entries()), None)
        return owed if any(owed.values()) or first is None else {first.strategy: 1}

    def snapshot(self) -> dict[str, Any]:
        """The largest debts of the hour, as plain values."""
        return {"peaks": {currency: to_text(debt) for currency, debt in self._peaks.items()}}

    def restore(self, state: Mapping[str, Any], now_ns: int) -> None:
        """Take back what ``snapshot`` gave and go on from an engine time."""
        self._peaks |= {name: amount(Decimal(text)) for name, text in state["peaks"].items() if name in self._peaks}
        self.moved(now_ns)
