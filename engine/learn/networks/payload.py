"""A trained model on its way into the engine: one self-contained blob that is believed only after it was checked.

The blob is a msgpack map: tensors (safetensors), a graph (ONNX; empty where a kernel computes from the tensors), and a
card that says what it is. Nothing in it is ever executed but the graph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from engine.learn.contract import ModelError, ModelSettings
from engine.learn.jobs import TrainJob

FORMAT = "papertape network 2"
INPUT_BOUND = 8.0  # standard deviations
TOLERANCE = 1e-5
"""How far two implementations may differ: in bps, or as a share of the largest output where that exceeds 1."""

Weights: TypeAlias = dict[str, npt.NDArray[Any]]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What a trained model is; ``validation`` are its scores on rows that it was not trained on, in bps.

    ``kind`` says how it computes, ``hidden`` and ``shape`` what belongs to the kind; ``heads`` is how many labels it
    speaks of, the settings' own first.
    """

    model: str
    use: str
    kind: str
    features: str
    names: tuple[str, ...]
    horizon_ns: int
    heads: int
    hidden: tuple[int, ...]
    shape: dict[str, int]
    seed: int
    rows: int
    first_ns: int
    last_ns: int
    window: str  # SHA-256 of times, features and labels
    epochs: int
    validation: dict[str, float]
    export_difference: float  # the largest one between what was trained and what will answer, bps


class _Blob(msgspec.Struct, frozen=True):
    format: str
    card: Card
    weights: bytes
    graph: bytes


class Network(msgspec.Struct, frozen=True):
    """An unpacked payload."""

    card: Card
    weights: Weights
    graph: bytes


def card_of(
    job: TrainJob,
    kind: str,
    *,
    shape: dict[str, int],
    hidden: tuple[int, ...] = (),
    epochs: int = 0,
    validation: dict[str, float],
    export_difference: float,
) -> Card:
    """The card of what was trained on a job."""
    digest = hashlib.sha256(job.times_ns.tobytes() + job.x.tobytes() + job.y.tobytes())
    return Card(
        model=job.settings.name,
        use=job.settings.use,
        kind=kind,
        features=job.features,
        names=job.names,
        horizon_ns=job.settings.horizon_ns,
        heads=1 if job.y.ndim == 1 else job.y.shape[1],
        hidden=hidden,
        shape=shape,
        seed=job.seed,
        rows=len(job.y),
        first_ns=int(job.times_ns[0]),
        last_ns=int(job.times_ns[-1]),
        window=digest.hexdigest(),
        epochs=epochs,
        validation=validation,
        export_difference=export_difference,
    )


def pack(card: Card, weights: Weights, graph: bytes = b"") -> bytes:
    """Make the blob; the same contents give the same bytes."""
    ordered = {name: np.ascontiguousarray(weights[name]) for name in sorted(weights)}
    return msgspec.msgpack.encode(_Blob(FORMAT, card, safetensors.numpy.save(ordered), graph), order="sorted")


def unpack(payload: bytes, features: str) -> Network:
    """Read a blob for a feature set with this hash.

    Raises:
        ModelError: cut short, foreign, of other features, or with tensors that are not finite.

    >>> unpack(b"nonsense", "")
    Traceback (most recent call last):
    engine.learn.contract.ModelError: expected a trained network (papertape network 2), found 8 bytes: ...
    """
    try:
        blob = msgspec.msgpack.decode(payload, type=_Blob)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"expected a trained network ({FORMAT}), found {len(payload)} bytes: {error}") from error
    if blob.format != FORMAT:
        raise ModelError(f"expected the format {FORMAT!r}, found {blob.format!r}")
    if blob.card.features != features:
        raise ModelError(
            f"expected a network of the feature set {features[:12]}, found one of {blob.card.features[:12]}: "
            "train it again"
        )
    try:
        weights: Weights = safetensors.numpy.load(blob.weights)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"expected weights as safetensors, found {len(blob.weights)} bytes: {error}") from error
    for name, tensor in weights.items():
        absurd = int((~np.isfinite(tensor)).sum()) if tensor.dtype.kind == "f" else 0
        if absurd:
            raise ModelError(f"tensor {name}: expected finite numbers, found {absurd} others")
    return Network(blob.card, weights, blob.graph)


def check_card(card: Card, kind: str, settings: ModelSettings, names: tuple[str, ...]) -> None:
    """Raise ``ModelError`` where a trained model is not what a running one can take."""
    if card.kind != kind:
        raise ModelError(f"expected a network of the kind {kind}, found {card.kind!r}")
    if card.names != names:
        raise ModelError(f"expected features {', '.join(names)}, found {', '.join(card.names)}")
    if card.horizon_ns != settings.horizon_ns:
        raise ModelError(f"expected a horizon of {settings.horizon_ns} ns, found {card.horizon_ns}: train it again")
    if card.heads != len(settings.targets):
        raise ModelError(f"expected {len(settings.targets)} outputs, one a label, found {card.heads}: train it again")


def check_tensors(weights: Weights, expected: Shapes) -> None:
    """Raise ``ModelError`` where float32 tensors are missing, unknown or misshapen."""
    if weights.keys() != expected.keys():
        raise ModelError(f"expected the tensors {', '.join(sorted(expected))}, found {', '.join(sorted(weights))}")
    for name, shape in expected.items():
        tensor = weights[name]
        if tensor.shape != shape or tensor.dtype != np.float32:
            raise ModelError(f"tensor {name}: expected float32 {shape}, found {tensor.dtype} {tensor.shape}")


def probe(width: int, rows: int = 64) -> npt.NDArray[np.float32]:
    """Fixed rows of all sizes on which two implementations are compared."""
    steps = np.arange(rows * width, dtype=np.float64).reshape(rows, width)
    scale = np.logspace(-3, 3, rows)[:, None]
    return (np.sin(steps * 0.7) * scale).astype(np.float32)


def difference(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """The largest difference, in bps or as a share of the largest expected output where that exceeds 1.

    >>> difference(np.array([100.1]), np.array([100.0]))
    0.001
    """
    if found.shape != expected.shape or not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return float("inf")
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(found.astype(np.float64) - expected).max()) / scale
