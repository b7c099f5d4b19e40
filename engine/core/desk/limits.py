"""The limits of a run, and those among them that act by themselves: stop-loss and drawdown from the peak."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.core.account.holding import Entry
from engine.core.account.ledger import Ledger
from engine.core.account.money import amount, ratio, to_text


class RiskSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits; 0 (or empty) switches one off. Notionals are in the quote currency of the instrument at hand.

    ``max_order_size``: base asset or contracts. ``price_collar_bps``: distance of a limit price, or of the touch a
    market order would take, from the mid. ``stale_book_ns``: longest time since the last change of the book.
    ``stop_loss_bps``: of the cost of a position; ``stop_loss``, ``drawdown``, ``strategy_drawdown``: by settlement
    currency; ``*_fraction``: of the account's peak equity. A stop-loss blocks its strategy on that symbol for
    ``stop_loss_pause_ns``, 0: until resumed. ``allow_short``: spot may be sold that the account does not have;
    ``allow_debt``: and bought that it cannot pay. ``check_filters``: lot, tick and least notional are held here, before
    the order leaves; otherwise the venue says what it does not take.
    """

    max_order_size: Decimal = Decimal(0)
    max_order_notional: Decimal = Decimal(100_000)
    max_position_notional: Decimal = Decimal(250_000)
    max_total_notional: Decimal = Decimal(0)
    price_collar_bps: int = 500
    stale_book_ns: int = 10_000_000_000
    max_orders_per_window: int = 100
    order_window_ns: int = 1_000_000_000
    max_open_orders: int = 200
    stop_loss_bps: int = 0
    stop_loss: dict[str, Decimal] = {}
    stop_loss_pause_ns: int = 0
    drawdown: dict[str, Decimal] = {}
    drawdown_fraction: Decimal = Decimal("0.25")
    strategy_drawdown: dict[str, Decimal] = {}
    strategy_drawdown_fraction: Decimal = Decimal(0)
    allow_short: bool = False
    allow_debt: bool = False
    check_filters: bool = True


class Action(msgspec.Struct, frozen=True):
    """A limit acted by itself on a strategy (None: on all), on one symbol's index (None: on all)."""

    rule: str
    strategy: str | None
    detail: str
    symbol: int | None = None


class Watch:
    """Finds positions and equities that broke a limit at the marks of the ledger."""

    def __init__(self, settings: RiskSettings, ledger: Ledger) -> None:
        self._ledger = ledger
        self._peaks: dict[tuple[str | None, str], int] = {}
        self.change(settings)

    def change(self, settings: RiskSettings) -> None:
        """Other limits from here on; the peaks stay."""
        self._stop_loss_bps = settings.stop_loss_bps
        self._stop_loss = _amounts(settings.stop_loss)
        self._account = _amounts(settings.drawdown), ratio(settings.drawdown_fraction)
        self._strategy = _amounts(settings.strategy_drawdown), ratio(settings.strategy_drawdown_fraction)
        self._has_stop_loss = bool(self._stop_loss or self._stop_loss_bps)
        self._has_drawdown = any(amounts or fraction[0] for amounts, fraction in (self._account, self._strategy))

    def restart(self) -> None:
        """Take the peaks of equity anew from here."""
        self._peaks = self._equities()

    def broken(self) -> list[Action]:
        """Every limit that does not hold now, whether it was told before or not."""
        actions: list[Action] = []
        if self._has_stop_loss:
            for entry in self._ledger.entries():
                detail = self._lost(entry)
                if detail:
                    actions.append(Action("stop_loss", entry.strategy, detail, entry.symbol))
        if self._has_drawdown:
            for scope, equity in self._equities().items():
                strategy, currency = scope
                start = self._ledger.initial_of(currency) if strategy is None else 0
                peak = self._peaks[scope] = max(self._peaks.get(scope, start), equity)
                detail = self._dropped(strategy, currency, peak - equity)
                if detail:
                    actions.append(Action("drawdown", strategy, detail))
        return actions

    def _equities(self) -> dict[tuple[str | None, str], int]:
        """By scope and settlement currency, the account (None) before its strategies."""
        equities: dict[tuple[str | None, str], int] = {}
        own: dict[tuple[str | None, str], int] = {}
        for entry in self._ledger.entries():
            currency = self._ledger.currency_of(entry.symbol)
            profit = self._ledger.profit_of(entry)
            before = equities.get((None, currency), self._ledger.initial_of(currency))
            equities[None, currency] = before + profit
            own[entry.strategy, currency] = own.get((entry.strategy, currency), 0) + profit
        for strategy, currency, _, value in self._ledger.flows():
            for equity, scope in ((equities, (None, currency)), (own, (strategy, currency))):
                if scope in equity:  # a currency in which nothing is traded, as of a fee token, is no equity to guard
                    equity[scope] += value
        return equities | own

    def _lost(self, entry: Entry) -> str:
        """What a position lost and might have, empty while within the limit."""
        loss = -self._ledger.unrealised_of(entry)
        if loss <= 0:
            return ""
        currency = self._ledger.currency_of(entry.symbol)
        most = self._stop_loss.get(currency, 0)
        if most and loss >= most:
            return f"position {entry.size} lost {to_text(loss)} {currency}, limit {to_text(most)}"
        cost = abs(entry.cost)
        if self._stop_loss_bps and loss * 10_000 >= self._stop_loss_bps * cost:
            bps = loss * 10_000 // max(1, cost)
            return f"position {entry.size} lost {to_text(loss)} {currency}, {bps} bps, limit {self._stop_loss_bps}"
        return ""

    def _dropped(self, strategy: str | None, currency: str, drop: int) -> str:
        """How far equity is below its peak and might be, empty while within the limit."""
        if drop <= 0:
            return ""
        amounts, (numerator, denominator) = self._account if strategy is None else self._strategy
        most = amounts.get(currency, 0)
        if most and drop >= most:
            return f"{to_text(drop)} {currency} below the peak, limit {to_text(most)}"
        base = self._peaks[None, currency]
        if numerator and base > 0 and drop * denominator >= numerator * base:
            return f"{to_text(drop)} {currency} below the peak, limit {numerator}/{denominator} of {to_text(base)}"
        return ""


def _amounts(by_currency: dict[str, Decimal]) -> dict[str, int]:
    return {currency: amount(value) for currency, value in by_currency.items()}
