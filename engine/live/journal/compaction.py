"""Makes a journal smaller: what lies before the last snapshot is kept without its inputs, compressed.

Pure work on files that nobody writes any more, about 0.25 s a segment of 64 MiB, most of it in Python: a daemon has it
done by a process of low priority, this module's own main. Interrupted at any point it leaves a whole journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from adapters.tape_bytes import compress_frame
from engine.live.beside import beside, serve
from engine.live.journal.disk import Disk
from engine.live.journal.errors import JournalDamaged, JournalNotWritten, Position
from engine.live.journal.frames import (
    End,
    Kind,
    crc_more,
    decode_header,
    end_payload,
    frame,
    header_payload,
    preamble,
    read_end,
    seq_of,
)
from engine.live.journal.reader import segment_frames
from engine.live.journal.segments import COMPACTED, PART, PLAIN, Segment, salt_of, seal_of, segment_path, segments

BLOCK: Final = 1 << 20
"""Bytes of a compressed block before compression: each has a checksum of its own."""


class Compacted(msgspec.Struct, frozen=True):
    """What a compaction did: numbers of segments, bytes of the whole journal before and after.

    ``warning`` is one line where the quota cannot be met, empty otherwise.
    """

    compacted: list[int]
    deleted: list[int]
    bytes_before: int
    bytes_after: int
    warning: str = ""


def journal_bytes(folder: Path) -> int:
    """Bytes of all its files."""
    total = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # renamed or removed meanwhile
            total += path.stat().st_size
    return total


def compact(
    folder: Path,
    before: Position,
    *,
    quota_bytes: int = 0,
    keep: str = "all",
    warn: Callable[[str], None] | None = None,
    disk: Disk | None = None,
) -> Compacted:
    """Rewrite the sealed segments that end before a position without their inputs, then look at the quota.

    ``before`` is where the oldest snapshot that may still be needed stands; nothing from there on is touched. With
    ``keep="quota"`` the oldest compacted segments are deleted, facts and all, until the journal fits; with ``"all"``
    none is, and ``warn`` hears that the quota is exceeded.

    Raises:
        JournalDamaged: a segment is not what was written; it is left as it is.
        JournalNotWritten: the disk refuses; the journal is whole.
    """
    disk = disk or Disk()
    try:
        bytes_before = journal_bytes(folder)
        sealed = segments(folder)[:-1]
        done = [one.number for one in sealed if one.number < before.segment and _compact(folder, one, disk)]
        deleted, size, warning = _within_quota(folder, before, quota_bytes, keep, disk)
    except JournalDamaged:
        raise
    except OSError as error:
        raise JournalNotWritten(str(error.filename or folder), error.strerror or str(error)) from error
    if warning and warn is not None:
        warn(warning)
    return Compacted(done, deleted, bytes_before, size, warning)


def wants(folder: Path, before: Position, quota_bytes: int) -> bool:
    """Whether ``compact`` would have anything to do or to say; cheap, for it only looks at names and sizes.

    Raises:
        JournalDamaged: a segment is missing.
        OSError: the folder cannot be read.
    """
    is_larger = bool(quota_bytes) and journal_bytes(folder) > quota_bytes
    return is_larger or any(one.suffix == PLAIN and one.number < before.segment for one in segments(folder)[:-1])


class _Order(msgspec.Struct, frozen=True):
    folder: str
    before: tuple[int, int]
    quota_bytes: int
    keep: str


class _Answer(msgspec.Struct, frozen=True):
    """One of the three."""

    done: Compacted | None = None
    damaged: tuple[str, int, str, str, str] | None = None
    refused: tuple[str, str, str] | None = None


async def compact_beside(folder: Path, before: Position, *, quota_bytes: int = 0, keep: str = "all") -> Compacted:
    """``compact`` in a process of its own, so that the loop goes on; cancelled, it leaves a whole journal.

    Raises:
        JournalDamaged, JournalNotWritten: as ``compact``.
        BesideError: the process ended without an answer.
    """
    order = _Order(str(folder), (before.segment, before.offset), quota_bytes, keep)
    data = await beside("engine.live.journal.compaction", msgspec.json.encode(order))
    answer = msgspec.json.decode(data, type=_Answer)
    if answer.damaged is not None:
        raise JournalDamaged(*answer.damaged)
    if answer.done is None:
        raise JournalNotWritten(*(answer.refused or (str(folder), "no answer", "")))
    return answer.done


def _served(data: bytes) -> bytes:
    order = msgspec.json.decode(data, type=_Order)
    try:
        before = Position(*order.before)
        answer = _Answer(done=compact(Path(order.folder), before, quota_bytes=order.quota_bytes, keep=order.keep))
    except JournalDamaged as error:
        answer = _Answer(damaged=(error.path, error.offset, error.expected, error.found, error.advice))
    except JournalNotWritten as error:
        answer = _Answer(refused=(error.path, error.found, error.advice))
    return msgspec.json.encode(answer)


def _compact(folder: Path, segment: Segment, disk: Disk) -> bool:
    """Whether there was something to do."""
    plain = segment_path(folder, segment.number)
    if segment.suffix == COMPACTED:
        if plain.exists():  # it was interrupted before the last step
            disk.remove(plain)
            disk.sync_folder(folder)
        return False
    if segment.suffix != PLAIN:
        return False
    part = segment_path(folder, segment.number, PART)
    disk.remove(part)
    file = disk.create(part)
    try:
        try:
            crc = 0
            for block in _rewritten(folder, segment):
                data = compress_frame(block)
                crc = crc_more(crc, data)
                disk.write_all(file, data)
            disk.write_all(file, seal_of(crc))
            disk.sync(file)
        finally:
            disk.close(file)
        disk.rename(part, segment_path(folder, segment.number, COMPACTED))
    except (OSError, JournalDamaged):
        with suppress(OSError):
            disk.remove(part)
        raise
    disk.sync_folder(folder)
    disk.remove(plain)
    disk.sync_folder(folder)
    return True


def _rewritten(folder: Path, segment: Segment) -> Iterator[bytes]:
    """The segment's frames without inputs, in blocks; the end says what the new bytes are."""
    with segment.path.open("rb") as file:
        salt = salt_of(segment, file)
    block = bytearray(preamble(salt.to_bytes(4, "little")))
    crc, entries, dropped, last_seq = 0, 0, 0, 0
    end: End | None = None
    for one in segment_frames(folder, segment.number):
        match one.kind:
            case Kind.INPUT:
                dropped += 1
                continue
            case Kind.HEADER:
                header = decode_header(one.payload)
                last_seq = header.last_seq
                block += frame(header_payload(msgspec.structs.replace(header, compacted=True)), salt)
            case Kind.END:
                end = read_end(one.payload)
                continue
            case _:
                entries += 1
                if one.kind is Kind.FACT:
                    last_seq = seq_of(one.payload)
                block += frame(one.kind.value.encode() + one.payload, salt)
        if len(block) >= BLOCK:
            data = bytes(block)
            crc = crc_more(crc, data)
            yield data
            block.clear()
    if end is None or end.entries != entries + dropped or end.last_seq != last_seq:
        found = "none" if end is None else f"{end.entries} entries up to fact {end.last_seq}"
        expected = f"an end frame of {entries + dropped} entries up to fact {last_seq}"
        raise JournalDamaged(str(segment.path), segment.path.stat().st_size, expected, found)
    data = bytes(block)
    yield data + frame(end_payload(End(entries, last_seq, crc_more(crc, data))), salt)


def _within_quota(folder: Path, before: Position, quota: int, keep: str, disk: Disk) -> tuple[list[int], int, str]:
    size = journal_bytes(folder)
    deleted: list[int] = []
    if not quota or size <= quota:
        return deleted, size, ""
    if keep == "quota":
        for one in segments(folder):
            if size <= quota or one.suffix != COMPACTED or one.number >= before.segment:
                break
            size -= one.path.stat().st_size
            disk.remove(one.path)
            deleted.append(one.number)
        disk.sync_folder(folder)
    if size <= quota:
        return deleted, size, ""
    why = "all that is left is needed to start again" if keep == "quota" else 'facts are kept (keep = "all")'
    advice = 'raise [journal] quota, or set keep = "quota"' if keep != "quota" else "raise [journal] quota"
    return deleted, size, f"{folder}: expected at most {quota:,} bytes, found {size:,}: {why}; {advice}"


if __name__ == "__main__":
    serve(_served)
