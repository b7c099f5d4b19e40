"""A graph at work in onnxruntime: one thread, deterministic kernels, typed errors."""

from __future__ import annotations

import hashlib
import importlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.set import Vector
from engine.learn.contract import ModelError
from engine.learn.networks.payload import INPUT_BOUND, unpack

MOST_AHEAD: Final = 16


class Session:
    """A graph in onnxruntime, from rows of features to rows of outputs.

    Raises:
        ModelError: not a graph that onnxruntime takes, or not from rows x to rows y.
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
        except failures() as error:
            raise ModelError(f"expected an ONNX graph, found {len(graph)} bytes: {error}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        found = [(one.name, one.type, len(one.shape)) for one in (*inputs, *outputs)]
        if found != [("x", "tensor(float)", 2), ("y", "tensor(float)", 2)]:
            raise ModelError(f"expected a graph from rows x to rows y of floats, found {found}")
        self.width = inputs[0].shape[1]
        self._graph = graph
        self._run = self._session.run

    def __reduce__(self) -> tuple[type[Session], tuple[bytes]]:
        return Session, (self._graph,)

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The outputs of each row.

        Raises:
            ModelError: the graph cannot compute them.
        """
        try:
            result: npt.NDArray[np.float32] = self._run(("y",), {"x": x})[0]
        except failures() as error:
            raise ModelError(f"expected a graph that answers, found: {error}") from error
        return result


_ahead: dict[str, Session] = {}
"""Sessions made beside the loop for graphs that a swap is about to open, by the graph's SHA-256; each is used once."""


def open_ahead(payload: bytes, features: str) -> None:
    """Make the session of a payload's graph now; ``open_session`` takes it. It takes milliseconds, a run's loop none.

    What is no network, or has no graph, is left to the swap, which says so.
    """
    try:
        graph = unpack(payload, features).graph
        session = Session(graph) if graph else None
    except ModelError:
        return
    if session is not None:
        while len(_ahead) >= MOST_AHEAD:
            _ahead.pop(next(iter(_ahead)), None)
        _ahead[hashlib.sha256(graph).hexdigest()] = session


def open_session(graph: bytes) -> Session:
    """The session that was made ahead, or one made now; raises as ``Session`` does."""
    return _ahead.pop(hashlib.sha256(graph).hexdigest(), None) or Session(graph)


def failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises about a graph."""
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    return tuple(getattr(state, name) for name in names)


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


@kernel
def standardise(
    x: Vector,
    mean: npt.NDArray[np.float32],
    inverse_deviation: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    """A row in standard deviations, clipped; 0 for what is missing or never moved."""
    for i in range(x.shape[0]):
        # In single precision, as the network that was trained computes it.
        scaled = (np.float32(x[i]) - mean[i]) * inverse_deviation[i]
        bounded = min(max(scaled, np.float32(-INPUT_BOUND)), np.float32(INPUT_BOUND))
        out[i] = bounded if scaled == scaled else np.float32(0.0)
