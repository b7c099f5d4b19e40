"""What the two bounds say about each fill, while it settles, and the run's fill-truth score.

Beside the venue's own model two twins run for every order: *front* (nobody ahead) and *back* (everything displayed
stays ahead). For a fill that brought an order to ``cum`` filled, ``front_ns`` and ``back_ns`` are when those had filled
as much. A fill that is not certain at once stays open for the twins' grace: when the back twin gets there too, or the
other side's quote reaches the price, it was certain after all; when the market leaves the price behind, nothing
supports it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from engine.core.desk.orders import Working
from engine.core.honesty.grades import BACK, GRADES, REASONS, UNSEEN

MAX_STEPS: Final = 64
"""Steps of a twin that are remembered for the fills to come; beyond it the oldest two become one, the later."""

FRONT: Final = "front"
"""The optimistic twin's name; the pessimistic one's is ``BACK``."""

SURE: Final = 1.959963984540054
"""Standard deviations on each side of an interval that holds 95 % of a normal distribution."""


class Answer(msgspec.Struct, eq=False):
    """What is known of one fill of the venue's own model; ``cum``: the order's filled size with it.

    ``mid2``: twice the mid just after it, 0 where unknown; ``front_ns``, ``back_ns``: when the bounds had as much, 0:
    not (yet).
    """

    number: int
    cum: int
    price: int
    mid2: int
    grade: str
    front_ns: int
    back_ns: int
    latency_ns: int
    ns: int
    is_told: bool = False
    is_settled: bool = False


class Fate(msgspec.Struct, eq=False):
    """One order from when it was sent until nothing more can be learnt of its fills; sizes in units."""

    order: Working
    arrival2: int
    latency_ns: int
    own: int = 0
    filled: dict[str, int] = {}  # by twin
    steps: dict[str, deque[tuple[int, int]]] = {}  # of the two bounds: (filled, ns)
    answers: deque[Answer] = msgspec.field(default_factory=deque)  # not told, or open
    count: int = 0
    is_unsure: bool = False
    has_ended: bool = False

    def twin(self, model: str, size: int, ns: int) -> None:
        """A twin filled ``size``."""
        total = self.filled.get(model, 0) + size
        self.filled[model] = total
        if model in (FRONT, BACK):
            steps = self.steps.setdefault(model, deque())
            steps.append((total, ns))
            if len(steps) > MAX_STEPS:
                steps.popleft()

    def reached_ns(self, model: str, cum: int) -> int:
        """When a twin had filled ``cum``; 0 where it has not yet."""
        for total, ns in self.steps.get(model, ()):
            if total >= cum:
                return ns
        return 0

    def forget_steps(self) -> None:
        """Steps below what the order has filled say nothing about fills to come."""
        if all(len(steps) < 2 for steps in self.steps.values()):
            return
        open_from = min((one.cum for one in self.answers if not one.is_settled), default=self.own)
        for steps in self.steps.values():
            while len(steps) > 1 and steps[0][0] < open_from:
                steps.popleft()

    @property
    def is_over(self) -> bool:
        """Nothing more can come."""
        return self.has_ended and not self.answers


class Score:
    """How many fills of each grade, and how many of all are expected to have happened for real."""

    def __init__(self) -> None:
        self.fills = self.unsure = self.assumed = 0
        self.grades = dict.fromkeys(GRADES, 0)
        self.final = dict.fromkeys(GRADES, 0)
        self.regraded = dict.fromkeys(REASONS, 0)
        self._chances = 0
        self._variances = 0

    def add(self, grade: str, chance: int, *, is_unsure: bool) -> None:
        """A fill came; ``chance`` per mille."""
        if grade == UNSEEN:
            self.assumed += 1
            return
        self.fills += 1
        self.unsure += is_unsure
        self.grades[grade] += 1
        self.final[grade] += 1
        self._chances += chance
        self._variances += chance * (1000 - chance)

    def regrade(self, before: str, after: str, reason: str) -> None:
        self.final[before] -= 1
        self.final[after] += 1
        self.regraded[reason] += 1

    def plain(self, measured: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The score as plain values.

        ``score``: the expected share of fills that would have come to a real order too, the mean of their chances when
        they came; what settled later does not raise it, as the chances count on that already. ``low`` and ``high``
        hold 95 %, were the chances exact and the fills independent. ``measured``: what ghost orders found
        of the model in use, where there are any.

        >>> score = Score(); score.add("certain", 1000, is_unsure=False); score.add("ambiguous", 600, is_unsure=False)
        >>> plain = score.plain(); plain["score"], round(plain["low"], 3), plain["false_fills"]
        (0.8, 0.32, 0.4)
        """
        share, half = None, 0.0
        if self.fills:
            share = self._chances / (1000 * self.fills)
            half = SURE * math.sqrt(self._variances) / (1000 * self.fills)
        return {
            "fills": self.fills,
            **self.grades,
            "final": dict(self.final),
            "regraded": dict(self.regraded),
            "unsure": self.unsure,
            "assumed": self.assumed,
            "false_fills": (1000 * self.fills - self._chances) / 1000,
            "score": share,
            "low": None if share is None else max(0.0, share - half),
            "high": None if share is None else min(1.0, share + half),
            "measured": dict(measured) if measured else None,
        }
