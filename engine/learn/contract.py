"""What a model is, and what it is told at its birth.

A model is named in the config by a registered name (``river-linear``, ``mlp``), by an entry point of the group
``papertape.models``, or by ``module:Class``.
"""

from __future__ import annotations

import abc
import importlib
import importlib.metadata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from engine.features.set import HELD, WARM_UP_NS, Vector
from engine.learn.drift.contract import DriftError
from engine.learn.drift.settings import DriftSettings
from engine.learn.targets import LabelError, LabelOptions, Target, targets

if TYPE_CHECKING:
    from engine.learn.jobs import TrainJob

SECOND_NS = 1_000_000_000

LABEL_LIMIT = 1e5
"""bps; no market moves 22,000-fold within a horizon, so a label or prediction of this size is an error of the data."""

BUILT_IN = {
    "zero": "engine.learn.baselines:Zero",
    "last": "engine.learn.baselines:Last",
    "mean": "engine.learn.baselines:Mean",
    "microprice": "engine.learn.baselines:Microprice",
    "momentum": "engine.learn.baselines:Momentum",
    "reversal": "engine.learn.baselines:Reversal",
    "river-linear": "engine.learn.online:RiverLinear",
    "linear": "engine.learn.linear.sgd:Linear",
    "clipped-linear": "engine.learn.linear.sgd:ClippedLinear",
    "elastic-net": "engine.learn.linear.sgd:ElasticNet",
    "logistic": "engine.learn.linear.sgd:Logistic",
    "passive-aggressive": "engine.learn.linear.passive_aggressive:PassiveAggressive",
    "recursive-least-squares": "engine.learn.linear.least_squares:RecursiveLeastSquares",
    "weighted-least-squares": "engine.learn.linear.least_squares:WeightedLeastSquares",
    "rolling-ridge": "engine.learn.linear.rolling:RollingRidge",
    "primary": "engine.learn.experts.primary:Primary",
    "ensemble": "engine.learn.ensemble.ensemble:Ensemble",
    "mlp": "engine.learn.networks.mlp:Mlp",
    "lstm": "engine.learn.networks.lstm:Lstm",
    "conv": "engine.learn.networks.conv:Conv",
    "lightgbm": "engine.learn.foreign.lightgbm:LightGbm",
}
"""The registered names of our own models."""

FOREIGN = {
    "river:": "engine.learn.foreign.river_any:RiverAny",
    "sklearn:": "engine.learn.foreign.sklearn_any:SklearnAny",
}
"""Which model speaks for the estimators of another library, by the prefix of their names."""


OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)


class ModelError(ValueError):
    """A model, payload or setting that cannot be used; the text says what was expected, found, and what happens."""


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[[model]]`` of a run. Times are ns of engine time; predictions and labels bps of the mid's return.

    ``features``, ``trades`` and ``leaders`` say what the inputs are (``FeatureSet.of``; no ``features``: the set that
    the model names itself), ``prepare`` and ``masks`` how they are prepared (``Preparation``), ``reduce``,
    ``components`` and ``reduce_keep`` how they are made fewer (``Codes``).
    Another ``label`` has another unit (targets.py); ``labels`` names several, ``label`` at ``horizon_ns`` first.
    ``taker_fee_bps`` is what an order that takes pays: scores tell what costs leave. ``learning_rate`` 0 means the
    model's own; ``retrain_every_ns`` 0 means on drift only; ``options`` are the own settings of a model from elsewhere.

    >>> ModelSettings(name="m", symbol="sim:BTCUSDT", every_ns=0).check()
    Traceback (most recent call last):
    engine.learn.contract.ModelError: model m: every_ns: expected at least 1, found 0
    """

    name: str
    symbol: str
    use: str = "river-linear"
    horizon_ns: int = SECOND_NS
    label: str = "return"
    labels: tuple[str, ...] = ()
    label_options: LabelOptions = LabelOptions()
    every_ns: int = SECOND_NS // 10
    warm_up_ns: int = WARM_UP_NS
    features: str | tuple[str, ...] = ""
    trades: str = HELD
    leaders: tuple[str, ...] = ()
    prepare: str = "none"
    masks: bool = False
    reduce: str = "none"
    components: int = 4
    reduce_keep: bool = False
    stale_ns: int = 10 * SECOND_NS
    retrain_every_ns: int = 30 * SECOND_NS
    retrain_timeout_ns: int = 600 * SECOND_NS
    window_rows: int = 6000
    memory_rows: int = 0
    min_rows: int = 150
    drift: DriftSettings = DriftSettings()
    drift_delta: float = 0.0005
    drift_cooldown_ns: int = 30 * SECOND_NS
    taker_fee_bps: float = 0.0
    seed: int = 0
    learning_rate: float = 0.0
    hidden: tuple[int, ...] = (64,)
    epochs: int = 40
    batch: int = 256
    patience: int = 6
    options: dict[str, Any] = {}

    @property
    def targets(self) -> tuple[Target, ...]:
        """The labels, the one that ``predict_one`` speaks of first; raises ``LabelError``."""
        return targets(self.label, self.horizon_ns, self.labels)

    @property
    def overlap(self) -> float:
        """How many samples' labels span the same moment: as many labels repeat much of each other's noise."""
        return self.horizon_ns / self.every_ns

    def check(self) -> None:
        """Raise ``ModelError`` for a setting out of its bounds."""
        try:
            self.label_options.check(f"model {self.name}")
            _ = self.targets if self.horizon_ns > 0 else ()
        except LabelError as error:
            raise ModelError(f"model {self.name}: {error}") from error
        if self.reduce == "autoencoder":
            raise ModelError(
                f"model {self.name}: reduce: expected none, pca or map, found 'autoencoder': its weights are made by "
                "engine.learn.autoencoder.fit_autoencoder and given to engine.learn.reduce.Codes.take in a program of "
                "your own; a config cannot name them"
            )
        least = {
            "horizon_ns": 1,
            "every_ns": 1,
            "window_rows": 8,
            "min_rows": 8,
            "epochs": 1,
            "batch": 1,
            "patience": 1,
        }
        least |= {
            "retrain_every_ns": 0,
            "retrain_timeout_ns": 1,
            "memory_rows": 0,
            "warm_up_ns": 0,
            "stale_ns": 1,
            "drift_cooldown_ns": 0,
        }
        for field, bound in least.items():
            value = getattr(self, field)
            if value < bound:
                raise ModelError(f"model {self.name}: {field}: expected at least {bound}, found {value}")
        if self.min_rows > self.window_rows:
            raise ModelError(
                f"model {self.name}: min_rows: expected at most window_rows ({self.window_rows}), found {self.min_rows}"
            )
        if not 0.0 < self.drift_delta < 1.0:
            raise ModelError(f"model {self.name}: drift_delta: expected between 0 and 1, found {self.drift_delta}")
        try:
            self.drift.check(f"model {self.name}", self.every_ns)
        except DriftError as error:
            raise ModelError(str(error)) from error
        if not 0.0 <= self.learning_rate <= 1.0:
            raise ModelError(f"model {self.name}: learning_rate: expected 0 to 1, found {self.learning_rate}")
        if not self.hidden or min(self.hidden) < 1:
            raise ModelError(
                f"model {self.name}: hidden: expected one or more sizes of at least 1, found {self.hidden}"
            )


class Model(abc.ABC):
    """A model of one symbol's mid return over a horizon, in bps. No clock, no file; chance only from its seed.

    ``names`` are the features' names, in the order of every ``x``. The loop around it predicts, waits for the label,
    scores the prediction, and only then lets it learn.
    """

    trains: ClassVar[bool] = False
    """True: learns from a window in the trainer process (``fit``, ``swap``) rather than from each label."""

    needs_whole_rows: ClassVar[bool] = False
    """True: ``fit`` refuses rows with a missing number."""

    needs_neighbours: ClassVar[bool] = False
    """True: ``fit`` takes each row for the one that followed the row before, so older ones cannot be put in front."""

    features: ClassVar[str] = "standard"
    """The feature set that it reads where the settings name none."""

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        self.settings = settings
        self.names = tuple(names)

    @property
    def is_trained(self) -> bool:
        """Whether this one wants a window and trainings; by default as its class says."""
        return self.trains

    @abc.abstractmethod
    def predict_one(self, x: Vector) -> float | None:
        """Predict from one feature vector; None while it knows nothing. Changes nothing, keeps no view of ``x``."""

    def width_one(self, x: Vector) -> float | None:
        """Half the width of an interval around ``predict_one(x)`` that holds a stated share of the labels.

        In the label's unit; None: the model does not say how sure it is. Signals carry it as ``NAME/width``.
        """
        del x
        return None

    def observe_one(self, x: Vector) -> None:
        """A sample was taken and predicted, and another one follows: what carries a state over samples moves it on."""
        del x

    def learn_one(self, x: Vector, y: float) -> None:
        """Learn from one matured label ``y``, in bps."""
        del x, y

    def predict_all(self, x: Vector) -> Sequence[float | None]:
        """Predict each of ``settings.targets``; by default the first alone."""
        return (self.predict_one(x), *(None for _ in self.settings.labels[1:]))

    def learn_all(self, x: Vector, y: Vector) -> None:
        """Learn from one sample's labels, as ``settings.targets`` names them; by default from the first alone."""
        self.learn_one(x, float(y[0]))

    def score(self, prediction: float, label: float) -> float:
        """The error that the drift detector watches; by default the absolute one, in bps."""
        return abs(label - prediction)

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        """Train on a window and return a payload for ``swap``. Pure: the same job gives the same bytes."""
        raise ModelError(f"model {job.settings.name}: {cls.__name__} learns from each label and is not trained")

    @classmethod
    def prepare(cls, payload: bytes, features: str) -> None:
        """Do ahead, beside the loop, what ``swap`` of this payload will need and is slow; by default nothing.

        It changes no answer: a swap without it takes longer. Raises nothing: what is wrong with it ``swap`` will say.
        """
        del payload, features

    def swap(self, payload: bytes, features: str) -> None:
        """Answer from ``payload`` from now on; ``features`` is the running feature set's hash.

        Raises:
            ModelError: the payload cannot be used; what answered before goes on.
        """
        del payload, features
        raise ModelError(
            f"model {self.settings.name}: {type(self).__name__} learns from each label and takes no payload"
        )

    def parent(self) -> bytes:
        """The payload that the next training may begin from; empty where each begins from nothing, as by default."""
        return b""

    def left_out(self) -> str:
        """Which parts of the payload that ``swap`` took last could not be used, and why; empty where all of it is."""
        return ""

    def contained(self) -> dict[str, int]:
        """How often bad input had to be contained, by kind; nothing for a model that does not count it."""
        return {}

    def save(self) -> dict[str, Any]:
        """The state as plain values (numbers, text, bytes, lists, maps)."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""
        del state


def read_options(settings: ModelSettings, kind: type[OptionsT]) -> OptionsT:
    """The model's own settings, strictly checked.

    Raises:
        ModelError: an unknown key, or a value that does not fit.

    >>> class Speed(msgspec.Struct, forbid_unknown_fields=True):
    ...     rate: float = 1.0
    >>> read_options(ModelSettings(name="m", symbol="v:X", options={"rat": 2.0}), Speed)
    Traceback (most recent call last):
    engine.learn.contract.ModelError: model m: options: Object contains unknown field `rat`; expected rate
    """
    try:
        return msgspec.convert(settings.options, kind)
    except msgspec.ValidationError as error:
        known = ", ".join(field.name for field in msgspec.structs.fields(kind)) or "none"
        raise ModelError(f"model {settings.name}: options: {error}; expected {known}") from error


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The own settings of a model that has none."""


def model_class(use: str) -> type[Model]:
    """The model of a registered name or ``module:Class``.

    >>> model_class("river-linear").__name__
    'RiverLinear'
    >>> model_class("oracle")
    Traceback (most recent call last):
    engine.learn.contract.ModelError: model 'oracle': expected one of clipped-linear, ... or module:Class
    """
    for prefix, wrapper in FOREIGN.items():
        if use.startswith(prefix):
            return model_class(wrapper)
    target = BUILT_IN.get(use, use)
    if ":" not in target:
        entries = {e.name: e.value for e in importlib.metadata.entry_points(group="papertape.models")}
        if target not in entries:
            known = ", ".join(sorted(BUILT_IN.keys() | entries.keys()))
            raise ModelError(f"model {use!r}: expected one of {known} or module:Class")
        target = entries[target]
    module_name, _, class_name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"model {use!r}: expected an importable module:Class, found {error}") from error
    if isinstance(found, type) and not issubclass(found, Model) and hasattr(found, "fit") and hasattr(found, "predict"):
        return model_class(FOREIGN["sklearn:"])
    if not (isinstance(found, type) and issubclass(found, Model)):
        raise ModelError(f"model {use!r}: expected a subclass of engine.learn.contract.Model, found {found!r}")
    return found
