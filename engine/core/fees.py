"""What a fill costs: maker and taker rates, and the exact fee."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.core.money import ratio


class FeeRates(msgspec.Struct, frozen=True):
    """Fractions of a fill's value; a negative rate is a rebate.

    >>> FeeRates(maker=Decimal("-0.0001")).of(is_maker=True)
    Decimal('-0.0001')
    """

    maker: Decimal = Decimal("0.001")
    taker: Decimal = Decimal("0.001")

    def of(self, is_maker: bool) -> Decimal:
        """The rate that a fill pays."""
        return self.maker if is_maker else self.taker


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
