"""A stand-in for the engine around ``Models``, and models that spy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from engine.core.events import Frames
from engine.core.records import AnyFact
from engine.core.types import Instrument
from engine.features.set import Vector
from engine.learn.contract import Model, ModelError, ModelSettings
from engine.learn.drift.settings import DriftSettings
from engine.learn.jobs import TrainJob
from engine.learn.models import Models
from tests.frames import MS, SECOND

INSTRUMENTS = tuple(
    Instrument(venue="sim", symbol=symbol, base="B", quote="Q", price_decimals=2, size_decimals=2) for symbol in "XY"
)


ADWIN = DriftSettings(detector="adwin")
"""A detector that needs no labels to tune on."""


def settings(use: str = "river-linear", **changes: Any) -> ModelSettings:
    """A quick model of the first instrument."""
    values: dict[str, Any] = {"name": "m", "use": use, "symbol": "sim:X", "warm_up_ns": SECOND, "every_ns": 100 * MS}
    return ModelSettings(**(values | changes))


def drive(models: Models, frames: Frames, block: int = 8192) -> list[tuple[int, AnyFact]]:
    """Do as the engine does: what is due comes before the frame, and frames are absorbed when due at the latest.

    ``block`` is how many frames wait at most.
    """
    told: list[tuple[int, AnyFact]] = []
    waiting = 0
    for i, now in enumerate(frames["recv_ns"].tolist()):
        while (due := models.next_due_ns()) <= now:
            models.absorb(frames[waiting:i])
            waiting = i
            told += [(due, fact) for fact in models.due(due)]
        if i == 0 or i + 1 - waiting >= block:
            models.absorb(frames[waiting : i + 1])
            waiting = i + 1
    models.absorb(frames[waiting:])
    return told


class Spy(Model):
    """Predicts how many labels it has learned so far, and keeps a diary."""

    diary: list[tuple[str, float]]

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        self.learned = 0
        self.diary = []

    def predict_one(self, x: Vector) -> float | None:
        self.diary.append(("predict", self.learned))
        return float(self.learned)

    def score(self, prediction: float, label: float) -> float:
        self.diary.append(("score", self.learned))
        return abs(label - prediction)

    def learn_one(self, x: Vector, y: float) -> None:
        self.learned += 1
        self.diary.append(("learn", y))


class Wild(Model):
    """Predicts what is not a number."""

    def predict_one(self, x: Vector) -> float | None:
        return float("nan")


class Brittle(Spy):
    """Raises at its hundredth label, and at every payload."""

    def learn_one(self, x: Vector, y: float) -> None:
        super().learn_one(x, y)
        if self.learned == 100:
            raise ZeroDivisionError("a hundred")

    def swap(self, payload: bytes, features: str) -> None:
        raise KeyError("weights")


class NotAModel:
    """Nothing that the engine could use."""


class Fitted(Model):
    """Trained to say one number, which is its whole payload."""

    trains: ClassVar[bool] = True
    said: float | None = None

    def predict_one(self, x: Vector) -> float | None:
        return self.said

    def swap(self, payload: bytes, features: str) -> None:
        self.said = float(payload)


class Middle(Fitted):
    """Trained to say the mean of its labels."""

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        return repr(float(job.y.mean())).encode()


class Unfit(Fitted):
    """Whose training always fails."""

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        raise ModelError("not today")
