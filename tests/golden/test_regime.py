"""The configuration that shows a change of regime, in virtual time: what its log will say, live, replayed, resumed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from engine.core.drift_facts import AlarmGraded, AnswerEnded, Trial
from engine.core.engine import Engine
from engine.core.events import Batch, Command, ModelReady
from engine.core.records import DriftAlarm, ModelSwapped, Promoted, Record, RetrainRequested
from engine.learn.models import Models
from engine.learn.trainer import fit
from engine.live.build import build_engine
from engine.live.config import AppConfig, load_config
from engine.live.recovery.codec import freeze, thaw
from engine.research.regime_play import START_NS, batches

SECOND = 10**9
LASTS_NS = 270 * SECOND
TURNS_NS = 180 * SECOND
TRAINING_NS = 2 * SECOND

Input = Batch | Command | ModelReady


class Lived(NamedTuple):
    inputs: list[Input]
    records: list[Record]
    digest: str
    half: int
    frozen: bytes
    models: Models


@pytest.fixture(scope="module")
def config() -> AppConfig:
    return load_config(Path(__file__).parents[2] / "configs/regime.toml")


@pytest.fixture(scope="module")
def lived(config: AppConfig) -> Lived:
    """The run as a daemon has it: trainings beside it come back as inputs."""
    feed, brought = batches(config, LASTS_NS)
    engine, models = build_engine(config, [feed.instrument], inline_training=False)
    inputs: list[Input] = []
    records: list[Record] = []
    back: list[ModelReady] = []
    half, frozen = 0, b""

    def take(one: Input) -> None:
        inputs.append(one)
        for record in engine.process(one):
            records.append(record)
            if isinstance(record.fact, RetrainRequested):
                payload = fit(models.job(record.fact.model))
                version = hashlib.sha256(payload).hexdigest()
                back.append(ModelReady(record.ns + TRAINING_NS, record.fact.model, version, payload))

    take(Command(START_NS, "start"))
    for batch in brought:
        now_ns = int(batch["recv_ns"][0])
        while back and back[0].recv_ns <= now_ns:
            take(back.pop(0))
        if not frozen and now_ns >= START_NS + 200 * SECOND:  # alarms are being judged, thresholds are those of before
            half, frozen = len(inputs), freeze((engine, models))
        take(batch)
    return Lived(inputs, records, engine.digest, half, frozen, models)


def told(lived: Lived, kind: type[Any], **wanted: Any) -> list[tuple[float, Any]]:
    """Facts of a kind with their time in seconds since the turn."""
    return [
        ((one.ns - START_NS - TURNS_NS) / SECOND, one.fact)
        for one in lived.records
        if isinstance(one.fact, kind) and all(getattr(one.fact, key) == value for key, value in wanted.items())
    ]


@pytest.mark.slow
def test_the_turn_is_told_judged_answered_and_who_was_trained_after_it_takes_over(lived: Lived) -> None:
    (alarmed, alarm), *_ = told(lived, DriftAlarm, model="again")
    assert 0.0 < alarmed < 40.0 and alarm.answers == ("alert", "begin-anew")
    assert "tuned to a false alarm in 180,000 labels" in alarm.reason
    (judged, graded), *_ = told(lived, AlarmGraded, model="again", number=1)
    assert judged == pytest.approx(alarmed + 20.0, abs=0.5) and graded.grade == "true"
    (asked, request), *_ = told(lived, RetrainRequested, model="again", cause="drift")
    assert asked == pytest.approx(alarmed + 40.0, abs=0.5) and request.rows == 2000
    swapped = min(at for at, _ in told(lived, ModelSwapped, model="again") if at > 0)
    assert swapped == pytest.approx(asked + 2.0, abs=0.1)
    (promoted, fact), *_ = told(lived, Promoted, contest="best")
    assert promoted > swapped and (fact.model, fact.over, fact.cause) == ("again", "once", "evidence")
    assert fact.wealth >= fact.needed == 100.0
    trials = told(lived, Trial, model="again", over="once")
    assert [one.verdict for at, one in trials if at < swapped] == ["alike so far"] * len(trials)
    assert not told(lived, DriftAlarm)[0][0] < 0.0, "nothing fired before the turn"


@pytest.mark.slow
def test_who_goes_on_as_it_was_is_heard_less(lived: Lived) -> None:
    (at, alarm), *_ = told(lived, DriftAlarm, model="once")
    assert alarm.answers == ("alert", "shrink") and 0.0 < at < 40.0
    assert not told(lived, AnswerEnded, model="once"), "it holds for 5,000 labels, 100 s"
    once = next(one for one in lived.models.summary() if one["name"] == "once")
    assert once["drift"]["size"] == 0.5 and once["drift"]["held"] == ["shrink"]
    counts = once["drift"]["graded"]
    assert counts["detector"]["true"] == 1 and counts["never"]["missed"] >= 1
    assert counts["always"]["harmless"] + counts["always"]["late"] > counts["always"]["true"]


def digest(engine: Engine, inputs: Sequence[Input]) -> str:
    for one in inputs:
        engine.process(one)
    return engine.digest


@pytest.mark.slow
def test_a_replay_of_its_inputs_in_larger_batches_has_its_digest(lived: Lived, config: AppConfig) -> None:
    feed, _ = batches(config, SECOND)
    engine, _ = build_engine(config, [feed.instrument], inline_training=False)
    joined: list[Input] = []
    pending: list[Batch] = []
    for one in lived.inputs:
        if isinstance(one, np.ndarray):
            pending.append(one)
        if pending and (len(pending) == 50 or not isinstance(one, np.ndarray)):
            joined.append(np.concatenate(pending))
            pending = []
        if not isinstance(one, np.ndarray):
            joined.append(one)
    assert Counter(type(one).__name__ for one in joined)["ModelReady"] == 3
    assert digest(engine, [*joined, *pending]) == lived.digest


@pytest.mark.slow
def test_a_run_that_was_stored_in_the_middle_of_an_alarm_goes_on_to_the_same_digest(lived: Lived) -> None:
    engine, _ = thaw(lived.frozen)
    assert digest(engine, lived.inputs[lived.half :]) == lived.digest
