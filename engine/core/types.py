"""The words of the market as immutable values with units.

Prices and sizes are integers in the instrument's smallest units: a price of ``6183763`` with
``price_decimals == 2`` is 61837.63. Nothing in the core ever turns one into a float to compute with money.
"""

from __future__ import annotations

import math
from decimal import Decimal
from enum import IntEnum, StrEnum

import msgspec

INT64_MAX = 2**63 - 1
NEVER_NS = INT64_MAX
"""An engine time that never comes: what a queue of due things answers when it is empty."""


class UnitsError(ValueError):
    """A decimal text that the instrument's units cannot hold exactly."""


def units(text: str, decimals: int) -> int:
    """Turn exact decimal text into an integer of ``10**-decimals``.

    Raises:
        UnitsError: not a plain finite decimal number, finer than the unit, or beyond 64 bits.

    >>> units("61837.63000000", 2)
    6183763
    """
    whole, dot, fraction = text.partition(".")
    sign = whole.startswith("-")
    digits = whole[1:] if sign else whole
    if not digits.isdecimal() or not text.isascii() or (dot and not fraction.isdecimal()):
        raise UnitsError(f"expected a plain decimal number, found {text!r}")
    kept, rest = fraction[:decimals], fraction[decimals:]
    if rest.strip("0"):
        raise UnitsError(f"expected at most {decimals} decimals, found {text!r}")
    value = int(digits + kept.ljust(decimals, "0"))
    if value > INT64_MAX:
        raise UnitsError(f"expected a number of at most 64 bits in units of 1e-{decimals}, found {text!r}")
    return -value if sign else value


def decimal_text(value: int, decimals: int) -> str:
    """Turn an integer of ``10**-decimals`` back into exact decimal text.

    >>> decimal_text(6183763, 2), decimal_text(-5, 3), decimal_text(7, 0)
    ('61837.63', '-0.005', '7')
    """
    if decimals == 0:
        return str(value)
    digits = str(abs(value)).rjust(decimals + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-decimals]}.{digits[-decimals:]}"


class Side(IntEnum):
    """Of an order or of the aggressor of a trade; the value is the sign of the position it builds."""

    BUY = 1
    SELL = -1

    @property
    def opposite(self) -> Side:
        return Side(-self.value)


class ContractKind(StrEnum):
    """How price and size become money.

    ``SPOT``: cash against the base asset. ``LINEAR``: profit in the quote currency, proportional to the price.
    ``INVERSE``: a contract is worth ``contract_size`` of the quote currency and settles in the base asset.
    ``QUANTO``: profit in a third currency: ``contract_size`` of it for each whole unit that the price moves.
    """

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"
    QUANTO = "quanto"


class OrderKind(StrEnum):
    MARKET = "market"
    LIMIT = "limit"


class TimeInForce(StrEnum):
    """Good till cancelled, till a date, for the day of the venue; immediate or cancel; fill or kill."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    GTD = "gtd"
    DAY = "day"

    @property
    def rests(self) -> bool:
        """What does not trade at once waits in the book."""
        return self not in (TimeInForce.IOC, TimeInForce.FOK)


class Filters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What else a venue holds orders of an instrument against; 0: nothing known.

    Prices and sizes in the instrument's units; ``*_up`` and ``*_down``: the furthest price of a buy (``bid``) or sell
    (``ask``) in millionths of the market's; ``min_worth``, ``max_worth``: notional of the quote currency at 1e-30;
    ``max_orders``, ``max_algo_orders``: open orders of an account, and those that wait for a trigger.
    """

    min_price: int = 0
    max_price: int = 0
    market_lot: int = 0
    market_min_size: int = 0
    market_max_size: int = 0
    bid_up: int = 0
    bid_down: int = 0
    ask_up: int = 0
    ask_down: int = 0
    min_worth: int = 0
    max_worth: int = 0
    iceberg_parts: int = 0
    max_orders: int = 0
    max_algo_orders: int = 0


NO_FILTERS = Filters()


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """What is traded, and the units in which its prices and sizes are integers.

    ``tick``, ``lot``, ``min_size``, ``max_size`` are in those units; ``max_size == 0`` means no limit known.
    ``contract_size`` is base asset (linear) or quote currency (inverse) per ``1`` of size; of a quanto contract it is
    the fixed multiplier in ``settle_in``, the currency of its profit. ``source`` says who told: ``venue`` (its own
    instrument list), ``config`` or ``wire`` (inferred from the decimals of the frames).

    >>> btc = Instrument(venue="binance", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)
    >>> btc.name, btc.price_units("61837.63"), btc.price_text(6183763), btc.settle
    ('binance:BTCUSDT', 6183763, '61837.63', 'USDT')
    """

    venue: str
    symbol: str
    base: str
    quote: str
    price_decimals: int
    size_decimals: int
    kind: ContractKind = ContractKind.SPOT
    tick: int = 1
    lot: int = 1
    min_size: int = 0
    max_size: int = 0
    min_notional: Decimal = Decimal(0)
    contract_size: Decimal = Decimal(1)
    source: str = "venue"
    filters: Filters = NO_FILTERS
    settle_in: str = ""

    @property
    def name(self) -> str:
        return f"{self.venue}:{self.symbol}"

    @property
    def settle(self) -> str:
        """The currency in which profit, loss and fees are paid."""
        if self.kind is ContractKind.QUANTO:
            return self.settle_in or self.quote
        return self.base if self.kind is ContractKind.INVERSE else self.quote

    @property
    def counted_in(self) -> str:
        """The currency of notionals and limits: the quote currency, of a quanto contract that of its profit."""
        return self.settle if self.kind is ContractKind.QUANTO else self.quote

    def price_units(self, text: str) -> int:
        return units(text, self.price_decimals)

    def size_units(self, text: str) -> int:
        return units(text, self.size_decimals)

    def price_text(self, price: int) -> str:
        return decimal_text(price, self.price_decimals)

    def size_text(self, size: int) -> str:
        return decimal_text(size, self.size_decimals)

    def size_for_notional(self, notional: Decimal, price: int) -> int:
        """The largest size, a whole number of lots, worth at most ``notional`` of the quote currency at ``price``.

        >>> btc = Instrument(venue="b", symbol="X", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)
        >>> btc.size_for_notional(Decimal(1000), 5_000_000)
        2000
        """
        if price <= 0:
            return 0
        size = int(notional / self._per_unit(price))
        return size - size % self.lot

    def least_size(self, price: int) -> int:
        """The smallest size, a whole number of lots, that the venue takes at ``price`` in units.

        >>> btc = Instrument(venue="b", symbol="X", base="BTC", quote="USDT", price_decimals=2, size_decimals=5,
        ...                  min_notional=Decimal(5))
        >>> btc.least_size(6_000_000)
        9
        """
        size = max(self.min_size, self.lot)
        if price > 0:
            size = max(size, math.ceil(self.min_notional / self._per_unit(price)))
        return -(-size // self.lot) * self.lot

    def _per_unit(self, price: int) -> Decimal:
        """What one unit of size is worth at a price in units, quote currency."""
        per_unit = self.contract_size.scaleb(-self.size_decimals)
        if self.kind is ContractKind.INVERSE:
            return per_unit
        return per_unit * Decimal(price).scaleb(-self.price_decimals)
