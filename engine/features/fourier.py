"""The power spectrum of one segment of samples, by a fast Fourier transform of our own, and what it says as a whole."""

from __future__ import annotations

import numpy as np

from engine.core.jit import kernel
from engine.features.grid import Vector

SEGMENT = 64
"""Samples in a segment, a power of two."""

BINS = SEGMENT // 2 + 1
"""Frequencies of a spectrum: bin k is k / SEGMENT of the sampling rate; bin 0 is the mean."""

_FLOOR = 1e-12  # of the mean bin; less is rounding, and its logarithm says nothing


@kernel
def transform(real: Vector, imaginary: Vector) -> None:
    """The discrete Fourier transform of SEGMENT complex samples, in place: radix 2, n log n, Cooley and Tukey 1965.

    >>> real, imaginary = np.zeros(SEGMENT), np.zeros(SEGMENT)
    >>> real[1] = 1.0
    >>> transform(real, imaginary)
    >>> round(float(real[16]), 9), float(imaginary[16])
    (0.0, -1.0)
    """
    at = 0
    for k in range(1, SEGMENT):
        bit = SEGMENT >> 1
        while at & bit:
            at ^= bit
            bit >>= 1
        at |= bit
        if k < at:
            real[k], real[at] = real[at], real[k]
            imaginary[k], imaginary[at] = imaginary[at], imaginary[k]
    half = 1
    while half < SEGMENT:
        for j in range(half):
            angle = -np.pi * j / half
            cosine, sine = np.cos(angle), np.sin(angle)
            for low in range(j, SEGMENT, 2 * half):
                high = low + half
                a = real[high] * cosine - imaginary[high] * sine
                b = real[high] * sine + imaginary[high] * cosine
                real[high], imaginary[high] = real[low] - a, imaginary[low] - b
                real[low] += a
                imaginary[low] += b
        half *= 2


@kernel
def periodogram(samples: Vector, power: Vector) -> None:
    """Write the share of the samples' variance in each of the BINS: one-sided, Hann's window, the mean taken off.

    The sum over the bins is the variance as the window sees it, in the square of the samples' unit. It is what Welch
    (1967) averages; ``scipy.signal.welch`` with ``scaling="density"`` times the width of a bin.

    >>> power = np.zeros(BINS)
    >>> periodogram(np.cos(np.arange(SEGMENT) * np.pi / 4), power)
    >>> int(power.argmax()), round(float(power.sum()), 9)
    (8, 0.5)
    """
    centre = 0.0
    for k in range(SEGMENT):
        centre += samples[k] / SEGMENT
    real, imaginary = np.empty(SEGMENT), np.zeros(SEGMENT)
    weight = 0.0
    for k in range(SEGMENT):
        hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * k / SEGMENT)
        real[k] = (samples[k] - centre) * hann
        weight += hann * hann
    transform(real, imaginary)
    for k in range(BINS):
        sides = 1.0 if k in (0, SEGMENT // 2) else 2.0
        power[k] = sides * (real[k] * real[k] + imaginary[k] * imaginary[k]) / (weight * SEGMENT)


@kernel
def shape(power: Vector) -> tuple[float, float, float]:
    """Entropy, slope and dominant period of a spectrum without its bin 0; all 0 where there is no power at all.

    Entropy: of the shares of power over the bins, 1 for equal shares (white noise), near 0 for one pure tone (Inouye
    and others 1991). Slope: of the logarithm of power on that of frequency, by least squares: 0 for white noise, -2 for
    its running sum. Dominant period: of the strongest bin, the slowest of equals, as its logarithm (base 2) in samples.

    >>> shape(np.ones(BINS))
    (1.0, 0.0, 6.0)
    """
    total = 0.0
    for k in range(1, BINS):
        total += power[k]
    if not total > 0.0:
        return 0.0, 0.0, 0.0
    floor = _FLOOR * total / (BINS - 1)
    entropy, strongest = 0.0, 1
    sum_x, sum_y, sum_xx, sum_xy = 0.0, 0.0, 0.0, 0.0
    for k in range(1, BINS):
        share = power[k] / total
        if share > 0.0:
            entropy -= share * np.log(share)
        x = np.log(float(k))
        y = np.log(max(power[k], floor) / total)
        if power[k] > power[strongest]:
            strongest = k
        sum_x += x
        sum_y += y
        sum_xx += x * x
        sum_xy += x * y
    count = BINS - 1.0
    slope = (count * sum_xy - sum_x * sum_y) / (count * sum_xx - sum_x * sum_x)
    return entropy / np.log(count), slope, np.log2(SEGMENT / strongest)
