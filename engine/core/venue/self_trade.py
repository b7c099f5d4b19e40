"""Self-trade prevention: what happens where an order that arrives would trade with one of the same account.

The account is one for all strategies of the run, as at the venue. An arriving order meets one of ours when it would
still have size left after all public size in front of ours. The modes are those of the venues (Binance: EXPIRE_MAKER,
EXPIRE_TAKER, EXPIRE_BOTH, DECREMENT, NONE; OKX and Bybit name them cancel maker, taker, both). With ``none`` orders of
the account do not see each other: paper has no public trade to show for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.book import IS_READY
from engine.core.desk.order_terms import SelfTrade
from engine.core.desk.orders import Working
from engine.core.desk.risk import Intent
from engine.core.queues.matching import walk
from engine.core.records import AnyFact, Cancelled, Expired, Rejected
from engine.core.state import OWN_COUNT, State
from engine.core.types import TimeInForce
from engine.core.venue.paper import PaperVenue
from engine.core.venue.places import Places
from engine.core.venue.resting import Match
from engine.core.venue.venue_rules import VenueRules


class Entrance:
    """Where orders meet the market: those of their own account first. ``rules``: of the venue, by symbol."""

    def __init__(
        self,
        venue: PaperVenue,
        places: Places,
        rules: Sequence[VenueRules],
        state: State,
        orders: dict[int, Working],
    ) -> None:
        self._venue = venue
        self._places = places
        self._modes = tuple(one.self_trade for one in rules)
        self._state = state
        self._orders = orders

    def meet(self, order: Working) -> list[Match | AnyFact]:
        """The order meets the market now."""
        mode = order.intent.terms.self_trade or self._modes[order.intent.symbol]
        if mode is SelfTrade.NONE or not self._may_trade(order.intent):
            return self._venue.arrive(order)
        gives_way, reduced, lost = self._ours(order, mode)
        if not gives_way and not lost:
            return self._venue.arrive(order)
        if order.intent.post_only:
            order.ended = True
            return [Rejected(order.intent.order, "would_take")]
        told: list[Match | AnyFact] = [self._places.less(maker, keeps, "self_trade") for maker, keeps in gives_way]
        left = order.venue_left - reduced - lost
        if left == 0:
            return [*told, self._places.less(order, 0, "self_trade")]
        if not lost:
            return [*told, self._places.cut(order, left, "self_trade"), *self._venue.arrive(order)]
        return told + self._partly(order, left)

    def _may_trade(self, intent: Intent) -> bool:
        """Orders of ours rest on the other side, and the order will not be rejected before it could meet them."""
        top = self._state.books.top[intent.symbol]
        if not top[IS_READY] or not top[OWN_COUNT + (1 if intent.side > 0 else 0)]:
            return False
        return (
            intent.time_in_force is not TimeInForce.FOK
            or self._public(intent, intent.price, intent.size) >= intent.size
        )

    def _public(self, intent: Intent, limit: int, most: int) -> int:
        """Displayed size that the order would take at ``limit`` or better, up to ``most``."""
        return int(walk(self._state.flat, intent.symbol, intent.side, limit, most, 0))

    def _partly(self, order: Working, most: int) -> list[Match | AnyFact]:
        """The order takes what stands in front of ours, and what is left of it expires."""
        whole, order.venue_left = order.venue_left, most
        words = self._venue.arrive(order)
        if isinstance(words[-1], Rejected):
            return words
        if order.at_venue:
            self._places.take_out(order)
        traded = sum(word.size for word in words if isinstance(word, Match))
        order.venue_left, order.lost, order.ended = 0, whole - traded, True
        kept = [word for word in words if not isinstance(word, Cancelled)]
        return [*kept, Expired(order.intent.order, order.lost, "self_trade")]

    def _ours(self, order: Working, mode: SelfTrade) -> tuple[list[tuple[Working, int]], int, int]:
        """Who of ours gives way, each with the size it keeps, best price first, then oldest.

        Second, by how much the arriving order is reduced with them; third, how much of it expires.
        """
        intent = order.intent
        makers = [
            other
            for other in self._orders.values()
            if other.at_venue
            and other.intent.symbol == intent.symbol
            and other.intent.side == -intent.side
            and (intent.price == 0 or (intent.price - other.intent.price) * intent.side >= 0)
        ]
        makers.sort(key=lambda other: intent.side * other.intent.price)
        gives_way: list[tuple[Working, int]] = []
        left, reduced = order.venue_left, 0
        for maker in makers:
            before = self._public_before(order, maker, left)
            if left <= before:
                break
            held = maker.venue_left
            if mode is SelfTrade.EXPIRE_MAKER:
                gives_way.append((maker, 0))
            elif mode is SelfTrade.DECREMENT:
                both = min(left - before, held)
                gives_way.append((maker, held - both))
                left, reduced = left - both, reduced + both
            else:
                if mode is SelfTrade.EXPIRE_BOTH:
                    gives_way.append((maker, 0))
                return gives_way, 0, left - before
        return gives_way, reduced, 0

    def _public_before(self, order: Working, maker: Working, most: int) -> int:
        """Public size that the arriving order takes before it reaches one of ours; at better prices up to ``most``."""
        intent = order.intent
        ahead = self._venue.queue_ahead(maker.intent.order) or 0
        better = maker.intent.price - intent.side
        before = ahead if better <= 0 else self._public(intent, better, most) + ahead
        # What we took of the queue in front is displayed still, and not there to be taken again.
        return min(before, self._public(intent, maker.intent.price, most))
