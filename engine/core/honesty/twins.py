"""Twin accounts: what the run would have earned, had another queue model decided its fills.

Every order runs through all models at once (kernel), and each model has a ledger of its own here: the same fees, the
same marks, exact. Fills that took displayed liquidity are the same in all of them. A model's profit is the run's own,
plus what its ledger has beyond that of the venue's own model: so whatever else moves the run's money (interest,
liquidation) is the same under each, and funding goes by each one's own position. Lowest to highest is the *band*.

The strategy saw the fills of the venue's own model only. A twin that missed a fill does not know how the strategy would
have gone on without it; it holds what its fills left it, at the mid. Over a long run that drift is most of the band. So
there is a second figure, *hedged*: every resting fill is worth its markout after ``HEDGE_NS``, as if what a model holds
beyond the run had been closed at the mid then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from engine.core.account.ledger import Ledger
from engine.core.account.money import to_text
from engine.core.account.treasury import Treasury

Models = tuple[str, ...]

Band = dict[str, dict[str, Any]]

HEDGE_NS: Final = 10_000_000_000
"""After how long a resting fill is valued for the hedged profit, engine time."""


class _Waiting(NamedTuple):
    """A resting fill on its way to be valued; ``value``: what its size was worth at its price, 1e-30."""

    due_ns: int
    models: Models
    strategy: str
    symbol: int
    signed: int
    value: int


class Twins:
    """``models`` with the venue's ``own`` among them; ``new_account`` makes one as the run's began, at the same marks.

    At most ``room`` fills wait to be valued; the oldest goes first, at the mark of that moment.
    """

    def __init__(
        self,
        models: Iterable[str],
        own: str,
        new_account: Callable[[], Treasury],
        *,
        room: int,
        mark2: Callable[[int], int],
        schedule: Callable[[int, str, object], None],
    ) -> None:
        self.own = own
        self._accounts = {model: new_account() for model in dict.fromkeys((own, *models))}
        self.models = tuple(model for model in self._accounts if model != own)
        self.fills = dict.fromkeys(self._accounts, 0)
        self._every = tuple(self._accounts)
        base = self._accounts[own]
        self._fees, self._worth, self._currency_of = base.fees, base.ledger.worth, base.ledger.currency_of
        # Fills that wait to be booked as one, by who traded alike: signed size, flow and fees.
        self._unbooked: dict[tuple[Models, str, int], list[int]] = {}
        # Models that traded alike share a row: by them, strategy and currency what was won; by symbol what waits.
        self._hedged: dict[tuple[Models, str, str], int] = {}
        self._open: dict[tuple[Models, str, int], list[int]] = {}  # size and value
        self._waiting: deque[_Waiting] = deque()
        self._room = room
        self._mark2 = mark2
        self._schedule = schedule
        self._told: dict[tuple[str, str], dict[str, str]] = {}

    @property
    def accounts(self) -> dict[str, Treasury]:
        """Every model's account, the own one first, with all its fills booked.

        A dozen ledgers a fill cost more than the rest of an order's life, and profit is the same when fills of models
        that traded alike are added up first.
        """
        if self._unbooked:
            unbooked, self._unbooked = self._unbooked, {}
            for (models, strategy, symbol), (signed, flow, fee) in unbooked.items():
                for model in models:
                    self._accounts[model].ledger.move(strategy, symbol, signed, flow, fee)
        return self._accounts

    def filled(self, models: Models, strategy: str, symbol: int, side: int, price: int, size: int, now_ns: int) -> None:
        """An order that rested traded under these models alike."""
        for alike, fee, currency in self._book(models, strategy, symbol, side, price, size, now_ns, is_maker=True):
            self._add(alike, strategy, currency, -fee)
        for model in models:
            self.fills[model] += 1
        if not self._waiting:
            self._schedule(now_ns + HEDGE_NS, "hedge", None)
        elif len(self._waiting) >= self._room:
            self._close(self._waiting.popleft())
        value = self._worth[symbol].settled(price, size)
        one = _Waiting(now_ns + HEDGE_NS, models, strategy, symbol, side * size, value)
        self._waiting.append(one)
        self._count(one, 1)

    def taken(self, strategy: str, symbol: int, side: int, price: int, size: int, now_ns: int) -> None:
        """The order took displayed liquidity: the same in every model."""
        self._book(self._every, strategy, symbol, side, price, size, now_ns, is_maker=False)

    def due(self, subject: object, ns: int) -> None:
        """The oldest resting fills are worth what the mid says now."""
        del subject
        while self._waiting and self._waiting[0].due_ns <= ns:
            self._close(self._waiting.popleft())
        if self._waiting:
            self._schedule(self._waiting[0].due_ns, "hedge", None)

    def value(self, symbol: int) -> None:
        """Value what waits of a symbol now."""
        waiting, self._waiting = self._waiting, deque(one for one in self._waiting if one.symbol != symbol)
        for one in waiting:
            if one.symbol == symbol:
                self._close(one)

    def has_positions(self) -> bool:
        """Whether any twin holds anything, so that its profit moves with the market."""
        return any(entry.size for account in self.accounts.values() for entry in account.ledger.entries())

    def position(self, model: str, strategy: str, symbol: int) -> int:
        """A model's signed position in size units, from its fills alone."""
        return self.accounts[model].ledger.position(symbol, strategy)

    def band(self, run: Ledger, strategy: str | None = None) -> Band:
        """By currency: lowest, own and highest profit as exact text, and every model's; of a strategy or of all."""
        told: Band = {}
        own = run.profits(strategy)
        profits = {model: account.ledger.profits(strategy) for model, account in self.accounts.items()}
        hedged = self._hedged_profits(strategy)
        known = {currency for by_currency in (own, *profits.values()) for currency in by_currency}
        for currency in sorted(known):
            base = own.get(currency, 0)
            same, same_hedged = profits[self.own].get(currency, 0), hedged.get((self.own, currency), 0)
            by_model = {model: base + profit.get(currency, 0) - same for model, profit in profits.items()}
            closed = {model: base + hedged.get((model, currency), 0) - same_hedged for model in profits}
            told[currency] = {
                "low": to_text(min(by_model.values())),
                "own": to_text(base),
                "high": to_text(max(by_model.values())),
                "model": self.own,
                "models": {model: to_text(profit) for model, profit in by_model.items()},
                "hedged_low": to_text(min(closed.values())),
                "hedged_high": to_text(max(closed.values())),
                "hedged": {model: to_text(profit) for model, profit in closed.items()},
            }
        return told

    def changed(self, run: Ledger, strategy: str) -> list[tuple[str, dict[str, str], dict[str, str]]]:
        """By currency each model's profit and hedged profit, where any of them moved since this was asked last."""
        news = []
        for currency, band in self.band(run, strategy).items():
            models = band["models"]
            if models != self._told.get((strategy, currency), dict.fromkeys(models, "0")):
                self._told[strategy, currency] = models
                news.append((currency, models, band["hedged"]))
        return news

    def _book(
        self,
        models: Models,
        strategy: str,
        symbol: int,
        side: int,
        price: int,
        size: int,
        now_ns: int,
        *,
        is_maker: bool,
    ) -> list[tuple[Models, int, str]]:
        """Book a fill in the accounts of these models; what the fee was, at 1e-30, and its currency, of which."""
        plain = self._fees.plain(symbol, price, size, is_maker=is_maker)
        if plain is None:  # each account has a tier and a token of its own
            accounts = self.accounts
            told = {
                model: accounts[model].fees.charge(
                    strategy, symbol, side, price, size, is_maker=is_maker, now_ns=now_ns
                )
                for model in models
            }
            return [((model,), fee, currency) for model, (fee, currency) in told.items()]
        value, fee = plain
        sums = self._unbooked.get((models, strategy, symbol))
        if sums is None:
            sums = self._unbooked[models, strategy, symbol] = [0, 0, 0]
        sums[0] += side * size
        sums[1] += side * value if self._worth[symbol].is_inverse else -side * value
        sums[2] += fee
        return [(models, fee, self._currency_of(symbol))]

    def _hedged_profits(self, strategy: str | None) -> dict[tuple[str, str], int]:
        """By model and currency; what still waits counts at the mid of now."""
        totals: dict[tuple[str, str], int] = {}
        known = [(models, who, currency, value) for (models, who, currency), value in self._hedged.items()]
        for (models, who, symbol), (signed, value) in self._open.items():
            currency = self._currency_of(symbol)
            known.append((models, who, currency, self._gain(symbol, signed, value)))
        for models, who, currency, value in known:
            if value and strategy in (None, who):
                for model in models:
                    totals[model, currency] = totals.get((model, currency), 0) + value
        return totals

    def _close(self, one: _Waiting) -> None:
        self._count(one, -1)
        currency = self._currency_of(one.symbol)
        gain = self._gain(one.symbol, one.signed, one.value if one.signed > 0 else -one.value)
        self._add(one.models, one.strategy, currency, gain)

    def _count(self, one: _Waiting, sign: int) -> None:
        value = sign * (one.value if one.signed > 0 else -one.value)
        waits = self._open.get((one.models, one.strategy, one.symbol))
        if waits is None:
            waits = self._open[one.models, one.strategy, one.symbol] = [0, 0]
        waits[0] += sign * one.signed
        waits[1] += value
        if waits == [0, 0]:
            del self._open[one.models, one.strategy, one.symbol]

    def _gain(self, symbol: int, signed: int, value: int) -> int:
        """What ``signed`` that cost ``value`` gained at the mark; nothing before the first mark."""
        worth = self._worth[symbol]
        mark2 = self._mark2(symbol)
        if not mark2:
            return 0
        now = worth.settled2(mark2, abs(signed)) if signed else 0
        gain = (now if signed > 0 else -now) - value
        return -gain if worth.is_inverse else gain

    def _add(self, models: Models, strategy: str, currency: str, value: int) -> None:
        key = (models, strategy, currency)
        self._hedged[key] = self._hedged.get(key, 0) + value
