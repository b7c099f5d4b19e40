"""Training and export of ``mlp``: the torch network, and the graph that must say what it says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from engine.learn.contract import ModelError, read_options
from engine.learn.holdout import check_job, columns
from engine.learn.jobs import TrainJob
from engine.learn.networks.fitting import Fitted, Net, one_thread, settle, train
from engine.learn.networks.graph import build_graph
from engine.learn.networks.options import MlpOptions
from engine.learn.networks.payload import TOLERANCE, Weights, card_of, difference, pack, probe
from engine.learn.networks.session import Session
from engine.learn.networks.warm import begin_from, held


class MlpNet(Net):
    """Linear layers with SiLU between; the last layer and the straight line start at zero, so it first says nothing."""

    def __init__(self, sizes: tuple[int, ...], *, skip: bool = False, dropout: float = 0.0) -> None:
        super().__init__(sizes[0], sizes[-1])
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.skip = nn.Parameter(torch.zeros(sizes[-1], sizes[0])) if skip else None
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.layers[-1].get_parameter("weight"))
        nn.init.zeros_(self.layers[-1].get_parameter("bias"))

    def body(self, x: torch.Tensor) -> torch.Tensor:
        values = x
        for index, layer in enumerate(self.layers[:-1]):
            put = self.dropout(nn.functional.silu(layer(values)))
            adds = self.skip is not None and index > 0 and put.shape[-1] == values.shape[-1]
            values = put + values if adds else put
        result: torch.Tensor = self.layers[-1](values)
        return result if self.skip is None else result + x @ self.skip.T

    def keyed_parameters(self) -> dict[str, nn.Parameter]:
        return {_short(name): parameter for name, parameter in self.named_parameters()}

    def weights(self) -> Weights:
        named = super().weights()
        return {_short(name): tensor for name, tensor in named.items()}


def _short(name: str) -> str:
    """Torch's ``layers.0.weight`` as the payload's ``weight.0``."""
    parts = name.split(".")
    return f"{parts[2]}.{parts[1]}" if parts[0] == "layers" else name


def fit_mlp(job: TrainJob) -> bytes:
    """Train on the job's window and return a payload.

    Raises:
        ModelError: too few rows, rows that are not finite, or an export that does not agree with torch.
    """
    ends, begins = check_job(job)
    options = read_options(job.settings, MlpOptions)
    sizes = (len(job.names), *job.settings.hidden, columns(job).shape[1])
    with one_thread(job.seed):
        net = MlpNet(sizes, skip=options.skip, dropout=options.dropout)
        settle(net, job, ends)
        is_warm = begin_from(net, job)
        pull = held(net, job, options, ends) if is_warm and options.anchor else None
        return _export(job, net, options, train(net, job, options, ends, begins, pull), is_warm=is_warm)


def _export(job: TrainJob, net: MlpNet, options: MlpOptions, fitted: Fitted, *, is_warm: bool) -> bytes:
    weights = net.weights()
    graph = build_graph(weights)
    rows = np.concatenate([probe(len(job.names)), job.x[-256:]])
    with torch.no_grad():
        expected = net(torch.from_numpy(rows)).numpy()
    apart = difference(Session(graph)(rows), expected)
    if not apart <= TOLERANCE:
        raise ModelError(
            f"model {job.settings.name}: expected an export that agrees with torch to {TOLERANCE}, found {apart:.3g}"
        )
    card = card_of(
        job,
        "mlp",
        hidden=job.settings.hidden,
        shape={"skip": int(options.skip), "warm": int(is_warm)},
        epochs=fitted.epochs,
        validation=fitted.validation,
        export_difference=apart,
    )
    return pack(card, weights, graph)
