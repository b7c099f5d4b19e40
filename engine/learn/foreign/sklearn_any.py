"""Any regressor of scikit-learn by name, ``use = "sklearn:linear_model.Ridge"``, or such a class of your own.

It is trained on the window in the trainer process and turned into an ONNX graph by skl2onnx, which answers in the run.
What cannot be turned into one is refused: the other way to store it is pickle, which we do not read.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from engine.features.set import Vector
from engine.learn.contract import Model, ModelError, ModelSettings, read_options
from engine.learn.holdout import borne_out, check_job, columns, scored
from engine.learn.jobs import TrainJob
from engine.learn.networks.payload import (
    INPUT_BOUND,
    TOLERANCE,
    Weights,
    card_of,
    check_card,
    check_tensors,
    difference,
    pack,
    unpack,
)
from engine.learn.networks.session import Session, open_ahead, open_session, standardise

PREFIX = "sklearn:"
TARGET_BOUND = 5.0  # times the label's root mean square
OPSET = 17


class SklearnOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Own settings of ``sklearn:…``: what goes to the estimator's constructor."""

    arguments: dict[str, Any] = {}


def estimator_class(use: str) -> Any:
    """The class that a name means.

    Raises:
        ModelError: scikit-learn is not installed, or there is no such class.
    """
    if use.startswith(PREFIX):
        module, _, name = use.removeprefix(PREFIX).rpartition(".")
        module_name = f"sklearn.{module}" if module else "sklearn"
        try:
            importlib.import_module("sklearn")
        except ImportError as error:
            raise ModelError(
                f"model {use!r}: expected the package scikit-learn, found none: pip install 'papertape[ml]'"
            ) from error
    else:
        module_name, _, name = use.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"model {use!r}: expected a class as in sklearn:linear_model.Ridge, found {error}") from error
    if not (isinstance(found, type) and hasattr(found, "fit") and hasattr(found, "predict")):
        raise ModelError(f"model {use!r}: expected a class with fit and predict, found {found!r}")
    return found


def build(settings: ModelSettings, seed: int) -> Any:
    """The estimator of the settings, seeded where it takes chance, on one thread.

    Raises:
        ModelError: it does not take the arguments.
    """
    kind = estimator_class(settings.use)
    arguments = dict(read_options(settings, SklearnOptions).arguments)
    known = inspect.signature(kind).parameters
    arguments |= {key: value for key, value in (("random_state", seed), ("n_jobs", 1)) if key in known}
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"model {settings.name}: expected arguments that {settings.use} takes, found {arguments}: {error}"
        ) from error


class SklearnAny(Model):
    """What a regressor of scikit-learn, named by ``settings.use``, says of the features; silent before its training.

    Features are standardised by the window and clipped at 8 deviations, labels and answers bounded at five times the
    label's size. Options: ``SklearnOptions``. Needs ``pip install papertape[ml]``.
    """

    trains: ClassVar[bool] = True
    needs_whole_rows: ClassVar[bool] = True

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        build(settings, 0)
        self._session: Session | None = None
        self._payload = b""
        self._features = ""
        width = len(self.names)
        self._row: npt.NDArray[np.float32] = np.zeros((1, width), np.float32)
        self._weights: Weights = {name: np.zeros(width, np.float32) for name in ("mean", "inverse_deviation")}
        standardise(np.zeros(width), self._weights["mean"], self._weights["inverse_deviation"], self._row[0])
        importlib.import_module("onnxruntime")  # at the start, and not at the first swap

    def predict_one(self, x: Vector) -> float | None:
        return self._answers(self._session, x)[0] if self._session else None

    def predict_all(self, x: Vector) -> Sequence[float | None]:
        return self._answers(self._session, x) if self._session else (None,) * len(self.settings.targets)

    def _answers(self, session: Session, x: Vector) -> list[float]:
        weights = self._weights
        standardise(x, weights["mean"], weights["inverse_deviation"], self._row[0])
        said = zip(session(self._row)[0].tolist(), weights["scale"].tolist(), weights["bound"].tolist(), strict=True)
        return [max(-bound, min(bound, value * scale)) for value, scale, bound in said]

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        return fit_sklearn(job)

    @classmethod
    def prepare(cls, payload: bytes, features: str) -> None:
        open_ahead(payload, features)

    def swap(self, payload: bytes, features: str) -> None:
        network = unpack(payload, features)
        card, width = network.card, len(self.names)
        check_card(card, "onnx", self.settings, self.names)
        if card.use != self.settings.use:
            raise ModelError(f"expected a model trained as {self.settings.use}, found {card.use}: train it again")
        shape = {"mean": (width,), "inverse_deviation": (width,), "scale": (card.heads,), "bound": (card.heads,)}
        check_tensors(network.weights, shape)
        session = open_session(network.graph)
        if session.width != width:
            raise ModelError(f"expected a graph of {width} features, found {session.width}")
        said = session(np.zeros((1, width), np.float32))
        if said.shape != (1, card.heads) or not np.isfinite(said).all():
            raise ModelError(f"expected {card.heads} finite answers to a usual row, found {said.tolist()}")
        self._session, self._weights = session, network.weights
        self._payload, self._features = payload, features

    def save(self) -> dict[str, Any]:
        return {"payload": self._payload, "features": self._features}

    def load(self, state: dict[str, Any]) -> None:
        if state["payload"]:
            self.swap(state["payload"], state["features"])


def fit_sklearn(job: TrainJob) -> bytes:
    """Train the estimator on the older part of the window and turn it into a graph.

    Raises:
        ModelError: the window does not do, the estimator cannot be trained on it or turned into a graph, or the graph
            does not say what the estimator says.
    """
    name = job.settings.name
    ends, begins = check_job(job)
    estimator = build(job.settings, job.seed)
    history = job.x[:ends].astype(np.float64)
    deviation = history.std(axis=0)
    mean = history.mean(axis=0).astype(np.float32)
    inverse = np.where(deviation > 1e-9, 1.0 / np.maximum(deviation, 1e-9), 0.0).astype(np.float32)
    rows = np.clip((job.x - mean) * inverse, -INPUT_BOUND, INPUT_BOUND).astype(np.float32)
    true = columns(job)
    bound = TARGET_BOUND * np.sqrt(np.mean(true[:ends] ** 2, axis=0))
    y = np.clip(true, -bound, bound)[:ends]
    weighted = job.weights is not None and "sample_weight" in inspect.signature(estimator.fit).parameters
    extra = {"sample_weight": job.weights[:ends]} if weighted and job.weights is not None else {}
    try:
        # More threads add in another order, and would be in the way of the engine.
        with importlib.import_module("threadpoolctl").threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an estimator that has not converged is judged by its scores
            estimator.fit(rows[:ends], y[:, 0] if y.shape[1] == 1 else y, **extra)
            found = np.asarray(estimator.predict(rows), np.float64).reshape(len(rows), -1)
    except Exception as error:
        # The wall to users' code: an estimator may raise anything, and all of it means that this training failed.
        raise ModelError(f"model {name}: {job.settings.use} raised {type(error).__name__}: {error}") from error
    if found.shape != true.shape or not np.isfinite(found).all():
        raise ModelError(f"model {name}: expected {true.shape[1]} finite answers a row, found {found.shape}")
    graph = to_graph(estimator, rows.shape[1], f"model {name}: {job.settings.use}")
    apart = difference(Session(graph)(rows), found)
    if not apart <= TOLERANCE:
        raise ModelError(f"model {name}: expected a graph that agrees with {job.settings.use}, found {apart:.3g} apart")
    weight = np.ones(len(true)) if job.weights is None else job.weights
    slopes = [borne_out(found[begins:, i], true[begins:, i], weight[begins:]) for i in range(true.shape[1])]
    weights: Weights = {
        "mean": mean,
        "inverse_deviation": inverse,
        "scale": np.array(slopes, np.float32),
        "bound": bound.astype(np.float32),
    }
    validation = scored(found[begins:, 0] * slopes[0], true[begins:, 0])
    card = card_of(job, "onnx", shape={}, validation=validation, export_difference=apart)
    return pack(card, weights, graph)


def to_graph(estimator: Any, width: int, where: str) -> bytes:
    """A fitted estimator as a graph from rows ``x`` to rows ``y``.

    Raises:
        ModelError: skl2onnx is not installed, or does not know how.
    """
    try:
        skl2onnx = importlib.import_module("skl2onnx")
        types = importlib.import_module("skl2onnx.common.data_types")
    except ImportError as error:
        raise ModelError(f"{where}: expected the package skl2onnx, found none: pip install 'papertape[ml]'") from error
    helper = importlib.import_module("onnx.helper")
    takes = [("x", types.FloatTensorType([None, width]))]
    model = None
    # skl2onnx knows exact classes only: one that is derived from a class it knows is tried as that. Whether it still
    # says the same is checked by whoever asked.
    for kind in type(estimator).__mro__[:-1]:
        known = copy.copy(estimator)
        try:
            known.__class__ = kind
            model = skl2onnx.convert_sklearn(known, "papertape", takes, target_opset=OPSET)
            break
        except Exception:  # noqa: BLE001, S112 - its converters raise whatever they like; none at all is told below
            continue
    if model is None:
        raise ModelError(
            f"{where} cannot be turned into an ONNX graph, and nothing else is stored: "
            "take an estimator that skl2onnx supports, or write a Model"
        )
    first = model.graph.output[0]
    model.graph.node.append(helper.make_node("Identity", [first.name], ["y"]))
    first.name = "y"
    return bytes(model.SerializeToString(deterministic=True))
