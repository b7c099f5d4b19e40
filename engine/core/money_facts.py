"""What moved money without a fill, told as facts; amounts are exact decimal text, below 0 where the strategy paid."""

from __future__ import annotations

from engine.core.order_facts import Fact


class Funding(Fact, frozen=True, tag=True):
    """A perpetual's funding was paid: ``amount`` in ``currency``.

    ``rate``: as a fraction of the position's value at the ``mark`` price; above 0 the longs pay.
    """

    symbol: str
    strategy: str
    rate: str
    mark: str
    amount: str
    currency: str


class MarginCall(Fact, frozen=True, tag=True):
    """A margin balance came near its maintenance margin. ``scope``: a currency (cross) or a symbol (isolated)."""

    scope: str
    balance: str
    maintenance: str
    currency: str


class Liquidated(Fact, frozen=True, tag=True):
    """The venue closed a strategy's position at the mark price; ``size`` in size units, signed as the closing trade.

    ``realised`` before the ``fee``; ``insurance``: what the fund paid of a loss beyond the margin; ``bankruptcy``: the
    price at which the margin would have been used up, empty where there is none.
    """

    symbol: str
    strategy: str
    size: int
    mark: str
    realised: str
    fee: str
    insurance: str
    bankruptcy: str
    currency: str


class Interest(Fact, frozen=True, tag=True):
    """A debt of the hour that ended was charged: ``rate`` an hour on ``debt``, the largest of that hour."""

    strategy: str
    currency: str
    rate: str
    debt: str
    amount: str


class Dividend(Fact, frozen=True, tag=True):
    """A share went ex dividend: ``amount`` is the holder's, or a short seller's to pay; it is cash at ``paid_ns``."""

    symbol: str
    strategy: str
    per_share: str
    amount: str
    currency: str
    paid_ns: int


class Split(Fact, frozen=True, tag=True):
    """Shares were split or joined: ``before`` and ``after`` in size units, ``ratio`` new shares for an old one.

    ``cash``: what was paid in lieu of a part of a unit.
    """

    symbol: str
    strategy: str
    ratio: str
    before: int
    after: int
    cash: str
    currency: str


class ShortFee(Fact, frozen=True, tag=True):
    """A day of borrowed shares was charged: a yearly ``rate`` on their ``value`` at the mark."""

    symbol: str
    strategy: str
    rate: str
    value: str
    amount: str
    currency: str


class Settled(Fact, frozen=True, tag=True):
    """Money of sales or dividends arrived: it may be spent from here on."""

    amount: str
    currency: str
