"""Checks a folder of models: each payload against its name, each card, the log, and how they hang together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.live.registry.log import NAME
from engine.live.registry.shelf import RegistryError, Shelf
from engine.live.registry.store import CARD, LINEAGE, PART, PAYLOAD, card_path, content_name, lineage_path, model_path

PIECE = 1 << 20


class Verdict(msgspec.Struct):
    """``problems`` name files that are not what was written, or are gone; ``remarks`` what harms nothing."""

    folder: str
    payloads: int = 0
    cards: int = 0
    lineages: int = 0
    events: int = 0
    size: int = 0
    problems: list[str] = []
    remarks: list[str] = []

    @property
    def is_whole(self) -> bool:
        return not self.problems


def verify(folder: Path, progress: Callable[[int], None] | None = None) -> Verdict:
    """Read everything; ``progress`` hears how many payloads were hashed.

    Raises:
        RegistryError: there is no such folder, or it cannot be read.
    """
    shelf = Shelf(folder)
    found = Verdict(str(folder), problems=list(shelf.problems), events=len(shelf.log.events))
    if shelf.log.torn:
        found.remarks.append(f"{shelf.log.torn}; the next start cuts them off")
    try:
        versions = _payloads(folder, found, progress)
        _cards(shelf, versions, found)
        _lineages(shelf, found)
        _log(shelf, versions, found)
        _others(folder, found)
    except OSError as error:
        raise RegistryError(f"{error.filename or folder}: expected to read it, found: {error.strerror}") from error
    return found


def _payloads(folder: Path, found: Verdict, progress: Callable[[int], None] | None) -> dict[str, int]:
    """Sizes by version."""
    versions = {}
    for path in sorted(folder.glob(f"*{PAYLOAD}")):
        version = path.name.removesuffix(PAYLOAD)
        digest, size = hashlib.sha256(), 0
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                size += len(piece)
        if digest.hexdigest() != version:
            found.problems.append(
                f"{path}: expected content with SHA-256 {version}, found {digest.hexdigest()}: it was damaged; "
                "bring it back from a copy"
            )
        versions[version] = size
        found.payloads, found.size = found.payloads + 1, found.size + size
        if progress is not None:
            progress(found.payloads)
    return versions


def _cards(shelf: Shelf, versions: dict[str, int], found: Verdict) -> None:
    for name, card in shelf.cards.items():
        path = card_path(shelf.folder, name)
        found.cards += 1
        if card.version != name:
            found.problems.append(f"{path}: expected the card of {name}, found that of {card.version}")
        elif card.version in versions and versions[name] != card.size:
            found.problems.append(f"{path}: expected a payload of {card.size} bytes, found {versions[name]}")
        if card.parent and card.parent not in shelf.cards and card.parent not in versions:
            parent = card_path(shelf.folder, card.parent)
            found.problems.append(f"{parent}: expected the card of the parent of {name}, found none")


def _lineages(shelf: Shelf, found: Verdict) -> None:
    for name in shelf.lineages:
        path = lineage_path(shelf.folder, name)
        found.lineages += 1
        if (content := content_name(path.read_bytes())) != name:
            found.problems.append(f"{path}: expected content with SHA-256 {name}, found {content}: it was altered")


def _log(shelf: Shelf, versions: dict[str, int], found: Verdict) -> None:
    """What the log tells must be there, and as it was."""
    stored = {event.version: event for event in shelf.log.events if event.what == "stored"}
    for version, event in stored.items():
        card = card_path(shelf.folder, version)
        if not card.exists():
            found.problems.append(f"{card}: expected the card of a version of {event.model}, found none")
        elif content_name(card.read_bytes()) != event.more.get("card"):
            found.problems.append(f"{card}: expected the card as it was written, found another: it was altered")
        if version not in versions:
            path = model_path(shelf.folder, version)
            found.problems.append(f"{path}: expected a version of {event.model}, found none; no replay can have it")
    for event in shelf.log.events:
        if event.what == "entered" and event.more["lineage"] not in shelf.lineages:
            path = lineage_path(shelf.folder, str(event.more["lineage"]))
            found.problems.append(f"{path}: expected a lineage of {event.model}, found none that can be read")
    for version in sorted(versions.keys() - stored.keys()):
        path = model_path(shelf.folder, version)
        if version not in shelf.cards:
            found.remarks.append(f"{path}: has no card: an older Papertape stored it")
        else:
            found.remarks.append(f"{path}: is not in the log: the daemon was stopped while it stored it")
    for version in sorted(shelf.cards.keys() - versions.keys() - stored.keys()):
        path = card_path(shelf.folder, version)
        found.remarks.append(f"{path}: has no payload: the daemon was stopped before it stored it")


def _others(folder: Path, found: Verdict) -> None:
    for path in sorted(folder.iterdir()):
        if path.name.endswith(PART):
            found.remarks.append(f"{path}: was not finished; the next start takes it away")
        elif path.name != NAME and not path.name.endswith((PAYLOAD, CARD, LINEAGE)):
            found.remarks.append(f"{path}: is no file of a registry")
