"""Orders that hang together at the venue: one triggers the other (OTO), one cancels the other (OCO), and brackets.

A child waits until its parent is filled. Of a pair no more trades than one order of it asked for: the first that
trades, wakes or is taken back ends the other, or (where the venue's rules say so) takes what it traded off it. A
bracket is a parent whose two children are a pair. The venue keeps the list, as the venues with order lists do, so
nothing of it pays another way out.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.desk.orders import Working
from engine.core.venue.venue_rules import VenueRules

WAITS, IN, OUT = "waits", "in", "out"
"""What a child's parent did: it works, it was filled, it ended otherwise."""


class Lists:
    """Who waits for whom and who ends whom. ``rules``: of the venue, by symbol."""

    def __init__(self, rules: Sequence[VenueRules]) -> None:
        self._rules = tuple(rules)
        self._children: dict[int, list[Working]] = {}
        self._legs: dict[int, list[Working]] = {}
        self._left: dict[int, int] = {}  # of each pair, what may still trade

    def expect(self, order: Working, parent: Working | None) -> None:
        """An order of a list was sent; ``parent`` is the order that it waits for."""
        pair = order.intent.terms.pair
        if pair:
            self._legs.setdefault(pair, []).append(order)
            self._left[pair] = max(self._left.get(pair, 0), order.intent.size)
        if parent is None:
            return
        if parent.ended:
            self._decide(order, parent)
        else:
            order.parent = WAITS
            self._children.setdefault(parent.intent.order, []).append(order)

    def ended(self, parent: Working) -> list[Working]:
        """The order ended: the children it had, which know now whether they come in."""
        children = self._children.pop(parent.intent.order, [])
        for child in children:
            self._decide(child, parent)
        return children

    def _decide(self, child: Working, parent: Working) -> None:
        is_whole = parent.done == parent.intent.size
        child.parent = IN if is_whole or (self._rules[parent.intent.symbol].lets_in_parts and parent.done) else OUT
        if child.intent.side != parent.intent.side:
            child.most = parent.done  # it closes what was filled and no more

    def others(self, order: Working) -> list[Working]:
        """The other order of the pair, while it may still trade."""
        return [leg for leg in self._legs.get(order.intent.terms.pair, ()) if leg is not order]

    def take(self, order: Working, size: int) -> int:
        """How much of a trade of this order its pair leaves it."""
        pair = order.intent.terms.pair
        if pair not in self._left:  # decided, and for this one where the other is over
            return 0 if order.is_over else size
        allowed = min(size, self._left[pair])
        self._left[pair] -= allowed
        return allowed

    def left(self, order: Working) -> int:
        """What may still trade of the order's pair."""
        return self._left.get(order.intent.terms.pair, 0)

    def resized(self, order: Working) -> None:
        """The order was changed: its pair may trade as much as the larger of the two has left."""
        pair = order.intent.terms.pair
        if pair in self._legs:
            self._left[pair] = max(leg.venue_left for leg in self._legs[pair])

    def close(self, order: Working) -> list[Working]:
        """The pair is decided: the orders that end because of it."""
        pair = order.intent.terms.pair
        self._left.pop(pair, None)
        others = [leg for leg in self._legs.pop(pair, []) if leg is not order]
        for other in others:
            other.is_over = True
        return others
