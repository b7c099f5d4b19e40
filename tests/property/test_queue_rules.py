"""Each rule against one written anew: a trade that was told after its level change is put back in its place in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import log
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.queues import ASK, BID, Queues

FINE = 256
EXPLAIN = 200
"""Milliseconds that a fall waits for its trade, and events: one passes before each."""

SHARES: dict[str, Callable[[float, float], float]] = {
    "risk_averse": lambda front, back: 0.0,
    "proportional": lambda front, back: front / (front + back),
    "power2": lambda front, back: front**2 / (front**2 + back**2),
    "power3": lambda front, back: front**3 / (front**3 + back**3),
    "log": lambda front, back: log(1 + front / 1000) / (log(1 + front / 1000) + log(1 + back / 1000)),
    "log2": lambda front, back: 1 - log(1 + back / 1000) / log(1 + back / 1000 + front / 1000),
}


@dataclass
class Line:
    """One order in one queue. ``past``: all that happened, trades before the falls that they made."""

    rule: str
    joined: int
    left: int
    past: list[tuple[str, int]] = field(default_factory=list)
    fall: tuple[int, int] = (-1, 0)  # where the last fall that moved us stands in ``past``, and when it was told
    waits: int = 0  # how much of it no trade has explained
    least: int = 0

    def __post_init__(self) -> None:
        self.least = self.joined * FINE

    def ahead(self, until: int | None = None) -> int:
        """What stands in front after the events up to ``until``, told anew from the start."""
        ahead, shown, traded = self.joined * FINE, self.joined, 0
        for kind, size in self.past[:until]:
            if kind == "trade":
                ahead, traded = max(0, ahead - size * FINE), traded + size
                continue
            if kind == "never back":
                ahead = min(ahead, size)
                continue
            cancel = shown - traded - size
            if shown > size:
                if cancel > 0 and ahead:
                    front = min(ahead / FINE, float(shown - traded))
                    share = SHARES[self.rule](front, shown - traded - front)
                    ahead = max(0, ahead - int(share * cancel * FINE + 0.5))
                ahead = min(ahead, size * FINE)
            shown, traded = size, 0
        return ahead

    def level(self, now: int, size: int) -> None:
        before, shown = self.least, self.shown()
        traded = self.unconfirmed()
        self.past.append(("level", size))
        self.least = min(before, self.ahead())
        if self.least < before:
            self.fall, self.waits = (len(self.past) - 1, now), max(0, shown - traded - size)

    def trade(self, now: int, size: int) -> int:
        """What the order gets of a print at its price."""
        at, told = self.fall
        explained = min(size, self.waits) if at >= 0 and now - told <= EXPLAIN else 0
        if self.waits and now - told > EXPLAIN:
            self.waits = 0
        in_front = self.least
        if explained:
            in_front = self.ahead(at)
            self.past.insert(at, ("trade", explained))
            self.fall, self.waits = (at + 1, told), self.waits - explained
        if size > explained:
            self.past.append(("trade", size - explained))
        self.least = min(self.least, self.ahead())
        self.past.append(("never back", self.least))
        got = min(self.left, max(0, (size * FINE - min(in_front, size * FINE) + FINE // 2) // FINE))
        self.left -= got
        return got

    def shown(self) -> int:
        return next((size for kind, size in reversed(self.past) if kind == "level"), self.joined)

    def unconfirmed(self) -> int:
        traded = 0
        for kind, size in reversed(self.past):
            if kind == "level":
                break
            traded += size if kind == "trade" else 0
        return traded


@pytest.mark.parametrize("rule", SHARES)
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_the_kernel_follows_the_rule(rule: str, seed: int) -> None:
    chance, queues = Random(seed), Queues(rule)
    queues.state.control[queues.clamped] = 0
    joined = chance.randint(1, 60)
    queues.level(BID, 100, joined)
    queues.level(ASK, 102, 5)
    order = queues.rest(BID, 100, 50)
    line = Line(rule, joined, 50)
    shown = joined
    for now in range(40):
        if chance.random() < 0.6:
            shown = max(0, shown + chance.choice((-9, -5, -3, -1, 1, 4, 8)))
            queues.level(BID, 100, shown)
            line.level(now, shown)
        else:
            size = chance.choice((1, 2, 3, 5, 9))
            queues.trade(BID, 100, size)
            line.trade(now, size)
        assert queues.left(order) == line.left
        if line.left == 0:
            break
        assert queues.ahead(order) == line.least / FINE
