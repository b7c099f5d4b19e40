"""Moving statistics of the mid: distance from averages in clock and event time, and moments of its returns a second.

Returns are those of whole seconds of engine time; their sums decay by the second. Volatility is realised (squares),
Parkinson's (1980, the range of each second) and bipower (Barndorff-Nielsen and Shephard 2004, which leaves jumps out;
what it leaves out is the jump share). The variance ratio is that of Lo and MacKinlay (1988) over five seconds, above 1
where moves go on; the efficiency ratio is Kaufman's: net move over path.
"""

from __future__ import annotations

import math

import numpy as np

from engine.core.jit import kernel
from engine.features.decay import LN2
from engine.features.family import Vector
from engine.features.returns import log_change

CLOCK_HALF_LIVES_S = (10.0, 60.0, 120.0, 600.0)
EVENT_HALF_LIVES = (10.0, 50.0, 250.0)  # moves of the mid
VARIANCE_HALF_LIVES_S = (1.0, 30.0, 300.0)
BIN_HALF_LIVES = (30.0, 120.0, 600.0)  # seconds, each a bin
LAGS = 5  # seconds of the variance ratio

_SCALES = ("30s", "120s", "600s")
FEATURES: tuple[tuple[str, str], ...] = (
    *((f"deviation_{h}_bps", "bps of mid above its average") for h in ("10s", "60s", "120s", "600s")),
    *((f"deviation_{n}_moves_bps", "bps of mid above its average") for n in (10, 50, 250)),
    *((f"move_volatility_{h}", "bps per square root of a second") for h in ("1s", "30s", "300s")),
    *((f"realised_{h}", "bps per square root of a second") for h in _SCALES),
    *((f"parkinson_{h}", "bps per square root of a second") for h in _SCALES),
    *((f"bipower_{h}", "bps per square root of a second") for h in _SCALES),
    *((f"downside_share_{h}", "[0, 1]") for h in _SCALES),
    *((f"jump_share_{h}", "[0, 1]") for h in _SCALES),
    *((f"autocorrelation_{h}", "correlation") for h in _SCALES),
    *((f"z_score_{h}", "standard deviations") for h in _SCALES),
    *((f"variance_ratio_{h}", "ratio") for h in _SCALES),
    *((f"efficiency_{h}", "[0, 1]") for h in _SCALES),
)
"""Name and unit of each output, in order."""

WARM_UP_S: tuple[float, ...] = (10.0, 30.0, 60.0, 120.0, 5.0, 10.0, 30.0, 1.0, 10.0, 60.0, *(30.0, 60.0, 120.0) * 9)

# Slots: distances by half-life; variances and their weights; the second under way; its neighbours; sums by scale.
CLOCK_GAP, EVENT_GAP, VARIANCE, VARIANCE_WEIGHT = 0, 4, 7, 10
SECOND, MID, HIGH, LOW, LATEST = 13, 14, 15, 16, 17  # LATEST: the last returns of whole seconds, newest first
SUMS = LATEST + LAGS
KINDS = 11
WEIGHT, SQUARE, PATH, NET, BIPOWER, DOWN, RANGE, LAGGED, LONG, GAP, SPREAD = range(KINDS)
MEMORY = SUMS + KINDS * len(BIN_HALF_LIVES)

_CLOCK_RATES = tuple(LN2 / half_life_s for half_life_s in CLOCK_HALF_LIVES_S)
_EVENT_KEPT = tuple(0.5 ** (1.0 / moves) for moves in EVENT_HALF_LIVES)
_VARIANCE_RATES = tuple(LN2 / half_life_s for half_life_s in VARIANCE_HALF_LIVES_S)
_KEPT = tuple(0.5 ** (1.0 / bins) for bins in BIN_HALF_LIVES)
_CLOCKS, _EVENTS, _VARIANCES, _BINS = 4, 3, 3, 3
_BIPOWER = math.pi / 2.0
_PARKINSON = 1.0 / (4.0 * LN2)
_FADED = 1e-22  # squared log return; less is the memory of a move long ago
_NS = 1_000_000_000


@kernel
def close_second(change: float, reach: float, memory: Vector) -> None:
    """Take a second's return and the log of its high over its low into the sums."""
    before = memory[LATEST]
    whole = change
    for k in range(LAGS - 1):
        whole += memory[LATEST + k]
    for h in range(_BINS):
        kept = _KEPT[h]
        at = SUMS + h * KINDS
        memory[at + WEIGHT] = memory[at + WEIGHT] * kept + 1.0
        memory[at + SQUARE] = memory[at + SQUARE] * kept + change * change
        memory[at + PATH] = memory[at + PATH] * kept + abs(change)
        memory[at + NET] = memory[at + NET] * kept + change
        memory[at + BIPOWER] = memory[at + BIPOWER] * kept + abs(change * before)
        memory[at + DOWN] = memory[at + DOWN] * kept + min(change, 0.0) ** 2
        memory[at + RANGE] = memory[at + RANGE] * kept + reach * reach
        memory[at + LAGGED] = memory[at + LAGGED] * kept + change * before
        memory[at + LONG] = memory[at + LONG] * kept + whole * whole
        memory[at + GAP] = (memory[at + GAP] + change) * kept
        memory[at + SPREAD] = memory[at + SPREAD] * kept + memory[at + GAP] ** 2 * (1.0 - kept)
    for k in range(LAGS - 1, 0, -1):
        memory[LATEST + k] = memory[LATEST + k - 1]
    memory[LATEST] = change


@kernel
def close_quiet(seconds: float, memory: Vector) -> None:
    """As so many ``close_second(0.0, 0.0)`` in a row, once the latest returns are all 0."""
    for h in range(_BINS):
        kept = _KEPT[h] ** seconds
        at = SUMS + h * KINDS
        memory[at + WEIGHT] = memory[at + WEIGHT] * kept + (1.0 - kept) / (1.0 - _KEPT[h])
        gap = memory[at + GAP]
        memory[at + SPREAD] = kept * (memory[at + SPREAD] + gap * gap * _KEPT[h] * (1.0 - kept))
        memory[at + GAP] = gap * kept
        for k in range(SQUARE, GAP):
            memory[at + k] *= kept


@kernel
def start(now: np.void, memory: Vector) -> None:
    """Begin at the first frame of a usable book."""
    memory[:] = 0.0
    memory[SECOND] = float(now["recv_ns"] // _NS)
    memory[MID] = memory[HIGH] = memory[LOW] = (float(now["bid"][0]) + float(now["ask"][0])) / 2.0


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: Vector) -> None:
    """Take one frame; the old mid held until now, and the seconds that ended meanwhile are closed with it."""
    if seconds > 0.0:
        for h in range(_CLOCKS):
            memory[CLOCK_GAP + h] *= np.exp(-_CLOCK_RATES[h] * seconds)
        for h in range(_VARIANCES):
            kept = np.exp(-_VARIANCE_RATES[h] * seconds)
            memory[VARIANCE + h] *= kept
            memory[VARIANCE_WEIGHT + h] = memory[VARIANCE_WEIGHT + h] * kept + (1.0 - kept)
        ended = float(now["recv_ns"] // _NS) - memory[SECOND]
        if ended > 0.0:
            was = (float(last["bid"][0]) + float(last["ask"][0])) / 2.0
            change = np.log(was / memory[MID]) if was != memory[MID] else 0.0
            reach = np.log(memory[HIGH] / memory[LOW]) if memory[HIGH] != memory[LOW] else 0.0
            close_second(change, reach, memory)
            for _ in range(min(LAGS, int(ended) - 1)):
                close_second(0.0, 0.0, memory)
            if ended > LAGS + 1.0:
                close_quiet(ended - LAGS - 1.0, memory)
            memory[SECOND] += ended
            memory[MID] = memory[HIGH] = memory[LOW] = was
    change = log_change(last, now)
    if change != 0.0:
        for h in range(_CLOCKS):
            memory[CLOCK_GAP + h] += change
        for h in range(_EVENTS):
            memory[EVENT_GAP + h] = (memory[EVENT_GAP + h] + change) * _EVENT_KEPT[h]
        for h in range(_VARIANCES):
            memory[VARIANCE + h] += change * change
        mid = (float(now["bid"][0]) + float(now["ask"][0])) / 2.0
        memory[HIGH] = max(memory[HIGH], mid)
        memory[LOW] = min(memory[LOW], mid)


@kernel
def read(last: np.void, tick: float, seconds: float, now_ns: int, memory: Vector, out: Vector) -> None:
    """Write the features; those of whole seconds as of the last one that a frame has closed."""
    for h in range(_CLOCKS):
        out[h] = memory[CLOCK_GAP + h] * np.exp(-_CLOCK_RATES[h] * seconds) * 1e4
    for h in range(_EVENTS):
        out[_CLOCKS + h] = memory[EVENT_GAP + h] * 1e4
    n = _CLOCKS + _EVENTS
    for h in range(_VARIANCES):
        kept = np.exp(-_VARIANCE_RATES[h] * seconds)
        weight = memory[VARIANCE_WEIGHT + h] * kept + (1.0 - kept)
        enough = weight > _VARIANCE_RATES[h] * 1e-3
        variance = memory[VARIANCE + h] * kept * _VARIANCE_RATES[h] / weight if enough else np.nan
        out[n + h] = np.sqrt(variance) * 1e4
    n += _VARIANCES
    for h in range(_BINS):
        at = SUMS + h * KINDS
        weight = memory[at + WEIGHT]
        square = memory[at + SQUARE]
        moved = square > _FADED
        out[n + h] = np.sqrt(square / weight) * 1e4
        out[n + 3 + h] = np.sqrt(memory[at + RANGE] * _PARKINSON / weight) * 1e4
        out[n + 6 + h] = np.sqrt(memory[at + BIPOWER] * _BIPOWER / weight) * 1e4
        out[n + 9 + h] = memory[at + DOWN] / square if moved else np.nan
        out[n + 12 + h] = max(0.0, 1.0 - memory[at + BIPOWER] * _BIPOWER / square) if moved else np.nan
        # The neighbour weighs a little more than the return itself: the bound of a correlation needs a hand.
        out[n + 15 + h] = min(1.0, max(-1.0, memory[at + LAGGED] / square)) if moved else np.nan
        out[n + 18 + h] = memory[at + GAP] / np.sqrt(memory[at + SPREAD]) if memory[at + SPREAD] > _FADED else np.nan
        out[n + 21 + h] = memory[at + LONG] / (LAGS * square) if moved else np.nan
        out[n + 24 + h] = abs(memory[at + NET]) / memory[at + PATH] if moved else np.nan
