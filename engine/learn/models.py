"""All models of a run behind the engine's learning port: sample on a grid, score, learn, predict, retrain, swap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.core.events import Frames, ModelReady
from engine.core.records import AnyFact, ModelRefused
from engine.core.types import NEVER_NS, Instrument
from engine.features.set import FeatureSet
from engine.learn.contest import Contest, ContestSettings
from engine.learn.contract import ModelError, ModelSettings, model_class
from engine.learn.inputs import Inputs
from engine.learn.jobs import LentJob, TrainJob
from engine.learn.slot import Slot

SAVE_VERSION = 3


class Models:
    """The models of a run; implements ``engine.core.learning.Learning``.

    ``inline_delay_ns``: where nobody trains beside the run (a replay of a foreign tape), a retraining runs at once,
    inside ``due``, and its result is swapped in that much engine time later, so that the replay is the same each time.

    >>> btc = Instrument(venue="sim", symbol="X", base="B", quote="Q", price_decimals=2, size_decimals=2)
    >>> models = Models([btc], [ModelSettings(name="linear", symbol="sim:X")])
    >>> import numpy as np
    >>> from engine.core.events import FRAME
    >>> frame = np.zeros(1, FRAME)
    >>> frame["recv_ns"] = 1_250_000_000
    >>> models.absorb(frame)
    >>> models.next_due_ns()
    1300000000
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        settings: Sequence[ModelSettings],
        seed: int = 0,
        inline_delay_ns: int | None = None,
        contests: Sequence[ContestSettings] = (),
    ) -> None:
        symbols = {instrument.name: index for index, instrument in enumerate(instruments)}
        self._features: dict[str, FeatureSet] = {}  # by all that decides its numbers
        self._slots: dict[str, Slot] = {}
        for one in settings:
            one.check()
            if one.name in self._slots:
                raise ModelError(f"model {one.name}: expected a name used once, found it twice")
            if one.symbol not in symbols:
                known = ", ".join(symbols)
                raise ModelError(f"model {one.name}: symbol: expected one of {known}, found {one.symbol!r}")
            inputs = self._inputs(one, instruments)
            self._slots[one.name] = Slot(one, symbols[one.symbol], inputs, seed, inline_delay_ns)
        self.contests: dict[str, Contest] = {}
        for each in contests:
            self._enter(each)
        self._next_ns = NEVER_NS
        self._begun = False

    def _enter(self, settings: ContestSettings) -> None:
        """Begin a contest among models that say the same of the same at the same times."""
        contest = Contest(settings)
        if settings.name in self._slots or settings.name in self.contests:
            raise ModelError(f"contest {settings.name}: expected a name used once, found it twice")
        first = self.slot(settings.champion).settings
        for name in contest.models:
            one = self.slot(name).settings
            alike = (one.symbol, one.horizon_ns, one.every_ns, one.label, one.labels)
            if alike != (first.symbol, first.horizon_ns, first.every_ns, first.label, first.labels):
                raise ModelError(
                    f"contest {settings.name}: expected models of one symbol, label, horizon and grid, found "
                    f"{first.name} and {name} to differ"
                )
            self.slot(name).contests.append(contest)
        self.contests[settings.name] = contest

    def _inputs(self, one: ModelSettings, instruments: Sequence[Instrument]) -> Inputs:
        """What a model sees; the features behind it are shared with all models that want the same."""
        cls = model_class(one.use)
        named = cls.features if one.features == "" else one.features
        chosen = (one.warm_up_ns, named, one.trades, one.leaders)
        key = repr(chosen)
        try:
            if key not in self._features:
                self._features[key] = FeatureSet.of(instruments, *chosen)
            features = self._features[key]
            if cls.needs_neighbours and one.memory_rows:
                raise ValueError(
                    f"memory_rows: expected 0 for {one.use}, which needs rows in a row, found {one.memory_rows}"
                )
            if cls.needs_whole_rows and one.prepare == "none":
                _check_whole(one, features.may_be_missing)
            return Inputs(
                features,
                one.prepare,
                masks=one.masks,
                reduce=one.reduce,
                components=one.components,
                reduce_keep=one.reduce_keep,
            )
        except ValueError as error:
            raise ModelError(f"model {one.name}: {error}") from error

    def next_due_ns(self) -> int:
        """The next grid time or label; ``NEVER_NS`` before the first frames, which tell what time it is."""
        return self._next_ns

    def absorb(self, frames: Frames) -> None:
        """Take frames, oldest first; nothing of the array is kept."""
        for features in self._features.values():
            features.update(frames)
        for slot in self._slots.values():
            slot.follow(frames)
        if not self._begun and len(frames):
            self._begun = True
            for slot in self._slots.values():
                slot.begin(int(frames["recv_ns"][-1]))
            self._plan()

    def due(self, now_ns: int) -> Sequence[AnyFact]:
        """Do what is due at or before now, model by model in the order of the config."""
        facts: list[AnyFact] = []
        for slot in self._slots.values():
            slot.due(now_ns, facts)
        for contest in self.contests.values():
            facts += contest.spoken(facts)
            facts += contest.decide()
        self._plan()
        return facts

    def promote(self, contest: str, model: str | None) -> Sequence[AnyFact]:
        """A person's word: a new champion, or (None) the predecessor back.

        Raises:
            ModelError: no such contest, or no such model in it.
        """
        if contest not in self.contests:
            known = ", ".join(self.contests) or "none, for the config has no [[contest]]"
            raise ModelError(f"contest: expected one of {known}, found {contest!r}")
        one = self.contests[contest]
        return (one.roll_back() if model is None else one.crown(model),)

    def _plan(self) -> None:
        self._next_ns = min((slot.next_due_ns() for slot in self._slots.values()), default=NEVER_NS)

    def swap(self, ready: ModelReady) -> Sequence[AnyFact]:
        """Take a trained model or say why not; an empty payload says that the training failed."""
        slot = self._slots.get(ready.model)
        if slot is None:
            return (ModelRefused(ready.model, ready.version, "the run has no such model"),)
        return slot.swap(ready.version, ready.payload)

    def in_flight(self) -> list[str]:
        """The models that wait for a training to come back."""
        return [name for name, slot in self._slots.items() if slot.in_flight_ns != NEVER_NS]

    def job(self, model: str) -> TrainJob:
        """What the trainer needs for a model, as of now: a copy, plain and picklable."""
        return self.slot(model).job()

    def lend(self, model: str) -> LentJob:
        """The same without copying: the rows stay where the model's window lies."""
        return self.slot(model).lend()

    def slot(self, model: str) -> Slot:
        """One model at work, by name."""
        if model not in self._slots:
            raise ModelError(f"model {model!r}: expected one of {', '.join(self._slots)}")
        return self._slots[model]

    def ics(self) -> dict[str, float]:
        """By model that has learned: its information coefficient; quicker than ``summary``."""
        return {name: round(slot.scores.ic, 6) for name, slot in self._slots.items() if slot.learned}

    @property
    def names(self) -> tuple[str, ...]:
        """The models of the run, in the order of the config."""
        return tuple(self._slots)

    def summary(self) -> list[dict[str, Any]]:
        """One map of plain values a model."""
        return [slot.summary() for slot in self._slots.values()]

    def versions(self) -> list[str]:
        """Of the trained models in use, by the hash of their content."""
        return [slot.version for slot in self._slots.values() if slot.version]

    def save(self) -> dict[str, Any]:
        """The whole state as plain values."""
        return {
            "version": SAVE_VERSION,
            "begun": self._begun,
            "features": {key: one.state.tobytes() for key, one in self._features.items()},
            "inputs": {name: slot.features.save() for name, slot in self._slots.items()},
            "slots": {name: slot.save() for name, slot in self._slots.items()},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of a run with the same instruments and settings gave."""
        if state.get("version") != SAVE_VERSION or state["slots"].keys() != self._slots.keys():
            raise ModelError(
                f"saved models: expected version {SAVE_VERSION} with {sorted(self._slots)}, "
                f"found version {state.get('version')} with {sorted(state.get('slots', {}))}"
            )
        for key, features in self._features.items():
            features.restore(state["features"][key])
        for name, slot in self._slots.items():
            slot.features.load(state["inputs"][name])
            slot.load(state["slots"][name])
        self._begun = state["begun"]
        self._plan()


def _check_whole(one: ModelSettings, missing: Sequence[str]) -> None:
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ValueError(
            f"prepare: expected z, robust or rank beside features that may be missing "
            f"({', '.join(missing[:3])}{more}), found none: {one.use} is trained on whole rows only; "
            'set prepare = "z", which puts 0 in their place, or name features that are never missing'
        )
