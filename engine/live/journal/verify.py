"""Reads a whole journal and holds every frame against its checksum, its segment and the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec

from engine.live.journal.compaction import journal_bytes
from engine.live.journal.errors import Cut, JournalDamaged
from engine.live.journal.frames import (
    ENTRIES,
    Frame,
    Kind,
    crc_more,
    crc_of,
    decode_header,
    pack_check,
    pack_start,
    preamble,
    read_end,
    seq_of,
)
from engine.live.journal.reader import read
from engine.live.journal.segments import opened, salt_of

PROGRESS_FRAMES = 1 << 16


class Verified(msgspec.Struct, kw_only=True):
    """What a whole journal holds. ``begins`` is the first fact, 0 where there is none; ``cut`` a torn tail."""

    segments: int = 0
    compacted: int = 0
    frames: int = 0
    inputs: int = 0
    facts: int = 0
    marks: int = 0
    first_seq: int = 0
    last_seq: int = 0
    run: str = ""
    bytes: int = 0
    cut: Cut | None = None


def verify(folder: Path, progress: Callable[[int], None] | None = None) -> Verified:
    """Check all of a journal; the numbers of its facts follow one another from the first to the last.

    Raises:
        JournalDamaged: with the first place where it is not what was written.
        OSError: the folder cannot be read.
    """
    checker = _Checker(folder)
    found = checker.found
    found.bytes = journal_bytes(folder)

    def torn(cut: Cut) -> None:
        found.cut = cut

    for number, frame in enumerate(read(folder, on_cut=torn)):
        checker.take(frame)
        if progress is not None and number % PROGRESS_FRAMES == 0:
            progress(number)
    return found


class _Checker:
    """What the frames so far say of the next one."""

    def __init__(self, folder: Path) -> None:
        self.found = Verified()
        self._folder = folder
        self._next_entry: int | None = None
        self._last_seq: int | None = None
        self._entries = 0  # of the segment
        self._is_compacted = False
        self._salt = 0
        self._crc = 0

    def take(self, frame: Frame) -> None:
        found = self.found
        found.frames += 1
        match frame.kind:
            case Kind.HEADER:
                self._header(frame)
            case Kind.END:
                self._end(frame)
                return
            case Kind.FACT:
                self._fact(frame)
            case Kind.INPUT:
                found.inputs += 1
            case Kind.MARK:
                found.marks += 1
        self._entries += frame.kind in ENTRIES
        payload = frame.kind.value.encode() + frame.payload
        start = pack_start(len(payload), crc_of(payload))
        self._crc = crc_more(self._crc, start + pack_check(crc_more(self._salt, start)) + payload)

    def _header(self, frame: Frame) -> None:
        header = decode_header(frame.payload)
        number = frame.position.segment
        if self._next_entry not in (None, header.first):
            self._refuse(frame, f"a header that begins at entry {self._next_entry}", f"one that does at {header.first}")
        if self._last_seq not in (None, header.last_seq):
            self._refuse(frame, f"a header behind fact {self._last_seq}", f"one behind fact {header.last_seq}")
        file, segment = opened(self._folder, number)
        with file:
            self._salt = salt_of(segment, file)
        self._crc = crc_of(preamble(self._salt.to_bytes(4, "little")))
        self._next_entry, self._last_seq = header.first, header.last_seq
        self._entries, self._is_compacted = 0, header.compacted
        self.found.segments += 1
        self.found.compacted += header.compacted
        self.found.run = header.run

    def _fact(self, frame: Frame) -> None:
        found, seq = self.found, seq_of(frame.payload)
        if self._last_seq is not None and seq != self._last_seq + 1:
            self._refuse(frame, f"fact {self._last_seq + 1}", f"fact {seq}")
        self._last_seq = found.last_seq = seq
        found.first_seq = found.first_seq or seq
        found.facts += 1

    def _end(self, frame: Frame) -> None:
        said = read_end(frame.payload)
        counted = (self._entries, self._last_seq or 0, self._crc)
        if said != counted:
            expected = f"the end of {said.entries} entries up to fact {said.last_seq} with checksum {said.crc:08x}"
            self._refuse(frame, expected, f"{counted[0]} entries up to fact {counted[1]} with {counted[2]:08x}")
        # how many inputs a compacted segment had nobody knows any more
        self._next_entry = None if self._is_compacted else (self._next_entry or 0) + self._entries

    def _refuse(self, frame: Frame, expected: str, found: str) -> NoReturn:
        file, segment = opened(self._folder, frame.position.segment)
        file.close()
        raise JournalDamaged(str(segment.path), frame.position.offset, expected, found)
