"""The ``mlp`` network as an ONNX graph, written node by node: small, exact, and the same bytes for the same weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from engine.learn.networks.payload import INPUT_BOUND, Card, Weights

OPSET = 17
IR_VERSION = 8


def shapes(width: int, hidden: tuple[int, ...], heads: int = 1, *, skip: bool = False) -> dict[str, tuple[int, ...]]:
    """The tensors of a network and their shapes.

    >>> shapes(2, (3,))["weight.1"]
    (1, 3)
    """
    expected: dict[str, tuple[int, ...]] = {"mean": (width,), "inverse_deviation": (width,), "label_scale": (heads,)}
    sizes = (width, *hidden, heads)
    for layer in range(len(sizes) - 1):
        expected[f"weight.{layer}"] = (sizes[layer + 1], sizes[layer])
        expected[f"bias.{layer}"] = (sizes[layer + 1],)
    if skip:
        expected["skip"] = (heads, width)
    return expected


def shapes_of(card: Card) -> dict[str, tuple[int, ...]]:
    """The tensors that a card promises."""
    return shapes(len(card.names), card.hidden, card.heads, skip=bool(card.shape.get("skip")))


def _last(weights: Weights) -> int:
    return sum(name.startswith("weight.") for name in weights) - 1


def _residual(weights: Weights, layer: int) -> bool:
    """With skip connections, a layer of equal sizes adds to what it was given; the first one never does."""
    out, into = weights[f"weight.{layer}"].shape
    return bool("skip" in weights and layer > 0 and out == into)


def forward(weights: Weights, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """What the network says to rows of features, in plain numpy: the reference for the graph.

    Standardise and clip, layers with SiLU between, and back to bps. With skip connections a straight line from the
    input is added at the end.
    """
    with np.errstate(over="ignore"):
        scaled = (x.astype(np.float64) - weights["mean"]) * weights["inverse_deviation"]
        values = first = np.clip(scaled, -INPUT_BOUND, INPUT_BOUND)
        last = _last(weights)
        for layer in range(last + 1):
            put = values @ weights[f"weight.{layer}"].T.astype(np.float64) + weights[f"bias.{layer}"]
            if layer < last:
                put = put / (1.0 + np.exp(-put))
                put = put + values if _residual(weights, layer) else put
            values = put
        if "skip" in weights:
            values = values + first @ weights["skip"].T.astype(np.float64)
        result: npt.NDArray[np.float64] = values * weights["label_scale"]
    return result


def build_graph(weights: Weights) -> bytes:
    """The graph from ``x`` (float32, any rows of raw features) to ``y`` (float32, one column a head), scaler and all.

    >>> graph = build_graph({name: np.ones(shape, np.float32) for name, shape in shapes(2, (3,)).items()})
    >>> len(graph) > 100
    True
    """
    width, heads = weights["mean"].shape[0], weights["label_scale"].shape[0]
    last = _last(weights)
    nodes: list[NodeProto] = [
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "inverse_deviation"], ["standard"]),
        helper.make_node("Clip", ["standard", "low", "high"], ["values.0"]),
    ]
    for layer in range(last + 1):
        put = f"linear.{layer}"
        nodes.append(helper.make_node("Gemm", [f"values.{layer}", f"weight.{layer}", f"bias.{layer}"], [put], transB=1))
        if layer < last:
            through = f"values.{layer + 1}"
            adds = _residual(weights, layer)
            nodes.append(helper.make_node("Sigmoid", [put], [f"gate.{layer}"]))
            nodes.append(helper.make_node("Mul", [put, f"gate.{layer}"], [f"silu.{layer}" if adds else through]))
            if adds:
                nodes.append(helper.make_node("Add", [f"silu.{layer}", f"values.{layer}"], [through]))
    said = f"linear.{last}"
    if "skip" in weights:
        nodes.append(helper.make_node("Gemm", ["values.0", "skip", said], ["summed"], transB=1))
        said = "summed"
    nodes.append(helper.make_node("Mul", [said, "label_scale"], ["y"]))
    constants = dict(weights) | {
        "low": np.array(-INPUT_BOUND, np.float32),
        "high": np.array(INPUT_BOUND, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "papertape-mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", heads])],
        [numpy_helper.from_array(constants[name], name) for name in sorted(constants)],
    )
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    model.producer_name = "papertape"
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
