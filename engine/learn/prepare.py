"""From features as they are to inputs that a model can take: normalised by the past, clipped, and never missing.

A row is normalised by what the rows before it were, and only then learned from, so that no row knows itself or what
comes after. What is missing (nan), absurd or too old becomes 0, the middle of every scale, and may be marked in a
column of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.families import OWNERS
from engine.features.set import Vector
from engine.learn.scaler import Scaler

METHODS = ("none", "z", "robust", "rank")
"""``none``: as they are; ``z``: running mean and deviation; ``robust``: median and quartiles; ``rank``: -1 to 1."""

BOUND = 8.0
"""Deviations at which inputs are clipped."""
ABSURD = 1e100
"""A value of this size or more says as little as nan: its square is no number any more."""
WINDOW = 256
"""Values of a feature that its quantiles are taken from: the first so many, then one row in ``EVERY``."""
EVERY = 16
SETTLED_AFTER = 30
"""Values, before which nothing is normalised and every input is 0."""

NORMAL_QUARTILES = 1.3489795003921634  # between the quartiles of a normal distribution, in its deviations
NORMAL_TAILS = 3.289707253902945  # between its 5th and 95th percentile

STALE_AFTER: Mapping[str, tuple[str, ...]] = {
    "is_trade_old": ("flow", "trades", "impact"),
    "is_book_old": ("book", "returns", "levels", "order_flow", "queue", "statistics"),
}
"""Families whose features count as missing while such a feature, where it is among the inputs, is 1."""

MISSING, TOO_BIG, TOO_OLD, CLIPPED = range(4)
Counts = npt.NDArray[np.int64]


class Reducer(Protocol):
    """Makes fewer numbers of many, online, from prepared rows: the hook for principal components and such."""

    @property
    def names(self) -> Sequence[str]:
        """Of the numbers that it makes."""

    @property
    def regime(self) -> int:
        """Which regime the row reduced last belongs to; -1: none is told."""

    @property
    def meaning(self) -> list[Any]:
        """What decides how the numbers come about, as plain values: the hash of the inputs has it."""

    def reduce(self, x: Vector, out: Vector) -> bool:
        """Write what ``x`` comes to, one number for each of ``names``; False while too little is known for that.

        Nothing that was learned changes.
        """

    def learn(self, x: Vector) -> None:
        """Take one row."""

    def save(self) -> dict[str, Any]:
        """The state as plain values."""

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""


@kernel
def _clean(x: Vector, gates: npt.NDArray[np.int64], counts: Counts, out: Vector) -> None:
    """Copy a row with nan for what may not be used, and count why."""
    for i in range(x.shape[0]):
        value = x[i]
        out[i] = value
        if value != value:
            counts[MISSING] += 1
        elif abs(value) >= ABSURD:
            counts[TOO_BIG] += 1
            out[i] = np.nan
        elif gates[i] >= 0 and x[gates[i]] == 1.0:
            counts[TOO_OLD] += 1
            out[i] = np.nan


@kernel
def _quantile(values: Vector, count: int, share: float) -> float:
    """Of the first ``count`` sorted values, linear between neighbours."""
    at = share * (count - 1)
    low = int(at)
    high = min(low + 1, count - 1)
    return float(values[low] + (values[high] - values[low]) * (at - low))


@kernel
def _learn(x: Vector, rows: int, ring: Vector, values: Vector, seen: Counts) -> None:
    """Put a row into the windows: ``ring`` in order of time, ``values`` sorted, a line a feature."""
    room = ring.shape[1]
    for i in range(x.shape[0]):
        value = x[i]
        # A feature that begins late fills its window first, too.
        if value != value or (seen[i] >= room and rows % EVERY != 0):
            continue
        slot = seen[i] % room
        count = min(seen[i], room)
        mine = values[i]
        if count == room:
            at = np.searchsorted(mine, ring[i, slot])
            for k in range(at, count - 1):
                mine[k] = mine[k + 1]
            count -= 1
        at = np.searchsorted(mine[:count], value)
        for k in range(count, at, -1):
            mine[k] = mine[k - 1]
        mine[at] = value
        ring[i, slot] = value
        seen[i] += 1


@kernel
def _robust(x: Vector, values: Vector, seen: Counts, bound: float, out: Vector) -> None:
    """Distance from the median in normal deviations; where half of the values are equal the tails say how wide."""
    for i in range(x.shape[0]):
        count = min(seen[i], values.shape[1])
        if x[i] != x[i] or count < SETTLED_AFTER:
            out[i] = 0.0
            continue
        mine = values[i]
        spread = (_quantile(mine, count, 0.75) - _quantile(mine, count, 0.25)) / NORMAL_QUARTILES
        if spread <= 0.0:
            spread = (_quantile(mine, count, 0.95) - _quantile(mine, count, 0.05)) / NORMAL_TAILS
        away = (x[i] - _quantile(mine, count, 0.5)) / spread if spread > 0.0 else 0.0
        out[i] = min(max(away, -bound), bound)


@kernel
def _rank(x: Vector, values: Vector, seen: Counts, out: Vector) -> None:
    """The share of the window below less that above, ties on neither side."""
    for i in range(x.shape[0]):
        count = min(seen[i], values.shape[1])
        out[i] = 0.0
        if x[i] == x[i] and count >= SETTLED_AFTER:
            below = np.searchsorted(values[i, :count], x[i])
            upto = np.searchsorted(values[i, :count], x[i], side="right")
            out[i] = (below - (count - upto)) / count


def input_names(names: Sequence[str], *, masks: bool) -> tuple[str, ...]:
    """Of the prepared inputs, before any reduction.

    >>> input_names(["spread_bps"], masks=True)
    ('spread_bps', 'spread_bps_missing')
    """
    return (*names, *(f"{name}_missing" for name in names if masks))


class Preparation:
    """Turns rows of named features into inputs: ``method`` is one of ``METHODS``, ``masks`` adds a column a feature.

    Raises:
        ValueError: an unknown method, or masks or a reducer without one.

    >>> prepared = Preparation(["spread_bps"], "rank", masks=True)
    >>> prepared.names
    ('spread_bps', 'spread_bps_missing')
    >>> for value in range(100):
    ...     x = prepared.take(np.array([float(value)]))
    >>> x.tolist(), prepared.take(np.array([1e300])).tolist(), prepared.counts["too_big"]
    ([1.0, 0.0], [0.0, 1.0], 1)
    """

    def __init__(
        self, names: Sequence[str], method: str, *, masks: bool = False, reducer: Reducer | None = None
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"prepare: expected one of {', '.join(METHODS)}, found {method!r}")
        if method == "none" and (masks or reducer is not None):
            key = "masks" if masks else "reduce"
            raise ValueError(f"{key}: expected prepare = z, robust or rank beside it, found none")
        self.method = method
        self._width = width = len(names)
        self.reducer = reducer
        self.known = True
        """Whether the row taken last can be used: a reducer must have learned some first."""
        self._masked = width if masks else 0
        inputs = input_names(names, masks=masks)
        self.names: tuple[str, ...] = inputs if reducer is None else tuple(reducer.names)
        gates = {family: gate for gate, families in STALE_AFTER.items() for family in families}
        wanted = [gates.get(OWNERS.get(name, ""), "") for name in names]
        self._gates = np.array([names.index(gate) if gate in names else -1 for gate in wanted], np.int64)
        self._counts: Counts = np.zeros(4, np.int64)
        self._rows = 0
        has_window = method in ("robust", "rank")
        self._scaler = Scaler(width if method == "z" else 0, BOUND)
        self._ring: Vector = np.zeros((width if has_window else 0, WINDOW))
        self._values: Vector = np.zeros_like(self._ring)
        self._seen: Counts = np.zeros(width, np.int64)
        self._clean: Vector = np.zeros(width)
        self._all: Vector = np.zeros(len(inputs))
        self._out: Vector = np.zeros(len(self.names))
        # Compiled here, at the start, and not at the first row.
        self._scale(np.full(width, np.nan))
        self._counts[:] = 0

    @property
    def counts(self) -> dict[str, int]:
        """How many values were missing, too big to mean anything, too old, and clipped."""
        return dict(zip(("missing", "too_big", "too_old", "clipped"), self._counts.tolist(), strict=True))

    def take(self, x: Vector) -> Vector:
        """One row of inputs, by what was learned before, and then learn from it; written again by the next call."""
        if self.method == "none":
            return x
        self._scale(x)
        if self.method == "z":
            self._scaler.learn(self._clean)
        else:
            _learn(self._clean, self._rows, self._ring, self._values, self._seen)
        self._rows += 1
        if self.reducer is None:
            return self._all
        self.known = self.reducer.reduce(self._all, self._out)
        self.reducer.learn(self._all)
        return self._out

    def _scale(self, x: Vector) -> None:
        clean, scaled = self._clean, self._all[: self._width]
        _clean(x, self._gates, self._counts, clean)
        if self.method == "robust":
            _robust(clean, self._values, self._seen, BOUND, scaled)
        elif self.method == "rank":
            _rank(clean, self._values, self._seen, scaled)
        elif self._rows >= SETTLED_AFTER:
            scaled[:] = self._scaler.scale(clean)
        if self.method != "rank":
            self._counts[CLIPPED] += int(np.count_nonzero(np.abs(scaled) >= BOUND))
        if self._masked:
            self._all[self._width :] = np.isnan(clean)

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "rows": self._rows,
            "counts": self._counts.tolist(),
            "scaler": self._scaler.save(),
            "ring": self._ring.tobytes(),
            "values": self._values.tobytes(),
            "seen": self._seen.tolist(),
            "reducer": None if self.reducer is None else self.reducer.save(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of a preparation of the same features and method gave."""
        self._rows = state["rows"]
        self._counts[:] = state["counts"]
        self._scaler.load(state["scaler"])
        self._ring[:] = np.frombuffer(state["ring"]).reshape(self._ring.shape)
        self._values[:] = np.frombuffer(state["values"]).reshape(self._values.shape)
        self._seen[:] = state["seen"]
        if self.reducer is not None:
            self.reducer.load(state["reducer"])
