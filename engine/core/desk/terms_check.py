"""Whether the terms of an order go together; what does not is refused before it is sent, whatever the venue."""

from __future__ import annotations

from engine.core.desk.order_terms import PLAIN, Terms, TrailBy, Trigger
from engine.core.events import MOST_UNITS
from engine.core.types import Instrument, OrderKind, TimeInForce

LAST_NS = 1 << 62
"""The latest time that terms may name, ns UTC, in the year 2116; what follows from it stays within 64 bits."""


def contradiction(
    side: int,
    kind: OrderKind,
    time_in_force: TimeInForce,
    post_only: bool,
    terms: Terms,
    price: int,
    size: int,
    instrument: Instrument,
    now_ns: int,
) -> str:
    """What in an order does not go together: what was expected and what was found; empty when all does."""
    if post_only and not time_in_force.rests:
        return f"expected post_only with an order that may rest, found it with {time_in_force}"
    if post_only and kind is OrderKind.MARKET:
        return "expected post_only with a price, found it at the market"
    if time_in_force is TimeInForce.GTD and terms.expires_ns <= now_ns:
        return f"expected gtd with expires_ns after {now_ns}, found {terms.expires_ns}"
    if terms is PLAIN:
        return ""
    most = max(abs(number) for number in _numbers(terms))
    if most > MOST_UNITS or terms.expires_ns > LAST_NS:
        return f"expected numbers up to {MOST_UNITS} and expires_ns up to {LAST_NS}, found {terms}"
    if terms.expires_ns and time_in_force is not TimeInForce.GTD:
        return f"expected expires_ns with gtd, found it with {time_in_force}"
    if terms.trigger is not None:
        return _of_trigger(terms.trigger, terms, side, instrument)
    rests = kind is OrderKind.LIMIT and time_in_force.rests
    if terms.peg is not None and (not rests or terms.display or terms.pair):
        return f"expected peg with a limit order that may rest, alone, found {kind} {time_in_force}"
    if terms.peg is not None and terms.peg.offset % instrument.tick:
        return f"expected a peg's offset in multiples of {instrument.tick}, found {terms.peg.offset}"
    if terms.display and (not rests or terms.pair):
        return f"expected display with a limit order that may rest, not one of a pair, found {kind} {time_in_force}"
    if terms.display and (terms.display % instrument.lot or not max(1, instrument.min_size) <= terms.display <= size):
        least = max(1, instrument.min_size)
        return f"expected display in multiples of {instrument.lot} from {least} to {size}, found {terms.display}"
    return ""


def _numbers(terms: Terms) -> tuple[int, ...]:
    """All prices, sizes and distances of the terms."""
    trigger, peg = terms.trigger, terms.peg
    trail = trigger.trail if trigger is not None else None
    of_trail = (trail.value, trail.activation, trail.first) if trail is not None else ()
    return (terms.display, trigger.price if trigger is not None else 0, peg.offset if peg is not None else 0, *of_trail)


def _of_trigger(trigger: Trigger, terms: Terms, side: int, instrument: Instrument) -> str:
    if terms.peg is not None or terms.display:
        return "expected a trigger without peg and display, found them together"
    trail = trigger.trail
    if trail is None or trigger.price:
        if trigger.price <= 0 or trigger.price % instrument.tick:
            return f"expected a trigger price in positive multiples of {instrument.tick}, found {trigger.price}"
        if trail is None:
            return ""
    if trail.value <= 0 or (trail.by is TrailBy.BPS and trail.value >= 10_000):
        return f"expected a distance above 0 (and below 10000 bps) to trail by, found {trail.value} {trail.by}"
    if (trail.by is TrailBy.VOLATILITY) != (trail.first > 0):
        return f"expected first with a trail by volatility and only there, found {trail.first} with {trail.by}"
    if trail.activation < 0 or trail.activation % instrument.tick:
        return f"expected an activation price in multiples of {instrument.tick}, found {trail.activation}"
    return ""
