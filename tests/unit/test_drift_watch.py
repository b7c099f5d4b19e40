"""Thresholds found in slices, the watch over a model's labels, and the judgement of alarms."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.learn.drift.budget import alarms_in, bootstrap_rows
from engine.learn.drift.contract import DriftError, Floats, Ranked
from engine.learn.drift.cusum import Cusum
from engine.learn.drift.grading import Case, Grader
from engine.learn.drift.joint import Joint
from engine.learn.drift.kinds import kind_since
from engine.learn.drift.scan import Scan
from engine.learn.drift.settings import ANSWERS, DETECTORS, DriftSettings
from engine.learn.drift.tuning import Tuning
from engine.learn.drift.watch import Alarm, Graded, Watch
from engine.learn.drift.windows import Psi
from tests.drifting import rough

EVERY_NS = 100_000_000
QUICK = DriftSettings(alarms=1.0, span_ns=20_000 * EVERY_NS, past=1000, warm=500, settle=100, grade=400, late=300)
"""A false alarm in 20,000 labels: few streams are enough."""


def watch(settings: DriftSettings = QUICK, names: tuple[str, ...] = ("a", "b")) -> Watch:
    return Watch(settings, names, delta=0.0005, every_ns=EVERY_NS, seed=7)


def pairs(rows: int, seed: int, turn: int = 1 << 60) -> tuple[Floats, Floats]:
    """Predictions and labels that go together, until from ``turn`` on they go against each other."""
    chance = np.random.default_rng(seed)
    said = chance.normal(size=rows)
    true = np.where(np.arange(rows) < turn, 0.6, -0.6) * said + chance.normal(size=rows)
    return said, true


def play(one: Watch, said: Floats, true: Floats, x: Floats | None = None) -> list[tuple[int, Alarm | Graded]]:
    told: list[tuple[int, Alarm | Graded]] = []
    for at, (p, y) in enumerate(zip(said.tolist(), true.tolist(), strict=True)):
        row = np.zeros(2) if x is None else x[at]
        both = (one.judge(p, p, y), one.update(row, p, y, abs(y - p)))
        told += [(at, fact) for fact in both if fact is not None]
    return told


@pytest.mark.parametrize("make", [Scan, lambda: Scan("spread"), Cusum, Psi], ids=["scan", "spread", "cusum", "psi"])
def test_a_detector_fires_in_a_stream_exactly_when_its_peak_is_above_the_threshold(make: Any) -> None:
    values = rough(9000, seed=3)
    part: Ranked = make()
    peak = float(part.peaks(values).max())
    assert peak > 0.0
    for factor, fires in ((1.0 + 1e-9, False), (1.0 - 1e-9, True)):
        part.threshold = peak * factor
        assert (part.run(values) >= 0) is fires
        part.reset()


def test_thresholds_found_in_slices_keep_the_budget_on_streams_that_they_were_not_found_on() -> None:
    past = np.column_stack([rough(6000, seed=1), rough(6000, seed=2)])
    parts: list[Ranked] = [Scan("location"), Scan("spread")]
    tuning = Tuning(parts, past, per=50_000, seed=1)
    while not tuning.is_done:
        tuning.step()
    tuning.apply(parts)
    alarms = 0
    for number in range(40):
        rows = bootstrap_rows(len(past), 20_000, seed=500_000 + number)
        alarms += sum(len(alarms_in(part, past[rows, at])) for at, part in enumerate(parts))
    assert alarms <= 40 * 20_000 / 50_000 * 1.75  # 16 allowed; the rest is chance


def test_a_tuning_that_is_saved_half_way_ends_as_it_would_have() -> None:
    past = rough(2000, seed=4)[:, None]
    whole = Tuning([Scan()], past, per=30_000, seed=2)
    for _ in range(5):
        whole.step()
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(whole.save()))
    resumed = Tuning.restored([Scan()], state)
    while not whole.is_done:
        whole.step()
        resumed.step()
    assert resumed.is_done and resumed.thresholds() == whole.thresholds()


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_past_that_never_varied_leaves_thresholds_that_noise_does_not_pass_by_being_noise(value: float) -> None:
    part = Scan()
    tuning = Tuning([part], np.full((1000, 1), value), per=20_000, seed=1)
    while not tuning.is_done:
        tuning.step()
    assert tuning.thresholds() == [part.floor]


def test_a_turn_is_told_with_its_signal_and_graded_true_and_what_never_turns_is_not() -> None:
    one = watch()
    told = play(one, *pairs(12_000, seed=1, turn=8000))
    (when, alarm), (judged, graded) = told[0], told[1]
    assert isinstance(alarm, Alarm) and isinstance(graded, Graded)
    assert 8000 < when < 8700 and judged == when + QUICK.grade
    assert alarm.number == 1 and alarm.value > alarm.threshold
    assert "tuned to a false alarm in 20,000 labels" in alarm.reason
    assert (graded.grade, graded.kind) == ("true", "abrupt")
    assert graded.after > graded.usual > graded.before
    assert play(watch(), *pairs(12_000, seed=1)) == []


def test_an_alarm_on_a_stream_that_only_grew_is_harmless() -> None:
    said, true = pairs(9000, seed=5)
    grow = np.where(np.arange(9000) < 5000, 1.0, 3.0)
    told = play(watch(), said * grow, true * grow)
    grades = [fact.grade for _, fact in told if isinstance(fact, Graded)]
    assert grades[:1] == ["harmless"]


def test_a_loss_that_was_high_long_before_the_alarm_is_late() -> None:
    case = Case(1, np.concatenate([np.full((3000, 2), (0.5, 1.0)), np.full((700, 2), (1.5, 1.0))]), 400, 300, 1)
    for _ in range(400):
        whole = case.add((1.5, 1.0), (0.6, 1.0))
    assert whole and case.grade == "late" and case.lately == 1.5
    assert (case.after, round(case.answered, 9), round(case.before, 9)) == (1.5, 0.6, 0.5)


def test_too_few_labels_before_an_alarm_tell_no_grade() -> None:
    case = Case(1, np.ones((499, 2)), 400, 0, 1)
    while not case.add((9.0, 1.0), (9.0, 1.0)):
        pass
    assert case.grade == "unknown" and math.isnan(case.usual)


def test_who_always_fires_is_mostly_wrong_and_who_never_does_misses_the_turn() -> None:
    grader = Grader(QUICK, seed=3)
    said, true = pairs(20_000, seed=8, turn=15_000)
    for p, y in zip(said.tolist(), true.tolist(), strict=True):
        error = ((y - p) ** 2, y * y)
        grader.update(error, error)
    always, never = grader.counts["always"], grader.counts["never"]
    assert always["harmless"] > 30 and 1 <= always["true"] <= 6
    assert never == {"true": 0, "harmless": 0, "late": 0, "unknown": 0, "missed": always["true"]}
    assert grader.counts["detector"]["missed"] >= 1


@pytest.mark.parametrize(
    "settings",
    [
        QUICK,
        msgspec.structs.replace(QUICK, also=("joint", "label", "prediction", "log_abs", "feature:b")),
        msgspec.structs.replace(QUICK, detector="cusums"),
        DriftSettings(detector="adwin"),
        DriftSettings(detector="page-hinkley"),
        DriftSettings(detector="always"),
        DriftSettings(detector="none"),
    ],
    ids=["scans", "more", "cusums", "adwin", "page-hinkley", "always", "none"],
)
def test_a_watch_that_is_saved_at_any_time_goes_on_as_if_nothing_had_happened(settings: DriftSettings) -> None:
    said, true = pairs(6200, seed=2, turn=4000)
    x = np.random.default_rng(9).normal(size=(6200, 2))
    whole, cuts = watch(settings), (0, 37, 800, 1130, 1190, 3000, 4350, 4800, 6200)
    alarms = 0
    for begin, end in itertools.pairwise(cuts):
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(whole.save()))
        resumed = watch(settings)
        resumed.load(state)
        assert resumed.summary() == whole.summary()
        part = slice(begin, end)
        told = play(whole, said[part], true[part], x[part])
        assert play(resumed, said[part], true[part], x[part]) == told
        assert msgspec.msgpack.encode(resumed.save()) == msgspec.msgpack.encode(whole.save())  # nan is nan
        alarms += len(told)
    assert (alarms > 0) == (settings.detector != "none")


@pytest.mark.parametrize("name", ["nan", "constant", "zero", "exploding", "infinite", "alternating"])
def test_absurd_streams_are_contained_and_counted(name: str) -> None:
    settings = msgspec.structs.replace(QUICK, also=("joint", "label", "prediction", "feature:a"))
    one, count = watch(settings), 5000
    streams = {
        "nan": (np.full(count, np.nan), np.full(count, np.nan)),
        "constant": (np.full(count, 2.0), np.full(count, 2.0)),
        "zero": (np.zeros(count), np.zeros(count)),
        "exploding": (np.logspace(0, 300, count), np.ones(count)),
        "infinite": (np.full(count, np.inf), np.full(count, -np.inf)),
        "alternating": (np.resize([1e308, -1e308], count), np.resize([1e5, 0.0], count)),
    }
    said, true = streams[name]
    x = np.resize([[1e300, np.nan], [np.inf, 1.0], [-np.inf, -1e300]], (count, 2))
    play(one, said, true, x)
    assert (one.odd > 0) == (name not in ("constant", "zero"))
    assert "odd" in one.summary() and all(map(math.isfinite, one.summary()["thresholds"]))
    said, true = pairs(9000, seed=1, turn=6000)
    told = [fact for at, fact in play(one, said, true) if at > 6000 and isinstance(fact, Alarm)]
    assert told, "a stream that has become sane again is watched"


def test_a_row_in_a_direction_that_rows_do_not_take_is_far_though_no_column_is() -> None:
    chance = np.random.default_rng(3)
    both = chance.normal(size=(9000, 1)) + 0.05 * chance.normal(size=(9000, 2))
    apart = both.copy()
    apart[5000:, 1] *= -1.0
    settings = msgspec.structs.replace(QUICK, also=("joint",))
    said, true = pairs(9000, seed=4)
    told = [fact for _, fact in play(watch(settings), said, true, apart) if isinstance(fact, Alarm)]
    assert [one.signal for one in told[:1]] == ["joint"]
    assert not [fact for _, fact in play(watch(settings), said, true, both) if isinstance(fact, Alarm)]
    with pytest.raises(DriftError, match="expected at most 64 features, found 65"):
        Joint(65, 100)


def test_kinds_are_told_where_blocks_can_be_told_apart() -> None:
    chance = np.random.default_rng(6)
    before, noise = chance.normal(size=2000), chance.normal(size=2000)
    ramp = np.linspace(0.0, 1.0, 2000)
    assert kind_since(before, noise + 3.0) == "abrupt"
    assert kind_since(before, noise + 4.0 * ramp) == "incremental"
    assert kind_since(before, noise + 0.1) == "unclear"
    assert kind_since(before[:10], noise) == kind_since(before, np.full(2000, np.nan)) == "unclear"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"detector": "scan"}, "expected one of scans, cusums, adwin"),
        (
            {"answers": ("panic",)},
            "expected some of alert, retrain, begin-anew, specialist, shrink, stand-aside, found 'panic'",
        ),
        ({"also": ("feature",)}, "expected some of label, prediction, log_abs, joint or feature:NAME"),
        ({"detector": "adwin", "also": ("label",)}, "whose budget it shares, found 'adwin'"),
        ({"alarms": 0.0}, "expected alarms in a span, found 0.0"),
        ({"span_ns": 10**9}, "to 2,500,000 labels, found one in 10: no threshold can be found for that; allow fewer"),
        ({"span_ns": 10**17}, "allow more alarms"),
        ({"warm": 510}, "expected a multiple of 50, found 510"),
        ({"past": 10}, "past: expected at least 500, found 10"),
        ({"size": 2.0}, "size: expected 0 to 1, found 2.0"),
        ({"threshold": -1.0}, "threshold: expected at least 0, found -1.0"),
    ],
)
def test_a_wrong_setting_says_what_was_expected(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(DriftError) as caught:
        msgspec.structs.replace(DriftSettings(span_ns=20_000 * EVERY_NS), **changes).check("model m", EVERY_NS)
    assert text in str(caught.value)


def test_a_feature_that_is_not_read_is_refused() -> None:
    with pytest.raises(DriftError, match="expected a feature that the model reads, found 'c'"):
        watch(msgspec.structs.replace(QUICK, also=("feature:c",)))


def test_every_detector_and_answer_is_in_the_table_of_the_readme() -> None:
    text = (Path(__file__).parents[2] / "engine/learn/drift/README.md").read_text()
    assert [one for one in (*DETECTORS, *ANSWERS) if f"`{one}`" not in text] == []
