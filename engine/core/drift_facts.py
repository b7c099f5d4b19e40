"""Facts of models that the market leaves behind: alarms, what was done, and whether they were right."""

from __future__ import annotations

from engine.core.order_facts import Fact


class DriftAlarm(Fact, frozen=True, tag=True):
    """A detector fired: the ``number``-th time on this model, on which ``signal`` of it, and in words why.

    ``value`` passed ``threshold`` (of a detector that does not tell what did: the signal's value). ``answers``: what
    was done, of ``on_drift``. Whether it was right is judged later (``AlarmGraded``).
    """

    model: str
    symbol: str
    detector: str
    value: float
    number: int = 0
    signal: str = ""
    threshold: float = 0.0
    answers: tuple[str, ...] = ()
    reason: str = ""


class AlarmGraded(Fact, frozen=True, tag=True):
    """An alarm of drift is judged by the ``labels`` after it: ``true``, ``harmless``, ``late`` or ``unknown``.

    Losses are squared errors as a share of those of saying 0: ``before`` the alarm, what is ``usual`` at most,
    ``after`` it had nobody answered, and with what was ``answered``. ``kind``: ``abrupt``, ``gradual``,
    ``incremental``, ``recurring`` or ``unclear``. See engine/learn/drift/grading.py.
    """

    model: str
    symbol: str
    number: int
    detector: str
    signal: str
    grade: str
    kind: str
    labels: int
    before: float
    usual: float
    after: float
    answered: float
    reason: str


class RegimeTold(Fact, frozen=True, tag=True):
    """Some ``labels`` after an alarm: which regime this is, by number; ``known``: its specialist answers from here on.

    ``specialist`` and ``live`` are the squared errors of the best specialist and of the model, bps² a label.
    """

    model: str
    symbol: str
    number: int
    regime: int
    known: bool
    labels: int
    specialist: float
    live: float
    reason: str


class AnswerEnded(Fact, frozen=True, tag=True):
    """What an alarm of drift had held back (``shrink``, ``stand-aside``) is back, and why."""

    model: str
    symbol: str
    number: int
    answers: tuple[str, ...]
    reason: str


class Trial(Fact, frozen=True, tag=True):
    """Where a challenger stands when an alarm was judged, or some labels after a model was changed.

    Fields as in ``Promoted``; ``worse`` is the wealth of the bet that it is worse.

    ``verdict``: ``better``, ``worse`` or ``alike so far``, or ``refused``: the bet that it is worse reached ``needed``.
    """

    contest: str
    symbol: str
    model: str
    over: str
    verdict: str
    by: str
    labels: int
    wealth: float
    worse: float
    needed: float
    advantage: float
