"""The margin account of a run: who may still open, who is warned, and who is closed by the venue.

Positions are the account's: strategies on one symbol net, as on a venue in one-way mode. *Cross*: all contracts that
settle in a currency share its balance; when balance + open profit is no more than their maintenance margin, the venue
closes the position with the largest maintenance first, until the rest holds. *Isolated*: each symbol has the initial
margin of its fills, released as it shrinks, and can lose no more. The mark price is the venue's where its feed has one,
else the mid, looked at whenever positions are valued (``WATCH_NS``).

A liquidation takes the symbol's orders out of the market, closes every strategy's part at the mark and charges the
liquidation fee. What that costs beyond the margin (cross: beyond the balance, once no contract is left) the insurance
fund pays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from engine.core.account.holding import Entry
from engine.core.account.ledger import INSURANCE, Ledger
from engine.core.account.margin import MarginError, MarginSettings, TierTable, bankruptcy_value
from engine.core.account.marks import MARK_PRICE
from engine.core.account.money import amount, ratio, shares, to_text
from engine.core.book import Int64s
from engine.core.desk.risk import Intent
from engine.core.money_facts import Liquidated, MarginCall
from engine.core.records import AnyFact
from engine.core.types import ContractKind, Instrument

MODES = ("none", "cross", "isolated")


class Position(NamedTuple):
    """A symbol's net position at the mark; amounts at 1e-30 of the currency of profit."""

    symbol: int
    size: int
    value: int
    cost: int
    open_profit: int
    maintenance: int


class MarginAccount:
    """``mid2(symbol)``: twice the mid now or last known.

    ``working_of(symbol)``: sizes working to buy and to sell; ``take_out(symbol)``: the venue ends its orders.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        settings: MarginSettings,
        ledger: Ledger,
        top: Int64s,
        emit: Callable[[AnyFact], None],
        mid2: Callable[[int], int],
        working_of: Callable[[int], tuple[int, int]],
        take_out: Callable[[int], None],
    ) -> None:
        if settings.mode not in MODES:
            raise MarginError(f"expected a margin mode of {', '.join(MODES)}, found {settings.mode!r}")
        self.is_on = settings.mode != "none"
        self.is_isolated = settings.mode == "isolated"
        self._instruments = tuple(instruments)
        self._ledger = ledger
        self._top = top
        self._emit = emit
        self._mid2 = mid2
        self._working_of = working_of
        self._take_out = take_out
        names = [instrument.name for instrument in self._instruments]
        self._leverage = [ratio(settings.leverages.get(name, settings.leverage)) for name in names]
        if any(numerator <= 0 for numerator, _ in self._leverage):
            raise MarginError("expected leverages above 0, found one of 0 or less")
        self._tables = [TierTable(settings.tables.get(name, settings.tiers)) for name in names]
        self._fee = ratio(settings.liquidation_fee)
        self._call_at = ratio(settings.call_at)
        self._contracts = [symbol for symbol, one in enumerate(self._instruments) if one.kind is not ContractKind.SPOT]
        self._net = [0] * len(names)
        self._isolated = [0] * len(names)  # margin of each symbol, at 1e-30
        self._called: set[str] = set()

    # What a position needs.

    def mark2(self, symbol: int) -> int:
        """Twice the mark price: the venue's own where its feed has one, else the mid last known."""
        return 2 * int(self._top[symbol, MARK_PRICE]) or self._mid2(symbol)

    def position(self, symbol: int) -> Position:
        """The account's position in a contract at the mark."""
        price2, worth = self.mark2(symbol), self._ledger.worth[symbol]
        entries = [entry for entry in self._ledger.entries() if entry.symbol == symbol]
        size = sum(entry.size for entry in entries)
        value = worth.settled2(price2, abs(size)) if size and price2 > 0 else 0
        return Position(
            symbol,
            size,
            value,
            cost=sum(entry.cost for entry in entries),
            open_profit=sum(self._ledger.unrealised_at(entry, price2) for entry in entries),
            maintenance=self._tables[symbol].maintenance(value) if size else 0,
        )

    def _positions(self, currency: str) -> list[Position]:
        """What is held of the contracts that settle in a currency."""
        held = (self.position(symbol) for symbol in self._contracts if self._ledger.currency_of(symbol) == currency)
        return [one for one in held if (one.size or one.open_profit) and self.mark2(one.symbol) > 0]

    def filled(self, symbol: int, price: int) -> None:
        """A fill changed a position: isolated margin comes and goes with it."""
        before, now = self._net[symbol], self._ledger.position(symbol)
        self._net[symbol] = now
        if not self.is_isolated or self._instruments[symbol].kind is ContractKind.SPOT:
            return
        if before * now <= 0:  # nothing is left of what was there
            before = self._isolated[symbol] = 0
        if abs(now) > abs(before):
            value = self._ledger.worth[symbol].settled(price, abs(now) - abs(before))
            self._isolated[symbol] += self._tables[symbol].initial(value, self._leverage[symbol])
        elif before:
            self._isolated[symbol] = self._isolated[symbol] * abs(now) // abs(before)

    def lacking(self, intent: Intent, working_buy: int, working_sell: int) -> str:
        """Why an order lacks initial margin, were everything working on its side filled; empty where it does not."""
        symbol, side = intent.symbol, intent.side
        if not self.is_on or self._instruments[symbol].kind is ContractKind.SPOT:
            return ""
        held = side * self._ledger.position(symbol)
        if held < 0 and held + (working_buy if side > 0 else working_sell) + intent.size <= 0:
            return ""
        currency = self._ledger.currency_of(symbol)
        have = self._ledger.balance_of(currency)
        if not self.is_isolated:
            have += sum(one.open_profit for one in self._positions(currency))
        need = 0
        for one in self._contracts:
            if self._ledger.currency_of(one) != currency:
                continue
            buying, selling = self._working_of(one)
            if one == symbol:
                buying += intent.size if side > 0 else 0
                selling += intent.size if side < 0 else 0
            need += self._need(one, buying, selling, intent.price if one == symbol else 0)
        if need <= have:
            return ""
        leverage = Fraction(*self._leverage[symbol])
        return (
            f"expected at most the {to_text(have)} {currency} there is as margin, found {to_text(need)} needed "
            f"with working orders at a leverage of {leverage}"
        )

    def _need(self, symbol: int, buying: int, selling: int, price: int) -> int:
        """Initial margin of a symbol, whichever side of its orders fills."""
        net = self._ledger.position(symbol)
        worst = max(abs(net), net + buying, selling - net)
        if self.is_isolated:
            worst -= abs(net)
        price2 = max(2 * price, self.mark2(symbol)) if not self._ledger.worth[symbol].is_inverse else self.mark2(symbol)
        price2 = price2 or 2 * price
        value = self._ledger.worth[symbol].settled2(price2, worst) if worst and price2 else 0
        return self._tables[symbol].initial(value, self._leverage[symbol]) + self._isolated[symbol]

    # The venue acts.

    def watch(self) -> None:
        """Close what is no longer covered, and warn of what is near it."""
        if not self.is_on:
            return
        if self.is_isolated:
            for symbol in self._contracts:
                self._watch_isolated(symbol)
        else:
            for currency in dict.fromkeys(self._ledger.currency_of(symbol) for symbol in self._contracts):
                self._watch_cross(currency)

    def _watch_isolated(self, symbol: int) -> None:
        one = self.position(symbol)
        margin = self._isolated[symbol]
        if not one.size or self.mark2(symbol) <= 0:  # what has no mark is not judged
            return
        name, currency = self._instruments[symbol].name, self._ledger.currency_of(symbol)
        if margin + one.open_profit > one.maintenance:
            self._warn(name, currency, margin + one.open_profit, one.maintenance)
            return
        lost = self._close(one, bankruptcy_value(margin, one.cost, self._sign(one)))
        lost.settle(max(0, lost.total - margin))
        self._isolated[symbol] = 0
        self._called.discard(name)

    def _watch_cross(self, currency: str) -> None:
        closed: list[_Closing] = []
        while held := self._positions(currency):
            wallet = self._ledger.balance_of(currency)
            balance = wallet + sum(one.open_profit for one in held)
            needed = sum(one.maintenance for one in held)
            if balance > needed:
                self._warn(currency, currency, balance, needed)
                break
            worst = max(held, key=lambda one: (one.maintenance, -one.symbol))
            others = balance - worst.open_profit
            closed.append(self._close(worst, bankruptcy_value(others, worst.cost, self._sign(worst))))
        short = 0 if held else max(0, -self._ledger.balance_of(currency))
        for closing in reversed(closed):
            covered = min(short, max(0, closing.total))
            closing.settle(covered)
            short -= covered
        if closed:
            self._called.discard(currency)

    def _sign(self, one: Position) -> int:
        """Of the value in the open profit: above 0 where the position gains as its value grows."""
        return 1 if (one.size > 0) != self._ledger.worth[one.symbol].is_inverse else -1

    def _close(self, one: Position, bankruptcy: Fraction | None) -> _Closing:
        """The venue takes a symbol's orders out and closes its positions at the mark."""
        self._take_out(one.symbol)
        price2 = self.mark2(one.symbol)
        closing = _Closing(self, one.symbol, price2, self.price_of(one.symbol, abs(one.size), bankruptcy))
        worth, (numerator, denominator) = self._ledger.worth[one.symbol], self._fee
        for entry in list(self._ledger.entries()):
            if entry.symbol == one.symbol and entry.size:
                size = entry.size
                fee = -(-worth.settled2(price2, abs(size)) * numerator // denominator)
                closing.parts.append((entry, size, self._ledger.close(entry, price2, fee), fee))
        self._net[one.symbol] = 0
        return closing

    def _warn(self, scope: str, currency: str, balance: int, needed: int) -> None:
        numerator, denominator = self._call_at
        is_near = needed > 0 and needed * denominator >= numerator * balance
        if is_near and scope not in self._called:
            self._emit(MarginCall(scope, to_text(balance), to_text(needed), currency))
        (self._called.add if is_near else self._called.discard)(scope)

    # What it looks like.

    def price_of(self, symbol: int, size: int, value: Fraction | None) -> str:
        """The price in quote currency at which a size has a value, to the price unit; empty for none."""
        if value is None or not size:
            return ""
        worth = self._ledger.worth[symbol]
        one = worth.settled(1, size)
        units = Fraction(one) / value if worth.is_inverse else value / one
        return self._instruments[symbol].price_text(round(units))

    def liquidation_price(self, symbol: int) -> str:
        """Where the position would be closed if nothing else moved, to the price unit; empty where no price does it."""
        one = self.position(symbol)
        currency = self._ledger.currency_of(symbol)
        balance = self._isolated[symbol]
        if not self.is_isolated:
            others = [each for each in self._positions(currency) if each.symbol != symbol]
            balance = self._ledger.balance_of(currency) + sum(each.open_profit - each.maintenance for each in others)
        value = self._tables[symbol].liquidation_value(balance, one.cost, self._sign(one))
        return self.price_of(symbol, abs(one.size), value)

    def plain(self) -> list[dict[str, Any]]:
        """By position: its value and maintenance margin at the mark, and its liquidation price, as exact text."""
        held = (self.position(symbol) for symbol in self._contracts) if self.is_on else iter(())
        return [
            {
                "symbol": self._instruments[one.symbol].name,
                "size": self._instruments[one.symbol].size_text(one.size),
                "currency": self._ledger.currency_of(one.symbol),
                "value": to_text(one.value),
                "maintenance": to_text(one.maintenance),
                "margin": to_text(self._isolated[one.symbol]) if self.is_isolated else None,
                "liquidation_price": self.liquidation_price(one.symbol) or None,
            }
            for one in held
            if one.size
        ]

    def snapshot(self) -> dict[str, Any]:
        """Isolated margins by symbol, and who was warned, as plain values."""
        names = [instrument.name for instrument in self._instruments]
        margins = {name: to_text(value) for name, value in zip(names, self._isolated, strict=True) if value}
        return {"isolated": margins, "called": sorted(self._called)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what ``snapshot`` gave, once the ledger has been restored."""
        self._isolated = [amount(Decimal(state["isolated"].get(one.name, "0"))) for one in self._instruments]
        self._net = [self._ledger.position(symbol) for symbol in range(len(self._instruments))]
        self._called = set(state["called"])

    def tell(self, fact: AnyFact) -> None:
        self._emit(fact)

    def pay_in(self, strategy: str, symbol: int, value: int) -> None:
        """The insurance fund pays a strategy's loss beyond the margin."""
        self._ledger.flow(strategy, self._ledger.currency_of(symbol), INSURANCE, value)

    def details(self, symbol: int) -> tuple[Instrument, str]:
        return self._instruments[symbol], self._ledger.currency_of(symbol)


class _Closing:
    """A liquidation under way: its parts, until it is known what the insurance fund pays."""

    def __init__(self, account: MarginAccount, symbol: int, price2: int, bankruptcy: str) -> None:
        self._account = account
        self._symbol = symbol
        self._price2 = price2
        self._bankruptcy = bankruptcy
        self.parts: list[tuple[Entry, int, int, int]] = []  # entry, size closed, profit realised, fee

    @property
    def total(self) -> int:
        """What it cost: losses realised and fees, less gains."""
        return sum(fee - realised for _, _, realised, fee in self.parts)

    def settle(self, insured: int) -> None:
        """Tell what happened; the fund's payment goes to those who lost, by what they lost."""
        instrument, currency = self._account.details(self._symbol)
        losses = [max(0, fee - realised) for _, _, realised, fee in self.parts]
        for (entry, size, realised, fee), paid in zip(self.parts, shares(insured, losses), strict=True):
            self._account.pay_in(entry.strategy, self._symbol, paid)
            self._account.tell(
                Liquidated(
                    symbol=instrument.name,
                    strategy=entry.strategy,
                    size=-size,
                    mark=format(Decimal(self._price2).scaleb(-instrument.price_decimals) / 2, "f"),
                    realised=to_text(realised),
                    fee=to_text(fee),
                    insurance=to_text(paid),
                    bankruptcy=self._bankruptcy,
                    currency=currency,
                )
            )
