"""An interval around each prediction that keeps its coverage when the market changes.

The half-width follows the quantile of what the errors were, a small step a label: up by the coverage times the step
where a label fell outside, down by the rest of it where it fell inside (Gibbs and Candès, "Adaptive conformal inference
under distribution shift", 2021; Angelopoulos, Candès and Tibshirani, "Conformal PID control for time series
prediction", 2023). Whatever the errors do, the share outside tends to what was asked for; nothing is assumed of them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from engine.core.jit import kernel

STEP: Final = 0.05  # of the half-width, a label that overlaps no other
LEAST: Final = 0.01  # of the unit of the errors, which is their usual size: from less, waking up would take too long
MOST: Final = 1e6


@kernel
def follow(width: float, error: float, coverage: float, weight: float) -> tuple[float, bool]:
    """The next half-width, and whether the error was outside this one."""
    outside = error > width
    move = coverage if outside else coverage - 1.0
    return min(max(width * (1.0 + STEP * weight * move), LEAST), MOST), outside


class Interval(msgspec.Struct):
    """The half-width that holds a share of the errors; ``width`` is in the unit of the errors.

    >>> interval = Interval(coverage=0.9)
    >>> import random
    >>> chance = random.Random(1)
    >>> for _ in range(4000):
    ...     interval.learn(abs(chance.gauss(0.0, 2.0)), 1.0)
    >>> 3.0 < interval.width < 3.7, 0.88 < interval.covered < 0.92
    (True, True)
    """

    coverage: float
    width: float = 2.0
    count: float = 0.0
    inside: float = 0.0

    def learn(self, error: float, weight: float) -> None:
        """Take one absolute error; ``weight`` is how much its label counts that overlaps others."""
        self.width, outside = follow(self.width, error, self.coverage, weight)
        self.count += weight
        self.inside += 0.0 if outside else weight

    @property
    def covered(self) -> float:
        """The share of errors that were inside when they came; 0 before the first."""
        return self.inside / self.count if self.count else 0.0

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return msgspec.structs.asdict(self)

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""
        for field, value in state.items():
            setattr(self, field, value)
