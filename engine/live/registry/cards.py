"""The two kinds of card: of a training, which gave one payload, and of a lineage, a model under one set of settings.

A card is written once and never changed; what becomes of a version afterwards is in the log.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

import engine
from engine.learn.contract import FOREIGN, Model, ModelSettings, model_class
from engine.learn.jobs import LentJob, Seen, TrainJob
from engine.learn.slot import Slot
from engine.live.recovery.code_print import code_print, module_print
from engine.live.registry.payloads import Part, parts

CARD: Final = "papertape model card 1"
LINEAGE: Final = "papertape lineage 1"

TRAINERS: Final = ("torch", "lightgbm", "scikit-learn", "safetensors")
"""Libraries that decide what a training gives, besides those of the code's print."""


class Features(msgspec.Struct, frozen=True):
    """What a model sees: as the settings name it, how many numbers, and the hash of all that they mean."""

    named: str
    width: int
    sha256: str


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a run under one set of settings, features and code; all its versions refer to it.

    ``trains``: it gets payloads from trainings; one that does not learns from each label and has no versions. ``seed``
    is the run's, ``code`` the print of each part of the program and the versions of libraries. ``contests`` says by
    name what it began as, ``champion`` or ``challenger``.
    """

    format: str = LINEAGE
    model: str
    use: str
    symbol: str
    labels: tuple[str, ...]
    trains: bool
    features: Features
    names: tuple[str, ...]
    seed: int
    contests: dict[str, str]
    settings: dict[str, Any]
    settings_sha256: str
    papertape: str
    code: dict[str, str]


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One training: what came out, of what, when and why.

    ``version`` is the SHA-256 of the payload. ``trigger`` is the cause of the request and ``requested_ns`` its engine
    time; ``seconds`` what it took, by the wall. ``parent`` answered when it came back, "" for none. ``holdout`` are the
    scores on rows that were kept from the training, where the payload tells them; ``parts`` the networks in it.
    ``lineage`` is "" where the run has no such model.
    """

    format: str = CARD
    version: str
    size: int
    model: str
    use: str
    symbol: str
    labels: tuple[str, ...]
    horizon_ns: int
    features: Features
    window: Seen
    seed: int
    settings_sha256: str
    lineage: str
    papertape: str
    code_sha256: str
    trigger: str
    requested_ns: int
    seconds: float
    parent: str
    holdout: dict[str, float | None]
    parts: tuple[Part, ...]


CardT = TypeVar("CardT", Card, Lineage)


class CardError(ValueError):
    """A file that is no card; the text says what was expected and found."""


def encode(card: Card | Lineage) -> bytes:
    """The bytes of a card: JSON that a person can read, the same for the same content."""
    return msgspec.json.format(msgspec.json.encode(card, order="deterministic"), indent=1) + b"\n"


def read_card(data: bytes) -> Card:
    """A card of a training.

    Raises:
        CardError: it is none, or of another format.
    """
    return _read(data, Card, CARD)


def read_lineage(data: bytes) -> Lineage:
    """A card of a lineage.

    Raises:
        CardError: it is none, or of another format.

    >>> read_lineage(b'{"format": "papertape lineage 9"}')
    Traceback (most recent call last):
    engine.live.registry.cards.CardError: expected 'papertape lineage 1', found 'papertape lineage 9'
    """
    return _read(data, Lineage, LINEAGE)


def _read(data: bytes, kind: type[CardT], name: str) -> CardT:
    try:
        found = msgspec.json.decode(data, type=_Format).format
        if found != name:
            raise CardError(f"expected {name!r}, found {found!r}")
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CardError(f"expected a card ({name}), found {len(data)} bytes: {error}") from error


class _Format(msgspec.Struct):
    format: str


def settings_print(settings: ModelSettings) -> str:
    """SHA-256 over all settings of a model."""
    return hashlib.sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()


def code_of(model: Model, base: Mapping[str, str]) -> dict[str, str]:
    """The print of the program, of a model's own module where that is somebody else's, and of what trains."""
    use, modules = model.settings.use, {type(model).__module__}
    if ":" in use and not use.startswith(tuple(FOREIGN)):  # it may be behind a wrapper of ours
        modules.add(use.partition(":")[0])
    return dict(base) | {one: module_print(one) for one in sorted(modules) if not one.startswith("engine.")}


def program() -> dict[str, str]:
    """The print of this program and the versions of the libraries that are installed."""
    found = code_print()
    for library in TRAINERS:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def code_sha256(code: Mapping[str, str]) -> str:
    """One print for all parts."""
    return hashlib.sha256(msgspec.json.encode(dict(code), order="sorted")).hexdigest()


def features_of(settings: ModelSettings, width: int, sha256: str) -> Features:
    """What the settings name, or else the set that the model names itself."""
    named = settings.features or model_class(settings.use).features
    return Features(named if isinstance(named, str) else ", ".join(named), width, sha256)


def lineage_of(slot: Slot, code: Mapping[str, str]) -> Lineage:
    """The lineage of a running model; ``code`` is what ``program`` gave."""
    model = slot.model
    settings, names = model.settings, model.names
    return Lineage(
        model=settings.name,
        use=settings.use,
        symbol=settings.symbol,
        labels=tuple(map(str, settings.targets)),
        trains=model.is_trained,
        features=features_of(settings, len(names), slot.features.hash),
        names=names,
        seed=slot.seed,
        contests={
            one.settings.name: "champion" if one.settings.champion == settings.name else "challenger"
            for one in slot.contests
        },
        settings=msgspec.to_builtins(settings),
        settings_sha256=settings_print(settings),
        papertape=engine.__version__,
        code=code_of(model, code),
    )


def card_of(
    job: TrainJob | LentJob,
    seen: Seen,
    payload: bytes,
    *,
    lineage: str = "",
    code: Mapping[str, str],
    trigger: str = "",
    requested_ns: int = 0,
    seconds: float = 0.0,
    parent: str = "",
) -> Card:
    """The card of what a job gave."""
    settings = job.settings
    inside = parts(payload, job.features)
    return Card(
        version=hashlib.sha256(payload).hexdigest(),
        size=len(payload),
        model=settings.name,
        use=settings.use,
        symbol=settings.symbol,
        labels=tuple(map(str, settings.targets)),
        horizon_ns=settings.horizon_ns,
        features=features_of(settings, len(job.names), job.features),
        window=seen,
        seed=job.seed,
        settings_sha256=settings_print(settings),
        lineage=lineage,
        papertape=engine.__version__,
        code_sha256=code_sha256(code),
        trigger=trigger,
        requested_ns=requested_ns,
        seconds=round(seconds, 3),
        parent=parent,
        holdout=dict(inside[0].holdout) if len(inside) == 1 else {},
        parts=inside,
    )
