"""Whether a trained model explains less and less of its labels since it took over: a reason to train it again.

Not every decay is drift that a detector sees, and not every model is watched by one. What words earned against silence,
in what there was to earn (R²), is followed over two memories since the last swap; the short one against the best that
it has been.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SETTLED: Final = 200
"""Labels that do not overlap, before anything is said, and the memory of what is compared."""

_KEPT: Final = ("labels", "gain", "power", "best", "is_due")


class Decay:
    """Says when a model explains ``share`` less than it did at its best since the last swap; 0 never says so.

    ``overlap`` labels span the same moment and count as one.

    >>> decay = Decay(0.5, 1)
    >>> for at in range(2000):
    ...     decay.update(1.0, 2.0 if at < 1000 else -2.0)
    >>> decay.is_due
    True
    """

    def __init__(self, share: float, overlap: int) -> None:
        self.share = share
        self._memory = SETTLED * overlap
        self.is_due = False
        self.renew()

    def renew(self) -> None:
        """Another model answers from here on."""
        self.labels = 0
        self.gain = self.power = self.best = 0.0
        self.is_due = False

    def answered(self) -> None:
        """A training was asked for: not again before the next model, or the next memory, has been seen."""
        if self.is_due:
            self.renew()

    def update(self, said: float, label: float) -> None:
        """Take a label and what was said of it."""
        if not self.share:
            return
        self.labels += 1
        weight = 1.0 / min(self.labels, self._memory)
        self.gain += weight * (said * (2.0 * label - said) - self.gain)
        self.power += weight * (label * label - self.power)
        if self.labels < self._memory or not 0.0 < self.power < float("inf"):
            return
        explained = self.gain / self.power
        self.best = max(self.best, explained)
        self.is_due = self.is_due or (self.best > 0.0 and explained < (1.0 - self.share) * self.best)

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {name: getattr(self, name) for name in _KEPT}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what ``save`` gave."""
        for name in _KEPT:
            setattr(self, name, state[name])
