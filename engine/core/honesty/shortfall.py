"""What trading cost against the moment it was decided, and what it missed; by strategy and symbol.

*Implementation shortfall* (Perold, 1988): what the fills cost against the mid when the request was made, with fees, and
the opportunity that the unfilled rest missed. A fill's part is ``side * (price - arrival mid) * size``; the rest's
part is the move of the mid after the order ended, over the horizons of markouts.py. Money is exact, 1e-30 of the
settlement currency; above 0 is a cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.core.account.money import Worth, to_text
from engine.core.account.treasury import Treasury
from engine.core.honesty.markouts import HORIZONS_NS
from engine.core.types import Instrument


def cost(worth: Worth, side: int, from2: int, to2: int, size: int) -> int:
    """What ``size`` costs more at half of ``to2`` than at half of ``from2``, for a buyer (1) or a seller (-1).

    >>> btc = Instrument(venue="v", symbol="X", base="B", quote="Q", price_decimals=2, size_decimals=3)
    >>> to_text(cost(Worth(btc), 1, 20_000, 20_003, 2_000)), to_text(cost(Worth(btc), -1, 20_000, 20_003, 2_000))
    ('0.03', '-0.03')
    """
    more = worth.settled2(to2, size) - worth.settled2(from2, size)
    return side * (-more if worth.is_inverse else more)


@dataclass(slots=True)
class Trading:
    """Counts and exact sums of one strategy in one symbol; sizes in units, money at 1e-30."""

    orders: int = 0  # sent
    touched: int = 0  # of them filled at least in part
    sent_size: int = 0
    filled_size: int = 0
    fills: int = 0
    maker_fills: int = 0
    maker_size: int = 0
    arrived: int = 0  # fills whose arrival mid is known
    arrival_worth: int = 0
    price_cost: int = 0
    fees: int = 0
    fees_left_out: int = 0  # fills whose fee no mark could value
    missed: int = 0  # orders that ended with something unfilled
    missed_size: int = 0
    missed_counted: list[int] = field(default_factory=lambda: [0] * len(HORIZONS_NS))
    missed_gain: list[int] = field(default_factory=lambda: [0] * len(HORIZONS_NS))
    missed_worth: list[int] = field(default_factory=lambda: [0] * len(HORIZONS_NS))


class Shortfalls:
    """Every strategy and symbol that sent an order."""

    def __init__(self, instruments: Sequence[Instrument], treasury: Treasury) -> None:
        self._instruments = tuple(instruments)
        self._worth = treasury.ledger.worth
        self._settle = tuple(instrument.settle for instrument in instruments)
        self._convert = treasury.conversions.convert
        self.rows: dict[tuple[str, int], Trading] = {}

    def of(self, strategy: str, symbol: int) -> Trading:
        """The row of a strategy and symbol, made on first use."""
        row = self.rows.get((strategy, symbol))
        if row is None:
            row = self.rows[strategy, symbol] = Trading()
        return row

    def filled(
        self,
        strategy: str,
        symbol: int,
        side: int,
        price: int,
        size: int,
        *,
        arrival2: int,
        is_maker: bool,
        fee: int,
        currency: str,
    ) -> None:
        """Book a fill; ``arrival2`` is twice the mid when it was asked for, 0 where it was not known.

        ``fee`` at 1e-30; one in another currency counts at the marks; where none leads there it is counted as left out.
        """
        row, worth = self.of(strategy, symbol), self._worth[symbol]
        row.fills += 1
        row.filled_size += size
        row.maker_fills += is_maker
        row.maker_size += size * is_maker
        settle = self._settle[symbol]
        paid = fee if currency == settle else self._convert(fee, currency, settle)
        if paid is None:
            row.fees_left_out += 1
        else:
            row.fees += paid
        if arrival2:
            row.arrived += 1
            row.arrival_worth += worth.settled2(arrival2, size)
            row.price_cost += cost(worth, side, arrival2, 2 * price, size)

    def moved(self, strategy: str, symbol: int, side: int, at: int, from2: int, to2: int, size: int) -> None:
        """The mid after an order ended unfilled: what a fill at the end's mid would have gained (or lost, below 0)."""
        row, worth = self.of(strategy, symbol), self._worth[symbol]
        row.missed_counted[at] += 1
        row.missed_gain[at] += cost(worth, side, from2, to2, size)
        row.missed_worth[at] += worth.settled2(from2, size)

    def plain(self) -> list[dict[str, Any]]:
        """One row a strategy and symbol: shares, exact costs as text, and the same in basis points."""
        rows = []
        for (strategy, symbol), one in sorted(self.rows.items()):
            instrument = self._instruments[symbol]
            rows.append(
                {
                    "strategy": strategy,
                    "symbol": instrument.name,
                    "currency": instrument.settle,
                    "orders": one.orders,
                    "fills": one.fills,
                    "maker_share": _ratio(one.maker_size, one.filled_size),
                    "fill_ratio": _ratio(one.filled_size, one.sent_size),
                    "touched_share": _ratio(one.touched, one.orders),
                    "price_cost": to_text(one.price_cost),
                    "fees": to_text(one.fees),
                    "fees_left_out": one.fees_left_out,
                    "shortfall": to_text(one.price_cost + one.fees),
                    "shortfall_bps": _bps(one.price_cost + one.fees, one.arrival_worth),
                    "missed": one.missed,
                    "missed_size": instrument.size_text(one.missed_size),
                    "missed_gain": [to_text(gain) for gain in one.missed_gain],
                    "missed_bps": [
                        _bps(gain, worth) for gain, worth in zip(one.missed_gain, one.missed_worth, strict=True)
                    ],
                }
            )
        return rows


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _bps(part: int, whole: int) -> float | None:
    return 1e4 * part / whole if whole else None
