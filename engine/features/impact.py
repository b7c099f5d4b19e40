"""What trading costs and how much it moves: price impact, informed trading, effective and implied spreads.

Kyle's lambda is the slope of the mid's return on signed volume (Kyle 1985), here over bins of a second with decaying
weights, told per usual bin volume so that symbols compare; Amihud's measure (2002) is the absolute return a volume,
told likewise. VPIN (Easley, López de Prado, O'Hara 2012) is the mean imbalance of volume buckets, with the aggressor as
the venue tells it instead of their bulk classification; a bucket is as large as what usually trades in ten seconds.
Roll's spread (1984) is twice the root of the negative covariance of neighbouring price changes; where that is positive
the number is negative.
"""

from __future__ import annotations

import numpy as np

from engine.core.jit import kernel
from engine.features.decay import LN2
from engine.features.family import Vector

BIN_S = 1.0
HALF_LIVES_BINS = (60.0, 300.0)
BUCKET_S = 10.0
BUCKETS = 50.0
MOST_BUCKETS = 200  # closed by one frame: the mean is that frame's own by then, and what is left of it is not poured
ROLL_HALF_LIFE_TRADES = 100.0
SPREAD_HALF_LIVES_S = (5.0, 60.0)
USUAL_HALF_LIFE_S = 300.0

FEATURES: tuple[tuple[str, str], ...] = (
    ("kyle_60s_bps", "bps a usual second's volume"),
    ("kyle_300s_bps", "bps a usual second's volume"),
    ("kyle_fit_60s", "correlation"),
    ("kyle_fit_300s", "correlation"),
    ("amihud_60s_bps", "bps a usual second's volume"),
    ("amihud_300s_bps", "bps a usual second's volume"),
    ("vpin", "[0, 1]"),
    ("roll_spread_bps", "bps"),
    ("effective_spread_5s_bps", "bps"),
    ("effective_spread_60s_bps", "bps"),
    ("effective_over_quoted_5s", "ratio"),
    ("effective_over_quoted_60s", "ratio"),
)
"""Name and unit of each output, in order."""

WARM_UP_S: tuple[float, ...] = (30.0, 60.0, 30.0, 60.0, 30.0, 60.0, 60.0, 10.0, 5.0, 10.0, 5.0, 10.0)

# Slots: the bin; sums over bins by half-life (weight, x, y, xx, xy, yy, |y|, volume); buckets; Roll; spreads.
CLOCK, SIGNED, VOLUME, RETURN = range(4)
SUMS = 4
KINDS = 8
WEIGHT, X, Y, XX, XY, YY, MOVE, TRADED = range(KINDS)
BUCKET = SUMS + KINDS * len(HALF_LIVES_BINS)  # how large this bucket is; 0: none begun
FILLED, TILT, CLOSED, VPIN, USUAL, USUAL_WEIGHT = range(BUCKET + 1, BUCKET + 7)
PRICE, CHANGE, ROLL, ROLL_WEIGHT = range(BUCKET + 7, BUCKET + 11)
SPREADS = BUCKET + 11  # by half-life: size times effective spread, size times quoted spread, size
MEMORY = SPREADS + 3 * len(SPREAD_HALF_LIVES_S)

_BINS = len(HALF_LIVES_BINS)
_KEPT = tuple(0.5 ** (1.0 / bins) for bins in HALF_LIVES_BINS)
_ROLL_KEPT = 0.5 ** (1.0 / ROLL_HALF_LIFE_TRADES)
_SPREAD_RATES = tuple(LN2 / half_life_s for half_life_s in SPREAD_HALF_LIVES_S)
_SPREADS = len(SPREAD_HALF_LIVES_S)
_USUAL_RATE = LN2 / USUAL_HALF_LIFE_S
_ENOUGH = 10.0  # bins or trades, before a moment of them means something
_FADED = 1e-6  # size units


@kernel
def start(now: np.void, memory: Vector) -> None:
    """Begin at the first frame of a usable book."""
    memory[:] = 0.0


@kernel
def close_bin(memory: Vector) -> None:
    """Take a bin's signed volume and return into the regression."""
    x, y = memory[SIGNED], memory[RETURN]
    for h in range(_BINS):
        kept = _KEPT[h]
        at = SUMS + h * KINDS
        memory[at + WEIGHT] = memory[at + WEIGHT] * kept + 1.0
        memory[at + X] = memory[at + X] * kept + x
        memory[at + Y] = memory[at + Y] * kept + y
        memory[at + XX] = memory[at + XX] * kept + x * x
        memory[at + XY] = memory[at + XY] * kept + x * y
        memory[at + YY] = memory[at + YY] * kept + y * y
        memory[at + MOVE] = memory[at + MOVE] * kept + abs(y)
        memory[at + TRADED] = memory[at + TRADED] * kept + memory[VOLUME]
    memory[CLOCK] = memory[SIGNED] = memory[VOLUME] = memory[RETURN] = 0.0


@kernel
def fill_buckets(bought: float, sold: float, memory: Vector) -> None:
    """Pour a frame's trades into the volume buckets, both sides in their proportion."""
    volume = bought + sold
    tilt = (bought - sold) / volume
    for _ in range(MOST_BUCKETS):
        if memory[BUCKET] <= 0.0:
            memory[BUCKET] = memory[USUAL] / memory[USUAL_WEIGHT] * BUCKET_S
            memory[FILLED] = memory[TILT] = 0.0
        poured = min(volume, memory[BUCKET] - memory[FILLED])
        memory[FILLED] += poured
        memory[TILT] += poured * tilt
        volume -= poured
        if memory[FILLED] < memory[BUCKET]:
            return
        memory[CLOSED] = min(memory[CLOSED] + 1.0, BUCKETS)
        memory[VPIN] += (abs(memory[TILT]) / memory[BUCKET] - memory[VPIN]) / memory[CLOSED]
        memory[BUCKET] = 0.0
        if volume <= 0.0:
            return


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: Vector) -> None:
    """Take one frame; the mid before it is what its trades are held against."""
    was = (float(last["bid"][0]) + float(last["ask"][0])) / 2.0
    mid = (float(now["bid"][0]) + float(now["ask"][0])) / 2.0
    if seconds > 0.0:
        memory[CLOCK] += seconds
        if memory[CLOCK] >= BIN_S:
            close_bin(memory)
        for h in range(_SPREADS):
            kept = np.exp(-_SPREAD_RATES[h] * seconds)
            for k in range(3):
                memory[SPREADS + 3 * h + k] *= kept
        keep = np.exp(-_USUAL_RATE * seconds)
        memory[USUAL] *= keep
        memory[USUAL_WEIGHT] = memory[USUAL_WEIGHT] * keep + (1.0 - keep) / _USUAL_RATE
    if mid != was:
        memory[RETURN] += np.log(mid / was) * 1e4
    bought, sold = float(now["buy_size"]), float(now["sell_size"])
    volume = bought + sold
    price = float(now["last_price"])
    if volume <= 0.0 or price <= 0.0:
        return
    memory[SIGNED] += bought - sold
    memory[VOLUME] += volume
    memory[USUAL] += volume
    if memory[USUAL_WEIGHT] > 0.0:
        fill_buckets(bought, sold, memory)
    if memory[PRICE] > 0.0:
        change = price - memory[PRICE]
        memory[ROLL] = memory[ROLL] * _ROLL_KEPT + change * memory[CHANGE]
        memory[ROLL_WEIGHT] = memory[ROLL_WEIGHT] * _ROLL_KEPT + 1.0
        memory[CHANGE] = change
    memory[PRICE] = price
    quoted = float(last["ask"][0] - last["bid"][0]) / was * 1e4
    for h in range(_SPREADS):
        memory[SPREADS + 3 * h] += volume * 2.0 * abs(price - was) / was * 1e4
        memory[SPREADS + 3 * h + 1] += volume * quoted
        memory[SPREADS + 3 * h + 2] += volume


@kernel
def read(last: np.void, tick: float, seconds: float, now_ns: int, memory: Vector, out: Vector) -> None:
    """Write the features; those of bins and buckets as of the last closed one."""
    mid = (float(last["bid"][0]) + float(last["ask"][0])) / 2.0
    slow = SUMS + (_BINS - 1) * KINDS
    usual = memory[slow + TRADED] / memory[slow + WEIGHT] if memory[slow + WEIGHT] >= _ENOUGH else np.nan
    for h in range(_BINS):
        at = SUMS + h * KINDS
        weight = memory[at + WEIGHT]
        xx = memory[at + XX] * weight - memory[at + X] * memory[at + X]
        xy = memory[at + XY] * weight - memory[at + X] * memory[at + Y]
        yy = memory[at + YY] * weight - memory[at + Y] * memory[at + Y]
        # Below a share of rounding there is no spread of volumes or returns at all.
        told = weight >= _ENOUGH and xx > 1e-9 * memory[at + XX] * weight
        out[h] = xy / xx * usual if told else np.nan
        fits = told and yy > 1e-9 * memory[at + YY] * weight
        out[_BINS + h] = min(1.0, max(-1.0, xy / np.sqrt(xx) / np.sqrt(yy))) if fits else np.nan
        traded = memory[at + TRADED]
        out[2 * _BINS + h] = memory[at + MOVE] / traded * usual if weight >= _ENOUGH and traded > _FADED else np.nan
    n = 3 * _BINS
    out[n] = memory[VPIN] if memory[CLOSED] >= _ENOUGH else np.nan
    rolled = memory[ROLL] / memory[ROLL_WEIGHT] if memory[ROLL_WEIGHT] >= _ENOUGH else np.nan
    out[n + 1] = -np.sign(rolled) * 2.0 * np.sqrt(abs(rolled)) / mid * 1e4
    for h in range(_SPREADS):
        kept = np.exp(-_SPREAD_RATES[h] * seconds)
        paid, quoted, size = memory[SPREADS + 3 * h], memory[SPREADS + 3 * h + 1], memory[SPREADS + 3 * h + 2]
        lives = size * kept > _FADED
        out[n + 2 + h] = paid / size if lives else np.nan
        out[n + 2 + _SPREADS + h] = paid / quoted if lives and quoted > 0.0 else np.nan
