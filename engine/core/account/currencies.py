"""From one currency to another by the marks of what is traded, exactly; where no mark leads there it says so.

The rate is the product of at most two marks. Spot markets come before contracts, a direct market before two, and among
equals the first instrument of the run, so the same marks always give the same rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from engine.core.account.money import round_half_even
from engine.core.types import ContractKind, Instrument

Mark2: TypeAlias = Callable[[int], int]
"""A symbol's mark: twice its price in price units, 0 where there is none."""


class Rate(NamedTuple):
    """What one unit of a currency is worth in another, as an exact fraction."""

    numerator: int
    denominator: int


class Converted(NamedTuple):
    """A sum in one currency, and the amounts at 1e-30 that no mark could bring there."""

    total: int
    left_out: dict[str, int]


class Conversions:
    """Rates between the currencies of a run.

    >>> btc = Instrument(venue="v", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)
    >>> eur = Instrument(venue="v", symbol="EURUSDT", base="EUR", quote="USDT", price_decimals=4, size_decimals=2)
    >>> marks = {0: 2 * 5_000_000, 1: 2 * 12_500}
    >>> conversions = Conversions((btc, eur), marks.__getitem__)
    >>> [conversions.convert(amount, "BTC", to) for amount, to in ((3, "USDT"), (1, "EUR"), (1, "XRP"))]
    [150000, 40000, None]
    """

    def __init__(self, instruments: Sequence[Instrument], mark2: Mark2) -> None:
        self._instruments = tuple(instruments)
        self._mark2 = mark2
        self._paths: dict[tuple[str, str], tuple[tuple[_Step, ...], ...]] = {}

    def rate(self, source: str, target: str) -> Rate | None:
        """What one unit of ``source`` is worth in ``target`` now; None where no marks lead there."""
        if source == target:
            return Rate(1, 1)
        paths = self._paths.get((source, target))
        if paths is None:
            paths = self._paths[source, target] = _paths(self._instruments, source, target)
        for path in paths:
            numerator = denominator = 1
            for step in path:
                price2 = self._mark2(step.symbol)
                up, down = (price2, step.scale2) if step.sells else (step.scale2, price2)
                numerator, denominator = numerator * up, denominator * down
            if numerator > 0 and denominator > 0:
                return Rate(numerator, denominator)
        return None

    def convert(self, amount: int, source: str, target: str) -> int | None:
        """An amount in another currency, rounded half to even at its own scale; None where no marks lead there."""
        rate = self.rate(source, target)
        return None if rate is None else round_half_even(amount * rate.numerator, rate.denominator)

    def total(self, amounts: Mapping[str, int], target: str) -> Converted:
        """All amounts at 1e-30 as one in ``target``; what cannot be converted is named, never counted as nothing."""
        total = 0
        left_out: dict[str, int] = {}
        for currency, amount in sorted(amounts.items()):
            converted = self.convert(amount, currency, target) if amount else 0
            if converted is None:
                left_out[currency] = amount
            else:
                total += converted
        return Converted(total, left_out)


class _Step(NamedTuple):
    """Through one market: selling its base for its quote, or the reverse; ``scale2`` is two in price units."""

    symbol: int
    sells: bool
    scale2: int


def _paths(instruments: Sequence[Instrument], source: str, target: str) -> tuple[tuple[_Step, ...], ...]:
    """Every way from one currency to another through at most two markets, the best first."""
    first = _steps(instruments, source)
    direct = [(step,) for step, to in first if to == target]
    through = [
        (step, then)
        for step, between in first
        if between not in (source, target)
        for then, to in _steps(instruments, between)
        if to == target
    ]
    return (*direct, *through)


def _steps(instruments: Sequence[Instrument], source: str) -> list[tuple[_Step, str]]:
    """Every market that trades a currency, spot first, and what it brings."""
    found = []
    for symbol, instrument in sorted(enumerate(instruments), key=lambda each: each[1].kind is not ContractKind.SPOT):
        base, quote, scale2 = instrument.base, instrument.quote, 2 * int(10**instrument.price_decimals)
        if base and quote and source in (base, quote):
            sells = source == base
            found.append((_Step(symbol, sells, scale2), quote if sells else base))
    return found
