"""The venue's door: what it refuses before the market sees it, for its limits, its bad moments or its maintenance.

This is the venue's own gate, at the moment a message arrives; how often a strategy may speak is for risk to say. Orders
that rest are not touched by what happens here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from engine.core.desk.orders import Working
from engine.core.types import Instrument
from engine.core.venue.latency import AMEND, CANCEL, MESSAGES, ORDER, scatter
from engine.core.venue.rate_limits import DAY_NS, ORDERS, DecayLimit, RateLimit, limits_of
from engine.core.venue.resting import Match

RATE_LIMIT, BUSY, OUTAGE = "rate_limit", "venue_busy", "outage"
"""Why the door stays shut, as words of a rejection."""

MILLION: Final = 1_000_000
_REJECT: Final = 7


class Outage(msgspec.Struct, frozen=True):
    """The venue serves nobody for ``length_ns`` from ``start_ns``: ns UTC, or after each midnight UTC if ``daily``.

    >>> [Outage(5, 3).covers(ns) for ns in (4, 5, 8)]
    [False, True, False]
    >>> late = Outage(DAY_NS - 5, 10, daily=True)  # past midnight
    >>> [late.covers(3 * DAY_NS + ns) for ns in (-6, -5, 4, 5)]
    [False, True, True, False]
    """

    start_ns: int
    length_ns: int
    daily: bool = False

    def covers(self, ns: int) -> bool:
        """Whether it lasts at a time of the venue, ns UTC."""
        since = (ns - self.start_ns) % DAY_NS if self.daily else ns - self.start_ns
        return 0 <= since < self.length_ns


class Gate(msgspec.Struct, frozen=True):
    """One venue's door. ``limits`` and ``tier`` name a table of rate_limits.py; ``own`` limits take its place.

    ``reject_ppm``: of a million orders and amends so many are refused by chance, seeded.
    """

    limits: str = ""
    tier: str = ""
    own: tuple[RateLimit, ...] = ()
    reject_ppm: int = 0
    seed: int = 1
    outages: tuple[Outage, ...] = ()


class Windows:
    """One rate limit at work, for an account or an instrument. Times never decrease."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._window = -1
        self._count = 0
        self._rolling: deque[int] = deque(maxlen=limit.limit)

    def is_full(self, ns: int) -> bool:
        """No message more now."""
        if self.limit.is_rolling:
            return len(self._rolling) == self.limit.limit and ns - self._rolling[0] < self.limit.window_ns
        return ns // self.limit.window_ns == self._window and self._count >= self.limit.limit

    def add(self, ns: int) -> None:
        """A message was let in."""
        if self.limit.is_rolling:
            self._rolling.append(ns)
            return
        window = ns // self.limit.window_ns
        if window != self._window:
            self._window, self._count = window, 0
        self._count += 1

    def forgive(self, ns: int) -> None:
        """An order that counted was filled; what it may give back is bounded by what this window counted."""
        if ns // self.limit.window_ns == self._window:
            self._count = max(0, self._count - 1)


class Counter:
    """A decaying counter at work; its level in thousandths, so that it stays a whole number.

    >>> counter = Counter(limits_of("kraken").decays["starter"])
    >>> sum(counter.add(1, ns=0) for _ in range(70)), counter.add(1, ns=10**9)
    (60, True)
    """

    def __init__(self, limit: DecayLimit) -> None:
        self.limit = limit
        self._level = 0
        self._ns = 0

    def add(self, cost: int, ns: int, *, must: bool = False) -> bool:
        """Raise it; False, and it stays, where that is above the threshold and the message may be refused."""
        passed = max(0, ns - self._ns)
        fallen = passed * self.limit.decay // 1_000_000_000
        # Time that was too short for a thousandth is kept for the next message.
        self._ns += passed if fallen >= self._level else fallen * 1_000_000_000 // self.limit.decay
        self._level = max(0, self._level - fallen)
        if not must and self._level + 1000 * cost > 1000 * self.limit.threshold:
            return False
        self._level += 1000 * cost
        return True


class _Door:
    """One venue's gate with its memory."""

    def __init__(self, gate: Gate, instruments: int) -> None:
        table = limits_of(gate.limits) if gate.limits else None
        self.gate = gate
        self.busy = table.busy if table else ""
        limits = gate.own or (table.limits if table else ())
        windows = [(limit, [Windows(limit) for _ in range(instruments)]) for limit in limits]
        for limit, rows in windows:
            if not limit.by_symbol:
                rows[:] = rows[:1] * instruments  # all share one
        self.windows = [[rows for limit, rows in windows if limit.counts & ORDERS << what] for what in range(3)]
        decay = table.decay(gate.tier) if table and not gate.own else None
        self.counters = [Counter(decay) for _ in range(instruments)] if decay else []
        self.forgives = [rows for limit, rows in windows if limit.forgives_fills]
        self.ns = 0


class Gateway:
    """The doors of all venues of a run; ``gates`` by the venue's name in the config, ``*`` for the others."""

    def __init__(self, gates: Mapping[str, Gate], instruments: Sequence[Instrument]) -> None:
        doors: dict[str, _Door | None] = {}
        for instrument in instruments:
            gate = gates.get(instrument.venue, gates.get("*"))
            if instrument.venue not in doors:
                doors[instrument.venue] = None if gate is None else _Door(gate, len(instruments))
        self._doors = [doors[instrument.venue] for instrument in instruments]
        self._forgives = any(door is not None and door.forgives for door in doors.values())

    def refuses(self, order: Working, what: int, now_ns: int) -> tuple[str, str] | None:
        """A message of an order is at the door: why it is not let in and the venue's words, None where it is."""
        door = self._doors[order.intent.symbol]
        if door is None:
            return None
        door.ns = ns = max(door.ns, now_ns - order.feed_ns)  # the venue's moment, which we see feed_ns later
        if door.gate.outages and any(outage.covers(ns) for outage in door.gate.outages):
            return OUTAGE, door.busy
        if what != CANCEL and door.gate.reject_ppm:
            drawn = scatter(door.gate.seed, order.intent.order * MESSAGES + order.messages, _REJECT)
            if drawn % MILLION < door.gate.reject_ppm:
                return BUSY, door.busy
        words = self._limited(door, order, what, ns)
        if words is None and what != CANCEL:
            order.since_ns = ns
        return None if words is None else (RATE_LIMIT, words)

    def did(self, told: Iterable[Any], orders: Mapping[int, Working]) -> None:
        """The venue traded: an order's first fill takes it out of the count of unfilled orders, where there is one."""
        if not self._forgives:
            return
        for word in told:
            order = orders.get(word.order) if isinstance(word, Match) else None
            if order is None or order.is_forgiven:
                continue
            order.is_forgiven = True
            door = self._doors[order.intent.symbol]
            if door is not None:
                for rows in door.forgives:
                    rows[order.intent.symbol].forgive(door.ns)

    def _limited(self, door: _Door, order: Working, what: int, ns: int) -> str | None:
        symbol = order.intent.symbol
        windows = door.windows[what]
        for rows in windows:
            if rows[symbol].is_full(ns):
                return rows[symbol].limit.words
        if door.counters:
            counter = door.counters[symbol]
            if not counter.add(_cost(counter.limit, order, what, ns), ns, must=what == CANCEL):
                return counter.limit.words
        for rows in windows:
            rows[symbol].add(ns)
        return None


def _cost(limit: DecayLimit, order: Working, what: int, ns: int) -> int:
    if what == ORDER:
        return 1
    age = ns - order.since_ns
    ages = limit.amend_ages if what == AMEND else limit.cancel_ages
    return (what == AMEND) + next((cost for younger, cost in ages if age < younger), 0)
