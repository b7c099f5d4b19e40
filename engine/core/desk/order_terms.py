"""What an order may ask for beyond side, size and price: when it wakes, what it shows, what it follows, when it ends.

A plain order carries the one ``PLAIN``. Prices and offsets are in the instrument's price units, sizes in its size
units, times in ns UTC of engine time.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from engine.core.types import OrderKind


class TriggerKind(StrEnum):
    """``STOP``: a buy wakes when the price rises to it, a sell when it falls. ``TAKE_PROFIT``: the other way round."""

    STOP = "stop"
    TAKE_PROFIT = "take_profit"


class TriggerBy(StrEnum):
    """The price that wakes an order: the last trade, the mid, the side it would take from, or the venue's mark."""

    LAST = "last"
    MID = "mid"
    BEST = "best"
    MARK = "mark"


class TrailBy(StrEnum):
    """The unit of a trailing distance: price units, basis points of the best price so far, or thousandths of the mean
    absolute change of the mid over a sampling step (``[paper.rules] volatility_step``)."""

    PRICE = "price"
    BPS = "bps"
    VOLATILITY = "volatility"


class PegTo(StrEnum):
    """What a pegged order follows: the best price of its own side, the mid, or the best price of the other side."""

    PRIMARY = "primary"
    MID = "mid"
    MARKET = "market"


class SelfTrade(StrEnum):
    """What the venue does where two orders of one account would trade with each other."""

    NONE = "none"
    EXPIRE_MAKER = "expire_maker"
    EXPIRE_TAKER = "expire_taker"
    EXPIRE_BOTH = "expire_both"
    DECREMENT = "decrement"


class Trail(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trigger price that follows the market at a distance. ``activation``: the price from which on it does, 0: now.

    ``first``: for ``VOLATILITY``, the distance in price units until there were enough samples.
    """

    by: TrailBy
    value: int
    activation: int = 0
    first: int = 0


class Trigger(msgspec.Struct, frozen=True, omit_defaults=True):
    """The order waits at the venue until ``by`` reaches ``price``; with ``trail`` the price is found from the market.

    >>> Trigger(TriggerKind.STOP, 100).is_above(side=1), Trigger(TriggerKind.TAKE_PROFIT, 100).is_above(side=1)
    (True, False)
    """

    kind: TriggerKind
    price: int = 0
    by: TriggerBy = TriggerBy.LAST
    trail: Trail | None = None

    def is_above(self, side: int) -> bool:
        """Whether an order of this side wakes at or above the price; otherwise at or below it."""
        return (self.kind is TriggerKind.STOP) == (side > 0)


class Peg(msgspec.Struct, frozen=True, omit_defaults=True):
    """The price follows ``to`` at ``offset`` price units, which is added to it (negative: below)."""

    to: PegTo
    offset: int = 0


class Terms(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """All that makes an order more than a plain one.

    ``display``: size shown of an iceberg, 0 all of it. ``expires_ns``: the end of a ``gtd`` order. ``parent``: the
    order whose complete fill lets this one in (one triggers the other). ``pair``: names the two of which one cancels
    the other. ``self_trade``: empty takes the venue's default.
    """

    trigger: Trigger | None = None
    display: int = 0
    peg: Peg | None = None
    expires_ns: int = 0
    reduce_only: bool = False
    self_trade: SelfTrade | None = None
    parent: int = 0
    pair: int = 0


class Change(msgspec.Struct, frozen=True):
    """What an amend asks for: the price, the whole size and the trigger price after it; 0: as it is."""

    price: int = 0
    size: int = 0
    trigger: int = 0


PLAIN = Terms()
"""The terms of an order that asks for nothing special; there is only this one, so ``is`` finds plain orders."""


def terms(**asked: Any) -> Terms:
    """Terms with what is not empty in ``asked``, and ``PLAIN`` itself when that is nothing.

    >>> terms(display=0, peg=None) is PLAIN, terms(display=5).display
    (True, 5)
    """
    told = {name: value for name, value in asked.items() if value}
    return Terms(**told) if told else PLAIN


WordT = TypeVar("WordT", bound=StrEnum)


def _word(words: type[WordT], told: str) -> WordT:
    try:
        return words(told)
    except ValueError:
        raise ValueError(f"expected one of {', '.join(words)}, found {told!r}") from None


def stop(price: int, by: str = TriggerBy.LAST) -> Trigger:
    """Wakes when the market moves against the holder: a sell at or below ``price``, a buy at or above it."""
    return Trigger(TriggerKind.STOP, price, _word(TriggerBy, by))


def take_profit(price: int, by: str = TriggerBy.LAST) -> Trigger:
    """Wakes when the market moves for the holder: a sell at or above ``price``, a buy at or below it."""
    return Trigger(TriggerKind.TAKE_PROFIT, price, _word(TriggerBy, by))


def trailing(
    value: int,
    unit: str = TrailBy.PRICE,
    *,
    by: str = TriggerBy.LAST,
    activation: int = 0,
    first: int = 0,
) -> Trigger:
    """A stop that follows the best price so far at a distance of ``value`` in ``unit``.

    >>> trailing(50, "bps").trail
    Trail(by=<TrailBy.BPS: 'bps'>, value=50, activation=0, first=0)
    """
    return Trigger(TriggerKind.STOP, 0, _word(TriggerBy, by), Trail(_word(TrailBy, unit), value, activation, first))


def type_of(kind: OrderKind, asked: Terms) -> str:
    """The field's name for an order: ``market``, ``stop_limit``, ``trailing``, ``iceberg``, ``pegged`` …

    >>> type_of(OrderKind.LIMIT, Terms(trigger=stop(100))), type_of(OrderKind.MARKET, PLAIN)
    ('stop_limit', 'market')
    """
    if asked is PLAIN:
        return kind.value
    if asked.trigger is not None:
        word = "trailing" if asked.trigger.trail is not None else asked.trigger.kind.value
        return f"{word}_limit" if kind is OrderKind.LIMIT else word
    if asked.peg is not None:
        return "pegged"
    return "iceberg" if asked.display else kind.value
