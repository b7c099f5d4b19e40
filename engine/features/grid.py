"""Clock time cut into equal steps: when a family that samples, or makes bars, has something to do.

A step ends at a multiple of its length in engine time. What stood in it is what the frames strictly before that moment
said, so a frame at the very end of a step belongs to the next one.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel

Vector: TypeAlias = npt.NDArray[np.float64]


@kernel
def step_of(now_ns: int, step_ns: int) -> float:
    """The number of the step that a moment is in, counted from the epoch.

    >>> step_of(2_999_999_999, 1_000_000_000), step_of(3_000_000_000, 1_000_000_000)
    (2.0, 3.0)
    """
    return float(now_ns // step_ns)


@kernel
def doubled_mid(frame: np.void) -> float:
    """Best bid plus best ask in price units: exact, where half of it is not always a whole number."""
    return float(frame["bid"][0]) + float(frame["ask"][0])
