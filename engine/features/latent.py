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

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.grid import Vector

COMPONENTS = 4
SIDE = 3  # of the map
UNITS = SIDE * SIDE
CODES = 4  # of the autoencoder
HIDDEN = 12

HALF_LIFE = 2_000.0
"""Samples after which a moment counts half."""

BOUND = 8.0
"""Standard deviations that a larger number counts as."""

WARM = 200
"""Samples before anything is said; the map starts then."""

MAP_SAMPLES = 1_000.0  # in which its rate and radius fall by e
MAP_RATE, MAP_RATE_FLOOR = 0.2, 0.01
MAP_RADIUS, MAP_RADIUS_FLOOR = 1.5, 0.5  # cells

FEATURES: tuple[tuple[str, str], ...] = (
    *((f"component_{k + 1}", "standard deviations") for k in range(COMPONENTS)),
    ("component_error", "standard deviations a number"),
    ("map_row", "[-1, 1]"),
    ("map_column", "[-1, 1]"),
    ("map_error", "standard deviations a number"),
    *((f"code_{k + 1}", "of the autoencoder") for k in range(CODES)),
    ("code_error", "standard deviations a number"),
)
"""Name and unit of each output, in order."""

_KEPT = 0.5 ** (1.0 / HALF_LIFE)
_ROUNDING = 1e-20  # of a vector's square; what is left of it after its own direction was taken off
_LEAST = 1e-12  # of the mean's square; a variance below it is rounding

# Slots of the memory; after them, each ``width`` long: means, variances and weights of the numbers, the components with
# their variances as lengths, the same as an orthonormal basis, and the units of the map.
SAMPLES = 0
HEAD = 1
_COMPONENTS = 3
BASIS = _COMPONENTS + COMPONENTS
_MAP = BASIS + COMPONENTS
_ROWS = _MAP + UNITS


def memory_size(width: int) -> int:
    """How many float64 a vector of ``width`` features needs.

    >>> memory_size(10)
    201
    """
    return HEAD + width * _ROWS


def weights_size(width: int) -> int:
    """How many float64 the autoencoder of ``width`` features has.

    >>> weights_size(10)
    394
    """
    return sum(rows * columns for rows, columns in shapes(width).values())


def shapes(width: int) -> dict[str, tuple[int, int]]:
    """The autoencoder's tensors: what it standardises by, two layers to the codes and two back, SiLU between.

    >>> shapes(10)["weight.1"]
    (4, 12)
    """
    sizes = (width, HIDDEN, CODES, HIDDEN, width)
    found = {"mean": (1, width), "inverse_deviation": (1, width)}
    for layer in range(4):
        found[f"weight.{layer}"] = (sizes[layer + 1], sizes[layer])
        found[f"bias.{layer}"] = (1, sizes[layer + 1])
    return found


@kernel
def dot(one: Vector, other: Vector) -> float:
    """The sum of the products, added in order."""
    total = 0.0
    for i in range(len(one)):
        total += one[i] * other[i]
    return total


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
def _turn(z: Vector, memory: Vector) -> None:
    """Move the components by one standardised vector: candid incremental PCA, then Gram and Schmidt."""
    width = len(z)
    rest = z.copy()
    share = (1.0 - _KEPT) / (1.0 - _KEPT ** memory[SAMPLES])
    for k in range(COMPONENTS):
        own = memory[HEAD + (_COMPONENTS + k) * width : HEAD + (_COMPONENTS + k + 1) * width]
        basis = memory[HEAD + (BASIS + k) * width : HEAD + (BASIS + k + 1) * width]
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
            before = memory[HEAD + (BASIS + j) * width : HEAD + (BASIS + j + 1) * width]
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
def nearest(z: Vector, memory: Vector) -> tuple[int, float]:
    """The unit of the map that is nearest to a standardised vector, and the square of how far it is."""
    width = len(z)
    best, least = 0, np.inf
    for unit in range(UNITS):
        total = 0.0
        for i in range(width):
            total += (z[i] - memory[HEAD + (_MAP + unit) * width + i]) ** 2
        if total < least:
            best, least = unit, total
    return best, least


@kernel
def _map(z: Vector, memory: Vector) -> None:
    """Move the map by one standardised vector; at first lay it out on the plane of the first two components."""
    width = len(z)
    age = memory[SAMPLES] - WARM
    if age == 0.0:
        for unit in range(UNITS):
            for i in range(width):
                place = 0.0
                for k in range(2):
                    cell = (unit // SIDE if k == 0 else unit % SIDE) - (SIDE - 1) / 2.0
                    component = memory[HEAD + (_COMPONENTS + k) * width : HEAD + (_COMPONENTS + k + 1) * width]
                    spread = np.sqrt(np.sqrt(dot(component, component)))
                    place += cell * spread * memory[HEAD + (BASIS + k) * width + i]
                memory[HEAD + (_MAP + unit) * width + i] = place
    fading = np.exp(-age / MAP_SAMPLES)
    rate, radius = max(MAP_RATE_FLOOR, MAP_RATE * fading), max(MAP_RADIUS_FLOOR, MAP_RADIUS * fading)
    best = nearest(z, memory)[0]
    for unit in range(UNITS):
        apart = (unit // SIDE - best // SIDE) ** 2 + (unit % SIDE - best % SIDE) ** 2
        pull = rate * np.exp(-apart / (2.0 * radius * radius))
        for i in range(width):
            at = HEAD + (_MAP + unit) * width + i
            memory[at] += pull * (z[i] - memory[at])


@kernel
def learn(x: Vector, memory: Vector) -> None:
    """Move everything that is learned online by one vector of features, at most once a sample. It starts as zeros."""
    z = np.empty(len(x))
    memory[SAMPLES] += 1.0
    _follow(x, memory)
    standardise(x, memory, z)
    _turn(z, memory)
    if memory[SAMPLES] >= WARM:
        _map(z, memory)


@kernel
def _layer(values: Vector, weights: Vector, at: int, out: Vector) -> int:
    """A linear layer whose weights and biases begin at ``at``; where the next one's begin."""
    width = len(values)
    for i in range(len(out)):
        out[i] = weights[at + len(out) * width + i] + dot(weights[at + i * width : at + (i + 1) * width], values)
    return at + len(out) * (width + 1)


@kernel
def _silu(values: Vector) -> None:
    for i in range(len(values)):
        values[i] /= 1.0 + np.exp(-values[i])


@kernel
def autoencode(x: Vector, weights: Vector, out: Vector) -> None:
    """Write the CODES of a vector and how far off what they decode to is, as a root mean square of standard deviations.

    ``weights`` are the tensors of ``shapes`` one after the other; the first is nan where nothing was trained.
    """
    width = len(x)
    if np.isnan(weights[0]):
        out[:] = np.nan
        return
    z = np.empty(width)
    for i in range(width):
        z[i] = max(-BOUND, min(BOUND, (x[i] - weights[i]) * weights[width + i])) if np.isfinite(x[i]) else 0.0
    hidden, decoded = np.empty(HIDDEN), np.empty(width)
    at = _layer(z, weights, 2 * width, hidden)
    _silu(hidden)
    at = _layer(hidden, weights, at, out[:CODES])
    at = _layer(out[:CODES], weights, at, hidden)
    _silu(hidden)
    _layer(hidden, weights, at, decoded)
    off = 0.0
    for i in range(width):
        off += (decoded[i] - z[i]) ** 2
    out[CODES] = np.sqrt(off / width)


@kernel
def encode(x: Vector, memory: Vector, weights: Vector, out: Vector) -> None:
    """Write every one of ``FEATURES`` for a vector; change nothing. Nan where not enough was learned yet."""
    width = len(x)
    out[: COMPONENTS + 4] = np.nan
    if memory[SAMPLES] >= WARM:
        z = np.empty(width)
        standardise(x, memory, z)
        unit, apart = nearest(z, memory)
        out[COMPONENTS + 1] = unit // SIDE * 2.0 / (SIDE - 1) - 1.0
        out[COMPONENTS + 2] = unit % SIDE * 2.0 / (SIDE - 1) - 1.0
        out[COMPONENTS + 3] = np.sqrt(apart / width)
        for k in range(COMPONENTS):
            basis = memory[HEAD + (BASIS + k) * width : HEAD + (BASIS + k + 1) * width]
            along = dot(z, basis)
            out[k] = along
            for i in range(width):
                z[i] -= along * basis[i]
        out[COMPONENTS] = np.sqrt(dot(z, z) / width)
    autoencode(x, weights, out[COMPONENTS + 4 :])


class Latent:
    """The latent features of the symbols of a run, over vectors of ``width`` numbers.

    ``learn`` and ``encode`` are two calls, as reading must change nothing: at a sample, encode, then learn.

    >>> latent = Latent(width=3)
    >>> rng = np.random.default_rng(1)
    >>> for _ in range(WARM):
    ...     one, other = rng.normal(size=2)
    ...     latent.learn(0, np.array([one, one, other]))
    >>> out = latent.vector()
    >>> latent.encode(0, np.array([2.0, 2.0, 0.0]), out)
    >>> named = dict(zip(latent.names, out.tolist()))
    >>> round(named["component_1"]), named["map_error"] > 0, named["code_1"]
    (3, True, nan)
    """

    names: tuple[str, ...] = tuple(name for name, _ in FEATURES)
    units: tuple[str, ...] = tuple(unit for _, unit in FEATURES)

    def __init__(self, width: int, symbols: int = 1) -> None:
        if width < 2:
            raise ValueError(f"expected a vector of at least 2 features to find what they share, found {width}")
        self.width = width
        self.memory: Vector = np.zeros((symbols, memory_size(width)))
        self.weights: Vector = np.full(weights_size(width), np.nan)
        # Compiled here, at the start, and not at the first sample.
        scratch, zeros = np.zeros(memory_size(width)), np.zeros(width)
        learn(zeros, scratch)
        encode(zeros, scratch, self.weights, self.vector())

    def learn(self, symbol: int, x: Vector) -> None:
        """Move a symbol's memory by the vector of one sample; nan where a number is missing."""
        learn(x, self.memory[symbol])

    def encode(self, symbol: int, x: Vector, out: Vector) -> None:
        """Write the features of a vector into ``out``."""
        encode(x, self.memory[symbol], self.weights, out)

    def load(self, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
        """Take a trained autoencoder (``engine.learn.autoencoder.fit_autoencoder``).

        Raises:
            ValueError: tensors that are missing, misshapen or not finite; the old ones stay.
        """
        flat = []
        for name, (rows, columns) in shapes(self.width).items():
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
        return np.zeros(len(FEATURES))
