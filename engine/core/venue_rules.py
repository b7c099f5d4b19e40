"""What a venue takes, when its day ends, and how it says no."""

from __future__ import annotations

import msgspec

from engine.core.order_terms import SelfTrade


class VenueRules(msgspec.Struct, frozen=True):
    """How the venue ends, wakes and links orders.

    ``day_ends_ns``: when its day ends, ns after midnight UTC: orders for the day expire then. ``rejects_reached``: an
    order whose trigger the market has passed already is rejected, otherwise it wakes at once. ``lets_in_parts``: a
    parent that ended with a part filled lets its children in for that part. ``ends_pair_on_part``: the first trade of
    one of a pair ends the other, otherwise it takes what it traded off it. ``self_trade``: what happens where two
    orders of the account would trade with each other. ``volatility_step_ns`` and ``volatility_samples``: how the
    volatility that a stop may trail by is measured.
    """

    day_ends_ns: int = 0
    rejects_reached: bool = False
    lets_in_parts: bool = True
    ends_pair_on_part: bool = False
    self_trade: SelfTrade = SelfTrade.NONE
    volatility_step_ns: int = 1_000_000_000
    volatility_samples: int = 30
