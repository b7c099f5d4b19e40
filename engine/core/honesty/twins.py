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
from typing import Any, Final

import msgspec

from engine.core.account.ledger import Ledger
from engine.core.account.money import to_text
from engine.core.account.treasury import Treasury

Models = tuple[str, ...]

Band = dict[str, dict[str, Any]]

HEDGE_NS: Final = 10_000_000_000
"""After how long a resting fill is valued for the hedged profit, engine time."""


class _Alike(msgspec.Struct, eq=False):
    """What models that traded alike did with a symbol for a strategy; sizes in units, money at 1e-30.

    ``size``, ``flow``, ``fees``: fills that wait to be booked in the models' accounts, as one. ``open_size`` and
    ``open_value``: resting fills that wait to be valued; ``hedged``: what the others won, less the fees of all.
    """

    models: Models
    strategy: str
    symbol: int
    currency: str
    flow_sign: int  # of a purchase's money: an inverse contract is owed its value
    size: int = 0
    flow: int = 0
    fees: int = 0
    open_size: int = 0
    open_value: int = 0
    hedged: int = 0


_Waiting = tuple[int, _Alike, int, int]
"""A resting fill on its way to be valued: when, whose, its signed size and what that was worth at its price."""


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
        self._every = tuple(self._accounts)
        base = self._accounts[own]
        self._fees, self._worth, self._currency_of = base.fees, base.ledger.worth, base.ledger.currency_of
        self._rows: dict[tuple[Models, str, int], _Alike] = {}
        self._unbooked: dict[tuple[Models, str, int], _Alike] = {}  # those of them with fills to be booked
        # Fees that the accounts' own tiers and tokens asked for: paid by these models and this strategy, in a currency.
        self._paid: dict[tuple[Models, str, str], int] = {}
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
            for row in self._unbooked.values():
                for model in row.models:
                    self._accounts[model].ledger.move(row.strategy, row.symbol, row.size, row.flow, row.fees)
                row.size = row.flow = row.fees = 0
            self._unbooked = {}
        return self._accounts

    def filled(self, models: Models, strategy: str, symbol: int, side: int, price: int, size: int, now_ns: int) -> None:
        """An order that rested traded under these models alike."""
        key = (models, strategy, symbol)
        row = self._rows.get(key) or self._row(key)
        plain = self._fees.plain(symbol, price, size, is_maker=True)
        if plain is None:
            value = self._worth[symbol].settled(price, size)
            for model, fee, currency in self._charge(models, strategy, symbol, side, price, size, now_ns, True):
                paid = ((model,), strategy, currency)
                self._paid[paid] = self._paid.get(paid, 0) + fee
        else:
            value, fee = plain
            row.hedged -= fee
            self._book(row, side, size, value, fee)
        waiting = self._waiting
        if not waiting:
            self._schedule(now_ns + HEDGE_NS, "hedge", None)
        elif len(waiting) >= self._room:
            self._close(waiting.popleft())
        signed, signed_value = side * size, side * value
        waiting.append((now_ns + HEDGE_NS, row, signed, signed_value))
        row.open_size += signed
        row.open_value += signed_value

    def taken(self, strategy: str, symbol: int, side: int, price: int, size: int, now_ns: int) -> None:
        """The order took displayed liquidity: the same in every model."""
        plain = self._fees.plain(symbol, price, size, is_maker=False)
        if plain is None:
            self._charge(self._every, strategy, symbol, side, price, size, now_ns, False)
        else:
            key = (self._every, strategy, symbol)
            self._book(self._rows.get(key) or self._row(key), side, size, *plain)

    def due(self, subject: object, ns: int) -> None:
        """The oldest resting fills are worth what the mid says now."""
        del subject
        waiting = self._waiting
        while waiting and waiting[0][0] <= ns:
            self._close(waiting.popleft())
        if waiting:
            self._schedule(waiting[0][0], "hedge", None)

    def value(self, symbol: int) -> None:
        """Value what waits of a symbol now."""
        waiting, self._waiting = self._waiting, deque(one for one in self._waiting if one[1].symbol != symbol)
        for one in waiting:
            if one[1].symbol == symbol:
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

    def _row(self, key: tuple[Models, str, int]) -> _Alike:
        models, strategy, symbol = key
        sign = 1 if self._worth[symbol].is_inverse else -1
        row = self._rows[key] = _Alike(models, strategy, symbol, self._currency_of(symbol), sign)
        return row

    def _book(self, row: _Alike, side: int, size: int, value: int, fee: int) -> None:
        """Book a fill in the accounts of a row's models when somebody asks for them."""
        row.size += side * size
        row.flow += row.flow_sign * side * value
        row.fees += fee
        self._unbooked[row.models, row.strategy, row.symbol] = row

    def _charge(
        self, models: Models, strategy: str, symbol: int, side: int, price: int, size: int, now_ns: int, is_maker: bool
    ) -> list[tuple[str, int, str]]:
        """Book a fill where each account has a tier and a token of its own; model, fee at 1e-30 and its currency."""
        accounts = self.accounts
        terms = (strategy, symbol, side, price, size)
        return [(model, *accounts[model].fees.charge(*terms, is_maker=is_maker, now_ns=now_ns)) for model in models]

    def _hedged_profits(self, strategy: str | None) -> dict[tuple[str, str], int]:
        """By model and currency; what still waits counts at the mid of now."""
        totals: dict[tuple[str, str], int] = {}
        known = [(models, who, currency, -fee) for (models, who, currency), fee in self._paid.items()]
        for row in self._rows.values():
            waits = self._gain(row.symbol, row.open_size, row.open_value) if row.open_size or row.open_value else 0
            known.append((row.models, row.strategy, row.currency, row.hedged + waits))
        for models, who, currency, value in known:
            if value and strategy in (None, who):
                for model in models:
                    totals[model, currency] = totals.get((model, currency), 0) + value
        return totals

    def _close(self, one: _Waiting) -> None:
        _, row, signed, value = one
        row.open_size -= signed
        row.open_value -= value
        row.hedged += self._gain(row.symbol, signed, value)

    def _gain(self, symbol: int, signed: int, value: int) -> int:
        """What ``signed`` that cost ``value`` gained at the mark; nothing before the first mark."""
        worth = self._worth[symbol]
        mark2 = self._mark2(symbol)
        if not mark2:
            return 0
        now = worth.settled2(mark2, abs(signed)) if signed else 0
        gain = (now if signed > 0 else -now) - value
        return -gain if worth.is_inverse else gain
