"""Ensembles for tests, experts of every temper, and a loop that lets them live."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from engine.features.set import Vector
from engine.learn.contract import SECOND_NS, Model, ModelError, ModelSettings
from engine.learn.ensemble.ensemble import Ensemble
from engine.learn.jobs import TrainJob

Rows = npt.NDArray[np.float64]
COMBINERS = ("adahedge", "hedge", "stacking", "mean")


def ensemble(*experts: Any, horizon: int = 1, seed: int = 0, **options: Any) -> Ensemble:
    """An ensemble whose labels are ``horizon`` samples long."""
    told = ModelSettings(
        name="e", symbol="v:X", use="ensemble", horizon_ns=horizon * SECOND_NS, every_ns=SECOND_NS, seed=seed,
        min_rows=8, options={"experts": list(experts), **options},
    )  # fmt: skip
    return Ensemble(told, ("return_1s_bps", "b"))


def named(kind: type[Model], name: str = "", **more: Any) -> dict[str, Any]:
    return {"use": f"{__name__}:{kind.__name__}", "name": name or kind.__name__, **more}


def live(model: Model, x: Rows, y: Rows, horizon: int = 1) -> list[float | None]:
    """Predict each row, and learn its label ``horizon`` rows later."""
    said: list[float | None] = []
    for i in range(len(x)):
        if i >= horizon:
            model.learn_one(x[i - horizon], float(y[i - horizon]))
        said.append(model.predict_one(x[i]))
        model.observe_one(x[i])
    return said


class First(Model):
    """Says the first feature."""

    def predict_one(self, x: Vector) -> float | None:
        return float(x[0])


class Opposite(Model):
    """Says the first feature with the other sign."""

    def predict_one(self, x: Vector) -> float | None:
        return -float(x[0])


class Second(Model):
    """Says the second feature."""

    def predict_one(self, x: Vector) -> float | None:
        return float(x[1])


class Hesitant(Model):
    """Says the first feature where the second is above 0, and nothing else."""

    def predict_one(self, x: Vector) -> float | None:
        return float(x[0]) if x[1] > 0.0 else None


class Broken(Model):
    """Raises whatever it is asked, and whatever it is taught."""

    def predict_one(self, x: Vector) -> float | None:
        raise ZeroDivisionError("no data")

    def observe_one(self, x: Vector) -> None:
        raise KeyError("no place")

    def learn_one(self, x: Vector, y: float) -> None:
        raise IndexError("no row")


class Mad(Model):
    """Says what no market does."""

    def predict_one(self, x: Vector) -> float | None:
        return math.inf if x[0] > 0 else 1e300


class Told(Model):
    """Trained to say one number."""

    trains: ClassVar[bool] = True
    said: float | None = None

    def predict_one(self, x: Vector) -> float | None:
        return self.said

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        weight = 1.0 if job.weights is None else float(job.weights.mean())
        return f"{weight * float(job.y.mean()) + 1e-10 * job.seed}".encode()

    def swap(self, payload: bytes, features: str) -> None:
        self.said = float(payload)

    def save(self) -> dict[str, Any]:
        return {"said": self.said}

    def load(self, state: dict[str, Any]) -> None:
        self.said = state["said"]


class Picky(Told):
    """Takes no payload."""

    def swap(self, payload: bytes, features: str) -> None:
        raise ModelError("not to my taste")


class Untrainable(Told):
    """Whose training always raises."""

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        raise ZeroDivisionError("no rows")


def rows(count: int, seed: int = 1) -> Rows:
    return np.random.default_rng(seed).normal(size=(count, 2))
