"""Training of the small autoencoder whose codes are features (``engine.features.latent``); with torch, off the loop.

Pure: the same window and seed give the same weights to the byte. Chance comes from one generator of its own, and one
thread adds in one order.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from engine.features.autoencoder import BOUND, CODES, HIDDEN
from engine.learn.contract import ModelError

Weights: TypeAlias = dict[str, npt.NDArray[np.float32]]

LEARNING_RATE = 3e-3
VALIDATION = 0.2  # the newest share of the window
PATIENCE = 10  # epochs without a better validation


class Autoencoder(nn.Module):
    """Standardise and clip, two layers to the codes and two back, with SiLU between the two of each."""

    def __init__(self, mean: torch.Tensor, inverse_deviation: torch.Tensor, codes: int = CODES) -> None:
        super().__init__()
        width = len(mean)
        self.mean, self.inverse_deviation = mean, inverse_deviation
        sizes = (width, HIDDEN, codes, HIDDEN, width)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))

    def begin(self, rng: np.random.Generator) -> None:
        """Draw every weight and bias uniformly within the inverse root of the layer's inputs, as torch does."""
        with torch.no_grad():
            for layer in self.layers:
                weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
                bound = 1.0 / np.sqrt(weight.shape[1])
                weight.copy_(torch.from_numpy(rng.uniform(-bound, bound, tuple(weight.shape)).astype(np.float32)))
                bias.copy_(torch.from_numpy(rng.uniform(-bound, bound, tuple(bias.shape)).astype(np.float32)))

    def standardised(self, x: torch.Tensor) -> torch.Tensor:
        """Standard deviations from the mean; what is nan counts as average."""
        values = ((x - self.mean) * self.inverse_deviation).clamp(-BOUND, BOUND)
        return torch.nan_to_num(values, nan=0.0)

    def codes(self, z: torch.Tensor) -> torch.Tensor:
        """The codes of standardised rows."""
        result: torch.Tensor = self.layers[1](nn.functional.silu(self.layers[0](z)))
        return result

    def decoded(self, codes: torch.Tensor) -> torch.Tensor:
        """The standardised rows that codes stand for."""
        result: torch.Tensor = self.layers[3](nn.functional.silu(self.layers[2](codes)))
        return result

    def weights(self) -> Weights:
        """The tensors of ``engine.features.autoencoder.shapes``."""
        found = {"mean": self.mean, "inverse_deviation": self.inverse_deviation}
        for index, layer in enumerate(self.layers):
            found[f"weight.{index}"] = layer.get_parameter("weight").detach()
            found[f"bias.{index}"] = layer.get_parameter("bias").detach()
        return {name: tensor.numpy().copy() for name, tensor in found.items()}


def scales(rows: npt.NDArray[np.floating]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and inverse standard deviation of each column, without what is nan; 0 for a column that never moves.

    >>> mean, inverse = scales(np.array([[1.0, np.nan], [3.0, 5.0]]))
    >>> mean.tolist(), inverse.tolist()
    ([2.0, 5.0], [1.0, 0.0])
    """
    known = np.isfinite(rows)
    count = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, rows, 0.0).astype(np.float64)
    mean = values.sum(axis=0) / count
    deviation = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / count)
    moves = deviation > 1e-9 * np.maximum(np.abs(mean), 1e-9)
    inverse = np.where(moves, 1.0 / np.where(moves, deviation, 1.0), 0.0)
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(inverse.astype(np.float32))


def fit_autoencoder(
    window: npt.NDArray[np.floating], *, seed: int, epochs: int = 200, batch: int = 128, codes: int = CODES
) -> Weights:
    """Train on rows of features, oldest first (nan where a number was missing), and return the tensors for ``codes``.

    The older four fifths are learned, the newest fifth says when to stop; the best of all epochs is returned.

    Raises:
        ModelError: not two dimensions, fewer than 10 rows, or infinite numbers.

    >>> rows = np.random.default_rng(1).normal(size=(50, 3))
    >>> fit_autoencoder(rows, seed=1, epochs=2)["weight.1"].shape
    (4, 12)
    """
    if window.ndim != 2 or len(window) < 10 or np.isinf(window).any():
        raise ModelError(
            f"autoencoder: expected at least 10 rows of features without infinite numbers, found {window.shape}, "
            f"{int(np.isinf(window).sum())} infinite: give it more or other samples"
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train(window, np.random.default_rng(seed), epochs, batch, codes)
    finally:
        torch.set_num_threads(threads)


def _train(window: npt.NDArray[np.floating], rng: np.random.Generator, epochs: int, batch: int, codes: int) -> Weights:
    begins = len(window) - max(1, round(len(window) * VALIDATION))
    net = Autoencoder(*scales(window[:begins]), codes)
    net.begin(rng)
    with torch.no_grad():
        z = net.standardised(torch.from_numpy(window.astype(np.float32)))
    old, new = z[:begins], z[begins:]
    optimiser = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, foreach=False)
    loss = nn.MSELoss()
    best, kept, best_epoch = float("inf"), net.weights(), 0
    for epoch in range(1, epochs + 1):
        for at in torch.split(torch.from_numpy(rng.permutation(begins)), batch):
            optimiser.zero_grad()
            loss(net.decoded(net.codes(old[at])), old[at]).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0, foreach=False)
            optimiser.step()
        with torch.no_grad():
            found = float(loss(net.decoded(net.codes(new)), new))
        if found < best:
            best, kept, best_epoch = found, net.weights(), epoch
        elif epoch - best_epoch >= PATIENCE:
            break
    return kept
