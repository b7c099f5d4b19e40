"""Technical indicators over bars, streaming, with the numbers of TA-Lib including its warm-up.

One memory row holds the last bars and the recursive averages; ``push`` takes a closed bar, ``values`` says what every
indicator stands at. The definitions are those of TA-Lib (https://ta-lib.org/functions/): averages that remember
begin with the plain mean of their first values, Wilder's ones with the plain mean or sum of theirs, MACD begins both
of its averages at the same bar, and nothing is known (nan) before the bar where TA-Lib gives its first number.
"""

from __future__ import annotations

import numpy as np

from engine.core.jit import kernel
from engine.features.grid import Vector

AVERAGE = 20  # bars of the simple and exponential average and of Bollinger's bands
BAND_WIDTH = 2.0  # standard deviations on each side
WILDER = 14  # bars of RSI, average true range and directional movement
FAST, SLOW, SIGNAL = 12, 26, 9  # bars of MACD
STOCHASTIC, SMOOTHING = 14, 3  # bars of the range, and of each of the two means over it
CHANGE = 10  # bars of the rate of change

VALUES: tuple[str, ...] = (
    "sma",
    "ema",
    "rsi",
    "macd",
    "macd_signal",
    "macd_histogram",
    "bollinger_upper",
    "bollinger_lower",
    "atr",
    "stochastic_k",
    "stochastic_d",
    "roc",
    "plus_di",
    "minus_di",
    "adx",
)
"""What ``values`` writes, in order: prices in the units of the bars, the others in percent as in TA-Lib."""

# Slots of the memory: the number of bars, the last bars (oldest first, as many as the longest mean needs), averages.
WINDOW = SLOW
COUNT = 0
HIGHS, LOWS, CLOSES, VOLUMES = 1, 1 + WINDOW, 1 + 2 * WINDOW, 1 + 3 * WINDOW
OTHERS = 1 + 4 * WINDOW
_EMA, GAIN, LOSS, _FAST, _SLOW, _SIGNAL, ATR, _PLUS, _MINUS, _RANGE, _ADX = range(OTHERS, OTHERS + 11)
MEMORY = OTHERS + 11


@kernel
def mean(bars: Vector) -> float:
    """The mean, added up anew each time, so that a price long gone leaves no rounding behind.

    >>> mean(np.array([1.0, 2.0, 6.0]))
    3.0
    """
    total = 0.0
    for value in bars:
        total += value
    return total / len(bars)


@kernel
def moved_average(average: float, value: float, count: int) -> float:
    """Wilder's average with one more value, which begins with the mean of its first; ``count`` of them with this one.

    >>> moved_average(0.0, 28.0, 1), moved_average(14.0, 28.0, 15)
    (2.0, 15.0)
    """
    return average + value / WILDER if count <= WILDER else (average * (WILDER - 1) + value) / WILDER


@kernel
def directions(memory: Vector) -> tuple[float, float, float]:
    """Plus and minus directional indicator in percent, and the share of their difference, -1 where undefined."""
    if not memory[_RANGE] > 0.0:
        return 0.0, 0.0, -1.0
    plus = 100.0 * memory[_PLUS] / memory[_RANGE]
    minus = 100.0 * memory[_MINUS] / memory[_RANGE]
    return plus, minus, 100.0 * abs(minus - plus) / (plus + minus) if plus + minus > 0.0 else -1.0


@kernel
def _move(high: float, low: float, close: float, bars: int, memory: Vector) -> None:
    """RSI, true range and directional movement of the newest of ``bars``, before it is put among the last ones."""
    was_high, was_low, was = memory[LOWS - 1], memory[CLOSES - 1], memory[VOLUMES - 1]
    memory[GAIN] = moved_average(memory[GAIN], max(close - was, 0.0), bars - 1)
    memory[LOSS] = moved_average(memory[LOSS], max(was - close, 0.0), bars - 1)
    true_range = max(high - low, abs(was - high), abs(was - low))
    memory[ATR] = moved_average(memory[ATR], true_range, bars - 1)
    up, down = high - was_high, was_low - low
    # The first sums hold one movement less than the period: TA-Lib smooths from the period's last bar on.
    keep = 1.0 if bars <= WILDER else 1.0 - 1.0 / WILDER
    memory[_PLUS] = memory[_PLUS] * keep + (up if up > 0.0 and up > down else 0.0)
    memory[_MINUS] = memory[_MINUS] * keep + (down if down > 0.0 and down > up else 0.0)
    memory[_RANGE] = memory[_RANGE] * keep + true_range
    if bars > WILDER:
        index = directions(memory)[2]
        if index >= 0.0:
            memory[_ADX] = moved_average(memory[_ADX], index, bars - WILDER)


@kernel
def push(high: float, low: float, close: float, volume: float, memory: Vector) -> None:
    """Take a closed bar; prices in any one unit. The memory starts as zeros.

    >>> memory, out = np.zeros(MEMORY), np.zeros(len(VALUES))
    >>> for close in range(100, 120):
    ...     push(close + 1.0, close - 1.0, float(close), 1.0, memory)
    >>> values(memory, out)
    >>> named = dict(zip(VALUES, out.tolist()))
    >>> named["sma"], named["rsi"], named["atr"], named["macd"]
    (109.5, 100.0, 2.0, nan)
    """
    bars = int(memory[COUNT]) + 1
    if bars > 1:
        _move(high, low, close, bars, memory)
    memory[COUNT] = bars
    for k in range(HIGHS, OTHERS - 1):
        memory[k] = memory[k + 1]
    memory[LOWS - 1], memory[CLOSES - 1], memory[VOLUMES - 1], memory[OTHERS - 1] = high, low, close, volume
    if bars == AVERAGE:
        memory[_EMA] = mean(memory[VOLUMES - AVERAGE : VOLUMES])
    elif bars > AVERAGE:
        memory[_EMA] += (close - memory[_EMA]) * (2.0 / (AVERAGE + 1))
    if bars == SLOW:
        memory[_FAST] = mean(memory[VOLUMES - FAST : VOLUMES])
        memory[_SLOW] = mean(memory[VOLUMES - SLOW : VOLUMES])
    elif bars > SLOW:
        memory[_FAST] += (close - memory[_FAST]) * (2.0 / (FAST + 1))
        memory[_SLOW] += (close - memory[_SLOW]) * (2.0 / (SLOW + 1))
    if bars >= SLOW + SIGNAL:
        memory[_SIGNAL] += (memory[_FAST] - memory[_SLOW] - memory[_SIGNAL]) * (2.0 / (SIGNAL + 1))
    elif bars >= SLOW:
        memory[_SIGNAL] += (memory[_FAST] - memory[_SLOW]) / SIGNAL


@kernel
def stochastic(neutral: float, memory: Vector) -> tuple[float, float]:
    """Slow %K and %D in percent: where closes stood in the range of 14 bars, the mean of three, and of three of those.

    ``neutral`` is where a close stands that had no range.
    """
    slow = 0.0
    total = 0.0
    for back in range(2 * SMOOTHING - 1):
        highest, lowest = memory[LOWS - 1 - back], memory[CLOSES - 1 - back]
        for k in range(back + 1, back + STOCHASTIC):
            highest, lowest = max(highest, memory[LOWS - 1 - k]), min(lowest, memory[CLOSES - 1 - k])
        spread = highest - lowest
        fast = (memory[VOLUMES - 1 - back] - lowest) / spread * 100.0 if spread > 0.0 else neutral
        if back < SMOOTHING:
            slow += fast / SMOOTHING
        # The mean of the three means holds the middle bar three times and the outer ones once.
        total += fast * min(back + 1, 2 * SMOOTHING - 1 - back)
    return slow, total / (SMOOTHING * SMOOTHING)


@kernel
def deviation(bars: Vector) -> float:
    """The standard deviation about the mean, as a whole population's.

    >>> deviation(np.array([1.0, 3.0]))
    1.0
    """
    centre = mean(bars)
    total = 0.0
    for value in bars:
        total += (value - centre) ** 2
    return float(np.sqrt(total / len(bars)))


@kernel
def values(memory: Vector, out: Vector) -> None:
    """Write what each of ``VALUES`` stands at after the last bar; nan where it is not known yet."""
    bars = int(memory[COUNT])
    out[:] = np.nan
    if bars >= AVERAGE:
        closes = memory[VOLUMES - AVERAGE : VOLUMES]
        out[0] = mean(closes)
        out[1] = memory[_EMA]
        wide = BAND_WIDTH * deviation(closes)
        out[6], out[7] = out[0] + wide, out[0] - wide
    if bars > WILDER:
        moved = memory[GAIN] + memory[LOSS]
        out[2] = 100.0 * memory[GAIN] / moved if moved > 0.0 else 0.0
        out[8] = memory[ATR]
        out[12], out[13], _ = directions(memory)
    if bars >= SLOW + SIGNAL - 1:
        out[3] = memory[_FAST] - memory[_SLOW]
        out[4] = memory[_SIGNAL]
        out[5] = out[3] - out[4]
    if bars >= STOCHASTIC + 2 * (SMOOTHING - 1):
        out[9], out[10] = stochastic(0.0, memory)
    if bars > CHANGE:
        was = memory[VOLUMES - 1 - CHANGE]
        out[11] = (memory[VOLUMES - 1] / was - 1.0) * 100.0 if was != 0.0 else 0.0
    if bars >= 2 * WILDER:
        out[14] = memory[_ADX]
