"""What the displayed book says: spread, microprice, imbalance and order-flow imbalance.

Order-flow imbalance follows Cont, Kukanov and Stoikov, "The price impact of order book events" (2014): what was added
to the bid less what was added to the ask, where a better price counts as an addition and a worse one as a removal. Here
it is summed with exponential decay and divided by the usual displayed size, so that symbols can be compared.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.decay import LN2

LEVELS = 5
HALF_LIVES_S = (0.5, 5.0)
DEPTH_HALF_LIFE_S = 30.0

FEATURES: tuple[tuple[str, str], ...] = (
    ("spread_bps", "bps"),
    ("spread_ticks", "ticks"),
    ("microprice_bps", "bps from mid"),
    ("imbalance_1", "[-1, 1]"),
    ("imbalance_5", "[-1, 1]"),
    ("ofi_1_500ms", "usual best sizes"),
    ("ofi_1_5s", "usual best sizes"),
    ("ofi_5_500ms", "usual sizes of five levels"),
    ("ofi_5_5s", "usual sizes of five levels"),
)
"""Name and unit of each output, in order."""

WARM_UP_S = 0.0

# Slots of the family's memory.
OFI_1_FAST, OFI_1_SLOW, OFI_5_FAST, OFI_5_SLOW, DEPTH_1, DEPTH_5 = range(6)
MEMORY = 6

_FAST = LN2 / HALF_LIVES_S[0]
_SLOW = LN2 / HALF_LIVES_S[1]
_DEPTH = LN2 / DEPTH_HALF_LIFE_S


@kernel
def depth(frame: np.void, levels: int) -> float:
    """The mean of both sides' displayed size over the best levels, in size units."""
    total = 0.0
    for k in range(levels):
        total += float(frame["bid_size"][k]) + float(frame["ask_size"][k])
    return total / 2.0


@kernel
def imbalance(frame: np.void, levels: int) -> float:
    """(bid size - ask size) / (bid size + ask size) over the best levels, in [-1, 1]; 0 without any size."""
    bids = 0.0
    asks = 0.0
    for k in range(levels):
        bids += float(frame["bid_size"][k])
        asks += float(frame["ask_size"][k])
    return (bids - asks) / (bids + asks) if bids + asks > 0.0 else 0.0


@kernel
def order_flow(last: np.void, now: np.void, level: int) -> float:
    """Order-flow imbalance between two frames at one level, in size units; positive when buyers added.

    A missing level (price 0) is worse than any price and holds nothing.
    """
    flow = 0.0
    bid, was_bid = now["bid"][level], last["bid"][level]
    if bid >= was_bid:
        flow += float(now["bid_size"][level])
    if bid <= was_bid:
        flow -= float(last["bid_size"][level])
    ask, was_ask = now["ask"][level], last["ask"][level]
    if ask != 0 and (was_ask == 0 or ask <= was_ask):
        flow -= float(now["ask_size"][level])
    if was_ask != 0 and (ask == 0 or ask >= was_ask):
        flow += float(last["ask_size"][level])
    return flow


@kernel
def start(now: np.void, memory: npt.NDArray[np.float64]) -> None:
    """Begin at the first frame of a usable book."""
    memory[:] = 0.0
    memory[DEPTH_1] = depth(now, 1)
    memory[DEPTH_5] = depth(now, LEVELS)


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: npt.NDArray[np.float64]) -> None:
    """Take one frame; ``seconds`` since the one before."""
    first = order_flow(last, now, 0)
    whole = first
    for level in range(1, LEVELS):
        whole += order_flow(last, now, level)
    fast = np.exp(-_FAST * seconds)
    slow = np.exp(-_SLOW * seconds)
    memory[OFI_1_FAST] = memory[OFI_1_FAST] * fast + first
    memory[OFI_1_SLOW] = memory[OFI_1_SLOW] * slow + first
    memory[OFI_5_FAST] = memory[OFI_5_FAST] * fast + whole
    memory[OFI_5_SLOW] = memory[OFI_5_SLOW] * slow + whole
    # What was displayed held until this frame, so the average decays towards the frame before.
    keep = np.exp(-_DEPTH * seconds)
    memory[DEPTH_1] = memory[DEPTH_1] * keep + depth(last, 1) * (1.0 - keep)
    memory[DEPTH_5] = memory[DEPTH_5] * keep + depth(last, LEVELS) * (1.0 - keep)


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
    bid, ask = float(last["bid"][0]), float(last["ask"][0])
    bid_size, ask_size = float(last["bid_size"][0]), float(last["ask_size"][0])
    mid = (bid + ask) / 2.0
    out[0] = (ask - bid) / mid * 1e4
    out[1] = (ask - bid) / tick
    sizes = bid_size + ask_size
    micro = (bid * ask_size + ask * bid_size) / sizes if sizes > 0.0 else mid
    out[2] = (micro - mid) / mid * 1e4
    out[3] = imbalance(last, 1)
    out[4] = imbalance(last, LEVELS)
    fast = np.exp(-_FAST * seconds)
    slow = np.exp(-_SLOW * seconds)
    keep = np.exp(-_DEPTH * seconds)
    # At least one size unit, so that a book of empty levels divides by no zero.
    usual_1 = max(1.0, memory[DEPTH_1] * keep + depth(last, 1) * (1.0 - keep))
    usual_5 = max(1.0, memory[DEPTH_5] * keep + depth(last, LEVELS) * (1.0 - keep))
    out[5] = memory[OFI_1_FAST] * fast / usual_1
    out[6] = memory[OFI_1_SLOW] * slow / usual_1
    out[7] = memory[OFI_5_FAST] * fast / usual_5
    out[8] = memory[OFI_5_SLOW] * slow / usual_5
