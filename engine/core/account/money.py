"""Exact money: an amount of any currency is an integer of 1e-30, and the text of it is plain decimal.

Thirty decimals hold the product of price, size, contract size and fee rate of every venue we know without rounding,
so a sum of such amounts never depends on the order in which it was added.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from engine.core.types import ContractKind, Instrument, decimal_text

DECIMALS = 30
ONE = int(10**DECIMALS)
"""One whole unit of a currency."""


class MoneyError(ValueError):
    """A value that cannot be held exactly at the ledger's scale, or that is no amount at all."""


def ratio(value: Decimal) -> tuple[int, int]:
    """A finite decimal as numerator and denominator, where the denominator is a power of ten.

    >>> ratio(Decimal("0.00075")), ratio(Decimal("-1E+2"))
    ((75, 100000), (-100, 1))
    """
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise MoneyError(f"expected a finite decimal, found {value}: correct the setting")
    number = int("".join(map(str, digits)) or "0")
    number = -number if sign else number
    return (number * int(10**exponent), 1) if exponent >= 0 else (number, int(10**-exponent))


def amount(value: Decimal) -> int:
    """The integer amount of a decimal, exact.

    >>> amount(Decimal("1.5")) == 15 * ONE // 10
    True
    """
    numerator, denominator = ratio(value)
    result, rest = divmod(numerator * ONE, denominator)
    if rest:
        raise MoneyError(f"expected at most {DECIMALS} decimals, found {value}: shorten it")
    return result


def to_decimal(value: int) -> Decimal:
    """An integer amount as an exact decimal without trailing zeros and never with a positive exponent.

    >>> to_decimal(100 * ONE), to_decimal(-ONE // 8), to_decimal(0)
    (Decimal('100'), Decimal('-0.125'), Decimal('0'))
    """
    return Decimal(to_text(value))


def to_text(value: int) -> str:
    """An integer amount as exact plain decimal text.

    >>> to_text(ONE // 10**9), to_text(1200 * ONE)
    ('0.000000001', '1200')
    """
    if not value:
        return "0"
    return decimal_text(value, DECIMALS).rstrip("0").rstrip(".")


def round_half_even(numerator: int, denominator: int) -> int:
    """The nearest integer to a fraction with a positive denominator; a tie goes to the even one.

    >>> [round_half_even(n, 2) for n in (1, 3, 5, -1, -3)]
    [0, 2, 2, 0, -2]
    """
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """A total from 0 up, split by weights so that the parts sum to it exactly; what rounding leaves goes to the last.

    >>> shares(10, [1, 2, 0]), shares(7, [0, 0])
    ([3, 7, 0], [0, 7])
    """
    parts, left, weight_left = [], total, sum(weights)
    for number, weight in enumerate(weights, 1):
        part = left * weight // weight_left if weight_left else (left if number == len(weights) else 0)
        parts.append(part)
        left, weight_left = left - part, weight_left - weight
    return parts


class Worth:
    """How price and size of one instrument become amounts.

    ``settled`` is the value in the settlement currency. It is exact for spot and linear contracts; of an inverse
    contract (``size * contract_size / price``) it is rounded half to even at 1e-30, and that amount is the fact.

    >>> coin = Instrument(venue="b", symbol="X", base="BTC", quote="USD", price_decimals=1, size_decimals=0,
    ...                   kind=ContractKind.INVERSE, contract_size=Decimal(100))
    >>> to_text(Worth(coin).settled(500_000, 10)), to_text(Worth(coin).notional2(1_000_000, 10) // 2)
    ('0.02', '1000')
    """

    __slots__ = ("_face", "_unit", "is_inverse")

    def __init__(self, instrument: Instrument) -> None:
        self.is_inverse = instrument.kind is ContractKind.INVERSE
        numerator, denominator = ratio(instrument.contract_size)
        if numerator <= 0:
            raise MoneyError(f"{instrument.name}: expected a contract size above 0, found {instrument.contract_size}")
        shift = DECIMALS - instrument.size_decimals
        per_price = shift + instrument.price_decimals if self.is_inverse else shift - instrument.price_decimals
        # Half a unit must be a whole amount too, as a mid price may lie between two prices.
        unit, unit_rest = divmod(numerator * int(10 ** max(per_price, 0)), denominator)
        face, face_rest = divmod(numerator * int(10 ** max(shift, 0)), denominator)
        if per_price < 0 or shift < 0 or unit_rest or face_rest or unit % 2:
            raise MoneyError(
                f"{instrument.name}: expected fewer than {DECIMALS} decimals of price, size and contract together, "
                f"found {instrument.price_decimals}, {instrument.size_decimals} and {instrument.contract_size}"
            )
        self._unit = unit
        self._face = face

    def settled(self, price: int, size: int) -> int:
        """The value of ``size > 0`` at ``price > 0`` in the settlement currency."""
        if self.is_inverse:
            return round_half_even(self._unit * size, price)
        return self._unit * price * size

    def settled2(self, price2: int, size: int) -> int:
        """The same at half of ``price2``: the exact mid price, where ``price2`` is bid + ask."""
        if self.is_inverse:
            return round_half_even(2 * self._unit * size, price2)
        return self._unit * price2 * size // 2

    def notional2(self, price2: int, size: int) -> int:
        """Twice the value in the quote currency at half of ``price2``; exact for every kind of contract."""
        return 2 * self._face * size if self.is_inverse else self._unit * price2 * size


class FeeTable:
    """Computes fees in integer amounts and remembers the few rates a run uses as integer ratios."""

    __slots__ = ("_limit", "_ratios")

    def __init__(self, limit: int = 64) -> None:
        self._ratios: dict[Decimal, tuple[int, int]] = {}
        self._limit = limit

    def fee(self, value: int, rate: Decimal) -> int:
        """The fee on a value at 1e-30, rounded up there: no rounding is ever in our favour.

        >>> FeeTable().fee(1_000_001, Decimal("0.001")), FeeTable().fee(1_000_001, Decimal("-0.001"))
        (1001, -1000)
        """
        known = self._ratios.get(rate)
        if known is None:
            known = ratio(rate)
            if len(self._ratios) < self._limit:
                self._ratios[rate] = known
        return -(-value * known[0] // known[1])
