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
from engine.learn.linear.sgd import step_of
from engine.learn.scaler import LEARNING_BOUND, MEMORY, Scaler

INPUT_BOUND = 4.0  # standard deviations
TARGET_BOUND = 5.0  # times the label's root mean square
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
        self._square = 0.0  # the label's running mean square
        self._scaler = Scaler(len(self.names), INPUT_BOUND)
        self._build()

    def _build(self) -> None:
        step = Shrinking(step_of(self.settings, len(self.names)))
        self._linear: Any = linear_model.LinearRegression(
            optimizer=optim.SGD(step), l2=1e-3, intercept_lr=step, clip_gradient=2.0 * TARGET_BOUND
        )

    def _inputs(self, x: Vector) -> dict[str, float]:
        return dict(zip(self.names, self._scaler.scale(x).tolist(), strict=True))

    @property
    def _scale(self) -> float:
        """The label's running root mean square, bps."""
        return math.sqrt(self._square)

    def predict_one(self, x: Vector) -> float | None:
        if self.learned < SPEAKS_AFTER:
            return None
        raw = float(self._linear.predict_one(self._inputs(x)))
        return max(-TARGET_BOUND, min(TARGET_BOUND, raw)) * self._scale

    def learn_one(self, x: Vector, y: float) -> None:
        self.learned += 1
        scale = self._scale
        if self.learned > SPEAKS_AFTER and scale > 0.0:
            y = max(-LEARNING_BOUND * scale, min(LEARNING_BOUND * scale, y))
        self._square += (y * y - self._square) / min(self.learned, MEMORY)
        scale = self._scale
        target = max(-TARGET_BOUND, min(TARGET_BOUND, y / scale)) if scale > 0.0 else 0.0
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
            "scaler": self._scaler.save(),
            "weights": self._linear.weights,
            "intercept": self._linear.intercept,
            "steps": self._linear.optimizer.n_iterations,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.learned, self.restarts, self._square = state["learned"], state["restarts"], state["square"]
        self._build()
        self._scaler.load(state["scaler"])
        self._linear._weights = utils.VectorDict(state["weights"])
        self._linear.intercept = state["intercept"]
        self._linear.optimizer.n_iterations = state["steps"]
