"""Training of any of our networks with torch; runs in the trainer process, or inline in a replay of a foreign tape.

Pure: the same job gives the same bytes, in this process or another. The random stream is the job's own, one thread adds
in one order, and the patience is counted in epochs, not in seconds.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from engine.learn import progress
from engine.learn.holdout import borne_out, columns, scored
from engine.learn.jobs import TrainJob
from engine.learn.networks.options import SequenceOptions, TrainingOptions
from engine.learn.networks.payload import INPUT_BOUND, Weights

LEARNING_RATE = 4e-4  # small, as labels overlap: what looks like many rows is the same noise again
TARGET_BOUND = 5.0  # times the label's root mean square


class Net(nn.Module, abc.ABC):
    """A network between a scaler and a label's scale; a subclass says what ``body`` makes of standardised rows.

    ``over_time``: it remembers rows, and ``body`` takes (sequences, rows, features) instead of (rows, features).
    """

    over_time = False

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.mean = torch.zeros(width)
        self.inverse_deviation = torch.ones(width)
        self.label_scale = torch.ones(heads)

    @abc.abstractmethod
    def body(self, x: torch.Tensor) -> torch.Tensor:
        """The outputs in units of each label's root mean square."""

    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        """The outputs for raw rows, in units of each label's root mean square."""
        return self.body(((x - self.mean) * self.inverse_deviation).clamp(-INPUT_BOUND, INPUT_BOUND))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The outputs for raw rows in their order, in bps; one that remembers begins with an empty memory."""
        result: torch.Tensor = (self.scaled(x[None])[0] if self.over_time else self.scaled(x)) * self.label_scale
        return result

    def keyed_parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by the names of the payload."""
        return dict(self.named_parameters())

    def weights(self) -> Weights:
        """Everything that the outputs depend on, by the names of the payload."""
        found = {"mean": self.mean, "inverse_deviation": self.inverse_deviation, "label_scale": self.label_scale}
        found |= {name: tensor.detach() for name, tensor in self.named_parameters()}
        return {name: tensor.numpy().copy() for name, tensor in found.items()}


class Fitted(NamedTuple):
    """How a training went; ``validation`` are scores on the newest rows."""

    epochs: int
    validation: dict[str, float]


@contextmanager
def one_thread(seed: int) -> Iterator[None]:
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


def settle(net: Net, job: TrainJob, ends: int) -> None:
    """Give a network the scales of its training rows."""
    history = job.x[:ends].astype(np.float64)
    deviation = history.std(axis=0)
    inverse = np.where(deviation > 1e-9, 1.0 / np.maximum(deviation, 1e-9), 0.0)  # what never moves says nothing
    net.mean = torch.from_numpy(history.mean(axis=0).astype(np.float32))
    net.inverse_deviation = torch.from_numpy(inverse.astype(np.float32))
    scale = np.sqrt(np.mean(columns(job)[:ends] ** 2, axis=0))
    net.label_scale = torch.from_numpy(np.where(scale > 0.0, scale, 1.0).astype(np.float32))


def train(
    net: Net,
    job: TrainJob,
    options: TrainingOptions,
    ends: int,
    begins: int,
    pull: Callable[[], torch.Tensor] | None = None,
) -> Fitted:
    """Train a settled network on the rows before ``ends``, stop early by those from ``begins`` on, keep the best.

    ``pull`` is added to the loss of each step: what it costs to be where the weights are.
    """
    settings = job.settings
    x = torch.from_numpy(job.x)
    targets = columns(job) / net.label_scale.numpy().astype(np.float64)
    y = torch.from_numpy(np.clip(targets, -TARGET_BOUND, TARGET_BOUND).astype(np.float32))
    weight = torch.ones(len(y)) if job.weights is None else torch.from_numpy(job.weights.astype(np.float32))
    optimiser = torch.optim.AdamW(
        net.parameters(),
        lr=settings.learning_rate or LEARNING_RATE,
        weight_decay=options.weight_decay,
        foreach=False,
    )
    first_rate = optimiser.param_groups[0]["lr"]
    best, best_epoch, kept = _validate(net, options, x, y, weight, begins), 0, _copy(net)
    for epoch in range(1, settings.epochs + 1):
        progress.tell((epoch - 1) / settings.epochs)
        net.train()
        if options.schedule == "cosine":
            share = 0.5 * (1.0 + math.cos(math.pi * (epoch - 1) / settings.epochs))
            optimiser.param_groups[0]["lr"] = first_rate * share
        for rows, burn_in in _lessons(net, options, ends, settings.batch):
            optimiser.zero_grad()
            said, heard = net.scaled(x[rows]), rows
            if net.over_time:
                said, heard = said[:, burn_in:], rows[:, burn_in:]
            loss = loss_of(options, said, y[heard], weight[heard])
            torch.autograd.backward(loss if pull is None else loss + pull())
            nn.utils.clip_grad_norm_(net.parameters(), options.gradient_norm, foreach=False)
            optimiser.step()
        found = _validate(net, options, x, y, weight, begins)
        if found < best:
            best, best_epoch, kept = found, epoch, _copy(net)
        elif epoch - best_epoch >= settings.patience:
            break
    net.load_state_dict(kept)
    net.eval()
    return Fitted(best_epoch, _temper(net, job, x, begins))


def _copy(net: Net) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def _lessons(net: Net, options: TrainingOptions, ends: int, batch: int) -> Iterator[tuple[torch.Tensor, int]]:
    """The rows of each step: any rows, or where the network remembers (sequences, rows) and how many only prepare."""
    if not (net.over_time and isinstance(options, SequenceOptions)):
        for rows in torch.split(torch.randperm(ends), batch):
            yield rows, 0
        return
    steps = min(options.steps, ends)
    burn_in = min(options.burn_in, steps - 1)
    stride = steps - burn_in
    phase = int(torch.randint(0, min(stride, ends - steps + 1), (1,)))
    starts = torch.arange(phase, ends - steps + 1, stride)
    for some in torch.split(starts[torch.randperm(len(starts))], max(1, batch // steps)):
        yield some[:, None] + torch.arange(steps), burn_in


def loss_of(options: TrainingOptions, said: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if options.loss == "squared":
        losses = 0.5 * (said - y) ** 2
    else:
        losses = nn.functional.huber_loss(said, y, reduction="none", delta=options.huber_delta)
    return (losses * weight[..., None]).sum() / (weight.sum() * y.shape[-1]).clamp_min(1e-12)


def _validate(
    net: Net, options: TrainingOptions, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, begins: int
) -> float:
    net.eval()
    with torch.no_grad():
        # One that remembers sees the rows before as well, as it will have in the run.
        said = net.scaled(x[None])[0, begins:] if net.over_time else net.scaled(x[begins:])
        return float(loss_of(options, said, y[begins:], weight[begins:]))


def _temper(net: Net, job: TrainJob, x: torch.Tensor, begins: int) -> dict[str, float]:
    """Keep of each promise what the unseen rows bear out, as one from a short window promises too much; then score."""
    true = columns(job)[begins:]
    weight = np.ones(len(true)) if job.weights is None else job.weights[begins:]
    with torch.no_grad():
        said = net(x)[begins:].double().numpy()
        slopes = [borne_out(said[:, head], true[:, head], weight) for head in range(said.shape[1])]
        net.label_scale = net.label_scale * torch.tensor(slopes, dtype=torch.float32)
        said = net(x)[begins:, 0].double().numpy()
    return scored(said, true[:, 0])
