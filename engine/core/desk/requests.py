"""From what a strategy asked to orders that may leave: each intent is recorded, risk looks at it, and it counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.core.book import Book
from engine.core.desk.orders import REFUSED, SENT, Working
from engine.core.desk.risk import Intent, Refused, waking_price
from engine.core.records import Refusal, Request
from engine.core.types import ContractKind, Instrument

if TYPE_CHECKING:
    from engine.core.desk.desk import Desk


class Requests:
    """The desk's hand for new orders."""

    def __init__(self, desk: Desk, instruments: Sequence[Instrument], books: Sequence[Book]) -> None:
        self._desk = desk
        self._instruments = tuple(instruments)
        self._names = tuple(instrument.name for instrument in instruments)
        self._books = books

    def approved(self, intents: Sequence[Intent], now_ns: int) -> list[Working]:
        """The orders of a list, counted by risk from here on; none of them where one is refused."""
        for intent in intents:
            self._requested(intent)
        orders: list[Working] = []
        for intent in intents:
            order = Working(intent, SENT, intent.size)
            refused = self._refused(order, orders, now_ns)
            if refused is not None:
                for one in orders:
                    self._desk.exposure.hold(one, 0)
                self._refuse(intents, refused)
                return []
            orders.append(order)
        return orders

    def _requested(self, intent: Intent) -> None:
        self._desk.emit(
            Request(
                order=intent.order,
                strategy=intent.strategy,
                symbol=self._names[intent.symbol],
                side=intent.side,
                kind=intent.kind,
                time_in_force=intent.time_in_force,
                price=intent.price,
                size=intent.size,
                post_only=intent.post_only,
                terms=intent.terms,
            )
        )

    def _refused(self, order: Working, before: Sequence[Working], now_ns: int) -> Refused | None:
        """What risk says to an order; an approved one counts from here on.

        ``before``: the orders that leave with it. A child that closes what its parent opens adds nothing yet.
        """
        intent = order.intent
        parent: Working | None = None
        if intent.terms.parent:
            parent = self._desk.orders.get(intent.terms.parent)
            parent = next((one for one in before if one.intent.order == intent.terms.parent), parent)
            if parent is None or (parent.intent.strategy, parent.intent.symbol) != (intent.strategy, intent.symbol):
                found = f"expected a working order of its own on the symbol as parent, found {intent.terms.parent}"
                return Refused(intent, "terms", found)
        closes = (
            parent is not None
            and parent.intent.side == -intent.side
            and self._with_siblings(intent, before) <= parent.size
        )
        pair = intent.terms.pair
        open_orders = len(self._desk.orders) + len(before)
        # Of a pair only one can fill: the second is looked at in the place of the first.
        with self._desk.exposure.without([one for one in before if pair and one.intent.terms.pair == pair]):
            buying, selling = self._desk.exposure.working(intent.symbol)
            decision = self._desk.risk.check(intent, now_ns, buying, selling, open_orders, is_closing=closes)
        if isinstance(decision, Refused):
            return decision
        if intent.side > 0 and self._instruments[intent.symbol].kind is ContractKind.SPOT:
            order.promised = intent.price or waking_price(intent) or self._books[intent.symbol].ask
        self._desk.exposure.hold(order, 0 if closes else intent.size)
        return None

    def _with_siblings(self, intent: Intent, before: Sequence[Working]) -> int:
        """The size that closes what the parent opens, with this child; of a pair the larger order counts."""
        sizes = {intent.terms.pair or intent.order: intent.size}
        for one in (*self._desk.orders.values(), *before):
            terms = one.intent.terms
            if terms.parent == intent.terms.parent and one.intent.side == intent.side and not one.held:
                key = terms.pair or one.intent.order
                sizes[key] = max(sizes.get(key, 0), one.size, one.wanted[1])
        return sum(sizes.values())

    def _refuse(self, intents: Sequence[Intent], refused: Refused) -> None:
        """None of a list leaves; each is told the rule that one of them broke."""
        for intent in intents:
            detail = refused.detail if intent is refused.intent else f"order {refused.intent.order}: {refused.detail}"
            self._desk.refused[refused.rule] = self._desk.refused.get(refused.rule, 0) + 1
            name = self._names[intent.symbol]
            self._desk.emit(Refusal(intent.order, intent.strategy, name, refused.rule, detail))
            order = Working(intent, REFUSED, intent.size)
            self._desk.on_order(order, refused.rule)
