"""Estimators of River by name: their own answers, two generations, and a state that is saved as rows."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from river import linear_model, tree

from engine.learn.contract import ModelError, model_class
from engine.learn.foreign.river_any import RiverAny
from tests.learning import settings

WIDTH = 4
NAMES = [f"f{i}" for i in range(WIDTH)]
TREE = "river:tree.HoeffdingAdaptiveTreeRegressor"


def stream(rows: int = 400, seed: int = 1) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, WIDTH))
    return x, np.where(x[:, 0] > 0.3, 2.0, -1.0) + 0.2 * rng.normal(size=rows)


def make(use: str = TREE, **options: Any) -> RiverAny:
    model = model_class(use)(settings(use, seed=3, options=options), NAMES)
    assert isinstance(model, RiverAny)
    return model


def test_an_estimator_answers_from_the_rows_since_its_generation_began() -> None:
    model, (x, y) = make(rows=50, scale=False, arguments={"grace_period": 20}), stream()
    for number, (row, label) in enumerate(zip(x, y.tolist(), strict=True)):
        if number in (40, 99, 100, 149, 151, 220, 399):
            expected: Any = tree.HoeffdingAdaptiveTreeRegressor(grace_period=20, seed=3)
            begins = max(0, (number // 50 - 1) * 50)
            for past, told in zip(x[begins:number], y[begins:number].tolist(), strict=True):
                expected.learn_one(dict(zip(NAMES, past.tolist(), strict=True)), told)
            assert model.predict_one(row) == expected.predict_one(dict(zip(NAMES, row.tolist(), strict=True)))
        model.learn_one(row, label)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("stops", [35, 50, 99, 100, 101, 150, 237])
def test_a_saved_estimator_goes_on_to_the_last_bit(stops: int, scale: bool) -> None:
    model, other, (x, y) = make(rows=50, scale=scale), make(rows=50, scale=scale), stream()
    for row, label in zip(x[:stops], y.tolist(), strict=False):
        model.learn_one(row, label)
    other.load(msgspec.msgpack.decode(msgspec.msgpack.encode(model.save())))
    for row, label in zip(x[stops:], y[stops:].tolist(), strict=True):
        assert other.predict_one(row) == model.predict_one(row)
        model.learn_one(row, label)
        other.learn_one(row, label)


def test_scaled_and_bounded_it_learns_through_bad_rows() -> None:
    model, (x, y) = make("river:linear_model.LinearRegression"), stream(3000)
    x[500], x[600], y[700], y[800] = np.nan, 1e30, np.nan, 9e4
    said = []
    for row, label in zip(x, y.tolist(), strict=True):
        said.append(model.predict_one(row) or 0.0)
        model.learn_one(row, label)
    assert np.isfinite(said).all() and np.corrcoef(said[1500:], y[1500:])[0, 1] > 0.7
    kept = model.contained()
    assert (kept["inputs_missing"], kept["labels_refused"], kept["labels_clipped"]) == (WIDTH, 1, 1)


def test_arguments_may_build_other_objects_of_river() -> None:
    told = {"optimizer": {"use": "river:optim.SGD", "lr": 0.125}, "l2": 0.5}
    model = make("river:linear_model.LinearRegression", arguments=told)
    inner: Any = model._answering
    assert isinstance(inner, linear_model.LinearRegression)
    assert inner.l2 == 0.5 and inner.optimizer.learning_rate == 0.125


@pytest.mark.parametrize(
    ("use", "options", "text"),
    [
        ("river:tree.Oak", {}, "expected a class of River as in river:linear_model.LinearRegression, found"),
        ("river:forests.ARFRegressor", {}, "found 'river:forests.ARFRegressor'"),
        ("river:LinearRegression", {}, "expected a class of River"),
        ("river:linear_model.base", {}, "expected a class of River, found"),
        ("river:optim.SGD", {}, "expected an estimator with learn_one"),
        (TREE, {"arguments": {"leaves": 3}}, "expected arguments that"),
        (TREE, {"rows": 10}, r"options: Expected `int` >= 50"),
    ],
)
def test_what_cannot_be_had_is_told_at_the_start(use: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ModelError, match=text):
        make(use, **options)


def test_rows_of_another_size_are_refused() -> None:
    with pytest.raises(ModelError, match=r"saved rows: expected .* start without it"):
        make(rows=60).load(make(rows=50).save())


def test_what_is_not_scaled_is_learned_as_it_is() -> None:
    """Labels are bounded in their own root mean squares, not at five basis points."""
    model, (x, _) = make(use="river:neighbors.KNNRegressor", scale=False), stream()
    for row in x[:300]:
        model.learn_one(row, 20.0 if row[0] > 0.0 else -20.0)
    assert abs(model.predict_one(x[0]) or 0.0) > 10.0
