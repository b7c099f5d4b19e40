"""What the names of feature sets stand for, and what a set promises whatever is in it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from engine.core.events import Frames
from engine.features.families import FAMILIES, OWNERS, SETS, UnknownFeature, select
from engine.features.set import FeatureSet
from engine.learn.contract import ModelError
from engine.learn.models import Models
from tests.frames import MS, SECOND, walk
from tests.learning import INSTRUMENTS, drive, settings


@pytest.fixture(scope="module")
def frames() -> Frames:
    return walk(3000, seed=12, step_ns=50 * MS)


def values(features: FeatureSet, now_ns: int) -> dict[str, float]:
    out = features.vector()
    assert features.read(0, now_ns, out)
    return dict(zip(features.names, out.tolist(), strict=True))


def test_names_of_sets_families_and_features_are_all_different() -> None:
    row = FeatureSet(ticks=[1], features="calendar", trades="held").state.dtype.names or ()
    names = [*SETS, *FAMILIES, *(name for one in FAMILIES.values() for name in one.names)]
    assert set(row) & set(names) == {"calendar"}
    assert len(set(names)) == len(names)
    assert len(OWNERS) == sum(len(one.names) for one in FAMILIES.values()) > 200


def test_the_standard_set_is_complete_after_its_warm_up(frames: Frames) -> None:
    features = FeatureSet(ticks=[1])
    features.update(frames)
    assert features.names == FeatureSet(ticks=[1], features=("book", "flow", "returns")).names
    assert np.isfinite(list(values(features, int(frames["recv_ns"][-1])).values())).all()


def test_a_list_selects_columns_in_its_order(frames: Frames) -> None:
    chosen = FeatureSet(ticks=[1], features=["volatility_5s", "staleness", "spread_bps"])
    wide = FeatureSet(ticks=[1], features="wide")
    for features in (chosen, wide):
        features.update(frames)
    now_ns = int(frames["recv_ns"][-1]) + MS
    assert chosen.names == ("volatility_5s", *FAMILIES["staleness"].names, "spread_bps")
    every = values(wide, now_ns)
    assert values(chosen, now_ns) == {name: every[name] for name in chosen.names}
    assert [one.name for one in chosen.families] == ["book", "returns", "staleness"]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("wild", r"a set \(standard, alpha, wide\), a family \(book, flow, .*found 'wild'"),
        (["volatility_5"], r"close to it: volatility_5s.*found 'volatility_5'"),
        (["book", "spread_bps"], "each once, found spread_bps twice"),
        ([], "at least one, each once, found none"),
    ],
)
def test_a_wrong_name_says_which_there_are(features: str | list[str], message: str) -> None:
    with pytest.raises(UnknownFeature, match=message):
        select(features)
    with pytest.raises(ModelError, match=message):
        Models(INSTRUMENTS, [settings(features=features if isinstance(features, str) else tuple(features))])


def test_a_feature_is_missing_until_it_is_warm(frames: Frames) -> None:
    features = FeatureSet(ticks=[1], features=["deviation_60s_bps", "deviation_10s_bps", "spread_bps"], warm_up_ns=0)
    features.update(frames)
    first = int(features.state["since_ns"][0])
    ages = {"spread_bps": 0, "deviation_10s_bps": 10 * SECOND, "deviation_60s_bps": 30 * SECOND}
    for age_ns in (0, 10 * SECOND - 1, 10 * SECOND, 30 * SECOND - 1, 30 * SECOND):
        found = values(features, first + age_ns)
        assert {name: not math.isnan(value) for name, value in found.items()} == {
            name: age_ns >= warm_ns for name, warm_ns in ages.items()
        }


def test_the_hash_says_what_the_numbers_mean() -> None:
    hashes = [
        FeatureSet(ticks=[1], features=features, trades=trades).hash
        for features in ("standard", "wide", ("book",), ("spread_bps", "spread_ticks"), ("spread_ticks", "spread_bps"))
        for trades in ("live", "held")
    ]
    assert len(set(hashes)) == len(hashes)
    assert FeatureSet(ticks=[1]).hash == FeatureSet(ticks=[1], features=("book", "flow", "returns")).hash


def test_a_constant_of_a_family_is_part_of_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = FeatureSet(ticks=[1]).hash
    monkeypatch.setitem(FAMILIES["flow"].meaning, "HALF_LIVES_S", (0.5, 2.0, 11.0))
    assert FeatureSet(ticks=[1]).hash != before
    assert FeatureSet(ticks=[1], features=["book"]).hash == FeatureSet(ticks=[1], features=["book"]).hash


def test_models_with_the_same_inputs_share_them() -> None:
    models = Models(
        INSTRUMENTS,
        [
            settings(name="a"),
            settings(name="b", horizon_ns=SECOND),
            settings(name="c", features=("book",)),
            settings(name="d", features=("book",), trades="live"),
            settings(name="e", leaders=("sim:Y",)),
        ],
    )
    a, b, c, d, e = (models.slot(name).features.features for name in "abcde")
    assert a is b and len({id(one) for one in (a, c, d, e)}) == 4
    assert c.names == FAMILIES["book"].names


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"trades": "later"}, "expected one of live, held"),
        ({"leaders": ("sim:Z",)}, "leaders: expected some of sim:X, sim:Y, found sim:Z"),
    ],
)
def test_wrong_inputs_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Models(INSTRUMENTS, [settings(**wrong)])


def test_only_frames_are_taken() -> None:
    wrong: Any = np.zeros(3)
    with pytest.raises(TypeError, match="expected an array of FRAME, found one of float64"):
        FeatureSet(ticks=[1]).update(wrong)


def test_a_saved_run_with_many_inputs_goes_on_as_if_nothing_had_happened(frames: Frames) -> None:
    made = [Models(INSTRUMENTS, [settings(features=("standard", "trades"), trades="held")]) for _ in range(2)]
    drive(made[0], frames[:1500])
    made[1].load(made[0].save())
    assert drive(made[0], frames[1500:]) == drive(made[1], frames[1500:])
