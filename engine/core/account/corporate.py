"""Shares: dividends, splits, the fee for borrowed ones, and when the money of a sale arrives.

* **Dividend**: at the ex time each long share receives it and each short share pays it: size x cash a share, rounded
  half to even by its size. With a later pay time it cannot be spent before.
* **Split**: ``value`` new shares for an old one (4, or 0.1 for one for ten). Size x value, rounded towards nothing to a
  size unit; the rest is paid as cash in lieu at the last mark. The cost of the position stays. The venue ends all
  orders that reached it; one on its way arrives with the old price.
* **Short fee**: at the end of each UTC day, value of the short shares at the mark x yearly rate / 360, rounded up.
* **Settlement**: see settlement.py; a purchase needs settled money, unless ``unsettled_buys``.

Actions before the first input of a run are history. Shares that the account had at the start are split, but as no
strategy holds them they earn no dividends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.account.ledger import DIVIDEND, SHORT_FEE, Ledger
from engine.core.account.money import amount, ratio, round_half_even, to_text
from engine.core.account.settlement import DAY_NS, Settlement, settles_ns
from engine.core.money_facts import Dividend, ShortFee, Split
from engine.core.records import AnyFact, Fill
from engine.core.types import ContractKind, Instrument

YEAR_DAYS = 360
"""As stock loans count them."""


class CorporateAction(msgspec.Struct, frozen=True, kw_only=True):
    """``kind``: ``dividend`` (``value``: cash a share) or ``split`` (``value``: new shares for an old one).

    ``ns``: engine time at which it takes effect, before everything else of that instant; ``pay_ns``: when a dividend
    is paid, 0: at once.
    """

    ns: int
    symbol: str
    kind: str
    value: Decimal
    pay_ns: int = 0


class EquitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """``settlement_days``: by venue or symbol, business days until a sale's money arrives. ``holidays``: days since
    1970 on which nothing settles. ``short_fee``: by symbol, a fraction of the value a year.
    """

    actions: tuple[CorporateAction, ...] = ()
    settlement_days: dict[str, int] = {}
    holidays: frozenset[int] = frozenset()
    short_fee: dict[str, Decimal] = {}
    unsettled_buys: bool = False


class CorporateActions:
    """Applies what is due to the run's ledger and, without telling, to ``others`` (the twin accounts)."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        settings: EquitySettings,
        ledger: Ledger,
        mark2: Callable[[int], int],
        emit: Callable[[AnyFact], None],
        schedule: Callable[[int, str, object], None],
        others: Callable[[], Iterable[Ledger]],
        end_orders: Callable[[int], None],
    ) -> None:
        self._instruments = tuple(instruments)
        self._settings = settings
        self._ledger = ledger
        self._mark2 = mark2
        self._emit = emit
        self._schedule = schedule
        self._others = others
        self._end_orders = end_orders
        self.settlement = Settlement(emit, schedule)
        self._days = [settings.settlement_days.get(one.name, settings.settlement_days.get(one.venue, 0))
                      for one in self._instruments]  # fmt: skip
        self._fees = [ratio(settings.short_fee.get(one.name, Decimal(0))) for one in self._instruments]
        self._has_fees = any(numerator for numerator, _ in self._fees)
        self._fee_due = False
        for action in settings.actions:
            schedule(action.ns, "corporate", action)

    def spendable(self, currency: str) -> int:
        """What a purchase may cost, at 1e-30."""
        unsettled = 0 if self._settings.unsettled_buys else self.settlement.unsettled(currency)
        return self._ledger.balance_of(currency) - unsettled

    def filled(self, symbol: int, fill: Fill, now_ns: int) -> None:
        """A fill was booked: a sale's money is on its way, and short shares cost from today."""
        instrument = self._instruments[symbol]
        if self._days[symbol] and fill.side < 0 and instrument.kind is ContractKind.SPOT:
            proceeds = self._ledger.worth[symbol].settled(fill.price, fill.size)
            proceeds -= amount(Decimal(fill.fee)) if fill.fee_currency == instrument.quote else 0
            due_ns = settles_ns(now_ns, self._days[symbol], self._settings.holidays)
            self.settlement.hold(instrument.quote, proceeds, due_ns)
        self._watch_shorts(now_ns)

    def _watch_shorts(self, now_ns: int) -> None:
        if not self._has_fees or self._fee_due:
            return
        if any(entry.size < 0 and self._fees[entry.symbol][0] for entry in self._ledger.entries()):
            self._fee_due = True
            self._schedule((now_ns // DAY_NS + 1) * DAY_NS, "short_fee", None)

    def short_fee_due(self, subject: object, ns: int) -> None:
        """A day is over: short shares are charged."""
        del subject
        self._fee_due = False
        for entry in list(self._ledger.entries()):
            numerator, denominator = self._fees[entry.symbol]
            price2 = self._mark2(entry.symbol)
            if entry.size >= 0 or not numerator or price2 <= 0:
                continue
            instrument = self._instruments[entry.symbol]
            value = self._ledger.worth[entry.symbol].settled2(price2, -entry.size)
            charge = -(-value * numerator // (denominator * YEAR_DAYS))
            self._ledger.flow(entry.strategy, instrument.quote, SHORT_FEE, -charge)
            rate = format(self._settings.short_fee[instrument.name], "f")
            told = to_text(value), to_text(-charge)
            self._emit(ShortFee(instrument.name, entry.strategy, rate, *told, instrument.quote))
        self._watch_shorts(ns)

    def due(self, action: CorporateAction, ns: int) -> None:
        """An action takes effect."""
        symbol = next(at for at, one in enumerate(self._instruments) if one.name == action.symbol)
        if action.kind == "split":
            self._split(symbol, action)
        else:
            self._dividend(symbol, action, ns)

    def _dividend(self, symbol: int, action: CorporateAction, ns: int) -> None:
        instrument = self._instruments[symbol]
        per_share = amount(action.value)
        for ledger in (self._ledger, *self._others()):
            for entry in list(ledger.entries()):
                if entry.symbol != symbol or not entry.size:
                    continue
                paid = round_half_even(abs(entry.size) * per_share, int(10**instrument.size_decimals))
                paid = paid if entry.size > 0 else -paid
                ledger.flow(entry.strategy, instrument.quote, DIVIDEND, paid)
                if ledger is not self._ledger:
                    continue
                if action.pay_ns > ns:
                    self.settlement.hold(instrument.quote, paid, action.pay_ns)
                self._emit(
                    Dividend(
                        symbol=instrument.name,
                        strategy=entry.strategy,
                        per_share=format(action.value, "f"),
                        amount=to_text(paid),
                        currency=instrument.quote,
                        paid_ns=max(ns, action.pay_ns) if paid > 0 else ns,
                    )
                )

    def _split(self, symbol: int, action: CorporateAction) -> None:
        """Every market of the share is split, as there is one balance of it."""
        new, old = ratio(action.value)
        base = self._instruments[symbol].base
        for ledger in (self._ledger, *self._others()):
            ledger.split_initial(base, new, old)
        for at, instrument in enumerate(self._instruments):
            if instrument.base != base or instrument.kind is not ContractKind.SPOT:
                continue
            self._end_orders(at)
            ledgers = (self._ledger, *self._others())
            for ledger in ledgers:
                for entry in list(ledger.entries()):
                    if entry.symbol == at and entry.size:
                        before = entry.size
                        cash = ledger.split(entry, new, old)
                        if ledger is self._ledger:
                            told = format(action.value, "f"), before, entry.size, to_text(cash)
                            self._emit(Split(instrument.name, entry.strategy, *told, instrument.quote))
            mark2 = self._ledger.mark2(at) * old // new
            for ledger in ledgers:  # once all are split: they may share their marks
                ledger.mark(at, mark2)

    def plain(self) -> dict[str, Any]:
        """Money on its way, where there is any."""
        pending = self.settlement.plain()
        return {"unsettled": pending} if pending else {}

    def snapshot(self) -> dict[str, Any]:
        """What the ledger does not hold, as plain values."""
        return {"unsettled": self.settlement.plain()}

    def restore(self, state: Mapping[str, Any], now_ns: int) -> None:
        """Take back what ``snapshot`` gave and go on from an engine time; actions before it are history."""
        self.settlement.restore(state["unsettled"])
        self._watch_shorts(now_ns)
