"""Every registered model against every card, and every card against a model that breaks it."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.features.set import Vector
from engine.learn.conformance import CARDS, check_model
from engine.learn.contract import BUILT_IN, Model, model_class
from engine.learn.jobs import TrainJob

ROOT = Path(__file__).resolve().parents[2]
OTHERS = {entry.name for entry in entry_points(group="papertape.models")}


NEEDS = {"lightgbm": "lightgbm", "sklearn:linear_model.Ridge": "sklearn"}
FOREIGN_USES = {"river:linear_model.LinearRegression", "river:tree.HoeffdingAdaptiveTreeRegressor"}


@pytest.mark.parametrize("name", sorted(BUILT_IN.keys() | OTHERS | FOREIGN_USES | NEEDS.keys()))
def test_registered_model_when_checked_then_every_card_passes(name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason="optional: pip install 'papertape[ml]'")
    results = check_model(model_class(name), name)
    assert [result.card for result in results] == [card for card, _, _ in CARDS]
    assert [result.line() for result in results if not result.passed] == []


def test_our_own_models_are_registered_as_those_of_others_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["papertape.models"] == BUILT_IN


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
        (Silent, {"M10", "M90"}),
        (Boastful, {"M20", "M30", "M40", "M50", "M55", "M70", "M80", "M90"}),
        (Meddling, {"M30"}),
        (Counting, {"M30"}),
        (Gambling, {"M40", "M50", "M55"}),
        (Gullible, {"M50", "M55", "M60", "M70"}),
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
