"""Every kind of label is what a slow reading of all frames says, at any cut, over doubt, silence and jumps."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from engine.core.events import FRAME_READY, FRAME_TRADE, Frames
from engine.core.records import LabelScored, Signal
from engine.core.types import NEVER_NS
from engine.features.set import Vector
from engine.learn.contract import Model, ModelError
from engine.learn.label_sets import LabelSet
from engine.learn.labels import Labels, Matured
from engine.learn.models import Models
from engine.learn.purge import overlaps, trainable, walk_forward
from engine.learn.targets import KINDS, LabelOptions, Target
from engine.learn.window import Window
from tests.frames import MS, SECOND, START_NS, walk
from tests.learning import INSTRUMENTS, drive, settings

EVERY = 100 * MS
HORIZON = 700 * MS
OPTIONS = LabelOptions(band_bps=0.02, band_half_spreads=1.0, profit=0.8, stop=0.6, volatility_half_life_ns=SECOND)


@pytest.fixture(scope="module")
def frames() -> Frames:
    found = walk(1500, seed=4)
    found["flags"][700] &= ~FRAME_READY  # a moment of doubt
    return found


def run(
    frames: Frames, kind: str, cut: int = 1, options: LabelOptions = OPTIONS, horizon_ns: int = HORIZON
) -> tuple[list[Matured], Labels]:
    """Sample each 100 ms from a second on; frames come in parts of at most ``cut``, saved and loaded in the middle."""
    labels = Labels(0, horizon_ns, horizon_ns // EVERY + 2, 1, kind, options)
    told: list[Matured] = []
    done = 0
    for number, now in enumerate(range(START_NS + SECOND, int(frames["recv_ns"][-1]), EVERY), 1):
        upto = int(np.searchsorted(frames["recv_ns"], now))
        for at in range(done, upto, cut):
            labels.follow(frames[at : min(at + cut, upto)])
        done = upto
        told += labels.ripe(now)
        labels.add(now, id=number, x=np.full(1, number), prediction=float(number))
        if number == 60:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(labels.save()))
            labels = Labels(0, horizon_ns, horizon_ns // EVERY + 2, 1, kind, options)
            labels.load(state)
    return told, labels


class Slow:
    """The labels by plain loops over all frames."""

    def __init__(self, frames: Frames, options: LabelOptions, horizon_ns: int) -> None:
        self.frames, self.options, self.horizon_ns = frames, options, horizon_ns
        self.times = frames["recv_ns"]
        self.bid, self.ask = frames["bid"][:, 0].astype(float), frames["ask"][:, 0].astype(float)
        self.mid = (self.bid + self.ask) / 2.0

    def volatility(self, at: int, now: int) -> float:
        """Of the horizon before now, bps; ``at`` is the last frame."""
        first = 701 if at > 700 else 0
        rate = math.log(2.0) / (self.options.volatility_half_life_ns * 1e-9)
        total = sum(
            math.log(self.mid[i] / self.mid[i - 1]) ** 2 * math.exp(-rate * (now - self.times[i]) * 1e-9)
            for i in range(first + 1, at + 1)
        )
        weight = 1.0 - math.exp(-rate * (now - self.times[first]) * 1e-9)
        if weight < 1.0 - math.exp(-rate):
            return self.options.least_volatility_bps
        return max(self.options.least_volatility_bps, math.sqrt(total * rate / weight * self.horizon_ns * 1e-9) * 1e4)

    def label(self, kind: str, now: int) -> tuple[float, int] | None:
        """The label and when it is known."""
        options, due = self.options, now + self.horizon_ns
        begin, end = int(np.searchsorted(self.times, now)) - 1, int(np.searchsorted(self.times, due, "right")) - 1
        # A frame at the very end of the horizon comes before the label is given, unless the label is asked for first.
        change = math.log(self.mid[end] / self.mid[begin]) * 1e4
        span = range(begin + 1, end + 1)
        doubt = 700 in span
        if kind == "volatility":
            moved = math.sqrt(sum(math.log(self.mid[i] / self.mid[i - 1]) ** 2 for i in span)) * 1e4
            return None if doubt else (math.log(max(moved, options.least_volatility_bps)), due)
        if kind == "direction":
            half = 1e4 * (self.ask[begin] - self.bid[begin]) / 2.0 / self.mid[begin]
            band = options.band_bps + options.band_half_spreads * half
            return None if doubt else (0.0 if abs(change) <= band else math.copysign(1.0, change), due)
        if kind in ("return", "scaled_return"):
            return None if doubt else (change / (self.volatility(begin, now) if kind != "return" else 1.0), due)
        for i in span:
            if i == 700:
                return None
            if kind == "triple_barrier":
                unit = self.volatility(begin, now) if options.barrier == "volatility" else 1.0
                moved = math.log(self.mid[i] / self.mid[begin]) * 1e4
                if moved >= options.profit * unit or moved <= -options.stop * unit:
                    said = moved if options.outcome == "return" else math.copysign(1.0, moved)
                    return said, int(self.times[i])
            price = self.bid[begin] if kind == "fill_bid" else self.ask[begin]
            side = 1.0 if kind == "fill_bid" else -1.0
            other = self.ask[i] if kind == "fill_bid" else self.bid[i]
            last = float(self.frames["last_price"][i]) if self.frames["flags"][i] & FRAME_TRADE else price
            if kind.startswith("fill") and (side * (other - price) <= 0.0 or side * (last - price) < 0.0):
                return (self.times[i] - now) * 1e-9, int(self.times[i])
        if kind == "triple_barrier":
            return (change if options.outcome == "return" else 0.0), due
        return self.horizon_ns * 1e-9, due


CASES: list[tuple[str, dict[str, Any]]] = [(kind, {}) for kind in KINDS]
CASES += [("triple_barrier", {"barrier": "bps", "outcome": "return", "profit": 0.2, "stop": 0.3})]


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_it_is_what_a_slow_reading_says_at_any_cut(frames: Frames, kind: str, changes: dict[str, Any]) -> None:
    options = msgspec.structs.replace(OPTIONS, **changes)
    told, labels = run(frames, kind, 1, options)
    again, _ = run(frames, kind, 10_000, options)
    assert [(one.id, one.label, one.end_ns, one.weight) for one in told] == [
        (one.id, one.label, one.end_ns, one.weight) for one in again
    ]
    slow = Slow(frames, options, HORIZON)
    assert len(told) > 100 and labels.void >= (1 if KINDS[kind].is_early else 7) and not labels.dropped
    early = 0
    for one in told:
        found = slow.label(kind, one.sample_ns)
        assert found is not None, one.id
        assert one.label == pytest.approx(found[0], abs=1e-9) and one.end_ns == found[1]
        assert one.sample_ns < one.end_ns <= one.sample_ns + HORIZON and one.x[0] == one.id == one.prediction
        early += one.end_ns < one.sample_ns + HORIZON
    assert (early > 20) == KINDS[kind].is_early
    assert len({round(one.label, 6) for one in told}) > 2 or kind == "direction"
    assert [one.end_ns for one in told] == sorted(one.end_ns for one in told)


@pytest.mark.parametrize("kind", ["return", "triple_barrier"])
def test_the_weight_is_the_mean_of_one_over_the_labels_alive(frames: Frames, kind: str) -> None:
    calm = frames[:600]
    told, _ = run(calm, kind)
    ends = {one.sample_ns: one.end_ns for one in told}
    slow = Slow(calm, OPTIONS, HORIZON)
    for now in range(START_NS + SECOND, int(calm["recv_ns"][-1]), EVERY):
        ends.setdefault(now, (slow.label(kind, now) or (0.0, 0))[1])
    edges = sorted({*ends, *ends.values()})
    for one in told[:-8]:
        shares = 0.0
        for low, high in pairwise(edges):
            if one.sample_ns <= low < one.end_ns:
                shares += (high - low) / sum(start <= low < end for start, end in ends.items())
        assert one.weight == pytest.approx(shares / (one.end_ns - one.sample_ns), rel=1e-9)
    if kind == "return":
        assert told[20].weight == pytest.approx(EVERY / HORIZON)


def test_what_never_comes_is_bounded_and_counted() -> None:
    frames = walk(300)
    labels = Labels(0, HORIZON, 9, 1, stale_ns=2 * SECOND)
    labels.follow(frames)
    now = int(frames["recv_ns"][-1]) + 1
    # Time stands still: the same moment is taken once.
    assert labels.add(now, id=1, x=np.zeros(1), prediction=1.0)
    assert not labels.add(now, id=2, x=np.zeros(1), prediction=1.0)
    assert not labels.add(now - 5, id=3, x=np.zeros(1), prediction=1.0)
    assert labels.unordered == 2
    # It crawls: the queue is full, and says so.
    for step in range(1, 50):
        labels.add(now + step, id=step + 3, x=np.zeros(1), prediction=1.0)
    assert len(labels) == 9 and labels.dropped == 41
    # The feed is dead and time goes on: what ends within two seconds of the last frame counts, later ends do not.
    assert len(list(labels.ripe(now + SECOND))) == 9 and labels.next_due_ns() == NEVER_NS
    assert labels.add(now + 2 * SECOND, id=90, x=np.zeros(1), prediction=1.0)
    assert list(labels.ripe(now + 3600 * SECOND)) == [] and labels.void == 1 and len(labels) == 0


def test_a_clock_that_jumps_gives_no_label_across_the_jump_and_goes_on() -> None:
    frames = walk(600)
    frames["recv_ns"][300:] += 3600 * SECOND
    models = Models(INSTRUMENTS, [settings("tests.learning:Spy", horizon_ns=SECOND, stale_ns=5 * SECOND)])
    told = drive(models, frames)
    sampled = {fact.id: now for now, fact in told if isinstance(fact, Signal)}
    scored = [(now, sampled[fact.id]) for now, fact in told if isinstance(fact, LabelScored)]
    assert len(scored) > 15 and all(now - then == SECOND for now, then in scored)
    back = frames.copy()
    back["recv_ns"][400:] -= 30 * SECOND  # frames that say an earlier time
    labels = Labels(0, SECOND, 20, 1)
    labels.follow(back)
    assert labels.add(int(back["recv_ns"].max()) + 1, id=1, x=np.zeros(1), prediction=0.0)


class Gappy(Model):
    """Predicts nothing finite, and hears rows with holes."""

    trains = True

    def predict_one(self, x: Vector) -> float | None:
        return float("inf")


def test_a_row_with_a_hole_is_counted_and_not_trained_on() -> None:
    window = Window(4, 2)
    window.add(1, np.array([1.0, np.nan]), 1.0, 2)
    window.add(2, np.array([1.0, 2.0]), float("nan"), 3)
    window.add(3, np.array([1.0, 2.0]), 1.0, 4, 0.5)
    assert len(window) == 1 and window.holes == 2 and window.rows().weights.tolist() == [0.5]
    models = Models(INSTRUMENTS, [settings("tests.unit.test_learn_labels:Gappy")])
    assert not [fact for _, fact in drive(models, walk(400)) if isinstance(fact, Signal)]


class Both(Model):
    """Learns from all of its labels, and answers the first two."""

    trains = True

    def predict_one(self, x: Vector) -> float | None:
        return 0.5

    def predict_all(self, x: Vector) -> tuple[float | None, ...]:
        return (0.5, -1.0, None)

    def learn_all(self, x: Vector, y: Vector) -> None:
        self.heard = getattr(self, "heard", [])
        self.heard.append(y.tolist())


def test_a_model_with_several_labels_hears_all_of_them_in_a_row(frames: Frames) -> None:
    names = ("return@1s", "return@500ms", "triple_barrier@2s")
    use = "tests.unit.test_learn_labels:Both"
    models = Models(INSTRUMENTS, [settings(use, labels=names, label_options=OPTIONS)])
    told = drive(models, frames)
    slot = models.slot("m")
    said = {(fact.name, fact.horizon_ns, fact.value) for _, fact in told if isinstance(fact, Signal)}
    assert said == {("m", SECOND, 0.5), ("m/return@500ms", 500 * MS, -1.0)}
    job = models.job("m")
    assert job.y.shape == (len(job.times_ns), 3) and len(job.y) > 80
    assert isinstance(slot.model, Both) and sorted(map(tuple, slot.model.heard)) == sorted(map(tuple, job.y.tolist()))
    for at, text in enumerate(names):
        kind, _, horizon = text.partition("@")
        span = {"1s": SECOND, "500ms": 500 * MS, "2s": 2 * SECOND}[horizon]
        slow = Slow(frames, OPTIONS, span)
        for now, y in zip(job.times_ns.tolist(), job.y[:, at].tolist(), strict=True):
            found = slow.label(kind, now)
            assert found is not None and y == pytest.approx(found[0], abs=1e-9)
    assert job.ends_ns is not None and job.weights is not None
    assert np.all(job.ends_ns > job.times_ns + SECOND - 1) and np.all((job.weights > 0) & (job.weights <= 1))
    assert np.all(np.diff(job.times_ns) > 0)
    again = Models(INSTRUMENTS, [settings(use, labels=names, label_options=OPTIONS)])
    saved = msgspec.msgpack.encode(models.save())
    again.load(msgspec.msgpack.decode(saved))
    assert msgspec.msgpack.encode(again.save()) == saved and len(again.slot("m").labels) > 5


def test_a_set_of_labels_is_bounded_when_time_crawls() -> None:
    both = LabelSet(0, (Target("return", SECOND), Target("return", 2 * SECOND)), EVERY, 1)
    frames = walk(300)
    both.follow(frames)
    now = int(frames["recv_ns"][-1]) + 1
    taken = [both.add(now + step, step, np.zeros(1), [0.0, 0.0], -1) for step in range(100)]
    assert sum(taken) == len(both) == 12 and both.dropped == 88
    assert len(list(both.ripe(now + 3 * SECOND))) == 12 and len(both) == 0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"label": "profit"}, "label: expected one of return, scaled_return"),
        ({"labels": ("return@5s",)}, "labels: expected return@1s first"),
        ({"labels": ("return@1s", "return@1000ms")}, "expected each label once"),
        ({"labels": ("return@1s", "return@soon")}, "expected a horizon such as 500ms"),
        ({"label_options": LabelOptions(band_bps=float("nan"))}, "label_options.band_bps: expected at least 0"),
        ({"label_options": LabelOptions(least_volatility_bps=0.0)}, "expected more than 0"),
    ],
)
def test_a_label_that_cannot_be_is_refused_in_words(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ModelError, match=text):
        settings(**changes).check()


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), min_size=6, max_size=60)


@given(SPANS, st.integers(1, 4), st.integers(0, 10))
@profile(deadline=None)
def test_nothing_that_trains_shares_time_with_what_validates(
    spans: list[tuple[int, int]], folds: int, embargo: int
) -> None:
    starts, lengths = np.array(sorted(spans), np.int64).T
    ends = starts + lengths
    for train, test in walk_forward(starts, ends, folds):
        assert not len(train) or ends[train].max() <= starts[test].min()
    middle = np.arange(len(starts) // 3, len(starts) // 2)
    if len(middle):
        low, high = int(starts[middle].min()), int(ends[middle].max())
        kept = trainable(starts, ends, middle, embargo)
        assert not overlaps(starts[kept], ends[kept], low, high).any()
        assert not ((starts[kept] >= low) & (starts[kept] < high + embargo)).any()
        left = np.setdiff1d(np.arange(len(starts)), np.concatenate((kept, middle)))
        touched = overlaps(starts[left], ends[left], low, high)
        assert (touched | ((starts[left] >= high) & (starts[left] < high + embargo))).all(), "purged more than it must"
