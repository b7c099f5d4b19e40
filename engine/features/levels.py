"""The shape of the displayed book over ten levels: depth, imbalance, microprice, slope and gaps of each side.

The microprice over several levels weighs each pair of levels by the opposite sizes, as the one of the best level does
(Stoikov, "The micro-price", 2018, of which it is the first approximation). The slope is that of the cumulated share of
the side's size against the distance from the mid (in the spirit of Næs and Skjeltorp, "Order book characteristics and
the volume-volatility relation", 2006).
"""

from __future__ import annotations

import numpy as np

from engine.core.events import FRAME_LEVELS
from engine.core.jit import kernel
from engine.features.decay import LN2
from engine.features.family import Vector

DEPTHS = (1, 3, 5, 10)
IMBALANCES = (3, 10)
MICROPRICES = (2, 3, 5, 10)
BANDS_BPS = (1.0, 2.0, 5.0, 10.0, 25.0)
DEPTH_HALF_LIFE_S = 30.0
WARM_UP_S = 5.0

FEATURES: tuple[tuple[str, str], ...] = (
    *((f"depth_{k}_log", "ln of depth over its usual") for k in DEPTHS),
    *((f"imbalance_{k}", "[-1, 1]") for k in IMBALANCES),
    *((f"imbalance_level_{k}", "[-1, 1]") for k in range(2, FRAME_LEVELS + 1)),
    ("imbalance_weighted", "[-1, 1]"),
    *((f"microprice_{k}_bps", "bps from mid") for k in MICROPRICES),
    *((f"band_{b:.0f}bps_imbalance", "[-1, 1]") for b in BANDS_BPS),
    *((f"band_{b:.0f}bps_share", "share of ten levels") for b in BANDS_BPS),
    ("bid_centre_bps", "bps from mid"),
    ("ask_centre_bps", "bps from mid"),
    ("bid_slope", "share a bps"),
    ("ask_slope", "share a bps"),
    ("slope_imbalance", "[-1, 1]"),
    ("bid_gap_ticks", "ticks"),
    ("ask_gap_ticks", "ticks"),
    ("bid_gap_most_ticks", "ticks"),
    ("ask_gap_most_ticks", "ticks"),
    ("bid_reach_bps", "bps from best"),
    ("ask_reach_bps", "bps from best"),
)
"""Name and unit of each output, in order."""

MEMORY = len(DEPTHS)  # the usual depth within so many levels

_RATE = LN2 / DEPTH_HALF_LIFE_S
_DEEP = len(DEPTHS)


@kernel
def share(bids: float, asks: float) -> float:
    """(bids - asks) / (bids + asks), in [-1, 1]; nan where there is neither.

    >>> share(3.0, 1.0), share(0.0, 0.0)
    (0.5, nan)
    """
    return (bids - asks) / (bids + asks) if bids + asks > 0.0 else np.nan


@kernel
def depths(frame: np.void, out: Vector) -> None:
    """The mean of both sides' displayed size within each of ``DEPTHS`` levels."""
    total = 0.0
    done = 0
    for k in range(_DEEP):
        while done < DEPTHS[k]:
            total += float(frame["bid_size"][done]) + float(frame["ask_size"][done])
            done += 1
        out[k] = total / 2.0


@kernel
def start(now: np.void, memory: Vector) -> None:
    """Begin at the first frame of a usable book."""
    depths(now, memory)


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: Vector) -> None:
    """Take one frame; what was displayed held until now, so the averages decay towards the frame before."""
    if seconds > 0.0:
        keep = np.exp(-_RATE * seconds)
        total = 0.0
        done = 0
        for k in range(_DEEP):
            while done < DEPTHS[k]:
                total += float(last["bid_size"][done]) + float(last["ask_size"][done])
                done += 1
            memory[k] = memory[k] * keep + total / 2.0 * (1.0 - keep)


@kernel
def _side(prices: Vector, sizes: Vector, mid: float, tick: float, out: Vector) -> None:
    """Of one side: centre and slope by distance from the mid in bps; gaps between its levels; reach.

    ``out``: centre, slope, first gap, largest gap (ticks), reach (bps).
    """
    total = 0.0
    for k in range(FRAME_LEVELS):
        total += sizes[k]
    centre = cumulated = distances = crossed = 0.0
    first = most = reach = np.nan
    for k in range(FRAME_LEVELS):
        if prices[k] == 0.0:
            break
        distance = abs(prices[k] - mid) / mid * 1e4
        centre += sizes[k] * distance
        cumulated += sizes[k]
        crossed += distance * cumulated
        distances += distance * distance
        reach = abs(prices[k] - prices[0]) / mid * 1e4
        if k > 0:
            gap = abs(prices[k] - prices[k - 1]) / tick
            first = gap if k == 1 else first
            most = gap if k == 1 else max(most, gap)
    out[0] = centre / total if total > 0.0 else np.nan
    out[1] = crossed / total / distances if total > 0.0 and distances > 0.0 else np.nan
    out[2] = first
    out[3] = most
    out[4] = reach


@kernel
def read(last: np.void, tick: float, seconds: float, now_ns: int, memory: Vector, out: Vector) -> None:
    """Write the features as they stand ``seconds`` after the last frame."""
    bid, bid_size = last["bid"].astype(np.float64), last["bid_size"].astype(np.float64)
    ask, ask_size = last["ask"].astype(np.float64), last["ask_size"].astype(np.float64)
    mid = (bid[0] + ask[0]) / 2.0
    n = 0
    keep = np.exp(-_RATE * seconds)
    shown = np.empty(_DEEP)
    depths(last, shown)
    for k in range(_DEEP):
        usual = memory[k] * keep + shown[k] * (1.0 - keep)
        out[n] = np.log(shown[k] / usual) if shown[k] > 0.0 and usual > 0.0 else np.nan
        n += 1
    for k in range(len(IMBALANCES)):
        out[n] = share(bid_size[: IMBALANCES[k]].sum(), ask_size[: IMBALANCES[k]].sum())
        n += 1
    bids = asks = 0.0
    for k in range(FRAME_LEVELS):
        if k > 0:
            out[n] = share(bid_size[k], ask_size[k])
            n += 1
        bids += bid_size[k] / (k + 1.0)
        asks += ask_size[k] / (k + 1.0)
    out[n] = share(bids, asks)
    n += 1
    for m in range(len(MICROPRICES)):
        value = sizes = 0.0
        for k in range(MICROPRICES[m]):
            if bid[k] > 0.0 and ask[k] > 0.0:
                value += (bid[k] - mid) * ask_size[k] + (ask[k] - mid) * bid_size[k]
                sizes += bid_size[k] + ask_size[k]
        out[n] = value / sizes / mid * 1e4 if sizes > 0.0 else np.nan
        n += 1
    bands = len(BANDS_BPS)
    every = bid_size.sum() + ask_size.sum()
    for b in range(bands):
        reach = mid * BANDS_BPS[b] / 1e4
        bids = asks = 0.0
        for k in range(FRAME_LEVELS):
            if bid[k] > 0.0 and mid - bid[k] <= reach:
                bids += bid_size[k]
            if ask[k] > 0.0 and ask[k] - mid <= reach:
                asks += ask_size[k]
        out[n + b] = share(bids, asks)
        out[n + bands + b] = (bids + asks) / every if every > 0.0 else np.nan
    n += 2 * bands
    of_bids, of_asks = np.empty(5), np.empty(5)
    _side(bid, bid_size, mid, tick, of_bids)
    _side(ask, ask_size, mid, tick, of_asks)
    for k in range(5):
        place = n + 2 * k + (1 if k > 1 else 0)
        out[place] = of_bids[k]
        out[place + 1] = of_asks[k]
    out[n + 4] = share(of_bids[1], of_asks[1])
