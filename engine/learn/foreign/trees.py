"""Boosted trees as plain arrays, and the kernel that asks them: what LightGBM says, without LightGBM."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.set import Vector
from engine.learn.contract import ModelError
from engine.learn.networks.payload import Weights

NODE = np.dtype(
    [
        ("feature", "i4"),
        ("left", "i4"),  # the next node where the value is at most the threshold; ~leaf where it is a leaf
        ("right", "i4"),
        ("missing", "i4"),  # what counts as missing: NOTHING, ZERO or NAN
        ("missing_left", "i4"),  # 1: what is missing goes left
        ("threshold", "f8"),
    ]
)
"""A decision. ``left`` and ``right`` of a tree that is one leaf do not exist: its root is ~leaf."""

NOTHING, ZERO, NAN = range(3)
_MISSING = {"None": NOTHING, "Zero": ZERO, "NaN": NAN}
NEARLY_ZERO = float(np.float32(1e-35))  # LightGBM's kZeroThreshold (include/LightGBM/meta.h)


@kernel
def ask(
    x: Vector,
    nodes: npt.NDArray[np.void],
    leaves: npt.NDArray[np.float64],
    roots: npt.NDArray[np.int32],
    heads: npt.NDArray[np.int32],
    out: Vector,
) -> None:
    """Add up what each tree says; the rules are those of ``NumericalDecision`` in LightGBM's ``tree.h``."""
    out[:] = 0.0
    for tree in range(roots.shape[0]):
        at = roots[tree]
        while at >= 0:
            node = nodes[at]
            value = x[node["feature"]]
            missing = node["missing"]
            if value != value and missing != NAN:
                value = 0.0
            if (missing == ZERO and abs(value) <= NEARLY_ZERO) or (missing == NAN and value != value):
                goes_left = node["missing_left"] != 0
            else:
                goes_left = value <= node["threshold"]
            at = node["left"] if goes_left else node["right"]
        out[heads[tree]] += leaves[~at]


def flatten(dumps: list[dict[str, Any]]) -> Weights:
    """The trees of boosters, one a label, as LightGBM's ``Booster.dump_model`` tells them.

    Raises:
        ModelError: a decision that is no comparison with a number.
    """
    nodes: list[tuple[int, int, int, int, int, float]] = []
    leaves: list[float] = []
    roots, heads = [], []

    def add(told: dict[str, Any]) -> int:
        if "split_feature" not in told:
            leaves.append(float(told["leaf_value"]))
            return ~(len(leaves) - 1)
        if told["decision_type"] != "<=":
            raise ModelError(f"expected decisions by numbers, found {told['decision_type']!r}")
        at = len(nodes)
        missing = _MISSING[told["missing_type"]]
        nodes.append((int(told["split_feature"]), 0, 0, missing, int(told["default_left"]), float(told["threshold"])))
        left, right = add(told["left_child"]), add(told["right_child"])
        nodes[at] = (nodes[at][0], left, right, *nodes[at][3:])
        return at

    for head, dump in enumerate(dumps):
        for tree in dump["tree_info"]:
            roots.append(add(tree["tree_structure"]))
            heads.append(head)
    table = np.array(nodes, NODE)
    columns = {f"node.{name}": np.ascontiguousarray(table[name]) for name in NODE.names or ()}
    return columns | {
        "leaves": np.array(leaves, np.float64),
        "roots": np.array(roots, np.int32),
        "heads": np.array(heads, np.int32),
    }


def rebuild(weights: Weights, width: int, heads: int) -> npt.NDArray[np.void]:
    """The decisions of checked tensors, as one table.

    Every path must end and stay inside the arrays: a node leads only to later nodes, or to a leaf.

    Raises:
        ModelError: tensors are missing, of another type, or lead astray.
    """
    kinds = {f"node.{name}": NODE[name] for name in NODE.names or ()}
    kinds |= {"leaves": np.dtype("f8"), "roots": np.dtype("i4"), "heads": np.dtype("i4")}
    for name, kind in kinds.items():
        tensor = weights.get(name)
        if tensor is None or tensor.dtype != kind or tensor.ndim != 1:
            found = "none" if tensor is None else f"{tensor.dtype} of {tensor.ndim} dimensions"
            raise ModelError(f"tensor {name}: expected {kind} of one dimension, found {found}")
    count = len(weights["node.feature"])
    if any(len(weights[f"node.{name}"]) != count for name in NODE.names or ()):
        raise ModelError("expected as many features as children and thresholds of trees, found others")
    if len(weights["roots"]) != len(weights["heads"]):
        raise ModelError(f"expected a head a tree, found {len(weights['heads'])} for {len(weights['roots'])}")
    table: npt.NDArray[np.void] = np.zeros(count, NODE)
    for name in NODE.names or ():
        table[name] = weights[f"node.{name}"]
    leaf_count, order = len(weights["leaves"]), np.arange(count)
    sound = bool(((table["feature"] >= 0) & (table["feature"] < width)).all())
    for side in ("left", "right"):
        later = (table[side] > order) & (table[side] < count)
        sound &= bool((later | ((table[side] < 0) & (~table[side] < leaf_count))).all())
    roots = weights["roots"]
    sound &= bool(((roots < count) & ((roots >= 0) | (~roots < leaf_count))).all())
    sound &= bool(((weights["heads"] >= 0) & (weights["heads"] < heads)).all())
    if not sound:
        raise ModelError("expected trees whose paths stay inside them and end, found others")
    return table
