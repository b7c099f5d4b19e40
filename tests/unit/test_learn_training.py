"""When training is asked for, and what becomes of it: schedule, drift, one at a time, time-out, inline."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from engine.core.events import Frames, ModelReady
from engine.core.records import AnyFact, LabelScored, ModelRefused, ModelSwapped, RetrainRequested, Signal
from engine.learn.contract import ModelError
from engine.learn.decay import Decay
from engine.learn.ensemble.parcel import pack, trained
from engine.learn.models import Models
from engine.learn.networks.payload import unpack
from tests.frames import MS, SECOND, walk
from tests.learning import ADWIN, INSTRUMENTS, drive, settings

FITTED = "tests.learning:Fitted"


@pytest.fixture(scope="module")
def frames() -> Frames:
    return walk(3000, seed=2)


def requests(told: Sequence[tuple[int, AnyFact]]) -> list[tuple[int, RetrainRequested]]:
    return [(now, fact) for now, fact in told if isinstance(fact, RetrainRequested)]


def ready(models: Models, now_ns: int, payload: bytes) -> AnyFact:
    (fact,) = models.swap(ModelReady(now_ns, "m", hashlib.sha256(payload).hexdigest(), payload))
    return fact


def test_training_is_asked_for_once_there_are_rows_and_then_by_the_clock(frames: Frames) -> None:
    models = Models(INSTRUMENTS, [settings(FITTED, min_rows=50, retrain_every_ns=5 * SECOND)])
    told: list[tuple[int, AnyFact]] = []
    for at in range(0, len(frames), 10):
        part = drive(models, frames[at : at + 10])
        for now, fact in requests(part):
            assert isinstance(fact, RetrainRequested)
            job = models.job("m")
            assert len(job.y) == fact.rows == len(job.times_ns) and np.all(np.diff(job.times_ns) > 0)
            assert job.times_ns[-1] + SECOND <= now
            assert isinstance(ready(models, now, b"1.5"), ModelSwapped)
        told += part
    asked = requests(told)
    assert asked[0][1] == RetrainRequested("m", "schedule", 50)
    assert len(asked) == 5 and all(b - a == 5 * SECOND for (a, _), (b, _) in pairwise(asked))
    summary = models.summary()[0]
    assert (summary["retrains"], summary["swaps"]) == (5, 5)
    assert summary["version"] == hashlib.sha256(b"1.5").hexdigest()
    first = next(now for now, fact in told if isinstance(fact, Signal))
    assert 0 <= first - asked[0][0] <= 200 * MS, "a model speaks from its first swap on"


def test_a_payload_of_which_a_part_is_left_out_is_told_as_taken_and_refused(frames: Frames) -> None:
    experts = ["tests.learning:Fitted", {"use": "tests.learning:Fitted", "name": "other"}]
    models = Models(INSTRUMENTS, [settings("ensemble", options={"experts": experts}, min_rows=50)])
    drive(models, frames[:1000])
    payload = pack([trained("tests.learning:Fitted", 0, b"1.5"), trained("other", 0, b"a number")])
    version = hashlib.sha256(payload).hexdigest()
    swapped, refused = models.swap(ModelReady(int(frames["recv_ns"][999]), "m", version, payload))
    assert swapped == ModelSwapped("m", version)
    assert isinstance(refused, ModelRefused) and refused.reason.startswith("other: it raised ValueError: could not")
    assert (models.summary()[0]["swaps"], models.summary()[0]["refused"]) == (1, 1)


def test_only_one_training_is_under_way_until_it_is_given_up(frames: Frames) -> None:
    changes = {"min_rows": 50, "retrain_every_ns": SECOND, "retrain_timeout_ns": 8 * SECOND}
    models = Models(INSTRUMENTS, [settings(FITTED, **changes)])
    asked = requests(drive(models, frames))
    assert models.summary()[0]["training"]
    times = [now for now, _ in asked]
    assert len(times) == 3 and np.diff(times).tolist() == [8 * SECOND, 8 * SECOND]


def test_a_failed_training_is_told_and_the_next_one_follows(frames: Frames) -> None:
    models = Models(INSTRUMENTS, [settings(FITTED, min_rows=50, retrain_every_ns=5 * SECOND)])
    (first,) = requests(drive(models, frames[:1000]))
    (fact,) = models.swap(ModelReady(first[0] + 1, "m", "", b""))
    assert isinstance(fact, ModelRefused) and "the training failed" in fact.reason
    again = requests(drive(models, frames[1000:]))
    assert again[0][0] == first[0] + 5 * SECOND


def test_drift_asks_for_training_before_the_clock_does_but_not_at_every_alarm() -> None:
    calm, wild = walk(3000, seed=6), walk(6000, seed=7)
    middle = (wild["bid"][:, :1] + wild["ask"][:, :1]) // 2
    for side in ("bid", "ask"):
        wild[side] += (middle - middle[0]) * 30
    wild["recv_ns"] += calm["recv_ns"][-1] - wild["recv_ns"][0] + SECOND
    changes = {"min_rows": 50, "retrain_every_ns": 0, "horizon_ns": 100 * MS, "drift_cooldown_ns": 3600 * SECOND}
    models = Models(INSTRUMENTS, [settings(FITTED, drift=ADWIN, **changes)])
    models.swap(ModelReady(1, "m", hashlib.sha256(b"0.0").hexdigest(), b"0.0"))
    told = drive(models, calm)
    assert not requests(told)
    told = drive(models, wild)
    assert [fact.cause for _, fact in requests(told)] == ["drift"]
    assert models.summary()[0]["drift_alarms"] >= 1


def test_inline_training_is_swapped_in_after_its_delay_and_no_sample_is_missed(frames: Frames) -> None:
    changes = {"min_rows": 100, "retrain_every_ns": 7 * SECOND, "hidden": (8,), "epochs": 3, "horizon_ns": 300 * MS}
    runs = []
    for block in (1, 8192):
        models = Models(INSTRUMENTS, [settings("mlp", **changes)], seed=4, inline_delay_ns=250 * MS)
        runs.append(drive(models, frames, block))
    told = runs[0]
    assert runs[0] == runs[1], "the same replay twice"
    asked = [now for now, _ in requests(told)]
    swapped = [now for now, fact in told if isinstance(fact, ModelSwapped)]
    assert len(asked) == 3 and swapped == [now + 250 * MS for now in asked]
    sampled = [now for now, fact in told if isinstance(fact, Signal)]
    assert sampled[0] >= swapped[0] and set(np.diff(sampled).tolist()) == {100 * MS}
    assert [fact for _, fact in told if isinstance(fact, LabelScored)]
    other = Models(INSTRUMENTS, [settings("mlp", **changes)], seed=5, inline_delay_ns=250 * MS)
    assert drive(other, frames) != told, "the run's seed reaches the training"


def test_an_inline_training_that_fails_is_refused_and_the_run_goes_on(frames: Frames) -> None:
    models = Models(INSTRUMENTS, [settings("tests.learning:Unfit", min_rows=50)], inline_delay_ns=0)
    told = drive(models, frames)
    refused = [fact for _, fact in told if isinstance(fact, ModelRefused)]
    assert refused[0].reason == "expected a trained model, found none: the training failed ModelError: not today"
    assert models.summary()[0]["swaps"] == 0 and models.summary()[0]["refused"] >= 1


def test_a_saved_run_keeps_its_window_network_and_training(frames: Frames) -> None:
    changes = {"min_rows": 100, "retrain_every_ns": 7 * SECOND, "hidden": (8,), "epochs": 2}
    make = [settings("mlp", **changes)]
    whole, resumed = (Models(INSTRUMENTS, make, inline_delay_ns=12 * SECOND) for _ in range(2))
    drive(whole, frames[:2200])
    resumed.load(whole.save())
    after = drive(whole, frames[2200:])
    assert after == drive(resumed, frames[2200:]) and any(isinstance(fact, ModelSwapped) for _, fact in after)


def test_the_card_says_what_it_was_trained_on(frames: Frames) -> None:
    models = Models(INSTRUMENTS, [settings("mlp", min_rows=100, hidden=(8,), epochs=2)], inline_delay_ns=1)
    drive(models, frames)
    job = models.job("m")
    card = unpack(type(models.slot("m").model).fit(job), job.features).card
    assert (card.model, card.use, card.rows, card.horizon_ns) == ("m", "mlp", len(job.y), SECOND)
    assert (card.first_ns, card.last_ns) == (int(job.times_ns[0]), int(job.times_ns[-1]))


def test_a_person_may_ask_for_a_training_whenever_there_are_rows(frames: Frames) -> None:
    models = Models(INSTRUMENTS, [settings(FITTED, min_rows=50, retrain_every_ns=0), settings("zero", name="z")])
    assert requests(drive(models, frames[:1500])) == []
    models.retrain("m")
    ((now, asked),) = requests(drive(models, frames[1500:]))
    assert (asked.model, asked.cause) == ("m", "demand") and now <= frames["recv_ns"][1500] + 100 * MS
    with pytest.raises(ModelError, match="expected one that is trained on a window, found zero"):
        models.retrain("z")
    with pytest.raises(ModelError, match="expected one of m, z"):
        models.retrain("ghost")


def test_what_was_asked_for_outlives_a_restart(frames: Frames) -> None:
    asked = [settings(FITTED, min_rows=50, retrain_every_ns=0)]
    models, again = Models(INSTRUMENTS, asked), Models(INSTRUMENTS, asked)
    drive(models, frames[:1500])
    models.retrain("m")
    again.load(models.save())
    assert len(requests(drive(again, frames[1500:]))) == 1


def test_a_model_that_explains_less_than_it_did_is_trained_again() -> None:
    """The payload is what it says of every row: right for the first half of the labels, wrong for the second."""
    decay = Decay(0.5, 10)
    chance = np.random.default_rng(1)
    due = []
    for at in range(8000):
        label = float(chance.normal()) + (0.5 if at < 4000 else -0.5)
        decay.update(0.5, label)
        due.append(decay.is_due)
    assert not any(due[:4000]) and due.index(True) < 6000
    other = Decay(0.5, 10)
    other.load(decay.save())
    assert other.save() == decay.save() and other.is_due
    decay.answered()
    assert not decay.is_due and decay.labels == 0


def test_decay_is_off_by_default_and_bad_labels_leave_it_silent() -> None:
    off, odd = Decay(0.0, 1), Decay(0.9, 1)
    for _ in range(1000):
        off.update(1.0, -5.0)
        odd.update(float("nan"), 1.0)
    assert not off.is_due and off.labels == 0 and not odd.is_due
