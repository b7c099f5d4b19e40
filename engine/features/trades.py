"""Who trades, how much, how often and in which rhythm, over half-lives from a second to two minutes."""

from __future__ import annotations

import numpy as np

from engine.core.jit import kernel
from engine.features.decay import LN2
from engine.features.family import Vector

HALF_LIVES_S = (1.0, 5.0, 30.0, 120.0)
FAST, USUAL = 0, 3
"""Places among the half-lives: of what is new, and of what is usual."""

_LABELS = ("1s", "5s", "30s", "120s")
FEATURES: tuple[tuple[str, str], ...] = (
    *((f"trades_count_imbalance_{h}", "[-1, 1]") for h in _LABELS),
    *((f"trades_size_imbalance_{h}", "[-1, 1]") for h in _LABELS),
    *((f"trades_value_imbalance_{h}", "[-1, 1]") for h in _LABELS),
    *((f"mid_above_vwap_{h}_bps", "bps of mid above it") for h in _LABELS),
    *((f"buy_rate_{h}_log", "ln(1 + trades/s)") for h in _LABELS),
    *((f"sell_rate_{h}_log", "ln(1 + trades/s)") for h in _LABELS),
    ("buy_burst_log", "ln of fast over usual rate"),
    ("sell_burst_log", "ln of fast over usual rate"),
    ("trade_size_log", "ln of recent over usual size"),
    ("trade_volume_log", "ln of recent over usual size/s"),
    ("run_trades_log", "signed ln(1 + trades)"),
    ("run_size_log", "signed ln(1 + usual sizes)"),
    ("buy_age_log", "ln(1 + s)"),
    ("sell_age_log", "ln(1 + s)"),
)
"""Name and unit of each output, in order; bursts are those of a self-exciting (Hawkes) process: new over usual rate."""

WARM_UP_S: tuple[float, ...] = (*HALF_LIVES_S * 6, *(30.0,) * 4, *(0.0,) * 4)

# Slots of the family's memory: decayed sums, four half-lives each; the run; seconds since a buy and a sale, -1: none.
BUYS, SELLS, BOUGHT, SOLD, BOUGHT_FOR, SOLD_FOR = range(0, 24, 4)
RUN_TRADES, RUN_SIZE, BUY_AGE, SELL_AGE = range(24, 28)
MEMORY = 28

_COUNT = len(HALF_LIVES_S)
_RATES = tuple(LN2 / half_life_s for half_life_s in HALF_LIVES_S)
_FADED = 1e-6  # trades; less is the memory of a trade long ago


@kernel
def start(now: np.void, memory: Vector) -> None:
    """Begin at the first frame of a usable book."""
    memory[:] = 0.0
    memory[BUY_AGE] = memory[SELL_AGE] = -1.0


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: Vector) -> None:
    """Take one frame; its trades are taken to be at the last one's price. Trades of both sides in a frame end a run."""
    if seconds > 0.0:
        for h in range(_COUNT):
            kept = np.exp(-_RATES[h] * seconds)
            for k in range(BUYS, RUN_TRADES, _COUNT):
                memory[k + h] *= kept
        for age in (BUY_AGE, SELL_AGE):
            if memory[age] >= 0.0:
                memory[age] += seconds
    buys, sells = float(now["buys"]), float(now["sells"])
    if buys == 0.0 and sells == 0.0:
        return
    bought, sold = float(now["buy_size"]), float(now["sell_size"])
    price = float(now["last_price"])
    for h in range(_COUNT):
        memory[BUYS + h] += buys
        memory[SELLS + h] += sells
        memory[BOUGHT + h] += bought
        memory[SOLD + h] += sold
        memory[BOUGHT_FOR + h] += bought * price
        memory[SOLD_FOR + h] += sold * price
    if buys > 0.0:
        memory[BUY_AGE] = 0.0
    if sells > 0.0:
        memory[SELL_AGE] = 0.0
    if buys > 0.0 and sells > 0.0:
        memory[RUN_TRADES] = memory[RUN_SIZE] = 0.0
    else:
        if memory[RUN_TRADES] * (buys - sells) < 0.0:
            memory[RUN_TRADES] = memory[RUN_SIZE] = 0.0
        memory[RUN_TRADES] += buys - sells
        memory[RUN_SIZE] += bought - sold


@kernel
def _balance(plus: float, minus: float, lives: bool) -> float:
    return (plus - minus) / (plus + minus) if lives and plus + minus > 0.0 else np.nan


@kernel
def read(last: np.void, tick: float, seconds: float, now_ns: int, memory: Vector, out: Vector) -> None:
    """Write the features as they stand ``seconds`` after the last frame."""
    mid = (float(last["bid"][0]) + float(last["ask"][0])) / 2.0
    kept = np.empty(_COUNT)
    for h in range(_COUNT):
        kept[h] = np.exp(-_RATES[h] * seconds)
        lives = (memory[BUYS + h] + memory[SELLS + h]) * kept[h] > _FADED
        size = memory[BOUGHT + h] + memory[SOLD + h]
        value = memory[BOUGHT_FOR + h] + memory[SOLD_FOR + h]
        out[h] = _balance(memory[BUYS + h], memory[SELLS + h], lives)
        out[_COUNT + h] = _balance(memory[BOUGHT + h], memory[SOLD + h], lives)
        out[2 * _COUNT + h] = _balance(memory[BOUGHT_FOR + h], memory[SOLD_FOR + h], lives)
        out[3 * _COUNT + h] = (mid - value / size) / mid * 1e4 if lives and size > 0.0 else np.nan
        out[4 * _COUNT + h] = np.log1p(memory[BUYS + h] * kept[h] * _RATES[h])
        out[5 * _COUNT + h] = np.log1p(memory[SELLS + h] * kept[h] * _RATES[h])
    n = 6 * _COUNT
    out[n] = out[4 * _COUNT + FAST] - out[4 * _COUNT + USUAL]
    out[n + 1] = out[5 * _COUNT + FAST] - out[5 * _COUNT + USUAL]
    recent, usual = FAST + 1, USUAL
    trades = (memory[BUYS + recent] + memory[SELLS + recent]) * kept[recent]
    usually = (memory[BUYS + usual] + memory[SELLS + usual]) * kept[usual]
    size = (memory[BOUGHT + recent] + memory[SOLD + recent]) * kept[recent]
    usual_size = (memory[BOUGHT + usual] + memory[SOLD + usual]) * kept[usual]
    lives = trades > _FADED and size > 0.0
    out[n + 2] = np.log(size / trades * usually / usual_size) if lives else np.nan
    out[n + 3] = np.log(size * _RATES[recent] / (usual_size * _RATES[usual])) if lives else np.nan
    out[n + 4] = np.sign(memory[RUN_TRADES]) * np.log1p(abs(memory[RUN_TRADES]))
    run = memory[RUN_SIZE] * usually / usual_size if usually > _FADED and usual_size > 0.0 else np.nan
    out[n + 5] = np.sign(run) * np.log1p(abs(run))
    out[n + 6] = np.log1p(memory[BUY_AGE] + seconds) if memory[BUY_AGE] >= 0.0 else np.nan
    out[n + 7] = np.log1p(memory[SELL_AGE] + seconds) if memory[SELL_AGE] >= 0.0 else np.nan
