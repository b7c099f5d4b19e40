"""How fast the mid swings: the spectrum of its returns, in steps of a tenth of a second and of a second.

Two views. Welch's averaged spectrum (1967): the returns of the last steps in eight segments of 64 that overlap by half,
each windowed and transformed when its last sample is there, so the work is n log n for 32 samples and bounded for every
frame. And resonators: Fourier sums at a few periods with an exponential window, one multiplication a step, which
cannot drift as each step shrinks what they hold. A resonator says which share of the returns' recent power swings
with its period, and where in the swing the mid is.
"""

from __future__ import annotations

import math

import numpy as np

from engine.core.jit import kernel
from engine.features.fourier import BINS, SEGMENT, periodogram, shape
from engine.features.grid import Vector, doubled_mid, step_of

STEPS_NS = (100_000_000, 1_000_000_000)
STEP_NAMES = ("100ms", "1s")

SEGMENTS = 8  # that are averaged
HOP = SEGMENT // 2  # samples from one segment's start to the next one's
EDGES = (1, 3, 8, 16, BINS)
"""Bands of the spectrum, by bins: periods of 64 … 32, 21 … 9.1, 8 … 4.3 and 4 … 2 steps."""

PERIODS = (5.0, 10.0, 20.0, 50.0)
"""Of the resonators, in steps."""

CYCLES = 3.0
"""Periods after which a resonator has forgotten all but 1/e of what it heard."""

_BANDS = len(EDGES) - 1
_FEATURES: tuple[tuple[str, str], ...] = (
    *((f"band_{k + 1}", "bps in a step, root mean square") for k in range(_BANDS)),
    ("spectral_entropy", "[0, 1]"),
    ("spectral_slope", "d ln power / d ln frequency"),
    ("dominant_period", "log2 of steps"),
    *((f"cycle_{int(period)}_power", "[0, 1]") for period in PERIODS),
    *((f"cycle_{int(period)}_phase", "[-1, 1]") for period in PERIODS),
)

FEATURES: tuple[tuple[str, str], ...] = tuple(
    (f"{name}_{step}", unit) for step in STEP_NAMES for name, unit in _FEATURES
)
"""Name and unit of each output, in order."""

WARM_UP_S: tuple[float, ...] = tuple(
    steps * step_ns * 1e-9 for step_ns in STEPS_NS for steps in (*(_BANDS + 3) * (SEGMENT,), *PERIODS, *PERIODS)
)
"""A whole segment, and a whole period."""

# Slots of one step's part of the memory.
STEP, LEVEL, SAMPLES, SPECTRA = range(4)  # LEVEL: the doubled mid at the last sample, 0 before the first
RETURNS = 4  # the last SEGMENT ones, oldest first
AVERAGED = RETURNS + SEGMENT  # the averaged spectrum
KEPT = AVERAGED + BINS  # the spectra in it, in turn
REAL = KEPT + SEGMENTS * BINS
IMAGINARY = REAL + len(PERIODS)
ENERGY = IMAGINARY + len(PERIODS)
WEIGHT = ENERGY + len(PERIODS)
_PART = WEIGHT + len(PERIODS)
_EACH = len(_FEATURES)
MEMORY = len(STEPS_NS) * _PART

LARGEST = 0.05
"""The log return that a larger one in a step counts as: a price that was no price must not ring for an hour."""

LONGEST = SEGMENT + SEGMENTS * HOP
"""Steps after which a mid that does not move has left every segment."""

_TURNS = tuple(2.0 * math.pi / period for period in PERIODS)  # radians a step
_FADING = tuple(1.0 / (CYCLES * period) for period in PERIODS)  # logarithm of what a step takes
_STILL = 1e-18  # a squared log return; a mean below (1e-9)² a step is no movement but the memory of one


@kernel
def add_return(value: float, part: Vector) -> None:
    """One more log return for Welch's spectrum; every 32nd makes a segment."""
    for k in range(RETURNS, RETURNS + SEGMENT - 1):
        part[k] = part[k + 1]
    part[RETURNS + SEGMENT - 1] = value
    part[SAMPLES] += 1.0
    if part[SAMPLES] < SEGMENT or part[SAMPLES] % HOP != 0.0:
        return
    at = KEPT + int(part[SPECTRA]) % SEGMENTS * BINS
    periodogram(part[RETURNS : RETURNS + SEGMENT], part[at : at + BINS])
    part[SPECTRA] += 1.0
    count = min(int(part[SPECTRA]), SEGMENTS)
    for k in range(BINS):
        total = 0.0
        for j in range(count):
            total += part[KEPT + j * BINS + k]
        part[AVERAGED + k] = total / count


@kernel
def swing(value: float, still: int, part: Vector) -> None:
    """One more log return for the resonators, and ``still`` steps without a move after it."""
    for k in range(len(PERIODS)):
        for steps, heard in ((1, value), (still, 0.0)):
            if steps > 0:
                keep = np.exp(-_FADING[k] * steps)
                cosine, sine = keep * np.cos(_TURNS[k] * steps), -keep * np.sin(_TURNS[k] * steps)
                real, imaginary = part[REAL + k], part[IMAGINARY + k]
                part[REAL + k] = real * cosine - imaginary * sine + heard
                part[IMAGINARY + k] = real * sine + imaginary * cosine
                part[ENERGY + k] = part[ENERGY + k] * keep + heard * heard
                part[WEIGHT + k] = 1.0 - (1.0 - part[WEIGHT + k]) * keep


@kernel
def sample(mid: float, step: float, part: Vector) -> None:
    """Take the samples at the ends of the steps before ``step``; the doubled mid ``mid`` stood since the last frame."""
    passed = int(step - part[STEP])
    if passed <= 0:
        return
    part[STEP] = step
    value = 0.0
    if part[LEVEL] == 0.0:
        passed -= 1
    elif mid != part[LEVEL]:
        value = max(-LARGEST, min(LARGEST, np.log(mid / part[LEVEL])))
    part[LEVEL] = mid
    if passed > 0:
        swing(value, passed - 1, part)
    for _ in range(min(passed, LONGEST)):
        add_return(value, part)
        value = 0.0
    # Every segment is flat by then, and more of them change nothing but where the next one ends.
    part[SAMPLES] += max(0, passed - LONGEST)


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
    >>> memory, out = np.zeros(MEMORY), np.zeros(len(FEATURES))
    >>> start(frame, memory)
    >>> for k in range(1, 100):
    ...     was = frame.copy()
    ...     frame["recv_ns"] = k * 100_000_000
    ...     frame["bid"][0] = frame["ask"][0] = 10_000 + round(10 * np.sin(2 * np.pi * k / 5))
    ...     if k > 1:
    ...         update(was, frame, 0.1, memory)
    >>> read(frame, 1.0, 0.0, int(frame["recv_ns"]), memory, out)
    >>> named = dict(zip([name for name, _ in FEATURES], out.tolist()))
    >>> named["band_4_100ms"] < named["band_3_100ms"], named["cycle_5_power_100ms"] > named["cycle_10_power_100ms"]
    (True, True)
    """
    for k in range(len(STEPS_NS)):
        part = memory[k * _PART : (k + 1) * _PART]
        step = step_of(now_ns, STEPS_NS[k])
        if step > part[STEP]:
            part = part.copy()
            sample(doubled_mid(last), step, part)
        _read_one(part, out[k * _EACH : (k + 1) * _EACH])


@kernel
def _read_one(part: Vector, out: Vector) -> None:
    out[:] = np.nan
    if part[SPECTRA] > 0.0:
        averaged = part[AVERAGED : AVERAGED + BINS]
        power = 0.0
        for k in range(_BANDS):
            total = 0.0
            for j in range(EDGES[k], EDGES[k + 1]):
                total += averaged[j]
            out[k] = np.sqrt(total) * 1e4
            power += total
        # A steady climb leaves nothing but the rounding of its logarithms.
        out[_BANDS], out[_BANDS + 1], out[_BANDS + 2] = shape(averaged) if power > _STILL else (0.0, 0.0, 0.0)
    cycles = out[_BANDS + 3 :]
    for k in range(len(PERIODS)):
        if part[SAMPLES] >= PERIODS[k]:
            # By Cauchy and Schwarz the sum is no longer than this, whatever the returns were.
            longest = np.sqrt(part[ENERGY + k] * part[WEIGHT + k] / (1.0 - np.exp(-_FADING[k])))
            moved = part[ENERGY + k] * (1.0 - np.exp(-_FADING[k])) > _STILL * part[WEIGHT + k]
            real, imaginary = part[REAL + k], part[IMAGINARY + k]
            cycles[k] = (real * real + imaginary * imaginary) / (longest * longest) if moved else 0.0
            cycles[len(PERIODS) + k] = real / longest if moved else 0.0
