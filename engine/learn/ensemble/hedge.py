"""Exponentially weighted experts: weights that fall with the losses of each, and what that costs against the best.

``Hedge`` has a fixed rate (Freund and Schapire, "A decision-theoretic generalization of on-line learning", 1997),
``AdaHedge`` one that follows from what the weights have cost so far (de Rooij, van Erven, Grünwald and Koolen, "Follow
the leader if you can, hedge if you must", 2014): it needs no bound of the losses, and moving or scaling all of them
changes no weight. A share of the weight may be spread over all experts each round, so that one that becomes the best
later is found soon (Herbster and Warmuth, "Tracking the best expert", 1998; with a rate that changes: Cesa-Bianchi,
Gaillard, Lugosi and Stoltz, "Mirror descent meets fixed share", 2012).

An expert that says nothing in a round suffers what the others together suffer, so that its weight is as good afterwards
as before (Freund, Schapire, Singer and Warmuth, "Using and combining predictors that specialize", 1997).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel

Vector = npt.NDArray[np.float64]

MOST: Final = 1e100
"""A loss beyond it, in either direction, counts as this."""


@kernel
def weigh(potential: Vector, rate: float, weights: Vector) -> float:
    """Write weights in proportion to exp(-rate potential), and return the potential of their mixture.

    An infinite rate follows the leaders: those of the least potential share the weight.
    """
    n = potential.shape[0]
    low = float(potential.min())
    if not rate < np.inf:
        leaders = 0.0
        for i in range(n):
            weights[i] = 1.0 if potential[i] == low else 0.0
            leaders += weights[i]
        weights /= leaders
        return low
    total = lost = 0.0
    for i in range(n):
        away = -rate * (potential[i] - low)
        weights[i] = np.exp(away)
        total += weights[i]
        lost += np.expm1(away)
    weights /= total
    return low - float(np.log1p(lost / n)) / rate


@kernel
def suffer(
    losses: Vector, rate: float, share: float, potential: Vector, weights: Vector, totals: Vector
) -> tuple[float, float]:
    """Take one round's losses: what the weights suffered, and how much more than the mixture in the potential did.

    ``losses`` that are not numbers are replaced by what the others suffered. ``potential`` is kept beside 0, as only
    its differences matter.
    """
    n = losses.shape[0]
    before = weigh(potential, rate, weights)
    awake = suffered = plain = 0.0
    count = 0
    for i in range(n):
        if losses[i] == losses[i]:
            losses[i] = min(max(losses[i], -MOST), MOST)
            awake += weights[i]
            suffered += weights[i] * losses[i]
            plain += losses[i]
            count += 1
    # Those who speak may have lost all their weight long ago: then they count alike.
    suffered = suffered / awake if awake > 0.0 else plain / count
    for i in range(n):
        if losses[i] != losses[i]:
            losses[i] = suffered
        potential[i] += losses[i]
        totals[i] += losses[i]
    after = weigh(potential, rate, weights)
    if share > 0.0 and rate < np.inf:
        for i in range(n):
            potential[i] = -np.log((1.0 - share) * weights[i] + share / n) / rate
    potential -= potential.min()
    return suffered, suffered - (after - before)


class Hedge:
    """Weights over ``experts`` (at least 2) that fall with their losses at a fixed ``rate`` (per unit of loss).

    ``share`` of the weight is spread over all experts after each round; 0 forgets nothing. ``totals`` are the losses of
    each expert so far, ``suffered`` what the weights made of them.

    Raises:
        ValueError: fewer than two experts, a rate that is not above 0, or a share outside 0 to 1.

    >>> hedge = Hedge(2, rate=1.0)
    >>> for _ in range(3):
    ...     hedge.learn(np.array([0.0, 1.0]))
    >>> [round(float(weight), 3) for weight in hedge.weights()], round(hedge.regret, 3)
    ([0.953, 0.047], 0.888)
    """

    def __init__(self, experts: int, rate: float, share: float = 0.0) -> None:
        if experts < 2 or not rate > 0.0 or not 0.0 <= share < 1.0:
            raise ValueError(
                f"expected at least 2 experts, a rate above 0 and a share from 0 to below 1, "
                f"found {experts}, {rate} and {share}"
            )
        self.share = share
        self.potential: Vector = np.zeros(experts)
        self.totals: Vector = np.zeros(experts)
        self.suffered = 0.0
        self.rounds = 0
        self._rate = rate
        self._weights: Vector = np.zeros(experts)
        self._losses: Vector = np.zeros(experts)

    @property
    def rate(self) -> float:
        """How strongly a loss lowers a weight: it divides by e for each 1 / rate of loss."""
        return self._rate

    @property
    def regret(self) -> float:
        """How much more the weights have suffered than the best expert so far."""
        return self.suffered - float(self.totals.min())

    def weights(self) -> Vector:
        """The weights of the next round; they sum to 1."""
        weigh(self.potential, self.rate, self._weights)
        return self._weights.copy()

    def learn(self, losses: Vector) -> None:
        """Take one round's losses, one an expert; nan: it said nothing. A round without any is none."""
        if np.isnan(losses).all():
            return
        self._losses[:] = losses
        suffered, gap = suffer(self._losses, self.rate, self.share, self.potential, self._weights, self.totals)
        self.suffered += suffered
        self.rounds += 1
        self._pay(gap)

    def _pay(self, gap: float) -> None:
        """Take the mixability gap of a round."""

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "potential": self.potential.tobytes(),
            "totals": self.totals.tobytes(),
            "suffered": self.suffered,
            "rounds": self.rounds,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of as many experts gave."""
        self.potential[:] = np.frombuffer(state["potential"])
        self.totals[:] = np.frombuffer(state["totals"])
        self.suffered, self.rounds = state["suffered"], state["rounds"]


class AdaHedge(Hedge):
    """``Hedge`` with the rate ln(experts) / what the weights have lost against the mixture in the potential so far.

    Without a share the regret is at most twice that ``gap``, at most 2 sqrt(V ln K) + S (4/3 ln K + 2) for the summed
    variance V of the losses under the weights and their largest range S, and so at most in the order of
    sqrt(rounds ln K).

    >>> hedge = AdaHedge(2)
    >>> for _ in range(100):
    ...     hedge.learn(np.array([0.0, 1000.0]))
    >>> [round(float(weight), 3) for weight in hedge.weights()], round(hedge.regret)
    ([1.0, 0.0], 836)
    """

    def __init__(self, experts: int, share: float = 0.0) -> None:
        super().__init__(experts, math.inf, share)
        self.gap = 0.0

    @property
    def rate(self) -> float:
        return math.log(len(self.potential)) / self.gap if self.gap > 0.0 else math.inf

    def _pay(self, gap: float) -> None:
        # The gap is never below 0 (Jensen); rounding can make it so.
        self.gap += max(0.0, gap)

    def save(self) -> dict[str, Any]:
        return {**super().save(), "gap": self.gap}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self.gap = state["gap"]
