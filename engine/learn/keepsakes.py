"""Rows of long ago, kept so that a training on the newest window does not forget them: a reservoir of blocks.

Blocks of neighbouring rows that leave the window enter a reservoir in which each block of the run so far is equally
likely to be (Vitter, "Random sampling with a reservoir", ACM TOMS 1985, algorithm R). Chance is a function of the
block's number, so that a run that is played again keeps the same ones.
"""

from __future__ import annotations

from typing import Final

BLOCK: Final = 64
"""Rows; labels of neighbours overlap, so a row alone would not say less than its block takes more."""

_WORD: Final = (1 << 64) - 1


def chance(number: int) -> int:
    """64 bits that look random, the same for the same number (splitmix64, Steele, Lea and Flood, OOPSLA 2014).

    >>> chance(1) == chance(1), chance(1) == chance(2)
    (True, False)
    """
    z = (number * 0x9E3779B97F4A7C15) & _WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
    return z ^ (z >> 31)


def place(number: int, blocks: int) -> int | None:
    """Where the block of this number, counted from 0, is put in a reservoir of so many; None: it is not kept.

    >>> [place(number, 2) for number in range(2)], {place(number, 2) for number in range(2, 40)} <= {None, 0, 1}
    ([0, 1], True)
    """
    if number < blocks:
        return number
    at = chance(number) % (number + 1)
    return at if at < blocks else None


def whole_blocks(rows: int) -> int:
    """How many blocks so many rows are."""
    return -(-rows // BLOCK)
