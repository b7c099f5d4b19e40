"""What became of each model, a line an event, in a file that only grows.

A line is a print of 16 hex digits, a space, and an event as JSON. The print covers the line and the print before it, so
that a line which was altered, moved or taken out is found. A last line without its end is torn: the next writer cuts it
off.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

NAME: Final = "lives.log"
FIRST: Final = "0" * 16

_DIGITS: Final = len(FIRST)


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One event in the life of a model, or of one of its versions.

    ``ns`` is engine time and ``seq`` the number of the fact that told of it; both 0 for what is no fact. ``more`` are
    plain values that belong to the kind of event.
    """

    what: str
    model: str
    version: str = ""
    ns: int = 0
    seq: int = 0
    more: dict[str, Any] = {}


class Log(NamedTuple):
    """The events of a file; ``damage`` names lines that are not what was written, ``torn`` a last one without its end.

    ``end`` is where the whole lines end, in bytes, and ``last`` the print of the last of them.
    """

    events: list[Event]
    damage: list[str]
    torn: str
    end: int
    last: str


def lines(events: list[Event], last: str) -> tuple[bytes, str]:
    """Events as lines that follow a line with the print ``last``, and the print of the last of them.

    >>> text, print_ = lines([Event(what="swapped", model="net")], FIRST)
    >>> text.split(b" ", 1)[1]
    b'{"what":"swapped","model":"net"}\\n'
    """
    text = []
    for event in events:
        body = msgspec.json.encode(event, order="deterministic")
        last = _print(last, body)
        text.append(f"{last} ".encode() + body + b"\n")
    return b"".join(text), last


def read_log(path: Path) -> Log:
    """All events of a file, none where there is no file; an altered line is left out and named.

    Raises:
        OSError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    end = data.rfind(b"\n") + 1
    events, damage, last = [], [], FIRST
    for number, line in enumerate(data[:end].split(b"\n")[:-1], 1):
        head, body = line[:_DIGITS].decode("latin-1"), line[_DIGITS + 1 :]
        if head != _print(last, body) or line[_DIGITS : _DIGITS + 1] != b" ":
            damage.append(f"{path}: line {number}: expected the line that was written here, found another")
        else:
            try:
                events.append(msgspec.json.decode(body, type=Event))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                damage.append(f"{path}: line {number}: expected an event, found: {error}")
        last = head
    torn = f"{path}: {len(data) - end} bytes at its end are half a line" if end < len(data) else ""
    return Log(events, damage, torn, end, last)


def _print(last: str, body: bytes) -> str:
    return hashlib.blake2b(last.encode() + body, digest_size=_DIGITS // 2).hexdigest()
