"""What many features say together: principal components, a self-organising map and the codes of a trained autoencoder.

These families see no frames. They work on a vector of features at the moment when it is sampled: ``learn`` moves the
memory by one vector, ``encode`` says what it makes of one and changes nothing. A run that encodes before it learns
knows no more than the market had told by then.

Every number is standardised by a mean and a variance that fade, and what is nan counts as average and teaches nothing.
The principal components are found one sample at a time by candid covariance-free incremental analysis (Weng, Zhang,
Hwang 2003), made orthonormal, with a fixed sign. The map (Kohonen 1982) starts on the plane of the first two
components, so that it needs no chance, and its rate and radius fall to floors, so that it never stops following.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.autoencoder import BOUND, CODES, autoencode, dot, shapes, weights_size
from engine.features.grid import Vector

COMPONENTS = 4
CELLS = 9  # of the map

VERSION = 1
"""Rises when a code changes its meaning under the same name."""

HALF_LIFE = 2_000.0
"""Samples after which a moment counts half."""

WARM = 200
"""Samples before anything is said; the map starts then."""

MAP_SAMPLES = 1_000.0  # in which its rate and radius fall by e
MAP_RATE, MAP_RATE_FLOOR = 0.2, 0.01
MAP_RADIUS, MAP_RADIUS_FLOOR = 1.5, 0.5  # cells

_KEPT = 0.5 ** (1.0 / HALF_LIFE)
_ROUNDING = 1e-20  # of a vector's square; what is left of it after its own direction was taken off
_LEAST = 1e-12  # of the mean's square; a variance below it is rounding

# Slots of the memory; after them, each ``width`` long: means, variances and weights of the numbers, the components with
# their variances as lengths, the same as an orthonormal basis, and the cells of the map.
SAMPLES = 0
HEAD = 1
_COMPONENTS = 3


def features(components: int = COMPONENTS, cells: int = CELLS, codes: int = CODES) -> tuple[tuple[str, str], ...]:
    """Name and unit of each output, in order.

    >>> features(components=1, cells=0, codes=0)
    (('component_1', 'standard deviations'), ('component_error', 'standard deviations a number'))
    """
    found = [(f"component_{k + 1}", "standard deviations") for k in range(components)]
    found += [("component_error", "standard deviations a number")]
    if cells:
        found += [("map_row", "[-1, 1]"), ("map_column", "[-1, 1]"), ("map_error", "standard deviations a number")]
    if codes:
        found += [(f"code_{k + 1}", "of the autoencoder") for k in range(codes)]
        found += [("code_error", "standard deviations a number")]
    return tuple(found)


def sides(cells: int) -> tuple[int, int]:
    """Rows and columns of a map of so many cells: as square as it can be, the longer side first.

    >>> [sides(cells) for cells in (0, 2, 4, 6, 7, 9)]
    [(0, 0), (2, 1), (2, 2), (3, 2), (7, 1), (3, 3)]
    """
    if cells == 0:
        return 0, 0
    columns = max(k for k in range(1, math.isqrt(cells) + 1) if cells % k == 0)
    return cells // columns, columns


def memory_size(width: int, components: int = COMPONENTS, cells: int = CELLS) -> int:
    """How many float64 a vector of ``width`` features needs.

    >>> memory_size(10)
    201
    """
    return HEAD + width * (_COMPONENTS + 2 * components + cells)


@kernel
def line(memory: Vector, width: int, index: int) -> Vector:
    """One of the vectors of ``width`` numbers that stand behind the head."""
    return memory[HEAD + index * width : HEAD + (index + 1) * width]


@kernel
def standardise(x: Vector, memory: Vector, z: Vector) -> None:
    """Write how many standard deviations each number is from its mean; 0 for nan and for what never moved."""
    width = len(x)
    for i in range(width):
        mean, variance = memory[HEAD + i], memory[HEAD + width + i]
        moves = variance > _LEAST * mean * mean and np.isfinite(x[i])
        z[i] = max(-BOUND, min(BOUND, (x[i] - mean) / np.sqrt(variance))) if moves else 0.0


@kernel
def _follow(x: Vector, memory: Vector) -> None:
    """Move means and variances, the weights of older numbers fading (West 1979)."""
    width = len(x)
    for i in range(width):
        if not np.isfinite(x[i]):
            continue
        mean, variance, weight = HEAD + i, HEAD + width + i, HEAD + 2 * width + i
        change = x[i] - memory[mean]
        if memory[SAMPLES] >= WARM and memory[variance] > 0.0:
            # A number beyond all sense moves what is known by a bounded step.
            limit = BOUND * np.sqrt(memory[variance])
            change = max(-limit, min(limit, change))
        memory[weight] = memory[weight] * _KEPT + 1.0
        share = 1.0 / memory[weight]
        memory[mean] += share * change
        memory[variance] = (1.0 - share) * (memory[variance] + share * change * change)


@kernel
def _turn(z: Vector, memory: Vector, components: int) -> None:
    """Move the components by one standardised vector: candid incremental PCA, then Gram and Schmidt."""
    width = len(z)
    rest = z.copy()
    share = (1.0 - _KEPT) / (1.0 - _KEPT ** memory[SAMPLES])
    for k in range(components):
        own = line(memory, width, _COMPONENTS + k)
        basis = line(memory, width, _COMPONENTS + components + k)
        length = np.sqrt(dot(own, own))
        along = dot(rest, own) / length if length > 0.0 else 1.0
        for i in range(width):
            own[i] += share * (along * rest[i] - own[i])
            basis[i] = own[i]
        length = np.sqrt(dot(own, own))
        if length > 0.0:
            along = dot(rest, own) / length
            for i in range(width):
                rest[i] -= along * own[i] / length
            if dot(rest, rest) <= _ROUNDING * dot(z, z):
                rest[:] = 0.0
        for j in range(k):
            before = line(memory, width, _COMPONENTS + components + j)
            along = dot(basis, before)
            for i in range(width):
                basis[i] -= along * before[i]
        left = np.sqrt(dot(basis, basis))
        largest = 0.0
        for i in range(width):
            if abs(basis[i]) > abs(largest):
                largest = basis[i]
        # The sign is free: the largest loading is positive. What lies in the ones before is no direction of its own.
        scale = 0.0
        if left > 1e-9 * length:
            scale = 1.0 / left if largest > 0.0 else -1.0 / left
        for i in range(width):
            basis[i] *= scale


@kernel
def nearest(z: Vector, memory: Vector, components: int, cells: int) -> tuple[int, float]:
    """The cell of the map that is nearest to a standardised vector, and the square of how far it is."""
    width = len(z)
    best, least = 0, np.inf
    for cell in range(cells):
        own = line(memory, width, _COMPONENTS + 2 * components + cell)
        total = 0.0
        for i in range(width):
            total += (z[i] - own[i]) ** 2
        if total < least:
            best, least = cell, total
    return best, least


@kernel
def _map(z: Vector, memory: Vector, components: int, rows: int, columns: int) -> None:
    """Move the map by one standardised vector; at first lay it out on the plane of the first two components."""
    width, first = len(z), _COMPONENTS + 2 * components
    age = memory[SAMPLES] - WARM
    if age == 0.0:
        for cell in range(rows * columns):
            own = line(memory, width, first + cell)
            own[:] = 0.0
            for k in range(min(2, components)):
                place = cell // columns - (rows - 1) / 2.0 if k == 0 else cell % columns - (columns - 1) / 2.0
                component = line(memory, width, _COMPONENTS + k)
                place *= np.sqrt(np.sqrt(dot(component, component)))
                basis = line(memory, width, _COMPONENTS + components + k)
                for i in range(width):
                    own[i] += place * basis[i]
    fading = np.exp(-age / MAP_SAMPLES)
    rate, radius = max(MAP_RATE_FLOOR, MAP_RATE * fading), max(MAP_RADIUS_FLOOR, MAP_RADIUS * fading)
    best = nearest(z, memory, components, rows * columns)[0]
    for cell in range(rows * columns):
        own = line(memory, width, first + cell)
        apart = (cell // columns - best // columns) ** 2 + (cell % columns - best % columns) ** 2
        pull = rate * np.exp(-apart / (2.0 * radius * radius))
        for i in range(width):
            own[i] += pull * (z[i] - own[i])


@kernel
def learn(x: Vector, memory: Vector, components: int, rows: int, columns: int) -> None:
    """Move everything that is learned online by one vector of features, at most once a sample. It starts as zeros."""
    z = np.empty(len(x))
    memory[SAMPLES] += 1.0
    _follow(x, memory)
    standardise(x, memory, z)
    _turn(z, memory, components)
    if rows > 0 and memory[SAMPLES] >= WARM:
        _map(z, memory, components, rows, columns)


@kernel
def encode(x: Vector, memory: Vector, components: int, rows: int, columns: int, out: Vector) -> int:
    """Write the components and the place on the map of a vector, and return its cell; change nothing.

    Where not enough was learned yet all are nan, and the cell is -1, as it is without a map.
    """
    width, cell = len(x), -1
    if memory[SAMPLES] < WARM:
        out[:] = np.nan
        return cell
    z = np.empty(width)
    standardise(x, memory, z)
    if rows > 0:
        cell, apart = nearest(z, memory, components, rows * columns)
        at = components + 1
        out[at] = cell // columns * 2.0 / (rows - 1) - 1.0 if rows > 1 else 0.0
        out[at + 1] = cell % columns * 2.0 / (columns - 1) - 1.0 if columns > 1 else 0.0
        out[at + 2] = np.sqrt(apart / width)
    for k in range(components):
        basis = line(memory, width, _COMPONENTS + components + k)
        along = dot(z, basis)
        out[k] = along
        for i in range(width):
            z[i] -= along * basis[i]
    out[components] = np.sqrt(dot(z, z) / width)
    return cell


class Latent:
    """The latent features of the symbols of a run, over vectors of ``width`` numbers.

    ``components`` of the analysis, ``cells`` of the map and ``codes`` of the autoencoder are how many there are; no
    ``cells`` or ``codes``: none of their outputs. ``learn`` and ``encode`` are two calls, as reading must change
    nothing: at a sample, encode, then learn.

    Raises:
        ValueError: fewer than two numbers, or no component.

    >>> latent = Latent(width=3)
    >>> rng = np.random.default_rng(1)
    >>> for _ in range(WARM):
    ...     one, other = rng.normal(size=2)
    ...     latent.learn(0, np.array([one, one, other]))
    >>> out = latent.vector()
    >>> latent.encode(0, np.array([2.0, 2.0, 0.0]), out) in range(CELLS)
    True
    >>> named = dict(zip(latent.names, out.tolist()))
    >>> round(named["component_1"]), named["map_error"] > 0, named["code_1"]
    (3, True, nan)
    """

    def __init__(
        self, width: int, symbols: int = 1, *, components: int = COMPONENTS, cells: int = CELLS, codes: int = CODES
    ) -> None:
        if width < 2:
            raise ValueError(f"expected a vector of at least 2 features to find what they share, found {width}")
        if components < 1:
            raise ValueError(f"expected at least 1 component, found {components}")
        self.width, self.components, self.cells, self.codes = width, components, cells, codes
        pairs = features(components, cells, codes)
        self.names: tuple[str, ...] = tuple(name for name, _ in pairs)
        self.units: tuple[str, ...] = tuple(unit for _, unit in pairs)
        self.memory: Vector = np.zeros((symbols, memory_size(width, components, cells)))
        self.weights: Vector = np.full(weights_size(width, codes) if codes else 0, np.nan)
        self._rows, self._columns = sides(cells)
        self._online = components + 1 + 3 * (cells > 0)  # outputs before the autoencoder's
        # Compiled here, at the start, and not at the first sample.
        self.learn(0, np.zeros(width))
        self.encode(0, np.zeros(width), self.vector())
        self.memory[:] = 0.0

    def learn(self, symbol: int, x: Vector) -> None:
        """Move a symbol's memory by the vector of one sample; nan where a number is missing."""
        learn(x, self.memory[symbol], self.components, self._rows, self._columns)

    def encode(self, symbol: int, x: Vector, out: Vector) -> int:
        """Write the features of a vector into ``out``; the cell of the map that it lies in, -1 while there is none."""
        online = out[: self._online]
        cell = int(encode(x, self.memory[symbol], self.components, self._rows, self._columns, online))
        if self.codes:
            autoencode(x, self.weights, out[self._online :])
        return cell

    def basis(self, symbol: int) -> Vector:
        """The loadings: a row a component, of length 1 (0 where there is no such direction yet)."""
        first = HEAD + (_COMPONENTS + self.components) * self.width
        return self.memory[symbol, first : first + self.components * self.width].reshape(-1, self.width).copy()

    def load(self, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
        """Take a trained autoencoder (``engine.learn.autoencoder.fit_autoencoder``).

        Raises:
            ValueError: tensors that are missing, misshapen or not finite; the old ones stay.
        """
        flat = []
        for name, (rows, columns) in shapes(self.width, self.codes).items():
            shape = (rows, columns) if name.startswith("weight") else (columns,)
            tensor = weights.get(name)
            if tensor is None or tensor.shape != shape or not np.isfinite(tensor).all():
                found = "none" if tensor is None else f"{tensor.shape}, finite: {bool(np.isfinite(tensor).all())}"
                raise ValueError(f"tensor {name}: expected finite numbers of shape {shape}, found {found}: train again")
            flat.append(tensor.astype(np.float64).ravel())
        self.weights[:] = np.concatenate(flat)

    def save(self) -> bytes:
        """Everything that was learned or loaded: with these bytes another one goes on as if it were this one."""
        return self.memory.tobytes() + self.weights.tobytes()

    def restore(self, state: bytes) -> None:
        """Go on from the bytes of another one's ``save``.

        Raises:
            ValueError: they are of another width or number of symbols.
        """
        expected = self.memory.nbytes + self.weights.nbytes
        if len(state) != expected:
            raise ValueError(f"expected {expected} bytes ({self.width} features), found {len(state)}: saved by another")
        values = np.frombuffer(state, np.float64)
        self.memory[:] = values[: self.memory.size].reshape(self.memory.shape)
        self.weights[:] = values[self.memory.size :]

    def vector(self) -> Vector:
        """A zeroed vector of the right length."""
        return np.zeros(len(self.names))
