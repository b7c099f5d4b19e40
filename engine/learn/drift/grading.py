"""Whether an alarm was right, told later by what was really lost, and the same for one who always or never fires.

The loss over a stretch of labels is the squared error as a share of that of saying 0: 1 - R². It is that of the model
as it would have gone on had nobody answered the alarm. With ``grade`` labels a stretch, counted from the alarm:

``late``      it was above the usual already in the stretch that ended ``late`` labels before the alarm;
``true``      not then, but in the stretch after the alarm it is;
``harmless``  it is not;
``unknown``   too few labels were there before the alarm.

The usual is what stretches drawn by the stationary bootstrap from the labels before all of these seldom exceed.
``Always`` fires at the end of each stretch of its own, ``Never`` misses each drift at which that is ``true``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from engine.core.jit import kernel
from engine.learn.drift.budget import MEAN_BLOCK
from engine.learn.drift.contract import Floats
from engine.learn.drift.settings import DriftSettings

GRADES: Final = ("true", "harmless", "late", "unknown")
REFERENCE: Final = 3000
"""Labels from which the usual is drawn."""

LEAST: Final = 500
"""Fewer labels tell no usual."""

DRAWS: Final = 150
"""One a label."""

USUAL: Final = 0.975
"""Of the draws: as what they are drawn from is but a sample, one in twenty stretches of an unchanged stream exceed
it."""


@kernel
def _drawn_loss(reference: Floats, stretch: int, mean_block: int, seed: int) -> float:
    """The loss over a stretch drawn by the stationary bootstrap, as ``bootstrap_rows`` draws, without its arrays."""
    np.random.seed(seed)
    known = reference.shape[0]
    error = square = 0.0
    at = 0
    for i in range(stretch):
        at += 1
        if i == 0 or at == known or np.random.random() * mean_block < 1.0:
            at = int(np.random.random() * known)
        error += reference[at, 0]
        square += reference[at, 1]
    if square <= 0.0:
        return 1.0 if error <= 0.0 else np.inf
    return error / square


class Case:
    """One alarm under judgement: what was usual before it, and what comes after it."""

    def __init__(self, number: int, earlier: Floats, stretch: int, late: int, seed: int) -> None:
        """``earlier``: rows of (squared error, squared label), oldest first, up to the alarm."""
        self.number = number
        self.stretch = stretch
        self.seed = seed
        self.heard = 0
        ended = max(0, len(earlier) - late)
        begun = max(0, ended - stretch)
        self.reference: Floats = earlier[:begun][-REFERENCE:].copy()
        self.lately = loss(earlier[begun:ended])
        self._sums = np.zeros(2)
        self._answered = np.zeros(2)
        self._drawn: list[float] = []

    def add(self, unanswered: tuple[float, float], answered: tuple[float, float]) -> bool:
        """Take the next label's squared error and square, of both; True when the stretch is whole."""
        self._sums += unanswered
        self._answered += answered
        self.heard += 1
        if len(self._drawn) < DRAWS and len(self.reference) >= LEAST:
            self._drawn.append(_drawn_loss(self.reference, self.stretch, MEAN_BLOCK, self.seed + len(self._drawn)))
        return self.heard >= self.stretch

    @property
    def before(self) -> float:
        """The loss over the reference."""
        return loss(self.reference)

    @property
    def usual(self) -> float:
        """What few stretches of the reference exceed; nan where that is not known."""
        if len(self._drawn) < DRAWS:
            return math.nan
        return float(np.quantile(np.array(self._drawn), USUAL))

    @property
    def after(self) -> float:
        """The loss since the alarm, had nobody answered."""
        return _share(self._sums)

    @property
    def answered(self) -> float:
        """The loss since the alarm of what answered it."""
        return _share(self._answered)

    @property
    def grade(self) -> str:
        """One of ``GRADES``."""
        usual = self.usual
        if math.isnan(usual):
            return "unknown"
        if self.lately > usual:
            return "late"
        return "true" if self.after > usual else "harmless"

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "number": self.number,
            "stretch": self.stretch,
            "seed": self.seed,
            "heard": self.heard,
            "reference": self.reference.tobytes(),
            "lately": self.lately,
            "sums": self._sums.tolist(),
            "answered": self._answered.tolist(),
            "drawn": list(self._drawn),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Case:
        """What ``save`` gave."""
        case = cls(state["number"], np.zeros((0, 2)), state["stretch"], 0, state["seed"])
        case.heard, case.lately = state["heard"], state["lately"]
        case.reference = np.frombuffer(state["reference"]).reshape(-1, 2).copy()
        case._sums[:], case._answered[:] = state["sums"], state["answered"]
        case._drawn = list(state["drawn"])
        return case


class Grader:
    """Keeps the losses of one model, the alarm under judgement and the counts of all who fire.

    ``counts`` are by who (``detector``, ``always``, ``never``) and grade, with ``missed`` for drifts without an alarm.
    """

    def __init__(self, settings: DriftSettings, seed: int) -> None:
        self._stretch, self._late, self._seed = settings.grade, settings.late, seed
        self._ring: Floats = np.zeros((REFERENCE + settings.late + settings.grade, 2))
        self.heard = 0
        self.case: Case | None = None
        self._always: Case | None = None
        self._alarmed_at = -(1 << 62)
        self._suspect: int | None = None  # since when an alarm would have been in time for a drift without one so far
        self._began = 0  # cases so far: each draws by chance of its own
        self.counts: dict[str, dict[str, int]] = {
            "detector": dict.fromkeys((*GRADES, "missed"), 0),
            "always": dict.fromkeys((*GRADES, "missed"), 0),
            "never": dict.fromkeys((*GRADES, "missed"), 0),
        }

    def alarmed(self, number: int) -> None:
        """An alarm; one that comes while another is judged is judged with it."""
        self._alarmed_at = self.heard
        if self.case is None:
            self.case = self._case(number)

    def update(self, unanswered: tuple[float, float], answered: tuple[float, float]) -> Case | None:
        """Take the next label's squared error and square, of both; an alarm whose judgement is due."""
        self._ring[self.heard % len(self._ring)] = unanswered
        self.heard += 1
        if self._always is not None and self._always.add(unanswered, answered):
            self._judge_always(self._always)
            self._always = None
        if self._always is None and self.heard >= self._stretch:
            self._always = self._case(0)
        case = self.case
        if case is None or not case.add(unanswered, answered):
            return None
        self.counts["detector"][case.grade] += 1
        self.case = None
        return case

    def _case(self, number: int) -> Case:
        self._began += 1
        return Case(number, self._earlier(), self._stretch, self._late, self._seed + self._began * DRAWS)

    def _judge_always(self, case: Case) -> None:
        """A drift is missed when the stretch after that in which it shows brought no alarm either."""
        if self._suspect is not None and self._alarmed_at < self._suspect:
            self.counts["detector"]["missed"] += 1
        self._suspect = None
        grade = case.grade
        self.counts["always"][grade] += 1
        if grade == "true":
            self.counts["never"]["missed"] += 1
            self._suspect = self.heard - self._stretch - self._late

    def _earlier(self) -> Floats:
        known = min(self.heard, len(self._ring))
        order = np.arange(self.heard - known, self.heard) % len(self._ring)
        return self._ring[order]

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "ring": self._ring.tobytes(),
            "heard": self.heard,
            "case": self.case.save() if self.case is not None else None,
            "always": self._always.save() if self._always is not None else None,
            "alarmed_at": self._alarmed_at,
            "suspect": self._suspect,
            "began": self._began,
            "counts": {who: dict(grades) for who, grades in self.counts.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what ``save`` gave of one with the same settings."""
        self._ring[:] = np.frombuffer(state["ring"]).reshape(self._ring.shape)
        self.heard, self._alarmed_at, self._began = state["heard"], state["alarmed_at"], state["began"]
        self._suspect = state["suspect"]
        self.case = Case.restored(state["case"]) if state["case"] is not None else None
        self._always = Case.restored(state["always"]) if state["always"] is not None else None
        self.counts = {who: dict(grades) for who, grades in state["counts"].items()}


def loss(rows: Floats) -> float:
    """1 - R² of rows of (squared error, squared label).

    >>> loss(np.array([[1.0, 4.0], [2.0, 2.0]])), loss(np.zeros((3, 2)))
    (0.5, 1.0)
    """
    return _share(rows.sum(axis=0))


def _share(sums: Floats) -> float:
    error, square = float(sums[0]), float(sums[1])
    if square <= 0.0:
        return 1.0 if error <= 0.0 else math.inf
    return error / square
