"""How the queues at the touch live: how fast size comes and goes, how often each best price moves, the usual spread."""

from __future__ import annotations

import numpy as np

from engine.core.jit import kernel
from engine.features.decay import LN2
from engine.features.family import Vector

HALF_LIVES_S = (1.0, 10.0)
USUAL_HALF_LIFE_S = 30.0

_LABELS = ("1s", "10s")
_EVENTS = ("bid_added", "bid_removed", "ask_added", "ask_removed", "bid_up", "bid_down", "ask_up", "ask_down")
_RATES_IN = ("ln(1 + usual best sizes/s)",) * 4 + ("ln(1 + moves/s)",) * 4
FEATURES: tuple[tuple[str, str], ...] = (
    *((f"{event}_{h}_log", unit) for h in _LABELS for event, unit in zip(_EVENTS, _RATES_IN, strict=True)),
    *((f"touch_pressure_{h}", "[-1, 1]") for h in _LABELS),
    *((f"touch_direction_{h}", "[-1, 1]") for h in _LABELS),
    ("spread_log", "ln of spread over its usual"),
)
"""Name and unit of each output, in order."""

WARM_UP_S: tuple[float, ...] = (*(1.0,) * 8, *(10.0,) * 8, 1.0, 10.0, 1.0, 10.0, 5.0)

# Slots of the family's memory: decayed sums of the eight events by half-life, then the usual best size and spread.
ADDED_BID, REMOVED_BID, ADDED_ASK, REMOVED_ASK, BID_UP, BID_DOWN, ASK_UP, ASK_DOWN = range(8)
KINDS = 8
SIZE = KINDS * len(HALF_LIVES_S)
SPREAD = SIZE + 1
MEMORY = SPREAD + 1

_RATES = tuple(LN2 / half_life_s for half_life_s in HALF_LIVES_S)
_COUNT = len(HALF_LIVES_S)
_USUAL_RATE = LN2 / USUAL_HALF_LIFE_S
_FADED = 1e-9  # of what a half-life's sum is made of; less is the memory of something long ago


@kernel
def best_size(frame: np.void) -> float:
    """The mean displayed size of the two best levels."""
    return (float(frame["bid_size"][0]) + float(frame["ask_size"][0])) / 2.0


@kernel
def start(now: np.void, memory: Vector) -> None:
    """Begin at the first frame of a usable book."""
    memory[:] = 0.0
    memory[SIZE] = best_size(now)
    memory[SPREAD] = float(now["ask"][0] - now["bid"][0])


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: Vector) -> None:
    """Take one frame; size counts as come or gone only where the best price stayed."""
    if seconds > 0.0:
        for h in range(_COUNT):
            kept = np.exp(-_RATES[h] * seconds)
            for k in range(KINDS):
                memory[h * KINDS + k] *= kept
        keep = np.exp(-_USUAL_RATE * seconds)
        memory[SIZE] = memory[SIZE] * keep + best_size(last) * (1.0 - keep)
        memory[SPREAD] = memory[SPREAD] * keep + float(last["ask"][0] - last["bid"][0]) * (1.0 - keep)
    bid = now["bid"][0] - last["bid"][0]
    ask = now["ask"][0] - last["ask"][0]
    more_bid = float(now["bid_size"][0] - last["bid_size"][0]) if bid == 0 else 0.0
    more_ask = float(now["ask_size"][0] - last["ask_size"][0]) if ask == 0 else 0.0
    if bid == 0 and ask == 0 and more_bid == 0.0 and more_ask == 0.0:
        return
    for h in range(_COUNT):
        at = h * KINDS
        memory[at + ADDED_BID] += max(0.0, more_bid)
        memory[at + REMOVED_BID] += max(0.0, -more_bid)
        memory[at + ADDED_ASK] += max(0.0, more_ask)
        memory[at + REMOVED_ASK] += max(0.0, -more_ask)
        memory[at + BID_UP] += 1.0 if bid > 0 else 0.0
        memory[at + BID_DOWN] += 1.0 if bid < 0 else 0.0
        memory[at + ASK_UP] += 1.0 if ask > 0 else 0.0
        memory[at + ASK_DOWN] += 1.0 if ask < 0 else 0.0


@kernel
def read(last: np.void, tick: float, seconds: float, now_ns: int, memory: Vector, out: Vector) -> None:
    """Write the features as they stand ``seconds`` after the last frame.

    Pressure: size that came to the bid or left the ask, less the opposite, over both; direction: moves up less moves
    down over both.
    """
    keep = np.exp(-_USUAL_RATE * seconds)
    usual = max(1.0, memory[SIZE] * keep + best_size(last) * (1.0 - keep))
    for h in range(_COUNT):
        at = h * KINDS
        kept = np.exp(-_RATES[h] * seconds)
        for k in range(KINDS):
            rate = memory[at + k] * kept * _RATES[h]
            out[at + k] = np.log1p(rate / usual if k < BID_UP else rate)
        buying = memory[at + ADDED_BID] + memory[at + REMOVED_ASK]
        selling = memory[at + REMOVED_BID] + memory[at + ADDED_ASK]
        lives = (buying + selling) * kept > _FADED * usual
        out[SIZE + h] = (buying - selling) / (buying + selling) if lives else np.nan
        up = memory[at + BID_UP] + memory[at + ASK_UP]
        down = memory[at + BID_DOWN] + memory[at + ASK_DOWN]
        out[SIZE + _COUNT + h] = (up - down) / (up + down) if (up + down) * kept > _FADED else np.nan
    spread = float(last["ask"][0] - last["bid"][0])
    out[SIZE + 2 * _COUNT] = np.log(spread / (memory[SPREAD] * keep + spread * (1.0 - keep)))
