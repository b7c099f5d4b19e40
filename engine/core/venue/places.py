"""Where an order stands at the venue, and what can be taken off it there: in the book, waiting, or not in yet."""

from __future__ import annotations

import msgspec

from engine.core.desk.orders import Working
from engine.core.records import Amended, Expired
from engine.core.venue.paper import PaperVenue
from engine.core.venue.triggers import Triggers


class Places:
    """Changes what the venue still has of an order, wherever that is."""

    def __init__(self, venue: PaperVenue, triggers: Triggers) -> None:
        self._venue = venue
        self._triggers = triggers

    def take_out(self, order: Working) -> int:
        """End an order wherever it stands; what was left of it."""
        if order.at_venue:
            self._venue.resting.leave(order)
        elif order.intent.terms.trigger is not None:
            self._triggers.disarm(order)
        left = order.venue_left
        order.venue_left, order.lost, order.ended = 0, left, True
        return left

    def cut(self, order: Working, left: int, cause: str) -> Amended:
        """Less of an order that does not rest."""
        intent = msgspec.structs.replace(order.intent, size=order.done + left)
        order.intent, order.venue_left = intent, left
        return Amended(intent.order, intent.price, intent.size, -1, cause)

    def shrink(self, order: Working, left: int, cause: str) -> Amended:
        """Less of an order that rests: it keeps its place."""
        intent = order.intent
        size = order.done + left
        self._venue.resting.shrink(order, left)
        order.intent = msgspec.structs.replace(intent, size=size)
        return self.amended(order, cause)

    def amended(self, order: Working, cause: str) -> Amended:
        intent, ahead = order.intent, self._venue.queue_ahead(order.intent.order)
        return Amended(intent.order, intent.price, intent.size, -1 if ahead is None else ahead, cause)

    def less(self, order: Working, left: int, cause: str) -> Amended | Expired:
        """Leave so much of an order, wherever it stands; with nothing left it ends."""
        if not left:
            return Expired(order.intent.order, self.take_out(order), cause)
        return self.shrink(order, left, cause) if order.at_venue else self.cut(order, left, cause)
