"""The life of a model inside a run: order, leakage, doubt, bounds, and the summary."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.core.events import FRAME_READY, Frames, ModelReady
from engine.core.records import DriftAlarm, LabelScored, ModelRefused, Signal
from engine.core.types import NEVER_NS
from engine.learn.contract import ModelError
from engine.learn.models import Models
from tests.frames import MS, SECOND, START_NS, walk
from tests.learning import ADWIN, INSTRUMENTS, Spy, drive, settings

SPY = "tests.learning:Spy"


@pytest.fixture(scope="module")
def frames() -> Frames:
    return walk(2000, seed=2)


def spy_of(models: Models) -> Spy:
    model = models.slot("m").model
    assert isinstance(model, Spy)
    return model


def test_a_label_is_scored_before_it_is_learned_and_learned_before_the_next_prediction(frames: Frames) -> None:
    horizon, every = 10, 1  # in samples
    models = Models(INSTRUMENTS, [settings(SPY, horizon_ns=horizon * 100 * MS, drift=ADWIN)])
    told = drive(models, frames)
    scored = [fact for _, fact in told if isinstance(fact, LabelScored)]
    assert len(scored) > 100
    # The n-th sample is predicted when n - horizon labels are known, the one that matured at that very time included.
    # Had learning come after predicting, it would be one fewer; had the label been learned early, more.
    assert [fact.prediction for fact in scored] == [max(0, fact.id - horizon) for fact in scored]
    diary = spy_of(models).diary
    learned = 0
    for what, value in diary:
        if what == "learn":
            learned += every
        else:
            assert value == learned, "scored or predicted out of order"
    words = [what for what, _ in diary]
    first = words.index("score")
    assert words[first - 1 : first + 2] == ["predict", "score", "learn"]


def test_the_label_is_the_log_return_from_the_last_mid_at_each_end(frames: Frames) -> None:
    models = Models(INSTRUMENTS, [settings(SPY, horizon_ns=730 * MS)])
    told = drive(models, frames)
    mids = (frames["bid"][:, 0] + frames["ask"][:, 0]) / 2.0
    times = frames["recv_ns"]

    def mid_before(now_ns: int) -> float:
        return float(mids[np.searchsorted(times, now_ns, side="left") - 1])

    sampled = {fact.id: now for now, fact in told if isinstance(fact, Signal)}
    scored = [(now, fact) for now, fact in told if isinstance(fact, LabelScored)]
    assert len(scored) > 100
    for now, fact in scored:
        begin = sampled[fact.id]
        assert now == begin + 730 * MS
        assert fact.label == pytest.approx(np.log(mid_before(now) / mid_before(begin)) * 1e4, abs=1e-9)


def test_samples_fall_on_the_grid_of_engine_time(frames: Frames) -> None:
    told = drive(Models(INSTRUMENTS, [settings(SPY)]), frames)
    times = [now for now, fact in told if isinstance(fact, Signal)]
    assert times and all(now % (100 * MS) == 0 for now in times)
    assert set(np.diff(times).tolist()) == {100 * MS}


def test_what_comes_later_never_changes_a_prediction(frames: Frames) -> None:
    cut = 1200
    now_ns = int(frames["recv_ns"][cut])
    shuffled = frames.copy()
    rng = np.random.default_rng(5)
    shuffled[cut:] = rng.permutation(frames[cut:])
    shuffled["recv_ns"] = frames["recv_ns"]
    past = []
    for one in (frames, shuffled):
        told = drive(Models(INSTRUMENTS, [settings()]), one)
        past.append([(now, fact) for now, fact in told if now <= now_ns])
        later = [fact for now, fact in told if now > now_ns and isinstance(fact, Signal)]
        assert later
    assert past[0] == past[1] and any(isinstance(fact, Signal) for _, fact in past[0])


@pytest.mark.parametrize("block", [1, 7, 64])
def test_when_frames_are_absorbed_does_not_matter(frames: Frames, block: int) -> None:
    assert drive(Models(INSTRUMENTS, [settings()]), frames) == drive(Models(INSTRUMENTS, [settings()]), frames, block)


def test_labels_that_span_doubt_are_void_and_no_sample_is_taken_in_it(frames: Frames) -> None:
    doubtful = frames.copy()
    doubtful["flags"][1000:1005] &= ~FRAME_READY
    models = Models(INSTRUMENTS, [settings(SPY, horizon_ns=SECOND)])
    told = drive(models, doubtful)
    begin, end = int(doubtful["recv_ns"][1000]), int(doubtful["recv_ns"][1005])
    times = {fact.id: now for now, fact in told if isinstance(fact, Signal)}
    assert not [now for now in times.values() if begin < now <= end + SECOND]
    spanning = {id_ for id_, now in times.items() if now <= begin < now + SECOND}
    scored = {fact.id for _, fact in told if isinstance(fact, LabelScored)}
    assert spanning and not spanning & scored
    assert models.summary()[0]["void"] == len(spanning)
    assert models.summary()[0]["learned"] == len(scored)


def test_a_silent_market_is_not_sampled_for_ever(frames: Frames) -> None:
    models = Models(INSTRUMENTS, [settings(SPY, stale_ns=2 * SECOND)])
    drive(models, frames)
    last = int(frames["recv_ns"][-1])
    told = []
    while (due := models.next_due_ns()) < last + 5 * SECOND:
        told += [(due, fact) for fact in models.due(due)]
    times = [now for now, fact in told if isinstance(fact, Signal)]
    assert times and max(times) <= last + 2 * SECOND
    assert models.summary()[0]["pending"] == 0


def test_due_far_too_late_samples_once_and_goes_on(frames: Frames) -> None:
    models = Models(INSTRUMENTS, [settings(SPY)])
    drive(models, frames)
    now_ns = int(frames["recv_ns"][-1]) + 1234 * MS + 567
    assert sum(isinstance(fact, Signal) for fact in models.due(now_ns)) == 1
    assert now_ns < models.next_due_ns() <= now_ns + 100 * MS and models.next_due_ns() % (100 * MS) == 0


def test_a_run_without_models_waits_for_nothing() -> None:
    assert Models(INSTRUMENTS, []).next_due_ns() == NEVER_NS


def test_a_prediction_that_is_no_number_is_not_told(frames: Frames) -> None:
    models = Models(INSTRUMENTS, [settings("tests.learning:Wild")])
    assert drive(models, frames) == []
    assert models.summary()[0]["predictions"] == 0 and models.summary()[0]["learned"] > 100


def test_the_river_model_finds_what_there_is_to_find() -> None:
    models = Models(INSTRUMENTS, [settings(horizon_ns=300 * MS)])
    told = drive(models, walk(12_000, seed=3))
    summary = models.summary()[0]
    assert summary["ic"] > 0.2 and summary["hit_rate"] > 0.55 and summary["r2_pct"] > 0
    signals = [fact for _, fact in told if isinstance(fact, Signal)]
    assert summary["predictions"] == len(signals)
    assert {(fact.symbol, fact.source, fact.name, fact.horizon_ns) for fact in signals} == {
        ("sim:X", "m", "m", 300 * MS)
    }
    expected = (
        "name use symbol horizon_s predictions learned retrains swaps drift_alarms "
        "ic rmse mae hit_rate r2_pct version pending"
    )
    assert set(expected.split()) <= summary.keys()


def test_drift_is_told(frames: Frames) -> None:
    calm, wild = walk(4000, seed=6), walk(4000, seed=7)
    middle = (wild["bid"][:, :1] + wild["ask"][:, :1]) // 2
    for side in ("bid", "ask"):
        wild[side] += (middle - middle[0]) * 20
    wild["recv_ns"] += calm["recv_ns"][-1] - START_NS + SECOND
    models = Models(INSTRUMENTS, [settings(horizon_ns=100 * MS, drift=ADWIN)])
    told = drive(models, np.concatenate([calm, wild]))
    alarms = [now for now, fact in told if isinstance(fact, DriftAlarm)]
    assert alarms and min(alarms) > int(wild["recv_ns"][0])
    assert models.summary()[0]["drift_alarms"] == len(alarms)


def test_models_work_side_by_side(frames: Frames) -> None:
    other = walk(2000, seed=8, symbol=1)
    mixed = np.concatenate([frames, other])
    mixed = mixed[np.argsort(mixed["recv_ns"], kind="stable")]
    together = Models(INSTRUMENTS, [settings(), settings(name="y", symbol="sim:Y", every_ns=250 * MS)])
    told = drive(together, mixed)
    alone = drive(Models(INSTRUMENTS, [settings()]), frames)
    mine = [(now, f) for now, f in told if isinstance(f, LabelScored | Signal) and f.symbol == "sim:X"]
    assert mine == alone
    assert [one["name"] for one in together.summary()] == ["m", "y"] and together.summary()[1]["predictions"] > 10


def test_a_saved_run_goes_on_as_if_nothing_had_happened(frames: Frames) -> None:
    whole, resumed = Models(INSTRUMENTS, [settings()]), Models(INSTRUMENTS, [settings()])
    drive(whole, frames[:1100])
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(whole.save()))
    resumed.load(state)
    assert drive(whole, frames[1100:]) == drive(resumed, frames[1100:])
    assert whole.summary() == resumed.summary()
    with pytest.raises(ModelError, match="saved models: expected version 3"):
        Models(INSTRUMENTS, [settings(name="other")]).load(state)


def test_a_swap_into_nothing_is_refused(frames: Frames) -> None:
    models = Models(INSTRUMENTS, [settings()])
    (unknown,) = models.swap(ModelReady(1, "ghost", "v", b"x"))
    assert unknown == ModelRefused("ghost", "v", "the run has no such model")
    (foreign,) = models.swap(ModelReady(1, "m", "v", b"x"))
    assert isinstance(foreign, ModelRefused) and "expected a payload with SHA-256 v" in foreign.reason
    with pytest.raises(ModelError, match="'ghost': expected one of m"):
        models.job("ghost")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"symbol": "sim:Z"}, "symbol: expected one of sim:X, sim:Y, found 'sim:Z'"),
        ({"horizon_ns": 0}, "horizon_ns: expected at least 1, found 0"),
        ({"min_rows": 9000}, "min_rows: expected at most window_rows"),
        ({"drift_delta": 1.0}, "drift_delta: expected between 0 and 1"),
        ({"learning_rate": -1.0}, "learning_rate: expected 0 to 1"),
        ({"hidden": ()}, "hidden: expected one or more sizes"),
        ({"use": "oracle"}, "model 'oracle': expected one of clipped-linear, conv, "),
        ({"use": "nowhere:Model"}, "expected an importable module:Class"),
        ({"use": "tests.learning:Missing"}, "expected an importable module:Class"),
        ({"use": "tests.learning:NotAModel"}, "expected a subclass of"),
    ],
)
def test_a_wrong_setting_says_what_was_expected(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ModelError) as caught:
        Models(INSTRUMENTS, [settings(**changes)])
    assert text in str(caught.value)


def test_a_model_that_raises_is_stopped_alone(frames: Frames) -> None:
    models = Models(INSTRUMENTS, [settings("tests.learning:Brittle", name="b"), settings()])
    told = drive(models, frames)
    refused = [fact for _, fact in told if isinstance(fact, ModelRefused)]
    assert refused == [ModelRefused("b", "", "stopped: it raised ZeroDivisionError: a hundred")]
    brittle, good = models.summary()
    assert brittle["stopped"] and not good["stopped"] and good["learned"] > brittle["learned"] == 99
    assert [(now, fact) for now, fact in told if isinstance(fact, Signal) and fact.source == "m"] == [
        (now, fact) for now, fact in drive(Models(INSTRUMENTS, [settings()]), frames) if isinstance(fact, Signal)
    ]
    version = hashlib.sha256(b"x").hexdigest()
    assert models.swap(ModelReady(1, "b", version, b"x")) == (
        ModelRefused("b", version, "it raised KeyError: 'weights'"),
    )


def test_a_name_is_used_once() -> None:
    with pytest.raises(ModelError, match="expected a name used once"):
        Models(INSTRUMENTS, [settings(), settings()])
