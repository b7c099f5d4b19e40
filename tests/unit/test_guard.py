"""What follows from an alarm of drift in a model at work: the answers, how long they hold, and that they are kept."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.core.drift_facts import AlarmGraded, AnswerEnded, Trial
from engine.core.events import FRAME_READY, Frames, ModelReady
from engine.core.records import AnyFact, DriftAlarm, LabelScored, ModelSwapped, RetrainRequested, Signal
from engine.learn.contest import ContestSettings
from engine.learn.contract import ModelError
from engine.learn.drift.settings import DriftSettings
from engine.learn.models import Models
from tests.frames import MS, SECOND, walk
from tests.learning import INSTRUMENTS, drive, settings

SPY, MIDDLE = "tests.learning:Spy", "tests.learning:Middle"
ALWAYS = DriftSettings(detector="always", threshold=600, settle=0, grade=200, late=100, aside=150)
"""An alarm each 600 labels: when it comes is known, and what it does can be looked at."""

Told = list[tuple[int, AnyFact]]


@pytest.fixture(scope="module")
def frames() -> Frames:
    return walk(14_000, seed=1)


def models(use: str = "river-linear", *answers: str, **changes: Any) -> Models:
    drift = msgspec.structs.replace(ALWAYS, answers=("alert", *answers))
    values = {"drift": drift, "horizon_ns": 200 * MS, "retrain_every_ns": 0, "min_rows": 50}
    return Models(INSTRUMENTS, [settings(use, **(values | changes))])


def of(told: Told, kind: type[Any]) -> list[tuple[int, Any]]:
    return [(now, fact) for now, fact in told if isinstance(fact, kind)]


def signals(told: Told, name: str) -> list[Signal]:
    return [fact for _, fact in told if isinstance(fact, Signal) and fact.name == name]


def test_an_alarm_says_what_was_done_and_is_judged_by_the_labels_after_it(frames: Frames) -> None:
    one = models("river-linear")
    told = drive(one, frames)
    (at, alarm), (_, second) = of(told, DriftAlarm)
    assert (alarm.detector, alarm.signal, alarm.number, alarm.answers) == ("always", "residual", 1, ("alert",))
    assert alarm.reason.startswith("always of residual at a value of ") and second.number == 2
    (judged, graded), *_ = of(told, AlarmGraded)
    assert 200 * 100 * MS <= judged - at < 230 * 100 * MS
    assert (graded.number, graded.labels, graded.grade) == (1, 200, "unknown")  # 600 labels, of which 300 count
    assert graded.reason == "only 300 labels before it tell what is usual"
    (summary,) = one.summary()
    assert summary["drift_alarms"] == summary["drift"]["alarms"] == 2
    assert summary["drift"]["graded"]["detector"]["unknown"] == 1
    assert summary["drift"]["last"]["number"] == 2 and summary["drift"]["last_graded"]["alarm"]["number"] == 1


def test_a_model_that_begins_anew_forgets_and_its_predecessor_is_judged_unheard(frames: Frames) -> None:
    one = models(SPY, "begin-anew")
    cut = 7200
    told = drive(one, frames[:cut])
    (at, alarm), *_ = of(told, DriftAlarm)
    assert alarm.answers == ("alert", "begin-anew")
    said = {now: fact.prediction for now, fact in of(told, LabelScored)}
    assert max(value for now, value in said.items() if now <= at) > 590.0
    after = [fact.value for now, fact in of(told, Signal) if now > at]
    assert after[0] < 5.0, "the new one counts its labels from 0"
    slot = one.slot("m")
    assert slot.begun_anew == 1 and slot.guard.unanswered is not None
    assert slot.guard.unanswered.predict_one(np.zeros(0)) == float(slot.learned), "the old one learned on"
    told = drive(one, frames[cut:])
    (_, graded), *_ = of(told, AlarmGraded)
    assert slot.guard.unanswered is None or slot.begun_anew == 2
    assert graded.after > graded.answered > 1.0  # who says a larger number is more wrong


def test_a_trained_model_that_begins_anew_is_trained_on_what_comes_after_the_alarm(frames: Frames) -> None:
    one = models(MIDDLE, "begin-anew", min_rows=100)
    one.swap(ModelReady(1, "m", hashlib.sha256(b"0.0").hexdigest(), b"0.0"))
    told = drive(one, frames[:9000])
    (at, alarm), *_ = of(told, DriftAlarm)
    (asked, request), *_ = of(told, RetrainRequested)
    assert alarm.answers == ("alert", "begin-anew") and (request.cause, request.rows) == ("drift", 100)
    assert asked - at >= 99 * 100 * MS
    job = one.job("m")
    assert job.times_ns[0] > at - 300 * MS
    fresh = repr(1.25).encode()
    (swapped,) = one.swap(ModelReady(2, "m", hashlib.sha256(fresh).hexdigest(), fresh))
    assert isinstance(swapped, ModelSwapped)


def test_a_model_swapped_while_an_alarm_is_judged_is_judged_as_it_was(frames: Frames) -> None:
    one = models(MIDDLE, "retrain")
    one.swap(ModelReady(1, "m", hashlib.sha256(b"0.0").hexdigest(), b"0.0"))
    told = drive(one, frames[:7000])
    assert of(told, DriftAlarm)[0][1].answers == ("alert", "retrain")
    worse = b"1000.0"
    one.swap(ModelReady(2, "m", hashlib.sha256(worse).hexdigest(), worse))
    (_, graded), *_ = of(drive(one, frames[7000:]), AlarmGraded)
    assert graded.after < 2.0 < 1000.0 < graded.answered


def test_a_shrunk_model_says_before_each_prediction_how_much_of_a_position_is_left(frames: Frames) -> None:
    one = models("river-linear", "shrink")
    told = drive(one, frames[:12_000])
    (at, _), *_ = of(told, DriftAlarm)
    (ended_at, ended), *_ = of(told, AnswerEnded)
    assert (ended.answers, ended.number, ended.reason) == (("shrink",), 1, "150 labels have passed")
    names = [(fact.name, fact.id) for now, fact in of(told, Signal) if at < now < ended_at]
    assert len(names) > 250
    assert [name for name, _ in names[:4]] == ["m/size", "m", "m/size", "m"] and names[0][1] == names[1][1]
    assert {fact.value for fact in signals(told, "m/size")} == {0.5}
    assert not [now for now, fact in of(told, Signal) if fact.name == "m/size" and not at <= now <= ended_at]


def test_who_stands_aside_says_nothing_once_and_then_nothing_at_all_but_learns(frames: Frames) -> None:
    one = models("river-linear", "stand-aside")
    told = drive(one, frames[:12_000])
    (at, _), *_ = of(told, DriftAlarm)
    (ended_at, _), *_ = of(told, AnswerEnded)
    aside = [fact for now, fact in of(told, Signal) if at <= now < ended_at]
    assert [(fact.name, fact.value) for fact in aside] == [("m/size", 0.0), ("m", 0.0)]
    scored = [fact for now, fact in of(told, LabelScored) if at < now <= ended_at]
    assert len(scored) == 150, "it is scored and learns meanwhile"
    assert [fact.name for now, fact in of(told, Signal) if now >= ended_at][:2] == ["m", "m"]


def test_an_alarm_soon_after_one_that_was_answered_is_told_and_nothing_more(frames: Frames) -> None:
    drift = msgspec.structs.replace(ALWAYS, threshold=250, answers=("alert", "begin-anew"))
    one = models(SPY, drift=drift, drift_cooldown_ns=30 * SECOND)
    alarms = [fact for _, fact in of(drive(one, frames), DriftAlarm)]
    assert [fact.answers for fact in alarms[:3]] == [("alert", "begin-anew"), ("alert",), ("alert", "begin-anew")]
    assert alarms[1].reason.endswith("; the alarm before was answered less than 30 s ago")


def test_who_is_not_trained_is_not_retrained(frames: Frames) -> None:
    told = drive(models("river-linear", "retrain"), frames[:8000])
    assert of(told, DriftAlarm)[0][1].answers == ("alert",) and not of(told, RetrainRequested)


@pytest.mark.parametrize("answer", ["alert", "begin-anew", "shrink", "stand-aside"])
@pytest.mark.parametrize("use", ["river-linear", "clipped-linear"])
def test_a_model_under_alarm_that_is_saved_goes_on_as_if_nothing_had_happened(
    frames: Frames, answer: str, use: str
) -> None:
    whole = models(use, answer)
    drive(whole, frames[:6900])
    assert whole.slot("m").guard.watch.is_judging
    resumed = models(use, answer)
    resumed.load(msgspec.msgpack.decode(msgspec.msgpack.encode(whole.save())))
    assert drive(resumed, frames[6900:]) == drive(whole, frames[6900:])
    assert resumed.summary() == whole.summary()


def test_a_label_that_never_matures_leaves_nothing_behind_and_no_alarm(frames: Frames) -> None:
    one = models("river-linear", "begin-anew", stale_ns=3600 * SECOND)
    drive(one, frames[:6900])
    slot = one.slot("m")
    judged = slot.guard.watch.grader.heard
    silent = walk(6000, seed=5)
    silent["recv_ns"] += frames["recv_ns"][6899] - silent["recv_ns"][0] + 10 * MS
    silent["flags"][3:] &= ~np.uint8(FRAME_READY)
    told = drive(one, silent)
    assert not of(told, DriftAlarm) and not of(told, AlarmGraded)
    assert slot.guard.watch.is_judging and slot.guard.watch.grader.heard <= judged + 5
    assert len(slot.guard._said) <= slot.labels.most and slot.labels.void > 0


def test_time_that_jumps_is_no_drift(frames: Frames) -> None:
    drift = DriftSettings(span_ns=20_000 * 100 * MS, past=500, warm=250, settle=0, grade=200, late=100)
    one = Models(INSTRUMENTS, [settings(horizon_ns=200 * MS, stale_ns=SECOND, drift=drift)])
    jumping = frames.copy()
    for place, jump in ((9000, 3600 * SECOND), (11_000, 86_400 * SECOND), (11_001, 1)):
        jumping["recv_ns"][place:] += jump
    told = drive(one, jumping)
    assert not of(told, DriftAlarm)
    (summary,) = one.summary()
    assert summary["learned"] > 1000 and summary["drift"]["tuned"] and not summary["stopped"]


def test_a_judged_alarm_tells_how_challengers_stand(frames: Frames) -> None:
    drift = msgspec.structs.replace(ALWAYS, answers=("alert", "begin-anew"))
    both = [settings("zero", name=name, horizon_ns=200 * MS, drift=drift) for name in ("a", "b")]
    contest = ContestSettings(name="best", symbol="sim:X", champion="a", challengers=("b",), horizon_ns=200 * MS)
    one = Models(INSTRUMENTS, both, contests=[contest])
    trials = of(drive(one, frames[:9000]), Trial)
    assert len(trials) >= 3  # two alarms judged, and the challenger some labels after it began anew
    assert {(fact.model, fact.over, fact.verdict, fact.wealth) for _, fact in trials} == {
        ("b", "a", "alike so far", 1.0)
    }


def test_an_unknown_detector_is_refused_with_the_model_named() -> None:
    with pytest.raises(ModelError, match=r"model m: drift: expected one of scans, .* found 'oracle'"):
        models(drift=DriftSettings(detector="oracle"))
