"""A book and resting orders on the bare kernel, for tests of the queue rules."""

from __future__ import annotations

from engine.core.book import IS_READY
from engine.core.kernel import apply_level, is_crossed, refresh_top
from engine.core.queues.matching import match_crossed
from engine.core.queues.queue_models import MODELS
from engine.core.queues.queue_prints import traded
from engine.core.queues.queue_settings import QueueSettings
from engine.core.queues.slots import join_queue, leave_queue, shrink_queue
from engine.core.state import (
    CLAMPED,
    F_ORDER,
    F_SIZE,
    FILL_COUNT,
    FINE,
    NOW,
    OWN,
    Q_AHEAD,
    Q_LEFT,
    R_PRICE,
    R_SIDE,
    TWIN_COUNT,
    W_LANE,
    W_ORDER,
    W_SIZE,
    State,
)
from tests.market import BTC, MS

BID, ASK = 1, -1


class Queues:
    """One symbol; a millisecond passes before each event."""

    def __init__(self, model: str = "risk_averse", *, room: int = 64, symbols: int = 1) -> None:
        queue = QueueSettings(model=model, twins=MODELS)
        self.state = State(
            [BTC] * symbols, 64, max_orders=room, explain_ns=200 * MS, taken_room=64, ring_room=1, queue=queue
        )
        self.memory = self.state.memory
        self.state.books.top[:, IS_READY] = 1
        self.clamped = CLAMPED
        self.names = self.state.lane_names
        self.lanes = (*self.names[:OWN], "own", *self.names[OWN + 1 :])
        self.slots: dict[int, int] = {}
        self.sizes: dict[int, int] = {}
        self.filled: dict[tuple[int, str], int] = {}
        self.fills: list[tuple[int, int]] = []
        self.shown: dict[tuple[int, int], int] = {}
        self.orders = 0

    def rest(self, side: int, price: int, size: int, *, display: int = 0, symbol: int = 0, ahead: int = -1) -> int:
        """An order comes to rest; its number."""
        self.orders += 1
        terms = (symbol, side, price, size, self.orders, self.state.rule, ahead, display, 0)
        self.slots[self.orders] = join_queue(self.memory, *terms)
        self.sizes[self.orders] = size
        return self.orders

    def leave(self, order: int) -> None:
        leave_queue(self.memory, self.slots.pop(order))

    def shrink(self, order: int, by: int) -> None:
        shrink_queue(self.memory, self.slots[order], by)

    def level(self, side: int, price: int, size: int, *, symbol: int = 0) -> None:
        """A frame of one level change."""
        self._tick()
        self.shown[side, price] = size
        apply_level(self.memory, symbol, 0 if side > 0 else 1, price, size)
        refresh_top(self.memory.top, self.memory.levels, symbol)
        if not is_crossed(self.memory.top, symbol):
            match_crossed(self.memory, symbol)
        self._note()

    def trade(self, side: int, price: int, size: int, *, symbol: int = 0) -> None:
        """A trade that hit this side."""
        self._tick()
        traded(self.memory, symbol, side, price, size)
        self._note()

    def side(self, order: int) -> int:
        return int(self.state.resting[self.slots[order], R_SIDE])

    def price(self, order: int) -> int:
        return int(self.state.resting[self.slots[order], R_PRICE])

    def ahead(self, order: int, lane: str = "own") -> float:
        """Size in front of an order in a lane."""
        at = self.lanes.index(lane)
        return float(self.state.queues[self.slots[order], at, Q_AHEAD]) / FINE

    def left(self, order: int, lane: str = "own") -> int:
        """What of an order may still trade in a lane."""
        at = self.lanes.index(lane)
        return int(self.state.queues[self.slots[order], at, Q_LEFT])

    def _tick(self) -> None:
        control = self.state.control
        control[NOW] += MS
        control[FILL_COUNT] = control[TWIN_COUNT] = 0

    def _note(self) -> None:
        control = self.state.control
        for row in self.state.fills[: control[FILL_COUNT]].tolist():
            self.fills.append((row[F_ORDER], row[F_SIZE]))
            self._add(row[F_ORDER], "own", row[F_SIZE])
        for row in self.state.twins[: control[TWIN_COUNT]].tolist():
            self._add(row[W_ORDER], self.lanes[row[W_LANE]], row[W_SIZE])

    def _add(self, order: int, lane: str, size: int) -> None:
        self.filled[order, lane] = self.filled.get((order, lane), 0) + size
