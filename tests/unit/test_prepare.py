"""Inputs that are normalised by their past only, and that no missing, constant or exploding value can spoil."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from engine.core.records import LabelScored
from engine.features.set import FeatureSet
from engine.learn.inputs import Inputs
from engine.learn.models import Models
from engine.learn.prepare import BOUND, EVERY, NORMAL_QUARTILES, SETTLED_AFTER, WINDOW, Preparation
from tests.frames import MS, walk
from tests.learning import INSTRUMENTS, drive, settings

Rows = npt.NDArray[np.float64]
NAMES = ("spread_bps", "flow_2s", "is_trade_old")


def rows(count: int, seed: int = 1) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal([5.0, -2.0, 0.0], [2.0, 0.1, 0.0], (count, 3))
    x[:, 0] += np.arange(count) / 500.0  # drifts
    return x


def prepared(preparation: Preparation, x: Rows) -> Rows:
    return np.array([preparation.take(row).copy() for row in x])


def window(x: Rows, before: int) -> Rows:
    """The rows that are in the window when row ``before`` is prepared: the last of the first so many and each 16th."""
    taken = [i for i in range(before) if i < WINDOW or i % EVERY == 0]
    return x[taken[-WINDOW:]]


@pytest.mark.parametrize("at", [SETTLED_AFTER, 100, WINDOW, WINDOW + 1, 2000, 6001])
def test_robust_and_rank_are_the_quantiles_of_the_window_before(at: int) -> None:
    x = rows(at + 1)
    robust, rank = prepared(Preparation(NAMES, "robust"), x)[at], prepared(Preparation(NAMES, "rank"), x)[at]
    past = window(x, at)
    low, middle, high = np.quantile(past, (0.25, 0.5, 0.75), axis=0)
    for i in (0, 1):
        away = (x[at, i] - middle[i]) / (high[i] - low[i]) * NORMAL_QUARTILES
        assert robust[i] == pytest.approx(np.clip(away, -BOUND, BOUND), rel=1e-12)
        assert rank[i] == pytest.approx(np.sign(x[at, i] - past[:, i]).mean(), rel=1e-12)
    assert robust[2] == rank[2] == 0.0  # what never moves says nothing


@pytest.mark.parametrize("method", ["z", "robust", "rank"])
def test_a_row_is_normalised_before_it_is_learned(method: str) -> None:
    x = rows(600)
    other = x.copy()
    other[400:] = 1e6
    one, two = prepared(Preparation(NAMES, method), x), prepared(Preparation(NAMES, method), other)
    assert np.array_equal(one[:400], two[:400])
    assert two[400, 0] == (1.0 if method == "rank" else BOUND)
    assert np.all(one[:SETTLED_AFTER] == 0.0)


@pytest.mark.parametrize("method", ["z", "robust", "rank"])
@pytest.mark.parametrize("begin", [0, 100])
def test_missing_constant_and_exploding_values_are_contained_and_counted(method: str, begin: int) -> None:
    x = rows(3000)
    bad = np.array([np.nan, np.inf, -np.inf, 1e300, -1e300])
    places = begin + np.arange(0, 500, 5)
    x[places, 0] = bad[np.arange(100) % 5]
    preparation, clean = Preparation(NAMES, method, masks=True), Preparation(NAMES, method, masks=True)
    found = prepared(preparation, x)
    assert np.isfinite(found).all() and np.abs(found).max() <= BOUND
    assert preparation.counts["missing"] == 20 and preparation.counts["too_big"] == 80
    assert found[:, 3].sum() == 100 and np.all(found[places, 0] == 0.0) and np.all(found[:, 4:] == 0.0)
    # What comes afterwards is as if the bad rows had said nothing: the good feature beside them did not notice.
    assert np.array_equal(found[:, 1], prepared(clean, rows(3000))[:, 1])
    assert np.abs(found[1500:, 0]).mean() > 0.3


@pytest.mark.parametrize("method", ["robust", "rank"])
def test_one_absurd_price_in_twenty_moves_no_quantile_far(method: str) -> None:
    x = rows(2000)
    spoiled = x.copy()
    bad = np.random.default_rng(2).random(2000) < 0.05
    spoiled[bad, 0] = 1e90  # large, but a number
    one, two = prepared(Preparation(NAMES, method), x), prepared(Preparation(NAMES, method), spoiled)
    assert np.abs(one - two)[1000:][~bad[1000:]].max() < 0.5


def test_values_are_missing_while_their_news_is_old() -> None:
    x = rows(100)
    x[50:60, 2] = 1.0
    preparation = Preparation(NAMES, "robust", masks=True)
    found = prepared(preparation, x)
    assert found[50:60, 4].all() and not found[:50, 4].any()  # flow_2s is of trades
    assert not found[:, 3].any() and preparation.counts["too_old"] == 10


@pytest.mark.parametrize("method", ["z", "robust", "rank"])
def test_a_saved_preparation_goes_on_as_if_nothing_had_happened(method: str) -> None:
    x = rows(2000)
    whole, resumed = Preparation(NAMES, method), Preparation(NAMES, method)
    prepared(whole, x[:1100])
    resumed.load(msgspec.msgpack.decode(msgspec.msgpack.encode(whole.save())))
    assert np.array_equal(prepared(whole, x[1100:]), prepared(resumed, x[1100:]))
    assert whole.save() == resumed.save()


class Mean:
    """Reduces a row to its mean and to how many rows came before."""

    names = ("mean", "rows")

    def __init__(self) -> None:
        self.rows = 0

    regime = -1
    meaning: ClassVar[list[Any]] = ["mean"]

    def reduce(self, x: Rows, out: Rows) -> bool:
        out[:] = x.mean(), self.rows
        return True

    def learn(self, x: Rows) -> None:
        self.rows += 1

    def save(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]


def test_a_reducer_sees_prepared_rows_and_learns_after_it_answered() -> None:
    plain, reduced, fresh = Preparation(NAMES, "z"), Preparation(NAMES, "z", reducer=Mean()), Mean()
    x = rows(200)
    found, expected = prepared(reduced, x), prepared(plain, x)
    assert reduced.names == ("mean", "rows")
    assert np.array_equal(found[:, 0], expected.mean(1)) and found[:, 1].tolist() == list(range(200))
    Preparation(NAMES, "z", reducer=fresh).load(reduced.save())
    assert fresh.rows == 200


@pytest.mark.parametrize(
    ("method", "masks", "message"),
    [("ranks", False, "expected one of none, z, robust, rank, found 'ranks'"), ("none", True, "masks: expected")],
)
def test_wrong_settings_are_refused(method: str, masks: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preparation(NAMES, method, masks=masks)


def test_unprepared_inputs_are_the_features_themselves() -> None:
    features = FeatureSet(ticks=[1], warm_up_ns=0)
    inputs = Inputs(features)
    frames = walk(500)
    features.update(frames)
    now_ns = int(frames["recv_ns"][-1])
    out, expected = inputs.vector(), features.vector()
    assert inputs.read(0, now_ns, out) and features.read(0, now_ns, expected)
    assert np.array_equal(out, expected)
    assert (inputs.names, inputs.hash) == (features.names, features.hash)
    assert len({Inputs(features, method).hash for method in ("none", "z", "robust", "rank")}) == 4


def test_a_model_learns_from_prepared_inputs_and_goes_on_after_a_restart() -> None:
    frames = walk(3000, step_ns=30 * MS)
    made = [Models(INSTRUMENTS, [settings(features=("wide",), prepare="robust", masks=True)]) for _ in range(2)]
    assert len(made[0].slot("m").features.names) == 2 * len(FeatureSet(ticks=[1], features="wide").names)
    told = drive(made[0], frames[:2000])
    assert sum(isinstance(fact, LabelScored) for _, fact in told) > 200
    assert np.isfinite([fact.prediction for _, fact in told if isinstance(fact, LabelScored)]).all()
    made[1].load(msgspec.msgpack.decode(msgspec.msgpack.encode(made[0].save())))
    assert drive(made[0], frames[2000:]) == drive(made[1], frames[2000:])
