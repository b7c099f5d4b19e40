"""What a venue takes, when its day ends, and how it says no."""

from __future__ import annotations

import msgspec


class VenueRules(msgspec.Struct, frozen=True):
    """``day_ends_ns``: when the venue's day ends, ns after midnight UTC: orders for the day expire then."""

    day_ends_ns: int = 0
