"""How what experts say becomes one number: the plain mean, or weights that fall with their losses."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from engine.core.jit import kernel
from engine.learn.ensemble.hedge import Hedge, Vector

SILENCE = 0
"""The place of the expert that always says 0."""


class Combiner(abc.ABC):
    """Makes one number of what experts say, and learns from what their words were worth.

    ``said`` has a number an expert in bps, silence first; nan: it says nothing. At least one other than silence speaks.
    """

    @abc.abstractmethod
    def mix(self, said: Vector) -> tuple[float, Vector]:
        """The mixture in bps, and the weight of each word in it."""

    def learn(self, said: Vector, label: float, unit: float, losses: Vector) -> None:
        """Take a label in bps and what was said of it; ``unit`` is the labels' size, ``losses`` nan as ``said``."""
        del said, label, unit, losses

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""
        del state


@kernel
def share(weights: Vector, said: Vector, out: Vector) -> float:
    """Write the weights of those that speak, to whom the others' goes in proportion, and return their mean word.

    Where all of them have lost their weight, those beside silence count alike.
    """
    total = mixed = 0.0
    for i in range(said.shape[0]):
        out[i] = weights[i] if said[i] == said[i] else 0.0
        total += out[i]
    if not total > 0.0:
        for i in range(1, said.shape[0]):
            out[i] = 1.0 if said[i] == said[i] else 0.0
            total += out[i]
    for i in range(said.shape[0]):
        out[i] /= total
        if said[i] == said[i]:
            mixed += out[i] * said[i]
    return mixed


@kernel
def add(losses: Vector, weights: Vector, out: Vector, sums: Vector) -> None:
    """Add up losses; who said nothing suffers what the others do."""
    suffered = share(weights, losses, out)
    for i in range(losses.shape[0]):
        sums[i] += losses[i] if losses[i] == losses[i] else suffered


def even(said: Vector) -> Vector:
    """Equal weights of all that speak, without silence.

    >>> even(np.array([0.0, 1.0, np.nan, 3.0])).tolist()
    [0.0, 0.5, 0.0, 0.5]
    """
    weights: Vector = (~np.isnan(said)).astype(np.float64)
    weights[SILENCE] = 0.0
    weights /= weights.sum()
    return weights


def weighted(weights: Vector, said: Vector) -> float:
    """The mean of what was said; who says nothing has no weight."""
    return float(weights @ np.where(np.isnan(said), 0.0, said))


class Mean(Combiner):
    """The mean of those that speak, without silence: with it the mean would only be smaller, always by the same share.

    >>> Mean().mix(np.array([0.0, 1.0, np.nan, 3.0]))[0]
    2.0
    """

    def mix(self, said: Vector) -> tuple[float, Vector]:
        weights = even(said)
        return weighted(weights, said), weights


class Hedged(Combiner):
    """Weights of a ``Hedge`` over the mean losses of ``labels_a_round`` labels, silence among the experts.

    Labels overlap: neighbours tell nearly the same, and each is heard a horizon after the words that it judges. Rounds
    of one horizon are as good as apart, and their feedback is one round late, whatever the grid (Joulani, György and
    Szepesvári, "Online learning under delayed feedback", 2013).

    >>> hedged = Hedged(Hedge(3, rate=1.0), labels_a_round=2)
    >>> for _ in range(8):
    ...     hedged.learn(np.zeros(3), 1.0, 1.0, np.array([1.0, 0.0, np.nan]))
    >>> hedged.hedge.rounds, hedged.mix(np.array([0.0, np.nan, 2.0]))[0]
    (4, 1.9)
    """

    def __init__(self, hedge: Hedge, labels_a_round: int) -> None:
        self.hedge = hedge
        self.labels_a_round = labels_a_round
        self._weights: Vector = hedge.weights()
        self._sums: Vector = np.zeros(len(self._weights))
        self._out: Vector = np.zeros(len(self._weights))
        self._count = 0

    @property
    def weights(self) -> Vector:
        """The weights in use; they change from round to round."""
        return self._weights

    def mix(self, said: Vector) -> tuple[float, Vector]:
        value = share(self._weights, said, self._out)
        return value, self._out.copy()

    def learn(self, said: Vector, label: float, unit: float, losses: Vector) -> None:
        del said, label, unit
        add(losses, self._weights, self._out, self._sums)
        self._count += 1
        if self._count == self.labels_a_round:
            self.hedge.learn(self._sums / self._count)
            self._weights = self.hedge.weights()
            self._sums[:] = 0.0
            self._count = 0

    def save(self) -> dict[str, Any]:
        return {"hedge": self.hedge.save(), "sums": self._sums.tobytes(), "count": self._count}

    def load(self, state: dict[str, Any]) -> None:
        self.hedge.load(state["hedge"])
        self._weights = self.hedge.weights()
        self._sums[:] = np.frombuffer(state["sums"])
        self._count = state["count"]
