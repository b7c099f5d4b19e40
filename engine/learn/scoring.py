"""Scores of a model that was never shown the answer first: running, exact, in constant memory."""

from __future__ import annotations

import math
from typing import Any

import msgspec


class Scores(msgspec.Struct):
    """Running scores over (prediction, label) pairs, both in bps.

    >>> scores = Scores()
    >>> for prediction, label in [(1.0, 2.0), (-1.0, -2.0), (0.5, 1.0)]:
    ...     scores.update(prediction, label)
    >>> scores.ic, scores.hit_rate, scores.rmse, scores.r2
    (1.0, 1.0, 0.866025, 0.75)
    """

    count: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    squared_label: float = 0.0
    hits: int = 0
    calls: int = 0
    mean_p: float = 0.0
    mean_y: float = 0.0
    var_p: float = 0.0
    var_y: float = 0.0
    covariance: float = 0.0

    def update(self, prediction: float, label: float) -> None:
        """Take one pair; the means and co-moments after Welford, so that nothing cancels over weeks."""
        error = label - prediction
        self.count += 1
        self.absolute += abs(error)
        self.squared += error * error
        self.squared_label += label * label
        if prediction != 0.0 and label != 0.0:
            self.calls += 1
            self.hits += (prediction > 0.0) == (label > 0.0)
        delta_p, delta_y = prediction - self.mean_p, label - self.mean_y
        self.mean_p += delta_p / self.count
        self.mean_y += delta_y / self.count
        self.var_p += delta_p * (prediction - self.mean_p)
        self.var_y += delta_y * (label - self.mean_y)
        self.covariance += delta_p * (label - self.mean_y)

    @property
    def rmse(self) -> float:
        """Root mean squared error, bps; 0 before the first pair."""
        return math.sqrt(self.squared / self.count) if self.count else 0.0

    @property
    def mae(self) -> float:
        """Mean absolute error, bps; 0 before the first pair."""
        return self.absolute / self.count if self.count else 0.0

    @property
    def ic(self) -> float:
        """Information coefficient: Pearson's correlation of prediction and label; 0 where either never moved."""
        scale = math.sqrt(self.var_p) * math.sqrt(self.var_y)
        return max(-1.0, min(1.0, self.covariance / scale)) if scale > 0.0 else 0.0

    @property
    def slope(self) -> float:
        """Of the label on the prediction: 1 where the size of predictions is right; 0 before predictions differ."""
        return self.covariance / self.var_p if self.var_p > 0.0 else 0.0

    @property
    def intercept(self) -> float:
        """Of the same line: the label where the prediction is 0."""
        return self.mean_y - self.slope * self.mean_p

    @property
    def hit_rate(self) -> float:
        """Share of right signs where both prediction and label have one; 0 before the first."""
        return self.hits / self.calls if self.calls else 0.0

    @property
    def r2(self) -> float:
        """1 - squared error / squared label: what is better than always saying 0; 0 before any label moved."""
        return 1.0 - self.squared / self.squared_label if self.squared_label > 0.0 else 0.0

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return msgspec.structs.asdict(self)

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""
        for field, value in state.items():
            setattr(self, field, value)
