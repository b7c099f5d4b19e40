"""Stacking: a regression of the label on what experts said, pulled towards their mean (Wolpert, 1992; Breiman, 1996).

A factor between 0 and 1, pulled towards 1, follows: what the regression deserves. It goes to 0 where the experts are
worth nothing, so that the mixture can fall silent, which a regression pulled towards a mean does only slowly.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from engine.learn.contract import SECOND_NS
from engine.learn.ensemble.combine import Combiner, even, weighted
from engine.learn.ensemble.hedge import Vector
from engine.learn.experts.ridge import Ridges

MEMORY_S: Final = 7200.0  # of engine time
STRENGTH: Final = 50.0  # labels of size 1 that the mean of the experts counts as much as
FACTOR_STRENGTH: Final = 20.0  # the same of the factor 1


class Stacking(Combiner):
    """Ridge regression on the words of ``experts`` (without silence), and what it deserves.

    ``every_ns`` is the time between two labels, ``weight`` how much one counts that overlaps others. Who says nothing
    is taken to say the mean of the others. The regression may give an expert a weight below 0.

    >>> stacking = Stacking(2, every_ns=SECOND_NS, weight=1.0)
    >>> rng = np.random.default_rng(1)
    >>> for words in rng.normal(size=(2000, 2)):
    ...     said = np.array([0.0, *words])
    ...     stacking.learn(said, 2.0 * words[0] - words[1], 1.0, said)
    >>> round(stacking.mix(np.array([0.0, 1.0, -1.0]))[0], 1)
    2.9
    """

    def __init__(self, experts: int, every_ns: int, weight: float) -> None:
        memory = [max(2.0, MEMORY_S * SECOND_NS / every_ns)]
        self.weight = weight
        self.ridges = Ridges(memory, np.full((1, experts), STRENGTH), np.full(experts, 1.0 / experts))
        self.factor = Ridges(memory, np.full((1, 1), FACTOR_STRENGTH), np.ones(1))
        self._out: Vector = np.zeros(1)

    @property
    def coefficients(self) -> Vector:
        """How much the word of each expert counts, the factor included."""
        deserved = min(max(float(self.factor.beta[0, 0, 0]), 0.0), 1.0)
        return np.asarray(self.ridges.beta[0, 0] * deserved)

    def mix(self, said: Vector) -> tuple[float, Vector]:
        return float(self.coefficients @ self._words(said)), even(said)

    def _words(self, said: Vector) -> Vector:
        """One number an expert, silence left out."""
        words: Vector = said[1:]
        return np.where(np.isnan(words), weighted(even(said), said), words)

    def learn(self, said: Vector, label: float, unit: float, losses: Vector) -> None:
        del losses
        if unit <= 0.0 or np.isnan(said[1:]).all():
            return
        words, target = self._words(said) / unit, label / unit
        self.ridges.predict(words, self._out)
        self.factor.learn(self._out.copy(), target, self.weight)
        self.ridges.learn(words, target, self.weight)

    def save(self) -> dict[str, Any]:
        return {"ridges": self.ridges.save(), "factor": self.factor.save()}

    def load(self, state: dict[str, Any]) -> None:
        self.ridges.load(state["ridges"])
        self.factor.load(state["factor"])
