"""What a run is made of while it lives, and what a session of it begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from adapters.feed import Feed
from engine.core.engine import Engine
from engine.core.records import Record
from engine.learn.models import Models
from engine.live.config import AppConfig


class Kept(NamedTuple):
    """All that is in a snapshot; ``shown`` are the recent fills and the notable facts of the page."""

    engine: Engine
    models: Models
    feeds: dict[str, Feed]
    shown: tuple[list[dict[str, Any]], list[dict[str, Any]]]


class Told(NamedTuple):
    """What a recovery found, for people."""

    snapshot: str
    inputs: int
    facts: int
    completed: int
    seconds: float
    remarks: list[str]
    changed: list[str]


class Recovered(NamedTuple):
    """A run as it was when the last input was written down, and the facts that were not written down any more.

    ``changes``: what the configuration of the session that begins says otherwise, see ``carried``.
    """

    kept: Kept
    session: int
    tape: str
    tape_entries: int
    last_ns: int
    missing: list[Record]
    recent: list[Record]
    told: Told
    changes: list[str]


class RecoveryError(Exception):
    """The run in this folder cannot go on; the text says why and what to do. Nothing was changed."""


FRESH: Final = "or start anew with --fresh, which sets this run aside in old/"


def differences(old: Mapping[str, Any], new: AppConfig) -> list[str]:
    """The keys that decide what follows from an input and are not as they were, with both values.

    >>> from engine.live.config import parse_config
    >>> was = parse_config({"risk": {"allow_short": True}}, "test").plain()
    >>> differences(was, parse_config({"http": {"port": 1}}, "test"))
    ['risk.allow_short: was True, is False']
    """
    then, now = _deciding(old), _deciding(new.plain())
    return [
        f"{key}: was {then.get(key, 'absent')!r}, is {now.get(key, 'absent')!r}"
        for key in sorted({*then, *now})
        if then.get(key) != now.get(key)
    ]


CARRIED: Final = ("risk.", "strategy.")
"""Keys that may change between two sessions: the new one begins with a ``configure`` command that says so."""

KEPT_BY: Final = {
    "venue.": "books and orders are of the venues and symbols that the run began with",
    "paper.": "account, fees, latencies and queues so far follow from it",
    "model.": "what a model learned is of the settings that it learned under",
    "contest.": "the evidence so far is of the models and limits that it was gathered under",
    "side.": "what models learned of a stream is of what its rows meant",
    "run.": "every draw of chance so far follows from it",
}
"""Why keys of a section cannot change within a run."""


def refused(old: Mapping[str, Any], new: AppConfig) -> list[str]:
    """Of ``differences`` those with which the run cannot go on, each with its reason.

    >>> from engine.live.config import parse_config
    >>> was = parse_config({"paper": {"cash": {"USDT": "10"}}, "risk": {"allow_short": True}}, "test").plain()
    >>> refused(was, parse_config({"paper": {"cash": {"USDT": "20"}}}, "test"))
    ["paper.cash.USDT: was '10', is '20' (account, fees, latencies and queues so far follow from it)"]
    """
    return [
        f"{line} ({next(why for section, why in KEPT_BY.items() if line.startswith(section))})"
        for line in differences(old, new)
        if not line.startswith(CARRIED)
    ]


_SECTIONS: Final = ("venue", "paper", "risk", "strategy", "model", "contest", "side")
_OF_SIDE: Final = ("format", "rows", "fields", "time", "text", "key", "stale", "oldest")
"""Keys of a side stream that decide what its values mean; its limits may change."""

_ELSEWHERE: Final = ("ws_url", "rest_url", "transport", "market")
"""Keys of a venue that say where it is: the data are the same from there."""


def _deciding(plain: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"run.seed": plain.get("run", {}).get("seed")}
    for section in _SECTIONS:
        _flatten(section, plain.get(section), found)
    return {key: value for key, value in found.items() if _decides(key.split("."))}


def _decides(path: list[str]) -> bool:
    if path[0] == "venue":
        return path[2] not in _ELSEWHERE
    return path[0] != "side" or path[2] in _OF_SIDE


def _flatten(path: str, value: Any, found: dict[str, Any]) -> None:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            _flatten(f"{path}.{key}", inner, found)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for number, inner in enumerate(value):
            _flatten(f"{path}.{inner.get('name') or number}", inner, found)
    elif value not in ({}, [], None):
        found[path] = value
