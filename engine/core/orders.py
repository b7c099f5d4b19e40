"""The life of an order: one table of legal state changes, and what the engine keeps of each working order."""

from __future__ import annotations

from dataclasses import dataclass

from engine.core.risk import Intent
from engine.core.strategy import Order
from engine.core.types import Side

SENT, OPEN, CLOSING, FILLED, CANCELLED, REJECTED, REFUSED = (
    "sent",
    "open",
    "closing",
    "filled",
    "cancelled",
    "rejected",
    "refused",
)

LEGAL: dict[str, frozenset[str]] = {
    SENT: frozenset({OPEN, CLOSING, FILLED, CANCELLED, REJECTED}),
    OPEN: frozenset({CLOSING, FILLED, CANCELLED}),
    CLOSING: frozenset({CLOSING, OPEN, FILLED, CANCELLED, REJECTED}),
    FILLED: frozenset(),
    CANCELLED: frozenset(),
    REJECTED: frozenset(),
    REFUSED: frozenset(),
}
"""From what the owner knows to what it may learn next. ``closing``: a cancel is on its way and may lose."""

WORKING = frozenset({SENT, OPEN, CLOSING})


class IllegalTransition(RuntimeError):
    """A programming error in the engine: an order was told something that cannot follow."""


@dataclass(slots=True)
class Working:
    """One order from the moment it is sent to the moment its owner knows it ended.

    ``state`` and ``filled`` are what the owner was told; ``venue_left`` is what the venue still has. The two differ
    while messages are on their way. Sizes in the instrument's units. ``out_ns``, ``feed_ns`` and ``back_ns`` are the
    latencies of its last message out and the last word back; ``messages`` counts both.
    """

    intent: Intent
    state: str
    venue_left: int
    promised: int = 0  # price at which a buy keeps money back, 0: it does not
    filled: int = 0
    at_venue: bool = False  # rests in the venue's book
    ended: bool = False  # the venue is done with it
    out_ns: int = 0
    feed_ns: int = 0
    back_ns: int = 0
    messages: int = 0

    @property
    def left(self) -> int:
        """What may still trade as far as the owner knows."""
        return self.intent.size - self.filled

    def tell(self, state: str) -> None:
        """Move to the next state the owner knows."""
        if state not in LEGAL[self.state]:
            raise IllegalTransition(f"order {self.intent.order}: {self.state} cannot become {state}")
        self.state = state

    def view(self, symbol: str, reason: str = "") -> Order:
        """The frozen picture that a strategy gets."""
        intent = self.intent
        return Order(
            id=intent.order,
            strategy=intent.strategy,
            symbol=symbol,
            side=Side(intent.side),
            kind=intent.kind,
            time_in_force=intent.time_in_force,
            price=intent.price,
            size=intent.size,
            filled=self.filled,
            post_only=intent.post_only,
            state=self.state,
            reason=reason,
        )
