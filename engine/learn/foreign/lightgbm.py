"""Boosted trees of LightGBM, trained beside the run; they answer from plain arrays, so only the trainer needs it.

G. Ke et al. (2017), "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 30.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from engine.features.set import Vector
from engine.learn.contract import Model, ModelError, ModelSettings, read_options
from engine.learn.foreign.trees import NODE, ask, flatten, rebuild
from engine.learn.holdout import borne_out, check_job, columns, scored
from engine.learn.jobs import TrainJob
from engine.learn.networks.payload import Weights, card_of, check_card, pack, unpack

TARGET_BOUND = 5.0  # times the label's root mean square
LEARNING_RATE = 0.02  # small trees and steps: what looks like many rows is the same noise again
TOLERANCE = 1e-9
"""How far our kernel may be from LightGBM, in units of the label."""

AtLeast1 = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]


class LightGbmOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """LightGBM's parameters of these names; ``rounds`` is the most trees, ``stop_after`` rounds without progress.

    ``min_data_in_leaf`` 0 is a twentieth of the rows that train.
    """

    objective: Literal["regression", "regression_l1", "huber"] = "regression"
    rounds: AtLeast1 = 200
    stop_after: AtLeast1 = 20
    num_leaves: Annotated[int, msgspec.Meta(ge=2, le=1024)] = 7
    max_depth: int = -1
    min_data_in_leaf: Annotated[int, msgspec.Meta(ge=0)] = 0
    lambda_l1: NotNegative = 0.0
    lambda_l2: NotNegative = 1.0
    feature_fraction: Share = 0.8
    bagging_fraction: Share = 0.8
    max_bin: Annotated[int, msgspec.Meta(ge=2, le=65535)] = 255


def library() -> Any:
    """The LightGBM module.

    Raises:
        ModelError: it is not installed.
    """
    try:
        return importlib.import_module("lightgbm")
    except ImportError as error:
        raise ModelError(f"expected the package lightgbm, found none: pip install 'papertape[ml]' ({error})") from error


class LightGbm(Model):
    """Boosted trees over the window; silent before the first training. Options: ``LightGbmOptions``.

    Training needs ``pip install papertape[ml]``; answering does not.

    >>> LightGbm(ModelSettings(name="m", symbol="v:X", use="lightgbm"), ["a"]).predict_one(np.zeros(1)) is None
    True
    """

    trains: ClassVar[bool] = True
    needs_whole_rows: ClassVar[bool] = True

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        read_options(settings, LightGbmOptions)
        self._payload = b""
        self._features = ""
        self._nodes: npt.NDArray[np.void] = np.zeros(0, NODE)
        self._weights: Weights = {
            "leaves": np.zeros(0),
            "roots": np.zeros(0, np.int32),
            "heads": np.zeros(0, np.int32),
            "scale": np.zeros(1),
            "bound": np.zeros(1),
        }
        self._out: npt.NDArray[np.float64] = np.zeros(len(settings.targets))
        self._ask(np.zeros(len(self.names)))  # compiled at the start, and not at the first swap

    def predict_one(self, x: Vector) -> float | None:
        return self._ask(x)[0] if self._payload else None

    def predict_all(self, x: Vector) -> Sequence[float | None]:
        return self._ask(x) if self._payload else (None,) * len(self.settings.targets)

    def _ask(self, x: Vector) -> list[float]:
        weights = self._weights
        ask(x, self._nodes, weights["leaves"], weights["roots"], weights["heads"], self._out)
        said = zip(self._out.tolist(), weights["scale"].tolist(), weights["bound"].tolist(), strict=False)
        return [max(-bound, min(bound, value * scale)) for value, scale, bound in said]

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        return fit_trees(job)

    def swap(self, payload: bytes, features: str) -> None:
        network = unpack(payload, features)
        check_card(network.card, "trees", self.settings, self.names)
        weights = dict(network.weights)
        nodes = rebuild(weights, len(self.names), network.card.heads)
        for name in ("scale", "bound"):
            tensor = weights.get(name)
            if tensor is None or tensor.dtype != np.float64 or tensor.shape != (network.card.heads,):
                raise ModelError(f"tensor {name}: expected one float64 a label, found another shape or none")
        self._nodes, self._weights = nodes, weights
        self._payload, self._features = payload, features

    def save(self) -> dict[str, Any]:
        return {"payload": self._payload, "features": self._features}

    def load(self, state: dict[str, Any]) -> None:
        if state["payload"]:
            self.swap(state["payload"], state["features"])


def fit_trees(job: TrainJob) -> bytes:
    """Train one booster a label on the older part of the window, as long as the newest part gains.

    Raises:
        ModelError: LightGBM is not installed, the window does not do, or our kernel does not say what it says.
    """
    lightgbm = library()
    ends, begins = check_job(job)
    options = read_options(job.settings, LightGbmOptions)
    told = msgspec.structs.asdict(options)
    rounds, stop_after = told.pop("rounds"), told.pop("stop_after")
    told["min_data_in_leaf"] = options.min_data_in_leaf or max(1, ends // 20)
    told |= {
        "learning_rate": job.settings.learning_rate or LEARNING_RATE,
        "bagging_freq": 1,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": job.seed,
        "verbosity": -1,
    }
    x, true = job.x.astype(np.float64), columns(job)
    size = np.sqrt(np.mean(true[:ends] ** 2, axis=0))
    weight = np.ones(len(x)) if job.weights is None else job.weights
    dumps, slopes, apart, trees = [], [], 0.0, 0
    said: list[npt.NDArray[np.float64]] = []
    for head in range(true.shape[1]):
        reach = TARGET_BOUND * size[head]
        y = np.clip(true[:, head], -reach, reach)
        older = lightgbm.Dataset(x[:ends], y[:ends], weight=weight[:ends], free_raw_data=False)
        newer = lightgbm.Dataset(x[begins:], y[begins:], weight=weight[begins:], reference=older, free_raw_data=False)
        booster = lightgbm.train(
            told,
            older,
            num_boost_round=rounds,
            valid_sets=[newer],
            callbacks=[lightgbm.early_stopping(stop_after, verbose=False)],
        )
        said.append(booster.predict(x, num_iteration=booster.best_iteration, num_threads=1))
        dumps.append(booster.dump_model(num_iteration=booster.best_iteration))
        slopes.append(borne_out(said[-1][begins:], true[begins:, head], weight[begins:]))
        trees += booster.best_iteration
    weights = flatten(dumps)
    nodes, out = rebuild(weights, x.shape[1], true.shape[1]), np.zeros(true.shape[1])
    for number in range(0, len(x), max(1, len(x) // 256)):
        ask(x[number], nodes, weights["leaves"], weights["roots"], weights["heads"], out)
        apart = max(apart, *(abs(out[head] - one[number]) for head, one in enumerate(said)))
    if not apart <= TOLERANCE * max(1.0, float(np.abs(said).max())):
        raise ModelError(f"model {job.settings.name}: expected a kernel that agrees with LightGBM, found {apart:.3g}")
    weights |= {"scale": np.array(slopes), "bound": TARGET_BOUND * size}
    card = card_of(
        job,
        "trees",
        shape={"trees": trees},
        validation=scored(said[0][begins:] * slopes[0], true[begins:, 0]),
        export_difference=float(apart),
    )
    return pack(card, weights)
