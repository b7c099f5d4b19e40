"""Whatever the market does, the families that sample it are finite or nan, restart exactly, and never peek."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.events import FRAME_READY, Frames
from engine.features import bars, spectral, wavelet
from engine.features.set import FeatureSet
from tests.frames import MS, walk
from tests.property.test_features_hold import any_frames
from tests.streams import Stream

FAMILIES = {"bars": bars, "spectral": spectral, "wavelet": wavelet}


def usable(frames: Frames) -> Frames:
    found: Frames = frames[(frames["flags"] & FRAME_READY != 0) & (frames["bid"][:, 0] > 0) & (frames["symbol"] == 0)]
    return found


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@given(frames=any_frames(), later=st.sampled_from([0, 1, 10**9, 10**15]), cut=st.integers(0, 29))
@settings(max_examples=60, deadline=None)
def test_no_market_makes_them_infinite_and_they_restart_exactly(
    family: ModuleType, frames: Frames, later: int, cut: int
) -> None:
    frames = usable(frames)
    if not len(frames):
        return
    whole, resumed = Stream(family), Stream(family)
    whole.update(frames[: cut + 1])
    resumed.memory[:] = np.frombuffer(whole.memory.tobytes())
    resumed.last = whole.last
    for one in (whole, resumed):
        one.update(frames[cut + 1 :])
    kept = whole.memory.tobytes()
    assert kept == resumed.memory.tobytes()
    now_ns = int(frames["recv_ns"][-1]) + later
    out = whole.vector(now_ns)
    assert not np.isinf(out).any(), whole.read(now_ns)
    assert out.tobytes() == resumed.vector(now_ns).tobytes()
    assert kept == whole.memory.tobytes(), "reading changes nothing"
    bounded = ("rsi", "stochastic", "direction", "adx", "bar_volume", "spectral_entropy", "cycle")
    for name, value in whole.read(now_ns).items():
        assert not name.startswith(bounded) or np.isnan(value) or abs(value) <= 1.0 + 1e-9, (name, value)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(300, 1_999), size=st.sampled_from([1, 1_000, 900_000]))
@settings(max_examples=12, deadline=None)
def test_no_future_frame_changes_what_was_said(family: ModuleType, seed: int, cut: int, size: int) -> None:
    frames = walk(2_000, seed=7, step_ns=40 * MS)
    other = frames.copy()
    moves = np.random.default_rng(seed).integers(-size, size + 1, 2_000 - cut)
    for side in ("bid", "ask"):
        other[side][cut:] += moves[:, None]
    said = []
    for each in (frames, other):
        stream, found, done = Stream(family), [], 0
        for upto in range(100, cut, 100):
            stream.update(each[done:upto])
            done = upto
            found.append(stream.vector(int(each["recv_ns"][upto - 1])))
        said.append(np.array(found).tobytes())
        stream.update(each[done:])
    assert said[0] == said[1]


@given(frames=any_frames(), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_the_set_of_them_does_not_care_how_frames_are_cut(frames: Frames, sizes: list[int]) -> None:
    whole, cut = (FeatureSet(ticks=[1, 1], warm_up_ns=0, features=list(FAMILIES)) for _ in range(2))
    whole.update(frames)
    at = 0
    for size in [*sizes, len(frames)]:
        cut.update(frames[at : at + size])
        at += size
    assert whole.state.tobytes() == cut.state.tobytes()


def test_they_do_not_depend_on_units() -> None:
    frames = walk(9_000, seed=3, step_ns=40 * MS)
    finer = frames.copy()
    for field in ("bid", "ask", "last_price"):
        finer[field] *= 100
    for field in ("bid_size", "ask_size", "buy_size", "sell_size"):
        finer[field] *= 1_000
    for family in FAMILIES.values():
        one, other = Stream(family), Stream(family)
        one.update(frames)
        other.update(finer)
        now_ns = int(frames["recv_ns"][-1]) + MS
        assert one.read(now_ns) == pytest.approx(other.read(now_ns), rel=1e-6, abs=1e-7, nan_ok=True)
