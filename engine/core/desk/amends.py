"""An order's owner asks to change it: risk looks at the order as it would be, and the change travels like a cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.desk.order_terms import Change
from engine.core.desk.orders import AMENDING, CLOSING, Working
from engine.core.desk.risk import Intent, Refused, waking_price
from engine.core.records import Amended, AmendRejected, AmendRequested
from engine.core.venue.exchange import changed

if TYPE_CHECKING:
    from engine.core.desk.desk import Desk


class Amends:
    """The desk's hand for changes."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def request(self, number: int, strategy: str, change: Change, now_ns: int) -> None:
        """Ask the venue to change an order; what risk refuses stays as it is."""
        desk = self._desk
        order = desk.orders.get(number)
        if order is None or order.intent.strategy != strategy or order.state == CLOSING:
            desk.emit(AmendRejected(number, "too_late"))
            return
        price, size = change.price or order.wanted[0], change.size or order.wanted[1]
        new = changed(order.intent, Change(price, size, change.trigger))
        if change.trigger and new.terms == order.intent.terms:
            desk.emit(AmendRejected(number, "terms", "expected an order with a trigger, found one without"))
            return
        problem = self._refused(order, new, now_ns)
        if problem is not None:
            desk.emit(AmendRejected(number, problem.rule, problem.detail))
            desk.on_order(order, problem.rule)
            return
        order.wanted = (price, size)
        order.amends += 1
        if order.promised:
            order.promised = max(order.promised, new.price or waking_price(new))
        if order.held or size > order.size:
            desk.exposure.hold(order, max(order.held, size - order.filled))
        order.tell(AMENDING)
        arrives_ns = desk.amend_arrives_ns(order, now_ns)
        desk.emit(AmendRequested(number, change.price, change.size, change.trigger, arrives_ns))
        desk.schedule(arrives_ns, "amend", (order, change))
        desk.on_order(order, "")

    def told(self, order: Working, word: Amended | AmendRejected) -> None:
        """The owner hears what became of a change, its own or the venue's."""
        if isinstance(word, Amended):
            order.price, order.size = word.price, word.size
        if isinstance(word, AmendRejected) or word.cause == "user":
            order.amends -= 1
        if order.amends == 0:
            order.wanted = (order.price, order.size)
            if order.promised and order.intent.terms.peg is None:
                order.promised = order.price or waking_price(order.intent) or order.promised
            self._desk.exposure.hold(order, order.left if order.held else 0)
            if order.state == AMENDING:
                order.tell(order.stands)
        self._desk.on_order(order, word.reason if isinstance(word, AmendRejected) else "")

    def _refused(self, order: Working, new: Intent, now_ns: int) -> Refused | None:
        """What risk says to the order as it would be, without what it counts for now."""
        desk, held = self._desk, order.held
        if new.size <= order.filled:
            return None  # ends it, as the venue will
        pair = new.terms.pair
        is_closing = not held and new.size <= order.size
        here = [one for one in desk.orders.values() if one is order or (pair and one.intent.terms.pair == pair)]
        with desk.exposure.without(here):
            buying, selling = desk.exposure.working(new.symbol)
            done = order.filled
            buying, selling = (buying - done, selling) if new.side > 0 else (buying, selling - done)
            decision = desk.risk.check(new, now_ns, buying, selling, len(desk.orders) - 1, is_closing=is_closing)
        return decision if isinstance(decision, Refused) else None
