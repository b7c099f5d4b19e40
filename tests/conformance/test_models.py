"""Every registered model against every card, and every card against a model that breaks it."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np
import pytest

from engine.features.set import Vector
from engine.learn.conformance import CARDS, check_model
from engine.learn.contract import Model, TrainJob

ENTRIES = sorted(entry_points(group="papertape.models"), key=lambda entry: entry.name)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_registered_model_when_checked_then_every_card_passes(entry: EntryPoint) -> None:
    results = check_model(entry.load())
    assert [result.card for result in results] == [card for card, _, _ in CARDS]
    assert [result.line() for result in results if not result.passed] == []


class Silent(Model):
    def predict_one(self, x: Vector) -> float | None:
        return float(x[0])


class Boastful(Model):
    "Says nonsense at birth and forever, and scores it so."

    def predict_one(self, x: Vector) -> float | None:
        return float("nan")

    def score(self, prediction: float, label: float) -> float:
        return float("inf")


class Meddling(Model):
    "Changes its input."

    def predict_one(self, x: Vector) -> float | None:
        x[0] += 1.0
        return 1.0


class Counting(Model):
    "Changes itself when asked, and saves only that."

    asked = 0

    def predict_one(self, x: Vector) -> float | None:
        self.asked += 1
        return 1.0

    def save(self) -> dict[str, Any]:
        return {"asked": self.asked}


class Gambling(Model):
    "Draws lots at birth."

    born = 0

    def predict_one(self, x: Vector) -> float | None:
        return float(self.lot)

    def learn_one(self, x: Vector, y: float) -> None:
        Gambling.born += 1
        self.lot = Gambling.born

    lot = 0


class Gullible(Model):
    "Is trained, never to the same bytes, and believes everything."

    trains = True
    made = 0
    answer = 0.0

    def predict_one(self, x: Vector) -> float | None:
        return self.answer

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        Gullible.made += 1
        return f"{Gullible.made}{job.features}".encode()

    def swap(self, payload: bytes, features: str) -> None:
        self.answer = float(np.sum(list(payload)))


@pytest.mark.parametrize(
    ("cls", "broken"),
    [
        (Silent, {"M10"}),
        (Boastful, {"M20", "M30", "M40", "M50", "M70", "M80"}),
        (Meddling, {"M30"}),
        (Counting, {"M30"}),
        (Gambling, {"M40", "M50"}),
        (Gullible, {"M50", "M60", "M70"}),
    ],
)
def test_card_when_a_model_breaks_it_then_it_fails_with_words(cls: type[Model], broken: set[str]) -> None:
    results = {result.card: result for result in check_model(cls)}
    assert {card for card, result in results.items() if not result.passed} == broken
    assert all(len(results[card].detail) > 20 for card in broken)


def test_card_when_a_model_raises_then_that_is_the_finding() -> None:
    class Raising(Model):
        "Raises."

        def predict_one(self, x: Vector) -> float | None:
            raise ZeroDivisionError("no data")

    results = {result.card: result for result in check_model(Raising)}
    assert results["M20"].detail == "raised ZeroDivisionError: no data"
