"""A small network, trained beside the run and answering through onnxruntime.

The daemon never imports torch: that is a second and 200 MB which only the trainer process pays (``mlp_fit.py``).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.set import Vector
from engine.learn.contract import Model, ModelError, ModelSettings, TrainJob
from engine.learn.networks.payload import INPUT_BOUND, Network, forward, probe, unpack

TOLERANCE = 1e-5
"""How far two implementations may differ: in bps, or as a share of the largest output where that exceeds 1."""


class Session:
    """A graph in onnxruntime on one thread, with deterministic kernels.

    Raises:
        ModelError: not a graph that onnxruntime takes, or not from rows of features to one number a row.
    """

    def __init__(self, graph: bytes) -> None:
        # onnxruntime ships no types; a dynamic import keeps the type checker strict about everything else.
        runtime = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        try:
            self._session: Any = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except _failures() as error:
            raise ModelError(f"expected an ONNX graph, found {len(graph)} bytes: {error}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        found = [(one.name, one.type, len(one.shape)) for one in (*inputs, *outputs)]
        if found != [("x", "tensor(float)", 2), ("y", "tensor(float)", 2)]:
            raise ModelError(f"expected a graph from rows x to rows y of floats, found {found}")
        self.width = inputs[0].shape[1]
        self._run = self._session.run

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """One output in bps for each row."""
        result: npt.NDArray[np.float32] = self._run(("y",), {"x": x})[0]
        return result[:, 0]


def _failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises about a graph."""
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    return tuple(getattr(state, name) for name in names)


def difference(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """The largest difference, in bps or as a share of the largest expected output where that exceeds 1.

    >>> difference(np.array([100.1]), np.array([100.0]))
    0.001
    """
    if not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return float("inf")
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(found.astype(np.float64) - expected).max()) / scale


def open_network(network: Network) -> Session:
    """Start a payload's graph after checking that it says what the weights say.

    Raises:
        ModelError: it does not.
    """
    session = Session(network.graph)
    width = len(network.card.names)
    if session.width != width:
        raise ModelError(f"expected a graph of {width} features, found {session.width}")
    rows = probe(width)
    try:
        said = session(rows)
    except _failures() as error:
        raise ModelError(f"expected a graph that answers, found: {error}") from error
    apart = difference(said, forward(network.weights, rows)) if said.shape == (len(rows),) else float("inf")
    if not apart <= TOLERANCE:
        raise ModelError(f"expected a graph that agrees with its weights to {TOLERANCE}, found {apart:.3g} apart")
    return session


@kernel
def tidy(
    x: Vector,
    mean: npt.NDArray[np.float32],
    inverse_deviation: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    """A row that a graph can take: what is missing, or never moved, reads as the usual, what is absurd is clipped.

    The clip is wider than the graph's own, so that it changes no answer.
    """
    for i in range(x.shape[0]):
        value, usual, inverse = x[i], float(mean[i]), float(inverse_deviation[i])
        if value != value or inverse == 0.0:
            value = usual
        else:
            reach = 2.0 * INPUT_BOUND / inverse
            value = min(max(value, usual - reach), usual + reach)
        out[i] = value


class Mlp(Model):
    """A shallow, wide network with SiLU; it says nothing before its first training.

    >>> Mlp(ModelSettings(name="net", symbol="v:X", use="mlp"), ["a"]).predict_one(np.zeros(1)) is None
    True
    """

    trains: ClassVar[bool] = True

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        self._session: Session | None = None
        self._payload = b""
        self._features = ""
        self._row: npt.NDArray[np.float32] = np.zeros((1, len(self.names)), np.float32)
        self._mean: npt.NDArray[np.float32] = np.zeros(len(self.names), np.float32)
        self._inverse: npt.NDArray[np.float32] = np.zeros(len(self.names), np.float32)
        tidy(np.zeros(len(self.names)), self._mean, self._inverse, self._row[0])
        importlib.import_module("onnxruntime")  # at the start, and not at the first swap

    def predict_one(self, x: Vector) -> float | None:
        if self._session is None:
            return None
        tidy(x, self._mean, self._inverse, self._row[0])
        return float(self._session(self._row)[0])

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        from engine.learn.networks.mlp_fit import fit_mlp  # torch, wanted in the trainer process only

        return fit_mlp(job)

    def swap(self, payload: bytes, features: str) -> None:
        network = unpack(payload, features)
        if network.card.names != self.names:
            raise ModelError(f"expected features {', '.join(self.names)}, found {', '.join(network.card.names)}")
        if network.card.horizon_ns != self.settings.horizon_ns:
            raise ModelError(
                f"expected a horizon of {self.settings.horizon_ns} ns, found {network.card.horizon_ns}: train it again"
            )
        self._session = open_network(network)
        self._mean, self._inverse = network.weights["mean"], network.weights["inverse_deviation"]
        self._payload, self._features = payload, features

    def save(self) -> dict[str, Any]:
        return {"payload": self._payload, "features": self._features}

    def load(self, state: dict[str, Any]) -> None:
        if state["payload"]:
            self.swap(state["payload"], state["features"])
