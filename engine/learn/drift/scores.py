"""From a raw value to a bounded score, scaled by what the stream itself showed first.

Residuals have tails so heavy that a single one would be the whole evidence. A score's mean is what detectors watch, so
it must be bounded; how it is bounded decides which change it sees. Centre and scale come from the first values of the
stream only, never from trailing ones: a scale that follows the stream hides that the variance drifted.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from engine.core.jit import kernel
from engine.learn.drift.contract import DriftError, Floats

SHAPES: Final = {"plain": 0, "location": 1, "spread": 2, "sign": 3}
"""``plain``: the value itself, clipped; ``location``: for a shift of the mean; ``spread``: for another variance;
``sign``: for values whose sign is the message, as prediction times outcome."""

CLIP: Final = 5.0
"""Mean absolute deviations; more is no more evidence."""

SOFT: Final = 2.0


def shape_code(shape: str) -> int:
    """The number of a shape for kernels.

    Raises:
        DriftError: there is no such shape.
    """
    if shape not in SHAPES:
        raise DriftError(f"expected a shape of {', '.join(SHAPES)}, found {shape!r}")
    return SHAPES[shape]


@kernel
def settle(first: Floats, shape: int, told: Floats) -> None:
    """Write centre and scale of the first values to ``told``."""
    centre = 0.0 if shape == 3 else np.median(first)
    scale = np.mean(np.abs(first - centre))
    told[0] = centre
    told[1] = scale if scale > 0.0 else 1.0


@kernel
def score(value: float, shape: int, centre: float, scale: float) -> float:
    """The bounded score of one value."""
    v = (value - centre) / scale
    if shape == 1:
        return math.tanh(v / SOFT)
    if shape == 2:
        return min(abs(v), CLIP)
    if shape == 3:
        return math.tanh(v)
    return min(max(v, -CLIP), CLIP)
