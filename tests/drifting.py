"""Streams for detectors of drift: noise as a market's residuals are, and detectors by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.learn.drift.contract import Detector, Floats
from engine.learn.drift.cusum import Cusum
from engine.learn.drift.rivers import Adwin, Ddm, Eddm, Fhddm, HddmA, HddmW, Kswin, PageHinkley
from engine.learn.drift.scan import Scan
from engine.learn.drift.windows import Psi, TwoSample

OF_VALUES: dict[str, Callable[[], Detector]] = {
    "adwin": lambda: Adwin(1e-6),
    "page-hinkley": lambda: PageHinkley(200.0),
    "kswin": lambda: Kswin(1e-7),
    "psi": lambda: Psi(0.4),
    "two-sample": lambda: TwoSample(4.0),
    "cusum": Cusum,
    "scan": Scan,
}
OF_MISSES: dict[str, Callable[[], Detector]] = {
    "ddm": lambda: Ddm(4.0),
    "eddm": lambda: Eddm(1.8),
    "hddm-a": lambda: HddmA(1e-9),
    "hddm-w": lambda: HddmW(1e-9),
    "fhddm": lambda: Fhddm(1e-12),
}


def rough(rows: int, seed: int) -> Floats:
    """Sums of ten overlapping heavy-tailed steps whose size comes in clusters."""
    chance = np.random.default_rng(seed)
    shocks = 0.2 * chance.normal(size=rows + 9)
    log_size = np.empty(rows + 9)
    log_size[0] = 0.0
    for at in range(1, rows + 9):
        log_size[at] = 0.97 * log_size[at - 1] + shocks[at]
    steps = chance.standard_t(4, size=rows + 9) * np.exp(log_size)
    sums: Floats = np.empty(rows)
    sums[:] = np.convolve(steps, np.ones(10), "valid")
    return sums


def independent(name: str, rows: int, seed: int) -> Floats:
    """What the detector of that name listens to, without anything that drifts."""
    chance = np.random.default_rng(seed)
    values: Floats = chance.normal(size=rows)
    return values if name in OF_VALUES else np.where(chance.random(rows) < 0.1, 1.0, 0.0)
