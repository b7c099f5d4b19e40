"""What costs nothing to say: the baselines that any model must beat before it is worth its electricity."""

from __future__ import annotations

import abc
import math
import re
from collections.abc import Sequence
from typing import Any

from engine.features.set import Vector
from engine.learn.contract import LABEL_LIMIT, Model, ModelError, ModelSettings, NoOptions, read_options

_UNITS_NS = {"ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000}


class Zero(Model):
    """The mid does not move: the hardest baseline to beat in squared error.

    >>> Zero(ModelSettings(name="m", symbol="v:X"), []).predict_one([])
    0.0
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        read_options(settings, NoOptions)

    def predict_one(self, x: Vector) -> float | None:
        del x
        return 0.0


class _OfLabels(Model):
    """A baseline that only looks at labels; absurd ones are left out and counted."""

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        read_options(settings, NoOptions)
        self.learned = 0
        self.refused = 0
        self.said = 0.0

    def predict_one(self, x: Vector) -> float | None:
        del x
        return self.said if self.learned else None

    def learn_one(self, x: Vector, y: float) -> None:
        del x
        if not abs(y) < LABEL_LIMIT:
            self.refused += 1
            return
        self.learned += 1
        self.take(y)

    @abc.abstractmethod
    def take(self, y: float) -> None:
        """Learn from one sound label."""

    def contained(self) -> dict[str, int]:
        return {"labels_refused": self.refused}

    def save(self) -> dict[str, Any]:
        return {"learned": self.learned, "refused": self.refused, "said": self.said}

    def load(self, state: dict[str, Any]) -> None:
        self.learned, self.refused, self.said = state["learned"], state["refused"], state["said"]


class Last(_OfLabels):
    """What the mid did over the last horizon that is known, it does again: the last matured label.

    >>> model = Last(ModelSettings(name="m", symbol="v:X"), [])
    >>> model.learn_one([], 3.0)
    >>> model.predict_one([])
    3.0
    """

    def take(self, y: float) -> None:
        self.said = y


class Mean(_OfLabels):
    """The running mean of all labels: the trend so far, and nothing of the present.

    >>> model = Mean(ModelSettings(name="m", symbol="v:X"), [])
    >>> for y in (1.0, 2.0, float("nan")):
    ...     model.learn_one([], y)
    >>> model.predict_one([]), model.contained()
    (1.5, {'labels_refused': 1})
    """

    def take(self, y: float) -> None:
        self.said += (y - self.said) / self.learned


class _OfOneFeature(Model):
    """A baseline that repeats one feature; None while that is not a number, or an absurd one."""

    sign = 1.0

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        read_options(settings, NoOptions)
        self.feature = self.choose()
        self.at = self.names.index(self.feature)

    @abc.abstractmethod
    def choose(self) -> str:
        """The name of the feature.

        Raises:
            ModelError: there is none such.
        """

    def predict_one(self, x: Vector) -> float | None:
        value = float(x[self.at])
        return self.sign * value if abs(value) < LABEL_LIMIT else None


class Microprice(_OfOneFeature):
    """The mid goes to the microprice: its distance, unscaled and unfitted.

    S. Stoikov (2018), "The micro-price: a high-frequency estimator of future prices", Quantitative Finance 18; of it
    the size-weighted mid, the first and crudest.

    >>> Microprice(ModelSettings(name="m", symbol="v:X"), ["microprice_bps"]).predict_one([0.25])
    0.25
    """

    def choose(self) -> str:
        if "microprice_bps" not in self.names:
            known = ", ".join(self.names) or "none"
            raise ModelError(f"model {self.settings.name}: expected a feature microprice_bps, found {known}")
        return "microprice_bps"


class Momentum(_OfOneFeature):
    """The move goes on: the return over the window nearest to the horizon (as a ratio), unscaled.

    >>> names = ["return_100ms_bps", "return_1s_bps", "return_10s_bps"]
    >>> model = Momentum(ModelSettings(name="m", symbol="v:X", horizon_ns=2_000_000_000), names)
    >>> model.feature, model.predict_one([1.0, 2.0, 3.0])
    ('return_1s_bps', 2.0)
    """

    def choose(self) -> str:
        found = [(name, re.fullmatch(r"return_(\d+)(ms|s|m)_bps", name)) for name in self.names]
        windows = {name: int(m[1]) * _UNITS_NS[m[2]] for name, m in found if m and int(m[1])}
        if not windows:
            known = ", ".join(self.names) or "none"
            raise ModelError(f"model {self.settings.name}: expected a feature like return_1s_bps, found {known}")
        return min(windows, key=lambda name: abs(math.log(windows[name] / self.settings.horizon_ns)))


class Reversal(Momentum):
    """The move comes back: ``momentum`` with the other sign.

    >>> Reversal(ModelSettings(name="m", symbol="v:X"), ["return_1s_bps"]).predict_one([2.0])
    -2.0
    """

    sign = -1.0
