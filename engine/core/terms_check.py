"""Whether the terms of an order go together; what does not is refused before it is sent, whatever the venue."""

from __future__ import annotations

from engine.core.order_terms import Terms
from engine.core.types import Instrument, OrderKind, TimeInForce


def contradiction(
    side: int,
    kind: OrderKind,
    time_in_force: TimeInForce,
    post_only: bool,
    terms: Terms,
    now_ns: int,
    size: int,
    instrument: Instrument,
) -> str:
    """What in an order does not go together: what was expected and what was found; empty when all does."""
    del side, size, instrument
    if post_only and not time_in_force.rests:
        return f"expected post_only with an order that may rest, found it with {time_in_force}"
    if post_only and kind is OrderKind.MARKET:
        return "expected post_only with a price, found it at the market"
    if time_in_force is TimeInForce.GTD and terms.expires_ns <= now_ns:
        return f"expected gtd with expires_ns after {now_ns}, found {terms.expires_ns}"
    if terms.expires_ns and time_in_force is not TimeInForce.GTD:
        return f"expected expires_ns with gtd, found it with {time_in_force}"
    return ""
