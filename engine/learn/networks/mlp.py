"""A small network, trained beside the run and answering through onnxruntime.

The daemon never imports torch: that is a second and 200 MB which only the trainer process pays (``fitting.py``).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from engine.features.set import Vector
from engine.learn.contract import Model, ModelError, ModelSettings, read_options
from engine.learn.jobs import TrainJob
from engine.learn.networks.graph import forward, shapes_of
from engine.learn.networks.options import MlpOptions
from engine.learn.networks.payload import TOLERANCE, Network, check_card, check_tensors, difference, probe, unpack
from engine.learn.networks.session import Session, open_ahead, open_session, tidy


def open_network(network: Network) -> Session:
    """Start a payload's graph after checking that it says what the weights say.

    Raises:
        ModelError: it does not.
    """
    session = open_session(network.graph)
    width = len(network.card.names)
    if session.width != width:
        raise ModelError(f"expected a graph of {width} features, found {session.width}")
    rows = probe(width)
    apart = difference(session(rows), forward(network.weights, rows))
    if not apart <= TOLERANCE:
        raise ModelError(f"expected a graph that agrees with its weights to {TOLERANCE}, found {apart:.3g} apart")
    return session


class Mlp(Model):
    """A shallow, wide network with SiLU and skip connections; it says nothing before its first training.

    With several labels it has an output for each. Options: ``MlpOptions``.

    >>> Mlp(ModelSettings(name="net", symbol="v:X", use="mlp"), ["a"]).predict_one(np.zeros(1)) is None
    True
    """

    trains: ClassVar[bool] = True
    needs_whole_rows: ClassVar[bool] = True

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        self._is_warm = read_options(settings, MlpOptions).warm_start
        self._session: Session | None = None
        self._payload = b""
        self._features = ""
        self._row: npt.NDArray[np.float32] = np.zeros((1, len(self.names)), np.float32)
        self._mean: npt.NDArray[np.float32] = np.zeros(len(self.names), np.float32)
        self._inverse: npt.NDArray[np.float32] = np.zeros(len(self.names), np.float32)
        tidy(np.zeros(len(self.names)), self._mean, self._inverse, self._row[0])
        importlib.import_module("onnxruntime")  # at the start, and not at the first swap

    def predict_one(self, x: Vector) -> float | None:
        return self._answers(self._session, x)[0] if self._session else None

    def predict_all(self, x: Vector) -> Sequence[float | None]:
        return self._answers(self._session, x) if self._session else (None,) * len(self.settings.targets)

    def _answers(self, session: Session, x: Vector) -> list[float]:
        tidy(x, self._mean, self._inverse, self._row[0])
        answers: list[float] = session(self._row)[0].tolist()
        return answers

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        from engine.learn.networks.mlp_fit import fit_mlp  # torch, wanted in the trainer process only

        return fit_mlp(job)

    def parent(self) -> bytes:
        return self._payload if self._is_warm else b""

    @classmethod
    def prepare(cls, payload: bytes, features: str) -> None:
        open_ahead(payload, features)

    def swap(self, payload: bytes, features: str) -> None:
        network = unpack(payload, features)
        check_card(network.card, "mlp", self.settings, self.names)
        check_tensors(network.weights, shapes_of(network.card))
        self._session = open_network(network)
        self._mean, self._inverse = network.weights["mean"], network.weights["inverse_deviation"]
        self._payload, self._features = payload, features

    def save(self) -> dict[str, Any]:
        return {"payload": self._payload, "features": self._features}

    def load(self, state: dict[str, Any]) -> None:
        if state["payload"]:
            self.swap(state["payload"], state["features"])
