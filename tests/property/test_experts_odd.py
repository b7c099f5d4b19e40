"""A market does not know which side we call the bid: exchange the sides, and every odd number changes its sign."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.events import Frames
from engine.features.set import FeatureSet
from engine.learn.experts.basis import HEAVY, MODULATORS, PLAIN
from tests.experts import NAMES, at, inputs, made
from tests.frames import MS, walk

EVEN = [name for name, _ in MODULATORS]
ODD = [*PLAIN, *HEAVY]
BY_PRICE = [name for name in ODD if name.endswith("_bps") and name not in ("second_level_gap_bps", "microprice_bps")]
"""Made of log prices: mirrored prices are opposite to first order only, a move of 1e-4 to 1e-4 of itself."""
BY_LOG = ["side_age_log", "size_ratio_log", "microprice_bps"]
EXACT = [name for name in ODD if name not in (*BY_PRICE, *BY_LOG)]


def exchanged(frames: Frames) -> Frames:
    """The same market seen from the other side: prices mirrored at the last mid, buyers and sellers exchanged."""
    other, mirror = frames.copy(), int(frames["bid"][-1, 0] + frames["ask"][-1, 0])
    for one, two in (("bid", "ask"), ("ask", "bid")):
        other[one] = np.where(frames[two] > 0, mirror - frames[two], 0)
        other[f"{one}_size"] = frames[f"{two}_size"]
    other["last_price"] = np.where(frames["last_price"] > 0, mirror - frames["last_price"], 0)
    for field in ("size", "s"):
        join = "_" if field == "size" else ""
        other[f"buy{join}{field}"], other[f"sell{join}{field}"] = (
            frames[f"sell{join}{field}"],
            frames[f"buy{join}{field}"],
        )
    return other


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 300), later=st.sampled_from([0, 130 * MS, 10**10]))
@settings(max_examples=60, deadline=None)
def test_odd_features_change_their_sign_and_even_ones_do_not(seed: int, count: int, later: int) -> None:
    frames = walk(count, seed=seed, step_ns=50 * MS)
    rng = np.random.default_rng(seed)
    for side in ("bid", "ask"):
        for i in np.flatnonzero(rng.random(count) < 0.1).tolist():
            gone = int(rng.integers(1, 4))
            frames[side][i, gone:] = frames[f"{side}_size"][i, gone:] = 0
    told = []
    for each in (frames, exchanged(frames)):
        features = FeatureSet(ticks=[1], features="alpha", warm_up_ns=0)
        features.update(each)
        out = features.vector()
        assert features.read(0, int(frames["recv_ns"][-1]) + later, out)
        told.append(dict(zip(features.names, out.tolist(), strict=True)))
    one, other = told
    assert {name: -other[name] for name in EXACT} == {name: one[name] for name in EXACT}
    assert {name: -other[name] for name in BY_LOG} == pytest.approx({name: one[name] for name in BY_LOG}, abs=1e-11)
    for name in BY_PRICE:
        assert -other[name] == pytest.approx(one[name], rel=2e-3, abs=1e-5), name
    for name in EVEN:
        assert other[name] == pytest.approx(one[name], rel=2e-3, abs=1e-5), name


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(30, 150))
@settings(max_examples=25, deadline=None)
def test_the_model_says_the_opposite_of_the_opposite_market(seed: int, rows: int) -> None:
    """To the last bit, whatever it has learned: it has no intercept, and no input that leans to one side."""
    rng = np.random.default_rng(seed)
    x, y = inputs(seed, rows) * 10.0 ** rng.uniform(-6, 6), rng.normal(size=rows) * (rng.random(rows) < 0.3)
    x[rng.random(x.shape) < 0.05] = np.nan
    sides = np.ones(len(NAMES))
    sides[[at(name) for name in ODD]] = -1.0
    one, other = made(), made()
    for row, label in zip(x, y.tolist(), strict=True):
        for model, way in ((one, 1.0), (other, -1.0)):
            seen = row if way > 0 else row * sides
            model.observe_one(seen)
            model.learn_one(seen, way * label)
    for row in x[:20]:
        said = one.predict_one(row)
        assert said is not None and other.predict_one(row * sides) == -said
