"""The reader's side of ``models/``: all cards and the log, and what is known of one version or one model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from engine.learn.scoring import Scores
from engine.live.registry.cards import Card, CardError, Lineage, read_card, read_lineage
from engine.live.registry.lives import merged
from engine.live.registry.log import NAME, Event, Log, read_log
from engine.live.registry.store import CARD, LINEAGE, content_name, model_path

SHORTEST: Final = 4
"""Digits of a version that are enough to ask for it, where no other begins alike."""

STATES: Final = {"stored": "stored", "swapped": "answers", "found": "answers", "refused": "refused"}
"""What an event makes of a version; another version that answers makes it ``replaced``."""


class RegistryError(Exception):
    """What is asked for is not in a registry, or the registry cannot be read; one line says what to do."""


class Version(NamedTuple):
    """One version of one model as its card and the log tell it; ``card`` None where it has none or it is damaged."""

    model: str
    version: str
    card: Card | None
    events: list[Event]
    state: str
    live: Scores
    has_payload: bool


class Shelf:
    """A folder as it is now; ``problems`` are files that are not what they should be, and lines of the log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cards: dict[str, Card] = {}
        self.lineages: dict[str, Lineage] = {}
        self.problems: list[str] = []
        try:
            self._read()
            self.log: Log = read_log(folder / NAME)
        except OSError as error:
            raise RegistryError(f"{error.filename or folder}: expected to read it, found: {error.strerror}") from error
        self.problems += self.log.damage
        self._lives: dict[tuple[str, str], list[Event]] = {}
        self._answers: dict[str, str] = {}
        self._entered: dict[str, str] = {}
        for event in self.log.events:
            self._lives.setdefault((event.model, event.version), []).append(event)
            if event.what in ("swapped", "found"):
                self._answers[event.model] = event.version
            elif event.what == "entered":
                self._entered[event.model] = str(event.more["lineage"])

    def _read(self) -> None:
        if not self.folder.is_dir():
            raise RegistryError(
                f"{self.folder}: expected the models of a run, found no such folder; name one with --run"
            )
        for path in sorted(self.folder.glob(f"*{CARD}")):
            try:
                if path.name.endswith(LINEAGE):
                    self.lineages[path.name.removesuffix(LINEAGE)] = read_lineage(path.read_bytes())
                else:
                    self.cards[path.name.removesuffix(CARD)] = read_card(path.read_bytes())
            except CardError as error:
                self.problems.append(f"{path}: {error}")

    @property
    def models(self) -> list[str]:
        """The names of all models that ever were here; those with a lineage first, by name."""
        told = [event.model for event in self.log.events]
        cards = [card.model for card in sorted(self.cards.values(), key=lambda card: card.requested_ns)]
        return list(dict.fromkeys([*sorted(one.model for one in self.lineages.values()), *cards, *told]))

    def lineage(self, model: str) -> tuple[str, Lineage] | None:
        """A model's lineage, with its hash: the one with which it ran last; None where that cannot be read."""
        sha256 = self._entered.get(model, "")
        return (sha256, self.lineages[sha256]) if sha256 in self.lineages else None

    def versions(self, model: str = "") -> list[Version]:
        """Of one model or of all, the oldest first; a model that has none is there with the version ``""``."""
        found = []
        for name in [model] if model else self.models:
            mine = {version: None for owner, version in self._lives if owner == name and version}
            mine |= {version: None for version, card in self.cards.items() if card.model == name}
            ordered = sorted(mine, key=lambda version: (self._since(version), version))
            found += [self.version(name, version) for version in ordered or [""]]
        return found

    def version(self, model: str, version: str) -> Version:
        """What is known of it; ``""`` is a model that learns from each label, or has no training yet."""
        events, lineage = self._lives.get((model, version), []), self.lineage(model)
        trains = lineage is not None and lineage[1].trains
        state, live = "unknown" if version else ("untrained" if trains else "learns"), Scores()
        for event in events:
            state = STATES.get(event.what, state)
            if event.what == "scored":
                live = merged(live, msgspec.convert(event.more["sums"], Scores))
        if state == "answers" and self._answers.get(model) != version:
            state = "replaced"
        has_payload = bool(version) and model_path(self.folder, version).exists()
        return Version(model, version, self.cards.get(version), events, state, live, has_payload)

    def answering(self, model: str) -> str:
        """The version that answers for a model, or did when the log ends; "" for none."""
        return self._answers.get(model, "")

    def speaks_for(self, model: str) -> list[str]:
        """The contests whose champion a model is."""
        lineage = self.lineage(model)
        found = {name for name, role in (lineage[1].contests if lineage else {}).items() if role == "champion"}
        for event in self.log.events:
            if event.model == model and event.what == "promoted":
                found.add(str(event.more["contest"]))
            elif event.model == model and event.what == "deposed":
                found.discard(str(event.more["contest"]))
        return sorted(found)

    def rows(self, model: str = "") -> list[dict[str, Any]]:
        """The versions of one model or of all, each in one line of a list."""
        return [self._row(one) for one in self.versions(model)]

    def _row(self, one: Version) -> dict[str, Any]:
        card = one.card
        is_at_work = one.state in ("answers", "learns", "untrained")
        return {
            "model": one.model,
            "version": one.version,
            "state": one.state,
            "speaks_for": self.speaks_for(one.model) if is_at_work else [],
            "requested_ns": card.requested_ns if card is not None else 0,
            "trigger": card.trigger if card is not None else "",
            "rows": card.window.rows if card is not None else None,
            "seconds": card.seconds if card is not None else None,
            "size": card.size if card is not None else None,
            "parent": card.parent if card is not None else "",
            "holdout_ic": card.holdout.get("ic") if card is not None else None,
            **live_told(one.live),
        }

    def payload(self, version: str) -> bytes:
        """The payload of a version.

        Raises:
            RegistryError: it is gone, or not what its name says.
        """
        path = model_path(self.folder, version)
        try:
            payload = path.read_bytes()
        except OSError as error:
            raise RegistryError(f"{path}: expected a payload, found: {error.strerror}") from error
        if (found := content_name(payload)) != version:
            raise RegistryError(f"{path}: expected content with SHA-256 {version}, found {found}: it was damaged")
        return payload

    def find(self, text: str) -> Version | Lineage:
        """A version by the first digits of its hash, or a model by its name.

        Raises:
            RegistryError: no such, or several.
        """
        if text in self.models:
            lineage = self.lineage(text)
            if lineage is not None:
                return lineage[1]
            return self.version(text, self.answering(text))
        known = {version: card.model for version, card in self.cards.items()}
        known |= {version: model for model, version in self._lives if version}
        alike = sorted(version for version in known if version.startswith(text))
        if not alike or len(text) < SHORTEST:
            names = ", ".join(self.models) or "none"
            raise RegistryError(
                f"{self.folder}: expected {SHORTEST} or more digits that a version begins with, or one of the models "
                f"{names}, found {text!r}"
            )
        if len(alike) > 1:
            some = ", ".join(version[: len(text) + 4] for version in alike[:5])
            raise RegistryError(
                f"{self.folder}: expected digits that one version begins with, found {len(alike)} that begin with "
                f"{text}: {some}; give more digits"
            )
        return self.version(known[alike[0]], alike[0])

    def _since(self, version: str) -> int:
        card = self.cards.get(version)
        return card.requested_ns if card is not None else 0


def live_told(scores: Scores) -> dict[str, Any]:
    """Live scores as plain values; None where nothing was scored."""
    if not scores.count:
        return {"labels": 0, "ic": None, "rmse": None, "r2": None}
    return {
        "labels": scores.count,
        "ic": round(scores.ic, 6),
        "rmse": round(scores.rmse, 6),
        "r2": round(scores.r2, 6),
    }


def version_told(one: Version) -> dict[str, Any]:
    """A version with its card, live scores and life, as plain values."""
    return {
        "model": one.model,
        "version": one.version,
        "state": one.state,
        "has_payload": one.has_payload,
        "live": live_told(one.live),
        "card": msgspec.to_builtins(one.card),
        "life": _life(one.events),
    }


def lineage_told(shelf: Shelf, one: Lineage) -> dict[str, Any]:
    """A model with its versions, what became of it, and the trainings that failed, as plain values."""
    return {
        "model": one.model,
        "answers": shelf.answering(one.model),
        "card": msgspec.to_builtins(one),
        "speaks_for": shelf.speaks_for(one.model),
        "versions": shelf.rows(one.model),
        "life": _life(
            event
            for event in shelf.log.events
            if event.model == one.model and (not event.version or event.what in ("promoted", "deposed"))
        ),
    }


def _life(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Events as plain values; scores that follow each other are one."""
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else None
        if last is not None and last.what == event.what == "scored":
            sums = (msgspec.convert(one.more["sums"], Scores) for one in (last, event))
            more = {**event.more, "from_ns": last.more["from_ns"], "sums": merged(*sums).save()}
            found[-1] = msgspec.structs.replace(event, more=more)
        else:
            found.append(event)
    return [_event(event) for event in found]


def _event(event: Event) -> dict[str, Any]:
    """An event as plain values; of scores what a person reads."""
    more = dict(event.more)
    if event.what == "scored":
        more |= live_told(msgspec.convert(more.pop("sums"), Scores))
    about = {"version": event.version} if event.version else {}
    return {"what": event.what, "ns": event.ns, "seq": event.seq, **about, **more}


def told(folder: Path, text: str) -> dict[str, Any]:
    """What ``papertape models TEXT`` and ``/models/TEXT`` say, as plain values.

    Raises:
        RegistryError: no such version or model, or several.
    """
    shelf = Shelf(folder)
    found = shelf.find(text)
    return version_told(found) if isinstance(found, Version) else lineage_told(shelf, found)
