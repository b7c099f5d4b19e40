"""The venue's resting orders as Python sees them: who rests where, and what the market's last frame did to them."""

from __future__ import annotations

import msgspec

from engine.core.matching import displayed_at
from engine.core.orders import Working
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

TAKEN, AT_PRICE, THROUGH, CROSSED = range(4)
"""Why an order traded: it took what was displayed; prints at its price used up the queue in front; a print went through
its price; the other side's display reached it."""


class Match(msgspec.Struct, frozen=True):
    """What the market did to an order, before anybody is told. ``ahead``: the queue when it came, size units.

    ``ahead_now``: the queue in front just before it traded, size units. ``model``: the queue model that decided.
    ``cause``: TAKEN, AT_PRICE, THROUGH or CROSSED. ``chance``: per mille, that a real order would have had this fill.
    """

    order: int
    price: int
    size: int
    is_maker: bool
    ahead: int
    ahead_now: int = 0
    model: str = ""
    cause: int = TAKEN
    chance: int = 1000


class TwinMatch(msgspec.Struct, frozen=True):
    """What would have happened to an order under another queue model; nobody's position moves."""

    order: int
    model: str
    price: int
    size: int
    cause: int


class Resting:
    """The resting side of the paper venue."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._working: dict[int, Working] = {}

    @property
    def has_room(self) -> bool:
        """One more order may rest."""
        return bool(self._state.control[RESTING_COUNT] < self._state.control[RESTING_ROOM])

    def join(self, order: Working) -> int:
        """The order rests at its price behind all that is displayed there; how much that is, in size units."""
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

    def leave(self, order: Working) -> None:
        """The order rests no more: it is filled, was cancelled, or comes back elsewhere with ``join``."""
        state = self._state
        at, count = self._find(order.intent.order), int(state.control[RESTING_COUNT])
        symbol = int(state.resting[at, R_SYMBOL])
        state.resting[at : count - 1] = state.resting[at + 1 : count].copy()
        state.control[RESTING_COUNT] = count - 1
        state.books.top[symbol, RESTING_HERE] -= 1
        order.at_venue = False
        del self._working[order.intent.order]

    def shrink(self, order: Working, left: int) -> None:
        """Only ``left`` of the order may still trade, less than before; it keeps its place."""
        before = order.venue_left
        if not 0 < left <= before:
            raise ValueError(f"expected a size in 1..{before} for order {order.intent.order}, found {left}")
        order.venue_left = left
        self._state.resting[self._find(order.intent.order), R_LEFT] = left

    def matched(self) -> list[Match | TwinMatch]:
        """What the kernel's last call did to resting orders, in order; who is filled leaves."""
        control, fills = self._state.control, self._state.fills
        matches: list[Match | TwinMatch] = []
        for row in fills[: control[FILL_COUNT]].tolist():
            order = self._working[row[F_ORDER]]
            order.venue_left -= row[F_SIZE]
            if order.venue_left == 0:
                self.leave(order)
                order.ended = True
            maker = bool(row[F_MAKER])
            cause = AT_PRICE if maker else TAKEN
            matches.append(Match(row[F_ORDER], row[F_PRICE], row[F_SIZE], maker, row[F_AHEAD], cause=cause))
        return matches

    def queue_ahead(self, order: int) -> int | None:
        """Public size in front of a resting order now, None where it does not rest."""
        return int(self._state.resting[self._find(order), R_AHEAD]) if order in self._working else None

    def _find(self, order: int) -> int:
        count = int(self._state.control[RESTING_COUNT])
        return int((self._state.resting[:count, R_ORDER] == order).argmax())
