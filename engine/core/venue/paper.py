"""The paper venue: what would have happened to an order, had it really been sent.

An order sent at engine time ``t`` meets the market in the received stream at ``t + out + feed``: the stream we see is
old by the feed latency, so the market that the order meets reaches us that much later. What the venue then says is
told ``back - feed`` after that, at once when the private message is the faster of the two.
"""

from __future__ import annotations

from engine.core.book import ASK, BID, IS_READY
from engine.core.desk.orders import Working
from engine.core.records import Accepted, AnyFact, Cancelled, CancelRejected, Expired, Rejected
from engine.core.state import State
from engine.core.types import OrderKind, TimeInForce
from engine.core.venue.paper_settings import PaperSettings
from engine.core.venue.resting import Match, Resting
from engine.core.venue.taking import Taking


class PaperVenue:
    """The venue's side of the orders: who rests where, and what an arrival meets.

    Every method answers with what happened, in order: a ``Match`` for each trade and the venue's words as facts.
    """

    def __init__(self, settings: PaperSettings, state: State) -> None:
        self.settings = settings
        self._top: memoryview[int] = state.books.top.data
        self.resting = Resting(state, settings.queue.twin_grace_ns)
        self._taking = Taking(settings.impact, state)

    def arrive(self, order: Working) -> list[Match | AnyFact]:
        """The order meets the market."""
        intent = order.intent
        top, symbol = self._top, intent.symbol
        if not top[symbol, IS_READY]:
            return self._reject(order, "book_not_ready")
        opposite = top[symbol, ASK if intent.side > 0 else BID]
        crosses = opposite != 0 and (intent.price - opposite) * intent.side >= 0
        if intent.post_only and crosses:
            return self._reject(order, "would_take")
        is_market = intent.kind is OrderKind.MARKET
        if intent.time_in_force is TimeInForce.FOK and self._taking.look(intent) < intent.size:
            return self._reject(order, "fok_unfilled")
        if is_market and self._taking.look(intent) == 0:
            return self._reject(order, "price_protection" if self._taking.is_protected(intent) else "no_liquidity")
        rests = not is_market and intent.time_in_force.rests
        if rests and not self.resting.has_room:
            return self._reject(order, "too_many_orders")
        matches: list[Match | AnyFact] = []
        if is_market or crosses:
            matches.extend(self._taking.take(order))
        ahead = self.resting.join(order) if rests and order.venue_left else 0
        told: list[Match | AnyFact] = [Accepted(intent.order, ahead), *matches]
        if order.venue_left and not rests:
            told.append(self._expired(order) if self._taking.is_protected(intent) else self._unfilled(order))
        order.ended = not order.at_venue
        return told

    def cancel(self, order: Working, reason: str) -> AnyFact:
        """A cancel meets the market; it lost when the order has ended."""
        if order.ended or not order.at_venue:
            return CancelRejected(order.intent.order)
        self.resting.leave(order)
        return self._cancelled(order, reason)

    def matched(self) -> list[Match]:
        """What the kernel's last call did to resting orders."""
        return self.resting.matched()

    def queue_ahead(self, order: int) -> int | None:
        """Public size in front of a resting order now, None where it does not rest."""
        return self.resting.queue_ahead(order)

    def _unfilled(self, order: Working) -> Cancelled:
        """It does not rest, and the market gave no more."""
        return self._cancelled(order, "no_liquidity" if order.intent.kind is OrderKind.MARKET else "ioc")

    def _expired(self, order: Working) -> Expired:
        """The venue protects market orders from prices too far away."""
        return Expired(order.intent.order, self._cancelled(order, "").left, "price_protection")

    def _cancelled(self, order: Working, reason: str) -> Cancelled:
        left, order.venue_left = order.venue_left, 0
        order.ended, order.lost = True, left
        return Cancelled(order.intent.order, left, reason)

    def _reject(self, order: Working, reason: str) -> list[Match | AnyFact]:
        order.ended = True
        return [Rejected(order.intent.order, reason)]
