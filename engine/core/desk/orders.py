"""The life of an order: one table of legal state changes, and what the engine keeps of each working order."""

from __future__ import annotations

import msgspec

from engine.core.desk.risk import Intent
from engine.core.strategy import Order
from engine.core.types import Side

SENT, PENDING, ARMED, TRIGGERED, OPEN, AMENDING, CLOSING = (
    "sent",  # on its way to the venue
    "pending",  # at the venue, waits until its parent is filled
    "armed",  # at the venue, waits for its trigger
    "triggered",  # woken, enters the market
    "open",  # in the market
    "amending",  # a change is on its way and may come too late
    "closing",  # a cancel is on its way and may lose
)
FILLED, CANCELLED, EXPIRED, REJECTED, REFUSED = (
    "filled",
    "cancelled",
    "expired",  # the venue ended it by its own rules: time, self-trade prevention, a list that is over
    "rejected",  # the venue did not take it
    "refused",  # risk did not let it out
)

_ENDS = frozenset({FILLED, CANCELLED, EXPIRED, REJECTED})

LEGAL: dict[str, frozenset[str]] = {
    SENT: frozenset({PENDING, ARMED, TRIGGERED, OPEN, AMENDING, CLOSING}) | _ENDS,
    PENDING: frozenset({ARMED, TRIGGERED, OPEN, AMENDING, CLOSING}) | _ENDS,
    ARMED: frozenset({TRIGGERED, AMENDING, CLOSING, CANCELLED, EXPIRED, REJECTED}),
    TRIGGERED: frozenset({OPEN, AMENDING, CLOSING}) | _ENDS,
    OPEN: frozenset({AMENDING, CLOSING, FILLED, CANCELLED, EXPIRED}),
    AMENDING: frozenset({AMENDING, CLOSING, SENT, PENDING, ARMED, TRIGGERED, OPEN}) | _ENDS,
    CLOSING: frozenset({CLOSING, SENT, PENDING, ARMED, TRIGGERED, OPEN}) | _ENDS,
    FILLED: frozenset(),
    CANCELLED: frozenset(),
    EXPIRED: frozenset(),
    REJECTED: frozenset(),
    REFUSED: frozenset(),
}
"""From what the owner knows to what it may learn next. ``amending`` and ``closing`` go back to where the order stands
at the venue when the change or the cancel came too late."""

WORKING = frozenset({SENT, PENDING, ARMED, TRIGGERED, OPEN, AMENDING, CLOSING})

_ASKED = frozenset({AMENDING, CLOSING})


class IllegalTransition(RuntimeError):
    """A programming error in the engine: an order was told something that cannot follow."""


class Working(msgspec.Struct, eq=False):
    """One order from the moment it is sent to the moment its owner knows it ended.

    ``intent`` is the order as the venue has it and ``venue_left`` what the venue still has of it; ``state``, ``price``,
    ``size`` and ``filled`` are what the owner was told. The two differ while messages are on their way. Sizes in the
    instrument's units. ``out_ns``, ``feed_ns`` and ``back_ns`` are the latencies of its last message out and the last
    word back, with what they waited on the line; ``messages`` counts both.
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
    since_ns: int = 0  # when the venue's door let it in or changed it last, where that counts
    is_forgiven: bool = False  # does not count as an unfilled order any more
    price: int = 0
    size: int = 0
    stands: str = ""  # where it stands at the venue, under ``amending`` and ``closing``
    held: int = 0  # size that counts as working for risk
    held_money: int = 0  # and what of the quote currency is kept back for it
    amends: int = 0  # changes on their way
    wanted: tuple[int, int] = (0, 0)  # price and size that the last change asked for
    arrived: bool = False  # the venue knows it
    lost: int = 0  # what ended without having traded
    limit: int = 0  # the worst price of a pegged order, 0: none
    parent: str = ""  # what the order it waits for did (lists.py)
    most: int = 0  # a child that closes its parent's fill may be this large, 0: as it asked
    is_over: bool = False  # the other of its pair came first

    def __post_init__(self) -> None:
        self.price, self.size, self.stands = self.intent.price, self.intent.size, self.state
        self.wanted = (self.price, self.size)
        self.limit = self.price

    @property
    def left(self) -> int:
        """What may still trade as far as the owner knows."""
        return self.size - self.filled

    @property
    def done(self) -> int:
        """What traded at the venue."""
        return self.intent.size - self.venue_left - self.lost

    def tell(self, state: str) -> None:
        """Move to the next state the owner knows."""
        if state not in LEGAL[self.state]:
            raise IllegalTransition(f"order {self.intent.order}: {self.state} cannot become {state}")
        self.state = state
        if state not in _ASKED:
            self.stands = state

    def learn(self, state: str) -> None:
        """The owner hears where the order stands at the venue; a change or cancel on its way stays on its way."""
        if self.state in _ASKED:
            if state not in LEGAL[self.stands]:
                raise IllegalTransition(f"order {self.intent.order}: {self.stands} cannot become {state}")
            self.stands = state
        else:
            self.tell(state)

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
            price=self.price,
            size=self.size,
            filled=self.filled,
            post_only=intent.post_only,
            state=self.state,
            reason=reason,
            terms=intent.terms,
        )
