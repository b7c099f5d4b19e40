"""One expert of an ensemble: a model, or several of the same with other seeds that have seen other samples.

Bagging (Breiman, 1996), as far as it can be had live. A model that learns from each label hears it Poisson(1) times
(Oza and Russell, "Online bagging and boosting", 2001); one that is trained gets rows with weights drawn from Exp(1)
(Rubin, "The Bayesian bootstrap", 1981), and a seed of its own. Labels that overlap tell the same, so one draw holds for
all labels of a horizon: drawn each by itself they would average out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Any, Final

import msgspec
import numpy as np

from engine.features.set import Vector
from engine.learn.contract import LABEL_LIMIT, Model, ModelError, ModelSettings, model_class
from engine.learn.jobs import TrainJob

AtLeast1 = Annotated[int, msgspec.Meta(ge=1)]


class ExpertOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of ``experts``: a model's ``use`` with its own ``options``, a ``name``, and how many to ``bag``.

    The rest stands for the setting of the same name of the ensemble; what is not told is the ensemble's.
    """

    use: str
    name: str = ""
    options: dict[str, Any] = {}
    bag: AtLeast1 | None = None
    learning_rate: float | None = None
    hidden: tuple[int, ...] | None = None
    epochs: int | None = None
    batch: int | None = None
    patience: int | None = None

    def settings(self, of: ModelSettings, member: int) -> ModelSettings:
        """The settings of one member; raises ``ModelError`` for one out of its bounds."""
        own = ("learning_rate", "hidden", "epochs", "batch", "patience")
        changes = {key: getattr(self, key) for key in own if getattr(self, key) is not None}
        seed = derived(of.seed, self.name, member)
        name = f"{of.name}.{self.name}"
        made = msgspec.structs.replace(of, name=name, use=self.use, options=self.options, seed=seed, **changes)
        made.check()
        return made


def derived(seed: int, name: str, member: int, number: int = 0) -> int:
    """A seed of 31 bits for a member of an expert; ``number`` for the draws of its own."""
    text = f"{seed}/{name}/{member}/{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


_SHARES: Final = tuple(accumulate(math.exp(-1.0) / math.factorial(k) for k in range(9)))


def drawn(seed: int) -> int:
    """A number that has Poisson's distribution with mean 1 over seeds of 31 bits.

    >>> sum(drawn(derived(1, "m", 0, block)) for block in range(4000)) / 4000
    1.0
    """
    chance = seed / 2**31
    return sum(share <= chance for share in _SHARES)


class Bag:
    """An expert: ``members`` of one model; says their mean, and how far they are apart.

    A member that says nothing, or nothing that a market could do, is left out of the mean.

    Raises:
        ModelError: the model cannot be made.

    >>> bag = Bag(ExpertOptions("mean", "mean", bag=3), ModelSettings(name="e", symbol="v:X"), ["a"], 1)
    >>> for y in (1.0, 2.0, 3.0, 4.0):
    ...     bag.learn(np.zeros(1), y)
    >>> value, variance = bag.speak(np.zeros(1))
    >>> 1.0 < value < 4.0, variance > 0.0
    (True, True)
    """

    def __init__(self, options: ExpertOptions, settings: ModelSettings, names: Sequence[str], overlap: int) -> None:
        self.name = options.name
        self.overlap = overlap
        kind = model_class(options.use)
        told = [options.settings(settings, member) for member in range(options.bag or 1)]
        self.members: list[Model] = [kind(one, names) for one in told]
        self.is_trained = self.members[0].is_trained
        self.learned = 0
        self._seed = settings.seed
        self._times = [1] * len(self.members)

    def speak(self, x: Vector) -> tuple[float, float]:
        """The mean of what the members say and its variance over them; nan where none says anything."""
        answers = [answer for one in self.members if (answer := one.predict_one(x)) is not None]
        sound = [answer for answer in answers if abs(answer) < LABEL_LIMIT]
        if len(sound) < 2:
            return (sound[0] if sound else math.nan), 0.0
        mean = sum(sound) / len(sound)
        return mean, sum((answer - mean) ** 2 for answer in sound) / len(sound)

    def observe(self, x: Vector) -> None:
        """A sample was taken."""
        for one in self.members:
            one.observe_one(x)

    def learn(self, x: Vector, y: float) -> None:
        """Let each member learn a label as often as was drawn for it."""
        if len(self.members) > 1 and not self.is_trained:
            if self.learned % self.overlap == 0:
                self._draw()
            self.learned += 1
        for one, times in zip(self.members, self._times, strict=True):
            for _ in range(times):
                one.learn_one(x, y)

    def _draw(self) -> None:
        block = self.learned // self.overlap
        self._times = [drawn(derived(self._seed, self.name, i, 1 + block)) for i in range(len(self.members))]

    def contained(self) -> dict[str, int]:
        """What the members had to contain, added up."""
        total: dict[str, int] = {}
        for one in self.members:
            for kind, count in one.contained().items():
                total[kind] = total.get(kind, 0) + count
        return total

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"members": [one.save() for one in self.members], "learned": self.learned, "times": self._times}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of as many members gave."""
        if len(state["members"]) != len(self.members):
            raise ModelError(
                f"expert {self.name}: saved members: expected {len(self.members)}, found {len(state['members'])}: "
                "saved with other options; start without it"
            )
        for one, saved in zip(self.members, state["members"], strict=True):
            one.load(saved)
        self.learned, self._times = state["learned"], list(state["times"])


def job_of(job: TrainJob, options: ExpertOptions, member: int) -> TrainJob:
    """What one member is trained on: the window, with a seed of its own and, in a bag, with weights of its own."""
    seed = derived(job.seed, options.name, member)
    weights = job.weights
    if (options.bag or 1) > 1:
        blocks = (job.times_ns - job.times_ns[0]) // job.settings.horizon_ns if len(job.times_ns) else job.times_ns
        draws = np.random.default_rng(seed).exponential(size=int(blocks.max(initial=0)) + 1)
        weights = draws[blocks] * (1.0 if weights is None else weights)
    return msgspec.structs.replace(job, settings=options.settings(job.settings, member), seed=seed, weights=weights)
