"""What other symbols do: those that may lead this one, and the same base and quote on other venues.

Prices of one asset move first where they are discovered (Hasbrouck, "One security, many markets", 1995), and large
coins before small ones. The basket is the mean over all leaders whose book may be used; the first three leaders have
numbers of their own. Beta is the decayed slope of this symbol's returns a second on the basket's, and the residual what
the symbol did beyond it. The venue gap is the log distance of the twins' mean mid from this one, less its own average.

A leader that is missing, in doubt or silent for long is nan, and no part of the basket.
"""

from __future__ import annotations

import numpy as np

from engine.core.events import Frames
from engine.core.jit import borrowed, kernel
from engine.features.book import imbalance, order_flow
from engine.features.decay import LN2
from engine.features.family import LEADERS, SKIP, START, TWINS, UNIT, Indices, Rows, Vector
from engine.features.returns import log_change

RETURN_HALF_LIVES_S = (0.25, 1.0, 5.0)
FLOW_HALF_LIVES_S = (1.0, 10.0)
OFI_HALF_LIFE_S = 1.0
DEPTH_HALF_LIFE_S = 30.0
BETA_HALF_LIFE_BINS = 300.0  # seconds, each a bin
GAP_HALF_LIFE_BINS = 60.0
NAMED = 3
SILENT_S = 10.0

_OF_ONE = (
    ("return_250ms_bps", "bps of mid above its average"),
    ("return_1s_bps", "bps of mid above its average"),
    ("return_5s_bps", "bps of mid above its average"),
    ("microprice_bps", "bps from mid"),
    ("best_imbalance", "[-1, 1]"),
    ("ofi_1s", "usual best sizes"),
    ("flow_1s", "[-1, 1]"),
    ("flow_10s", "[-1, 1]"),
)
FEATURES: tuple[tuple[str, str], ...] = (
    *((f"basket_{name}", unit) for name, unit in _OF_ONE),
    *((f"leader_{k}_{name}", unit) for k in range(1, NAMED + 1) for name, unit in _OF_ONE),
    ("basket_beta", "bps a bps"),
    ("basket_correlation", "correlation"),
    ("basket_residual_250ms_bps", "bps beyond beta"),
    ("basket_residual_1s_bps", "bps beyond beta"),
    ("basket_residual_5s_bps", "bps beyond beta"),
    ("venue_gap_bps", "bps of twins above, less the average"),
)
"""Name and unit of each output, in order."""

WARM_UP_S: tuple[float, ...] = (*(5.0,) * (len(_OF_ONE) * (NAMED + 1)), *(30.0,) * 5, 30.0)

# Slots of a symbol's memory. SECOND, of the first symbol only: the second under way.
LIVE, MID, SECOND, BIN_MID, RETURN = range(5)  # LIVE: 1 where the last frame's book may be used
GAPS = 5
FLOWS = GAPS + len(RETURN_HALF_LIVES_S)  # by half-life: signed size, size
OFI = FLOWS + 2 * len(FLOW_HALF_LIVES_S)
DEPTH = OFI + 1
WEIGHT, X, Y, XX, XY, YY = range(DEPTH + 1, DEPTH + 7)
GAP_WEIGHT, GAP_SUM = range(DEPTH + 7, DEPTH + 9)
MEMORY = DEPTH + 9

_ONE = len(_OF_ONE)
_RETURNS, _FLOWS = len(RETURN_HALF_LIVES_S), len(FLOW_HALF_LIVES_S)
_RETURN_RATES = tuple(LN2 / half_life_s for half_life_s in RETURN_HALF_LIVES_S)
_FLOW_RATES = tuple(LN2 / half_life_s for half_life_s in FLOW_HALF_LIVES_S)
_OFI_RATE = LN2 / OFI_HALF_LIFE_S
_DEPTH_RATE = LN2 / DEPTH_HALF_LIFE_S
_BETA_KEPT = 0.5 ** (1.0 / BETA_HALF_LIFE_BINS)
_GAP_KEPT = 0.5 ** (1.0 / GAP_HALF_LIFE_BINS)
_ENOUGH = 10.0  # bins
_FADED = 1e-6  # size units
_NS = 1_000_000_000


@kernel
def best_size(frame: np.void) -> float:
    """The mean displayed size of the two best levels."""
    return (float(frame["bid_size"][0]) + float(frame["ask_size"][0])) / 2.0


@kernel
def gap_bps(own: Vector, row: int, at: int, symbol: int, others: Indices) -> float:
    """The mean log mid of the twins whose book may be used over this symbol's, in bps; nan without any."""
    mine = own[symbol * row + at + MID] * own[symbol * row + UNIT]
    total = 0.0
    count = 0
    for other in others[symbol, TWINS]:
        if other >= 0 and own[other * row + at + LIVE] != 0.0:
            total += np.log(own[other * row + at + MID] * own[other * row + UNIT] / mine)
            count += 1
    return total / count * 1e4 if count > 0 else np.nan


@kernel
def close_second(own: Vector, row: int, at: int, others: Indices) -> None:
    """Take the returns since the last close into every symbol's beta, and the gaps into their averages."""
    symbols = others.shape[0]
    for symbol in range(symbols):
        mine = own[symbol * row + at : symbol * row + at + MEMORY]
        known = mine[LIVE] != 0.0 and mine[BIN_MID] > 0.0
        mine[RETURN] = np.log(mine[MID] / mine[BIN_MID]) * 1e4 if known else np.nan
        mine[BIN_MID] = mine[MID] if mine[LIVE] != 0.0 else 0.0
    for symbol in range(symbols):
        mine = own[symbol * row + at : symbol * row + at + MEMORY]
        y = mine[RETURN]
        x = 0.0
        count = 0
        for other in others[symbol, LEADERS]:
            if other >= 0 and own[other * row + at + RETURN] == own[other * row + at + RETURN]:
                x += own[other * row + at + RETURN]
                count += 1
        if count > 0 and y == y:
            x /= count
            mine[WEIGHT] = mine[WEIGHT] * _BETA_KEPT + 1.0
            mine[X] = mine[X] * _BETA_KEPT + x
            mine[Y] = mine[Y] * _BETA_KEPT + y
            mine[XX] = mine[XX] * _BETA_KEPT + x * x
            mine[XY] = mine[XY] * _BETA_KEPT + x * y
            mine[YY] = mine[YY] * _BETA_KEPT + y * y
        if mine[LIVE] != 0.0:
            gap = gap_bps(own, row, at, symbol, others)
            if gap == gap:
                mine[GAP_WEIGHT] = mine[GAP_WEIGHT] * _GAP_KEPT + 1.0
                mine[GAP_SUM] = mine[GAP_SUM] * _GAP_KEPT + gap


@kernel
def follow(last: np.void, now: np.void, seconds: float, mine: Vector) -> None:
    """Take one frame of a symbol."""
    change = log_change(last, now)
    for h in range(_RETURNS):
        mine[GAPS + h] = mine[GAPS + h] * np.exp(-_RETURN_RATES[h] * seconds) + change
    bought, sold = float(now["buy_size"]), float(now["sell_size"])
    for h in range(_FLOWS):
        kept = np.exp(-_FLOW_RATES[h] * seconds)
        mine[FLOWS + 2 * h] = mine[FLOWS + 2 * h] * kept + (bought - sold)
        mine[FLOWS + 2 * h + 1] = mine[FLOWS + 2 * h + 1] * kept + (bought + sold)
    mine[OFI] = mine[OFI] * np.exp(-_OFI_RATE * seconds) + order_flow(last, now, 0)
    keep = np.exp(-_DEPTH_RATE * seconds)
    mine[DEPTH] = mine[DEPTH] * keep + best_size(last) * (1.0 - keep)


@kernel
def absorb(
    frames: Frames, plan: Rows, lasts: Frames, flat: Vector, row: int, at: int, size: int, others: Indices
) -> None:
    """Take a block of frames of all symbols; a second is closed, for all of them, by the first frame after it."""
    own = borrowed(flat)
    for i in range(frames.shape[0]):
        now = frames[i]
        symbol = now["symbol"]
        second = float(now["recv_ns"] // _NS)
        if second > own[at + SECOND]:
            if own[at + SECOND] > 0.0:
                close_second(own, row, at, others)
            own[at + SECOND] = second
        mine = own[symbol * row + at : symbol * row + at + MEMORY]
        step = plan[i]["step"]
        if step == SKIP:
            mine[LIVE] = 0.0
            continue
        if step == START:
            kept = mine[SECOND]
            mine[:] = 0.0
            mine[SECOND] = kept
            mine[LIVE] = 1.0
            mine[DEPTH] = best_size(now)
        else:
            was = plan[i]["was"]
            last = frames[was] if was >= 0 else lasts[symbol]
            follow(last, now, plan[i]["seconds"], mine)
        mine[MID] = (float(now["bid"][0]) + float(now["ask"][0])) / 2.0


@kernel
def read_one(last: np.void, seconds: float, mine: Vector, out: Vector) -> None:
    """Write the eight numbers of one symbol; nan where its book may not be used or it is silent."""
    if mine[LIVE] == 0.0 or seconds > SILENT_S:
        out[:] = np.nan
        return
    for h in range(_RETURNS):
        out[h] = mine[GAPS + h] * np.exp(-_RETURN_RATES[h] * seconds) * 1e4
    bid, ask = float(last["bid"][0]), float(last["ask"][0])
    bid_size, ask_size = float(last["bid_size"][0]), float(last["ask_size"][0])
    sizes = bid_size + ask_size
    n = _RETURNS
    out[n] = (ask - bid) / 2.0 * (bid_size - ask_size) / sizes / mine[MID] * 1e4 if sizes > 0.0 else np.nan
    out[n + 1] = imbalance(last, 1) if sizes > 0.0 else np.nan
    keep = np.exp(-_DEPTH_RATE * seconds)
    usual = max(1.0, mine[DEPTH] * keep + best_size(last) * (1.0 - keep))
    out[n + 2] = mine[OFI] * np.exp(-_OFI_RATE * seconds) / usual
    for h in range(_FLOWS):
        size = mine[FLOWS + 2 * h + 1]
        lives = size * np.exp(-_FLOW_RATES[h] * seconds) > _FADED
        out[n + 3 + h] = mine[FLOWS + 2 * h] / size if lives else np.nan


@kernel
def read_row(
    lasts: Frames, symbol: int, now_ns: int, flat: Vector, row: int, at: int, size: int, others: Indices, out: Vector
) -> None:
    """Write the features of a symbol at ``now_ns``."""
    own = borrowed(flat)
    out[:] = np.nan
    one = np.empty(_ONE)
    counts = np.zeros(_ONE)
    sums = np.zeros(_ONE)
    for k in range(others.shape[2]):
        other = others[symbol, LEADERS, k]
        if other < 0:
            break
        seconds = max(0, now_ns - lasts[other]["recv_ns"]) * 1e-9
        read_one(lasts[other], seconds, own[other * row + at : other * row + at + MEMORY], one)
        for j in range(_ONE):
            if one[j] == one[j]:
                sums[j] += one[j]
                counts[j] += 1.0
            if k < NAMED:
                out[(k + 1) * _ONE + j] = one[j]
    for j in range(_ONE):
        out[j] = sums[j] / counts[j] if counts[j] > 0.0 else np.nan
    mine = own[symbol * row + at : symbol * row + at + MEMORY]
    n = _ONE * (NAMED + 1)
    weight = mine[WEIGHT]
    xx = mine[XX] * weight - mine[X] * mine[X]
    xy = mine[XY] * weight - mine[X] * mine[Y]
    yy = mine[YY] * weight - mine[Y] * mine[Y]
    # Below a share of rounding there was no movement at all.
    told = weight >= _ENOUGH and xx > 1e-9 * mine[XX] * weight
    fits = told and yy > 1e-9 * mine[YY] * weight
    out[n] = xy / xx if told else np.nan
    out[n + 1] = min(1.0, max(-1.0, xy / np.sqrt(xx) / np.sqrt(yy))) if fits else np.nan
    seconds = max(0, now_ns - lasts[symbol]["recv_ns"]) * 1e-9
    for h in range(_RETURNS):
        moved = mine[GAPS + h] * np.exp(-_RETURN_RATES[h] * seconds) * 1e4
        out[n + 2 + h] = moved - out[n] * out[h]
    average = mine[GAP_SUM] / mine[GAP_WEIGHT] if mine[GAP_WEIGHT] >= _ENOUGH else np.nan
    out[n + 5] = gap_bps(own, row, at, symbol, others) - average
