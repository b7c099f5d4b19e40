"""What a tape says of itself, and how a bad one is reported."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.core.types import Instrument

FORMAT_VERSION = 1
"""Of Papertape's own tape; a reader refuses a newer one."""

TORN_ADVICE = "; replay --torn plays what is whole"
"""What can be done with a tape that has no end."""


class TapeError(Exception):
    """A file that is no tape, or not a whole one.

    ``path`` is the file, ``where`` the line, entry or byte, ``expected`` and ``found`` say what is wrong with it.

    >>> print(TapeError("a.ptz", "line 3", "a receive time in ns", "'abc'"))
    a.ptz: line 3: expected a receive time in ns, found 'abc'
    """

    def __init__(self, path: str, where: str, expected: str, found: str) -> None:
        super().__init__(f"{path}: {where}: expected {expected}, found {found}")
        self.path = path
        self.where = where
        self.expected = expected
        self.found = found


class TapeNotWritten(OSError):
    """The disk takes no more of a tape; one line says which and why. What was stored before, if anything, is whole.

    >>> print(TapeNotWritten("a.ptz", "No space left on device"))
    a.ptz: expected room for the tape, found: No space left on device
    """

    def __init__(self, path: str, found: str, advice: str = "") -> None:
        super().__init__(f"{path}: expected room for the tape, found: {found}{advice}")


class VenueHeader(msgspec.Struct, frozen=True):
    """One venue on a tape: the registered name of its adapter (empty: none knows it) and the venue's own symbols."""

    use: str
    symbols: list[str]


class TapeHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay must know before the first entry.

    ``config`` is the whole configuration of the run as plain values, without secrets; ``instruments`` are as the run
    resolved them when it started. Both are empty on a tape that others recorded. ``started_ns`` is ns UTC. ``session``
    counts the starts of a run: a tape with 2 or more goes on where the one before it in its folder ended.
    """

    started_ns: int
    venues: dict[str, VenueHeader]
    config: dict[str, Any] = {}
    instruments: list[Instrument] = []
    papertape: str = ""
    session: int = 1
    format: int = FORMAT_VERSION


def shown(data: bytes, limit: int = 60) -> str:
    """The start of some bytes as text fit for one line of an error.

    >>> shown(b"\\x89PNG"), shown(b"")
    ("b'\\\\x89PNG'", 'nothing')
    """
    if not data:
        return "nothing"
    return f"{data[:limit]!r}{'…' if len(data) > limit else ''}"
