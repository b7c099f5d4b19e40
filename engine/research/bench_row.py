"""One line of a benchmark's answer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np


class Row(msgspec.Struct, frozen=True):
    """One case: the median and the tenth and ninetieth percentile of its samples."""

    case: str
    median: float
    p10: float
    p90: float
    unit: str
    samples: int


def row(case: str, samples: Sequence[float], unit: str) -> Row:
    """Condense samples.

    >>> row("x", [1.0, 2.0, 3.0], "us").median
    2.0
    """
    p10, median, p90 = (round(float(value), 3) for value in np.percentile(samples, (10, 50, 90)))
    return Row(case, median, p10, p90, unit, len(samples))
