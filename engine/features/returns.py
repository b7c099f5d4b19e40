"""What the mid price did: distance from its own slow averages, and how much it moves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.decay import LN2

HALF_LIVES_S = (0.25, 1.0, 5.0, 30.0)
VOLATILITY_HALF_LIVES_S = (5.0, 60.0)

FEATURES: tuple[tuple[str, str], ...] = (
    ("return_250ms_bps", "bps of mid above its average"),
    ("return_1s_bps", "bps of mid above its average"),
    ("return_5s_bps", "bps of mid above its average"),
    ("return_30s_bps", "bps of mid above its average"),
    ("volatility_5s", "bps per square root of a second"),
    ("volatility_60s", "bps per square root of a second"),
)
"""Name and unit of each output, in order."""

WARM_UP_S = 0.0

# Slots of the family's memory: the average distance of the log mid from today's, by half-life; variances; the weight
# that the variances have gathered since the start, without which a young one would read too low.
GAP, VARIANCE, WEIGHT = 0, 4, 6
MEMORY = 8

_RATES = (LN2 / HALF_LIVES_S[0], LN2 / HALF_LIVES_S[1], LN2 / HALF_LIVES_S[2], LN2 / HALF_LIVES_S[3])
_VARIANCE_RATES = (LN2 / VOLATILITY_HALF_LIVES_S[0], LN2 / VOLATILITY_HALF_LIVES_S[1])


@kernel
def log_change(last: np.void, now: np.void) -> float:
    """The natural logarithm of the new mid over the old; exactly 0 where the mid did not move."""
    was = float(last["bid"][0]) + float(last["ask"][0])
    mid = float(now["bid"][0]) + float(now["ask"][0])
    return np.log(mid / was) if mid != was else 0.0


@kernel
def start(now: np.void, memory: npt.NDArray[np.float64]) -> None:
    """Begin at the first frame of a usable book."""
    memory[:] = 0.0


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: npt.NDArray[np.float64]) -> None:
    """Take one frame; ``seconds`` since the one before.

    The old mid held until now, so its distance from the average decays over that time, and then the mid jumps.
    """
    change = log_change(last, now)
    for k in range(4):
        memory[GAP + k] = memory[GAP + k] * np.exp(-_RATES[k] * seconds) + change
    for k in range(2):
        keep = np.exp(-_VARIANCE_RATES[k] * seconds)
        memory[VARIANCE + k] = memory[VARIANCE + k] * keep + change * change
        memory[WEIGHT + k] = memory[WEIGHT + k] * keep + (1.0 - keep)


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
    for k in range(4):
        out[k] = memory[GAP + k] * np.exp(-_RATES[k] * seconds) * 1e4
    for k in range(2):
        keep = np.exp(-_VARIANCE_RATES[k] * seconds)
        weight = memory[WEIGHT + k] * keep + (1.0 - keep)
        # Over less than a millisecond of history a rate per second means nothing.
        enough = weight > _VARIANCE_RATES[k] * 1e-3
        variance = memory[VARIANCE + k] * keep * _VARIANCE_RATES[k] / weight if enough else 0.0
        out[4 + k] = np.sqrt(variance) * 1e4
