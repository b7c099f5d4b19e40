"""A linear model that learns from every label: River's regression, kept from running away.

River's default pipeline diverges on real tapes: one absurd input or label throws the weights far off, and the next step
farther. Here inputs are standardised and clipped, the label is scaled by its own running size and clipped, and the step
is small enough that even a vector with every input at its bound does not overshoot. It is smaller still than that:
labels of neighbouring samples overlap, so a step too large learns the same noise ten times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from river import linear_model, optim, utils

from engine.features.set import Vector
from engine.learn.contract import Model, ModelSettings, NoOptions, read_options
from engine.learn.linear.guard import RARE_BOUND, TARGET_BOUND
from engine.learn.linear.sgd import step_of
from engine.learn.scaler import LEARNING_BOUND, MEMORY, Scaler, reach_of

INPUT_BOUND = 4.0  # standard deviations
SETTLING = 100  # labels; the step shrinks with the square root of their number beyond it
LEAST_STEP = 0.1  # of the learning rate: never stops following the market
SPEAKS_AFTER = 30  # labels


class Shrinking(optim.base.Scheduler):
    """A step that shrinks with the square root of the number of labels, down to a least one.

    >>> step = Shrinking(0.1)
    >>> step.get(0), step.get(300), step.get(10**9)
    (0.1, 0.05, 0.01)
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def get(self, t: int) -> float:
        return self.rate * max(LEAST_STEP, 1.0 / math.sqrt(1.0 + t / SETTLING))


class RiverLinear(Model):
    """Linear regression on standardised features by stochastic gradient descent; predicts bps.

    >>> import numpy as np
    >>> model = RiverLinear(ModelSettings(name="m", symbol="v:X", learning_rate=0.01), ["a", "b"])
    >>> rng = np.random.default_rng(1)
    >>> for x in rng.normal(size=(3000, 2)):
    ...     model.learn_one(x, 2.0 * x[0])
    >>> round(model.predict_one(np.array([1.0, 0.0])))
    2
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        read_options(settings, NoOptions)
        self.learned = 0
        self.restarts = 0
        self._square = 0.0  # the label's running mean square, and its mean size
        self._size = 0.0
        self._scaler = Scaler(len(self.names), INPUT_BOUND)
        self._build()

    def _build(self) -> None:
        step = Shrinking(step_of(self.settings, len(self.names)))
        self._linear: Any = linear_model.LinearRegression(
            optimizer=optim.SGD(step), l2=1e-3, intercept_lr=step, clip_gradient=2.0 * TARGET_BOUND
        )

    def _inputs(self, x: Vector) -> dict[str, float]:
        return dict(zip(self.names, self._scaler.scale(x).tolist(), strict=True))

    def _reach(self, scales: float, moves: float) -> float:
        return float(reach_of(self._square, self._size, scales, moves))

    @property
    def _scale(self) -> float:
        """The label's running root mean square, bps."""
        return math.sqrt(self._square)

    def predict_one(self, x: Vector) -> float | None:
        if self.learned < SPEAKS_AFTER:
            return None
        said = float(self._linear.predict_one(self._inputs(x))) * self._scale
        reach = self._reach(TARGET_BOUND, 1.0)
        return max(-reach, min(reach, said))

    def learn_one(self, x: Vector, y: float) -> None:
        self.learned += 1
        reach = self._reach(LEARNING_BOUND, RARE_BOUND)
        if self.learned > SPEAKS_AFTER and reach > 0.0:
            y = max(-reach, min(reach, y))
        weight = min(self.learned, MEMORY)
        self._square += (y * y - self._square) / weight
        self._size += (abs(y) - self._size) / weight
        reach = self._reach(TARGET_BOUND, 1.0)
        target = max(-reach, min(reach, y)) / self._scale if reach > 0.0 else 0.0
        self._scaler.learn(x)
        self._linear.learn_one(self._inputs(x), target)
        if not math.isfinite(self._linear.intercept):
            self.restarts += 1
            self._build()

    def save(self) -> dict[str, Any]:
        return {
            "learned": self.learned,
            "restarts": self.restarts,
            "square": self._square,
            "size": self._size,
            "scaler": self._scaler.save(),
            "weights": self._linear.weights,
            "intercept": self._linear.intercept,
            "steps": self._linear.optimizer.n_iterations,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.learned, self.restarts = state["learned"], state["restarts"]
        self._square = state["square"]
        self._size = state.get("size", self._scale)  # states of before it was kept: the most that it can have been
        self._build()
        self._scaler.load(state["scaler"])
        self._linear._weights = utils.VectorDict(state["weights"])
        self._linear.intercept = state["intercept"]
        self._linear.optimizer.n_iterations = state["steps"]
