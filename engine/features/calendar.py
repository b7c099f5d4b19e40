"""Where in the minute, hour, day and week it is, in UTC: each cycle as a point on a circle, and sessions as flags."""

from __future__ import annotations

import math

import numpy as np

from engine.core.jit import kernel
from engine.features.family import Vector

CYCLES_S = (60, 3_600, 86_400, 604_800)
SESSIONS_H = ((0, 8), (7, 16), (13, 21))  # UTC hours in which Asia, Europe and America are at their desks
FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0

_LABELS = ("second_of_minute", "minute_of_hour", "hour_of_day", "day_of_week")
FEATURES: tuple[tuple[str, str], ...] = (
    *((f"{label}_{wave}", "[-1, 1]") for label in _LABELS for wave in ("sine", "cosine")),
    *((f"is_{name}", "0 or 1") for name in ("asia", "europe", "america", "weekend")),
)
"""Name and unit of each output, in order."""

WARM_UP_S = 0.0
MEMORY = 0

_NS = 1_000_000_000
_CIRCLE = 2.0 * math.pi
_CYCLES, _SESSIONS = len(CYCLES_S), len(SESSIONS_H)


@kernel
def start(now: np.void, memory: Vector) -> None:
    """Remember nothing."""


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: Vector) -> None:
    """Learn nothing: only the time of reading counts."""


@kernel
def read(last: np.void, tick: float, seconds: float, now_ns: int, memory: Vector, out: Vector) -> None:
    """Write the features of the engine time ``now_ns``, ns UTC."""
    since_monday_ns = now_ns + FIRST_WEEKDAY * CYCLES_S[2] * _NS
    for k in range(_CYCLES):
        cycle_ns = CYCLES_S[k] * _NS
        angle = _CIRCLE * float(since_monday_ns % cycle_ns) / float(cycle_ns)
        out[2 * k] = np.sin(angle)
        out[2 * k + 1] = np.cos(angle)
    n = 2 * _CYCLES
    hour = now_ns // (CYCLES_S[1] * _NS) % 24
    for k in range(_SESSIONS):
        begin, end = SESSIONS_H[k]
        out[n + k] = 1.0 if begin <= hour < end else 0.0
    out[n + _SESSIONS] = 1.0 if since_monday_ns % (CYCLES_S[3] * _NS) // (CYCLES_S[2] * _NS) >= 5 else 0.0
