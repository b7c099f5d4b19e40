"""Whatever the market does: features are finite, causal, and the same however the frames are cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.events import FRAME, FRAME_LEVELS, FRAME_READY, Frames
from engine.features.families import FAMILIES, NEVER_MISSING
from engine.features.set import FeatureSet
from tests.frames import START_NS, walk
from tests.learning import INSTRUMENTS

BIG = 2**61


@st.composite
def any_frames(draw: st.DrawFn) -> Frames:
    """Valid frames with prices, sizes and pauses of every magnitude, missing levels and books in doubt."""
    count = draw(st.integers(1, 30))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    frames = np.zeros(count, FRAME)
    frames["symbol"] = rng.integers(0, 2, count)
    pauses = (10.0 ** rng.uniform(0, 16, count)).astype(np.int64) * (rng.random(count) < 0.8)
    frames["recv_ns"] = draw(st.sampled_from([0, 1_700_000_000_000_000_000])) + np.cumsum(pauses)
    frames["flags"] = FRAME_READY * (rng.random(count) < 0.9)
    magnitude = 10.0 ** rng.uniform(0, 18)
    for i in range(count):
        mid = int(rng.integers(10, max(11, int(magnitude))))
        steps = np.cumsum(rng.integers(1, 3, FRAME_LEVELS))
        frames["bid"][i] = np.maximum(mid - steps, 0)
        frames["ask"][i] = mid + steps
        gone = rng.integers(1, FRAME_LEVELS + 1)
        for side in ("bid", "ask"):
            sizes = (10.0 ** rng.uniform(0, 18.7, FRAME_LEVELS)).astype(np.int64)
            sizes[gone:] = 0
            frames[side][i, gone:] = 0
            frames[f"{side}_size"][i] = sizes
    frames["buy_size"] = rng.integers(0, BIG, count) * (rng.random(count) < 0.5)
    frames["sell_size"] = rng.integers(0, BIG, count) * (rng.random(count) < 0.5)
    frames["buys"], frames["sells"] = frames["buy_size"] > 0, frames["sell_size"] > 0
    frames["last_price"] = np.where(frames["buys"] | frames["sells"], frames["bid"][:, 0], 0)
    return frames


def bounded(names: Sequence[str]) -> list[str]:
    """The features whose unit says that they stay within [-1, 1] or [0, 1]."""
    units = {name: unit for one in FAMILIES.values() for name, unit in zip(one.names, one.units, strict=True)}
    return [name for name in names if units[name] in ("[-1, 1]", "[0, 1]", "0 or 1", "correlation")]


@given(
    frames=any_frames(), later=st.sampled_from([0, 1, 10**9, 10**15]), warm_up_ns=st.sampled_from([0, 10**9, 10**11])
)
@settings(max_examples=200, deadline=None)
def test_what_is_said_never_to_be_missing_never_is(frames: Frames, later: int, warm_up_ns: int) -> None:
    features = FeatureSet.of(INSTRUMENTS, warm_up_ns, NEVER_MISSING)
    whole = np.array([name not in features.may_be_missing for name in features.names])
    assert whole.sum() >= 50 and (whole.all() or warm_up_ns < 10**11)
    out = features.vector()
    for i in range(len(frames)):
        features.update(frames[i : i + 1])
        if features.read(int(frames["symbol"][i]), int(frames["recv_ns"][i]) + later, out):
            assert np.isfinite(out[whole]).all()


@pytest.mark.parametrize("trades", ["live", "held"])
@pytest.mark.parametrize("features", ["standard", "alpha", "wide"])
@given(frames=any_frames(), later=st.sampled_from([0, 1, 10**9, 10**15]), data=st.data())
@settings(max_examples=100, deadline=None)
def test_features_are_finite_or_missing_and_do_not_care_how_frames_are_cut(
    features: str, trades: str, frames: Frames, later: int, data: st.DataObject
) -> None:
    whole, cut = (FeatureSet.of(INSTRUMENTS, 0, features, trades) for _ in range(2))
    whole.update(frames)
    at = 0
    while at < len(frames):
        size = data.draw(st.integers(1, len(frames)))
        cut.update(frames[at : at + size])
        # Reading in between changes nothing.
        cut.read(0, int(frames["recv_ns"][min(at + size, len(frames)) - 1]), cut.vector())
        at += size
    assert whole.state.tobytes() == cut.state.tobytes()
    now_ns = int(frames["recv_ns"][-1]) + later
    for symbol in (0, 1):
        out = whole.vector()
        if whole.read(symbol, now_ns, out):
            named = dict(zip(whole.names, out.tolist(), strict=True))
            assert not np.isinf(out).any(), named
            assert features == "wide" or np.isfinite(out).all(), named
            assert not any(abs(named[name]) > 1.0 + 1e-9 for name in bounded(whole.names)), named


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "calendar"])
def test_no_family_makes_infinities_of_its_own(family: str) -> None:
    """What ``read`` gives out is cleaned at the end; the families themselves know when a number is undefined."""
    one = FAMILIES[family]
    features = FeatureSet.of(INSTRUMENTS, 0, family)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        frames = np.concatenate([walk(60, seed=seed, symbol=symbol) for symbol in (0, 1)])
        frames["recv_ns"] = START_NS + np.cumsum(10.0 ** rng.uniform(0, 12, len(frames))).astype(np.int64)
        frames["symbol"] = rng.integers(0, 2, len(frames))
        features.update(frames)
        if features.read(0, int(frames["recv_ns"][-1]), features.vector()):
            assert not np.isinf(features._found).any(), dict(zip(one.names, features._found.tolist(), strict=True))
