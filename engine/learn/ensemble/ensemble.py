"""``ensemble``: any models at once, weighted by what their words were worth, live.

What each expert says of a sample is kept until the sample's label is known. So a weight is made of words that were
spoken before their labels: what an expert would say today, having seen overlapping labels, looks better than it was.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
import numpy as np

from engine.features.set import Vector
from engine.learn.contract import LABEL_LIMIT, Model, ModelError, ModelSettings, read_options
from engine.learn.ensemble import parcel
from engine.learn.ensemble.bagging import AtLeast1, ExpertOptions
from engine.learn.ensemble.combine import SILENCE, Combiner, Hedged, Mean
from engine.learn.ensemble.hedge import AdaHedge, Hedge
from engine.learn.ensemble.loss import SquaredLoss
from engine.learn.ensemble.panel import Answers, Panel, fit_all, said_of
from engine.learn.ensemble.stacking import Stacking
from engine.learn.ensemble.width import Width
from engine.learn.jobs import TrainJob
from engine.learn.networks.session import open_ahead

EXPERTS: Final = ("clipped-linear", "recursive-least-squares", "rolling-ridge", "mlp")
_MOST: Final = 0.999 * LABEL_LIMIT


class EnsembleOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``experts`` are names of models or tables (``ExpertOptions``), ``bag`` how many of each where it does not say.

    ``share`` of the weight is spread over all experts each horizon, for markets that change (``hedge``, ``adahedge``);
    ``rate`` is that of ``hedge``, per squared root mean square of the label. ``coverage`` is the interval's.
    """

    experts: tuple[str | ExpertOptions, ...] = EXPERTS
    combine: Literal["adahedge", "hedge", "stacking", "mean"] = "adahedge"
    bag: AtLeast1 = 1
    share: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.001
    rate: Annotated[float, msgspec.Meta(gt=0.0)] = 0.5
    coverage: Annotated[float, msgspec.Meta(ge=0.5, lt=1.0)] = 0.9

    def told(self, where: str) -> list[ExpertOptions]:
        """The experts as tables with names and bags.

        Raises:
            ModelError: there is none, or two of the same name.

        >>> [one.name for one in EnsembleOptions(experts=("zero", ExpertOptions("mean", name="m"))).told("e")]
        ['zero', 'm']
        """
        tables = [ExpertOptions(one) if isinstance(one, str) else one for one in self.experts]
        made = [msgspec.structs.replace(one, name=one.name or one.use, bag=one.bag or self.bag) for one in tables]
        names = [one.name for one in made]
        if twice := sorted({name for name in names if names.count(name) > 1} | ({""} if not names else set())):
            raise ModelError(
                f"model {where}: options: experts: expected one or more, each name once, found "
                f"{', '.join(twice) or 'none'}{' twice: give one a name' if names else ''}"
            )
        return made


class Word(msgspec.Struct, frozen=True):
    """What was said of a sample: ``key`` are its features, ``said`` a number an expert, nan where it was silent."""

    key: bytes
    said: bytes
    value: float
    apart: float


def combiner(options: EnsembleOptions, experts: int, settings: ModelSettings) -> Combiner:
    """What makes one number of so many experts, silence not counted."""
    overlap = max(1, settings.horizon_ns // settings.every_ns)
    match options.combine:
        case "mean":
            return Mean()
        case "stacking":
            return Stacking(experts, settings.every_ns, 1.0 / overlap)
        case "hedge":
            return Hedged(Hedge(experts + 1, options.rate, options.share), overlap)
        case "adahedge":
            return Hedged(AdaHedge(experts + 1, options.share), overlap)


def compile_all(options: EnsembleOptions, experts: int, settings: ModelSettings) -> None:
    """Compile at the start, and not at the first label: let one of each live through one, with rounds of one label."""
    scratch = combiner(options, experts, msgspec.structs.replace(settings, horizon_ns=settings.every_ns))
    loss, said = SquaredLoss(), np.frombuffer(np.zeros(experts + 1).tobytes())
    losses = loss.of(loss.learn(1.0), said)
    loss.of(1.0, np.zeros(1))
    scratch.learn(loss.bounded(said), 1.0, loss.unit, losses)
    scratch.mix(loss.bounded(said))
    Width(options.coverage).learn(1.0, 0.0, 1.0)


class Ensemble(Model):
    """A mixture of models, silence among them, that follows those who were right; predicts the first label (bps).

    Experts may learn from each label or be trained beside the run. One that says nothing or raises is left out of the
    sample and counted. ``width_one`` is wider where experts disagree. Options: ``EnsembleOptions``.

    >>> options = {"experts": ["mean", "momentum", "reversal"], "coverage": 0.8}
    >>> model = Ensemble(ModelSettings(name="e", symbol="v:X", options=options), ["return_1s_bps"])
    >>> rng = np.random.default_rng(1)
    >>> for x in rng.normal(size=(3000, 1)):
    ...     model.observe_one(x)
    ...     model.learn_one(x, -x[0] + 0.5 * rng.normal())
    >>> {name: round(weight) for name, weight in model.weights.items()}
    {'zero': 0, 'mean': 0, 'momentum': 0, 'reversal': 1}
    """

    trains: ClassVar[bool] = True
    features: ClassVar[str] = "alpha"

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        options = read_options(settings, EnsembleOptions)
        told = options.told(settings.name)
        overlap = max(1, settings.horizon_ns // settings.every_ns)
        self.panel = Panel(told, settings, self.names, overlap)
        self.combiner = combiner(options, len(told), settings)
        self.loss = SquaredLoss()
        self.interval = Width(options.coverage)
        self.totals: Vector = np.zeros(len(self.panel))
        self.suffered = 0.0
        self.labels_refused = 0
        self._weight = 1.0 / overlap  # of a label among those that overlap
        self._words: deque[Word] = deque(maxlen=settings.horizon_ns // settings.every_ns + 2)
        self._newest: tuple[Word, Answers] | None = None  # no part of the state: predictions leave no trace
        compile_all(options, len(told), settings)

    @property
    def is_trained(self) -> bool:
        return self.panel.is_trained

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each expert where all speak, silence (``zero``) first; of ``stacking`` its coefficients."""
        match self.combiner:
            case Hedged(weights=weights):
                found = weights
            case Stacking(coefficients=coefficients):
                found = np.concatenate([[0.0], coefficients])
            case _:
                found = np.full(len(self.totals), 1.0 / (len(self.totals) - 1))
                found[SILENCE] = 0.0
        return dict(zip(self.panel.names, found.tolist(), strict=True))

    @property
    def regret(self) -> float:
        """The loss of what was said less that of the best expert so far, or of silence, in squared sizes of the label.

        An expert counts as the mixture where it said nothing.
        """
        return self.suffered - float(self.totals.min())

    def _speak(self, x: Vector) -> tuple[Word, Answers]:
        """What is said of a sample, computed once."""
        key = x.tobytes()
        if self._newest is not None and self._newest[0].key == key:
            return self._newest
        answers = self.panel.ask(x)
        said = self.loss.bounded(answers.said)
        if np.isnan(said[SILENCE + 1 :]).all():
            word = Word(key, answers.said.tobytes(), math.nan, 0.0)
        else:
            value, weights = self.combiner.mix(said)
            words = np.where(np.isnan(said), 0.0, said)
            mean = float(weights @ words)
            apart = math.sqrt(float(weights @ ((words - mean) ** 2 + answers.variances)))
            word = Word(key, answers.said.tobytes(), max(-_MOST, min(_MOST, value)), apart)
        self._newest = word, answers
        return self._newest

    def predict_one(self, x: Vector) -> float | None:
        value = self._speak(x)[0].value
        return None if math.isnan(value) else value

    def disagreement_one(self, x: Vector) -> float | None:
        """The weighted standard deviation of what the experts and the members of bags say, in the label's unit."""
        word = self._speak(x)[0]
        return None if math.isnan(word.value) else word.apart

    def width_one(self, x: Vector) -> float | None:
        word, unit = self._speak(x)[0], self.loss.unit
        half = self.interval.at(word.apart / unit) if unit > 0.0 and not math.isnan(word.value) else None
        return None if half is None else half * unit

    def observe_one(self, x: Vector) -> None:
        word, answers = self._speak(x)
        self._words.append(word)
        self.panel.keep(answers)
        self.panel.observe(x)
        self._newest = None

    def learn_one(self, x: Vector, y: float) -> None:
        self._newest = None
        if abs(y) < LABEL_LIMIT:
            label = self.loss.learn(y)
            word = self._take(x.tobytes())
            if word is not None:
                self._judge(word, label)
        else:
            self.labels_refused += 1
        self.panel.learn(x, y)

    def _take(self, key: bytes) -> Word | None:
        """The oldest word about these features; those that never get a label make room in time."""
        for at, word in enumerate(self._words):
            if word.key == key:
                del self._words[at]
                return word
        return None

    def _judge(self, word: Word, label: float) -> None:
        """Let weights, interval and regret learn from what was said, as it was said."""
        unit = self.loss.unit
        if unit <= 0.0:
            return
        said = np.frombuffer(word.said)
        losses = self.loss.of(label, said)
        self.combiner.learn(self.loss.bounded(said), label, unit, losses)
        if math.isnan(word.value):
            return
        self.interval.learn(abs(label - word.value) / unit, word.apart / unit, self._weight)
        mixed = float(self.loss.of(label, np.array([word.value]))[0])
        self.suffered += mixed
        self.totals += np.where(np.isnan(losses), mixed, losses)

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        return fit_all(job, read_options(job.settings, EnsembleOptions).told(job.settings.name))

    @classmethod
    def prepare(cls, payload: bytes, features: str) -> None:
        with suppress(ModelError):  # of a parcel that is none: swap says so
            for entry in parcel.unpack(payload):
                open_ahead(entry.payload, features)

    def swap(self, payload: bytes, features: str) -> None:
        self.panel.swap(payload, features)
        self._newest = None

    def left_out(self) -> str:
        return said_of(self.panel.refusals)

    def contained(self) -> dict[str, int]:
        return {"labels_refused": self.labels_refused} | self.panel.contained()

    def save(self) -> dict[str, Any]:
        return {
            "panel": self.panel.save(),
            "combiner": self.combiner.save(),
            "loss": self.loss.save(),
            "interval": self.interval.save(),
            "totals": self.totals.tobytes(),
            "suffered": self.suffered,
            "labels_refused": self.labels_refused,
            "words": [msgspec.structs.asdict(word) for word in self._words],
        }

    def load(self, state: dict[str, Any]) -> None:
        self.panel.load(state["panel"])
        self.combiner.load(state["combiner"])
        self.loss.load(state["loss"])
        self.interval.load(state["interval"])
        self.totals[:] = np.frombuffer(state["totals"])
        self.suffered, self.labels_refused = state["suffered"], state["labels_refused"]
        self._words.clear()
        self._words.extend(Word(**word) for word in state["words"])
        self._newest = None
