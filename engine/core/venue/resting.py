"""The venue's resting orders as Python sees them: who rests where, and what the market's last frame did to them."""

from __future__ import annotations

from collections import deque

import msgspec
import numpy as np

from engine.core.book import Int64s
from engine.core.desk.orders import Working
from engine.core.queues.queue_models import FITTED, RULES
from engine.core.queues.queue_samples import MIDDLE
from engine.core.queues.slots import join, leave, shrink
from engine.core.state import (
    CAUSE_AT_PRICE,
    CAUSE_CROSSED,
    CAUSE_TAKEN,
    CAUSE_THROUGH,
    F_AHEAD,
    F_AHEAD_NOW,
    F_CAUSE,
    F_CHANCE,
    F_MAKER,
    F_ORDER,
    F_PRICE,
    F_RULE,
    F_SIZE,
    FILL_COUNT,
    FINE,
    LINGER_ROOM,
    NOW,
    OWN,
    Q_AHEAD,
    Q_LEFT,
    Q_SLICE,
    QUEUE_FIELDS,
    R_FIRST_AHEAD,
    RESTING_ROOM,
    S_AHEAD,
    S_UNANSWERED,
    SAMPLES,
    TWIN_COUNT,
    State,
)

TAKEN, AT_PRICE, THROUGH, CROSSED = CAUSE_TAKEN, CAUSE_AT_PRICE, CAUSE_THROUGH, CAUSE_CROSSED
BEYOND, ASSUMED = 1 + CAUSE_CROSSED, 2 + CAUSE_CROSSED
"""Why an order traded: it took what was displayed; prints at its price used up the queue in front; a print went through
its price; the other side's display reached it. BEYOND the display by the impact law; ASSUMED while nobody listened."""


class Match(msgspec.Struct, frozen=True):
    """What the market did to an order, before anybody is told. ``ahead``: the queue when it came, size units.

    ``ahead_now``: the queue in front just before it traded, size units. ``model``: the queue model that decided.
    ``cause``: TAKEN … CROSSED, BEYOND or ASSUMED. ``chance``: per mille, that a real order would
    have had this fill.
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
    """What would have happened to an order at ``ns`` under other queue models alike; nobody's position moves."""

    order: int
    models: tuple[str, ...]
    price: int
    size: int
    cause: int
    ns: int = 0


class Resting:
    """The resting side of the paper venue."""

    def __init__(self, state: State, grace_ns: int) -> None:
        self._state = state
        self._control: memoryview[int] = state.control.data
        self._queues: memoryview[int] = state.queues.reshape(-1).data
        self._slot_size = state.queues[0].size
        self._grace_ns = grace_ns
        self._slots: dict[int, int] = {}
        self._working: dict[int, Working] = {}
        # Filled orders whose twins live on: until when, and their slot.
        self._lingering: deque[tuple[int, int]] = deque()
        self._left: tuple[int, Int64s] | None = None  # who moves, and what its lanes still had

    @property
    def has_room(self) -> bool:
        """One more order may rest."""
        return len(self._working) < self._control[RESTING_ROOM]

    def join(self, order: Working) -> int:
        """The order rests at its price behind all that is displayed there; how much that is, in size units."""
        self._sweep()
        state, intent = self._state, order.intent
        terms = (intent.symbol, intent.side, intent.price, order.venue_left, intent.order)
        display = intent.terms.display
        slot = join(state.flat, *terms, state.rule, display)
        if self._left is not None and self._left[0] == intent.order:
            # It only moves: what its twins traded before stays traded.
            lefts = self._left[1]
            queue = state.queues[slot]
            queue[:, Q_LEFT] = np.maximum(0, lefts + (order.venue_left - lefts[OWN]))
            queue[:, Q_SLICE] = np.minimum(queue[:, Q_LEFT], display)
        self._slots[intent.order] = slot
        self._working[intent.order] = order
        order.at_venue = True
        return int(state.resting[slot, R_FIRST_AHEAD])

    def leave(self, order: Working) -> None:
        """The order rests no more, nor do its twins."""
        leave(self._state.flat, self._drop(order))

    def lift(self, order: Working) -> None:
        """The order leaves its place and may come back elsewhere with ``join``, as may its twins."""
        lefts = self._state.queues[self._slots[order.intent.order], :, Q_LEFT].copy()
        self._left = (order.intent.order, lefts)
        self.leave(order)

    def shrink(self, order: Working, left: int) -> None:
        """Only ``left`` of the order may still trade, less than before; it keeps its place."""
        before = order.venue_left
        if not 0 < left <= before:
            raise ValueError(f"expected a size in 1..{before} for order {order.intent.order}, found {left}")
        shrink(self._state.flat, self._slots[order.intent.order], before - left)
        order.venue_left = left

    def assume(self, order: Working, size: int, chance: int) -> Match:
        """The order is judged to have traded ``size``; its twins as well, and filled ones live on no longer."""
        slot = self._slots[order.intent.order]
        first, now = int(self._state.resting[slot, R_FIRST_AHEAD]), self.queue_ahead(order.intent.order) or 0
        if size == order.venue_left:
            order.venue_left = 0
            order.ended = True
            self.leave(order)
        else:
            self.shrink(order, order.venue_left - size)
        return Match(order.intent.order, order.intent.price, size, True, first, now, "", ASSUMED, chance)

    def queues_before(self, order: Working) -> list[int]:
        """The possible public sizes in front of a resting order, smallest first (see queue_samples.py)."""
        row = self._state.samples[self._slots[order.intent.order]]
        places = np.sort(row[S_AHEAD : S_AHEAD + SAMPLES]) - row[S_UNANSWERED]
        return [max(0, int(one)) for one in places]

    def matched(self) -> list[Match]:
        """What the kernel did to resting orders, in order; who is filled leaves, its twins live on a while."""
        matches: list[Match] = []
        for row in self._state.fills[: self._control[FILL_COUNT]].tolist():
            if row[F_ORDER] < 0:
                self._state.on_ghost(row[F_ORDER], OWN)
                continue
            order = self._working[row[F_ORDER]]
            order.venue_left -= row[F_SIZE]
            if order.venue_left == 0:
                order.ended = True
                slot = self._drop(order)
                first = slot * self._slot_size + Q_LEFT
                if any(self._queues[first : first + self._slot_size : QUEUE_FIELDS]):
                    self._lingering.append((self._control[NOW] + self._grace_ns, slot))
                else:
                    leave(self._state.flat, slot)  # filled under every rule: there is nothing left to wait for
            matches.append(
                Match(
                    row[F_ORDER],
                    row[F_PRICE],
                    row[F_SIZE],
                    bool(row[F_MAKER]),
                    row[F_AHEAD],
                    row[F_AHEAD_NOW],
                    RULES[row[F_RULE]],
                    row[F_CAUSE],
                    row[F_CHANCE],
                )
            )
        self._control[FILL_COUNT] = 0
        self._sweep()
        return matches

    def twins(self) -> list[TwinMatch]:
        """What the rules beside the venue's own did since the last time."""
        if not self._control[TWIN_COUNT]:
            return []
        rows = self._state.twins[: self._control[TWIN_COUNT]].tolist()
        self._control[TWIN_COUNT] = 0
        alike: dict[tuple[int, int, int, int, int], list[int]] = {}
        for order, lane, price, size, cause, ns in rows:
            if order < 0:
                self._state.on_ghost(order, lane)
                continue
            key = (order, price, size, cause, ns)
            lanes = alike.get(key)
            if lanes is None:
                alike[key] = [lane]
            else:
                lanes.append(lane)
        names = self._state.lane_names
        return [
            TwinMatch(order, tuple([names[lane] for lane in lanes]), price, size, cause, ns)
            for (order, price, size, cause, ns), lanes in alike.items()
        ]

    def queue_ahead(self, order: int) -> int | None:
        """Public size in front of a resting order now, None where it does not rest."""
        slot = self._slots.get(order)
        if slot is None:
            return None
        state = self._state
        if state.rule == FITTED:
            row = state.samples[slot]
            middle = np.sort(row[S_AHEAD : S_AHEAD + SAMPLES])[MIDDLE]
            return max(0, int(middle - row[S_UNANSWERED]))
        return (int(state.queues[slot, OWN, Q_AHEAD]) + FINE // 2) // FINE

    def _drop(self, order: Working) -> int:
        order.at_venue = False
        number = order.intent.order
        del self._working[number]
        return self._slots.pop(number)

    def _sweep(self) -> None:
        """Free the slots of orders whose twins are over, or that are too many."""
        now, most = self._control[NOW], min(self._control[RESTING_ROOM], LINGER_ROOM)
        while self._lingering and (self._lingering[0][0] < now or len(self._lingering) > most):
            leave(self._state.flat, self._lingering.popleft()[1])
