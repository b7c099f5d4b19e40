"""Reads a journal: a stream of frames in order, and where its last whole frame ends.

Only the tail may be torn: the last segment, or, after a loss of power, the last one that was known to be on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from engine.core.records import Record
from engine.live.journal.errors import Cut, JournalDamaged, Position
from engine.live.journal.frames import (
    ENTRIES,
    HEAD_BYTES,
    KINDS,
    PREAMBLE_BYTES,
    Broken,
    Frame,
    Header,
    Kind,
    crc_more,
    seq_of,
)
from engine.live.journal.segments import (
    COMPACTED,
    NEW,
    READ_BYTES,
    Segment,
    checked_header,
    frames,
    opened,
    salt_of,
    sealed_end,
    segments,
    size_of,
)

decode_record = msgspec.msgpack.Decoder(Record).decode
"""A fact with its place, from the payload of a ``Kind.FACT`` frame."""

NO_END = "no end frame, and a later segment"
ENDS_BEFORE = "a journal that ends before it"
EARLIER = "read from an earlier position: that of an older snapshot, or the beginning"


class Tail(msgspec.Struct, kw_only=True):
    """Where a journal ends, and what a writer that goes on must know.

    ``position``: the end of the last whole frame. ``cut``: what stands behind it. ``leftover``: files that came after
    a torn one. ``begun``: segments up to the tail that have no final name yet. ``is_empty``: a segment that was just
    begun and holds no header. ``crc``: CRC32C of the segment's bytes up to ``position``.
    """

    segment: Segment
    header: Header
    position: Position
    entries: int = 0
    last_seq: int = 0
    salt: int = 0
    crc: int = 0
    is_sealed: bool = False
    is_empty: bool = False
    cut: Cut | None = None
    leftover: list[Segment] = []
    begun: list[Segment] = []


def read(
    folder: Path, from_position: Position | None = None, *, on_cut: Callable[[Cut], None] | None = None
) -> Iterator[Frame]:
    """Every frame of a journal in order, from a position on, in constant memory.

    A torn tail ends the stream, and ``on_cut`` hears of it. It may be read while a daemon writes to it.

    Raises:
        JournalDamaged: also while iterating; what was given out before is right.
        OSError: the folder cannot be read.
    """
    found = segments(folder)
    begin = Position(found[0].number, 0) if found and from_position is None else from_position
    if begin is None:
        return
    found = _from(folder, found, begin)
    last_named = _last_named(found)
    for one in found:
        may_tear = one.number >= last_named
        is_sealed = False
        end = start = begin.offset if one.number == begin.segment else 0
        try:
            for frame in segment_frames(folder, one.number, start, may_tear=may_tear):
                yield frame
                is_sealed = frame.kind is Kind.END
                end = frame.end.offset
            if not is_sealed and one is not found[-1] and not _is_behind_end(folder, one.number, start):
                raise Broken(end, NO_END)
        except Broken as broken:
            if not may_tear:
                raise JournalDamaged(str(one.path), end, "the end frame of a sealed segment", "none") from broken
            cut = _cut(one, broken, [other for other in found if other.number > one.number])
            if cut is not None and on_cut is not None:
                on_cut(cut)
            return


def segment_frames(folder: Path, number: int, start: int = 0, *, may_tear: bool = False) -> Iterator[Frame]:
    """The frames of one segment from an offset on.

    Raises:
        JournalDamaged: a frame is not what was written.
        Broken: with ``may_tear`` only: it ends in no whole frame.
    """
    file, segment = opened(folder, number)
    with file:
        is_sealed = False
        if segment.suffix != COMPACTED and start > file.seek(0, 2):
            place = Position(number, start)
            raise JournalDamaged(str(segment.path), start, f"{place}", ENDS_BEFORE, EARLIER)
        for at, payload in frames(segment, file, start, is_tail=may_tear):
            if at == start or start == 0:
                start = -1
                if payload[:1] == b"H":
                    checked_header(segment, at, payload)
            if is_sealed:
                raise JournalDamaged(str(segment.path), at, "nothing after the end frame", f"{payload[:1]!r}")
            kind = KINDS[payload[0]]
            is_sealed = kind is Kind.END
            yield Frame(Position(number, at), kind, payload[1:])


def scan_tail(folder: Path) -> Tail | None:
    """Where a journal ends; None when there is none. Changes nothing, and reads the last segment only.

    Of the segments before it the last frame is looked at: it says that the segment was sealed.

    Raises:
        JournalDamaged: a segment is missing or not sealed, or the last one is damaged.
        OSError: the folder cannot be read.
    """
    found = segments(folder)
    last_named = _last_named(found)
    for at, segment in enumerate(found):
        is_last = at + 1 == len(found)
        if segment.suffix == COMPACTED:
            if is_last:
                raise JournalDamaged(str(segment.path), 0, "a later segment than a compacted one", "none")
            continue
        if not is_last:
            with segment.path.open("rb") as file:
                try:
                    if sealed_end(segment, file) is not None:
                        continue
                except Broken as broken:
                    if segment.number < last_named:
                        size = broken.offset
                        raise JournalDamaged(str(segment.path), size, "a sealed segment", broken.found) from broken
            if segment.number < last_named:
                for _ in segment_frames(folder, segment.number):  # finds where it is damaged
                    pass
                size = size_of(segment)
                raise JournalDamaged(str(segment.path), size, "the end frame of a sealed segment", "none")
        begun = [one for one in found[:at] if one.suffix == NEW]
        return _scan(segment, found[at + 1 :], begun)
    return None


def _scan(segment: Segment, later: Sequence[Segment], begun: list[Segment]) -> Tail:
    header: Header | None = None
    entries, last_seq, salt, is_sealed = 0, 0, 0, False
    end = 0
    cut: Cut | None = None
    with segment.path.open("rb") as file:
        try:
            salt = salt_of(segment, file)
            for at, payload in frames(segment, file, is_tail=True):
                kind = KINDS[payload[0]]
                if header is None:
                    header = checked_header(segment, at, payload)
                    last_seq = header.last_seq
                elif is_sealed:
                    raise JournalDamaged(str(segment.path), at, "nothing after the end frame", f"{payload[:1]!r}")
                if kind is Kind.FACT:
                    last_seq = seq_of(payload[1:])
                entries += kind in ENTRIES
                is_sealed = kind is Kind.END
                end = at + HEAD_BYTES + len(payload)
            if header is None and segment.suffix == NEW:
                raise Broken(end, "no header")
            if later and not is_sealed:
                raise Broken(end, NO_END)
        except Broken as broken:
            if header is None and segment.suffix != NEW:  # it got its name when it had a header
                raise JournalDamaged(str(segment.path), broken.offset, "a segment's header", broken.found) from broken
            cut = _cut(segment, Broken(end, broken.found), later)
        if header is None and segment.suffix != NEW:
            raise JournalDamaged(str(segment.path), PREAMBLE_BYTES, "a segment's header", "the end of the file")
        crc, left = 0, end
        file.seek(0)
        while left:
            data = file.read(min(left, READ_BYTES))
            crc = crc_more(crc, data)
            left -= len(data)
    return Tail(
        segment=segment,
        header=header or Header(segment=segment.number, first=0, last_seq=0, opened_ns=0),
        position=Position(segment.number, end),
        entries=entries,
        last_seq=last_seq,
        salt=salt,
        crc=crc,
        is_sealed=is_sealed,
        is_empty=header is None,
        cut=cut,
        leftover=list(later),
        begun=begun,
    )


def _is_behind_end(folder: Path, number: int, start: int) -> bool:
    """Whether a position is that behind the end frame of a sealed segment: there is nothing left to read in it."""
    file, segment = opened(folder, number)
    with file:
        return start > 0 and start == file.seek(0, 2) and sealed_end(segment, file) is not None


def _last_named(found: Sequence[Segment]) -> int:
    return max((one.number for one in found if one.suffix != NEW), default=0)


def _from(folder: Path, found: list[Segment], begin: Position) -> list[Segment]:
    if found and begin.segment < found[0].number:
        have = f"segments from {found[0].number} on: older ones were deleted"
        raise JournalDamaged(str(folder), 0, f"{begin}", have, "read from a later position")
    found = [one for one in found if one.number >= begin.segment]
    if not found:
        raise JournalDamaged(str(folder), 0, f"{begin}", ENDS_BEFORE, EARLIER)
    return found


def _cut(segment: Segment, broken: Broken, later: Sequence[Segment]) -> Cut | None:
    """What is lost behind the last whole frame, later segments included: they came after it.

    None when it is nothing: a process may be killed between the making of a file and its first byte.
    """
    lost = max(0, size_of(segment) - broken.offset) + sum(map(size_of, later))
    why = broken.found
    if later:
        names = ", ".join(one.path.name for one in later)
        why = f"{why}; and {names}, begun before this one was known to be on the disk"
    return Cut(Position(segment.number, broken.offset), lost, why) if lost else None
