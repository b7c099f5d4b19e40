"""What the trades say: who was the aggressor, how busy it is, and how far the price ran from where it traded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.decay import LN2

HALF_LIVES_S = (0.5, 2.0, 10.0)

FEATURES: tuple[tuple[str, str], ...] = (
    ("flow_500ms", "[-1, 1]"),
    ("flow_2s", "[-1, 1]"),
    ("flow_10s", "[-1, 1]"),
    ("flow_count_2s", "[-1, 1]"),
    ("trade_rate_log", "ln(1 + trades/s)"),
    ("trade_burst_log", "ln of fast over slow rate"),
    ("vwap_2s_bps", "bps of mid above it"),
    ("vwap_10s_bps", "bps of mid above it"),
)
"""Name and unit of each output, in order."""

WARM_UP_S = 0.0

# Slots of the family's memory: decayed sums over each half-life.
SIGNED, VOLUME, VALUE = 0, 3, 6  # three each: signed size, size, price times size
COUNT_FAST, COUNT_SLOW, COUNT_SIGNED = 9, 10, 11
MEMORY = 12

_RATES = (LN2 / HALF_LIVES_S[0], LN2 / HALF_LIVES_S[1], LN2 / HALF_LIVES_S[2])
_FADED = 1e-6  # size units; less is the memory of a trade long ago, no flow


@kernel
def start(now: np.void, memory: npt.NDArray[np.float64]) -> None:
    """Begin at the first frame of a usable book; its own trades are not counted, as the one before is unknown."""
    memory[:] = 0.0


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: npt.NDArray[np.float64]) -> None:
    """Take one frame; ``seconds`` since the one before. The price of its trades is taken to be the last one's."""
    buy, sell = float(now["buy_size"]), float(now["sell_size"])
    buys, sells = float(now["buys"]), float(now["sells"])
    price = float(now["last_price"])
    for k in range(3):
        keep = np.exp(-_RATES[k] * seconds)
        memory[SIGNED + k] = memory[SIGNED + k] * keep + (buy - sell)
        memory[VOLUME + k] = memory[VOLUME + k] * keep + (buy + sell)
        memory[VALUE + k] = memory[VALUE + k] * keep + price * (buy + sell)
        if k == 1:
            memory[COUNT_FAST] = memory[COUNT_FAST] * keep + (buys + sells)
            memory[COUNT_SIGNED] = memory[COUNT_SIGNED] * keep + (buys - sells)
        elif k == 2:
            memory[COUNT_SLOW] = memory[COUNT_SLOW] * keep + (buys + sells)


@kernel
def read(
    last: np.void,
    tick: float,
    seconds: float,
    now_ns: int,
    memory: npt.NDArray[np.float64],
    out: npt.NDArray[np.float64],
) -> None:
    """Write the features as they stand ``seconds`` after the last frame."""
    mid = (float(last["bid"][0]) + float(last["ask"][0])) / 2.0
    for k in range(3):
        volume = memory[VOLUME + k]
        traded = volume * np.exp(-_RATES[k] * seconds) > _FADED
        out[k] = memory[SIGNED + k] / volume if traded else 0.0
        if k >= 1:
            out[5 + k] = (mid - memory[VALUE + k] / volume) / mid * 1e4 if traded else 0.0
    fast = np.exp(-_RATES[1] * seconds)
    slow = np.exp(-_RATES[2] * seconds)
    count = memory[COUNT_FAST]
    out[3] = memory[COUNT_SIGNED] / count if count * fast > _FADED else 0.0
    rate_fast = count * fast * _RATES[1]
    rate_slow = memory[COUNT_SLOW] * slow * _RATES[2]
    out[4] = np.log1p(rate_fast)
    out[5] = np.log1p(rate_fast) - np.log1p(rate_slow)
