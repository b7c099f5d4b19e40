"""The present as channels of Redis: programs that subscribe hear what changed, and read the hashes for what is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from engine.live.redis_fence import Words

CHANNEL: Final = "changed"
"""``PREFIX:RUN:changed:WHAT``."""


class Channels:
    """What each channel was told last. ``key`` makes a name of this run.

    >>> made = Channels(lambda *words: ":".join(words))
    >>> made.commands({"positions": {"s v:X": "1", "s v:Y": "2"}})
    [('PUBLISH', 'changed:positions', b'{"s v:X":"1","s v:Y":"2"}')]
    >>> made.taken()
    >>> made.commands({"positions": {"s v:X": "1", "s v:Z": "3"}})
    [('PUBLISH', 'changed:positions', b'{"s v:Y":null,"s v:Z":"3"}')]
    """

    def __init__(self, key: Callable[..., str]) -> None:
        self._key = key
        self._told: dict[str, dict[str, str]] = {}
        self._asked: dict[str, dict[str, str]] = {}

    def commands(self, present: Mapping[str, Mapping[str, str]]) -> list[Words]:
        """One message a channel on which something changed: JSON, the new value by its field, null for what went.

        What is not told ``taken`` is said again the next time: nobody heard of it, or some did twice.
        """
        self._asked = {what: dict(fields) for what, fields in present.items()}
        found: list[Words] = []
        for what, fields in self._asked.items():
            before = self._told.get(what, {})
            names = sorted({*before, *fields})
            changed = {name: fields.get(name) for name in names if fields.get(name) != before.get(name)}
            if changed:
                found.append(("PUBLISH", self._key(CHANNEL, what), msgspec.json.encode(changed)))
        return found

    def taken(self) -> None:
        """Redis has what was asked last."""
        self._told |= self._asked
