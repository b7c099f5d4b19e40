"""Training of the small network with torch; runs in the trainer process, or inline in a replay of a foreign tape.

Pure: the same job gives the same bytes, in this process or another. The random stream is the job's own, one thread adds
in one order, and the patience is counted in epochs, not in seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from engine.learn.contract import ModelError, TrainJob
from engine.learn.networks.graph import build_graph
from engine.learn.networks.mlp import TOLERANCE, Session, difference
from engine.learn.networks.payload import INPUT_BOUND, Card, Weights, pack, probe
from engine.learn.scoring import Scores

LEARNING_RATE = 4e-4  # small, as labels overlap: what looks like many rows is the same noise again
WEIGHT_DECAY = 1e-2
TARGET_BOUND = 5.0  # times the label's root mean square
VALIDATION = 0.2  # the newest share of the window


class Net(nn.Module):
    """Standardise and clip, linear layers with SiLU between, and back to bps; the last layer starts at zero."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.mean = torch.zeros(sizes[0])
        self.inverse_deviation = torch.ones(sizes[0])
        self.label_scale = torch.ones(1)
        nn.init.zeros_(self.layers[-1].get_parameter("weight"))
        nn.init.zeros_(self.layers[-1].get_parameter("bias"))

    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        """The prediction in units of the label's root mean square."""
        values = ((x - self.mean) * self.inverse_deviation).clamp(-INPUT_BOUND, INPUT_BOUND)
        for layer in self.layers[:-1]:
            values = nn.functional.silu(layer(values))
        result: torch.Tensor = self.layers[-1](values)
        return result

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The prediction in bps."""
        return self.scaled(x) * self.label_scale

    def weights(self) -> Weights:
        """Everything that the prediction depends on."""
        found = {"mean": self.mean, "inverse_deviation": self.inverse_deviation, "label_scale": self.label_scale}
        for index, layer in enumerate(self.layers):
            found[f"weight.{index}"] = layer.get_parameter("weight").detach()
            found[f"bias.{index}"] = layer.get_parameter("bias").detach()
        return {name: tensor.numpy().copy() for name, tensor in found.items()}


@contextmanager
def _one_thread(seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms and a random stream of our own; afterwards all is as it was."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)


def split(times_ns: npt.NDArray[np.int64], horizon_ns: int) -> tuple[int, int]:
    """Where the training rows end and the validation rows begin.

    Between the two, rows are purged whose label looks into the validation's time: they know its answers.

    >>> split(np.arange(0, 100, 10), horizon_ns=30)
    (6, 8)
    """
    begins = len(times_ns) - max(1, round(len(times_ns) * VALIDATION))
    ends = int(np.searchsorted(times_ns, times_ns[begins] - horizon_ns, side="right"))
    return ends, begins


def fit_mlp(job: TrainJob) -> bytes:
    """Train on the job's window and return a payload.

    Raises:
        ModelError: too few rows, rows that are not finite, or an export that does not agree with torch.
    """
    name, rows = job.settings.name, len(job.y)
    if rows < 2 or not (np.isfinite(job.x).all() and np.isfinite(job.y).all()):
        raise ModelError(f"model {name}: expected at least 2 rows of finite numbers, found {rows} rows or others")
    ends, begins = split(job.times_ns, job.settings.horizon_ns)
    if ends < 2:
        raise ModelError(
            f"model {name}: expected at least 2 rows before the validation, found {ends} of {rows}: "
            "wait for a longer window"
        )
    with _one_thread(job.seed):
        net, epochs, validation = _train(job, ends, begins)
        return _export(job, net, epochs, validation)


def _train(job: TrainJob, ends: int, begins: int) -> tuple[Net, int, dict[str, float]]:
    settings = job.settings
    net = Net((len(job.names), *settings.hidden, 1))
    history = job.x[:ends].astype(np.float64)
    deviation = history.std(axis=0)
    inverse = np.where(deviation > 1e-9, 1.0 / np.maximum(deviation, 1e-9), 0.0)  # what never moves says nothing
    net.mean = torch.from_numpy(history.mean(axis=0).astype(np.float32))
    net.inverse_deviation = torch.from_numpy(inverse.astype(np.float32))
    scale = float(np.sqrt(np.mean(job.y[:ends] ** 2))) or 1.0
    net.label_scale = torch.tensor([scale], dtype=torch.float32)
    x = torch.from_numpy(job.x)
    y = torch.from_numpy(np.clip(job.y / scale, -TARGET_BOUND, TARGET_BOUND).astype(np.float32))[:, None]
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=settings.learning_rate or LEARNING_RATE, weight_decay=WEIGHT_DECAY, foreach=False
    )
    loss = nn.SmoothL1Loss()
    with torch.no_grad():
        best = float(loss(net.scaled(x[begins:]), y[begins:]))
    kept, best_epoch = net.weights(), 0
    for epoch in range(1, settings.epochs + 1):
        for at in torch.split(torch.randperm(ends), settings.batch):
            optimiser.zero_grad()
            loss(net.scaled(x[at]), y[at]).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0, foreach=False)
            optimiser.step()
        with torch.no_grad():
            found = float(loss(net.scaled(x[begins:]), y[begins:]))
        if found < best:
            best, kept, best_epoch = found, net.weights(), epoch
        elif epoch - best_epoch >= settings.patience:
            break
    _put_back(net, kept)
    with torch.no_grad():
        said = net(x[begins:])[:, 0].double().numpy()
    # A network from a short window promises too much: keep of each promise what the unseen rows bear out.
    net.label_scale = net.label_scale * _borne_out(said, job.y[begins:])
    scores = Scores()
    with torch.no_grad():
        for prediction, label in zip(net(x[begins:])[:, 0].tolist(), job.y[begins:].tolist(), strict=True):
            scores.update(prediction, label)
    validation = {"ic": scores.ic, "rmse": scores.rmse, "mae": scores.mae, "hit_rate": scores.hit_rate, "r2": scores.r2}
    return net, best_epoch, validation


def _borne_out(said: npt.NDArray[np.float64], true: npt.NDArray[np.float64]) -> float:
    """The slope of the truth on what was said, through the origin, between 0 and 1."""
    power = float(said @ said)
    return min(1.0, max(0.0, float(said @ true) / power)) if power > 0.0 else 1.0


def _put_back(net: Net, weights: Weights) -> None:
    with torch.no_grad():
        for index, layer in enumerate(net.layers):
            layer.get_parameter("weight").copy_(torch.from_numpy(weights[f"weight.{index}"]))
            layer.get_parameter("bias").copy_(torch.from_numpy(weights[f"bias.{index}"]))


def _export(job: TrainJob, net: Net, epochs: int, validation: dict[str, float]) -> bytes:
    weights = net.weights()
    graph = build_graph(weights)
    rows = np.concatenate([probe(len(job.names)), job.x[-256:]])
    with torch.no_grad():
        expected = net(torch.from_numpy(rows))[:, 0].numpy()
    apart = difference(Session(graph)(rows), expected)
    if not apart <= TOLERANCE:
        raise ModelError(
            f"model {job.settings.name}: expected an export that agrees with torch to {TOLERANCE}, found {apart:.3g}"
        )
    digest = hashlib.sha256(job.times_ns.tobytes() + job.x.tobytes() + job.y.tobytes())
    card = Card(
        model=job.settings.name,
        use=job.settings.use,
        features=job.features,
        names=job.names,
        horizon_ns=job.settings.horizon_ns,
        hidden=job.settings.hidden,
        seed=job.seed,
        rows=len(job.y),
        first_ns=int(job.times_ns[0]),
        last_ns=int(job.times_ns[-1]),
        window=digest.hexdigest(),
        epochs=epochs,
        validation=validation,
        export_difference=apart,
    )
    return pack(card, weights, graph)
