"""The autoencoder of ``latent.py`` as a kernel: what its tensors are, and the codes that they give a vector."""

from __future__ import annotations

import numpy as np

from engine.core.jit import kernel
from engine.features.grid import Vector

CODES = 4
HIDDEN = 12

BOUND = 8.0
"""Standard deviations that a larger number counts as."""


def weights_size(width: int, codes: int = CODES) -> int:
    """How many float64 the autoencoder of ``width`` features has.

    >>> weights_size(10)
    394
    """
    return sum(rows * columns for rows, columns in shapes(width, codes).values())


def shapes(width: int, codes: int = CODES) -> dict[str, tuple[int, int]]:
    """The autoencoder's tensors: what it standardises by, two layers to the codes and two back, SiLU between.

    >>> shapes(10)["weight.1"]
    (4, 12)
    """
    sizes = (width, HIDDEN, codes, HIDDEN, width)
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
    """Write the codes of a vector and how far off what they decode to is, as a root mean square of standard deviations.

    ``weights`` are the tensors of ``shapes`` one after the other; the first is nan where nothing was trained.
    """
    width, codes = len(x), len(out) - 1
    if np.isnan(weights[0]):
        out[:] = np.nan
        return
    z = np.empty(width)
    for i in range(width):
        z[i] = max(-BOUND, min(BOUND, (x[i] - weights[i]) * weights[width + i])) if np.isfinite(x[i]) else 0.0
    hidden, decoded = np.empty(HIDDEN), np.empty(width)
    at = _layer(z, weights, 2 * width, hidden)
    _silu(hidden)
    at = _layer(hidden, weights, at, out[:codes])
    at = _layer(out[:codes], weights, at, hidden)
    _silu(hidden)
    _layer(hidden, weights, at, decoded)
    off = 0.0
    for i in range(width):
        off += (decoded[i] - z[i]) ** 2
    out[codes] = np.sqrt(off / width)
