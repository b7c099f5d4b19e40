"""A recurrent network whose state is carried from sample to sample: it remembers as long as it learned to."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from engine.learn.contract import ModelError
from engine.learn.networks.kernels import Floats, lstm_step, readout
from engine.learn.networks.payload import Card, Shapes, Weights
from engine.learn.networks.sequence import Cell, Remembering


class LstmCell(Cell):
    """Long short-term memory, layer on layer, one row at a time.

    S. Hochreiter, J. Schmidhuber (1997), "Long short-term memory", Neural Computation 9; with the forget gate of
    F. Gers, J. Schmidhuber, F. Cummins (2000), "Learning to forget".
    """

    def __init__(self, card: Card, weights: Weights) -> None:
        super().__init__(card, weights)
        size, layers = card.hidden[0], len(card.hidden)
        self._layers: list[tuple[Floats, Floats, Floats]] = [
            (
                np.ascontiguousarray(weights[f"input.{layer}"].T),
                np.ascontiguousarray(weights[f"again.{layer}"].T),
                weights[f"bias.{layer}"],
            )
            for layer in range(layers)
        ]
        self._head = np.ascontiguousarray(weights["head"].T)
        self._skip = np.ascontiguousarray(weights["skip"].T)
        self._head_bias: Floats = weights["head_bias"]
        self._label_scale: Floats = weights["label_scale"]
        self._gates: Floats = np.zeros(4 * size, np.float32)
        self._before: Floats = np.zeros((layers, 2, size), np.float32)
        self._after: Floats = np.zeros((layers, 2, size), np.float32)
        self.state = {"memory": self._before}

    def step(self) -> None:
        x = self.row
        for layer, (weight, again, bias) in enumerate(self._layers):
            after = self._after[layer]
            lstm_step(x, weight, again, bias, self._before[layer], self._gates, after)
            x = after[0]
        readout(x, self.row, self._head, self._skip, self._head_bias, self._label_scale, self.out)

    def commit(self) -> None:
        self._before[:] = self._after


class Lstm(Remembering):
    """An LSTM with carried state, trained beside the run; it says nothing before its first training.

    ``settings.hidden`` are its layers, of one size; ``batch`` counts rows. Options: ``SequenceOptions``.
    """

    kind: ClassVar[str] = "lstm"

    @classmethod
    def shapes(cls, card: Card) -> Shapes:
        if not card.hidden or min(card.hidden) < 1 or len(set(card.hidden)) != 1:
            raise ModelError(
                f"model {card.model}: hidden: expected layers of one size for an lstm, found {card.hidden}"
            )
        width, heads, size = len(card.names), card.heads, card.hidden[0]
        expected: dict[str, tuple[int, ...]] = {
            "mean": (width,),
            "inverse_deviation": (width,),
            "label_scale": (heads,),
            "head": (heads, size),
            "head_bias": (heads,),
            "skip": (heads, width),
        }
        for layer in range(len(card.hidden)):
            expected[f"input.{layer}"] = (4 * size, size if layer else width)
            expected[f"again.{layer}"] = (4 * size, size)
            expected[f"bias.{layer}"] = (4 * size,)
        return expected

    @classmethod
    def cell(cls, card: Card, weights: Weights) -> Cell:
        return LstmCell(card, weights)
