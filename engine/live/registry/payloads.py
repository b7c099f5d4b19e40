"""What is in a payload, as far as it is of our own make: networks with their scores and tensors."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from engine.learn.contract import ModelError
from engine.learn.ensemble import parcel
from engine.learn.networks.payload import Network, unpack


class Part(msgspec.Struct, frozen=True):
    """One network of a payload: ``name`` is the expert's of an ensemble, "" of any other model; ``why`` it has none."""

    name: str
    kind: str = ""
    epochs: int = 0
    holdout: dict[str, float | None] = {}
    export_difference: float | None = None
    why: str = ""


def networks(payload: bytes, features: str) -> Iterator[tuple[str, Network | str]]:
    """Each network of a payload, or why there is none, by the expert's name; nothing of a payload of another make.

    ``features`` is the hash of the feature set that it was trained on.
    """
    try:
        yield "", unpack(payload, features)
        return
    except ModelError:
        pass  # an ensemble's, or of another make
    try:
        entries = parcel.unpack(payload)
    except ModelError:
        return
    bagged = {entry.expert for entry in entries if entry.member}
    for entry in entries:
        name = f"{entry.expert} {entry.member}" if entry.expert in bagged else entry.expert
        try:
            yield name, unpack(parcel.payload_of(entry), features)
        except ModelError as error:
            yield name, str(error)


def parts(payload: bytes, features: str) -> tuple[Part, ...]:
    """The parts of a payload, for its card."""
    found = []
    for name, one in networks(payload, features):
        if isinstance(one, str):
            found.append(Part(name, why=one))
        else:
            card = one.card
            found.append(Part(name, card.kind, card.epochs, dict(card.validation), card.export_difference))
    return tuple(found)


class Distance(msgspec.Struct, frozen=True):
    """How far two tensors of the same name are apart: ``relative`` is |a - b| / |a|, None where shapes differ."""

    tensor: str
    relative: float | None
    shapes: tuple[tuple[int, ...], tuple[int, ...]]


def distances(a: bytes, b: bytes, features: tuple[str, str]) -> tuple[list[Distance], list[str]]:
    """Of the tensors of two payloads; and what only one of them has, by name.

    The norm is the Euclidean one over all numbers of a tensor, in float64.
    """
    mine, theirs = _tensors(a, features[0]), _tensors(b, features[1])
    found = []
    for name in mine.keys() & theirs.keys():
        one, other = mine[name], theirs[name]
        relative = None
        if one.shape == other.shape:
            norm, apart = float(np.linalg.norm(one)), float(np.linalg.norm(one - other))
            relative = 0.0 if apart == 0.0 else (apart / norm if norm else None)
        found.append(Distance(name, relative, (one.shape, other.shape)))
    alone = sorted(mine.keys() ^ theirs.keys())
    return sorted(found, key=lambda each: each.tensor), alone


def _tensors(payload: bytes, features: str) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Tensors of numbers; a table of records, such as a tree's nodes, has no distance."""
    return {
        f"{name}/{tensor}" if name else tensor: values.astype(np.float64)
        for name, one in networks(payload, features)
        if not isinstance(one, str)
        for tensor, values in one.weights.items()
        if values.dtype.kind in "fiu" and values.dtype.names is None
    }
