"""A training that begins from the weights that answer now, and may be held near them.

The penalty is that of elastic weight consolidation (Kirkpatrick and others, "Overcoming catastrophic forgetting in
neural networks", PNAS 2017): each weight is pulled back to where it was, in proportion to how much the older rows'
loss depends on it, which the squared gradient at the old weights tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch

from engine.learn.contract import ModelError
from engine.learn.holdout import columns
from engine.learn.jobs import TrainJob
from engine.learn.networks.fitting import TARGET_BOUND, Net, loss_of
from engine.learn.networks.options import MlpOptions
from engine.learn.networks.payload import Weights, unpack

MOST_APART: Final = 3.0
"""Where a feature varies so many times more or less than it did, old weights do not fit: the training begins anew."""

ROWS: Final = 16
"""Rows to a gradient whose square is taken; so many of them are averaged at most."""

GRADIENTS: Final = 64


def begin_from(net: Net, job: TrainJob) -> bool:
    """Give a settled network the weights and input scales of the job's parent; False where they do not fit it."""
    if not job.parent:
        return False
    try:
        network = unpack(job.parent, job.features)
    except ModelError:
        return False  # of other features, or none of ours: this training begins from nothing, as the first one did
    mine, theirs = net.weights(), network.weights
    if network.card.names != job.names or any(
        name not in theirs or theirs[name].shape != tensor.shape for name, tensor in mine.items()
    ):
        return False
    if not _fits(theirs, mine):
        return False
    net.mean = torch.from_numpy(theirs["mean"].copy())
    net.inverse_deviation = torch.from_numpy(theirs["inverse_deviation"].copy())
    with torch.no_grad():
        for name, parameter in net.keyed_parameters().items():
            parameter.copy_(torch.from_numpy(theirs[name].copy()))
    return True


def _fits(theirs: Weights, mine: Weights) -> bool:
    old, new = theirs["inverse_deviation"], mine["inverse_deviation"]
    if np.any((old == 0.0) != (new == 0.0)):  # a feature that began to move, or ceased to
        return False
    moving = new != 0.0
    ratio = old[moving] / new[moving]
    return bool(np.all((ratio < MOST_APART) & (ratio > 1.0 / MOST_APART)))


def held(net: Net, job: TrainJob, options: MlpOptions, ends: int) -> Callable[[], torch.Tensor]:
    """What to add to the loss so that the network stays near its weights of now, where older rows depend on them.

    The older rows are those that the job kept of long ago, or without any the older half of its training rows.
    """
    rows = job.kept or ends // 2
    x = torch.from_numpy(job.x[:rows])
    targets = columns(job)[:rows] / net.label_scale.numpy().astype(np.float64)
    y = torch.from_numpy(np.clip(targets, -TARGET_BOUND, TARGET_BOUND).astype(np.float32))
    weight = torch.ones(rows) if job.weights is None else torch.from_numpy(job.weights[:rows].astype(np.float32))
    parameters = list(net.parameters())
    fixed = [parameter.detach().clone() for parameter in parameters]
    matters = [torch.zeros_like(parameter) for parameter in parameters]
    net.eval()
    some = torch.split(torch.randperm(rows), ROWS)[:GRADIENTS]
    for chosen in some:
        net.zero_grad()
        torch.autograd.backward(loss_of(options, net.scaled(x[chosen]), y[chosen], weight[chosen]))
        for total, parameter in zip(matters, parameters, strict=True):
            if parameter.grad is not None:
                total += parameter.grad**2 * (ROWS / len(some))
    net.zero_grad()

    def pull() -> torch.Tensor:
        terms = [
            (how * (parameter - before) ** 2).sum()
            for how, parameter, before in zip(matters, parameters, fixed, strict=True)
        ]
        return 0.5 * options.anchor * torch.stack(terms).sum()

    return pull
