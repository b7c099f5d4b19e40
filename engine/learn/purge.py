"""Which rows may train when others validate: labels look ahead, and a row whose label looks into them knows answers.

After Lopez de Prado, Advances in Financial Machine Learning, 2018, chapter 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Times: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Rows: TypeAlias = npt.NDArray[np.int64]


def overlaps(starts_ns: Times, ends_ns: Times, from_ns: int, to_ns: int) -> Mask:
    """Of rows whose labels span (start, end]: which look into the time from ``from_ns`` to ``to_ns``.

    A label that ends where the span begins is known by then, and does not.

    >>> overlaps(np.array([0, 10, 20, 50]), np.array([30, 40, 50, 80]), 30, 50).tolist()
    [False, True, True, False]
    """
    found: Mask = (ends_ns > from_ns) & (starts_ns < to_ns)
    return found


def trainable(starts_ns: Times, ends_ns: Times, validation: Rows, embargo_ns: int = 0) -> Rows:
    """All rows that share no time with the validation's rows (their numbers), nor start within the embargo after them.

    >>> trainable(np.arange(0, 100, 10), np.arange(30, 130, 10), np.array([4, 5]), embargo_ns=10).tolist()
    [0, 1, 9]
    """
    from_ns, to_ns = int(starts_ns[validation].min()), int(ends_ns[validation].max())
    free = ~overlaps(starts_ns, ends_ns, from_ns, to_ns)
    free &= (starts_ns < from_ns) | (starts_ns >= to_ns + embargo_ns)
    free[validation] = False
    return np.flatnonzero(free)


def walk_forward(starts_ns: Times, ends_ns: Times, folds: int) -> Iterator[tuple[Rows, Rows]]:
    """Train on all that was known before, validate on what comes next: so many times, over equal parts of the rows.

    The first part only trains. Rows are in the order of time.

    >>> [(train.tolist(), test.tolist()) for train, test in walk_forward(np.arange(6), np.arange(6) + 2, 2)]
    [([0], [2, 3]), ([0, 1, 2], [4, 5])]
    """
    edges = np.linspace(0, len(starts_ns), folds + 2).round().astype(int)
    for begins, ends in pairwise(edges[1:].tolist()):
        train = np.flatnonzero(ends_ns[:begins] <= starts_ns[begins])
        yield train, np.arange(begins, ends)
