"""Labels, scores, the linear model and the drift detector by themselves."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from engine.core.events import FRAME, FRAME_READY, Frames
from engine.core.types import NEVER_NS
from engine.learn.contract import Model
from engine.learn.drift.rivers import Adwin
from engine.learn.keepsakes import chance, place
from engine.learn.labels import Labels
from engine.learn.linear.guard import TARGET_BOUND
from engine.learn.online import SPEAKS_AFTER, RiverLinear
from engine.learn.scaler import Scaler
from engine.learn.scoring import Scores
from engine.learn.window import Lent, Rows, Window, WindowLost, collect
from engine.live.recovery.codec import freeze, thaw
from tests.learning import settings

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 6))


def flat(times: list[int], mids: list[int], ready: list[bool] | None = None) -> Frames:
    """Frames with a mid and nothing else."""
    frames = np.zeros(len(times), FRAME)
    frames["recv_ns"] = times
    frames["bid"][:, 0], frames["ask"][:, 0] = np.array(mids) - 1, np.array(mids) + 1
    frames["flags"] = FRAME_READY if ready is None else np.array(ready) * FRAME_READY
    return frames


def test_a_frame_at_the_very_end_of_the_horizon_counts() -> None:
    labels = Labels(0, horizon_ns=10, capacity=4, width=1)
    labels.follow(flat([0], [1000]))
    assert labels.add(0, id=1, x=np.zeros(1), prediction=None)
    assert labels.next_due_ns() == 10
    labels.follow(flat([10, 11], [1100, 5000]))
    (one,) = labels.ripe(11)
    assert one.label == pytest.approx(math.log(1.1) * 1e4) and one.prediction is None
    assert labels.next_due_ns() == NEVER_NS


def test_nothing_ripens_early() -> None:
    labels = Labels(0, horizon_ns=10, capacity=4, width=1)
    labels.follow(flat([0], [1000]))
    labels.add(3, id=1, x=np.zeros(1), prediction=1.0)
    assert list(labels.ripe(12)) == [] and len(labels) == 1
    assert len(list(labels.ripe(13))) == 1 and len(labels) == 0


@pytest.mark.parametrize("doubt_ns", [1, 5, 10])
def test_a_moment_of_doubt_anywhere_in_between_voids_the_label(doubt_ns: int) -> None:
    labels = Labels(0, horizon_ns=10, capacity=4, width=1)
    labels.follow(flat([0], [1000]))
    labels.add(0, id=1, x=np.zeros(1), prediction=1.0)
    labels.follow(flat([doubt_ns, doubt_ns], [1000, 1000], [False, True]))
    assert list(labels.ripe(20)) == [] and labels.void == 1


def test_doubt_after_the_horizon_harms_nothing() -> None:
    labels = Labels(0, horizon_ns=10, capacity=4, width=1)
    labels.follow(flat([0], [1000]))
    labels.add(0, id=1, x=np.zeros(1), prediction=1.0)
    labels.follow(flat([11], [1000], [False]))
    assert [one.label for one in labels.ripe(11)] == [0.0]
    assert not labels.add(11, id=2, x=np.zeros(1), prediction=1.0), "no sample of a book in doubt"


def test_the_queue_is_bounded_and_says_what_it_dropped() -> None:
    labels = Labels(0, horizon_ns=10, capacity=3, width=1)
    labels.follow(flat([0], [1000]))
    taken = [labels.add(i, id=i, x=np.full(1, i), prediction=0.0) for i in range(5)]
    assert taken == [True, True, True, False, False] and labels.dropped == 2
    assert [(one.id, one.x[0]) for one in labels.ripe(100)] == [(0, 0.0), (1, 1.0), (2, 2.0)]


def test_another_symbol_is_none_of_its_business() -> None:
    labels = Labels(1, horizon_ns=10, capacity=3, width=1)
    labels.follow(flat([0], [1000]))
    assert not labels.add(0, id=1, x=np.zeros(1), prediction=0.0)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=60))
def test_running_scores_are_those_of_the_whole(pairs: list[tuple[float, float]]) -> None:
    scores = Scores()
    for prediction, label in pairs:
        scores.update(prediction, label)
    p, y = np.array(pairs).T
    assert scores.rmse == pytest.approx(np.sqrt(np.mean((y - p) ** 2)))
    assert scores.mae == pytest.approx(np.mean(np.abs(y - p)))
    told = (p != 0) & (y != 0)
    assert scores.hit_rate == pytest.approx(np.mean((p[told] > 0) == (y[told] > 0)) if told.any() else 0.0)
    if np.any(y):
        assert scores.r2 == pytest.approx(1 - np.sum((y - p) ** 2) / np.sum(y**2))
    if np.std(p) > 1e-3 and np.std(y) > 1e-3:
        assert scores.ic == pytest.approx(np.corrcoef(p, y)[0, 1], abs=1e-6)
    again = Scores()
    again.load(json.loads(json.dumps(scores.save())))
    assert again == scores


def test_scores_do_not_cancel_far_from_zero() -> None:
    rng = np.random.default_rng(1)
    p = rng.normal(size=5000)
    y = p + rng.normal(size=5000)
    near, far = Scores(), Scores()
    for a, b in zip(p.tolist(), y.tolist(), strict=True):
        near.update(a, b)
        far.update(a + 1e7, b + 1e7)
    assert far.ic == pytest.approx(near.ic, abs=1e-6)


def test_scores_before_anything_are_zero() -> None:
    scores = Scores()
    assert (scores.rmse, scores.mae, scores.ic, scores.hit_rate, scores.r2) == (0, 0, 0, 0, 0)


def test_the_linear_model_says_nothing_before_it_knows_something() -> None:
    model = RiverLinear(settings(), ["a"])
    for i in range(SPEAKS_AFTER):
        assert model.predict_one(np.ones(1)) is None
        model.learn_one(np.array([float(i % 3)]), 1.0)
    assert model.predict_one(np.ones(1)) is not None


ROW = st.tuples(st.lists(st.floats(-1e12, 1e12), min_size=3, max_size=3), st.floats(-1e6, 1e6))


@given(rows=st.lists(ROW, min_size=31, max_size=80))
@profile(max_examples=60, deadline=None)
def test_the_linear_model_never_runs_away(rows: list[tuple[list[float], float]]) -> None:
    model = RiverLinear(settings(), ["a", "b", "c"])
    largest = max(abs(y) for _, y in rows)
    for x, y in rows:
        model.learn_one(np.array(x), y)
        said = model.predict_one(np.array(x))
        assert said is None or abs(said) <= TARGET_BOUND * largest + 1e-9
    assert model.restarts == 0


def test_the_linear_model_recovers_from_absurd_rows() -> None:
    rng = np.random.default_rng(3)
    model = RiverLinear(settings(), [f"f{i}" for i in range(20)])
    scores = Scores()
    for i, x in enumerate(rng.normal(size=(8000, 20))):
        y = float(x[0] - x[1] + 0.5 * rng.normal())
        if i == 3000:
            x, y = x * 1e9, 1e9
        said = model.predict_one(x)
        if i > 4000 and said is not None:
            scores.update(said, y)
        model.learn_one(x, y)
    assert scores.ic > 0.85


def test_the_linear_model_reads_what_is_missing_as_the_usual() -> None:
    model = RiverLinear(settings(), ["a", "b"])
    rng = np.random.default_rng(4)
    for x in rng.normal(size=(500, 2)):
        model.learn_one(x, float(x[0]))
    missing, usual = model.predict_one(np.array([np.nan, 0.0])), model.predict_one(np.array([0.0, 0.0]))
    assert missing is not None and usual is not None and missing == pytest.approx(usual, abs=0.1)


def test_the_linear_model_is_saved_as_plain_json() -> None:
    names = ["a", "b"]
    model, other = RiverLinear(settings(), names), RiverLinear(settings(), names)
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(400, 2))
    for x in rows[:300]:
        model.learn_one(x, float(x[0]))
    other.load(json.loads(json.dumps(model.save())))
    for x in rows[300:]:
        assert other.predict_one(x) == model.predict_one(x)
        model.learn_one(x, float(x[1]))
        other.learn_one(x, float(x[1]))


def test_the_scaler_standardises_young_and_follows_old() -> None:
    rng = np.random.default_rng(7)
    rows = rng.normal(3.0, 2.0, size=(5000, 2))
    scaler = Scaler(2, bound=8.0)
    for row in rows:
        scaler.learn(row)
    assert scaler.scale(np.array([3.0, 5.0])) == pytest.approx([0.0, 1.0], abs=0.1)
    for row in rows * 100.0:
        scaler.learn(row)
    assert abs(float(scaler.scale(np.array([300.0, 0.0]))[0])) < 1.0
    assert float(scaler.scale(np.array([700.0, 0.0]))[0]) > 1.0
    scaler.learn(np.array([np.inf, np.nan]))
    assert np.isfinite(scaler.scale(np.array([np.inf, -np.inf]))).all()


def test_adwin_is_quiet_while_nothing_changes_and_loud_when_it_does() -> None:
    rng = np.random.default_rng(6)
    adwin = Adwin(delta=0.0005)
    calm = [adwin.update(value) for value in np.abs(rng.normal(size=5000)).tolist()]
    changed = [adwin.update(value) for value in (3 * np.abs(rng.normal(size=500))).tolist()]
    assert sum(calm) <= 1 and any(changed[:200])


def test_the_window_keeps_the_newest() -> None:
    window, other = Window(3, 2), Window(3, 2)
    for i in range(5):
        window.add(i, np.full(2, i), float(i))
    rows = window.rows()
    assert rows.times_ns.tolist() == rows.y.tolist() == rows.x[:, 1].tolist() == [2, 3, 4]
    other.load(window.save())
    assert same(other.rows(), rows)


def same(some: Rows, others: Rows) -> bool:
    return all(np.array_equal(getattr(some, name), getattr(others, name)) for name in Rows.__struct_fields__)


def test_lent_rows_stay_as_they_were_until_too_many_new_ones_come() -> None:
    """The ring has room for 80 rows more than the window: a trainer may be so late."""
    window, shared = Window(20, 2, 2), bytearray(8192)
    for i in range(33):
        window.add(i, np.full(2, i), np.full(2, i + 0.5), i + 7, 1.0 / (i + 1))
    before = window.rows()
    window.settle(shared, "here")
    lent = window.lend()
    assert (lent.name, lent.added) == ("here", 33)
    for i in range(33, 33 + 79):
        window.add(i, np.zeros(2), np.zeros(2))
    assert same(collect(lent, shared), before)
    window.add(99, np.zeros(2), np.zeros(2))
    with pytest.raises(WindowLost, match="from 13 on, found that 80 newer"):
        collect(lent, shared)


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_window_in_a_snapshot_goes_on_as_if_nothing_had_happened(is_shared: bool) -> None:
    window = Window(20, 2, memory_rows=64)
    if is_shared:
        window.settle(bytearray(window.size + 100), "here")
    for i in range(130):
        window.add(i, np.full(2, i), float(i), i + 7, 0.5)
    again = thaw(freeze(window))
    assert again.name == "" and same(again.rows(), window.rows())
    for one in (window, again):
        for i in range(130, 260):
            one.add(i, np.full(2, i), float(i), i + 7, 0.5)
    assert same(again.rows(), window.rows()) and again.rows().times_ns[-1] == 259


def test_rows_whose_labels_end_early_are_put_in_the_order_of_their_samples() -> None:
    window = Window(8, 1)
    for time in (3, 1, 2, 5, 4):
        window.add(time, np.array([float(time)]), 10.0 * time, time + 1)
    rows = window.rows()
    assert rows.times_ns.tolist() == rows.x[:, 0].tolist() == [1, 2, 3, 4, 5] and rows.y.tolist() == [
        10,
        20,
        30,
        40,
        50,
    ]


def test_a_model_may_be_twenty_lines() -> None:
    class Last(Model):
        def predict_one(self, x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float | None:
            return float(x[0])

    model = Last(settings(), ["a"])
    model.learn_one(np.ones(1), 1.0)
    model.load(model.save())
    assert model.score(1.0, -1.0) == 2.0 and model.predict_one(np.ones(1)) == 1.0


def test_older_rows_are_kept_in_blocks_and_put_in_front_of_the_window() -> None:
    window, again = Window(100, 1, memory_rows=128), Window(100, 1, memory_rows=128)
    for i in range(1000):
        window.add(i, np.array([float(i)]), 2.0 * i, i + 3, 0.5)
    again.load(window.save())
    for i in range(1000, 1400):
        for one in (window, again):
            one.add(i, np.array([float(i)]), 2.0 * i, i + 3, 0.5)
    rows = window.rows()
    assert rows.kept == 128 and rows.times_ns[rows.kept :].tolist() == list(range(1300, 1400))
    assert np.all(np.diff(rows.times_ns) > 0) and rows.times_ns[0] < 1300 - 64
    starts = rows.times_ns[: rows.kept : 64]
    assert np.all(starts % 64 == 0) and rows.times_ns[64] == starts[1]
    assert np.array_equal(rows.y, 2.0 * rows.times_ns) and np.array_equal(rows.ends_ns, rows.times_ns + 3)
    assert same(again.rows(), rows)


def test_each_block_is_as_likely_to_be_kept_as_any_other() -> None:
    """Over runs of 40 blocks with room for 4: numbers shifted, as chance depends on them."""
    kept = np.zeros(40)
    for run in range(2000):
        slots: list[int] = [-1] * 4
        for number in range(40):
            at = number if number < 4 else chance(1_000_003 * run + number) % (number + 1)
            if at < 4:
                slots[at] = number
        kept[slots] += 1
    assert np.all(np.abs(kept / 2000 - 0.1) < 0.035)
    assert [place(number, 4) for number in range(4)] == [0, 1, 2, 3]


@given(
    st.lists(st.tuples(st.sampled_from(["add", "lend", "clear", "collect", "save"]), st.integers(1, 90)), max_size=60)
)
def test_lent_rows_are_what_they_were_or_an_error(steps: list[tuple[str, int]]) -> None:
    """Model-based: a plain list of rows beside the window."""
    window, memory = Window(30, 1, memory_rows=64), bytearray(1 << 14)
    window.settle(memory)
    rows: list[int] = []
    begun = 0
    lent: tuple[Lent, list[int]] | None = None
    for word, count in steps:
        if word == "add":
            for _ in range(count):
                window.add(len(rows), np.array([float(len(rows))]), float(len(rows)))
                rows.append(len(rows))
        elif word == "clear":
            window.clear()
            begun = len(rows)
        elif word == "lend":
            lent = window.lend(), rows[max(begun, len(rows) - 30) :]
        elif word == "save":
            window.load(window.save())
        elif lent is not None:
            try:
                found = collect(lent[0], memory)
            except WindowLost:
                assert len(rows) - lent[0].added > 64
            else:
                assert found.times_ns[found.kept :].tolist() == lent[1]
                assert not lent[1] or np.all(found.times_ns[: found.kept] < lent[1][0])
    assert len(window) == min(len(rows) - begun, 30)
