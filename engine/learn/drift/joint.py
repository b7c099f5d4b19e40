"""How far a row of features is from the rows at the beginning: all of them at once, as none alone may look odd."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from engine.learn.drift.contract import DriftError, Floats

MOST: Final = 64
"""Columns; a row costs their square."""

RIDGE: Final = 0.05
"""Of a column's variance: directions in which rows hardly vary must not decide."""


class Joint:
    """The log of Mahalanobis' distance of a row from the first ``reference`` rows, per column; nan until those came.

    What is not finite counts as the mean.

    >>> joint = Joint(width=2, reference=200)
    >>> chance = np.random.default_rng(1)
    >>> rows = chance.normal(size=(200, 1)) + 0.1 * chance.normal(size=(200, 2))  # the two go together
    >>> [math.isnan(joint.distance(row)) for row in rows][-1]
    True
    >>> round(joint.distance(np.array([1.0, 1.0])), 1), round(joint.distance(np.array([1.0, -1.0])), 1)
    (-0.2, 1.5)
    """

    def __init__(self, width: int, reference: int) -> None:
        if not 0 < width <= MOST:
            raise DriftError(
                f"drift_also: joint: expected at most {MOST} features, found {width}: name fewer, or make them fewer "
                'with reduce = "pca"'
            )
        self._reference = max(reference, 4 * width)
        self._first: Floats = np.zeros((self._reference, width))
        self._count = 0
        self._centre: Floats = np.zeros(width)
        self._scale: Floats = np.ones(width)
        self._inverse: Floats = np.eye(width)

    def is_ready(self) -> bool:
        """Whether the reference is whole."""
        return self._count == self._reference

    def distance(self, x: Floats) -> float:
        """That of the next row."""
        if not self.is_ready():
            self._first[self._count] = _clean(x)
            self._count += 1
            if self.is_ready():
                self._settle()
            return math.nan
        z = self._scaled(_clean(x))
        return 0.5 * math.log(float(z @ self._inverse @ z) / len(z) + 1e-12)

    def reset(self) -> None:
        """Begin anew with the next rows as reference."""
        self._count = 0

    def _scaled(self, x: Floats) -> Floats:
        z: Floats = np.clip((x - self._centre) / self._scale, -1e3, 1e3)
        return np.where(np.isfinite(z), z, 0.0)

    def _settle(self) -> None:
        known = self._first
        any_known = np.isfinite(known).any(axis=0)
        self._centre = np.zeros(known.shape[1])
        self._scale = np.ones(known.shape[1])
        self._centre[any_known] = np.nanmean(known[:, any_known], axis=0)
        spread = np.nanstd(known[:, any_known], axis=0)
        self._scale[any_known] = np.where(spread > 1e-12, spread, 1.0)
        rows = self._scaled(known)
        covariance = rows.T @ rows / len(rows)
        self._inverse[:] = np.linalg.inv(covariance + RIDGE * np.eye(len(covariance)))

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"count": self._count, "first": self._first[: self._count].tobytes()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what ``save`` gave of one as wide."""
        self._count = state["count"]
        self._first[: self._count] = np.frombuffer(state["first"]).reshape(self._count, self._first.shape[1])
        if self.is_ready():
            self._settle()


def _clean(x: Floats) -> Floats:
    """Missing as nan, and nothing so large that its square is not finite."""
    return np.where(np.isfinite(x), np.clip(x, -1e9, 1e9), np.nan)
