"""What the online calibration may cost and how quickly it believes what it sees."""

from __future__ import annotations

import msgspec


class CalibrationSettings(msgspec.Struct, frozen=True):
    """Ghost orders and the share of cancels in front, per symbol and hour of the day.

    ``interval_ns``: mean time between two ghosts of a symbol; ``life_ns``: how long one rests; ``most``: ghosts of a
    symbol at once; ``deepest``: a ghost joins one of the best so many levels. ``report_ns``: how often the estimate is
    told and used. ``prior_sd``: of the logit before anything was seen; ``weight``: what one cancel counts, below 1
    because neighbouring cancels are not independent; ``pooled``: what a cancel of another hour counts of that;
    ``most_told``: all of them together count as so many at most, as only young queues can be followed (FIDELITY.md).
    """

    seed: int = 1
    interval_ns: int = 1_000_000_000
    life_ns: int = 30_000_000_000
    most: int = 16
    deepest: int = 3
    report_ns: int = 60_000_000_000
    prior_sd: float = 0.2
    weight: float = 0.05
    pooled: float = 0.2
    most_told: float = 20.0
