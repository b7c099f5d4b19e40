"""Leaks between training and validation rows: overlapping labels, shuffled rows, scores too good to be true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from engine.learn.estimates import Floats
from engine.learn.purge import Rows, Times, walk_forward
from engine.research.intervals import Scored, bootstrap_scores
from engine.research.leak_found import Leak

Split: TypeAlias = tuple[Rows, Rows]
"""Numbers of the rows that train, and of those that validate."""

MOST: Final = 3000
"""Rows of either kind that the memory of ``memorised`` holds; the last in time of those that train."""

MARGIN: Final = 0.1
"""Beyond the intervals, by how much more a claimed validation may score."""


def overlapping(starts_ns: Times, ends_ns: Times, splits: Sequence[Split]) -> list[Leak]:
    """Validation rows whose label shares time with a training row's: both are told by the same moves.

    A label that ends where the other begins shares nothing.
    """
    shared = total = 0
    for train, test in splits:
        order = np.argsort(starts_ns[train], kind="stable")
        begins = starts_ns[train][order]
        # Of the training rows that begin before a validation row's end, the one that ends last.
        last_end = np.maximum.accumulate(ends_ns[train][order]) if len(train) else np.zeros(0, np.int64)
        before = np.searchsorted(begins, ends_ns[test], side="left")
        meets = (before > 0) & (last_end[np.maximum(before - 1, 0)] > starts_ns[test]) if len(train) else before > 0
        shared += int(meets.sum())
        total += len(test)
    if not shared:
        return []
    text = f"{shared} of {total} validation rows have a label that shares time with a training row's"
    return [Leak("overlap", "splits", shared / total, f"{text}: purge them (engine/learn/purge.py)")]


def shuffled(starts_ns: Times, splits: Sequence[Split]) -> list[Leak]:
    """Splits whose validation rows lie one by one between training rows, instead of in a few whole stretches.

    >>> rows = np.arange(100)
    >>> shuffled(rows, [(rows[::2], rows[1::2])])[0].detail
    'splits: of 50 validation rows 50 stand alone between training rows: split by time'
    >>> shuffled(rows, [(rows[:50], rows[55:])])
    []
    """
    alone = total = 0
    for train, test in splits:
        order = np.argsort(np.concatenate((starts_ns[train], starts_ns[test])), kind="stable")
        is_test = order >= len(train)
        edges = np.flatnonzero(np.diff(is_test.astype(np.int8)) != 0)
        stretches = (len(edges) + 1 + int(bool(len(is_test)) and bool(is_test[0]))) // 2
        total += len(test)
        # As many stretches as chance makes, give or take a half: k-fold with whole stretches makes a few.
        expected = len(test) * len(train) / max(1, len(test) + len(train))
        alone += stretches if stretches > max(4.0, expected / 2.0) else 0
    if not alone:
        return []
    text = f"splits: of {total} validation rows {alone} stand alone between training rows"
    return [Leak("shuffle", "splits", alone / total, f"{text}: split by time")]


def memorised(
    x: Floats, y: Floats, starts_ns: Times, ends_ns: Times, splits: Sequence[Split], seed: int = 0
) -> list[Leak]:
    """A claimed validation under which mere memory scores far better than walk-forward with purging.

    The memory says the label of the training row whose features are nearest. Where rows train that are neighbours in
    time of those that validate, it finds them and scores near 1; on what is still to come it knows nothing.
    """
    overlap = max(1, int(np.median(np.searchsorted(starts_ns, ends_ns) - np.arange(len(starts_ns)))))
    claimed = _score(x, y, splits, 4 * overlap, seed)
    forward = _score(x, y, list(walk_forward(starts_ns, ends_ns, max(2, len(splits)))), 4 * overlap, seed)
    if not claimed.ic_lo > forward.ic_hi + MARGIN:
        return []
    text = f"memory scores {claimed.ic:.2f} as claimed and {forward.ic:.2f} walking forward with purging"
    return [Leak("scheme", "splits", claimed.ic - forward.ic, f"{text}: the claimed validation knows its answers")]


def _score(x: Floats, y: Floats, splits: Sequence[Split], block_rows: int, seed: int) -> Scored:
    said = np.full(len(y), np.nan)
    for train, test in splits:
        known = train[np.isfinite(x[train]).all(axis=1) & np.isfinite(y[train])]
        asked = test[np.isfinite(x[test]).all(axis=1)]
        if len(known) > MOST:
            known = (
                np.sort(np.random.default_rng(seed).permutation(known)[:MOST]) if _mixed(train, test) else known[-MOST:]
            )
        if len(known):
            said[asked] = _nearest(x, y, known, asked)
    return bootstrap_scores(said, y, block_rows, 200, seed)


def _mixed(train: Rows, test: Rows) -> bool:
    """Some rows train that come after one that validates."""
    return bool(len(train) and len(test) and train.max() > test.min())


def _nearest(x: Floats, y: Floats, train: Rows, test: Rows) -> Floats:
    """The label of the training row whose features, in their own deviations, are nearest."""
    scale = x[train].std(axis=0)
    known = x[train] / np.where(scale > 0.0, scale, 1.0)
    size = np.einsum("ij,ij->i", known, known)
    said = np.empty(len(test))
    for at in range(0, len(test), 512):
        asked = x[test[at : at + 512]] / np.where(scale > 0.0, scale, 1.0)
        said[at : at + 512] = y[train[np.argmin(size - 2.0 * asked @ known.T, axis=1)]]
    return said
