"""A linear model that learns from every label, as a River pipeline that cannot run away.

River's default pipeline diverges on real tapes: one absurd input or label throws the weights far off, and the next step
farther. Here inputs are standardised and clipped, the label is scaled by its own running size and clipped, and the step
is small enough that even a vector with every input at its bound does not overshoot.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

from river import base, compose, linear_model, optim, preprocessing, utils

from engine.features.set import Vector
from engine.learn.contract import Model, ModelSettings

INPUT_BOUND = 4.0  # standard deviations
TARGET_BOUND = 5.0  # times the label's root mean square
LEARNING_RATE = 0.002
SPEAKS_AFTER = 30  # labels


class Clip(base.Transformer):
    """Bounds every input; what is missing or not a number becomes 0.

    >>> Clip(4.0).transform_one({"a": 9.0, "b": float("nan")})
    {'a': 4.0, 'b': 0.0}
    """

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def transform_one(self, x: dict[Hashable, Any]) -> dict[Hashable, Any]:
        bound = self.bound
        return {
            name: (bound if value > bound else -bound if value < -bound else value) if value == value else 0.0
            for name, value in x.items()
        }


class RiverLinear(Model):
    """Linear regression on standardised features by stochastic gradient descent; predicts bps.

    >>> import numpy as np
    >>> model = RiverLinear(ModelSettings(name="m", symbol="v:X"), ["a", "b"])
    >>> rng = np.random.default_rng(1)
    >>> for x in rng.normal(size=(3000, 2)):
    ...     model.learn_one(x, 2.0 * x[0])
    >>> round(model.predict_one(np.array([1.0, 0.0])))
    2
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        self.learned = 0
        self.restarts = 0
        self._squares = 0.0
        self._build()

    def _build(self) -> None:
        rate = self.settings.learning_rate or LEARNING_RATE
        self._scaler = preprocessing.StandardScaler()
        self._linear = linear_model.LinearRegression(
            optimizer=optim.SGD(rate), l2=1e-4, intercept_lr=rate, clip_gradient=2.0 * TARGET_BOUND
        )
        self._pipeline = compose.Pipeline(self._scaler, Clip(INPUT_BOUND), self._linear)

    @property
    def _scale(self) -> float:
        """The label's root mean square so far, bps."""
        return math.sqrt(self._squares / self.learned) if self.learned else 0.0

    def predict_one(self, x: Vector) -> float | None:
        if self.learned < SPEAKS_AFTER:
            return None
        raw = float(self._pipeline.predict_one(dict(zip(self.names, x.tolist(), strict=True))))
        return max(-TARGET_BOUND, min(TARGET_BOUND, raw)) * self._scale

    def learn_one(self, x: Vector, y: float) -> None:
        self.learned += 1
        self._squares += y * y
        scale = self._scale
        target = max(-TARGET_BOUND, min(TARGET_BOUND, y / scale)) if scale > 0.0 else 0.0
        self._pipeline.learn_one(dict(zip(self.names, x.tolist(), strict=True)), target)
        if not math.isfinite(self._linear.intercept):
            self.restarts += 1
            self._build()

    def save(self) -> dict[str, Any]:
        scaler = self._scaler
        return {
            "learned": self.learned,
            "restarts": self.restarts,
            "squares": self._squares,
            "counts": dict(scaler.counts),
            "means": dict(scaler.means),
            "vars": dict(scaler.vars),
            "weights": self._linear.weights,
            "intercept": self._linear.intercept,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.learned, self.restarts, self._squares = state["learned"], state["restarts"], state["squares"]
        self._build()
        self._scaler.counts.update(state["counts"])
        self._scaler.means.update(state["means"])
        self._scaler.vars.update(state["vars"])
        self._linear._weights = utils.VectorDict(state["weights"])
        self._linear.intercept = state["intercept"]
