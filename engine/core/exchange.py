"""The venue's side of an order's life around the matching: when an order enters the market, changes and ends.

Everything here happens at the venue, at the order's own moment in the received stream: an order that wakes there pays
no further way out. Each method answers with what happened, in order, as ``PaperVenue`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from engine.core.book import ASK, BID, IS_READY
from engine.core.order_terms import Change
from engine.core.orders import Working
from engine.core.paper import PaperVenue
from engine.core.paper_settings import PaperSettings
from engine.core.records import (
    Accepted,
    Amended,
    AmendRejected,
    AnyFact,
    Cancelled,
    CancelRejected,
    Expired,
    Rejected,
)
from engine.core.resting import Match
from engine.core.risk import Intent
from engine.core.state import State
from engine.core.types import TimeInForce

Told = Match | AnyFact

DAY_NS = 86_400_000_000_000


class Exchange:
    """Stands between the desk and the matching.

    ``orders``: those whose end the owner does not know yet, by number. ``position_of(strategy, symbol)``: what fills
    have told. ``schedule(ns, what, subject)`` comes back through ``expire``.
    """

    def __init__(
        self,
        venue: PaperVenue,
        settings: PaperSettings,
        state: State,
        orders: dict[int, Working],
        position_of: Callable[[str, int], int],
        schedule: Callable[[int, str, object], None],
    ) -> None:
        self._venue = venue
        self._settings = settings
        self._tops = state.books.top
        self._orders = orders
        self._position_of = position_of
        self._schedule = schedule
        self._reducing: dict[tuple[str, int], list[Working]] = {}  # resting orders that only reduce

    def arrive(self, order: Working, now_ns: int) -> list[Told]:
        """The order reaches the venue."""
        order.arrived = True
        ends_ns = self._ends_ns(order, now_ns)
        if ends_ns:
            if ends_ns <= now_ns:
                return self._reject(order, "expired")
            self._schedule(ends_ns, "expire", order)
        return self._follow(self._enter(order))

    def refuse(self, order: Working, reason: str, words: str) -> list[Told]:
        """The order reached the venue and was not let in."""
        order.arrived = order.ended = True
        return self._follow([Rejected(order.intent.order, reason, words)])

    def cancel(self, order: Working, reason: str) -> list[Told]:
        """A cancel reaches the venue; it lost when the order has ended."""
        if order.ended or not order.arrived:
            return [CancelRejected(order.intent.order)]
        return self._follow([Cancelled(order.intent.order, self._take_out(order), reason)])

    def amend(self, order: Working, change: Change) -> list[Told]:
        """A change reaches the venue: less size keeps the place, another price or more size goes behind the queue."""
        intent, number, done = order.intent, order.intent.order, order.done
        if order.ended or not order.arrived:
            return [AmendRejected(number, "too_late")]
        new = msgspec.structs.replace(intent, price=change.price or intent.price, size=change.size or intent.size)
        left = new.size - done
        if left <= 0:
            return self._follow([Cancelled(number, self._take_out(order), "amended")])
        if not order.at_venue:
            order.intent, order.venue_left = new, left
            return [Amended(number, new.price, new.size, -1, "user")]
        if new.price == intent.price and left <= order.venue_left:
            return [self._shrink(order, left, "user")]
        problem = self._cannot_move(new)
        if problem:
            return [AmendRejected(number, problem)]
        self._venue.resting.leave(order)
        order.intent, order.venue_left = new, left
        return self._follow(_as_amended(self._enter(order), new, "user"))

    def expire(self, order: Working) -> list[Told]:
        """Its time is over."""
        if order.ended:
            return []
        reason = order.intent.time_in_force.value
        return self._follow([Expired(order.intent.order, self._take_out(order), reason)])

    def matched(self, matches: Iterable[Match]) -> list[Told]:
        """Resting orders traded: what the venue makes of it."""
        told: list[Told] = list(matches)
        return self._follow(told) if self._reducing else told

    # How an order enters and leaves the market.

    def _enter(self, order: Working) -> list[Told]:
        """The order meets the market now."""
        intent = order.intent
        if not intent.terms.reduce_only:
            return self._venue.arrive(order)
        scope = (intent.strategy, intent.symbol)
        room = self._reducible(intent) - sum(other.venue_left for other in self._reducing.get(scope, ()))
        if room <= 0:
            return self._reject(order, "reduce_only")
        told: list[Told] = []
        if room < order.venue_left:
            size = order.done + room
            order.intent, order.venue_left = msgspec.structs.replace(intent, size=size), room
            told.append(Amended(intent.order, intent.price, size, -1, "reduce_only"))
        told += self._venue.arrive(order)
        if order.at_venue:
            self._reducing.setdefault(scope, []).append(order)
        return told

    def _take_out(self, order: Working) -> int:
        """End an order wherever it stands; what was left of it."""
        if order.at_venue:
            self._venue.resting.leave(order)
        left, order.venue_left, order.ended = order.venue_left, 0, True
        order.lost = left
        return left

    def _shrink(self, order: Working, left: int, cause: str) -> Amended:
        """Less of an order that rests: it keeps its place."""
        intent = order.intent
        size = order.done + left
        self._venue.resting.shrink(order, left)
        order.intent = msgspec.structs.replace(intent, size=size)
        ahead = self._venue.queue_ahead(intent.order)
        return Amended(intent.order, intent.price, size, -1 if ahead is None else ahead, cause)

    def _cannot_move(self, new: Intent) -> str:
        """Why a resting order cannot go to another place now; empty when it can."""
        top = self._tops[new.symbol]
        if not top[IS_READY]:
            return "book_not_ready"
        opposite = int(top[ASK] if new.side > 0 else top[BID])
        return "would_take" if new.post_only and opposite and (new.price - opposite) * new.side >= 0 else ""

    def _reject(self, order: Working, reason: str) -> list[Told]:
        order.ended = True
        return [Rejected(order.intent.order, reason)]

    def _ends_ns(self, order: Working, now_ns: int) -> int:
        """When in the received stream the venue ends the order by its clock; 0: never."""
        intent = order.intent
        if intent.time_in_force is TimeInForce.GTD:
            return intent.terms.expires_ns + order.feed_ns
        if intent.time_in_force is TimeInForce.DAY:
            at_venue = now_ns - order.feed_ns - self._settings.rules.day_ends_ns
            return (at_venue // DAY_NS + 1) * DAY_NS + self._settings.rules.day_ends_ns + order.feed_ns
        return 0

    # What follows from what happened.

    def _follow(self, told: list[Told]) -> list[Told]:
        """What the venue does by its rules after what it just told."""
        if not self._reducing:
            return told
        out: list[Told] = []
        for at, word in enumerate(told):
            if not isinstance(word, Match):
                out.append(word)
                continue
            order = self._orders[word.order]
            if order.intent.terms.reduce_only:
                out += self._clip(order, word, told[at:])
            else:
                out.append(word)
            out += self._keep_reducing((order.intent.strategy, order.intent.symbol))
        return out

    def _clip(self, order: Working, match: Match, rest: Sequence[Told]) -> list[Told]:
        """A reducing order trades no more than there was to reduce when its turn in the frame came."""
        intent = order.intent
        room = self._reducible(intent)
        for word in rest:
            if isinstance(word, Match):
                other = self._orders[word.order].intent
                if (other.strategy, other.symbol) == (intent.strategy, intent.symbol):
                    room += other.side * intent.side * word.size
        over = match.size - max(0, room)
        if over <= 0:
            return [match]
        told: list[Told] = [msgspec.structs.replace(match, size=room)] if room > 0 else []
        if order.ended:
            order.lost = over
            return [*told, Expired(intent.order, over, "reduce_only")]
        order.venue_left += over  # what is left now ends with it in a moment
        return told

    def _reducible(self, intent: Intent) -> int:
        """What an order of this side may still close of its strategy's position, fills on their way included."""
        position = self._position_of(intent.strategy, intent.symbol)
        for order in self._orders.values():
            other = order.intent
            if other.strategy == intent.strategy and other.symbol == intent.symbol:
                position += other.side * (order.done - order.filled)
        return -intent.side * position

    def _keep_reducing(self, scope: tuple[str, int]) -> list[Told]:
        """Resting orders that only reduce never hold more than there is to reduce: the youngest give way."""
        told: list[Told] = []
        here = [order for order in self._reducing.get(scope, ()) if order.at_venue]
        room = {side: self._reducible(order.intent) for order in here for side in (order.intent.side,)}
        for order in here:
            side = order.intent.side
            left = min(order.venue_left, max(0, room[side]))
            room[side] -= left
            if left == 0:
                told.append(Expired(order.intent.order, self._take_out(order), "reduce_only"))
            elif left < order.venue_left:
                told.append(self._shrink(order, left, "reduce_only"))
        here = [order for order in here if order.at_venue]
        if here:
            self._reducing[scope] = here
        else:
            self._reducing.pop(scope, None)
        return told


def _as_amended(told: list[Told], new: Intent, cause: str) -> list[Told]:
    """An order that came back to the market was changed, not accepted anew."""
    return [
        Amended(word.order, new.price, new.size, word.queue_ahead, cause) if isinstance(word, Accepted) else word
        for word in told
    ]
