"""Which facts a person is told of, how loudly, and which of them wait longest for a slow disk."""

from __future__ import annotations

from engine.core.drift_facts import AlarmGraded, AnswerEnded, RegimeTold, Trial
from engine.core.money_facts import (
    Dividend,
    Funding,
    Interest,
    Liquidated,
    MarginCall,
    Settled,
    ShortFee,
    Split,
)
from engine.core.records import (
    AnyFact,
    Commanded,
    DriftAlarm,
    FeedState,
    ModelRefused,
    ModelSwapped,
    Promoted,
    Record,
    Rejected,
    RetrainRequested,
    RiskAction,
    StrategyStopped,
)
from engine.core.side import GOOD
from engine.core.side_facts import SideChanged
from engine.live import held

MONEY = (Funding, Interest, MarginCall, Liquidated, Dividend, Split, ShortFee, Settled)

DRIFT = (DriftAlarm, AlarmGraded, AnswerEnded, RegimeTold, Trial)

MODELS = (*DRIFT, ModelSwapped, ModelRefused, Promoted)

LOGGED = (FeedState, *MODELS, RiskAction, StrategyStopped, SideChanged, Rejected, *MONEY)

LOUD = {
    StrategyStopped: "error",
    Liquidated: "error",
    ModelRefused: "warning",
    DriftAlarm: "warning",
    RiskAction: "warning",
    MarginCall: "warning",
}
"""Facts that a person must act on, or should look at, and the level of their log line; the rest is information."""


def is_loss(fact: AnyFact) -> bool:
    """A book or a side stream that cannot be used any more."""
    if isinstance(fact, FeedState):
        return not fact.ready
    return isinstance(fact, SideChanged) and fact.state != GOOD


def rank(record: Record) -> int:
    """What a fact is worth that waits for a disk: a training or a word is waited for, an alarm is for a person."""
    fact = record.fact
    if isinstance(fact, (Commanded, RetrainRequested)):
        return held.NEEDED
    return held.LOUD if type(fact) in LOUD else held.PLAIN
