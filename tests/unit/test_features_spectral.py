"""Spectra against scipy's Welch, resonators against the sums that they stand for."""

from __future__ import annotations

import importlib
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from engine.core.events import Frames
from engine.features import fourier, spectral
from tests.frames import MS, SECOND, START_NS, walk
from tests.recorded import SPOT
from tests.streams import COINM, Stream, Vector, of_mids, sampled, usable

signal: Any = importlib.import_module("scipy.signal")

BANDS = len(spectral.EDGES) - 1


def log_returns(frames: Frames, step_ns: int, now_ns: int) -> Vector:
    whole = np.diff(np.log(sampled(frames, step_ns, now_ns)))
    return np.asarray(np.clip(whole, -spectral.LARGEST, spectral.LARGEST), np.float64)


def welch(returns: Vector) -> Vector:
    """Scipy's spectrum of the newest eight segments that end at a multiple of 32 samples, as variance a bin."""
    whole = returns[: len(returns) // 32 * 32]
    newest = whole[-(64 + 7 * 32) :]
    _, density = signal.welch(newest, fs=1.0, window="hann", nperseg=64, noverlap=32, detrend="constant")
    return np.asarray(density / 64, np.float64)


def resonance(returns: Vector, period: float) -> tuple[float, float]:
    """Power and phase of a period by the definition: sums over all returns, the newest last."""
    age = np.arange(len(returns))[::-1]
    weights = np.exp(-age / (spectral.CYCLES * period))
    total = (weights * np.exp(-2j * math.pi * age / period) * returns).sum()
    longest = weights.sum() * (weights * returns**2).sum()
    return float(abs(total) ** 2 / longest), float(total.real / math.sqrt(longest))


def shape(power: Vector) -> dict[str, float]:
    """What a spectrum without its mean looks like; zeros where there is no power."""
    if power.sum() == 0.0:
        return {"spectral_entropy": 0.0, "spectral_slope": 0.0, "dominant_period": 0.0}
    share = power / power.sum()
    nonzero = share[share > 0]
    logs = np.log(np.maximum(share, 1e-12 / 32))
    return {
        "spectral_entropy": float(-(nonzero * np.log(nonzero)).sum() / math.log(32)),
        "spectral_slope": float(np.polyfit(np.log(np.arange(1, 33)), logs, 1)[0]),
        "dominant_period": math.log2(64 / (1 + int(power.argmax()))),
    }


def reference(frames: Frames, now_ns: int) -> dict[str, float]:
    """The features by their definitions."""
    found: dict[str, float] = {}
    for step, step_ns in zip(spectral.STEP_NAMES, spectral.STEPS_NS, strict=True):
        returns = log_returns(frames, step_ns, now_ns)
        if len(returns) >= 64:
            power = welch(returns)
            for k, (low, high) in enumerate(pairwise(spectral.EDGES)):
                found[f"band_{k + 1}_{step}"] = math.sqrt(power[low:high].sum()) * 1e4
            found |= {f"{name}_{step}": value for name, value in shape(power[1:]).items()}
        for period in spectral.PERIODS:
            if len(returns) >= period:
                power_of, phase = resonance(returns, period)
                found[f"cycle_{int(period)}_power_{step}"] = power_of
                found[f"cycle_{int(period)}_phase_{step}"] = phase
    return found


def assert_reference(stream: Stream, frames: Frames, now_ns: int) -> None:
    """All that the reference knows is what is read, and all else is nan."""
    found, expected = stream.read(now_ns), reference(frames, now_ns)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert all(math.isnan(value) for name, value in found.items() if name not in expected)


def test_the_transform_is_numpys() -> None:
    rng = np.random.default_rng(1)
    samples = rng.normal(size=64) + 1j * rng.normal(size=64)
    real, imaginary = samples.real.copy(), samples.imag.copy()
    fourier.transform(real, imaginary)
    np.testing.assert_allclose(real + 1j * imaginary, np.fft.fft(samples), rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [30, 700, 1_000, 4_444, 9_000])
def test_spectra_are_those_of_scipy_and_resonators_their_sums(count: int) -> None:
    frames = walk(count, seed=count)
    stream = Stream(spectral)
    stream.update(frames)
    for later in (0, 70 * MS, 3_333 * MS):
        assert_reference(stream, frames, int(frames["recv_ns"][-1]) + later)


@pytest.mark.parametrize("files", [SPOT, COINM], ids=["spot", "coinm"])
def test_spectra_of_a_recording_are_those_of_scipy(files: tuple[str, ...]) -> None:
    frames = usable(files)
    stream = Stream(spectral)
    done = 0
    for count in (len(frames) // 9, len(frames) // 3, len(frames)):
        stream.update(frames[done:count])
        done = count
        assert_reference(stream, frames[:count], int(frames["recv_ns"][count - 1]))
    assert np.isfinite(stream.vector(int(frames["recv_ns"][-1]))).all()


@pytest.mark.parametrize("bin_number", [2, 5, 11, 25])
def test_a_pure_tone_is_found_where_it_is(bin_number: int) -> None:
    tone = 1e6 * np.exp(1e-3 * np.cumsum(np.sin(2 * math.pi * bin_number * np.arange(1_000) / 64)))
    frames = of_mids(tone.round(), 100 * MS)
    stream = Stream(spectral)
    stream.update(frames)
    found = stream.read(int(frames["recv_ns"][-1]))
    assert found["dominant_period_100ms"] == pytest.approx(math.log2(64 / bin_number))
    bands = [found[f"band_{k + 1}_100ms"] for k in range(BANDS)]
    edges = spectral.EDGES
    assert int(np.argmax(bands)) == next(k for k in range(BANDS) if edges[k] <= bin_number < edges[k + 1])
    # A sine of 1e-3 has a root mean square of 7.07 bps.
    assert math.hypot(*bands) == pytest.approx(7.07, rel=0.01)
    assert found["spectral_entropy_100ms"] < 0.4


@pytest.mark.parametrize("period", [10, 20])
def test_a_resonator_hears_its_own_period(period: int) -> None:
    phase = 2 * math.pi * np.arange(2_000) / period
    frames = of_mids((1e6 * np.exp(1e-3 * np.cumsum(np.cos(phase)))).round(), 100 * MS)
    stream = Stream(spectral)
    stream.update(frames)
    found = stream.read(int(frames["recv_ns"][-1]))
    powers = {p: found[f"cycle_{int(p)}_power_100ms"] for p in spectral.PERIODS}
    # Half of a real wave's power turns the other way round.
    assert max(powers, key=lambda p: powers[p]) == period and powers[period] == pytest.approx(0.5, abs=0.03)


def test_white_noise_is_flat_and_its_running_sum_is_steep() -> None:
    rng = np.random.default_rng(3)
    noise = 1e-3 * rng.normal(size=300)
    found = []
    for returns in (noise, 0.1 * np.cumsum(noise)):
        stream = Stream(spectral)
        stream.update(of_mids((1e7 * np.exp(np.cumsum(returns))).round(), 100 * MS))
        found.append(stream.read(START_NS + 30 * SECOND))
    assert abs(found[0]["spectral_slope_100ms"]) < 0.4 and found[0]["spectral_entropy_100ms"] > 0.9
    assert found[1]["spectral_slope_100ms"] < -1.5


def test_what_never_moves_has_no_power() -> None:
    frames = of_mids([1000] * 700, 100 * MS)
    stream = Stream(spectral)
    stream.update(frames)
    found = stream.read(int(frames["recv_ns"][-1]) + 100 * SECOND)
    assert set(found.values()) == {0.0}


@pytest.mark.parametrize("pause", [1, 31, 319, 320, 321, 5_000])
def test_a_long_silence_is_as_many_returns_of_zero(pause: int) -> None:
    prices = 1000 + np.random.default_rng(2).integers(-5, 6, 500).cumsum()
    frames = of_mids(np.append(prices, 1000), 100 * MS)
    frames["recv_ns"][-1] += pause * 100 * MS
    stream = Stream(spectral)
    stream.update(frames)
    now_ns = int(frames["recv_ns"][-1])
    found, expected = stream.read(now_ns), reference(frames, now_ns)
    for name, value in expected.items():
        if name.endswith("_100ms") and name.startswith(("band", "cycle")):
            # What is left of a move five thousand steps ago is no movement any more.
            assert found[name] == pytest.approx(value if pause < 1_000 else 0.0, rel=1e-9, abs=1e-9), name
    more = of_mids(1000 + np.random.default_rng(3).integers(-5, 6, 400).cumsum(), 100 * MS, now_ns)
    stream.update(more)
    later_ns = int(more["recv_ns"][-1])
    found, expected = stream.read(later_ns), reference(np.concatenate([frames, more]), later_ns)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_price_beyond_all_sense_is_forgotten() -> None:
    prices = 100_000 + np.random.default_rng(5).integers(-9, 10, 8_000).cumsum()
    wild = prices.copy()
    wild[200] = 10**15
    calm, shaken = Stream(spectral), Stream(spectral)
    calm.update(of_mids(prices, 100 * MS))
    shaken.update(of_mids(wild, 100 * MS))
    now_ns = START_NS + 800 * SECOND
    found, expected = shaken.read(now_ns), calm.read(now_ns)
    assert np.isfinite(list(found.values())).all()
    for name in found:
        if name.endswith("_100ms"):
            assert found[name] == pytest.approx(expected[name], rel=1e-6, abs=1e-6), name
