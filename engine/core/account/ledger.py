"""The exact account: balances, positions, realised and unrealised profit, fees; by strategy and in total.

How a fill moves money:

* **Spot**: the quote balance by the notional, the base balance by the size; the inventory is valued at the mark.
* **Linear**: nothing when a position opens; its realised profit in the quote currency when it closes.
* **Quanto**: the same in the currency that it settles in, ``contract_size`` of it for each whole unit of price.
* **Inverse**: the same in the base currency. ``size * contract_size / price`` is rounded once a fill, half to even
  at 1e-30, and that value is the fact from then on.

Fees are paid in the settlement currency, unless ``fill`` takes a spot purchase's fee from what was bought, or ``flow``
books it in a token. What else moves money (funding, interest, dividends, insurance) is a flow of its own kind. In each
currency profit = realised + unrealised - fees + carry, where carry is all flows but fees.

Cost is kept by the average-cost method: closing a part of a position releases the floor of its share, and the remainder
stays with the open part. The share is always taken from the position as it last grew, so closing in one fill or in ten
at the same price ends in the same numbers.

Each strategy has its own positions and costs; totals are the sums over the strategies, by construction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from engine.core.account.holding import Entry
from engine.core.account.money import FeeTable, Worth, amount, to_decimal, to_text
from engine.core.types import ContractKind, Instrument


class LedgerError(ValueError):
    """A fill or a snapshot that cannot be booked."""


FEE = "fee"
FUNDING = "funding"
INTEREST = "interest"
DIVIDEND = "dividend"
SHORT_FEE = "short fee"
INSURANCE = "insurance"
"""Kinds of money that moves without a fill, or in another currency than the fill's own."""


AMOUNTS = ("cost", "grown_cost", "realised", "fees", "owed")
"""What of an entry is money."""


class Ledger:
    """The account of a run. All reads are exact decimals without trailing zeros, by currency.

    >>> btc = Instrument(venue="b", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)
    >>> ledger = Ledger((btc,), {"USDT": Decimal(1000)})
    >>> ledger.fill("hold", 0, side=1, price=5_000_000, size=1_000, fee_rate=Decimal("0.001"))
    (Decimal('0.5'), 'USDT')
    >>> ledger.mark(0, price2=5_100_000 + 5_100_002)
    >>> ledger.cash(), ledger.profit("hold")
    ({'USDT': Decimal('499.5'), 'BTC': Decimal('0.01')}, {'USDT': Decimal('9.5001')})
    """

    def __init__(self, instruments: Sequence[Instrument], cash: Mapping[str, Decimal]) -> None:
        self.instruments = tuple(instruments)
        self.worth = tuple(Worth(instrument) for instrument in self.instruments)
        self._settle = tuple(instrument.settle for instrument in self.instruments)
        self._is_spot = tuple(instrument.kind is ContractKind.SPOT for instrument in self.instruments)
        self._size_one = tuple(amount(Decimal(1).scaleb(-instrument.size_decimals)) for instrument in self.instruments)
        self._initial = {currency: amount(value) for currency, value in cash.items()}
        self._initial.update({currency: 0 for currency in self._settle if currency not in self._initial})
        self._balance = dict(self._initial)
        for instrument, is_spot in zip(self.instruments, self._is_spot, strict=True):
            if is_spot:
                self._balance.setdefault(instrument.base, 0)
        self._marks2 = [0] * len(self.instruments)
        self._total = [0] * len(self.instruments)
        self._entries: dict[tuple[str, int], Entry] = {}
        self._flows: dict[tuple[str, str, str], int] = {}  # by strategy, currency and kind; above 0 was received
        self._fees = FeeTable()

    def fill(
        self,
        strategy: str,
        symbol: int,
        side: int,
        price: int,
        size: int,
        fee_rate: Decimal,
        *,
        fee_in_base: bool = False,
    ) -> tuple[Decimal, str]:
        """``charge`` with the fee as an exact decimal."""
        fee, currency = self.charge(strategy, symbol, side, price, size, fee_rate, fee_in_base=fee_in_base)
        return to_decimal(fee), currency

    def charge(
        self,
        strategy: str,
        symbol: int,
        side: int,
        price: int,
        size: int,
        fee_rate: Decimal,
        *,
        fee_in_base: bool = False,
    ) -> tuple[int, str]:
        """Book a fill; returns the exact fee at 1e-30 (negative: a rebate) and its currency.

        ``fee_in_base``: a spot purchase pays its fee from what it brought, so the position is what can be sold.

        Raises:
            LedgerError: a side other than 1 or -1, or a price or size that is not above 0.
        """
        if side not in (1, -1) or price <= 0 or size <= 0:
            raise LedgerError(f"expected side 1 or -1 and price and size above 0, found {side}, {price}, {size}")
        value = self.worth[symbol].settled(price, size)
        fee = 0 if fee_in_base else self._fees.fee(value, fee_rate)
        entry = self.book(strategy, symbol, side, size, value, fee)
        if fee_in_base:
            return self._pay_in_base(entry, price, self._fees.fee(size * self._size_one[symbol], fee_rate))
        return fee, self._settle[symbol]

    def book(self, strategy: str, symbol: int, side: int, size: int, value: int, fee: int) -> Entry:
        """Book a fill whose value and fee, at 1e-30 of the settlement currency, were computed already."""
        # Buying an inverse contract is being owed its value in the base asset at the entry price.
        flow = side * value if self.worth[symbol].is_inverse else -side * value
        return self.move(strategy, symbol, side * size, flow, fee)

    def move(self, strategy: str, symbol: int, signed_size: int, flow: int, fee: int) -> Entry:
        """Book a fill, or several as one: by how much they move the position, for what money, and their fees.

        Profit, and a spot account's balances, are those of booking them one by one; what of it is realised is not.
        """
        entry = self._entries.get((strategy, symbol))
        if entry is None:
            entry = self._entries[strategy, symbol] = Entry(strategy, symbol)
        if signed_size:
            realised = entry.apply(signed_size, flow)
        else:
            realised = flow
            entry.realised += flow
        entry.fees += fee
        self._total[symbol] += signed_size
        currency = self._settle[symbol]
        if self._is_spot[symbol]:
            self._balance[currency] += flow - fee
            self._balance[self.instruments[symbol].base] += signed_size * self._size_one[symbol]
        else:
            self._balance[currency] += realised - fee
        return entry

    def _pay_in_base(self, entry: Entry, price: int, fee: int) -> tuple[int, str]:
        """Take a fee of the base asset out of a position, as if it were sold at ``price`` and the money paid."""
        symbol = entry.symbol
        base = self.instruments[symbol].base
        units, rest = divmod(entry.owed + fee, self._size_one[symbol])
        self._flow(entry.strategy, base, FEE, entry.owed - rest)
        entry.owed = rest
        self._balance[base] -= fee
        if units:
            value = self.worth[symbol].settled(price, units)
            entry.apply(-units, value)
            entry.fees += value
            self._total[symbol] -= units
        return fee, base

    def close(self, entry: Entry, price2: int, fee: int) -> int:
        """Close a contract's position at half of ``price2`` for a fee at 1e-30; returns the profit realised."""
        symbol, size = entry.symbol, entry.size
        profit = self.unrealised_at(entry, price2) + entry.cost
        realised = entry.apply(-size, profit)
        entry.fees += fee
        self._total[symbol] -= size
        self._balance[self._settle[symbol]] += realised - fee
        return realised

    def split(self, entry: Entry, new: int, old: int) -> int:
        """A spot position becomes ``new`` units for every ``old``; returns the cash in lieu of a part of a unit."""
        symbol, size, price2 = entry.symbol, entry.size, self._marks2[entry.symbol]
        value = self.worth[symbol].settled2(price2, abs(size)) if price2 > 0 else abs(entry.cost)
        _, cash = entry.split(new, old, value)
        self._total[symbol] += entry.size - size
        self._balance[self.instruments[symbol].base] += (entry.size - size) * self._size_one[symbol]
        self._balance[self._settle[symbol]] += cash
        return cash

    def split_initial(self, currency: str, new: int, old: int) -> None:
        """What the account had of an asset at the start becomes ``new`` for every ``old``, without a part of 1e-30."""
        before = self.initial_of(currency)
        self._initial[currency] = before * new // old
        self._balance[currency] = self._balance.get(currency, 0) + self._initial[currency] - before

    def flow(self, strategy: str, currency: str, kind: str, value: int) -> None:
        """Book money at 1e-30 that a strategy received (below 0: paid) apart from its fills."""
        self._balance[currency] = self._balance.get(currency, 0) + value
        self._flow(strategy, currency, kind, value)

    def _flow(self, strategy: str, currency: str, kind: str, value: int) -> None:
        if value:
            key = strategy, currency, kind
            self._flows[key] = self._flows.get(key, 0) + value

    def flows(self, strategy: str | None = None) -> Iterator[tuple[str, str, str, int]]:
        """Strategy, currency, kind and amount at 1e-30 of all that moved apart from fills, by first booking."""
        return ((*key, value) for key, value in self._flows.items() if strategy in (None, key[0]))

    def mark(self, symbol: int, price2: int) -> None:
        """Value positions at ``price2 / 2`` from here on; bid + ask in price units is twice the mid, exactly."""
        self._marks2[symbol] = price2

    def follow_marks(self, other: Ledger) -> None:
        """Value positions at another ledger's marks from here on, which marks both."""
        self._marks2 = other._marks2

    def mark2(self, symbol: int) -> int:
        """The last mark: twice the mid in price units, 0 before the first."""
        return self._marks2[symbol]

    def position(self, symbol: int, strategy: str | None = None) -> int:
        """The signed position in size units; of all strategies together where none is named."""
        if strategy is None:
            return self._total[symbol]
        entry = self._entries.get((strategy, symbol))
        return entry.size if entry is not None else 0

    def entries(self, strategy: str | None = None) -> Iterator[Entry]:
        """Every (strategy, symbol) that ever traded, in the order of its first fill; for reading only."""
        return (entry for entry in self._entries.values() if strategy is None or entry.strategy == strategy)

    def unrealised_of(self, entry: Entry) -> int:
        """An entry's open profit at the mark, at 1e-30; nothing is won or lost before the first mark."""
        return self.unrealised_at(entry, self._marks2[entry.symbol])

    def unrealised_at(self, entry: Entry, price2: int) -> int:
        """An entry's open profit, were it closed at half of ``price2``."""
        size = entry.size
        if not size or price2 <= 0:
            return 0
        worth = self.worth[entry.symbol]
        value = worth.settled2(price2, abs(size))
        return (value if (size > 0) != worth.is_inverse else -value) - entry.cost

    def profit_of(self, entry: Entry) -> int:
        """An entry's realised and open profit less its fees, at 1e-30."""
        return entry.realised + self.unrealised_of(entry) - entry.fees

    def currency_of(self, symbol: int) -> str:
        """The settlement currency of a symbol."""
        return self._settle[symbol]

    def initial_of(self, currency: str) -> int:
        """The account's cash at the start, at 1e-30."""
        return self._initial.get(currency, 0)

    def balance_of(self, currency: str) -> int:
        """The account's balance now, at 1e-30."""
        return self._balance.get(currency, 0)

    def cash(self) -> dict[str, Decimal]:
        """The account's balances, spot inventory included, in its own currency."""
        return {currency: to_decimal(value) for currency, value in self._balance.items()}

    def realised(self, strategy: str | None = None) -> dict[str, Decimal]:
        """Profit of closed positions before fees."""
        return self._by_currency({entry: entry.realised for entry in self.entries(strategy)})

    def unrealised(self, strategy: str | None = None) -> dict[str, Decimal]:
        """Profit of open positions at the mark, before fees."""
        return self._by_currency({entry: self.unrealised_of(entry) for entry in self.entries(strategy)})

    def fees(self, strategy: str | None = None) -> dict[str, Decimal]:
        """Fees paid less rebates."""
        paid = self._total_of({entry: entry.fees for entry in self.entries(strategy)})
        return _decimals(_added(paid, ((flow[1], -flow[3]) for flow in self.flows(strategy) if flow[2] == FEE)))

    def carry(self, strategy: str | None = None, kind: str | None = None) -> dict[str, Decimal]:
        """Funding, interest, dividends and insurance received less paid; of one kind where it is named."""
        flows = self.flows(strategy)
        return _decimals(
            _added({}, ((flow[1], flow[3]) for flow in flows if flow[2] != FEE and kind in (None, flow[2])))
        )

    def profit(self, strategy: str | None = None) -> dict[str, Decimal]:
        """What was won since the start: the change of equity, which is realised + unrealised - fees + carry."""
        return _decimals(self.profits(strategy))

    def profits(self, strategy: str | None = None) -> dict[str, int]:
        """``profit`` as amounts at 1e-30."""
        return _added(
            self._total_of({entry: self.profit_of(entry) for entry in self.entries(strategy)}),
            ((flow[1], flow[3]) for flow in self.flows(strategy)),
        )

    def equity(self, strategy: str | None = None) -> dict[str, Decimal]:
        """Initial cash plus profit, spot inventory valued into its quote currency.

        A strategy has no cash of its own: its equity starts at 0 and is what it added to the account's.
        """
        return _decimals(self.equities(strategy))

    def equities(self, strategy: str | None = None) -> dict[str, int]:
        """``equity`` as amounts at 1e-30."""
        return _added(dict(self._initial) if strategy is None else {}, self.profits(strategy).items())

    def snapshot(self) -> dict[str, Any]:
        """Everything as plain values; amounts as exact decimal text, symbols by name."""
        names = [instrument.name for instrument in self.instruments]
        return {
            "initial": {currency: to_text(value) for currency, value in self._initial.items()},
            "balance": {currency: to_text(value) for currency, value in self._balance.items()},
            "marks2": dict(zip(names, self._marks2, strict=True)),
            "entries": [
                {
                    "strategy": entry.strategy,
                    "symbol": names[entry.symbol],
                    "size": entry.size,
                    "grown_size": entry.grown_size,
                    **{name: to_text(getattr(entry, name)) for name in AMOUNTS},
                }
                for entry in self._entries.values()
            ],
            "flows": [[*key, to_text(value)] for key, value in self._flows.items()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what ``snapshot`` gave, in place of everything here.

        Raises:
            LedgerError: it speaks of an instrument that this run does not have.
        """
        index = {instrument.name: at for at, instrument in enumerate(self.instruments)}
        unknown = ({row["symbol"] for row in state["entries"]} | set(state["marks2"])) - set(index)
        if unknown:
            raise LedgerError(
                f"expected a snapshot of {', '.join(sorted(index))}, found also {', '.join(sorted(unknown))}: "
                "restore it with the configuration that wrote it"
            )
        self._initial = {currency: amount(Decimal(text)) for currency, text in state["initial"].items()}
        self._balance = {currency: amount(Decimal(text)) for currency, text in state["balance"].items()}
        self._marks2 = [int(state["marks2"].get(instrument.name, 0)) for instrument in self.instruments]
        self._total = [0] * len(self.instruments)
        self._entries = {}
        for row in state["entries"]:
            entry = Entry(str(row["strategy"]), index[row["symbol"]])
            entry.size, entry.grown_size = int(row["size"]), int(row["grown_size"])
            for name in AMOUNTS:
                setattr(entry, name, amount(Decimal(row[name])))
            self._entries[entry.strategy, entry.symbol] = entry
            self._total[entry.symbol] += entry.size
        self._flows = {(str(s), str(c), str(k)): amount(Decimal(text)) for s, c, k, text in state["flows"]}

    def _total_of(self, parts: Mapping[Entry, int]) -> dict[str, int]:
        totals = dict.fromkeys(self._settle, 0)
        for entry, value in parts.items():
            totals[self._settle[entry.symbol]] += value
        return totals

    def _by_currency(self, parts: Mapping[Entry, int]) -> dict[str, Decimal]:
        return _decimals(self._total_of(parts))


def _added(totals: dict[str, int], parts: Iterable[tuple[str, int]]) -> dict[str, int]:
    for currency, value in parts:
        totals[currency] = totals.get(currency, 0) + value
    return totals


def _decimals(totals: Mapping[str, int]) -> dict[str, Decimal]:
    return {currency: to_decimal(value) for currency, value in totals.items()}
