"""Causal wavelets against plain convolution, and against the centred ones that would look ahead."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.events import Frames
from engine.features import wavelet
from tests.frames import MS, SECOND, START_NS, walk
from tests.recorded import SPOT
from tests.streams import COINM, Stream, Vector, mids, of_mids, sampled, usable

FEW = 1e-7  # the logarithm of a price has 13 digits behind the point, bps four less


def before(values: Vector, steps: int) -> Vector:
    """The values some steps earlier; before the first one there was nothing but the first one, 0."""
    return np.concatenate([np.zeros(steps), values])[: len(values)]


def decomposed(x: Vector) -> tuple[list[Vector], Vector]:
    """Details and last smooth by the definition: each smooth is the mean of the last 2^j samples."""
    smooths = [np.mean([before(x, k) for k in range(2**j)], axis=0) for j in range(wavelet.LEVELS + 1)]
    return [fine - wide for fine, wide in pairwise(smooths)], smooths[-1]


def denoised(x: Vector) -> tuple[Vector, Vector]:
    """The samples without noise, and the noise's size in the finest detail at each."""
    details, smooth = decomposed(x)
    sizes = np.concatenate([np.zeros(wavelet.MEDIAN), np.abs(details[0])])
    windows = np.lib.stride_tricks.sliding_window_view(sizes, wavelet.MEDIAN)[1:]
    medians = [np.median(window[window > 0]) if window.any() else 0.0 for window in windows]
    noise = np.array(medians) / wavelet.NORMAL * np.sqrt((windows > 0).mean(axis=1))
    result = smooth.copy()
    for j, detail in enumerate(details):
        limit = math.sqrt(2 * math.log(64)) * noise / math.sqrt(2) ** j
        result += np.sign(detail) * np.maximum(np.abs(detail) - limit, 0)
    return result, noise


def reference(frames: Frames, now_ns: int) -> dict[str, float]:
    """The features by their definitions; nothing where a step has too few samples."""
    found: dict[str, float] = {}
    for step, step_ns in zip(wavelet.STEP_NAMES, wavelet.STEPS_NS, strict=True):
        prices = sampled(frames, step_ns, now_ns)
        if len(prices) < wavelet.WARM:
            continue
        x = np.log(prices / prices[0])
        clean, noise = denoised(x)
        found[f"denoised_{step}"] = (math.log(mids(frames)[-1] / prices[0]) - clean[-1]) * 1e4
        found[f"denoised_slope_{step}"] = (clean[-1] - clean[-9]) / 8 * 1e4
        found[f"wavelet_noise_{step}"] = noise[-1] * 1e4
        weights = (63 / 64) ** np.arange(len(x))[::-1]
        powers = [(weights * detail**2).sum() / weights.sum() for detail in decomposed(x)[0]]
        for j, power in enumerate(powers):
            found[f"scale_{j + 1}_{step}"] = math.sqrt(power) * 1e4
        found[f"scale_ratio_{step}"] = math.log(sum(powers[:3]) / sum(powers[3:]))
    return found


def assert_reference(stream: Stream, frames: Frames, now_ns: int) -> None:
    found, expected = stream.read(now_ns), reference(frames, now_ns)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert all(math.isnan(value) for name, value in found.items() if name not in expected)


@pytest.mark.parametrize("count", [30, 1_280, 2_000, 15_000])
def test_features_are_their_definitions(count: int) -> None:
    frames = walk(count, seed=count)
    stream = Stream(wavelet)
    stream.update(frames)
    for later in (0, 70 * MS, 3_333 * MS):
        assert_reference(stream, frames, int(frames["recv_ns"][-1]) + later)


@pytest.mark.parametrize("files", [SPOT, COINM], ids=["spot", "coinm"])
def test_features_of_a_recording_are_their_definitions(files: tuple[str, ...]) -> None:
    frames = usable(files)
    stream = Stream(wavelet)
    done = 0
    for count in (len(frames) // 9, len(frames) // 2, len(frames)):
        stream.update(frames[done:count])
        done = count
        assert_reference(stream, frames[:count], int(frames["recv_ns"][count - 1]))
    assert np.isfinite(stream.vector(int(frames["recv_ns"][-1]))).all()


def clean(x: Vector) -> Vector:
    """What the kernel makes of each sample."""
    part = np.zeros(wavelet.MEMORY // 2)
    return np.array([wavelet.add_sample(value, part) for value in x.tolist()])


def test_the_details_and_the_smooth_add_up_to_the_sample() -> None:
    x = np.cumsum(np.random.default_rng(1).normal(size=500))
    details, smooth = decomposed(x)
    np.testing.assert_allclose(sum(details) + smooth, x, atol=1e-12)


def test_white_noise_fades_from_scale_to_scale_as_the_threshold_does() -> None:
    x = np.random.default_rng(2).normal(size=200_000)
    details, _ = decomposed(x)
    deviations = [float(detail[64:].std()) for detail in details]
    expected = [1 / math.sqrt(2) ** (j + 1) for j in range(wavelet.LEVELS)]
    assert deviations == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.05])
def test_the_noise_is_that_of_prices_that_mostly_stand_still(share: float) -> None:
    rng = np.random.default_rng(7)
    x = np.cumsum(rng.normal(size=20_000) * (rng.random(20_000) < share))
    _, noise = denoised(x)
    # The finest detail is half of a move.
    assert noise[100:].mean() == pytest.approx(0.5 * math.sqrt(share), rel=0.1)


def test_noise_is_taken_off_a_steady_price() -> None:
    rng = np.random.default_rng(3)
    true = np.concatenate([np.zeros(500), np.full(500, 40.0)])
    seen = true + rng.normal(size=1_000)
    error = (clean(seen) - true)[200:490]
    assert error.std() < 0.35 * (seen - true)[200:490].std()
    # A step far beyond the noise is passed on at once, but for the thresholds that it is drawn in by.
    assert clean(seen)[500] > 25.0


@given(seed=st.integers(0, 2**32 - 1), at=st.integers(1, 399), size=st.sampled_from([1e-6, 1.0, 1e12]))
@settings(max_examples=60, deadline=None)
def test_no_sample_changes_what_was_said_before_it(seed: int, at: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(size=400))
    other = x.copy()
    other[at:] += size * rng.normal(size=400 - at)
    assert (clean(x)[:at] == clean(other)[:at]).all()
    assert clean(x)[at] != clean(other)[at]


def centred(x: Vector) -> Vector:
    """The same filter with its window about the sample: half of it lies in the future."""
    whole = denoised(x)[0]
    half = 2 ** (wavelet.LEVELS - 1)
    return np.concatenate([whole[half:], np.full(half, whole[-1])])


def test_a_centred_filter_predicts_a_random_walk_and_ours_does_not() -> None:
    x = np.cumsum(np.random.default_rng(4).normal(size=40_000))
    following = np.diff(x)

    def information(smooth: Vector) -> float:
        inside = slice(200, -200)
        return float(np.corrcoef((smooth - x)[:-1][inside], following[inside])[0, 1])

    assert abs(information(clean(x))) < 4 / math.sqrt(len(x))
    assert information(centred(x)) > 0.1


def test_what_never_moves_is_its_own_clean_price() -> None:
    frames = of_mids([1000] * 1_400, 100 * MS)
    stream = Stream(wavelet)
    stream.update(frames)
    assert set(stream.read(int(frames["recv_ns"][-1])).values()) == {0.0}


@pytest.mark.parametrize("pause", [1, 135, 136, 137, 3_000])
def test_a_long_silence_is_as_many_equal_samples(pause: int) -> None:
    prices = 1000 + np.random.default_rng(2).integers(-5, 6, 500).cumsum()
    frames = of_mids(np.append(prices, 1000), 100 * MS)
    frames["recv_ns"][-1] += pause * 100 * MS
    more = of_mids(1000 + np.random.default_rng(3).integers(-5, 6, 400).cumsum(), 100 * MS, int(frames["recv_ns"][-1]))
    stream = Stream(wavelet)
    stream.update(frames)
    now_ns = int(frames["recv_ns"][-1])
    found, expected = stream.read(now_ns), reference(frames, now_ns)
    names = [name for name in expected if name != "scale_ratio_100ms"]  # 0 of powers that have faded
    assert [found[name] for name in names] == pytest.approx([expected[name] for name in names], rel=1e-9, abs=1e-9)
    stream.update(more)
    assert_reference(stream, np.concatenate([frames, more]), int(more["recv_ns"][-1]))


def test_a_price_beyond_all_sense_is_forgotten() -> None:
    prices = 100_000 + np.random.default_rng(5).integers(-9, 10, 6_000).cumsum()
    wild = prices.copy()
    wild[200] = 10**15
    calm, shaken = Stream(wavelet), Stream(wavelet)
    calm.update(of_mids(prices, 100 * MS))
    shaken.update(of_mids(wild, 100 * MS))
    now_ns = START_NS + 600 * SECOND
    found, expected = shaken.read(now_ns), calm.read(now_ns)
    assert np.isfinite(list(found.values())).all()
    for name in found:
        if name.endswith("_100ms"):
            assert found[name] == pytest.approx(expected[name], rel=1e-6, abs=1e-6), name


@given(values=st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 7.5]), min_size=1, max_size=30), new=st.floats(0, 9))
def test_a_replaced_value_is_in_order(values: list[float], new: float) -> None:
    ordered = np.sort(np.array(values))
    wavelet.replace(values[0], new, ordered)
    assert ordered.tolist() == sorted([*values[1:], new])
