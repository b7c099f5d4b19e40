"""``primary``: the model that would trade: experts who differ in what they remember and how far they trust it.

Three layers of the same regression (``ridge.py``) and one of doubt, each scored before it learns:

1. Experts: one ridge regression of the label on the inputs of ``basis.py`` for each memory and strength. A strength is
   said as the share of the label's variance that the inputs are expected to explain, so a long horizon, whose labels
   overlap and tell little, is believed less.
2. Their mixture: a regression of the label on what the experts had said, pulled towards their mean.
3. A factor between 0 and 1, pulled towards 1: what the mixture deserves. Where it is worth nothing it goes to 0, as
   quickly as labels that do not overlap can tell.
4. The belief that this is better than silence (``belief.py``), by what it earned and by what the book said of the next
   second. It is a half at first.
5. A sign, which turns when the opposite of all that was said would have been right (``turning.py``).

An expert's word is kept from the moment it was spoken until its label is known: computed later, with weights that have
seen overlapping labels, it would look better than it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import msgspec
import numpy as np

from engine.core.jit import entry_point
from engine.features.set import Vector
from engine.learn.contract import SECOND_NS, Model, ModelError, ModelSettings, read_options
from engine.learn.experts import belief, machine, ridge, turning
from engine.learn.experts.basis import INPUTS, columns_of

MEMORIES_S: Final = (1e7, 1800.0)  # all there is, and half an hour
EXPECTED_R2: Final = (0.42, 0.105, 0.026, 0.0066)  # of a label of horizon 0; see ``fading``
LEADING_PRIOR: Final = 0.3  # deviations of the label for one root mean square of the queue imbalance, at horizon 0
FADES_NS: Final = 5 * SECOND_NS
MIXTURE_MEMORY_S: Final = 7200.0
MIXTURE_STRENGTH: Final = 50.0  # labels
FACTOR_STRENGTH: Final = 20.0  # labels
COVERAGE: Final = 0.9
FIRST_WIDTH: Final = 2.0  # root mean squares of the label


def fading(horizon_ns: int) -> float:
    """How much of a signal of the book is left at a horizon, of 1 at once.

    >>> fading(0), fading(15 * SECOND_NS)
    (1.0, 0.5)
    """
    return 1.0 / math.sqrt(1.0 + horizon_ns / FADES_NS)


class PrimaryOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Own settings of ``primary``: the share of labels that its interval holds."""

    coverage: float = COVERAGE


class Primary(Model):
    """A mixture of ridge regressions on the state of the touch; predicts the label in its unit (bps).

    ``options``: ``coverage`` of the interval (0.9). Needs the features of the set ``alpha``, in contiguous vectors of
    float64 as ``FeatureSet.vector`` makes them. A label of 1e5 or more is refused.

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
        coverage = read_options(settings, PrimaryOptions).coverage
        if not 0.5 <= coverage < 1.0:
            raise ModelError(
                f"model {settings.name}: options: coverage: expected 0.5 or more and less than 1, found {coverage}"
            )
        columns = columns_of(self.names)
        shape = len(MEMORIES_S), len(EXPECTED_R2), len(self.names)
        # A sample's label comes after the horizon, and those of a grid in between wait with it.
        room = settings.horizon_ns // settings.every_ns + 2
        self._at = machine.layout(*shape, room, SECOND_NS // settings.every_ns)
        self.state: Vector = np.zeros(int(self._at[machine.END]))
        self._draft: Vector = np.zeros(machine.draft_size(*shape))
        self._rest = columns, self._at, self.state, self._draft
        self._compile()
        self.coverage = coverage
        self._begin()

    def _compile(self) -> None:
        """At the start, and not at the first label."""
        x = np.zeros(len(self.names))
        self._speak = entry_point(machine.speak, x, *self._rest)
        self._keep = entry_point(machine.keep, x, *self._rest)
        self._study = entry_point(machine.study, x, 0.0, *self._rest)

    def _begin(self) -> None:
        """Know nothing but the prior."""
        settings, state = self.settings, self.state
        state[:] = 0.0
        self._draft[:] = 0.0
        left, every_s = fading(settings.horizon_ns), settings.every_ns / SECOND_NS
        strength = np.repeat([[INPUTS / (share * left)] for share in EXPECTED_R2], INPUTS, axis=1)
        prior = np.zeros(INPUTS)
        prior[0] = LEADING_PRIOR * left
        ridge.begin(state, self._at[machine.EXPERTS :], [one / every_s for one in MEMORIES_S], strength, prior)
        experts = len(MEMORIES_S) * len(EXPECTED_R2)
        strength, mean = np.full((1, experts), MIXTURE_STRENGTH), np.full(experts, 1.0 / experts)
        ridge.begin(state, self._at[machine.MIX :], [MIXTURE_MEMORY_S / every_s], strength, mean)
        state[machine.FACTOR_STRENGTH] = FACTOR_STRENGTH
        state[machine.FACTOR_DECAY] = state[self._at[machine.MIX]]
        state[machine.WIDTH] = FIRST_WIDTH
        turning.begin(state[machine.TURNING : machine.SINGLES])
        state[machine.WEIGHT] = min(1.0, settings.every_ns / settings.horizon_ns)
        state[machine.COVERAGE] = self.coverage
        state[machine.BELIEF + belief.SHARE] = min(1.0, every_s)
        state[machine.BELIEF + belief.PROMISE] = LEADING_PRIOR * fading(SECOND_NS)

    @property
    def learned(self) -> int:
        """The number of labels taken."""
        return int(self.state[machine.LEARNED])

    @property
    def scale(self) -> float:
        """The label's running root mean square."""
        return math.sqrt(self.state[machine.SQUARE])

    @property
    def turns(self) -> int:
        """How often it found the opposite of what it had said to be right, and went on with that."""
        return int(self.state[machine.TURNING + turning.TURNS])

    @property
    def covered(self) -> float:
        """The share of labels that were inside the interval of their prediction; 0 before the first."""
        count = float(self.state[machine.WEIGHED])
        return float(self.state[machine.INSIDE]) / count if count else 0.0

    def predict_one(self, x: Vector) -> float | None:
        said = self._speak(x, *self._rest)
        return said if said == said else None

    def width_one(self, x: Vector) -> float | None:
        del x
        if self.learned < machine.SPEAKS_AFTER:
            return None
        return float(self.state[machine.WIDTH]) * self.scale

    def observe_one(self, x: Vector) -> None:
        self._keep(x, *self._rest)

    def learn_one(self, x: Vector, y: float) -> None:
        self._study(x, y, *self._rest)

    def contained(self) -> dict[str, int]:
        state = self.state
        return {
            "inputs_missing": int(state[machine.MISSING]),
            "inputs_clipped": int(state[machine.CLIPPED]),
            "labels_refused": int(state[machine.REFUSED]),
            "labels_clipped": int(state[machine.LABELS_CLIPPED]),
            "turns": self.turns,
        }

    def save(self) -> dict[str, Any]:
        return {"state": self.state.tobytes()}

    def load(self, state: dict[str, Any]) -> None:
        found = state.get("state", b"")
        if len(found) != self.state.nbytes:
            raise ModelError(
                f"model {self.settings.name}: saved state: expected {self.state.nbytes} bytes, found {len(found)}: "
                "saved with other features or options; start without it"
            )
        self.state[:] = np.frombuffer(found)
        self.state[machine.COVERAGE] = self.coverage
        self._draft[:] = 0.0
