"""What the facts of a run say of its models: which version answers, how it does, and what became of it.

A label belongs to the version that predicted it, not to the one that answers when it is known: the numbers of samples
tell which. The scores of a version that was replaced are therefore told when the last of its labels is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from engine.core.drift_facts import AlarmGraded, Trial
from engine.core.records import (
    Commanded,
    DriftAlarm,
    LabelScored,
    ModelRefused,
    ModelSwapped,
    Promoted,
    Record,
    RetrainRequested,
    Signal,
)
from engine.learn.scoring import Scores
from engine.live.registry.log import Event
from engine.live.registry.store import NO_MODEL

NO_VERSIONS: Final = ("", NO_MODEL)
EVERY_NS: Final = 600 * 10**9
"""Scores of a version at work are told this often: a kill takes those since."""

SETTLES: Final = 2
"""Horizons after which no label of a version that was replaced is out any more."""


TELLING: Final = frozenset(
    {RetrainRequested, ModelSwapped, ModelRefused, DriftAlarm, AlarmGraded, Trial, Commanded, Promoted}
)
"""Facts that tell something of a model; most others come far more often."""


class Tally(msgspec.Struct):
    """The scores of one version; ``until``: its last sample, once it was replaced at ``replaced_ns``."""

    version: str
    from_ns: int
    scores: Scores
    to_ns: int = 0
    until: int = 0
    replaced_ns: int = 0


class Life:
    """One model of the run as its facts go by; ``horizon_ns`` is the longest of its labels.

    Labels up to the fact ``seen`` were told.
    """

    def __init__(self, model: str, horizon_ns: int, version: str = "") -> None:
        self.model = model
        self.horizon_ns = horizon_ns
        self.tally = Tally(version, 0, Scores())
        self.ending: list[Tally] = []
        self.trigger = ""
        self.requested_ns = 0
        self.sample = 0
        self.seen = 0

    @property
    def version(self) -> str:
        """Which one answers; "" before the first."""
        return self.tally.version

    def scored(self, fact: LabelScored, ns: int) -> None:
        """A label is known."""
        tally = next((one for one in self.ending if fact.id <= one.until), self.tally)
        tally.scores.update(fact.prediction, fact.label)
        tally.from_ns, tally.to_ns = tally.from_ns or ns, ns

    def swapped(self, version: str, ns: int) -> None:
        """Another version answers from here on."""
        self.tally.until, self.tally.replaced_ns = self.sample, ns
        self.ending.append(self.tally)
        self.tally = Tally(version, 0, Scores())

    def ended(self, ns: int) -> list[Tally]:
        """Those whose last label is known by now."""
        settled = [one for one in self.ending if ns - one.replaced_ns > SETTLES * self.horizon_ns]
        self.ending = self.ending[len(settled) :]
        return settled


class Lives:
    """All models of a run: a sink of records that gives ``told`` what belongs in the log.

    Facts up to ``seen`` are in the log already, labels up to a model's own: a start that recovers hears them again.

    >>> events = []
    >>> lives = Lives({"net": 10**9}, events.append)
    >>> lives([Record(1, 5, ModelSwapped("net", "ab"))])
    >>> events[0].what, events[0].version, lives.version("net")
    ('swapped', 'ab', 'ab')
    """

    def __init__(self, horizons: dict[str, int], told: Callable[[Event], None], seen: int = 0) -> None:
        self.models = {model: Life(model, horizon) for model, horizon in horizons.items()}
        self.seen = seen
        self._told = told
        self._who = ""

    def version(self, model: str) -> str:
        """Which version of a model answers; "" for none."""
        return self.models[model].version if model in self.models else ""

    def __call__(self, records: Sequence[Record]) -> None:
        for record in records:
            fact = record.fact
            if isinstance(fact, Signal):
                if (life := self.models.get(fact.source)) is not None:
                    life.sample = fact.id
            elif isinstance(fact, LabelScored):
                life = self.models.get(fact.model)
                if life is not None and not fact.name and record.seq > life.seen:
                    life.scored(fact, record.ns)
                    if life.ending:
                        self._end(life, life.ended(record.ns), record.seq)
                    if life.tally.to_ns - life.tally.from_ns >= EVERY_NS:
                        self._end(life, [life.tally], record.seq)
                        life.tally = Tally(life.version, 0, Scores())
            elif type(fact) in TELLING and record.seq > self.seen:
                self._hear(record)

    def _hear(self, record: Record) -> None:
        fact = record.fact
        match fact:
            case RetrainRequested():
                if (life := self.models.get(fact.model)) is not None:
                    life.trigger, life.requested_ns = fact.cause, record.ns
            case ModelSwapped():
                life = self.models.setdefault(fact.model, Life(fact.model, 0))
                more = {"replaced": life.version} if life.version else {}
                self._tell("swapped", fact.model, fact.version, record, more)
                life.swapped(fact.version, record.ns)
            case ModelRefused():
                self._refused(fact, record)
            case DriftAlarm():
                more = _more(fact, "model", "symbol")
                self._tell("drift", fact.model, self.version(fact.model), record, more)
            case AlarmGraded():
                self._tell("graded", fact.model, self.version(fact.model), record, _more(fact, "model", "symbol"))
            case Trial():
                self._tell("trial", fact.model, self.version(fact.model), record, _more(fact, "model", "symbol"))
            case Commanded():
                self._who = fact.name
            case Promoted():
                self._promoted(fact, record)
            case _:
                pass

    def _refused(self, fact: ModelRefused, record: Record) -> None:
        if fact.version == self.version(fact.model):
            what, version = "impaired", fact.version  # a model that raised, or parts of a payload that was taken
        elif fact.version in NO_VERSIONS:
            what, version = "failed", ""
        else:
            what, version = "refused", fact.version
        self._tell(what, fact.model, version, record, {"why": fact.reason})

    def _promoted(self, fact: Promoted, record: Record) -> None:
        """Both learn of it: who came, and who went."""
        more = _more(fact, "model", "over", "symbol")
        by_hand = fact.cause == "command"
        more["who"] = f"papertape {self._who}" if by_hand and self._who in ("promote", "rollback") else fact.cause
        came, went = self.version(fact.model), self.version(fact.over)
        self._tell("promoted", fact.model, came, record, more | {"over": fact.over, "over_version": went})
        self._tell("deposed", fact.over, went, record, more | {"by_model": fact.model, "by_version": came})

    def close(self) -> None:
        """The session ends: tell what was scored so far."""
        for life in self.models.values():
            self._end(life, [*life.ending, life.tally], 0)
            life.ending, life.tally = [], Tally(life.version, 0, Scores())

    def _end(self, life: Life, tallies: Sequence[Tally], seq: int) -> None:
        for tally in tallies:
            if tally.scores.count:
                more = {"from_ns": tally.from_ns, "to_ns": tally.to_ns, "sums": tally.scores.save()}
                scored = Event(
                    what="scored", model=life.model, version=tally.version, ns=tally.to_ns, seq=seq, more=more
                )
                self._told(scored)

    def _tell(self, what: str, model: str, version: str, record: Record, more: dict[str, Any]) -> None:
        self._told(Event(what=what, model=model, version=version, ns=record.ns, seq=record.seq, more=more))


def _more(fact: Any, *without: str) -> dict[str, Any]:
    """The fields of a fact but those named; what is no number becomes None, as JSON has no word for it."""
    values = ((name, getattr(fact, name)) for name in fact.__struct_fields__ if name not in without)
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values}


def merged(a: Scores, b: Scores) -> Scores:
    """The scores over the pairs of both (Chan, Golub and LeVeque, 1979).

    >>> first, second, both = Scores(), Scores(), Scores()
    >>> for scores in (first, both):
    ...     scores.update(1.0, 2.0); scores.update(-1.0, 0.5)
    >>> for scores in (second, both):
    ...     scores.update(3.0, 1.0)
    >>> merged(first, second).ic, both.ic
    (0.327, 0.327)
    """
    count = a.count + b.count
    if not a.count or not b.count:
        return a if a.count else b
    share = a.count * b.count / count
    delta_p, delta_y = b.mean_p - a.mean_p, b.mean_y - a.mean_y
    return Scores(
        count=count,
        absolute=a.absolute + b.absolute,
        squared=a.squared + b.squared,
        squared_label=a.squared_label + b.squared_label,
        hits=a.hits + b.hits,
        calls=a.calls + b.calls,
        mean_p=a.mean_p + delta_p * b.count / count,
        mean_y=a.mean_y + delta_y * b.count / count,
        var_p=a.var_p + b.var_p + delta_p * delta_p * share,
        var_y=a.var_y + b.var_y + delta_y * delta_y * share,
        covariance=a.covariance + b.covariance + delta_p * delta_y * share,
    )
