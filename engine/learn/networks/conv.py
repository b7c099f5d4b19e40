"""Causal dilated convolutions over past samples; each layer keeps its own past: a sample costs one step a layer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from engine.learn.contract import ModelError
from engine.learn.networks.kernels import Floats, conv_step, readout
from engine.learn.networks.options import ConvOptions, SequenceOptions
from engine.learn.networks.payload import Card, Shapes, Weights
from engine.learn.networks.sequence import Cell, Remembering

REACH_LIMIT = 1 << 16
"""Rows that a layer may look back: what a payload may ask for in memory."""


class ConvCell(Cell):
    """A stack of dilated convolutions, one row at a time.

    A. van den Oord et al. (2016), "WaveNet", for the dilations; T. Le Paine et al. (2016), "Fast Wavenet Generation
    Algorithm", for the rings.
    """

    def __init__(self, card: Card, weights: Weights) -> None:
        super().__init__(card, weights)
        taps, sizes = card.shape["taps"], (len(card.names), *card.hidden)
        self._layers: list[tuple[Floats, Floats, Floats, int, Floats]] = []
        self._at: npt.NDArray[np.int64] = np.zeros(len(card.hidden), np.int64)
        self.state = {"at": self._at}
        for layer in range(len(card.hidden)):
            dilation = 1 << layer
            ring: Floats = np.zeros(((taps - 1) * dilation, sizes[layer]), np.float32)
            weight = np.ascontiguousarray(weights[f"weight.{layer}"].transpose(2, 1, 0))  # taps, inputs, outputs
            out: Floats = np.zeros(sizes[layer + 1], np.float32)
            self._layers.append((weight, weights[f"bias.{layer}"], ring, dilation, out))
            self.state[f"ring.{layer}"] = ring
        self._head = np.ascontiguousarray(weights["head"].T)
        self._skip = np.ascontiguousarray(weights["skip"].T)
        self._head_bias: Floats = weights["head_bias"]
        self._label_scale: Floats = weights["label_scale"]

    def step(self) -> None:
        x = self.row
        for (weight, bias, ring, dilation, out), at in zip(self._layers, self._at.tolist(), strict=True):
            conv_step(x, weight, bias, ring, at, dilation, out)
            x = out
        readout(x, self.row, self._head, self._skip, self._head_bias, self._label_scale, self.out)

    def commit(self) -> None:
        x = self.row
        for layer, (_, _, ring, _, out) in enumerate(self._layers):
            at = self._at[layer]
            ring[at] = x
            self._at[layer] = (at + 1) % len(ring)
            x = out


class Conv(Remembering):
    """Causal dilated convolutions with carried rings, trained beside the run; silent before its first training.

    ``settings.hidden`` are its channels by layer, or one size for all ``layers``; it sees (taps - 1) (2^layers - 1) + 1
    rows. Options: ``ConvOptions``.
    """

    kind: ClassVar[str] = "conv"
    options_type: ClassVar[type[SequenceOptions]] = ConvOptions

    @classmethod
    def shapes(cls, card: Card) -> Shapes:
        taps = card.shape.get("taps", 0)
        reach = (taps - 1) << len(card.hidden)
        if not (card.hidden and min(card.hidden) >= 1 and taps >= 2 and reach <= REACH_LIMIT):
            raise ModelError(
                f"model {card.model}: expected layers of at least one channel, two taps and at most {REACH_LIMIT} "
                f"rows of reach, found {card.hidden}, {taps} and {reach}"
            )
        width, heads = len(card.names), card.heads
        sizes = (width, *card.hidden)
        expected: dict[str, tuple[int, ...]] = {
            "mean": (width,),
            "inverse_deviation": (width,),
            "label_scale": (heads,),
            "head": (heads, sizes[-1]),
            "head_bias": (heads,),
            "skip": (heads, width),
        }
        for layer in range(len(card.hidden)):
            expected[f"weight.{layer}"] = (sizes[layer + 1], sizes[layer], taps)
            expected[f"bias.{layer}"] = (sizes[layer + 1],)
        return expected

    @classmethod
    def cell(cls, card: Card, weights: Weights) -> Cell:
        return ConvCell(card, weights)
