"""Training of networks with a memory: torch over whole sequences, kernels that must say the same row by row."""

from __future__ import annotations

import abc
from itertools import pairwise

import msgspec
import numpy as np
import torch
from torch import nn

from engine.learn.contract import ModelError, read_options
from engine.learn.holdout import check_job, columns
from engine.learn.jobs import TrainJob
from engine.learn.networks.fitting import Net, one_thread, settle, train
from engine.learn.networks.options import ConvOptions, SequenceOptions
from engine.learn.networks.payload import TOLERANCE, Weights, card_of, difference, pack, probe
from engine.learn.networks.sequence import Remembering, run


class SequenceNet(Net):
    """What reads out a memory: linear in what is remembered, and in the row itself; it starts by saying nothing."""

    over_time = True

    def __init__(self, width: int, top: int, heads: int, dropout: float) -> None:
        super().__init__(width, heads)
        self.head = nn.Parameter(torch.zeros(heads, top))
        self.head_bias = nn.Parameter(torch.zeros(heads))
        self.skip = nn.Parameter(torch.zeros(heads, width))
        self.dropout = nn.Dropout(dropout)

    @abc.abstractmethod
    def remember(self, x: torch.Tensor) -> torch.Tensor:
        """What the network makes of each row and those before."""

    def body(self, x: torch.Tensor) -> torch.Tensor:
        said: torch.Tensor = self.dropout(self.remember(x)) @ self.head.T + x @ self.skip.T + self.head_bias
        return said


class LstmNet(SequenceNet):
    """``torch.nn.LSTM`` between a scaler and a readout."""

    def __init__(self, width: int, hidden: tuple[int, ...], heads: int, dropout: float = 0.0) -> None:
        super().__init__(width, hidden[0], heads, dropout)
        self.lstm = nn.LSTM(width, hidden[0], num_layers=len(hidden), batch_first=True)

    def remember(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.lstm(x)[0]
        return found

    def weights(self) -> Weights:
        named = {name: tensor for name, tensor in super().weights().items() if not name.startswith("lstm.")}
        for layer in range(self.lstm.num_layers):
            parts = {part: getattr(self.lstm, f"{part}_l{layer}").detach().numpy() for part in _LSTM_PARTS}
            named[f"input.{layer}"] = parts["weight_ih"].copy()
            named[f"again.{layer}"] = parts["weight_hh"].copy()
            named[f"bias.{layer}"] = parts["bias_ih"] + parts["bias_hh"]
        return named


_LSTM_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class ConvNet(SequenceNet):
    """Causal convolutions, each seeing twice as far as the one before, with SiLU; equal sizes add their input."""

    def __init__(self, width: int, hidden: tuple[int, ...], heads: int, dropout: float = 0.0, taps: int = 2) -> None:
        super().__init__(width, hidden[-1], heads, dropout)
        self.layers = nn.ModuleList(
            nn.Conv1d(a, b, taps, dilation=1 << layer) for layer, (a, b) in enumerate(pairwise((width, *hidden)))
        )
        self.taps = taps

    def remember(self, x: torch.Tensor) -> torch.Tensor:
        values = x.transpose(1, 2)
        for layer, conv in enumerate(self.layers):
            put = nn.functional.silu(conv(nn.functional.pad(values, ((self.taps - 1) << layer, 0))))
            values = put + values if put.shape[1] == values.shape[1] else put
        return values.transpose(1, 2)

    def weights(self) -> Weights:
        named = super().weights()
        return {_short(name): tensor for name, tensor in named.items()}


def _short(name: str) -> str:
    """Torch's ``layers.0.weight`` as the payload's ``weight.0``."""
    parts = name.split(".")
    return f"{parts[2]}.{parts[1]}" if parts[0] == "layers" else name


def make_net(
    kind: str, width: int, heads: int, hidden: tuple[int, ...], options: SequenceOptions
) -> tuple[SequenceNet, tuple[int, ...], dict[str, int]]:
    """The torch network of a kind, its layers, and what else its card must say."""
    if isinstance(options, ConvOptions):
        layers = hidden if len(hidden) > 1 else hidden * options.layers
        return ConvNet(width, layers, heads, options.dropout, options.taps), layers, {"taps": options.taps}
    if len(set(hidden)) != 1:
        raise ModelError(f"hidden: expected layers of one size for an {kind}, found {hidden}")
    return LstmNet(width, hidden, heads, options.dropout), hidden, {}


def fit_sequence(job: TrainJob, model: type[Remembering]) -> bytes:
    """Train on the job's window and return a payload.

    Raises:
        ModelError: too few rows, rows that are not finite, or a kernel that does not agree with torch.
    """
    ends, begins = check_job(job)
    options = read_options(job.settings, model.options_type)
    with one_thread(job.seed):
        net, layers, shape = make_net(model.kind, len(job.names), columns(job).shape[1], job.settings.hidden, options)
        settle(net, job, ends)
        fitted = train(net, job, options, ends, begins)
        weights = net.weights()
        rows = np.concatenate([probe(len(job.names)), job.x[-256:]])
        with torch.no_grad():
            expected = net(torch.from_numpy(rows)).numpy()
    card = card_of(
        job,
        model.kind,
        hidden=layers,
        shape=shape,
        epochs=fitted.epochs,
        validation=fitted.validation,
        export_difference=0.0,
    )
    apart = difference(run(model.cell(card, weights), rows), expected)
    if not apart <= TOLERANCE:
        raise ModelError(
            f"model {job.settings.name}: expected a kernel that agrees with torch to {TOLERANCE}, found {apart:.3g}"
        )
    return pack(msgspec.structs.replace(card, export_difference=apart), weights)
