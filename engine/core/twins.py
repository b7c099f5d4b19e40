"""Twin accounts: what the run would have earned, had another queue model decided its fills.

Every order runs through all models at once (kernel), and each model has a ledger of its own here: the same fees, the
same marks, exact. Fills that took displayed liquidity are the same in all of them. The venue's own model is the run's
ledger itself. Lowest to highest over all is the *band*.

What the band does not say: the strategy saw the fills of the venue's own model only. A twin that missed a fill does not
know how the strategy would have gone on without it; it holds what its fills left it, and values that at the mid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.core.ledger import Ledger
from engine.core.money import to_text
from engine.core.treasury import Treasury

Band = dict[str, dict[str, Any]]


class Twins:
    """One account a model but the venue's ``own``; ``new_account`` makes one as the run's began, at the same marks."""

    def __init__(self, models: Iterable[str], own: str, new_account: Callable[[], Treasury]) -> None:
        self.own = own
        self.models = tuple(model for model in models if model != own)
        self.accounts = {model: new_account() for model in self.models}
        self.fills = dict.fromkeys(self.models, 0)
        self._told: dict[tuple[str, str], dict[str, str]] = {}

    def filled(
        self, model: str, strategy: str, symbol: int, side: int, price: int, size: int, *, is_maker: bool, now_ns: int
    ) -> None:
        """A twin of an order traded."""
        self.fills[model] += 1
        fees = self.accounts[model].fees
        fees.fill(strategy, symbol, side, price, size, is_maker=is_maker, now_ns=now_ns)

    def taken(self, strategy: str, symbol: int, side: int, price: int, size: int, *, now_ns: int) -> None:
        """The order took displayed liquidity: the same in every model."""
        for model in self.models:
            self.filled(model, strategy, symbol, side, price, size, is_maker=False, now_ns=now_ns)

    def has_positions(self) -> bool:
        """Whether any twin holds anything, so that its profit moves with the market."""
        return any(entry.size for account in self.accounts.values() for entry in account.ledger.entries())

    def position(self, model: str, strategy: str, symbol: int) -> int:
        """A twin's signed position in size units."""
        return self.accounts[model].ledger.position(symbol, strategy)

    def band(self, own: Ledger, strategy: str | None = None) -> Band:
        """By currency: lowest, own and highest profit as exact text, and every model's; of a strategy or of all."""
        told: Band = {}
        profits = {self.own: own.profits(strategy)}
        profits |= {model: account.ledger.profits(strategy) for model, account in self.accounts.items()}
        for currency in sorted({currency for profit in profits.values() for currency in profit}):
            by_model = {model: profit.get(currency, 0) for model, profit in profits.items()}
            told[currency] = {
                "low": to_text(min(by_model.values())),
                "own": to_text(by_model[self.own]),
                "high": to_text(max(by_model.values())),
                "model": self.own,
                "models": {model: to_text(profit) for model, profit in by_model.items()},
            }
        return told

    def changed(self, own: Ledger, strategy: str) -> list[tuple[str, dict[str, str]]]:
        """By currency each model's profit, where any of them moved since this was asked last."""
        news = []
        for currency, band in self.band(own, strategy).items():
            models = band["models"]
            if models != self._told.get((strategy, currency), dict.fromkeys(models, "0")):
                self._told[strategy, currency] = models
                news.append((currency, models))
        return news
