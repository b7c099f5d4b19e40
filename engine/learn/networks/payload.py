"""A trained network on its way into the engine: one self-contained blob that is believed only after it was checked.

The blob is a msgpack map: weights (safetensors), the graph (ONNX), and a card that says what it is. Nothing in it is
ever executed but the graph, and that only after it agreed with the weights.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from engine.learn.contract import ModelError

FORMAT = "papertape network 1"
INPUT_BOUND = 8.0  # standard deviations

Weights: TypeAlias = dict[str, npt.NDArray[np.float32]]


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What a trained network is; ``validation`` are its scores on rows that it was not trained on, in bps."""

    model: str
    use: str
    features: str
    names: tuple[str, ...]
    horizon_ns: int
    hidden: tuple[int, ...]
    seed: int
    rows: int
    first_ns: int
    last_ns: int
    window: str  # SHA-256 of times, features and labels
    epochs: int
    validation: dict[str, float]
    export_difference: float  # the largest one between graph and torch, bps


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


def pack(card: Card, weights: Weights, graph: bytes) -> bytes:
    """Make the blob; the same contents give the same bytes."""
    ordered = {name: np.ascontiguousarray(weights[name]) for name in sorted(weights)}
    return msgspec.msgpack.encode(_Blob(FORMAT, card, safetensors.numpy.save(ordered), graph), order="sorted")


def unpack(payload: bytes, features: str) -> Network:
    """Read a blob for a feature set with this hash.

    Raises:
        ModelError: cut short, foreign, of other features, or with weights that are missing, misshapen or not finite.

    >>> unpack(b"nonsense", "")
    Traceback (most recent call last):
    engine.learn.contract.ModelError: expected a trained network (papertape network 1), found 8 bytes: ...
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
        weights: dict[str, npt.NDArray[Any]] = safetensors.numpy.load(blob.weights)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"expected weights as safetensors, found {len(blob.weights)} bytes: {error}") from error
    _check_weights(weights, blob.card)
    return Network(blob.card, weights, blob.graph)


def shapes(width: int, hidden: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The tensors of a network and their shapes.

    >>> shapes(2, (3,))["weight.1"]
    (1, 3)
    """
    expected: dict[str, tuple[int, ...]] = {"mean": (width,), "inverse_deviation": (width,), "label_scale": (1,)}
    sizes = (width, *hidden, 1)
    for layer in range(len(sizes) - 1):
        expected[f"weight.{layer}"] = (sizes[layer + 1], sizes[layer])
        expected[f"bias.{layer}"] = (sizes[layer + 1],)
    return expected


def _check_weights(weights: dict[str, npt.NDArray[Any]], card: Card) -> None:
    expected = shapes(len(card.names), card.hidden)
    if weights.keys() != expected.keys():
        raise ModelError(f"expected the tensors {', '.join(sorted(expected))}, found {', '.join(sorted(weights))}")
    for name, shape in expected.items():
        tensor = weights[name]
        if tensor.shape != shape or tensor.dtype != np.float32:
            raise ModelError(f"tensor {name}: expected float32 {shape}, found {tensor.dtype} {tensor.shape}")
        if not np.isfinite(tensor).all():
            raise ModelError(
                f"tensor {name}: expected finite numbers, found {int((~np.isfinite(tensor)).sum())} others"
            )


def forward(weights: Weights, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """What the network says to rows of features, in plain numpy: the reference for the graph.

    Standardise and clip, layers with SiLU between, and back to bps.
    """
    with np.errstate(over="ignore"):
        scaled = (x.astype(np.float64) - weights["mean"]) * weights["inverse_deviation"]
        values = np.clip(scaled, -INPUT_BOUND, INPUT_BOUND)
        last = (len(weights) - 3) // 2 - 1
        for layer in range(last + 1):
            values = values @ weights[f"weight.{layer}"].T.astype(np.float64) + weights[f"bias.{layer}"]
            if layer < last:
                values = values / (1.0 + np.exp(-values))
        result: npt.NDArray[np.float64] = values[:, 0] * float(weights["label_scale"][0])
    return result


def probe(width: int, rows: int = 64) -> npt.NDArray[np.float32]:
    """Fixed rows of all sizes on which two implementations are compared."""
    steps = np.arange(rows * width, dtype=np.float64).reshape(rows, width)
    scale = np.logspace(-3, 3, rows)[:, None]
    return (np.sin(steps * 0.7) * scale).astype(np.float32)
