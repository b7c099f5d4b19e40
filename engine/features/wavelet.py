"""What of the mid is noise: wavelets that look back only, in steps of a tenth of a second and of a second.

The redundant Haar transform "à trous" (Renaud, Starck, Murtagh 2005, "Wavelet-based combined signal filtering and
prediction"): the smooth of level j + 1 is the mean of two smooths of level j that lie 2^j samples apart, the newer one
being the present, and a detail is what that mean took away. The log mid is the last smooth and the sum of all details,
so it needs no sample of the future, and no past output ever changes. Centred filters do both, and predict beautifully
what they have seen already.

Denoising is soft thresholding (Donoho 1995): details smaller than what noise makes are dropped, larger ones drawn in by
as much. The noise is read off the running median of the finest details' sizes (Donoho and Johnstone 1994) and fades by
the root of two from scale to scale, as white noise does under Haar's filter. Prices move in ticks and often not at all,
and most of those medians would be 0: so it is the median of the details that are not, times the root of their share.
"""

from __future__ import annotations

import math

import numpy as np

from engine.core.jit import kernel
from engine.features.grid import Vector, doubled_mid, step_of

STEPS_NS = (100_000_000, 1_000_000_000)
STEP_NAMES = ("100ms", "1s")

LEVELS = 6
"""Scales: the details of scale j compare the newest 2^(j - 1) samples with those before, j from 1."""

MEDIAN = 64  # finest details whose median is the noise
ENERGY_DECAY = 1.0 - 1.0 / 64.0  # of the power of each scale, a step
THRESHOLD = math.sqrt(2.0 * math.log(MEDIAN))
"""Standard deviations of noise that a detail has to exceed: Donoho's universal threshold."""

NORMAL = 0.6744897501960817
"""The median of a standard normal variable's size."""

SLOPE = 8  # steps between the two ends of the slope

_FEATURES: tuple[tuple[str, str], ...] = (
    ("denoised", "bps of mid above it"),
    ("denoised_slope", "bps a step"),
    ("wavelet_noise", "bps"),
    *((f"scale_{j + 1}", "bps, root mean square") for j in range(LEVELS)),
    ("scale_ratio", "ln of fine over coarse power"),
)

FEATURES: tuple[tuple[str, str], ...] = tuple(
    (f"{name}_{step}", unit) for step in STEP_NAMES for name, unit in _FEATURES
)
"""Name and unit of each output, in order."""

WARM = 2**LEVELS + MEDIAN
"""Samples before anything is known: what stands in the smooths and in the median came from the market by then."""

WARM_UP_S: tuple[float, ...] = tuple(WARM * step_ns * 1e-9 for step_ns in STEPS_NS for _ in _FEATURES)

# Slots of one step's part of the memory.
STEP, BASE, SAMPLES, NOISE, WEIGHT = range(5)  # BASE: the doubled mid of the first sample, 0 before it
SMOOTH = 5  # rings of 2^j smooths of each level j below LEVELS, one after the other
SIZES = SMOOTH + 2**LEVELS - 1  # sizes of the last finest details, in turn
SORTED = SIZES + MEDIAN  # the same by size
POWER = SORTED + MEDIAN
DENOISED = POWER + LEVELS  # the last ones, oldest first
_PART = DENOISED + SLOPE + 1
_EACH = len(_FEATURES)
MEMORY = len(STEPS_NS) * _PART

LONGEST = WARM + SLOPE
"""Steps after which a mid that does not move has left everything but the decayed powers."""

_ENERGY_LN = math.log(ENERGY_DECAY)
_STILL = 1e-20  # a squared log return; less power is no movement but the memory of one


@kernel
def first_not_below(value: float, ordered: Vector) -> int:
    """The index of the first number of an ascending array that is not below ``value``.

    >>> first_not_below(2.0, np.array([1.0, 2.0, 2.0, 5.0]))
    1
    """
    at, end = 0, len(ordered)
    while at < end:
        middle = (at + end) // 2
        if ordered[middle] < value:
            at = middle + 1
        else:
            end = middle
    return at


@kernel
def noise(ordered: Vector) -> float:
    """The standard deviation of noise in details of these sizes, ascending, of which some may be 0.

    >>> noise(np.array([0.0, NORMAL, NORMAL, NORMAL])) ** 2
    0.75
    """
    size = len(ordered)
    still = first_not_below(5e-324, ordered)
    if still == size:
        return 0.0
    middle = (ordered[(still + size - 1) // 2] + ordered[(still + size) // 2]) / 2.0
    return float(middle / NORMAL * np.sqrt((size - still) / size))


@kernel
def replace(old: float, new: float, ordered: Vector) -> None:
    """Put ``new`` in the place of ``old`` in an ascending array that holds it, and keep the order.

    >>> ordered = np.array([1.0, 2.0, 2.0, 5.0])
    >>> replace(2.0, 9.0, ordered)
    >>> ordered.tolist()
    [1.0, 2.0, 5.0, 9.0]
    """
    at = first_not_below(old, ordered)
    while at + 1 < len(ordered) and ordered[at + 1] < new:
        ordered[at] = ordered[at + 1]
        at += 1
    while at > 0 and ordered[at - 1] > new:
        ordered[at] = ordered[at - 1]
        at -= 1
    ordered[at] = new


@kernel
def shrunk(detail: float, threshold: float) -> float:
    """Soft thresholding: nearer to zero by the threshold, and zero within it.

    >>> shrunk(-3.0, 1.0), shrunk(0.5, 1.0)
    (-2.0, 0.0)
    """
    size = max(abs(detail) - threshold, 0.0)
    return size if detail > 0.0 else -size


@kernel
def add_sample(value: float, part: Vector) -> float:
    """Take one sample of the log mid over its first one, and return what it is without noise."""
    count = int(part[SAMPLES])
    part[SAMPLES] = count + 1.0
    part[WEIGHT] = part[WEIGHT] * ENERGY_DECAY + (1.0 - ENERGY_DECAY)
    smooth, denoised, fading = value, 0.0, 1.0
    for j in range(LEVELS):
        at = SMOOTH + (1 << j) - 1 + count % (1 << j)
        wider = (smooth + part[at]) / 2.0
        part[at] = smooth
        detail = smooth - wider
        if j == 0:
            slot = SIZES + count % MEDIAN
            ordered = part[SORTED : SORTED + MEDIAN]
            replace(part[slot], abs(detail), ordered)
            part[slot] = abs(detail)
            part[NOISE] = noise(ordered)
        part[POWER + j] = part[POWER + j] * ENERGY_DECAY + detail * detail * (1.0 - ENERGY_DECAY)
        denoised += shrunk(detail, THRESHOLD * part[NOISE] * fading)
        fading /= math.sqrt(2.0)
        smooth = wider
    denoised += smooth
    for k in range(DENOISED, DENOISED + SLOPE):
        part[k] = part[k + 1]
    part[DENOISED + SLOPE] = denoised
    return denoised


@kernel
def sample(mid: float, step: float, part: Vector) -> None:
    """Take the samples at the ends of the steps before ``step``; the doubled mid ``mid`` stood since the last frame."""
    passed = int(step - part[STEP])
    if passed <= 0:
        return
    part[STEP] = step
    if part[BASE] == 0.0:
        part[BASE] = mid
    value = np.log(mid / part[BASE])
    for _ in range(min(passed, LONGEST)):
        add_sample(value, part)
    if passed > LONGEST:
        keep = np.exp(_ENERGY_LN * (passed - LONGEST))
        for k in range(POWER, POWER + LEVELS):
            part[k] *= keep
        part[WEIGHT] = 1.0 - (1.0 - part[WEIGHT]) * keep


@kernel
def start(now: np.void, memory: Vector) -> None:
    """Begin at the first frame of a usable book."""
    memory[:] = 0.0
    for k in range(len(STEPS_NS)):
        memory[k * _PART + STEP] = step_of(now["recv_ns"], STEPS_NS[k])


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: Vector) -> None:
    """Take one frame; ``last`` is the one before."""
    for k in range(len(STEPS_NS)):
        sample(doubled_mid(last), step_of(now["recv_ns"], STEPS_NS[k]), memory[k * _PART : (k + 1) * _PART])


@kernel
def read(last: np.void, tick: float, seconds: float, now_ns: int, memory: Vector, out: Vector) -> None:
    """Write the features as they stand at ``now_ns``; steps that ended since the last frame are sampled too.

    >>> from engine.core.events import FRAME
    >>> frame = np.zeros(1, FRAME)[0]
    >>> frame["bid"][0], frame["ask"][0] = 9_999, 10_001
    >>> memory, out = np.zeros(MEMORY), np.zeros(len(FEATURES))
    >>> start(frame, memory)
    >>> read(frame, 1.0, 12.7, (WARM - 1) * 100_000_000, memory, out)
    >>> float(out[0])
    nan
    >>> read(frame, 1.0, 12.8, WARM * 100_000_000, memory, out)
    >>> float(out[0])
    0.0
    """
    mid = doubled_mid(last)
    for k in range(len(STEPS_NS)):
        part = memory[k * _PART : (k + 1) * _PART]
        step = step_of(now_ns, STEPS_NS[k])
        if step > part[STEP]:
            part = part.copy()
            sample(mid, step, part)
        _read_one(mid, part, out[k * _EACH : (k + 1) * _EACH])


@kernel
def _read_one(mid: float, part: Vector, out: Vector) -> None:
    out[:] = np.nan
    if part[SAMPLES] < WARM:
        return
    denoised = part[DENOISED + SLOPE]
    out[0] = (np.log(mid / part[BASE]) - denoised) * 1e4
    out[1] = (denoised - part[DENOISED]) / SLOPE * 1e4
    out[2] = part[NOISE] * 1e4
    fine, coarse = 0.0, 0.0
    for j in range(LEVELS):
        power = part[POWER + j] / part[WEIGHT]
        out[3 + j] = np.sqrt(power) * 1e4
        if 2 * j < LEVELS:
            fine += power
        else:
            coarse += power
    out[3 + LEVELS] = np.log(fine / coarse) if fine > _STILL and coarse > _STILL else 0.0
