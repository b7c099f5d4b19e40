"""What networks with a memory share: one step a sample, a state that is carried on, and refilled at a swap.

``predict_one`` computes the step and keeps it aside; ``observe_one``, which the loop calls once a sample, makes it the
state. So asking twice changes nothing, and a step is computed once.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.set import Vector
from engine.learn.contract import Model, ModelError, ModelSettings, read_options
from engine.learn.jobs import TrainJob
from engine.learn.networks.kernels import Floats
from engine.learn.networks.options import SequenceOptions
from engine.learn.networks.payload import Card, Network, Shapes, Weights, check_card, check_tensors, unpack
from engine.learn.networks.session import standardise


@kernel
def _differs(x: Vector, known: Vector) -> bool:
    """Whether a row is another one than the known, which it then becomes."""
    differs = False
    for i in range(x.shape[0]):
        if x[i] != known[i]:
            differs = True
            known[i] = x[i]
    return differs


@kernel
def _keep(x: Vector, out: Floats) -> None:
    """A row in single precision; what would be too large for it stays as large as it can be told."""
    for i in range(x.shape[0]):
        out[i] = min(max(x[i], -1e30), 1e30) if x[i] == x[i] else np.nan


class Cell(abc.ABC):
    """A network that computes one row at a time from weights alone; its state is in ``state``, by name."""

    def __init__(self, card: Card, weights: Weights) -> None:
        self.mean: Floats = weights["mean"]
        self.inverse_deviation: Floats = weights["inverse_deviation"]
        self.row: Floats = np.zeros(len(card.names), np.float32)
        self.out: Floats = np.zeros(card.heads, np.float32)
        self.state: dict[str, npt.NDArray[Any]] = {}

    def scale(self, x: Vector) -> None:
        """Write a raw row into ``row``, as the network was trained to see it."""
        standardise(x, self.mean, self.inverse_deviation, self.row)

    @abc.abstractmethod
    def step(self) -> None:
        """Compute ``out`` from ``row`` and the state, and what the state will be."""

    @abc.abstractmethod
    def commit(self) -> None:
        """Make what ``step`` computed the state."""


def run(cell: Cell, rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The outputs for rows in their order, each carried into the next."""
    outputs = np.zeros((len(rows), len(cell.out)), np.float32)
    for number, row in enumerate(rows.astype(np.float64)):
        cell.scale(row)
        cell.step()
        cell.commit()
        outputs[number] = cell.out
    return outputs


class Remembering(Model):
    """A network with a memory; a subclass names its kind, the shapes of its tensors, and its ``Cell``."""

    trains: ClassVar[bool] = True
    needs_whole_rows: ClassVar[bool] = True
    needs_neighbours: ClassVar[bool] = True
    kind: ClassVar[str]
    options_type: ClassVar[type[SequenceOptions]] = SequenceOptions

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        options = read_options(settings, self.options_type)
        self._cell: Cell | None = None
        self._payload = b""
        self._features = ""
        self._stepped: Vector = np.full(max(1, len(self.names)), np.nan)  # the row that the step set aside belongs to
        self._recent: npt.NDArray[np.float32] = np.zeros((options.prime, len(self.names)), np.float32)
        self._observed = 0
        self._compile()

    def _compile(self) -> None:
        """Compile at the start, and not at the first swap: let the smallest network live through one row."""
        card = Card(
            model="",
            use="",
            kind=self.kind,
            features="",
            names=("a",),
            horizon_ns=1,
            heads=1,
            hidden=(1,),
            shape={"taps": 2},
            seed=0,
            rows=0,
            first_ns=0,
            last_ns=0,
            window="",
            epochs=0,
            validation={},
            export_difference=0.0,
        )
        weights = {name: np.zeros(shape, np.float32) for name, shape in self.shapes(card).items()}
        run(self.cell(card, weights), np.zeros((1, 1)))
        _differs(self._stepped, self._stepped)
        _keep(np.zeros(len(self.names)), self._recent[0])

    @classmethod
    @abc.abstractmethod
    def shapes(cls, card: Card) -> Shapes:
        """The tensors that a card promises; raises ``ModelError`` for a card that promises none."""

    @classmethod
    @abc.abstractmethod
    def cell(cls, card: Card, weights: Weights) -> Cell:
        """The network of checked weights, with an empty memory."""

    def predict_one(self, x: Vector) -> float | None:
        return self._answers(self._cell, x)[0] if self._cell else None

    def predict_all(self, x: Vector) -> Sequence[float | None]:
        return self._answers(self._cell, x) if self._cell else (None,) * len(self.settings.targets)

    def _answers(self, cell: Cell, x: Vector) -> list[float]:
        self._step(cell, x)
        answers: list[float] = cell.out.tolist()
        return answers

    def _step(self, cell: Cell, x: Vector) -> None:
        if _differs(x, self._stepped):
            cell.scale(x)
            cell.step()

    def observe_one(self, x: Vector) -> None:
        _keep(x, self._recent[self._observed % len(self._recent)])
        self._observed += 1
        if self._cell:
            self._step(self._cell, x)
            self._cell.commit()
            self._stepped[0] = np.nan

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        from engine.learn.networks.sequence_fit import fit_sequence  # torch, wanted in the trainer process only

        return fit_sequence(job, cls)

    def swap(self, payload: bytes, features: str) -> None:
        cell = self._open(payload, features)
        run(cell, self._rows())
        self._cell, self._payload, self._features = cell, payload, features
        self._stepped[:] = np.nan

    def _open(self, payload: bytes, features: str) -> Cell:
        network: Network = unpack(payload, features)
        check_card(network.card, self.kind, self.settings, self.names)
        check_tensors(network.weights, self.shapes(network.card))
        return self.cell(network.card, network.weights)

    def _rows(self) -> npt.NDArray[np.float32]:
        """The rows observed last, oldest first."""
        count = min(self._observed, len(self._recent))
        return self._recent[np.arange(self._observed - count, self._observed) % len(self._recent)]

    def save(self) -> dict[str, Any]:
        state = {name: array.tobytes() for name, array in self._cell.state.items()} if self._cell else {}
        return {
            "payload": self._payload,
            "features": self._features,
            "recent": self._recent.tobytes(),
            "observed": self._observed,
            "state": state,
        }

    def load(self, state: dict[str, Any]) -> None:
        if len(state["recent"]) != self._recent.nbytes:
            raise ModelError(
                f"model {self.settings.name}: saved rows: expected {self._recent.nbytes} bytes, found "
                f"{len(state['recent'])}: saved with other features or options; start without it"
            )
        cell = self._open(state["payload"], state["features"]) if state["payload"] else None
        self._recent[:] = np.frombuffer(state["recent"], np.float32).reshape(self._recent.shape)
        self._observed = state["observed"]
        for name, array in cell.state.items() if cell else ():
            array[:] = np.frombuffer(state["state"][name], array.dtype).reshape(array.shape)
        self._cell, self._payload, self._features = cell, state["payload"], state["features"]
        self._stepped[:] = np.nan
