"""Orders that only reduce: at the venue they never hold more than there is to reduce.

Each strategy counts as an account of its own here, as its position does everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.core.desk.orders import Working
from engine.core.desk.risk import Intent
from engine.core.records import AnyFact
from engine.core.venue.resting import Match


class Reducing:
    """The resting orders that only reduce, oldest first.

    ``orders``: those whose end the owner does not know yet. ``position_of(strategy, symbol)``: what fills have told.
    """

    def __init__(self, orders: dict[int, Working], position_of: Callable[[str, int], int]) -> None:
        self._orders = orders
        self._position_of = position_of
        self._resting: dict[tuple[str, int], list[Working]] = {}

    def add(self, order: Working) -> None:
        """Such an order rests from now on."""
        scope = (order.intent.strategy, order.intent.symbol)
        self._resting[scope] = [one for one in self._resting.get(scope, ()) if one.at_venue and one is not order]
        self._resting[scope].append(order)

    def room(self, order: Working) -> int:
        """What such an order that enters the market may hold, in size units; 0 or less: nothing."""
        intent = order.intent
        here = self._resting.get((intent.strategy, intent.symbol), ())
        taken = sum(other.venue_left for other in here if other.at_venue and other is not order)
        return self._reducible(intent) - taken

    def allowed(self, order: Working, match: Match, rest: Iterable[Match | AnyFact]) -> int:
        """How much of a match there was to reduce when its turn in the frame came.

        ``rest``: what the venue did after this match and is not looked at yet.
        """
        intent = order.intent
        room = self._reducible(intent) + match.size
        for word in rest:
            if isinstance(word, Match):
                other = self._orders[word.order].intent
                if (other.strategy, other.symbol) == (intent.strategy, intent.symbol):
                    room += other.side * intent.side * word.size
        return min(match.size, max(0, room))

    def too_much(self, strategy: str, symbol: int) -> list[tuple[Working, int]]:
        """Resting orders that hold more than there is to reduce, and what they may keep: the youngest give way."""
        here = [order for order in self._resting.get((strategy, symbol), ()) if order.at_venue]
        if not here:
            self._resting.pop((strategy, symbol), None)
            return []
        self._resting[strategy, symbol] = here
        room = {order.intent.side: self._reducible(order.intent) for order in here}
        over = []
        for order in here:
            side, held = order.intent.side, order.venue_left
            left = min(held, max(0, room[side]))
            room[side] -= left
            if left < held:
                over.append((order, left))
        return over

    def _reducible(self, intent: Intent) -> int:
        """What an order of this side may still close of its strategy's position, fills on their way included."""
        position = self._position_of(intent.strategy, intent.symbol)
        for order in self._orders.values():
            other = order.intent
            if other.strategy == intent.strategy and other.symbol == intent.symbol:
                position += other.side * (order.done - order.filled)
        return -intent.side * position
