"""LightGBM and scikit-learn, which are optional: what answers is what was trained, and the rest is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from engine.features.set import FeatureSet
from engine.learn.contract import Model, ModelError, ModelSettings, model_class
from engine.learn.foreign.lightgbm import LightGbm
from engine.learn.foreign.trees import NAN, NODE, NOTHING, ZERO, ask, flatten, rebuild
from engine.learn.jobs import TrainJob
from engine.learn.networks.payload import unpack
from engine.learn.trainer import fit
from tests.frames import MS
from tests.learning import settings

FEATURES = FeatureSet(ticks=[1], warm_up_ns=1)
WIDTH = 6
NAMES = FEATURES.names[:WIDTH]
RIDGE = "sklearn:linear_model.Ridge"
WHY = "optional: pip install 'papertape[ml]'"


def planted(use: str, rows: int = 1500, seed: int = 1, **changes: Any) -> TrainJob:
    """Rows whose label is linear in one feature and a step in another, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    x[:, 4] = 7.0  # never moves
    y = 0.5 * x[:, 0].astype(np.float64) + np.where(x[:, 1] > 0.2, 0.6, -0.2) + 0.2 * rng.normal(size=rows)
    times_ns = np.arange(rows, dtype=np.int64) * 100 * MS
    return TrainJob(settings(use, **changes), FEATURES.hash, NAMES, times_ns, x, y, 3)


def ready(job: TrainJob) -> Model:
    model = model_class(job.settings.use)(job.settings, NAMES)
    model.swap(fit(job), FEATURES.hash)
    return model


def quality(model: Model, job: TrainJob) -> float:
    unseen = planted(job.settings.use, rows=400, seed=2)
    said = [model.predict_one(row) or 0.0 for row in unseen.x.astype(np.float64)]
    return float(np.corrcoef(said, unseen.y)[0, 1])


@pytest.mark.parametrize(
    ("use", "arguments", "least"),
    [
        (RIDGE, {"alpha": 2.0}, 0.75),
        ("sklearn:linear_model.SGDRegressor", {"max_iter": 50}, 0.75),
        ("sklearn:tree.DecisionTreeRegressor", {"max_depth": 5}, 0.75),
        ("sklearn:ensemble.GradientBoostingRegressor", {"n_estimators": 30}, 0.85),
        ("sklearn:neural_network.MLPRegressor", {"hidden_layer_sizes": (16,), "max_iter": 150}, 0.75),
        ("tests.unit.test_learn_ml:Own", {}, 0.75),
    ],
)
def test_a_regressor_of_sklearn_answers_as_a_graph(use: str, arguments: dict[str, Any], least: float) -> None:
    pytest.importorskip("sklearn", reason=WHY)
    job = planted(use, options={"arguments": arguments})
    payload = fit(job)
    assert fit(job) == payload
    model = model_class(use)(job.settings, NAMES)
    assert model.predict_one(np.zeros(WIDTH)) is None
    model.swap(payload, FEATURES.hash)
    assert quality(model, job) > least
    card = unpack(payload, FEATURES.hash).card
    assert card.export_difference < 1e-5 and card.validation["ic"] > least
    other = model_class(use)(job.settings, NAMES)
    other.load(model.save())
    assert other.predict_one(np.ones(WIDTH)) == model.predict_one(np.ones(WIDTH))


def __getattr__(name: str) -> Any:
    """``Own``: a class of one's own that is a regressor of scikit-learn, where that is installed."""
    if name != "Own":
        raise AttributeError(name)
    from importlib import import_module

    return type("Own", (import_module("sklearn.linear_model").Ridge,), {})


class Foreign:
    """Fits and predicts, and nobody knows how to turn it into a graph."""

    def fit(self, x: Any, y: Any) -> None:
        self.mean = float(np.mean(y))

    def predict(self, x: Any) -> Any:
        return np.full(len(x), self.mean)


def test_what_cannot_be_turned_into_a_graph_is_refused_in_words() -> None:
    pytest.importorskip("sklearn", reason=WHY)
    with pytest.raises(ModelError, match=r"cannot be turned into an ONNX graph, .* or write a Model"):
        fit(planted("tests.unit.test_learn_ml:Foreign"))
    with pytest.raises(ModelError, match=r"sklearn:linear_model.Ridge raised InvalidParameterError"):
        fit(planted(RIDGE, options={"arguments": {"alpha": -5.0}}))
    with pytest.raises(ModelError, match=r"expected arguments that sklearn:linear_model.Ridge takes"):
        fit(planted(RIDGE, options={"arguments": {"beta": 1.0}}))
    with pytest.raises(ModelError, match=r"expected a class as in sklearn:linear_model.Ridge"):
        fit(planted("sklearn:linear_model.Ridges"))


@pytest.mark.parametrize("lost", ["lightgbm", "sklearn", "skl2onnx"])
def test_a_missing_package_is_named_with_the_way_to_get_it(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if lost == "skl2onnx":
        pytest.importorskip("sklearn", reason=WHY)
    monkeypatch.setitem(sys.modules, lost, None)
    use = "lightgbm" if lost == "lightgbm" else RIDGE
    with pytest.raises(ModelError, match=r"pip install 'papertape\[ml\]'"):
        fit(planted(use))


def test_trees_say_what_lightgbm_says() -> None:
    lightgbm: Any = pytest.importorskip("lightgbm", reason=WHY)
    rng = np.random.default_rng(4)
    x = rng.normal(size=(800, 5))
    x[rng.random(x.shape) < 0.1] = np.nan
    x[:, 3] = np.where(rng.random(800) < 0.5, 0.0, x[:, 3])
    y = np.nan_to_num(x[:, 0]) + np.nan_to_num(x[:, 3] ** 2)
    rows = np.concatenate([x, [[0.0] * 5, [np.nan] * 5, [np.inf] * 5, [-1e-36] * 5]])
    found = set()
    for told in ({}, {"zero_as_missing": True}, {"use_missing": False}):
        common = {"num_leaves": 12, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, **told}
        booster = lightgbm.train(common, lightgbm.Dataset(x, y), 30)
        weights = flatten([booster.dump_model()])
        nodes, out = rebuild(weights, 5, 1), np.zeros(1)
        found |= set(nodes["missing"].tolist())
        for row, expected in zip(rows, booster.predict(rows).tolist(), strict=True):
            ask(row, nodes, weights["leaves"], weights["roots"], weights["heads"], out)
            assert abs(out[0] - expected) < 1e-9
    assert found == {NOTHING, ZERO, NAN}


def test_lightgbm_learns_steps_and_its_payload_needs_no_lightgbm(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightgbm", reason=WHY)
    job = planted("lightgbm", learning_rate=0.1, options={"rounds": 80})
    payload = fit(job)
    assert fit(job) == payload and fit(msgspec.structs.replace(job, seed=4)) != payload
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    model = LightGbm(job.settings, NAMES)
    model.swap(payload, FEATURES.hash)
    assert quality(model, job) > 0.88
    card = unpack(payload, FEATURES.hash).card
    assert 0 < card.shape["trees"] <= 80 and card.export_difference < 1e-9


@pytest.mark.parametrize(("use", "package"), [("lightgbm", "lightgbm"), (RIDGE, "sklearn")])
def test_several_labels_and_weights(use: str, package: str) -> None:
    pytest.importorskip(package, reason=WHY)
    job = planted(use, labels=("return@1s", "return@2s"))
    wrong = np.arange(len(job.y)) % 2 == 0
    y = np.where(wrong, -3.0 * job.y, job.y)
    weights = np.where(wrong, 0.0, 1.0)
    model = ready(msgspec.structs.replace(job, y=np.column_stack([y, -2.0 * y]), weights=weights))
    said = np.array([model.predict_all(row) for row in job.x[:200].astype(np.float64)], np.float64)
    assert np.corrcoef(said[:, 0], job.y[:200])[0, 1] > 0.7 and np.corrcoef(said[:, 0], said[:, 1])[0, 1] < -0.9


def spoilt(payload: bytes, name: str, change: Callable[[Any], None]) -> bytes:
    blob = msgspec.msgpack.decode(payload)
    weights = safetensors.numpy.load(blob["weights"])
    change(weights[name])
    blob["weights"] = safetensors.numpy.save(weights)
    return msgspec.msgpack.encode(blob)


def put(value: Any) -> Callable[[Any], None]:
    def change(tensor: Any) -> None:
        tensor.flat[0] = value

    return change


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("node.left", 0, "paths stay inside"),  # a circle: asking it would never end
        ("node.right", 10**6, "paths stay inside"),
        ("node.right", -(10**6), "paths stay inside"),
        ("node.feature", WIDTH, "paths stay inside"),
        ("node.feature", -1, "paths stay inside"),
        ("roots", 10**6, "paths stay inside"),
        ("heads", 1, "paths stay inside"),
        ("leaves", np.nan, "tensor leaves: expected finite numbers"),
        ("bound", np.inf, "tensor bound: expected finite numbers"),
    ],
)
def test_trees_that_lead_astray_are_refused(name: str, value: Any, text: str) -> None:
    pytest.importorskip("lightgbm", reason=WHY)
    job = planted("lightgbm", rows=300, learning_rate=0.1, options={"rounds": 5})
    payload = fit(job)
    model = LightGbm(job.settings, NAMES)
    model.swap(payload, FEATURES.hash)
    before = model.predict_one(np.ones(WIDTH))
    with pytest.raises(ModelError, match=text):
        model.swap(spoilt(payload, name, put(value)), FEATURES.hash)
    assert model.predict_one(np.ones(WIDTH)) == before


def test_tensors_of_trees_must_fit_together() -> None:
    leaf = {"leaves": np.ones(1), "roots": np.array([-1], np.int32), "heads": np.zeros(1, np.int32)}
    whole: dict[str, Any] = {f"node.{name}": np.zeros(0, NODE[name]) for name in NODE.names or ()} | leaf
    nodes, out = rebuild(whole, 1, 1), np.zeros(1)
    ask(np.zeros(1), nodes, whole["leaves"], whole["roots"], whole["heads"], out)
    assert out[0] == 1.0
    for name, tensor in [("leaves", np.ones(1, np.float32)), ("roots", np.zeros((1, 1), np.int32))]:
        with pytest.raises(ModelError, match=f"tensor {name}: expected"):
            rebuild(whole | {name: tensor}, 1, 1)
    with pytest.raises(ModelError, match=r"tensor node.left: expected int32 of one dimension, found none"):
        rebuild({name: one for name, one in whole.items() if name != "node.left"}, 1, 1)
    with pytest.raises(ModelError, match="as many features as children"):
        rebuild(whole | {"node.left": np.zeros(1, np.int32)}, 1, 1)
    with pytest.raises(ModelError, match="expected a head a tree"):
        rebuild(whole | {"heads": np.zeros(2, np.int32)}, 1, 1)


def test_a_category_is_no_number() -> None:
    told = {"split_feature": 0, "decision_type": "==", "missing_type": "None", "threshold": "1||2"}
    with pytest.raises(ModelError, match="expected decisions by numbers, found '=='"):
        flatten([{"tree_info": [{"tree_structure": told}]}])


def test_a_training_that_raises_is_told_as_a_model_error() -> None:
    class Raising(Model):
        "Raises in training."

        trains = True

        @classmethod
        def fit(cls, job: TrainJob) -> bytes:
            raise KeyError("nothing")

        def predict_one(self, x: Any) -> float | None:
            return None

    sys.modules[__name__].__dict__["Raising"] = Raising
    job = msgspec.structs.replace(
        planted("lightgbm", rows=50), settings=ModelSettings(name="m", symbol="v:X", use=f"{__name__}:Raising")
    )
    with pytest.raises(ModelError, match="model m: training raised KeyError: 'nothing'"):
        fit(job)
