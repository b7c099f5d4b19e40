"""Bars against plain slicing of the frames, their indicators against TA-Lib."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engine.core.events import Frames
from engine.features import bars, indicators
from tests.frames import MS, SECOND, START_NS, walk
from tests.recorded import SPOT
from tests.streams import COINM, Stream, Vector, mids, of_mids, step_ends, usable

talib: Any = pytest.importorskip("talib", reason="TA-Lib is in the dev extra")


def reference(high: Vector, low: Vector, close: Vector) -> dict[str, Vector]:
    """TA-Lib's numbers, in the order of ``indicators.VALUES``."""
    macd, signal, histogram = talib.MACD(close, 12, 26, 9)
    upper, _, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    slow_k, slow_d = talib.STOCH(high, low, close, 14, 3, 0, 3, 0)
    found = {
        "sma": talib.SMA(close, 20),
        "ema": talib.EMA(close, 20),
        "rsi": talib.RSI(close, 14),
        "macd": macd,
        "macd_signal": signal,
        "macd_histogram": histogram,
        "bollinger_upper": upper,
        "bollinger_lower": lower,
        "atr": talib.ATR(high, low, close, 14),
        "stochastic_k": slow_k,
        "stochastic_d": slow_d,
        "roc": talib.ROC(close, 10),
        "plus_di": talib.PLUS_DI(high, low, close, 14),
        "minus_di": talib.MINUS_DI(high, low, close, 14),
        "adx": talib.ADX(high, low, close, 14),
    }
    assert tuple(found) == indicators.VALUES
    return found


def pushed(high: Vector, low: Vector, close: Vector) -> dict[str, Vector]:
    """The kernel's numbers after each bar."""
    memory, out = np.zeros(indicators.MEMORY), np.zeros((len(close), len(indicators.VALUES)))
    for k in range(len(close)):
        indicators.push(high[k], low[k], close[k], 1.0, memory)
        indicators.values(memory, out[k])
    return dict(zip(indicators.VALUES, out.T, strict=True))


def random_bars(count: int, seed: int) -> tuple[Vector, Vector, Vector]:
    """Bars of a coarse random walk about 100, with flat stretches, gaps, and bars that go one way only."""
    rng = np.random.default_rng(seed)
    moves = np.round(rng.normal(size=count) * 0.4, 1) * (rng.random(count) < 0.8)
    moves[count // 3 : count // 3 + 40] = 0.0
    moves[count // 2 : count // 2 + 20] = 0.2
    close = 100.0 + np.cumsum(moves)
    began = np.concatenate([close[:1], close[:-1]])
    wicks = np.round(np.abs(rng.normal(size=(2, count))) * 0.2, 1) * (rng.random((2, count)) < 0.6)
    wicks[:, count // 3 : count // 3 + 40] = 0.0
    return np.maximum(began, close) + wicks[0], np.minimum(began, close) - wicks[1], close


def assert_same(found: dict[str, Vector], expected: dict[str, Vector], scale: float) -> None:
    for name in indicators.VALUES:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-9 * scale, err_msg=name)


@pytest.mark.parametrize("unit", [1.0, 1e9, 1e-20])
@pytest.mark.parametrize("seed", range(5))
def test_indicators_are_those_of_ta_lib_with_its_warm_up(seed: int, unit: float) -> None:
    made: list[Vector] = [np.asarray(unit * each, np.float64) for each in random_bars(600, seed)]
    high, low, close = made
    assert_same(pushed(high, low, close), reference(high, low, close), 100.0 * max(unit, 1.0))


@pytest.mark.parametrize("count", [1, 10, 11, 14, 15, 18, 20, 27, 28, 33, 34])
def test_indicators_of_few_bars_are_those_of_ta_lib(count: int) -> None:
    high, low, close = random_bars(count, 3)
    found, expected = pushed(high, low, close), reference(high, low, close)
    assert_same(found, expected, 100.0)
    assert np.isnan(found["adx"]).all() == (count < 28) and np.isnan(found["macd"]).all() == (count < 34)


@pytest.mark.parametrize("climb", [0.0, 1.0, -1.0])
def test_indicators_of_a_straight_line_are_those_of_ta_lib(climb: float) -> None:
    close: Vector = np.asarray(100.0 + climb * np.arange(60), np.float64)
    assert_same(pushed(close, close, close), reference(close, close, close), 100.0)


def plain_bars(frames: Frames, step_ns: int, now_ns: int) -> tuple[Vector, Vector, Vector, Vector]:
    """High, low, close and volume of the whole steps that ended by now, from the frames themselves."""
    ends = step_ends(frames, step_ns, now_ns)
    times, prices = frames["recv_ns"], mids(frames)
    sizes = (frames["buy_size"] + frames["sell_size"]).astype(np.float64)
    found = []
    for begin, end in pairwise(ends.tolist()):
        inside = (times >= begin) & (times < end)
        before = prices[np.flatnonzero(times < begin)[-1]]
        seen = np.concatenate([[before], prices[inside]])
        found.append((seen.max(), seen.min(), seen[-1], sizes[inside].sum()))
    high, low, close, volume = np.array(found).T
    return high, low, close, volume


def features(high: Vector, low: Vector, close: Vector, volume: Vector, step: str) -> dict[str, float]:
    """What the features of a step are, from bars by TA-Lib; for markets that move all the time."""
    # TA-Lib takes variances as differences of large squares, so bands are measured on prices near zero.
    base = close.mean() - 100.0
    near = reference(high - base, low - base, close - base)
    raw = {name: float(values[-1]) for name, values in near.items()}
    last, sma, ema = close[-1], raw["sma"] + base, raw["ema"] + base
    wide = (raw["bollinger_upper"] - raw["bollinger_lower"]) / 2
    found = {
        "sma": (last / sma - 1) * 1e4,
        "ema": (last / ema - 1) * 1e4,
        "rsi": raw["rsi"] / 50 - 1,
        "macd": raw["macd"] / last * 1e4,
        "macd_signal": raw["macd_signal"] / last * 1e4,
        "macd_histogram": raw["macd_histogram"] / last * 1e4,
        "bollinger_position": (last - sma) / wide,
        "bollinger_width": 2 * wide / sma * 1e4,
        "atr": raw["atr"] / last * 1e4,
        "stochastic_k": raw["stochastic_k"] / 50 - 1,
        "stochastic_d": raw["stochastic_d"] / 50 - 1,
        "roc": float(talib.ROC(close, 10)[-1]) * 100,
        "direction": (raw["plus_di"] - raw["minus_di"]) / 100,
        "adx": raw["adx"] / 100,
        "bar_volume": volume[-1] / (volume[-1] + volume[-20:].mean()),
    }
    return {f"{name}_{step}": float(value) for name, value in found.items()}


def test_features_are_ratios_of_the_indicators_of_plain_bars() -> None:
    frames = walk(45_000, seed=8)
    stream = Stream(bars)
    done = 0
    for count in (41_000, 43_111, 45_000):
        stream.update(frames[done:count])
        done = count
        for later in (0, 400 * MS, 1_700 * MS):
            now_ns = int(frames["recv_ns"][count - 1]) + later
            found = stream.read(now_ns)
            for step, step_ns in zip(bars.STEP_NAMES, bars.STEPS_NS, strict=True):
                expected = features(*plain_bars(frames[:count], step_ns, now_ns), step)
                assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("files", [SPOT, COINM], ids=["spot", "coinm"])
def test_features_of_a_recording_are_those_of_ta_lib(files: tuple[str, ...]) -> None:
    frames = usable(files)
    stream = Stream(bars)
    compared, done = 0, 0
    # Flat stretches, where the features differ from TA-Lib on purpose, have a test of their own.
    for count in range(len(frames) // 2, len(frames), len(frames) // 17):
        stream.update(frames[done:count])
        done = count
        now_ns = int(frames["recv_ns"][count - 1])
        high, low, close, volume = plain_bars(frames[:count], SECOND, now_ns)
        if all(high[k - 14 : k].max() > low[k - 14 : k].min() for k in range(len(high) - 4, len(high) + 1)):
            found, expected = stream.read(now_ns), features(high, low, close, volume, "1s")
            assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)
            compared += 1
    assert compared >= 5


def test_a_bar_closes_at_its_end_and_never_early() -> None:
    frames = of_mids([1000, 1010, 1020], 700 * MS)  # at 0, 0.7 and 1.4 s, and the last bar's end is at 2 s
    stream = Stream(bars)
    stream.update(frames)
    assert np.isnan(list(stream.read(START_NS + 2 * SECOND - 1).values())).all()
    part = stream.memory.copy()
    bars.close_bars(1020.0, float((START_NS + 2 * SECOND) // SECOND), part[: len(part) // 2])
    rows = part[bars.BARS :]
    assert rows[indicators.COUNT] == 1
    newest = [rows[end - 1] for end in (indicators.LOWS, indicators.CLOSES, indicators.VOLUMES)]
    assert newest == [1020.0, 1010.0, 1020.0]


def test_what_never_moves_is_neutral() -> None:
    frames = of_mids([1000] * 500, SECOND)
    stream = Stream(bars)
    stream.update(frames)
    found = stream.read(int(frames["recv_ns"][-1]))
    neutral = {name: 0.5 if name.startswith("bar_volume") else 0.0 for name in stream.names}
    assert found == pytest.approx(neutral)


@pytest.mark.parametrize("pause", [2, 511, 512, 513, 600, 10_000_000])
def test_a_long_silence_is_as_many_empty_bars(pause: int) -> None:
    prices = 1000 + np.random.default_rng(2).integers(-5, 6, 100).cumsum()
    frames = of_mids(np.append(prices, 1000), SECOND)
    frames["recv_ns"][-1] += pause * SECOND
    stream = Stream(bars)
    stream.update(frames)
    high, low, close, _ = plain_bars(frames[:-1], SECOND, int(frames["recv_ns"][-2]) // SECOND * SECOND + SECOND)
    empty = np.full(min(pause, 5_000), prices[-1], np.float64)
    expected = reference(*(np.concatenate([one, empty]) for one in (high, low, close)))
    out: npt.NDArray[np.float64] = np.zeros(len(indicators.VALUES))
    indicators.values(stream.memory[bars.BARS : bars.BARS + indicators.MEMORY], out)
    for name, value in zip(indicators.VALUES, out.tolist(), strict=True):
        assert value == pytest.approx(float(expected[name][-1]), rel=1e-9, abs=1e-9), name


def test_a_price_beyond_all_sense_is_forgotten() -> None:
    prices = 100_000 + np.random.default_rng(5).integers(-9, 10, 1200).cumsum()
    wild = prices.copy()
    wild[200] = 10**15
    calm, shaken = Stream(bars), Stream(bars)
    calm.update(of_mids(prices, SECOND))
    shaken.update(of_mids(wild, SECOND))
    now_ns = START_NS + 1200 * SECOND
    found, expected = shaken.read(now_ns), calm.read(now_ns)
    assert {k: v for k, v in found.items() if k.endswith("_1s")} == pytest.approx(
        {k: v for k, v in expected.items() if k.endswith("_1s")}, rel=1e-6, abs=1e-6
    )
    assert np.isfinite(list(found.values())).all()
