"""How wide an interval must be now: what the errors were, and as much wider where experts disagree as errors were then.

A line of the error's size on the disagreement is followed beside the run; the interval keeps its coverage on errors
divided by that line (``engine/learn/experts/interval.py``). Where disagreement tells nothing of the error the line is
flat, and the interval is the plain one: its coverage holds for any line, only its sharpness depends on it. (Scores that
are divided by what an error is expected to be: Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, "Distribution-free
predictive inference for regression", 2018, 5.2.)
"""

from __future__ import annotations

from typing import Any, Final

from engine.learn.experts.interval import Interval

MEMORY: Final = 5000.0  # labels that overlap no other
SETTLED_AFTER: Final = 30  # labels; before that nobody says how wide
FAR: Final = 4.0  # times the usual disagreement; a larger one counts as this
LEAST: Final = 0.25  # of the usual error: the line is never below


class Width:
    """A half-width that follows the errors and the disagreement; errors and widths in units of the label.

    >>> import random
    >>> width, chance = Width(0.9), random.Random(1)
    >>> for _ in range(8000):
    ...     apart = chance.choice((0.1, 0.4))
    ...     width.learn(abs(chance.gauss(0.0, 10.0 * apart)), apart, 1.0)
    >>> 1.4 < width.at(0.1) < 1.9, 6.0 < width.at(0.4) < 7.2, round(width.interval.covered, 2)
    (True, True, 0.90)
    """

    def __init__(self, coverage: float) -> None:
        self.interval = Interval(coverage=coverage)
        self.count = 0.0
        self.labels = 0
        self.error = 0.0  # means
        self.apart = 0.0
        self.product = 0.0  # mean product and square of what is beyond the means
        self.square = 0.0

    def _line(self, apart: float) -> float:
        """The size of the error that is expected at a disagreement; 1 before anything is known."""
        if self.error <= 0.0:
            return 1.0
        slope = max(0.0, self.product / self.square) if self.square > 0.0 else 0.0
        away = min(apart, FAR * self.apart) - self.apart
        return max(self.error + slope * away, LEAST * self.error)

    def at(self, apart: float) -> float | None:
        """The half-width at a disagreement; None while too few errors are known."""
        return self.interval.width * self._line(apart) if self.labels >= SETTLED_AFTER else None

    def learn(self, error: float, apart: float, weight: float) -> None:
        """Take an absolute error and the disagreement there; a label that overlaps others has a ``weight`` below 1."""
        self.interval.learn(error / self._line(apart), weight)
        self.labels += 1
        self.count = min(self.count + weight, MEMORY)
        share = weight / self.count
        of_error, of_apart = error - self.error, apart - self.apart
        self.error += share * of_error
        self.apart += share * of_apart
        self.product += share * ((1.0 - share) * of_error * of_apart - self.product)
        self.square += share * ((1.0 - share) * of_apart * of_apart - self.square)

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        names = ("count", "labels", "error", "apart", "product", "square")
        return {"interval": self.interval.save(), **{name: getattr(self, name) for name in names}}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""
        self.interval.load(state["interval"])
        for name in ("count", "labels", "error", "apart", "product", "square"):
            setattr(self, name, state[name])
