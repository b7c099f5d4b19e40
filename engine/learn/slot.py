"""One model at work: its samples, labels, scores, guard against drift, window and training.

The order at a due time is the whole point: a finished training is swapped in, matured labels are scored and only then
learned, a retraining is asked for, and last the new sample is taken and predicted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from engine.core.drift_facts import AlarmGraded, Trial
from engine.core.events import Frames
from engine.core.records import AnyFact, DriftAlarm, LabelScored, ModelRefused, ModelSwapped, RetrainRequested, Signal
from engine.core.types import NEVER_NS
from engine.learn.contest import Contest
from engine.learn.contract import Model, ModelError, ModelSettings, model_class
from engine.learn.curves import Curves
from engine.learn.curves import told as curves_told
from engine.learn.guard import Guard, teach
from engine.learn.inputs import Inputs
from engine.learn.jobs import LentJob, TrainJob
from engine.learn.label_sets import LabelSet
from engine.learn.labels import Matured
from engine.learn.scorebook import Scorebook
from engine.learn.scoring import Scores
from engine.learn.window import Window

_COUNTERS = (
    "predictions",
    "learned",
    "retrains",
    "swaps",
    "refused",
    "drift_alarms",
    "version",
    "ids",
    "next_sample_ns",
    "requested_ns",
    "in_flight_ns",
    "begun_anew",
    "trial_left",
    "is_for_drift",
    "is_silent",
    "drifted",
    "regime",
    "stopped",
)


class Slot:
    """Everything about one model of a run."""

    def __init__(
        self, settings: ModelSettings, symbol: int, features: Inputs, seed: int, inline_delay_ns: int | None
    ) -> None:
        self.settings = settings
        self.symbol = symbol
        self.features = features
        self.seed = seed
        self.inline_delay_ns = inline_delay_ns
        width = len(features.names)
        self.model = self._new_model()
        self.targets = settings.targets
        self.labels = LabelSet(
            symbol, self.targets, settings.every_ns, width, settings.label_options, settings.stale_ns
        )
        rows, older = (settings.window_rows, settings.memory_rows) if self.model.is_trained else (1, 0)
        self.window = Window(rows, width, len(self.targets), older)
        self.books = [Scorebook(one, settings.every_ns, settings.taker_fee_bps) for one in self.targets]
        self.curves: Curves | None = None
        if self.targets[0].about.is_direction:
            self.curves = Curves(symbol, settings.horizon_ns, settings.every_ns, settings.stale_ns)
        self.guard = Guard(settings, features.names, seed, self._new_model)
        self.begun_anew = 0
        self.trial_left = 0  # labels until it is told how this model stands in its contests; 0: not to be told
        self.is_silent = False  # standing aside, and the last word was said
        self.predictions = self.learned = self.retrains = self.swaps = self.refused = self.drift_alarms = 0
        self.version = ""
        self.ids = 0
        self.next_sample_ns = NEVER_NS
        self.requested_ns = -NEVER_NS  # of the last retraining
        self.in_flight_ns = NEVER_NS  # since when a training is under way; NEVER_NS: none is
        self.drifted = False  # a retraining is wanted because of drift
        self.is_for_drift = False  # the training under way was asked for because of drift
        self.regime = -1  # which regime samples are counted to; -1: none is told
        self.stopped = ""  # why the model is asked no more
        self.contests: list[Contest] = []
        self._x = features.vector()
        self._trained: tuple[int, str, bytes, str] | None = None  # inline: due time, version, payload, why none

    @property
    def scores(self) -> Scores:
        """The running scores of the first label."""
        return self.books[0].scores

    def follow(self, frames: Frames) -> None:
        """Take frames of any symbols, oldest first: labels and curves are made of them."""
        self.labels.follow(frames)
        if self.curves is not None:
            self.curves.follow(frames)

    def next_due_ns(self) -> int:
        """When to call ``due`` next."""
        if self.stopped:
            return NEVER_NS
        swap_ns = self._trained[0] if self._trained else NEVER_NS
        return min(self.next_sample_ns, self.labels.next_due_ns(), swap_ns)

    def due(self, now_ns: int, facts: list[AnyFact]) -> None:
        """Do what is due at or before now, appending what happened. A model that raises is stopped, and it alone."""
        if self.stopped:
            return
        try:
            self._due(now_ns, facts)
        except Exception as error:  # noqa: BLE001 - the wall to users' code
            self.stopped = f"stopped: it raised {type(error).__name__}: {error}"
            facts.append(ModelRefused(self.settings.name, self.version, self.stopped))

    def _due(self, now_ns: int, facts: list[AnyFact]) -> None:
        if self._trained and self._trained[0] <= now_ns:
            _, version, payload, why = self._trained
            self._trained = None
            facts += self.swap(version, payload, why)
        for matured in self.labels.ripe(now_ns):
            for contest in self.contests:
                contest.judged(self.settings.name, matured)
            self._judge(matured, now_ns, facts)
        if self.model.is_trained:
            self._retrain(now_ns, facts)
        if now_ns >= self.next_sample_ns:
            self._sample(now_ns, facts)
            self.begin(now_ns)

    def begin(self, now_ns: int) -> None:
        """Take the next sample at the first multiple of ``every_ns`` after now, so that a restart changes no grid."""
        every = self.settings.every_ns
        self.next_sample_ns = now_ns - now_ns % every + every

    def _judge(self, matured: Matured, now_ns: int, facts: list[AnyFact]) -> None:
        """Score, watch for drift, and only then learn."""
        settings = self.settings
        for target, book, one in zip(self.targets, self.books, (matured, *matured.others), strict=True):
            if one.prediction is not None:
                book.update(one)
                name = "" if one is matured else str(target)
                facts.append(LabelScored(settings.name, settings.symbol, one.id, one.prediction, one.label, name))
        self._guard(matured, now_ns, facts)
        teach(self.model, matured)
        self.guard.learned(matured)
        if self.model.is_trained:
            label = matured.labels if matured.others else matured.label
            self.window.add(matured.sample_ns, matured.x, label, matured.end_ns, matured.weight)
        self.learned += 1

    def _guard(self, matured: Matured, now_ns: int, facts: list[AnyFact]) -> None:
        """Hear what is said of drift, and answer."""
        told = self.guard.judged(self.model, matured, now_ns)
        facts += told
        for fact in told:
            self.drift_alarms += isinstance(fact, DriftAlarm)
            if isinstance(fact, AlarmGraded):
                facts += self._trials()
        if self.trial_left and matured.prediction is not None:
            self.trial_left -= 1
            if not self.trial_left:
                facts += self._trials(challenging=True)
        if self.guard.wants_training:
            self.guard.wants_training, self.drifted = False, True
        if self.guard.wants_anew:
            self.guard.wants_anew = False
            self._begin_anew()
        if self.guard.recalled is not None:
            self.trial_left = self.settings.drift.grade
            before, self.model, self.guard.recalled = self.model, self.guard.recalled, None
            self.guard.replaced(before)

    def _trials(self, *, challenging: bool = False) -> list[Trial]:
        """How this model stands in its contests; ``challenging``: only where it is not the champion."""
        name = self.settings.name
        contests = [one for one in self.contests if not challenging or one.champion != name]
        return [trial for contest in contests for trial in contest.trials(name)]

    def _begin_anew(self) -> None:
        """What was learned before is forgotten: a new model that learns, or a new window for one that is trained."""
        self.begun_anew += 1
        if self.model.is_trained:
            self.window.clear()
            self.drifted = True
            return
        self.trial_left = self.settings.drift.grade
        before, self.model = self.model, self._new_model()
        self.guard.replaced(before)

    def _new_model(self) -> Model:
        return model_class(self.settings.use)(self.settings, self.features.names)

    def _retrain(self, now_ns: int, facts: list[AnyFact]) -> None:
        settings = self.settings
        if self.in_flight_ns != NEVER_NS and now_ns - self.in_flight_ns < settings.retrain_timeout_ns:
            return
        every = settings.retrain_every_ns
        scheduled = every > 0 and now_ns - self.requested_ns >= every
        if not (scheduled or self.drifted) or len(self.window) < settings.min_rows:
            return
        cause = "drift" if self.drifted else "schedule"
        self.is_for_drift = self.drifted
        self.drifted = False
        self.requested_ns = self.in_flight_ns = now_ns
        self.retrains += 1
        facts.append(RetrainRequested(settings.name, cause, len(self.window)))
        if self.inline_delay_ns is not None:
            why = ""
            try:
                payload = type(self.model).fit(self.job())
            except Exception as error:  # noqa: BLE001 - the wall to users' code, as a trainer process would be
                payload, why = b"", f"{type(error).__name__}: {error}"
            version = hashlib.sha256(payload).hexdigest() if payload else ""
            self._trained = (now_ns + max(1, self.inline_delay_ns), version, payload, why)

    def _sample(self, now_ns: int, facts: list[AnyFact]) -> None:
        settings, x = self.settings, self._x
        if now_ns - self.features.frame_ns(self.symbol) > settings.stale_ns:
            return
        if not self.features.read(self.symbol, now_ns, x):
            return
        if self.features.regime >= 0:
            self.regime = self.features.regime
        said = (self.model.predict_one(x),) if len(self.targets) == 1 else self.model.predict_all(x)
        self.model.observe_one(x)
        predictions = [one if one is not None and abs(one) < float("inf") else None for one in said]
        self.ids += 1
        self.guard.sampled(self.ids, x, self.labels.most)
        if not self.labels.add(now_ns, self.ids, x, predictions, self.regime):
            return
        if predictions[0] is not None:
            self.predictions += 1
            if self.curves is not None:
                self.curves.add(now_ns, predictions[0])
            predictions = self._held_back(predictions, facts)
        for at, (target, prediction) in enumerate(zip(self.targets, predictions, strict=True)):
            if prediction is not None:
                name = f"{settings.name}/{target}" if at else settings.name
                facts.append(Signal(settings.symbol, settings.name, name, prediction, self.ids, target.horizon_ns))
        width = self.model.width_one(x) if predictions[0] is not None else None
        if width is not None:
            name = f"{settings.name}/width"
            facts.append(Signal(settings.symbol, settings.name, name, width, self.ids, settings.horizon_ns))

    def _held_back(self, predictions: list[float | None], facts: list[AnyFact]) -> list[float | None]:
        """Say before the predictions what an alarm leaves of a position; who stands aside says 0 once, then nothing."""
        name, size, was_silent = self.settings.name, self.guard.size, self.is_silent
        self.is_silent = size == 0.0
        if size == 1.0 or (self.is_silent and was_silent):
            return [None for _ in predictions] if self.is_silent else predictions
        facts.append(Signal(self.settings.symbol, name, f"{name}/size", size, self.ids, self.settings.horizon_ns))
        return [one if one is None else 0.0 for one in predictions] if self.is_silent else predictions

    def lend(self) -> LentJob:
        """The window as it stands, lent to a trainer, with the seed of this training."""
        text = f"{self.seed}/{self.settings.seed}/{self.settings.name}/{self.retrains}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
        lent, parent = self.window.lend(), self.model.parent()
        return LentJob(self.settings, self.features.hash, self.features.names, seed, lent, parent)

    def job(self) -> TrainJob:
        """The same with copies of the rows."""
        lent = self.lend()
        return lent.with_rows(self.window.copy(lent.lent))

    def swap(self, version: str, payload: bytes, why: str = "") -> Sequence[AnyFact]:
        """Take a payload or refuse all or parts of it; either way the training under way has ended."""
        name = self.settings.name
        self.in_flight_ns = NEVER_NS
        try:
            if not payload:
                raise ModelError(f"expected a trained model, found none: the training failed {why}".rstrip())
            found = hashlib.sha256(payload).hexdigest()
            if found != version:
                raise ModelError(f"expected a payload with SHA-256 {version}, found {found}")
            self.guard.copied(self.model)
            self.model.swap(payload, self.features.hash)
        except Exception as error:  # noqa: BLE001 - the wall to users' code; our own raise ModelError
            self.refused += 1
            text = str(error) if isinstance(error, ModelError) else f"it raised {type(error).__name__}: {error}"
            return (ModelRefused(name, version, text),)
        self.swaps += 1
        self.version = version
        self.trial_left = self.settings.drift.grade
        if self.is_for_drift:
            self.guard.watch.renew()
            self.is_for_drift = False
        if left_out := self.model.left_out():
            self.refused += 1
            return (ModelSwapped(name, version), ModelRefused(name, version, left_out))
        return (ModelSwapped(name, version),)

    def summary(self) -> dict[str, Any]:
        """Counts and scores as plain values; the scores are the first label's, ``others`` has those of further ones."""
        settings, curves = self.settings, self.curves
        first, *others = (book.summary() for book in self.books)
        return {
            "name": settings.name,
            "use": settings.use,
            "symbol": settings.symbol,
            "horizon_s": settings.horizon_ns / 1e9,
            "predictions": self.predictions,
            "learned": self.learned,
            "retrains": self.retrains,
            "swaps": self.swaps,
            "refused": self.refused,
            "drift_alarms": self.drift_alarms,
            **first,
            "decay": curves_told(curves.decay()) if curves is not None else [],
            "entry": curves_told(curves.entry()) if curves is not None else [],
            "others": others,
            "version": self.version,
            "pending": len(self.labels),
            "void": self.labels.void,
            "dropped": self.labels.dropped,
            "holes": self.window.holes,
            "stopped": self.stopped,
            "contained": self.model.contained(),
            "training": self.in_flight_ns != NEVER_NS,
            "begun_anew": self.begun_anew,
            "drift": self.guard.summary(),
        }

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "counters": {name: getattr(self, name) for name in _COUNTERS},
            "model": self.model.save(),
            "labels": self.labels.save(),
            "window": self.window.save(),
            "books": [book.save() for book in self.books],
            "curves": self.curves.save() if self.curves is not None else None,
            "trained": list(self._trained) if self._trained else None,
            "guard": self.guard.save(),
        }

    def knowledge(self) -> dict[str, Any]:
        """What was learned, without what is under way: a run on another tape may go on from it (``learn_on``)."""
        return {
            "inputs": self.features.save(),
            "model": self.model.save(),
            "window": self.window.save(),
            "version": self.version,
        }

    def learn_on(self, knowledge: dict[str, Any]) -> None:
        """Begin with what ``knowledge`` of a model with the same settings gave."""
        self.features.load(knowledge["inputs"])
        self.model.load(knowledge["model"])
        self.window.load(knowledge["window"])
        self.version = knowledge["version"]

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""
        for name, value in state["counters"].items():
            setattr(self, name, value)
        self.model.load(state["model"])
        self.labels.load(state["labels"])
        self.window.load(state["window"])
        for book, saved in zip(self.books, state["books"], strict=True):
            book.load(saved)
        if self.curves is not None:
            self.curves.load(state["curves"])
        self.guard.load(state["guard"])
        trained = state["trained"]
        self._trained = (trained[0], trained[1], trained[2], trained[3]) if trained else None
