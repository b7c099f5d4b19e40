"""Any estimator of River by name: ``use = "river:tree.HoeffdingAdaptiveTreeRegressor"``.

River saves its estimators with pickle only, which we do not read. So an estimator is a function of the last rows, which
are saved instead: it learns ``rows`` labels in the shadow of the one before it, answers for as many more, and is
dropped. Loading teaches a new one the same rows in the same order, and it goes on to the last bit. Nothing grows for
ever either, as River's trees would.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.set import Vector
from engine.learn.contract import Model, ModelError, ModelSettings, read_options
from engine.learn.linear.guard import (
    LEARNED,
    RESTARTS,
    SPEAKS_AFTER,
    SQUARE,
    Array,
    counts_of,
    said_within,
    take_label,
    take_row,
)
from engine.learn.scaler import ABSURD, scaled_by

PREFIX = "river:"


class RiverOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Own settings of ``river:…``; ``arguments`` go to the estimator, ``{use = "river:…", …}`` in them builds another.

    ``scale``: features in deviations and labels in root mean squares; without it both as they are.
    """

    arguments: dict[str, Any] = {}
    scale: bool = True
    clip: Annotated[float, msgspec.Meta(gt=0.0)] = 4.0
    rows: Annotated[int, msgspec.Meta(ge=50, le=100_000)] = 5000


def build(use: str, arguments: dict[str, Any], seed: int, where: str) -> Any:
    """An estimator of River; where it takes a seed and none is told, it gets ours.

    Raises:
        ModelError: River has no such class, or it does not take the arguments.

    >>> build("river:linear_model.LinearRegression", {"l2": 0.1}, 0, "m").l2
    0.1
    >>> build("river:linear_model.Oracle", {}, 0, "m")
    Traceback (most recent call last):
    engine.learn.contract.ModelError: m: expected a class of River as in river:linear_model.LinearRegression, found ...
    """
    module, _, name = use.removeprefix(PREFIX).rpartition(".")
    try:
        kind = getattr(importlib.import_module(f"river.{module}" if module else "river"), name)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"{where}: expected a class of River as in river:linear_model.LinearRegression, found {use!r}: {error}"
        ) from error
    if not isinstance(kind, type):
        raise ModelError(f"{where}: expected a class of River, found {use!r}")
    values = {key: _argument(value, seed, where) for key, value in arguments.items()}
    if "seed" in inspect.signature(kind).parameters:
        values.setdefault("seed", seed)
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{where}: expected arguments that {use} takes, found {values}: {error}") from error


def _argument(value: Any, seed: int, where: str) -> Any:
    """A value as told, or the object of River that a table with ``use`` describes."""
    if isinstance(value, dict) and str(value.get("use", "")).startswith(PREFIX):
        rest = {key: one for key, one in value.items() if key != "use"}
        return build(value["use"], rest, seed, where)
    return value


@kernel
def _admit(x: Vector, y: float, bound: float, guard: Array, scaler: Array, row: Vector) -> float:
    """The row, scaled, and the label as they may be learned; nan for a label that may not."""
    label = take_label(y, guard)
    if label == label:
        take_row(x, guard, scaler, bound, row)
    return label


@kernel
def _scale(x: Vector, scaler: Array, bound: float, row: Vector) -> None:
    for i in range(x.shape[0]):
        row[i] = scaled_by(x[i], scaler[1, i], scaler[2, i], bound)


class RiverAny(Model):
    """What an estimator of River, named by ``settings.use``, says; bounded, and counted where it had to be.

    It must have ``learn_one`` and a ``predict_one`` that gives a number. Options: ``RiverOptions``.

    >>> model = RiverAny(ModelSettings(name="m", symbol="v:X", use="river:neighbors.KNNRegressor"), ["a"])
    >>> for x in np.random.default_rng(1).normal(size=(300, 1)):
    ...     model.learn_one(x, 2.0 * x[0])
    >>> round(model.predict_one(np.array([1.0])) or 0.0)
    2
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        self.options = read_options(settings, RiverOptions)
        width = len(self.names)
        self.guard: Array = np.zeros(RESTARTS + 1)
        self.scaler: Array = np.zeros((3, width))
        self._row: Array = np.zeros(width)
        # Two generations of rows: those of the estimator that answers, and those that its successor learns with it.
        self._ring: npt.NDArray[np.float64] = np.zeros((2 * self.options.rows, width + 1))
        self._taken = 0  # rows so far
        self._answering = self._make()
        self._growing = self._make()
        if not (hasattr(self._answering, "learn_one") and hasattr(self._answering, "predict_one")):
            raise ModelError(f"model {settings.name}: expected an estimator with learn_one, found {settings.use!r}")
        _admit(np.zeros(width), math.nan, 1.0, np.zeros(RESTARTS + 1), self.scaler, self._row)
        _scale(np.zeros(width), self.scaler, 1.0, self._row)

    def _make(self) -> Any:
        where, use = f"model {self.settings.name}", self.settings.use
        return build(use, self.options.arguments, self.settings.seed, where)

    def _named(self, row: Vector) -> dict[str, float]:
        return dict(zip(self.names, row.tolist(), strict=True))

    def _whole(self, x: Vector) -> Vector:
        """A raw row without what is missing or absurd."""
        return np.where(np.abs(x) < ABSURD, x, self.scaler[1])

    def predict_one(self, x: Vector) -> float | None:
        if self.guard[LEARNED] < SPEAKS_AFTER:
            return None
        if self.options.scale:
            _scale(x, self.scaler, self.options.clip, self._row)
            row = self._row
        else:
            row = self._whole(x)
        said = self._answering.predict_one(self._named(row))
        if said is None or not abs(said) < math.inf:
            return None
        unit = math.sqrt(self.guard[SQUARE]) if self.options.scale else 1.0
        reach = said_within(self.guard)
        return max(-reach, min(reach, float(said) * unit))

    def learn_one(self, x: Vector, y: float) -> None:
        label = float(_admit(x, y, self.options.clip, self.guard, self.scaler, self._row))
        if label != label:
            return
        at = self._ring[self._taken % len(self._ring)]
        at[:-1] = self._row if self.options.scale else self._whole(x)
        unit = math.sqrt(self.guard[SQUARE]) if self.options.scale else 1.0
        reach = said_within(self.guard)
        at[-1] = max(-reach, min(reach, label)) / unit if unit > 0.0 else 0.0
        self._taken += 1
        self._teach(at, self._taken)

    def _teach(self, row: Vector, taken: int) -> None:
        """Teach both generations a row, of which there have been ``taken``; change them where one is complete."""
        named, label = self._named(row[:-1]), float(row[-1])
        self._answering.learn_one(named, label)
        if taken > self.options.rows:  # the first has no successor while it is young
            self._growing.learn_one(named, label)
            if taken % self.options.rows == 0:
                self._answering, self._growing = self._growing, self._make()

    def contained(self) -> dict[str, int]:
        return counts_of(self.guard)

    def save(self) -> dict[str, Any]:
        return {
            "guard": self.guard.tobytes(),
            "scaler": self.scaler.tobytes(),
            "rows": self._ring.tobytes(),
            "taken": self._taken,
        }

    def load(self, state: dict[str, Any]) -> None:
        arrays = {"guard": self.guard, "scaler": self.scaler, "rows": self._ring}
        for name, array in arrays.items():
            if len(state[name]) != array.nbytes:
                raise ModelError(
                    f"model {self.settings.name}: saved {name}: expected {array.nbytes} bytes, found "
                    f"{len(state[name])}: saved with other features or options; start without it"
                )
            array[:] = np.frombuffer(state[name]).reshape(array.shape)
        self._taken = state["taken"]
        self._answering, self._growing = self._make(), self._make()
        generations = max(1, self._taken // self.options.rows)
        for number in range((generations - 1) * self.options.rows, self._taken):
            row = self._ring[number % len(self._ring)]
            named, label = self._named(row[:-1]), float(row[-1])
            self._answering.learn_one(named, label)
            if number >= generations * self.options.rows:
                self._growing.learn_one(named, label)
