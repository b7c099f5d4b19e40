"""The paper venue: what would have happened to an order, had it really been sent.

An order sent at engine time ``t`` meets the market in the received stream at ``t + out + feed``: the stream we see is
old by the feed latency, so the market that the order meets reaches us that much later. What the venue then says is
told ``back - feed`` after that, at once when the private message is the faster of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.core.book import ASK, BID, IS_READY
from engine.core.matching import displayed_at, walk
from engine.core.orders import Working
from engine.core.paper_settings import PaperSettings
from engine.core.records import Accepted, AnyFact, Cancelled, CancelRejected, Rejected
from engine.core.risk import Intent
from engine.core.state import (
    F_AHEAD,
    F_MAKER,
    F_ORDER,
    F_PRICE,
    F_SIZE,
    FILL_COUNT,
    R_AHEAD,
    R_FIRST_AHEAD,
    R_LEFT,
    R_ORDER,
    R_PRICE,
    R_SIDE,
    R_SYMBOL,
    RESTING_COUNT,
    RESTING_HERE,
    RESTING_ROOM,
    State,
)
from engine.core.types import OrderKind, TimeInForce


class Match(msgspec.Struct, frozen=True):
    """What the market did to an order, before anybody is told. ``ahead``: the queue when it came, size units."""

    order: int
    price: int
    size: int
    is_maker: bool
    ahead: int


class PaperVenue:
    """The venue's side of the orders: who rests where, and what an arrival meets.

    Every method answers with what happened, in order: a ``Match`` for each trade and the venue's words as facts.
    """

    def __init__(self, settings: PaperSettings, state: State) -> None:
        self.settings = settings
        self._state = state
        self._working: dict[int, Working] = {}

    def arrive(self, order: Working) -> list[Match | AnyFact]:
        """The order meets the market."""
        intent = order.intent
        top = self._state.books.top[intent.symbol]
        if not top[IS_READY]:
            return self._reject(order, "book_not_ready")
        opposite = int(top[ASK] if intent.side > 0 else top[BID])
        crosses = opposite != 0 and (intent.price - opposite) * intent.side >= 0
        if intent.post_only and crosses:
            return self._reject(order, "would_take")
        is_market = intent.kind is OrderKind.MARKET
        if intent.time_in_force is TimeInForce.FOK and self._look(intent) < intent.size:
            return self._reject(order, "fok_unfilled")
        if is_market and self._look(intent) == 0:
            return self._reject(order, "no_liquidity")
        rests = not is_market and intent.time_in_force is TimeInForce.GTC
        if rests and self._state.control[RESTING_COUNT] >= self._state.control[RESTING_ROOM]:
            return self._reject(order, "too_many_orders")
        matches: list[Match | AnyFact] = []
        if is_market or crosses:
            matches.extend(self._take(order))
        ahead = self._rest(order) if rests and order.venue_left else 0
        told: list[Match | AnyFact] = [Accepted(intent.order, ahead), *matches]
        if order.venue_left and not rests:
            told.append(self._cancelled(order, "no_liquidity" if is_market else "ioc"))
        order.ended = not order.at_venue
        return told

    def cancel(self, order: Working, reason: str) -> AnyFact:
        """A cancel meets the market; it lost when the order has ended."""
        if order.ended or not order.at_venue:
            return CancelRejected(order.intent.order)
        self._leave(order)
        return self._cancelled(order, reason)

    def matched(self) -> list[Match]:
        """What the kernel's last call did to resting orders."""
        control, fills = self._state.control, self._state.fills
        matches = []
        for row in fills[: control[FILL_COUNT]].tolist():
            order = self._working[row[F_ORDER]]
            order.venue_left -= row[F_SIZE]
            if order.venue_left == 0:
                self._leave(order)
            matches.append(Match(row[F_ORDER], row[F_PRICE], row[F_SIZE], bool(row[F_MAKER]), row[F_AHEAD]))
        return matches

    def queue_ahead(self, order: int) -> int | None:
        """Public size in front of a resting order now, None where it does not rest."""
        for row in self._state.resting[: self._state.control[RESTING_COUNT]]:
            if row[R_ORDER] == order:
                return int(row[R_AHEAD])
        return None

    def _look(self, intent: Intent) -> int:
        state = self._state
        return walk(
            state.control,
            state.books.top,
            state.books.levels,
            state.taken,
            state.fills,
            intent.symbol,
            intent.side,
            intent.price,
            intent.size,
            0,
        )

    def _take(self, order: Working) -> Sequence[Match]:
        state, intent = self._state, order.intent
        state.control[FILL_COUNT] = 0
        found = walk(
            state.control,
            state.books.top,
            state.books.levels,
            state.taken,
            state.fills,
            intent.symbol,
            intent.side,
            intent.price,
            order.venue_left,
            intent.order,
        )
        order.venue_left -= int(found)
        rows = state.fills[: state.control[FILL_COUNT]].tolist()
        return [Match(row[F_ORDER], row[F_PRICE], row[F_SIZE], is_maker=False, ahead=0) for row in rows]

    def _rest(self, order: Working) -> int:
        state, intent = self._state, order.intent
        which = 0 if intent.side > 0 else 1
        ahead = displayed_at(state.books.top, state.books.levels, intent.symbol, which, intent.price)
        at = int(state.control[RESTING_COUNT])
        row = state.resting[at]
        row[:] = 0
        row[R_ORDER], row[R_SYMBOL], row[R_SIDE] = intent.order, intent.symbol, intent.side
        row[R_PRICE], row[R_LEFT], row[R_AHEAD], row[R_FIRST_AHEAD] = intent.price, order.venue_left, ahead, ahead
        state.control[RESTING_COUNT] = at + 1
        state.books.top[intent.symbol, RESTING_HERE] += 1
        order.at_venue = True
        self._working[intent.order] = order
        return ahead

    def _leave(self, order: Working) -> None:
        state = self._state
        count = int(state.control[RESTING_COUNT])
        at = int((state.resting[:count, R_ORDER] == order.intent.order).argmax())
        state.resting[at : count - 1] = state.resting[at + 1 : count].copy()
        state.control[RESTING_COUNT] = count - 1
        state.books.top[order.intent.symbol, RESTING_HERE] -= 1
        order.at_venue = False
        order.ended = True
        del self._working[order.intent.order]

    def _cancelled(self, order: Working, reason: str) -> Cancelled:
        left, order.venue_left = order.venue_left, 0
        order.ended = True
        return Cancelled(order.intent.order, left, reason)

    def _reject(self, order: Working, reason: str) -> list[Match | AnyFact]:
        order.ended = True
        return [Rejected(order.intent.order, reason)]
