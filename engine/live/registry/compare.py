"""Two versions, or two models, side by side: what they were made of, how they did, how far their weights are apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.live.registry.cards import Card, Lineage
from engine.live.registry.payloads import distances
from engine.live.registry.shelf import RegistryError, Shelf, Version, live_told

ABSENT = "absent"


class Side(msgspec.Struct, frozen=True):
    """One of the two: a version with its lineage, or a model that has none."""

    name: str
    version: Version
    lineage: Lineage | None

    @property
    def card(self) -> Card | None:
        return self.version.card


def compare(shelf: Shelf, a: str, b: str, other: Shelf | None = None) -> dict[str, Any]:
    """What differs, as plain values; ``other`` is where ``b`` is looked up. A model by name: the version that answers.

    Raises:
        RegistryError: one of the two is not there, or is not one version.
    """
    theirs = other or shelf
    one, two = side(shelf, a), side(theirs, b)
    return {
        "a": _told(one),
        "b": _told(two),
        "differs": _differs(_made_of(one), _made_of(two)),
        "same": sorted(
            key for key, value in _made_of(one).items() if value is not None and _made_of(two).get(key) == value
        ),
        "weights": _weights(shelf, one, theirs, two),
    }


def side(shelf: Shelf, text: str) -> Side:
    """A version by the first digits of its hash, or a model by its name: the version that answers for it.

    Raises:
        RegistryError: it is not there, or it is not one version.
    """
    found = shelf.find(text)
    if isinstance(found, Lineage):
        version = shelf.version(found.model, shelf.answering(found.model))
        held = shelf.lineages.get(version.card.lineage) if version.card is not None else None
        return Side(text, version, held or found)
    card = found.card
    return Side(text, found, shelf.lineages.get(card.lineage) if card is not None else None)


def _told(one: Side) -> dict[str, Any]:
    card, version = one.card, one.version
    return {
        "asked": one.name,
        "model": version.model,
        "version": version.version,
        "state": version.state,
        "holdout": _holdout(card) if card is not None else {},
        "live": live_told(version.live),
    }


def _holdout(card: Card) -> dict[str, float | None]:
    """Of a payload with several networks the information coefficient of each."""
    return dict(card.holdout) or {f"ic of {part.name}": part.holdout.get("ic") for part in card.parts}


def _made_of(one: Side) -> dict[str, Any]:
    """All that may differ, by key; settings and code part by part."""
    found: dict[str, Any] = {"model": one.version.model}
    if (lineage := one.lineage) is not None:
        found |= {"use": lineage.use, "symbol": lineage.symbol, "labels": list(lineage.labels)}
        found |= {"features.named": lineage.features.named, "features.sha256": lineage.features.sha256}
        found |= {"run.seed": lineage.seed, "papertape": lineage.papertape}
        found |= {f"settings.{key}": value for key, value in _flat(lineage.settings) if key not in ("name", "use")}
        found |= {f"code.{part}": print_ for part, print_ in lineage.code.items()}
    if (card := one.card) is not None:
        found |= {"use": card.use, "symbol": card.symbol, "labels": list(card.labels), "seed": card.seed}
        found |= {"features.named": card.features.named, "features.sha256": card.features.sha256}
        found |= {f"window.{key}": value for key, value in msgspec.to_builtins(card.window).items()}
        found |= {"trigger": card.trigger, "parent": card.parent, "papertape": card.papertape, "size": card.size}
        found |= {"settings_sha256": card.settings_sha256, "code_sha256": card.code_sha256}
        found |= {f"epochs.{part.name}".rstrip("."): part.epochs for part in card.parts if not part.why}
    return found


def _flat(settings: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{above}{key}.")
        else:
            found.append((f"{above}{key}", value))
    return found


def _differs(a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "a": a.get(key, ABSENT), "b": b.get(key, ABSENT)}
        for key in sorted({*a, *b})
        if a.get(key, ABSENT) != b.get(key, ABSENT)
    ]


def _weights(shelf: Shelf, one: Side, theirs: Shelf, two: Side) -> dict[str, Any]:
    """How far like-named tensors are apart, or why that cannot be said."""
    if one.card is None or two.card is None:
        return {"why": "expected two versions with cards, found one that learns from each label or has none"}
    try:
        payloads = shelf.payload(one.card.version), theirs.payload(two.card.version)
    except RegistryError as error:
        return {"why": str(error)}
    if payloads[0] == payloads[1]:
        return {"same": True}
    apart, alone = distances(*payloads, (one.card.features.sha256, two.card.features.sha256))
    if not apart:
        return {"why": "expected payloads with tensors of the same names, found none: they are of different makes"}
    return {"tensors": [msgspec.to_builtins(each) for each in apart], "only_in_one": alone}
