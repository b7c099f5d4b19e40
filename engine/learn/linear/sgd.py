"""Stochastic gradient descent in one kernel: linear, clipped linear, elastic net and logistic regression.

The kernel does what River's ``LinearRegression`` and ``LogisticRegression`` do with ``optim.SGD``, step by step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from engine.core.jit import inlined, kernel
from engine.features.set import Vector
from engine.learn.contract import ModelSettings, read_options
from engine.learn.linear.guard import (
    ABSOLUTE,
    RESTARTS,
    SQUARE,
    TARGET_BOUND,
    Array,
    Guarded,
    in_units,
    runs_away,
    take_label,
    take_row,
)
from engine.learn.scaler import LEARNING_BOUND

SQUARED, LOGISTIC = 0.0, 1.0
RATE, INTERCEPT_RATE, L1, L2, GRADIENT_BOUND, LOSS, SETTLING, LEAST = range(8)
"""Where a descent's parameters are; ``SETTLING`` 0: the step is constant."""
STEPS, PENALTY = range(2)
"""Where its progress is: steps done, and the L1 penalty that every weight has been due so far."""

LEARNING_RATE = 0.002  # at most; see step_of
WIDTH = 23  # inputs, all at a clip of 4, with which that step does not overshoot: 2 * 0.002 * 23 * 4 ** 2 < 2
SETTLED_AFTER = 100.0  # labels; a shrinking step shrinks with the square root of their number beyond it
CONSTANT = 0.2  # of step_of: a constant step is the best where the shrinking one ends up after some thousand labels
CONSTANT_ODDS = 2.0  # the same for log odds, whose slope is a fourth of the squared error's at most
LEAST_STEP = 0.1  # of the learning rate: never stops following the market


def step_of(settings: ModelSettings, width: int) -> float:
    """The first step: as told, or the smaller the more labels overlap, as each then repeats the ones before.

    A step moves the answer by up to 2 * step * the row's square, which grows with its ``width`` in inputs; so beyond
    ``WIDTH`` the step shrinks in proportion.

    >>> told = ModelSettings(name="m", symbol="v:X", horizon_ns=5_000, every_ns=100)
    >>> step_of(told, 1), step_of(told, 23), step_of(told, 230)
    (0.0001, 0.0001, 1e-05)
    """
    return settings.learning_rate or min(LEARNING_RATE, 0.005 / settings.overlap) * min(1.0, WIDTH / max(1, width))


def constant_step_of(settings: ModelSettings, width: int, share: float) -> float:
    """A step that does not shrink: as told, or a share of ``step_of``.

    >>> constant_step_of(ModelSettings(name="m", symbol="v:X", horizon_ns=5_000, every_ns=100), 23, 0.5)
    5e-05
    """
    return settings.learning_rate or share * step_of(settings, width)


def parameters(
    rate: float,
    *,
    intercept_rate: float | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    gradient_bound: float = 1e12,
    loss: float = SQUARED,
    settling: float = 0.0,
) -> Array:
    """The parameters of ``descend``; ``settling`` in steps, 0 for a constant step."""
    found = np.zeros(LEAST + 1)
    found[[RATE, L1, L2, GRADIENT_BOUND, LOSS]] = rate, l1, l2, gradient_bound, loss
    found[INTERCEPT_RATE] = rate if intercept_rate is None else intercept_rate
    found[[SETTLING, LEAST]] = settling, LEAST_STEP
    return found


@inlined
def _pace(steps: float, told: Array) -> float:
    """The share of the first step that is left."""
    if told[SETTLING] == 0.0:
        return 1.0
    return max(float(told[LEAST]), 1.0 / math.sqrt(1.0 + steps / told[SETTLING]))


@inlined
def _slope(y: float, raw: float, loss: float) -> float:
    """The loss's derivative by the prediction; for the logistic one ``y`` is 0 or 1 and ``raw`` a log of odds."""
    if loss == SQUARED:
        return 2.0 * (raw - y)
    sign = 1.0 if y > 0.0 else -1.0
    margin = raw * sign
    if margin > 18.0:
        return -sign * math.exp(-margin)
    if margin < -18.0:
        return -sign
    return -sign / (math.exp(margin) + 1.0)


@kernel
def descend(x: Vector, y: float, weights: Vector, penalties: Vector, progress: Vector, told: Array) -> None:
    """One step of descent on one row; the intercept is the last weight and is never penalised.

    L1 is the cumulative penalty of Tsuruoka, Tsujii and Ananiadou (2009), "Stochastic gradient descent training for
    L1-regularized log-linear models with cumulative penalty".
    """
    width = weights.shape[0] - 1
    raw = 0.0
    for i in range(width):
        raw += weights[i] * x[i]
    slope = _slope(y, raw + weights[width], told[LOSS])
    slope = min(max(slope, -told[GRADIENT_BOUND]), told[GRADIENT_BOUND])
    pace = _pace(progress[STEPS], told)
    weights[width] -= told[INTERCEPT_RATE] * pace * slope
    rate, l2 = told[RATE] * pace, told[L2]
    for i in range(width):
        weights[i] -= rate * (slope * x[i] + l2 * weights[i])
    progress[STEPS] += 1.0
    if told[L1] == 0.0:
        return
    progress[PENALTY] += told[L1] * told[RATE] * _pace(progress[STEPS], told)
    due = progress[PENALTY]
    for i in range(width):
        before = weights[i]
        if before > 0.0:
            weights[i] = max(0.0, before - (due + penalties[i]))
        elif before < 0.0:
            weights[i] = min(0.0, before + (due - penalties[i]))
        penalties[i] += weights[i] - before


@kernel
def _learn(
    x: Vector,
    y: float,
    bound: float,
    guard: Array,
    scaler: Array,
    row: Vector,
    weights: Vector,
    penalties: Vector,
    progress: Vector,
    told: Array,
) -> None:
    label = take_label(y, guard)
    if label != label:
        return
    take_row(x, guard, scaler, bound, row)
    if told[LOSS] == LOGISTIC:
        if label == 0.0:
            return
        target = 1.0 if label > 0.0 else 0.0
    else:
        target = in_units(label, guard)
    descend(row, target, weights, penalties, progress, told)
    if runs_away(weights):
        guard[RESTARTS] += 1.0
        weights[:] = 0.0
        penalties[:] = 0.0
        progress[:] = 0.0


class _Descent(Guarded):
    """What the models of this file share."""

    def __init__(self, settings: ModelSettings, names: Sequence[str], clip: float, told: Array) -> None:
        super().__init__(settings, names, clip)
        self.told = told
        self.penalties: Array = np.zeros(len(self.names))
        self.progress: Array = np.zeros(PENALTY + 1)
        self.arrays |= {"penalties": self.penalties, "progress": self.progress}
        self.compile()

    def learn_one(self, x: Vector, y: float) -> None:
        _learn(
            x, y, self.bound, self.guard, self.scaler, self.row, self.weights, self.penalties, self.progress, self.told
        )

    def respond(self, x: Vector) -> float:
        return super().respond(x) * math.sqrt(self.guard[SQUARE])


class LinearOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Own settings of ``linear`` and ``elastic-net``; penalties are those of standardised inputs and labels."""

    l1: float = 0.0
    l2: float = 0.0
    clip: float = LEARNING_BOUND
    gradient_bound: float = 1e12


class Linear(_Descent):
    """Linear regression by stochastic gradient descent with a constant step, on standardised features; predicts bps.

    ``settings.learning_rate`` 0 takes a fifth of ``step_of``. Options: ``LinearOptions``.

    >>> model = Linear(ModelSettings(name="m", symbol="v:X", learning_rate=0.01), ["a", "b"])
    >>> for x in np.random.default_rng(1).normal(size=(3000, 2)):
    ...     model.learn_one(x, 2.0 * x[0])
    >>> round(model.predict_one(np.array([1.0, 0.0])) or 0.0)
    2
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        own = read_options(settings, LinearOptions)
        rate = constant_step_of(settings, len(names), CONSTANT)
        told = parameters(rate, l1=own.l1, l2=own.l2, gradient_bound=own.gradient_bound)
        super().__init__(settings, names, own.clip, told)


class ElasticOptions(LinearOptions, frozen=True, forbid_unknown_fields=True):
    """Own settings of ``elastic-net``."""

    l1: float = 0.03
    l2: float = 0.001


class ElasticNet(_Descent):
    """Linear regression with both penalties: most weights end at zero, the rest stay small; predicts bps.

    River has each penalty alone; with one of them 0 this is River's estimator. Options: ``ElasticOptions``.

    >>> model = ElasticNet(ModelSettings(name="m", symbol="v:X", learning_rate=0.01), ["a", "b"])
    >>> for x in np.random.default_rng(1).normal(size=(3000, 2)):
    ...     model.learn_one(x, 2.0 * x[0])
    >>> model.weights[1].item()
    0.0
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        own = read_options(settings, ElasticOptions)
        rate = constant_step_of(settings, len(names), CONSTANT)
        told = parameters(rate, l1=own.l1, l2=own.l2, gradient_bound=own.gradient_bound)
        super().__init__(settings, names, own.clip, told)


class ClippedOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Own settings of ``clipped-linear``."""

    clip: float = 4.0
    l2: float = 1e-3


class ClippedLinear(_Descent):
    """The robust baseline: standardise, clip at 4 deviations, bounded steps that shrink; predicts bps.

    The answers are those of ``river-linear``. Options: ``ClippedOptions``.

    >>> model = ClippedLinear(ModelSettings(name="m", symbol="v:X"), ["a"])
    >>> for x in np.random.default_rng(1).normal(size=(3000, 1)):
    ...     model.learn_one(x, 2.0 * x[0])
    >>> model.learn_one(np.array([1e300]), -1e8)
    >>> model.predict_one(np.array([1.0])) > 1.0
    True
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        own = read_options(settings, ClippedOptions)
        told = parameters(
            step_of(settings, len(names)), l2=own.l2, gradient_bound=2.0 * TARGET_BOUND, settling=SETTLED_AFTER
        )
        super().__init__(settings, names, own.clip, told)


class Logistic(_Descent):
    """The odds that the mid goes up, by logistic regression; predicts bps.

    The prediction is (2p − 1) times the label's mean size: what is expected where the size of a move does not depend on
    its direction. Labels of 0 tell no direction and count for the size only. Options: ``LinearOptions``.

    >>> model = Logistic(ModelSettings(name="m", symbol="v:X", learning_rate=0.05), ["a"])
    >>> for x in np.random.default_rng(1).normal(size=(3000, 1)):
    ...     model.learn_one(x, 3.0 if x[0] > 0.0 else -3.0)
    >>> round(model.predict_one(np.array([2.0])) or 0.0)
    3
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        own = read_options(settings, LinearOptions)
        rate = constant_step_of(settings, len(names), CONSTANT_ODDS)
        told = parameters(rate, l1=own.l1, l2=own.l2, gradient_bound=own.gradient_bound, loss=LOGISTIC)
        super().__init__(settings, names, own.clip, told)

    def respond(self, x: Vector) -> float:
        return (2.0 * self.chance(x) - 1.0) * float(self.guard[ABSOLUTE])

    def chance(self, x: Vector) -> float:
        """The probability of a move up, given that there is one."""
        odds = Guarded.respond(self, x)
        return 1.0 / (1.0 + math.exp(-min(max(odds, -700.0), 700.0)))
