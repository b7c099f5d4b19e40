"""The network as an ONNX graph, written node by node: small, exact, and the same bytes for the same weights."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from engine.learn.networks.payload import INPUT_BOUND, Weights

OPSET = 17
IR_VERSION = 8


def build_graph(weights: Weights) -> bytes:
    """The graph from ``x`` (float32, any rows of raw features) to ``y`` (float32, bps), scaler and all.

    >>> from engine.learn.networks.payload import shapes
    >>> graph = build_graph({name: np.ones(shape, np.float32) for name, shape in shapes(2, (3,)).items()})
    >>> len(graph) > 100
    True
    """
    width = weights["mean"].shape[0]
    last = (len(weights) - 3) // 2 - 1
    nodes: list[NodeProto] = [
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "inverse_deviation"], ["standard"]),
        helper.make_node("Clip", ["standard", "low", "high"], ["values.0"]),
    ]
    for layer in range(last + 1):
        put = f"linear.{layer}"
        nodes.append(helper.make_node("Gemm", [f"values.{layer}", f"weight.{layer}", f"bias.{layer}"], [put], transB=1))
        if layer < last:
            nodes.append(helper.make_node("Sigmoid", [put], [f"gate.{layer}"]))
            nodes.append(helper.make_node("Mul", [put, f"gate.{layer}"], [f"values.{layer + 1}"]))
    nodes.append(helper.make_node("Mul", [f"linear.{last}", "label_scale"], ["y"]))
    constants = dict(weights) | {
        "low": np.array(-INPUT_BOUND, np.float32),
        "high": np.array(INPUT_BOUND, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "papertape-mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])],
        [numpy_helper.from_array(constants[name], name) for name in sorted(constants)],
    )
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    model.producer_name = "papertape"
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
