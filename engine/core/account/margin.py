"""Margin by formula: what a position needs, and at which price it is liquidated and bankrupt. All of it is exact.

A position's *value* is in the currency of profit: price x size x contract size, of an inverse contract size x contract
size / price. With the tier of that value,

    initial margin     = value / leverage
    maintenance margin = value x rate - amount
    amount of tier n   = floor of n x (rate of n - rate of n-1) + amount of n-1

as Binance has it: https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93. There the liquidation price
is where the margin balance is the maintenance margin,

    (WB - TMM + UPNL + cum - side x size x EP) / (size x MMR - side x size),

and ``liquidation_value``, which is written in values, holds for inverse contracts too.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from engine.core.account.money import amount, ratio


class MarginError(ValueError):
    """A table of tiers, or a mode, that cannot be."""


class MarginTier(msgspec.Struct, frozen=True):
    """From a position's value of ``above`` on: the maintenance ``rate``, and the highest leverage (0: no limit)."""

    above: Decimal
    rate: Decimal
    max_leverage: Decimal = Decimal(0)


class MarginSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``mode``: ``none``, ``cross`` or ``isolated``, for every symbol that is no spot market.

    ``leverage``, ``tiers``: for symbols that ``leverages`` and ``tables`` do not name. ``liquidation_fee``: a fraction
    of the value closed. ``call_at``: a margin call is told where maintenance is this fraction of the margin balance.
    """

    mode: str = "none"
    leverage: Decimal = Decimal(1)
    leverages: dict[str, Decimal] = {}
    tiers: tuple[MarginTier, ...] = (MarginTier(Decimal(0), Decimal("0.005")),)
    tables: dict[str, tuple[MarginTier, ...]] = {}
    liquidation_fee: Decimal = Decimal(0)
    call_at: Decimal = Decimal("0.8")


class TierTable:
    """Maintenance tiers as integers of 1e-30.

    >>> tiers = [MarginTier(Decimal(a), Decimal(r)) for a, r in ((0, "0.004"), (50_000, "0.005"), (250_000, "0.01"))]
    >>> from engine.core.account.money import to_text
    >>> table = TierTable(tiers)
    >>> [to_text(table.amount_at(amount(Decimal(value)))) for value in (1, 60_000, 500_000)]
    ['0', '50', '1300']
    """

    def __init__(self, tiers: Sequence[MarginTier]) -> None:
        floors = [tier.above for tier in tiers]
        if not tiers or floors != sorted(set(floors)) or floors[0] != 0:
            raise MarginError(f"expected tiers from 0 upwards, found {', '.join(map(str, floors)) or 'none'}")
        rates = [tier.rate for tier in tiers]
        if rates != sorted(rates) or not 0 <= rates[0] <= rates[-1] < 1:
            raise MarginError(f"expected rates from 0 to below 1 that do not fall, found {', '.join(map(str, rates))}")
        self._floors = [amount(floor) for floor in floors]
        self._rates = [ratio(rate) for rate in rates]
        self._caps = [ratio(tier.max_leverage) for tier in tiers]
        self._amounts: list[int] = []
        before, total = Decimal(0), 0
        for floor, rate in zip(floors, rates, strict=True):
            total += amount(floor * (rate - before)) if floor else 0
            self._amounts.append(total)
            before = rate

    def _at(self, value: int) -> int:
        return max(index for index, floor in enumerate(self._floors) if floor <= max(value, 0))

    def amount_at(self, value: int) -> int:
        """The maintenance amount of a value's tier."""
        return self._amounts[self._at(value)]

    def maintenance(self, value: int) -> int:
        """The maintenance margin of a value, rounded up at 1e-30."""
        index = self._at(value)
        numerator, denominator = self._rates[index]
        return -(-value * numerator // denominator) - self._amounts[index]

    def initial(self, value: int, leverage: tuple[int, int]) -> int:
        """The initial margin of a value at a leverage, or at the highest that its tier allows, rounded up at 1e-30."""
        numerator, denominator = leverage
        top, bottom = self._caps[self._at(value)]
        if top and top * denominator < numerator * bottom:
            numerator, denominator = top, bottom
        return -(-value * denominator // numerator)

    def liquidation_value(self, balance: int, cost: int, sign: int) -> Fraction | None:
        """The value at which ``balance`` + open profit is the maintenance margin; None where no price reaches that.

        ``balance``: the margin beside the position's own profit: the wallet, less the maintenance and plus the open
        profit of all other positions. The open profit is ``sign`` x value - ``cost``.
        """
        for index, floor in enumerate(self._floors):
            rate = Fraction(*self._rates[index])
            value = Fraction(cost - balance - self._amounts[index]) / (sign - rate)
            ceiling = self._floors[index + 1] if index + 1 < len(self._floors) else None
            if value > 0 and value >= floor and (ceiling is None or value < ceiling):
                return value
        return None


def bankruptcy_value(balance: int, cost: int, sign: int) -> Fraction | None:
    """The value at which ``balance`` + open profit is nothing; None where no price reaches that.

    A long of 10 x at 100, margin 50: worth nothing more where the price is 5 below.

    >>> bankruptcy_value(50, 1000, 1), bankruptcy_value(50, -1000, -1), bankruptcy_value(2000, 1000, 1)
    (Fraction(950, 1), Fraction(1050, 1), None)
    """
    value = Fraction(cost - balance) * sign
    return value if value > 0 else None
