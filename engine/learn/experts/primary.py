"""``primary``: the model that would trade: experts who differ in what they remember and how far they trust it.

Three layers of the same regression (``ridge.py``), each scored before it learns:

1. Experts: one ridge regression of the label on the inputs of ``basis.py`` for each memory and strength. A strength is
   said as the share of the label's variance that the inputs are expected to explain, so a long horizon, whose labels
   overlap and tell little, is believed less.
2. Their mixture: a regression of the label on what the experts had said, pulled towards their mean.
3. A factor between 0 and 1, pulled towards 1: what the mixture deserves. Where it was worth nothing it goes to 0, so that
   the model is not worse than silence for long.

An expert's word is kept from the moment it was spoken until its label is known: computed later, with weights that have
seen overlapping labels, it would look better than it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np

from engine.features.set import Vector
from engine.learn.contract import SECOND_NS, Model, ModelError, ModelSettings
from engine.learn.experts import machine
from engine.learn.experts.basis import MODULATED, MODULATORS, PLAIN, places, width_of
from engine.learn.experts.machine import SPEAKS_AFTER

MEMORIES_S: Final = (1e7, 1800.0)  # all there is, and half an hour
EXPECTED_R2: Final = (0.42, 0.105, 0.026, 0.0066)  # of a label of horizon 0; see ``fading``
LEADING_PRIOR: Final = 0.3  # deviations of the label for one root mean square of the queue imbalance, at horizon 0
FADES_NS: Final = 5 * SECOND_NS
MIXTURE_MEMORY_S: Final = 7200.0
MIXTURE_STRENGTH: Final = 50.0  # labels
FACTOR_STRENGTH: Final = 20.0  # labels
COVERAGE: Final = 0.9
FIRST_WIDTH: Final = 2.0  # root mean squares of the label
_MOST: Final = 1e150  # of a label: its square is finite


def fading(horizon_ns: int) -> float:
    """How much of a signal of the book is left at a horizon, of 1 at once.

    >>> fading(0), fading(15 * SECOND_NS)
    (1.0, 0.5)
    """
    return 1.0 / math.sqrt(1.0 + horizon_ns / FADES_NS)


class Primary(Model):
    """A mixture of ridge regressions on the state of the touch; predicts the label in its unit (bps).

    ``options``: ``coverage`` of the interval (0.9). Needs the features of the set ``alpha``.

    >>> from engine.features.families import select
    >>> names = [name for family in select("alpha").families for name in family.names]
    >>> model = Primary(ModelSettings(name="m", symbol="v:X", every_ns=SECOND_NS), names)
    >>> rng = np.random.default_rng(1)
    >>> for x in rng.normal(size=(2000, len(names))):
    ...     _ = model.predict_one(x)
    ...     model.observe_one(x)
    ...     model.learn_one(x, x[names.index("imbalance_1")] + rng.normal())
    >>> x[:] = 0.0
    >>> x[names.index("imbalance_1")] = 1.0
    >>> 0.4 < model.predict_one(x) < 1.2, 1.4 < model.width_one(x) < 1.9
    (True, True)
    """

    features: ClassVar[str] = "alpha"

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        options = dict(settings.options)
        coverage = options.pop("coverage", COVERAGE)
        if options or not (isinstance(coverage, float) and 0.5 <= coverage < 1.0):
            raise ModelError(
                f"model {settings.name}: options: expected coverage from 0.5 to below 1 and nothing else, "
                f"found {settings.options}"
            )
        self._where, odd = places(self.names)
        self._at = machine.layout(
            odd,
            len(PLAIN),
            len(MODULATORS),
            len(MODULATED),
            width_of(odd),
            len(MEMORIES_S),
            len(EXPECTED_R2),
            len(self.names),
            settings.horizon_ns // settings.every_ns + 2,
        )
        self.state: Vector = np.zeros(int(self._at[machine.END]))
        self.restarts = 0
        self._spoken = b""  # the features that the newest word is about
        self._word = 0.0
        self._begin(coverage)

    def _begin(self, coverage: float) -> None:
        """Know nothing but the prior."""
        settings, at, state = self.settings, self._at, self.state
        state[:] = 0.0
        width, experts = int(at[machine.INPUTS]), len(MEMORIES_S) * len(EXPECTED_R2)
        left = fading(settings.horizon_ns)
        every_s = settings.every_ns / SECOND_NS
        state[machine.WIDTH] = FIRST_WIDTH
        prior = np.zeros(width)
        prior[0] = LEADING_PRIOR * left
        self._put(machine.DECAY, [1.0 - 1.0 / max(2.0, memory / every_s) for memory in MEMORIES_S])
        self._put(machine.STRENGTH, np.repeat([width / (share * left) for share in EXPECTED_R2], width))
        self._put(machine.PRIOR, prior)
        self._put(machine.FACTOR, np.ones(len(MEMORIES_S)))
        self._put(machine.BETA, np.tile(prior, experts))
        decay = 1.0 - 1.0 / max(2.0, MIXTURE_MEMORY_S / every_s)
        for part, n, strength in ((machine.MIX, experts, MIXTURE_STRENGTH), (machine.DESERVED, 1, FACTOR_STRENGTH)):
            mean, zeros = np.full(n, 1.0 / n), np.zeros(n)
            self._put(part, np.concatenate([np.zeros(n * n), [1.0], zeros, mean, mean, np.full(n, strength), [decay]]))
        weight = min(1.0, settings.every_ns / settings.horizon_ns)
        self._put(machine.CONSTANTS, [weight, coverage, MIXTURE_STRENGTH, FACTOR_STRENGTH, decay])

    def _put(self, part: int, values: Any) -> None:
        at = int(self._at[part])
        self.state[at : at + len(values)] = values

    @property
    def learned(self) -> int:
        """The number of labels taken."""
        return int(self.state[machine.LEARNED])

    @property
    def scale(self) -> float:
        """The label's running root mean square."""
        return math.sqrt(self.state[machine.SQUARE])

    @property
    def covered(self) -> float:
        """The share of labels that were inside the interval of their prediction; 0 before the first."""
        count = float(self.state[machine.WEIGHED])
        return float(self.state[machine.INSIDE]) / count if count else 0.0

    def _speak(self, x: Vector) -> float:
        key = x.tobytes()
        if key != self._spoken:
            self._word = machine.speak(x, self._where, self._at, self.state)
            self._spoken = key
        return self._word

    def predict_one(self, x: Vector) -> float | None:
        if self.state[machine.LEARNED] < SPEAKS_AFTER:
            return None
        return self._speak(x) * self.scale

    def width_one(self, x: Vector) -> float | None:
        del x
        if self.state[machine.LEARNED] < SPEAKS_AFTER:
            return None
        return float(self.state[machine.WIDTH]) * self.scale

    def observe_one(self, x: Vector) -> None:
        self._speak(x)
        machine.keep(self._at, self.state)
        self._spoken = b""

    def learn_one(self, x: Vector, y: float) -> None:
        if not math.isfinite(y):
            return
        machine.study(x, min(max(y, -_MOST), _MOST), self._where, self._at, self.state)
        self._spoken = b""

    def save(self) -> dict[str, Any]:
        return {"state": self.state.tobytes()}

    def load(self, state: dict[str, Any]) -> None:
        self.state[:] = np.frombuffer(state["state"])
        self._spoken = b""
