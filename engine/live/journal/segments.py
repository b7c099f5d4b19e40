"""The files of a journal: their names and order, their first and last frames, the frames of one of them.

``00000007.ptj`` is a segment, ``00000007.ptj.zst`` the same compacted. ``00000008.ptj.new`` is one that was begun
before the one in front of it was known to be on the disk: it gets its name when that is so. So every segment with a
plain name is followed by another only if it is sealed and durable, and a defect in it is damage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from adapters.tape_bytes import Torn, pieces
from engine.live.journal.errors import JournalDamaged
from engine.live.journal.frames import (
    END_BYTES,
    PREAMBLE_BYTES,
    Broken,
    End,
    Header,
    crc_more,
    crc_of,
    decode_header,
    head_at,
    pack_check,
    read_end,
    read_preamble,
    walk,
)
from engine.live.journal.resync import whole_frame_after

PLAIN, COMPACTED, NEW, PART = ".ptj", ".ptj.zst", ".ptj.new", ".ptj.zst.part"
READ_BYTES: Final = 1 << 20
SKIPPED: Final = b"\x50\x2a\x4d\x18"
SEAL_BYTES: Final = 12
WHOLE: Final = "a whole frame"
_NAME: Final = re.compile(r"(\d{8})(\.ptj(?:\.zst|\.new)?)")


class Segment(NamedTuple):
    """One file of a journal."""

    number: int
    suffix: str
    path: Path


def segment_path(folder: Path, number: int, suffix: str = PLAIN) -> Path:
    """
    >>> segment_path(Path("j"), 7).name
    '00000007.ptj'
    """
    return folder / f"{number:08d}{suffix}"


def segments(folder: Path) -> list[Segment]:
    """The files of a journal in order; of a segment and its compacted copy the copy, which is whole once it is there.

    Raises:
        JournalDamaged: a number is missing between two that are there.
        OSError: the folder cannot be read.
    """
    found: dict[int, Segment] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            number = int(match[1])
            if number not in found or match[2] == COMPACTED:
                found[number] = Segment(number, match[2], path)
    for number in range(min(found, default=0), max(found, default=0)):
        if number in found:
            continue
        try:  # a name that changed while the folder was read may have been missed
            file, found[number] = opened(folder, number)
        except FileNotFoundError:
            missing = str(segment_path(folder, number))
            raise JournalDamaged(missing, 0, "this segment, as later ones are there", "no file") from None
        file.close()
    return [found[number] for number in sorted(found)]


def size_of(segment: Segment) -> int:
    """Bytes of a file that the daemon may rename meanwhile; 0 when it is gone."""
    for path in (segment.path, segment_path(segment.path.parent, segment.number)):
        try:
            return path.stat().st_size
        except FileNotFoundError:
            continue
    return 0


def opened(folder: Path, number: int) -> tuple[BinaryIO, Segment]:
    """Open a segment for reading under the name that it has now; the daemon may rename it meanwhile.

    Raises:
        FileNotFoundError: it has none.
    """
    for suffix in (PLAIN, COMPACTED, NEW, PLAIN, COMPACTED):
        path = segment_path(folder, number, suffix)
        try:
            return path.open("rb"), Segment(number, suffix, path)
        except FileNotFoundError:
            continue
    raise FileNotFoundError(2, "No such file", str(segment_path(folder, number)))


def salt_of(segment: Segment, file: BinaryIO) -> int:
    """The salt of an open segment.

    Raises:
        JournalDamaged: its preamble is none.
        Broken: it is cut off.
    """
    file.seek(0)
    data = b""
    try:
        data = next(pieces(file), b"")[:PREAMBLE_BYTES] if segment.suffix == COMPACTED else file.read(PREAMBLE_BYTES)
        return read_preamble(data)
    except Torn as torn:
        raise JournalDamaged(str(segment.path), 0, "a compacted segment", torn.found) from torn
    except Broken as broken:
        if broken.is_incomplete or (segment.suffix == NEW and not any(data)):
            raise
        raise JournalDamaged(str(segment.path), 0, "the preamble of a segment", broken.found) from broken


def frames(segment: Segment, file: BinaryIO, offset: int = 0, *, is_tail: bool = False) -> Iterator[tuple[int, bytes]]:
    """Offset and payload (with the byte of its kind) of each frame of an open segment, from a frame's offset on.

    Raises:
        JournalDamaged: a frame is not what was written.
        Broken: in the tail only: it ends in something that is no whole frame, with nothing whole behind it.
    """
    if segment.suffix == COMPACTED:
        yield from _compacted_frames(segment, file, offset)
        return
    try:
        salt = salt_of(segment, file)
        start = max(offset, PREAMBLE_BYTES)
        file.seek(start)
        yield from walk(iter(lambda: file.read(READ_BYTES), b""), salt, start)
    except Broken as broken:
        if is_tail and (broken.is_incomplete or broken.offset < PREAMBLE_BYTES):
            raise
        later = None if broken.is_incomplete else whole_frame_after(file, salt, broken.offset + 1)
        if is_tail and later is None:
            raise
        found = broken.found if later is None else f"{broken.found}, and a whole frame at byte {later}"
        raise JournalDamaged(str(segment.path), broken.offset, WHOLE, found) from broken


def _compacted_frames(segment: Segment, file: BinaryIO, offset: int) -> Iterator[tuple[int, bytes]]:
    name = str(segment.path)
    file.seek(0)
    blocks = pieces(file, verified=True)
    at = 0
    try:
        first = next(blocks, b"")
        salt = read_preamble(first[:PREAMBLE_BYTES])

        def after_preamble() -> Iterator[bytes]:
            yield first[PREAMBLE_BYTES:]
            yield from blocks

        is_reached = offset <= PREAMBLE_BYTES
        for at, payload in walk(after_preamble(), salt, PREAMBLE_BYTES):
            is_reached = is_reached or at == offset
            if is_reached:
                yield at, payload
        _check_seal(segment, file)
        if not is_reached:
            found = "none there: it was compacted since, which moved them"
            raise JournalDamaged(name, offset, "a frame", found, "read from an earlier or a later segment's begin")
    except Torn as torn:
        raise JournalDamaged(name, torn.offset, "a whole compacted segment", torn.found) from torn
    except Broken as broken:
        raise JournalDamaged(name, broken.offset, WHOLE, f"{broken.found} (decompressed)") from broken


def seal_of(crc: int) -> bytes:
    """The last bytes of a compacted segment: a frame that zstd skips, with the CRC32C of all compressed bytes before.

    It finds what zstd overlooks, such as a flipped bit between its blocks that changes nothing.
    """
    return SKIPPED + pack_check(4) + pack_check(crc)


def _check_seal(segment: Segment, file: BinaryIO) -> None:
    left = file.seek(0, 2) - SEAL_BYTES
    crc = 0
    file.seek(0)
    while left > 0:
        data = file.read(min(left, READ_BYTES))
        crc = crc_more(crc, data)
        left -= len(data)
    if file.read() != seal_of(crc):
        at = file.tell() - SEAL_BYTES
        raise JournalDamaged(str(segment.path), at, "the checksum of a compacted segment", "another")


def checked_header(segment: Segment, at: int, payload: bytes) -> Header:
    """A header from its frame.

    Raises:
        JournalDamaged: it is another frame, or another segment's.
    """
    try:
        if payload[:1] != b"H":
            raise ValueError(f"a frame of kind {payload[:1]!r}")
        header = decode_header(payload[1:])
        if header.segment != segment.number:
            raise ValueError(f"that of segment {header.segment}: the file has another's name")
    except (msgspec.MsgspecError, ValueError) as error:
        raise JournalDamaged(str(segment.path), at, f"the header of segment {segment.number}", str(error)) from error
    return header


def sealed_end(segment: Segment, file: BinaryIO) -> End | None:
    """What the last frame of an open plain segment says, None when it is not sealed; the cheap check of a segment."""
    size = file.seek(0, 2)
    at = size - END_BYTES
    if at < PREAMBLE_BYTES:
        return None
    salt = salt_of(segment, file)
    file.seek(at)
    data = file.read(END_BYTES)
    head = head_at(data, 0, salt)
    payload = data[END_BYTES - (head[0] if head else 0) :]
    if head is None or payload[:1] != b"e" or crc_of(payload) != head[1]:
        return None
    try:
        return read_end(payload[1:])
    except ValueError:
        return None
