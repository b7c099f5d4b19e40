"""The samples whose labels are known, newest last, in a ring: what a network is trained on."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from engine.features.set import Vector
from engine.learn.keepsakes import BLOCK, place, whole_blocks

Memory: TypeAlias = bytearray | memoryview

SPARE_SHARE: Final = 8
LEAST_SPARE: Final = BLOCK + 16
"""A ring holds this much more than the window, an eighth of it and at least 80 rows: so much may be added while
another process copies the rows that were lent, and all of them are still there."""

HEADER: Final = 8
"""Whole numbers before the rows; these are the places of those that are used."""

ADDED, PROGRESS, BLOCKS, CHANGES = range(4)
"""Rows ever added; how far a training is, in millionths; blocks that left the window; changes of what is kept of them,
odd while one is under way."""

TRIES: Final = 5

_ARRAYS: Final = ("times", "ends", "weights", "y", "x")


class WindowLost(ValueError):
    """Rows that were lent are not there any more: so many new ones came meanwhile."""


class Lent(msgspec.Struct, frozen=True):
    """Which rows of a ring are lent, and how the ring lies in its memory; ``name`` is the memory's, if it has one.

    ``begun`` and ``added`` number the first row that counts and the one after the last; ``blocks`` is the room for what
    is kept of older rows.
    """

    name: str
    capacity: int
    width: int
    labels: int
    blocks: int
    begun: int
    added: int


class Rows(msgspec.Struct, frozen=True):
    """Copies of rows, oldest sample first: ``x`` (rows, features), ``y`` (rows,) or (rows, labels), times in ns.

    The first ``kept`` of them are of long ago, the others the window.
    """

    times_ns: npt.NDArray[np.int64]
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float64]
    ends_ns: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    kept: int = 0


def ring_of(capacity: int) -> int:
    """Rows in the ring of a window.

    >>> ring_of(1), ring_of(6000)
    (81, 6750)
    """
    return capacity + max(LEAST_SPARE, capacity // SPARE_SHARE)


def memory_size(capacity: int, width: int, labels: int, blocks: int = 0) -> int:
    """Bytes that a window takes.

    >>> memory_size(6000, 40, 1)
    1296064
    """
    return 8 * HEADER + (ring_of(capacity) + blocks * BLOCK) * (3 * 8 + 8 * labels + 4 * width)


class _Ring:
    """The arrays of a window, in one memory: those of the ring, and behind them in each what is kept of older rows."""

    def __init__(self, memory: Memory, capacity: int, width: int, labels: int, blocks: int) -> None:
        rows, at = ring_of(capacity) + blocks * BLOCK, 8 * HEADER
        self.header = np.frombuffer(memory, np.int64, HEADER)
        arrays: dict[str, npt.NDArray[Any]] = {}
        for name in _ARRAYS:
            kind = {"times": np.int64, "ends": np.int64, "x": np.float32}.get(name, np.float64)
            columns = {"y": labels, "x": width}.get(name, 1)
            array = np.frombuffer(memory, kind, rows * columns, at)
            at += array.nbytes
            flat = columns == 1 and name != "x"
            arrays[name] = array if flat else array.reshape(rows, columns)
        self.arrays = arrays

    def take(self, order: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
        """Copies of rows, in the order of their samples."""
        times = self.arrays["times"][order]
        if np.any(times[1:] < times[:-1]):  # labels that end early come in another order
            order = order[np.argsort(times, kind="stable")]
        return {name: array[order] for name, array in self.arrays.items()}


def collect(lent: Lent, memory: Memory) -> Rows:
    """Copy lent rows out of the memory in which their window lies, while it may go on.

    Raises:
        WindowLost: newer rows took their places before they were copied.
    """
    ring = _Ring(memory, lent.capacity, lent.width, lent.labels, lent.blocks)
    size = ring_of(lent.capacity)
    first = max(lent.begun, lent.added - lent.capacity)
    newest = ring.take(np.arange(first, lent.added) % size)
    older = _older(ring, lent, int(newest["times"][0]) if len(newest["times"]) else 0)
    # The row being written now is the one after those that the header counts.
    if int(ring.header[ADDED]) >= first + size:
        raise WindowLost(
            f"expected the rows from {first} on, found that {int(ring.header[ADDED]) - lent.added} newer ones came "
            "before they were copied: the trainer gets too little of the machine"
        )
    both = {name: np.concatenate([older[name], newest[name]]) if older else newest[name] for name in _ARRAYS}
    kept = len(older["times"]) if older else 0
    return Rows(both["times"], both["x"], both["y"], both["ends"], both["weights"], kept)


def _older(ring: _Ring, lent: Lent, before_ns: int) -> dict[str, npt.NDArray[Any]]:
    """Copies of what is kept of rows from before the window; nothing where nothing is.

    Raises:
        WindowLost: it changed at every try.
    """
    for _ in range(TRIES if lent.blocks else 0):
        changes = int(ring.header[CHANGES])
        begin = ring_of(lent.capacity)
        rows = min(int(ring.header[BLOCKS]), lent.blocks) * BLOCK
        copies = ring.take(np.arange(begin, begin + rows))
        if changes % 2 == 0 and int(ring.header[CHANGES]) == changes:
            # A block that left the window after it was lent is in both.
            whole = copies["times"] < before_ns
            return {name: array[whole] for name, array in copies.items()}
    if lent.blocks:
        raise WindowLost(f"expected the kept rows to rest for a moment, found them changed at each of {TRIES} tries")
    return {}


_PLAIN: Final = ("capacity", "width", "labels", "blocks", "begun", "added", "holes")


class Window:
    """At most ``capacity`` rows of (time, features, label); the oldest makes room.

    ``labels`` above 1: each row has so many; ``memory_rows``: about so many older rows are kept besides
    (``keepsakes.py``). A row that is not finite everywhere teaches nothing: it is counted in ``holes`` and left out.
    All of it lies in one memory (``memory_size`` bytes), its own until ``settle`` moves it.

    >>> window = Window(capacity=2, width=1)
    >>> for i in range(3):
    ...     window.add(i, np.array([i * 1.0]), i * 10.0)
    >>> window.rows().y.tolist(), len(window)
    ([10.0, 20.0], 2)
    """

    def __init__(self, capacity: int, width: int, labels: int = 1, memory_rows: int = 0) -> None:
        self.capacity = capacity
        self.width = width
        self.labels = labels
        self.blocks = whole_blocks(memory_rows)
        self.begun = 0  # the first row that counts
        self.added = 0
        self.holes = 0
        self.name = ""
        self._memory: Memory = bytearray(self.size)
        self._take(self._memory)

    @property
    def size(self) -> int:
        """Bytes of its memory."""
        return memory_size(self.capacity, self.width, self.labels, self.blocks)

    def _take(self, memory: Memory) -> None:
        ring = _Ring(memory, self.capacity, self.width, self.labels, self.blocks)
        self._all = ring.arrays
        self._memory, self._ring, self._header = memory, ring_of(self.capacity), ring.header
        self._times, self._ends = ring.arrays["times"], ring.arrays["ends"]
        self._weights, self._y, self._x = ring.arrays["weights"], ring.arrays["y"], ring.arrays["x"]

    def __getstate__(self) -> dict[str, Any]:
        """Arrays are views of the memory: a copy of each by itself would see nothing of what the others write."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {**plain, "memory": bytes(self._memory[: self.size])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in _PLAIN:
            setattr(self, name, state[name])
        self.name = ""  # the memory is its own
        self._take(bytearray(state["memory"]))

    def settle(self, memory: Memory, name: str = "") -> None:
        """Move into another memory of at least ``size`` bytes, for instance one that another process can see."""
        memory[: self.size] = self._memory[: self.size]
        self.name = name
        self._take(memory)

    @property
    def progress(self) -> float:
        """How far the training of lent rows is, 0 to 1, as the trainer wrote beside them."""
        return float(self._header[PROGRESS]) / 1e6

    def __len__(self) -> int:
        return min(self.added - self.begun, self.capacity)

    def clear(self) -> None:
        """Begin anew; what was left out stays counted, and what was kept of older rows stays."""
        self.begun = self.added

    def add(self, time_ns: int, x: Vector, y: float | Vector, end_ns: int | None = None, weight: float = 1.0) -> None:
        """Append one row: its label was known at ``end_ns`` (the row's own time where it is not told)."""
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            self.holes += 1
            return
        at = self.added % self._ring
        self._times[at], self._x[at], self._y[at] = time_ns, x, y
        self._ends[at], self._weights[at] = time_ns if end_ns is None else end_ns, weight
        self.added += 1
        self._header[ADDED] = self.added
        if self.blocks:
            self._keep()

    def _keep(self) -> None:
        """Keep the block that left the window with the last row, if chance will have it."""
        number = int(self._header[BLOCKS])
        if self.added - self.capacity < (number + 1) * BLOCK:
            return
        at = place(number, self.blocks)
        if at is not None:
            source = np.arange(number * BLOCK, (number + 1) * BLOCK) % self._ring
            target = slice(self._ring + at * BLOCK, self._ring + (at + 1) * BLOCK)
            self._header[CHANGES] += 1
            for array in self._all.values():
                array[target] = array[source]
            self._header[CHANGES] += 1
        self._header[BLOCKS] = number + 1

    def lend(self) -> Lent:
        """What ``collect`` needs to copy the rows as they are now, here or where the memory can be seen."""
        self._header[PROGRESS] = 0
        return self._lent()

    def _lent(self) -> Lent:
        return Lent(self.name, self.capacity, self.width, self.labels, self.blocks, self.begun, self.added)

    def rows(self) -> Rows:
        """Copies, oldest sample first."""
        return self.copy(self._lent())

    def copy(self, lent: Lent) -> Rows:
        """Copies of rows that were lent a while ago; for another thread.

        Raises:
            WindowLost: newer ones took their places.
        """
        return collect(lent, self._memory)

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "added": self.added,
            "begun": self.begun,
            "blocks": int(self._header[BLOCKS]),
            "holes": self.holes,
            **{name: getattr(self, f"_{name}").tobytes() for name in _ARRAYS},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of a window of the same size gave."""
        self.added, self.begun, self.holes = state["added"], state["begun"], state["holes"]
        self._header[ADDED], self._header[BLOCKS] = self.added, state["blocks"]
        for name in _ARRAYS:
            mine: npt.NDArray[Any] = getattr(self, f"_{name}")
            mine[:] = np.frombuffer(state[name], mine.dtype).reshape(mine.shape)
