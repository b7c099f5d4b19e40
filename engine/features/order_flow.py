"""Order-flow imbalance of each of ten levels, and one number of them all.

Cont, Cucuringu and Zhang, "Cross-impact of order flow imbalance in equity markets" (2023): the flow of each level over
the usual size of a level, and the integrated one along the first principal component of the ten, its weights scaled to
sum to one in absolute value. Here the component follows the market: the second moments of the flow in bins of a second
decay, and one step of the power iteration a bin turns the weights towards the first component.
"""

from __future__ import annotations

import numpy as np

from engine.core.events import FRAME_LEVELS
from engine.core.jit import kernel
from engine.features.book import order_flow
from engine.features.decay import LN2
from engine.features.family import Vector

HALF_LIVES_S = (0.5, 5.0, 30.0)
DEPTH_HALF_LIFE_S = 30.0
BIN_S = 1.0
MOMENTS_HALF_LIFE_BINS = 300.0

_LABELS = ("500ms", "5s", "30s")
FEATURES: tuple[tuple[str, str], ...] = (
    *((f"ofi_level_{k}_{h}", "usual level sizes") for h in _LABELS for k in range(1, FRAME_LEVELS + 1)),
    *((f"ofi_10_{h}", "usual level sizes") for h in _LABELS),
    *((f"ofi_integrated_{h}", "usual level sizes") for h in _LABELS),
)
"""Name and unit of each output, in order."""

WARM_UP_S: tuple[float, ...] = (*(h for h in HALF_LIVES_S for _ in range(FRAME_LEVELS)), *HALF_LIVES_S, *(30.0,) * 3)

# Slots of the family's memory.
FLOWS = 0  # by half-life, then level: decayed flow, size units
DEPTH = len(HALF_LIVES_S) * FRAME_LEVELS  # the usual size of a level
CLOCK = DEPTH + 1  # seconds since the bin began
BIN = CLOCK + 1  # by level: flow of the bin, usual level sizes
WEIGHTS = BIN + FRAME_LEVELS  # by level: the first component
MOMENTS = WEIGHTS + FRAME_LEVELS  # level by level: decayed second moments of the bins
MEMORY = MOMENTS + FRAME_LEVELS * FRAME_LEVELS

_RATES = tuple(LN2 / half_life_s for half_life_s in HALF_LIVES_S)
_COUNT = len(HALF_LIVES_S)
_DEPTH_RATE = LN2 / DEPTH_HALF_LIFE_S
_KEEP = 0.5 ** (1.0 / MOMENTS_HALF_LIFE_BINS)


@kernel
def level_size(frame: np.void) -> float:
    """The mean displayed size of a level, over both sides and ten levels."""
    total = 0.0
    for k in range(FRAME_LEVELS):
        total += float(frame["bid_size"][k]) + float(frame["ask_size"][k])
    return total / (2.0 * FRAME_LEVELS)


@kernel
def start(now: np.void, memory: Vector) -> None:
    """Begin at the first frame of a usable book, with equal weights."""
    memory[:] = 0.0
    memory[DEPTH] = level_size(now)
    memory[WEIGHTS : WEIGHTS + FRAME_LEVELS] = 1.0 / FRAME_LEVELS


@kernel
def turn(memory: Vector) -> None:
    """Close a bin: take it into the second moments, and turn the weights by one step of the power iteration."""
    turned = np.zeros(FRAME_LEVELS)
    length = 0.0
    for i in range(FRAME_LEVELS):
        for j in range(FRAME_LEVELS):
            at = MOMENTS + i * FRAME_LEVELS + j
            memory[at] = memory[at] * _KEEP + memory[BIN + i] * memory[BIN + j]
            turned[i] += memory[at] * memory[WEIGHTS + j]
        length += abs(turned[i])
    if 0.0 < length < np.inf:
        for i in range(FRAME_LEVELS):
            memory[WEIGHTS + i] = turned[i] / length
    memory[BIN : BIN + FRAME_LEVELS] = 0.0
    memory[CLOCK] = 0.0


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: Vector) -> None:
    """Take one frame; ``seconds`` since the one before."""
    if seconds > 0.0:
        keep = np.exp(-_DEPTH_RATE * seconds)
        memory[DEPTH] = memory[DEPTH] * keep + level_size(last) * (1.0 - keep)
        for h in range(_COUNT):
            kept = np.exp(-_RATES[h] * seconds)
            for k in range(FRAME_LEVELS):
                memory[FLOWS + h * FRAME_LEVELS + k] *= kept
        memory[CLOCK] += seconds
        if memory[CLOCK] >= BIN_S:
            turn(memory)
    usual = max(1.0, memory[DEPTH])
    for k in range(FRAME_LEVELS):
        flow = order_flow(last, now, k)
        if flow != 0.0:
            memory[BIN + k] += flow / usual
            for h in range(_COUNT):
                memory[FLOWS + h * FRAME_LEVELS + k] += flow


@kernel
def read(last: np.void, tick: float, seconds: float, now_ns: int, memory: Vector, out: Vector) -> None:
    """Write the features as they stand ``seconds`` after the last frame."""
    keep = np.exp(-_DEPTH_RATE * seconds)
    # At least one size unit, so that a book of empty levels divides by no zero.
    usual = max(1.0, memory[DEPTH] * keep + level_size(last) * (1.0 - keep))
    for h in range(_COUNT):
        kept = np.exp(-_RATES[h] * seconds) / usual
        every = along = 0.0
        for k in range(FRAME_LEVELS):
            flow = memory[FLOWS + h * FRAME_LEVELS + k] * kept
            out[h * FRAME_LEVELS + k] = flow
            every += flow
            along += flow * memory[WEIGHTS + k]
        out[_COUNT * FRAME_LEVELS + h] = every
        out[_COUNT * FRAME_LEVELS + _COUNT + h] = along
