"""What chartists see: technical indicators over bars of clock time, of one and of ten seconds.

A bar is what the mid did in one step of engine time, with the traded volume: it begins with the mid that stood when
the step began, and closes with the mid that stood at its end, which the first frame after it, or a reading after it,
makes known. A bar without a frame repeats the last close. The step in which the book became usable was seen in part
only and makes no bar. The indicators themselves are those of TA-Lib (indicators.py); as features they are ratios and
bps of the last close, and say 0 where TA-Lib says 0 percent for want of any movement.
"""

from __future__ import annotations

import numpy as np

from engine.core.jit import kernel
from engine.features import indicators
from engine.features.grid import Vector, doubled_mid, step_of

STEPS_NS = (1_000_000_000, 10_000_000_000)
STEP_NAMES = ("1s", "10s")

LONGEST = 512
"""Bars closed at once that are worked out one by one: after so many, 13/14 to their power is less than 1e-16."""

_FEATURES: tuple[tuple[str, str], ...] = (
    ("sma", "bps of close above it"),
    ("ema", "bps of close above it"),
    ("rsi", "[-1, 1]"),
    ("macd", "bps"),
    ("macd_signal", "bps"),
    ("macd_histogram", "bps"),
    ("bollinger_position", "half widths of the bands"),
    ("bollinger_width", "bps"),
    ("atr", "bps"),
    ("stochastic_k", "[-1, 1]"),
    ("stochastic_d", "[-1, 1]"),
    ("roc", "bps"),
    ("direction", "[-1, 1]"),
    ("adx", "[0, 1]"),
    ("bar_volume", "[0, 1]"),
)

FEATURES: tuple[tuple[str, str], ...] = tuple(
    (f"{name}_{step}", unit) for step in STEP_NAMES for name, unit in _FEATURES
)
"""Name and unit of each output, in order."""

WARM_UP_S: tuple[float, ...] = tuple(
    bars * step_ns * 1e-9
    for step_ns in STEPS_NS
    for bars in (20, 20, 15, 34, 34, 34, 20, 20, 15, 18, 18, 11, 15, 28, 20)
)
"""The bars of TA-Lib's warm-up; up to one bar more is the step that was seen in part."""

INDICATORS = (
    indicators.AVERAGE,
    indicators.BAND_WIDTH,
    indicators.WILDER,
    indicators.FAST,
    indicators.SLOW,
    indicators.SIGNAL,
    indicators.STOCHASTIC,
    indicators.SMOOTHING,
    indicators.CHANGE,
)
"""What the numbers depend on besides this file."""

# Slots of one step's part of the memory; after them the indicators'.
STEP, WHOLE, HIGH, LOW, VOLUME = range(5)
BARS = 5
_PART = BARS + indicators.MEMORY
_EACH = len(_FEATURES)
_STILL = 1e-12  # of the close; Wilder's averages below it are the memory of moves hundreds of bars ago
MEMORY = len(STEPS_NS) * _PART


@kernel
def close_bars(mid: float, step: float, part: Vector) -> None:
    """Close the bars that ended before the step ``step``; ``mid`` stood since the last frame."""
    passed = int(step - part[STEP])
    if passed <= 0:
        return
    for _ in range(min(passed, LONGEST)):
        if part[WHOLE] != 0.0:
            indicators.push(part[HIGH], part[LOW], mid, part[VOLUME], part[BARS:])
        part[WHOLE], part[HIGH], part[LOW], part[VOLUME] = 1.0, mid, mid, 0.0
    part[STEP] = step


@kernel
def start(now: np.void, memory: Vector) -> None:
    """Begin at the first frame of a usable book."""
    memory[:] = 0.0
    for k in range(len(STEPS_NS)):
        memory[k * _PART + STEP] = step_of(now["recv_ns"], STEPS_NS[k])


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: Vector) -> None:
    """Take one frame; ``last`` is the one before."""
    was, mid = doubled_mid(last) / 2.0, doubled_mid(now) / 2.0
    for k in range(len(STEPS_NS)):
        part = memory[k * _PART : (k + 1) * _PART]
        close_bars(was, step_of(now["recv_ns"], STEPS_NS[k]), part)
        part[HIGH], part[LOW] = max(part[HIGH], mid), min(part[LOW], mid)
        part[VOLUME] += float(now["buy_size"]) + float(now["sell_size"])


@kernel
def read(last: np.void, tick: float, seconds: float, now_ns: int, memory: Vector, out: Vector) -> None:
    """Write the features as they stand at ``now_ns``; bars that ended since the last frame count as closed.

    >>> from engine.core.events import FRAME
    >>> frames = np.zeros(2, FRAME)
    >>> frames["recv_ns"], frames["bid"][:, 0], frames["ask"][:, 0] = (1, 2_500_000_000), (99, 109), (101, 111)
    >>> memory, out = np.zeros(MEMORY), np.zeros(len(FEATURES))
    >>> start(frames[0], memory)
    >>> update(frames[0], frames[1], 2.5, memory)
    >>> read(frames[1], 1.0, 37.5, 40_000_000_000, memory, out)
    >>> named = dict(zip([name for name, _ in FEATURES], out.tolist()))
    >>> named["sma_1s"], named["rsi_1s"], named["atr_1s"] > 0, named["sma_10s"]
    (0.0, 1.0, True, nan)
    """
    mid = doubled_mid(last) / 2.0
    for k in range(len(STEPS_NS)):
        part = memory[k * _PART : (k + 1) * _PART]
        step = step_of(now_ns, STEPS_NS[k])
        if step > part[STEP]:
            part = part.copy()
            close_bars(mid, step, part)
        _read_one(part[BARS:], out[k * _EACH : (k + 1) * _EACH])


@kernel
def _read_one(bars: Vector, out: Vector) -> None:
    out[:] = np.nan
    if bars[indicators.COUNT] == 0.0:
        return
    raw = np.empty(len(indicators.VALUES))
    indicators.values(bars, raw)
    close = bars[indicators.VOLUMES - 1]
    out[0] = (close / raw[0] - 1.0) * 1e4
    out[1] = (close / raw[1] - 1.0) * 1e4
    # TA-Lib's RSI is 0 after falls alone, and where nothing moved too; and it repeats itself while nothing moves.
    moved = bars[indicators.GAIN] + bars[indicators.LOSS] > _STILL * close
    out[2] = raw[2] / 50.0 - 1.0 if moved or np.isnan(raw[2]) else 0.0
    for k in range(3, 6):
        out[k] = raw[k] / close * 1e4
    wide = (raw[6] - raw[7]) / 2.0
    out[6] = (close - raw[0]) / wide if wide > 0.0 or np.isnan(wide) else 0.0
    out[7] = 2.0 * wide / raw[0] * 1e4
    out[8] = raw[8] / close * 1e4
    if not np.isnan(raw[9]):
        slow, slower = indicators.stochastic(50.0, bars)
        out[9], out[10] = slow / 50.0 - 1.0, slower / 50.0 - 1.0
    out[11] = raw[11] * 100.0
    ranged = bars[indicators.ATR] > _STILL * close
    out[12] = (raw[12] - raw[13]) / 100.0 if ranged or np.isnan(raw[12]) else 0.0
    out[13] = raw[14] / 100.0
    if not np.isnan(raw[0]):
        volumes = bars[indicators.OTHERS - indicators.AVERAGE : indicators.OTHERS]
        volume, usual = volumes[-1], indicators.mean(volumes)
        out[14] = volume / (volume + usual) if usual > 0.0 else 0.5
