"""What one model at work is watched by: signals, detectors, thresholds, and the judgement of alarms.

``Watch.update`` hears each scored label once. Until its thresholds are found it goes by those of ``UNTUNED``; after an
alarm it settles, begins anew, and finds them anew on what it then hears, going by the old ones meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from engine.learn.drift.contract import DriftError, Floats
from engine.learn.drift.grading import Case, Grader
from engine.learn.drift.joint import Joint
from engine.learn.drift.kinds import kind_since
from engine.learn.drift.line_up import parts_of, ranked
from engine.learn.drift.scan import Scan
from engine.learn.drift.settings import FEATURE, DriftSettings
from engine.learn.drift.tuning import Tuning

HUGE: Final = 1e9
"""No error, label or prediction is larger; what is says that data are broken, and is counted."""

KIND_ROWS: Final = 3000
"""Rows kept from before an alarm, to tell its kind by."""


class Alarm(msgspec.Struct, frozen=True):
    """A detector fired: on which signal, with what against which threshold, and in words why."""

    number: int
    detector: str
    signal: str
    value: float
    threshold: float
    reason: str


class Graded(msgspec.Struct, frozen=True):
    """An alarm is judged; ``before``, ``usual``, ``after`` and ``answered`` are losses, shares of that of saying 0."""

    alarm: Alarm
    grade: str
    kind: str
    labels: int
    before: float
    usual: float
    after: float
    answered: float
    reason: str


class Watch:
    """Watches one model; all of its state is plain values and goes with ``save`` and ``load``.

    ``per``: labels to a false alarm of the budget. ``budget``: the budget in words.

    Raises:
        DriftError: a signal that the model does not have.
    """

    def __init__(self, settings: DriftSettings, names: Sequence[str], delta: float, every_ns: int, seed: int) -> None:
        self.settings = settings
        self.parts = parts_of(settings, names, delta)
        self._joint = Joint(len(names), settings.past // 2) if "joint" in settings.also else None
        self._columns = {one: names.index(one.removeprefix(FEATURE)) for one in settings.also if FEATURE in one}
        self._seed = seed
        self._per = settings.labels_per_alarm(every_ns)
        self._past: list[list[float]] = []  # rows on which thresholds will be found
        self._tuning: Tuning | None = None
        self._tunings = 0
        self.tuned = False
        self.grader = Grader(settings, seed)
        self.alarms = 0
        self.odd = 0  # values that were no finite number of a sane size
        self.settling = settings.settle if settings.is_tuned else 0  # labels that are not watched
        self.last: Alarm | None = None
        self.last_graded: Graded | None = None
        self._judged: Alarm | None = None  # the alarm under judgement
        self._rows: Floats = np.zeros((KIND_ROWS + settings.grade, max(1, len(self.parts))))
        self._heard = 0
        self._began_at = 0  # the row at which the last alarm's drift may have begun
        self._signal_at = 0

    def update(self, x: Floats, prediction: float, label: float, error: float | None) -> Alarm | None:
        """Take one label and what was predicted; ``error`` is the model's own score where it counts for ADWIN."""
        row = self._row(x, prediction, label, error)
        if not row:
            return None
        self._rows[self._heard % len(self._rows)] = row
        self._heard += 1
        if self.settling:
            self.settling -= 1
            return None
        self._tune(row)
        fired = -1
        for at, ((_, part), value) in enumerate(zip(self.parts, row, strict=True)):
            if part.update(value) and fired < 0:
                fired = at
        return self._alarm(fired, row) if fired >= 0 else None

    def judge(self, unanswered: float, answered: float, label: float) -> Graded | None:
        """Take the same label's two predictions: of the model as nobody had answered an alarm, and as it is."""
        square = _sane(label) ** 2
        case = self.grader.update((_sane(unanswered - label) ** 2, square), (_sane(answered - label) ** 2, square))
        if case is None or self._judged is None:
            return None
        graded, self._judged = self._graded(case, self._judged), None
        self.last_graded = graded
        return graded

    @property
    def is_judging(self) -> bool:
        """Whether an alarm waits for its grade."""
        return self._judged is not None

    @property
    def nearness(self) -> float:
        """How near the scans are to an alarm: the most that any of them tells, as a share of its threshold."""
        return max((part.nearness for _, part in self.parts if isinstance(part, Scan)), default=0.0)

    def _row(self, x: Floats, p: float, y: float, error: float | None) -> list[float]:
        """The values of the parts' signals; nothing where there is none to hear."""
        if not self.parts or (error is None and self.parts[0][0] == "error"):
            return []
        values = {"residual": y - p, "product": p * y, "label": y, "prediction": p, "error": error}
        row = []
        for signal, _ in self.parts:
            if signal == "log_abs":
                value: float | None = math.log(min(abs(y - p), HUGE) + 1e-9)
            elif signal == "miss":
                value = math.nan if p == 0.0 or y == 0.0 else float((p < 0.0) != (y < 0.0))
            elif signal == "joint":
                assert self._joint is not None
                value = self._joint.distance(x)
            elif signal in self._columns:
                value = float(x[self._columns[signal]])
            else:
                value = values[signal]
            assert value is not None
            if signal in values and not abs(value) <= HUGE:
                self.odd += 1
                value = math.copysign(HUGE, value) if value == value else math.nan
            row.append(value)
        return row

    def _tune(self, row: list[float]) -> None:
        """One slice of the work of finding thresholds, where they are to be found."""
        if not self.settings.is_tuned or (self.tuned and self._tuning is None and not self._wants_past):
            return
        if self._tuning is not None:
            self._tuning.step()
            if self._tuning.is_done:
                self._tuning.apply(ranked(self.parts))
                self._tuning, self.tuned = None, True
            return
        if self._joint is not None and not self._joint.is_ready():
            return
        self._past.append(row)
        if len(self._past) >= self.settings.past:
            past = np.array(self._past)
            self._past = []
            self._tunings += 1
            self._tuning = Tuning(self._scratch(), past, self._per, self._seed + 10_000 * self._tunings)

    @property
    def _wants_past(self) -> bool:
        return self._tunings <= self.alarms

    def _scratch(self) -> list[Any]:
        """Detectors like the ones at work, to play drawn streams."""
        names = [""] * (1 + max(self._columns.values(), default=-1))
        for signal, column in self._columns.items():
            names[column] = signal.removeprefix(FEATURE)
        return ranked(parts_of(self.settings, names, 0.5))

    def _alarm(self, fired: int, row: list[float]) -> Alarm:
        signal, part = self.parts[fired]
        self.alarms += 1
        value = part.level if part.level else row[fired]
        what = f"{part.name} of {signal}" + (f" over {part.span} labels" if part.span else "")
        what += f": {value:.4g} against {part.threshold:.4g}" if part.level else f" at a value of {value:.4g}"
        how = f"tuned to a false alarm in {self._per:,} labels" if self.tuned else "not tuned to a budget"
        alarm = Alarm(
            number=self.alarms,
            detector=self.settings.detector,
            signal=signal,
            value=value,
            threshold=part.threshold,
            reason=f"{what}, {how}",
        )
        self.last = alarm
        if self._judged is None:
            self._judged = alarm
            self._signal_at, self._began_at = fired, self._heard - max(part.span, 1)
        self.grader.alarmed(alarm.number)
        if self.settings.detector != "adwin":
            self.renew()
        return alarm

    def renew(self) -> None:
        """Forget the stream and settle: the market, or the model, is another one."""
        for _, part in self.parts:
            part.reset()
        if self._joint is not None:
            self._joint.reset()
        self._past, self._tuning = [], None
        self._tunings = self.alarms
        self.settling = self.settings.settle

    def _graded(self, case: Case, alarm: Alarm) -> Graded:
        grade, usual = case.grade, case.usual
        known = 0.0 if math.isnan(usual) else usual
        words = {
            "true": f"lost {case.after:.3f} of the labels' squares after it, above the usual {known:.3f}",
            "harmless": f"lost {case.after:.3f} of the labels' squares after it, within the usual {known:.3f}",
            "late": f"lost {case.lately:.3f} of the labels' squares before it already, above the usual {known:.3f}",
            "unknown": f"only {len(case.reference)} labels before it tell what is usual",
        }
        return Graded(
            alarm=alarm,
            grade=grade,
            kind=self._kind(),
            labels=case.heard,
            before=case.before,
            usual=known,
            after=case.after,
            answered=case.answered,
            reason=words[grade],
        )

    def _kind(self) -> str:
        size = len(self._rows)
        first, last = max(0, self._heard - size), self._heard
        column = self._rows[np.arange(first, last) % size, self._signal_at]
        part = self.parts[self._signal_at][1]
        if isinstance(part, Scan) and part.is_of_spread:
            column = np.abs(column)
        begun = max(0, self._began_at - first)
        return kind_since(column[:begun], column[begun:])

    def summary(self) -> dict[str, Any]:
        """What is watched, how, and what became of the alarms, as plain values."""
        graded, alarm = self.last_graded, self.last
        return {
            "detector": self.settings.detector,
            "signals": list(dict.fromkeys(signal for signal, _ in self.parts)),
            "alarms": self.alarms,
            "state": self._state(),
            "tuned": self.tuned,
            "thresholds": [round(part.threshold, 4) for _, part in self.parts],
            "nearness": round(self.nearness, 4),
            "odd": self.odd,
            "graded": {who: dict(grades) for who, grades in self.grader.counts.items()},
            "last": msgspec.to_builtins(alarm) if alarm is not None else None,
            "last_graded": msgspec.to_builtins(graded) if graded is not None else None,
        }

    def _state(self) -> str:
        """In a few words, what the thresholds are."""
        if not self.parts:
            return "not watched"
        if not self.settings.is_tuned:
            return "watching with a threshold that was given"
        if self.settling:
            return f"settling, {self.settling} labels to go"
        if self._tuning is not None:
            share = 100 * self._tuning.steps // (self._tuning.streams * len(self.parts))
            return f"finding thresholds, {share} % done; until then {self._meanwhile()}"
        if self._wants_past:
            heard = f"{len(self._past)} of {self.settings.past} labels heard to find thresholds on"
            return f"{heard}; until then {self._meanwhile()}"
        return f"watching, tuned to a false alarm in {self._per:,} labels"

    def _meanwhile(self) -> str:
        return "by the thresholds before the alarm" if self.tuned else "by thresholds that only broken data pass"

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "parts": [{**part.save(), "threshold": part.threshold} for _, part in self.parts],
            "joint": self._joint.save() if self._joint is not None else None,
            "past": [list(row) for row in self._past],
            "tuning": self._tuning.save() if self._tuning is not None else None,
            "grader": self.grader.save(),
            "rows": self._rows.tobytes(),
            **{name: getattr(self, name) for name in _PLAIN},
            **{name: msgspec.to_builtins(getattr(self, name)) for name in _FACTS},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what ``save`` gave of one with the same settings.

        Raises:
            DriftError: it is of others.
        """
        if len(state["parts"]) != len(self.parts):
            raise DriftError(f"watch: expected {len(self.parts)} detectors, found {len(state['parts'])}")
        for (_, part), saved in zip(self.parts, state["parts"], strict=True):
            part.load(saved)
            part.threshold = saved["threshold"]
        if self._joint is not None:
            self._joint.load(state["joint"])
        self._past = [list(row) for row in state["past"]]
        tuning = state["tuning"]
        self._tuning = Tuning.restored(self._scratch(), tuning) if tuning is not None else None
        self.grader.load(state["grader"])
        self._rows[:] = np.frombuffer(state["rows"]).reshape(self._rows.shape)
        for name in _PLAIN:
            setattr(self, name, state[name])
        for name, kind in _FACTS.items():
            setattr(self, name, msgspec.convert(state[name], kind | None))


_PLAIN: Final = (
    *("_tunings", "tuned", "alarms", "odd", "settling"),
    *("_heard", "_began_at", "_signal_at"),
)
_FACTS: Final[dict[str, Any]] = {"last": Alarm, "last_graded": Graded, "_judged": Alarm}


def _sane(value: float) -> float:
    return min(abs(value), HUGE) if value == value else 0.0
