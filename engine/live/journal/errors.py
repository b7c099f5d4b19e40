"""What can be wrong with a journal: it cannot be written, it is damaged, or its last frame was cut off."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

DAMAGE_ADVICE = (
    "nothing was changed: put back a copy of this file, or move the whole folder away and start without this past"
)
"""What can be done with damage. Nothing is skipped: what follows a lost fact does not follow from what is left."""


class Position(NamedTuple):
    """A place between two frames: the segment's number and the byte offset in it of the frame that comes next.

    Positions compare in the order of the journal. In a compacted segment the offset counts decompressed bytes.

    >>> Position(1, 900) < Position(2, 28)
    True
    """

    segment: int
    offset: int

    def __str__(self) -> str:
        return f"segment {self.segment}, byte {self.offset:,}"


class Cut(msgspec.Struct, frozen=True):
    """A torn tail: from ``position`` on ``bytes`` bytes were no whole frame, and nothing whole came after them."""

    position: Position
    bytes: int
    why: str

    def __str__(self) -> str:
        return f"the last {self.bytes:,} bytes from {self.position} on: {self.why}"


class JournalDamaged(Exception):
    """Some bytes are not those that were written, and it is no torn tail; one line says where and what can be done.

    ``path`` is the file, ``offset`` the byte where the damaged frame begins (in a compacted segment: near it).

    >>> print(JournalDamaged("00000001.ptj", 812, "a whole frame", "a checksum that does not hold", "stop"))
    00000001.ptj: byte 812: expected a whole frame, found a checksum that does not hold; stop
    """

    def __init__(self, path: str, offset: int, expected: str, found: str, advice: str = DAMAGE_ADVICE) -> None:
        super().__init__(f"{path}: byte {offset}: expected {expected}, found {found}; {advice}")
        self.path = path
        self.offset = offset
        self.expected = expected
        self.found = found
        self.advice = advice

    def __reduce__(self) -> tuple[Any, ...]:  # it may come out of another process
        return type(self), (self.path, self.offset, self.expected, self.found, self.advice)


class JournalNotWritten(OSError):
    """The disk takes no more of the journal; one line says which and why. What was committed before is whole.

    >>> print(JournalNotWritten("00000001.ptj", "No space left on device", "free some"))
    00000001.ptj: expected room for the journal, found: No space left on device; free some
    """

    def __init__(self, path: str, found: str, advice: str = "") -> None:
        advice = advice or "free space or mend the disk, then start again: all facts told so far are safe"
        super().__init__(f"{path}: expected room for the journal, found: {found}; {advice}")
        self.path = path
        self.found = found
        self.advice = advice

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.found, self.advice)
