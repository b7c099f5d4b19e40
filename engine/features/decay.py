"""Exponential decay by clock time: the one way in which features forget."""

from __future__ import annotations

import math

LN2 = math.log(2.0)
"""``exp(-LN2 * seconds / half_life)`` is what is left after ``seconds``."""


def kept(seconds: float, half_life_s: float) -> float:
    """The share of an old value that is left after ``seconds``.

    >>> kept(2.0, half_life_s=1.0)
    0.25
    """
    return math.exp(-LN2 * seconds / half_life_s)
