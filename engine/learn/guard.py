"""What follows from drift for one model: who watches it, what an alarm does, and how the model would have done without.

While an alarm that was answered is judged, the model as it would have gone on (the *unanswered* one) predicts and
learns beside it, unheard, so that the grade tells what the drift would have cost and not how well it was answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from engine.core.drift_facts import AlarmGraded, AnswerEnded, RegimeTold
from engine.core.records import AnyFact, DriftAlarm
from engine.core.types import NEVER_NS
from engine.features.set import Vector
from engine.learn.contract import Model, ModelError, ModelSettings
from engine.learn.drift.contract import DriftError
from engine.learn.drift.watch import Alarm, Graded, Watch
from engine.learn.labels import Matured
from engine.learn.regimes import Regimes, Verdict

HOLDS: Final = ("shrink", "stand-aside")
"""Answers that last for a while."""


class Guard:
    """Watches the model of one slot; ``make`` gives a new model of the same settings.

    ``wants_training``, ``wants_anew`` and ``recalled`` are set for the slot to act on, which clears them.

    Raises:
        ModelError: a signal that the model does not have.
    """

    def __init__(self, settings: ModelSettings, names: Sequence[str], seed: int, make: Callable[[], Model]) -> None:
        text = f"{seed}/{settings.seed}/{settings.name}/drift"
        own = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
        self.settings = settings
        self.drift = settings.drift
        try:
            self.watch = Watch(settings.drift, names, settings.drift_delta, settings.every_ns, own)
        except DriftError as error:
            raise ModelError(f"model {settings.name}: {error}") from error
        self.wants_training = self.wants_anew = False
        self.unanswered: Model | None = None
        self.answered_ns = -NEVER_NS  # when an alarm was last answered by more than words
        self.watched_ns = -NEVER_NS  # the newest sample whose error was shown to a detector of errors
        self.held: list[str] = []  # which of HOLDS are in force
        self.held_for = 0  # alarm's number
        self.left = 0  # labels until they end
        self.regimes = Regimes(make) if "specialist" in settings.drift.answers else None
        self.recalled: Model | None = None
        self._make = make
        self._said: dict[int, float] = {}  # by sample, what the unanswered model said

    @property
    def size(self) -> float:
        """What alarms leave of a position on the model's word: 1 normally, 0 while it stands aside."""
        if "stand-aside" in self.held:
            return 0.0
        return self.drift.size if "shrink" in self.held else 1.0

    def sampled(self, sample: int, x: Vector, room: int) -> None:
        """A sample was taken; ``room`` is how many may wait for their labels."""
        if self.regimes is not None:
            self.regimes.sampled(sample, x, room)
        if self.unanswered is None:
            return
        said = self.unanswered.predict_one(x)
        self.unanswered.observe_one(x)
        self._said[sample] = said if said is not None and abs(said) < float("inf") else 0.0
        while len(self._said) > room:
            del self._said[next(iter(self._said))]

    def judged(self, model: Model, matured: Matured, now_ns: int) -> list[AnyFact]:
        """One label came: judge the alarm before, watch for the next one, and say what follows."""
        facts: list[AnyFact] = []
        live = matured.prediction
        unheard = self._said.pop(matured.id, live)
        if unheard is not None:
            graded = self.watch.judge(unheard, 0.0 if live is None else live, matured.label)
            if graded is not None:
                facts += self._graded(graded)
        if self.regimes is not None and not model.is_trained:
            verdict = self.regimes.judged(model, matured, teach)
            if verdict is not None:
                self.recalled = verdict.model
                facts.append(self._regime(verdict))
        if live is not None:
            if self.held:
                self.left -= 1
                if self.left <= 0:
                    facts.append(self._ended(f"{self.drift.aside} labels have passed"))
            alarm = self.watch.update(matured.x, live, matured.label, self._error(model, matured))
            if alarm is not None:
                facts.append(self._alarmed(alarm, model, now_ns))
        return facts

    def learned(self, matured: Matured) -> None:
        """The model has learned a label; the unanswered one learns it too."""
        if self.unanswered is not None:
            teach(self.unanswered, matured)

    def replaced(self, before: Model) -> None:
        """The slot answered an alarm with another model than ``before``, which goes on unheard until it is judged."""
        if self.watch.is_judging and self.unanswered is None:
            self.unanswered = before

    def copied(self, model: Model) -> None:
        """The slot is about to change its model in place: keep what it was while an alarm is judged."""
        if self.watch.is_judging and self.unanswered is None:
            self.unanswered = self._make()
            self.unanswered.load(model.save())

    def _error(self, model: Model, matured: Matured) -> float | None:
        """What a detector of errors hears: one label a horizon, as errors of neighbouring samples are nearly one."""
        if self.drift.detector != "adwin" or matured.prediction is None:
            return None
        if matured.sample_ns - self.watched_ns < self.settings.horizon_ns:
            return None
        self.watched_ns = matured.sample_ns
        return model.score(matured.prediction, matured.label)

    def _alarmed(self, alarm: Alarm, model: Model, now_ns: int) -> DriftAlarm:
        answers, reason = ["alert"], alarm.reason
        wanted = [one for one in self.drift.answers if one != "alert"]
        useless = "specialist" if model.is_trained else "retrain"
        if useless in wanted:
            wanted.remove(useless)
        if now_ns - self.answered_ns >= self.settings.drift_cooldown_ns:
            answers += wanted
            self._answer(wanted, alarm.number, model, now_ns)
        elif wanted:
            reason += f"; the alarm before was answered less than {self.settings.drift_cooldown_ns / 1e9:g} s ago"
        return DriftAlarm(
            model=self.settings.name,
            symbol=self.settings.symbol,
            detector=alarm.detector,
            value=alarm.value,
            number=alarm.number,
            signal=alarm.signal,
            threshold=alarm.threshold,
            answers=tuple(answers),
            reason=reason,
        )

    def _answer(self, wanted: Sequence[str], number: int, model: Model, now_ns: int) -> None:
        if not wanted:
            return
        self.answered_ns = now_ns
        self.wants_training |= "retrain" in wanted
        self.wants_anew |= "begin-anew" in wanted
        if self.regimes is not None and "specialist" in wanted:
            self.regimes.ended(model)
        held = [one for one in wanted if one in HOLDS]
        if held:
            self.held, self.held_for, self.left = held, number, self.drift.aside

    def _graded(self, graded: Graded) -> list[AnyFact]:
        self.unanswered = None
        self._said.clear()
        alarm = graded.alarm
        facts: list[AnyFact] = [
            AlarmGraded(
                model=self.settings.name,
                symbol=self.settings.symbol,
                number=alarm.number,
                detector=alarm.detector,
                signal=alarm.signal,
                grade=graded.grade,
                kind=graded.kind,
                labels=graded.labels,
                before=graded.before,
                usual=graded.usual,
                after=graded.after,
                answered=graded.answered,
                reason=graded.reason,
            )
        ]
        if self.held and self.held_for == alarm.number and graded.grade == "harmless":
            facts.append(self._ended("the alarm was harmless"))
        return facts

    def _regime(self, verdict: Verdict) -> RegimeTold:
        known = verdict.model is not None
        specialist, live = verdict.loss / verdict.labels, verdict.live / verdict.labels
        what = f"regime {verdict.regime} has come back" if known else f"regime {verdict.regime} is new"
        return RegimeTold(
            model=self.settings.name,
            symbol=self.settings.symbol,
            number=self.watch.alarms,
            regime=verdict.regime,
            known=known,
            labels=verdict.labels,
            specialist=specialist,
            live=live,
            reason=f"{what}: the best specialist lost {specialist:.4g} bps² a label, the model {live:.4g}",
        )

    def _ended(self, reason: str) -> AnswerEnded:
        ended, self.held = self.held, []
        return AnswerEnded(self.settings.name, self.settings.symbol, self.held_for, tuple(ended), reason)

    def summary(self) -> dict[str, Any]:
        """As ``Watch.summary``, with what is done about it now."""
        return {
            **self.watch.summary(),
            "answers": list(self.drift.answers),
            "held": list(self.held),
            "size": self.size,
            "regime": self.regimes.regime if self.regimes is not None else 0,
            "regimes": len(self.regimes.known) if self.regimes is not None else 0,
        }

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "watch": self.watch.save(),
            "unanswered": self.unanswered.save() if self.unanswered is not None else None,
            "said": list(self._said.items()),
            "regimes": self.regimes.save() if self.regimes is not None else None,
            **{name: getattr(self, name) for name in _PLAIN},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what ``save`` gave of one with the same settings."""
        self.watch.load(state["watch"])
        self.unanswered = None
        if state["unanswered"] is not None:
            self.unanswered = self._make()
            self.unanswered.load(state["unanswered"])
        self._said = dict(state["said"])
        if self.regimes is not None:
            self.regimes.load(state["regimes"])
        for name in _PLAIN:
            setattr(self, name, state[name])


_PLAIN: Final = (
    *("wants_training", "wants_anew", "answered_ns", "watched_ns"),
    *("held", "held_for", "left"),
)


def teach(model: Model, matured: Matured) -> None:
    """Let a model learn one sample's labels."""
    if matured.others:
        model.learn_all(matured.x, matured.labels)
    else:
        model.learn_one(matured.x, matured.label)
