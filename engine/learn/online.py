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
LEARNING_BOUND = 8.0  # standard deviations; how far one row can pull a running scale
MEMORY = 10_000  # labels; a running scale forgets what is older
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


class BoundedScaler(preprocessing.StandardScaler):
    """River's StandardScaler that one absurd row cannot spoil and that slowly forgets.

    What it learns is bounded by what it knows, and it weighs no row less than the last ``memory`` rows' share.

    >>> scaler = BoundedScaler(memory=100)
    >>> for i in range(200):
    ...     scaler.learn_one({"a": float(i % 2)})
    >>> scaler.learn_one({"a": 1e12})
    >>> scaler.transform_one({"a": 1.0})["a"] > 0.5
    True
    """

    def __init__(self, memory: int) -> None:
        super().__init__()
        self.memory = memory

    def learn_one(self, x: dict[Hashable, Any]) -> None:
        means, variances, counts = self.means, self.vars, self.counts
        for name, value in x.items():
            middle, variance = means[name], variances[name]
            if value != value:
                value = middle
            elif counts[name] >= SPEAKS_AFTER and variance > 0.0:
                reach = LEARNING_BOUND * math.sqrt(variance)
                value = min(max(value, middle - reach), middle + reach)
            counts[name] = count = min(counts[name] + 1, self.memory)
            means[name] = mean = middle + (value - middle) / count
            variances[name] = variance + ((value - middle) * (value - mean) - variance) / count


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
        self._square = 0.0  # the label's running mean square
        self._build()

    def _build(self) -> None:
        rate = self.settings.learning_rate or LEARNING_RATE
        self._scaler = BoundedScaler(MEMORY)
        self._linear = linear_model.LinearRegression(
            optimizer=optim.SGD(rate), l2=1e-4, intercept_lr=rate, clip_gradient=2.0 * TARGET_BOUND
        )
        self._pipeline = compose.Pipeline(self._scaler, Clip(INPUT_BOUND), self._linear)

    @property
    def _scale(self) -> float:
        """The label's running root mean square, bps."""
        return math.sqrt(self._square)

    def predict_one(self, x: Vector) -> float | None:
        if self.learned < SPEAKS_AFTER:
            return None
        raw = float(self._pipeline.predict_one(dict(zip(self.names, x.tolist(), strict=True))))
        return max(-TARGET_BOUND, min(TARGET_BOUND, raw)) * self._scale

    def learn_one(self, x: Vector, y: float) -> None:
        self.learned += 1
        scale = self._scale
        if self.learned > SPEAKS_AFTER and scale > 0.0:
            y = max(-LEARNING_BOUND * scale, min(LEARNING_BOUND * scale, y))
        self._square += (y * y - self._square) / min(self.learned, MEMORY)
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
            "square": self._square,
            "counts": dict(scaler.counts),
            "means": dict(scaler.means),
            "vars": dict(scaler.vars),
            "weights": self._linear.weights,
            "intercept": self._linear.intercept,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.learned, self.restarts, self._square = state["learned"], state["restarts"], state["square"]
        self._build()
        self._scaler.counts.update(state["counts"])
        self._scaler.means.update(state["means"])
        self._scaler.vars.update(state["vars"])
        self._linear._weights = utils.VectorDict(state["weights"])
        self._linear.intercept = state["intercept"]
