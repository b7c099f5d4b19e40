"""Scores of models: equal to those of the whole arrays, with intervals that hold, saved and taken back exactly."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from engine.core.events import FRAME_READY, Frames
from engine.core.records import LabelScored
from engine.learn.blocks import MOST, BlockSums
from engine.learn.curves import DELAYS_NS, FACTORS, Curves
from engine.learn.estimates import Interval, correlation_interval, moments, pearson, ranks
from engine.learn.labels import Matured
from engine.learn.models import Models
from engine.learn.recent import CAPACITY, Recent
from engine.learn.scorebook import REGIMES, Scorebook
from engine.learn.targets import Target
from engine.learn.value import Value
from tests.frames import MS, SECOND, START_NS, walk
from tests.learning import INSTRUMENTS, drive, settings
from tests.unit.test_intervals import HORIZON, overlapping

Floats = npt.NDArray[np.float64]


def plain(state: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state))


def book_of(p: Floats, y: Floats, **changes: Any) -> Scorebook:
    book = Scorebook(Target("return", SECOND), 100 * MS, 0.5)
    for at, (prediction, label) in enumerate(zip(p.tolist(), y.tolist(), strict=True)):
        book.update(Matured(at, at, prediction, label, np.zeros(1), **changes))
    return book


def naive(p: Floats, y: Floats) -> Interval:
    """As if rows were independent."""
    rho = math.atanh(pearson(p, y))
    reach = 1.96 / math.sqrt(len(p) - 3)
    return Interval(math.tanh(rho - reach), math.tanh(rho + reach))


@pytest.mark.parametrize("signal", [0.0, 0.1])
def test_the_running_intervals_cover_the_truth_over_labels_that_overlap(signal: float) -> None:
    truth = pearson(*overlapping(10**6, 200_000, signal))
    rank_truth = pearson(*(ranks(one) for one in overlapping(10**6, 200_000, signal)))
    hits = {"blocks": 0, "rank": 0, "naive": 0}
    for seed in range(150):
        p, y = overlapping(seed, 3000, signal)
        blocks, recent = BlockSums(4 * HORIZON), Recent(HORIZON // 2, 8)
        for prediction, label in zip(p.tolist(), y.tolist(), strict=True):
            blocks.add(prediction, label)
            recent.add(prediction, label)
        found, around = blocks.interval(), recent.spearman()[1]
        assert found is not None and around is not None
        hits["blocks"] += found.low <= truth <= found.high
        hits["rank"] += around.low <= rank_truth <= around.high
        hits["naive"] += naive(p, y).low <= truth <= naive(p, y).high
    assert hits["blocks"] >= 0.88 * 150 and hits["rank"] >= 0.88 * 150, hits
    assert hits["naive"] <= 0.6 * 150, hits


def test_blocks_join_in_bounded_memory_and_come_back_exactly() -> None:
    p, y = overlapping(1, 30_000, 0.2)
    blocks, again = BlockSums(10), BlockSums(10)
    for at, (prediction, label) in enumerate(zip(p.tolist(), y.tolist(), strict=True)):
        blocks.add(prediction, label)
        again.add(prediction, label)
        if at == 12_345:
            saved = plain(again.save())
            again = BlockSums(10)
            again.load(saved)
    assert again.save() == blocks.save() and blocks.rows == 320
    kept = len(blocks.save()["whole"]) // 48
    assert MOST // 2 <= kept < MOST
    sums = moments(p - p[0], y - y[0])[: kept * 320].reshape(kept, 320, 6).sum(axis=1)
    rest = moments(p - p[0], y - y[0])[kept * 320 :].sum(axis=0)
    whole = np.vstack((sums, rest)) if 2 * rest[0] >= 320 else np.vstack((sums[:-1], sums[-1] + rest))
    assert blocks.interval() == pytest.approx(correlation_interval(whole), abs=1e-9)
    assert BlockSums(10).interval() is None


def test_the_book_says_what_the_arrays_say() -> None:
    p, y = overlapping(2, 1500, 0.4)
    last = np.roll(y, 7)
    book = Scorebook(Target("return", SECOND), 100 * MS, 0.5)
    for at in range(len(p)):
        before = None if at < 7 else float(last[at])
        book.update(
            Matured(
                at, at, float(p[at]), float(y[at]), np.zeros(1), 0, 1.0, 0.4, before, at % 3, float(y[at]), unit_bps=1.0
            )
        )
    told = book.summary()
    assert told["ic"] == pytest.approx(pearson(p, y), abs=1e-5)
    assert told["ic_low"] < told["ic"] < told["ic_high"] and told["spearman_low"] < told["spearman"]
    assert told["spearman"] == pytest.approx(pearson(ranks(p[::5]), ranks(y[::5])), abs=1e-5)
    assert told["r2_last_pct"] == pytest.approx(
        100 - 100 * np.sum((y - p)[7:] ** 2) / np.sum((y - last)[7:] ** 2), abs=1e-4
    )
    slope, intercept = np.polyfit(p, y, 1)
    assert (told["slope"], told["intercept"]) == pytest.approx((slope, intercept), abs=1e-4)
    assert told["gross_bps"] == pytest.approx(np.mean(np.sign(p) * y), abs=1e-5)
    traded = np.abs(p) > 0.4 + 2 * 0.5
    assert told["trades"] == int(traded.sum()) > 50
    assert told["net_bps"] == pytest.approx(np.mean((np.sign(p) * y - 1.4)[traded]), abs=1e-5)
    assert [row[2] for row in told["reliability"]] == [30] * 10
    assert [row[0] for row in told["reliability"]] == sorted(row[0] for row in told["reliability"])
    assert told["regimes"].keys() == {"0", "1", "2"}
    assert told["regimes"]["1"]["ic"] == pytest.approx(pearson(p[1::3], y[1::3]), abs=1e-5)
    assert told["log_loss"] is None
    other = Scorebook(Target("return", SECOND), 100 * MS, 0.5)
    other.load(plain(book.save()))
    assert other.save() == book.save() and other.summary() == told


def test_a_book_is_bounded_and_says_none_before_it_knows() -> None:
    empty = Scorebook(Target("direction", SECOND), 100 * MS, 0.0).summary()
    unknown = {"ic_low", "ic_high", "spearman", "log_loss", "gross_bps", "net_bps", "r2_last_pct"}
    assert all(empty[name] is None for name in unknown) and empty["reliability"] == [] and empty["pairs"] == 0
    rng = np.random.default_rng(1)
    book = Scorebook(Target("return", SECOND), 100 * MS, 0.0)
    sizes = []
    for at, (prediction, label) in enumerate(rng.normal(size=(20_000, 2)).tolist()):
        book.update(Matured(at, at, prediction, label, np.zeros(1), regime=at % 20))
        if at in (9_999, 19_999):
            sizes.append(len(msgspec.msgpack.encode(book.save())))
    assert len(book.regimes) == REGIMES and book.regimes_left_out == 20_000 // 20 * 12
    assert sizes[1] < 1.6 * sizes[0] and len(book.recent) == CAPACITY
    silent = book_of(np.zeros(3), np.ones(3))
    silent.update(Matured(9, 9, None, 1.0, np.zeros(1)))
    assert silent.scores.count == 3 and silent.summary()["spearman"] is None


def test_the_log_loss_of_a_direction() -> None:
    book = Scorebook(Target("direction", SECOND), 100 * MS, 0.0)
    for prediction, label in ((0.5, 1.0), (0.5, -1.0), (0.9, 0.0), (7.0, -1.0)):
        book.update(Matured(0, 0, prediction, label, np.zeros(1)))
    assert book.log_loss == pytest.approx(-(math.log(0.75) + math.log(0.25) + math.log(1e-6)) / 3)


def test_a_direction_is_traded_when_it_is_more_likely_than_not() -> None:
    value = Value()
    value.update(0.6, unit_bps=None, move_bps=2.0, spread_bps=1.0, fee_bps=0.25)
    value.update(-0.4, unit_bps=None, move_bps=2.0, spread_bps=1.0, fee_bps=0.25)
    value.update(0.0, unit_bps=None, move_bps=2.0, spread_bps=1.0, fee_bps=0.25)
    assert (value.signals, value.trades, value.gross_bps, value.net_bps) == (2, 1, 0.0, 0.5)


def slow_curve(frames: Frames, times: list[int], said: list[float], begins: int, ends: int, until: int) -> float:
    """The correlation over one span by looking up every mid; a sample over the doubt at frame 900 is left out."""
    recv = frames["recv_ns"]
    mids = (frames["bid"][:, 0] + frames["ask"][:, 0]) / 2.0
    pairs = []
    for now, prediction in zip(times, said, strict=True):
        at = [int(np.searchsorted(recv, now + later, "right")) - 1 for later in (0, begins, ends)]
        if now + ends <= until and not at[0] < 900 <= at[2]:
            pairs.append((prediction, math.log(mids[at[2]] / mids[at[1]]) * 1e4))
    return pearson(*np.array(pairs).T)


@pytest.mark.parametrize("cut", [1, 1000])
def test_the_curves_are_what_looking_up_every_mid_gives(cut: int) -> None:
    frames = walk(2500, seed=7)
    frames["flags"][900] &= ~FRAME_READY
    curves = Curves(0, SECOND, 100 * MS)
    rng = np.random.default_rng(3)
    times, said, done = [], [], 0
    for now in range(START_NS + SECOND, int(frames["recv_ns"][-1]), 100 * MS):
        upto = int(np.searchsorted(frames["recv_ns"], now))
        for at in range(done, upto, cut):
            curves.follow(frames[at : min(at + cut, upto)])
        done = upto
        ahead = frames[min(upto + 30, len(frames) - 1)]["bid"][0] - frames[upto]["bid"][0]
        said.append(float(ahead) + 5.0 * float(rng.normal()))
        times.append(now)
        curves.add(now, said[-1])
        if now == START_NS + 9 * SECOND:
            again = Curves(0, SECOND, 100 * MS)
            again.load(plain(curves.save()))
            curves = again
    for point, factor in zip(curves.decay(), FACTORS, strict=True):
        assert point.ends_ns == round(factor * SECOND) and point.pairs > 150
        assert point.ic == pytest.approx(slow_curve(frames, times, said, 0, point.ends_ns, times[-1]), abs=1e-9)
    for point, delay in zip(curves.entry(), DELAYS_NS, strict=True):
        assert (point.begins_ns, point.ends_ns) == (delay, delay + SECOND)
        assert point.ic == pytest.approx(slow_curve(frames, times, said, delay, delay + SECOND, times[-1]), abs=1e-9)


def test_curves_of_a_long_horizon_are_bounded() -> None:
    curves = Curves(0, 3600 * SECOND, 100 * MS)
    assert len(curves._samples) == 4096 and curves.stride == 36
    curves.follow(walk(10))
    taken = [curves.add(START_NS + SECOND + at, 1.0) for at in range(36 * 5000)]
    assert sum(taken) == 4096, "one in each stride, until there is no room"


def test_a_run_scores_what_it_says_it_scored() -> None:
    models = Models(INSTRUMENTS, [settings(taker_fee_bps=0.01)])
    told = drive(models, walk(3000, seed=5))
    pairs = [(fact.prediction, fact.label) for _, fact in told if isinstance(fact, LabelScored)]
    (summary,) = models.summary()
    p, y = np.array(pairs).T
    assert summary["pairs"] == len(pairs) > 150
    assert summary["ic"] == pytest.approx(pearson(p, y), abs=1e-5) and models.ics() == {"m": summary["ic"]}
    own = summary["decay"][FACTORS.index(1.0)]
    assert own["ic"] == summary["ic"] and own["pairs"] == len(pairs), "the curve at the horizon is the label itself"
    cost = 0.02 + 0.02  # a spread of two price units at a mid of a million, and two fees
    assert summary["trades"] == pytest.approx(np.sum(np.abs(p) > cost), abs=3)
    assert summary["gross_bps"] == pytest.approx(np.mean((np.sign(p) * y)[p != 0.0]), abs=1e-5)
    other = Models(INSTRUMENTS, [settings(taker_fee_bps=0.01)])
    other.load(plain(models.save()))
    assert other.summary() == models.summary()
