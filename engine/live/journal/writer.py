"""Writes a journal: entries are appended to memory, ``commit`` hands them to the operating system in one write.

After ``commit`` returned, a killed process loses nothing; after the next fsync a loss of power does not either. Both
are cheap for the caller: the fsync has a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

import engine
from engine.core.records import Record, encode
from engine.live.journal.disk import Disk
from engine.live.journal.errors import Cut, JournalNotWritten, Position
from engine.live.journal.frames import (
    End,
    Header,
    crc_more,
    crc_of,
    end_payload,
    frame,
    header_payload,
    pack_check,
    pack_start,
    preamble,
)
from engine.live.journal.reader import Tail, scan_tail
from engine.live.journal.segments import NEW, PART, segment_path
from engine.live.journal.syncing import Sealed, Syncer, Written

encode_mark: Final = msgspec.msgpack.Encoder(order="sorted").encode


class JournalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``sync_every_ns``: 0 after each commit, None only when a segment is full, at the stop, and when asked.

    ``segment_bytes``: a segment that has as many is sealed. ``quota_bytes``: see ``compact``; 0 is no quota.
    """

    sync_every_ns: int | None = 1_000_000_000
    segment_bytes: int = 64 << 20
    quota_bytes: int = 4 << 30
    keep: str = "all"


class Journal:
    """One open journal; all methods belong to one thread, and none of them waits for an fsync but ``close``.

    ``position`` is the end of what is committed, ``durable`` of what survives a loss of power, ``last_seq`` the number
    of the last fact appended, ``entries`` how many inputs, facts and marks the run has. ``cut`` says what ``open`` cut
    off. ``digest`` is asked for the run's digest when a segment begins.

    Raises:
        JournalNotWritten: by ``open``, ``commit`` and ``close``: the disk refuses. It stays so until opened anew.
    """

    def __init__(
        self, folder: Path, settings: JournalSettings, disk: Disk, run: str, digest: Callable[[], str] | None
    ) -> None:
        """See ``open``."""
        self.folder = folder
        self.settings = settings
        self.cut: Cut | None = None
        self.last_seq = 0
        self._run = run
        self._digest = digest
        self._disk = disk
        self._pending: list[bytes] = []
        self._failure: JournalNotWritten | None = None
        self._is_closed = False
        self._number = 0
        self._file = -1
        self._path = folder
        self._salt = 0
        self._size = 0  # of the segment, bytes
        self._crc = 0  # of those bytes
        self._first = 0  # entries of the run before the segment
        self._entries = 0  # in the segment, committed
        self._appended = 0  # not committed yet
        self._written = 0  # bytes since it was opened
        self._syncer: Syncer

    @classmethod
    def open(
        cls,
        folder: Path,
        settings: JournalSettings | None = None,
        *,
        run: str = "",
        digest: Callable[[], str] | None = None,
        disk: Disk | None = None,
    ) -> Journal:
        """Begin a journal, or go on behind the last whole frame of one; a torn tail is cut off and told as ``cut``.

        Reads the last segment only. The caller holds the daemon's lock: two writers would spoil it.

        Raises:
            JournalDamaged: what is there is damaged; nothing was changed.
            JournalNotWritten: the disk refuses.
        """
        made = cls(folder, settings or JournalSettings(), disk or Disk(), run, digest)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tail = scan_tail(folder)
            made._resume(tail)
        except JournalNotWritten:
            raise
        except OSError as error:
            raise JournalNotWritten(str(error.filename or folder), error.strerror or str(error)) from error
        written = Written(made.position, 0)
        made._syncer = Syncer(made._disk, made._file, made._path, written, made.settings.sync_every_ns)
        return made

    @property
    def position(self) -> Position:
        return Position(self._number, self._size)

    @property
    def durable(self) -> Position:
        return self._syncer.durable.position

    @property
    def entries(self) -> int:
        return self._first + self._entries + self._appended

    @property
    def backlog_bytes(self) -> int:
        """Committed bytes that no fsync has covered yet."""
        return self._syncer.backlog

    @property
    def written_bytes(self) -> int:
        """Bytes committed since it was opened."""
        return self._written

    @property
    def synced_ns(self) -> int:
        """When the last fsync ended, ns UTC; 0: none yet."""
        return self._syncer.synced_ns

    @property
    def longest_sync_ns(self) -> int:
        return self._syncer.longest_ns

    @property
    def syncs(self) -> int:
        """Calls of fsync since it was opened."""
        return self._syncer.count

    @property
    def failure(self) -> JournalNotWritten | None:
        """Why nothing is written any more; also when only the fsync failed."""
        return self._failure or self._syncer.failure

    def sync_every(self, every_ns: int | None) -> None:
        """Have it made durable at another interval from here on, see ``JournalSettings``."""
        self.settings = msgspec.structs.replace(self.settings, sync_every_ns=every_ns)
        self._syncer.sync_every(every_ns)

    def input(self, line: bytes) -> None:
        """Append an entry of the tape, as ``encode_entry`` gives it without the newline."""
        self._pending.append(frame(b"i" + line, self._salt))
        self._appended += 1

    def facts(self, records: Sequence[Record]) -> None:
        """Append records, in the encoding that the digest is taken over.

        Raises:
            ValueError: their numbers do not follow on those before.
        """
        if not records:
            return
        expected, first, last = self.last_seq + 1, records[0].seq, records[-1].seq
        if first != expected or last - first + 1 != len(records):
            raise ValueError(f"expected facts from number {expected} on, found {len(records)} from {first} to {last}")
        pending, salt = self._pending, self._salt
        for record in records:
            payload = b"f" + encode(record)
            start = pack_start(len(payload), crc_of(payload))
            pending.append(start + pack_check(crc_more(salt, start)) + payload)
        self.last_seq = last
        self._appended += len(records)

    def mark(self, fields: Mapping[str, Any]) -> None:
        """Append a remark, such as where a snapshot is, or what the digest was."""
        self._pending.append(frame(b"m" + encode_mark(fields), self._salt))
        self._appended += 1

    def commit(self) -> None:
        """Hand all that was appended to the operating system; when it returns, a killed process loses none of it.

        Raises:
            JournalNotWritten: nothing of this commit counts as written, and no later one will.
        """
        if (failure := self.failure) is not None:
            raise failure
        if not self._pending:
            return
        data = b"".join(self._pending) if len(self._pending) > 1 else self._pending[0]
        try:
            self._disk.write_all(self._file, data)
        except OSError as error:
            self._fail(error)
        self._pending.clear()
        self._size += len(data)
        self._written += len(data)
        self._crc = crc_more(self._crc, data)
        self._entries += self._appended
        self._appended = 0
        self._syncer.committed(Written(Position(self._number, self._size), self._written))
        if self._size >= self.settings.segment_bytes:
            self._rotate()

    async def wait_durable(self, position: Position | None = None) -> None:
        """Wait, without holding the loop up, until a position (all that is committed) survives a loss of power.

        Raises:
            JournalNotWritten: it never will.
        """
        done = asyncio.Event()
        self.when_durable(position or self.position, done.set)
        await done.wait()
        if self._syncer.failure is not None:
            raise self._syncer.failure

    def when_durable(self, position: Position, call: Callable[[], None]) -> None:
        """Have the running loop call when a position survives a loss of power, or never will: see ``failure``."""
        loop = asyncio.get_running_loop()

        def soon() -> None:
            with suppress(RuntimeError):  # the loop is over: nobody waits any more
                loop.call_soon_threadsafe(call)

        self._syncer.when_durable(position, soon)

    def sync(self) -> None:
        """The same for a thread that may wait.

        Raises:
            JournalNotWritten: it never will.
        """
        done = threading.Event()
        self._syncer.when_durable(self.position, done.set)
        done.wait()
        if self._syncer.failure is not None:
            raise self._syncer.failure

    def close(self) -> None:
        """Commit what is pending, make all durable, close the file. A second call does nothing.

        Raises:
            JournalNotWritten: the disk refuses.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._failure is None:
                self.commit()
        finally:
            self._syncer.close()
            with suppress(OSError):
                self._disk.close(self._file)
        if self.failure is not None:
            raise self.failure

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fail(self, error: OSError) -> None:
        """Take back what was written in part, and refuse from here on."""
        with suppress(OSError):  # what cannot be taken back is a torn tail, which the next open cuts off
            self._disk.truncate(self._file, self._size)
        self._failure = JournalNotWritten(str(self._path), error.strerror or str(error))
        raise self._failure from error

    def _rotate(self) -> None:
        """Seal the segment and begin the next. What was committed stands: a refusal is told by the next commit."""
        try:
            last_file, last_path = self._file, self._path
            self._seal()
            new = segment_path(self.folder, self._number + 1, NEW)
            self._begin(self._number + 1, new)
        except OSError as error:
            with suppress(JournalNotWritten):
                self._fail(error)
            return
        self._path = segment_path(self.folder, self._number)
        self._syncer.rotated(
            Sealed(last_file, last_path, self._file, new, self._path), Written(self.position, self._written)
        )

    def _seal(self) -> None:
        data = frame(end_payload(End(self._entries, self.last_seq, self._crc)), self._salt)
        self._disk.write_all(self._file, data)
        self._size += len(data)
        self._written += len(data)

    def _begin(self, number: int, path: Path) -> None:
        """Create a segment and write its header; on a refusal this segment stays the current one."""
        salt = os.urandom(4)
        header = Header(
            segment=number,
            first=self._first + self._entries,
            last_seq=self.last_seq,
            opened_ns=time.time_ns(),
            run=self._run,
            digest=self._digest() if self._digest is not None else None,
            papertape=engine.__version__,
        )
        start = preamble(salt)
        value = int.from_bytes(salt, "little")
        data = start + frame(header_payload(header), value)
        file = self._disk.create(path)
        try:
            self._disk.write_all(file, data)
        except OSError:
            with suppress(OSError):
                self._disk.close(file)
                self._disk.remove(path)
            raise
        self._first, self._entries = header.first, 0
        self._number, self._file, self._path, self._salt = number, file, path, value
        self._size, self._crc = len(data), crc_of(data)
        self._written += len(data)

    def _resume(self, tail: Tail | None) -> None:
        """Go on where a journal ends; the only place where something that was written is taken away."""
        disk = self._disk
        for part in self.folder.glob(f"*{PART}"):
            disk.remove(part)
        if tail is None:
            self._begin_durably(1)
            return
        self.cut = tail.cut
        for one in reversed(tail.leftover):
            disk.remove(one.path)
        self._first, self._entries, self.last_seq = tail.header.first, tail.entries, tail.last_seq
        for one in tail.begun:
            self._name(one.number)
        if tail.is_empty:
            self._resume_without(tail)
            return
        number = self._number = tail.segment.number
        self._path, self._salt = tail.segment.path, tail.salt
        self._size, self._crc = tail.position.offset, tail.crc
        self._file = disk.append(self._path)
        if tail.cut is not None:
            disk.truncate(self._file, self._size)
        if not tail.is_sealed and self._size >= self.settings.segment_bytes:
            self._seal()
            tail.is_sealed = True
        disk.sync(self._file)
        if tail.segment.suffix == NEW:
            self._name(number)
            self._path = segment_path(self.folder, number)
        if tail.is_sealed:
            disk.close(self._file)
            self._begin_durably(number + 1)

    def _resume_without(self, tail: Tail) -> None:
        """The last segment was not even begun: the one before it, which is sealed, is the last."""
        self._disk.remove(tail.segment.path)
        before = scan_tail(self.folder)
        self._resume(before)
        self.cut = tail.cut

    def _begin_durably(self, number: int) -> None:
        self._begin(number, segment_path(self.folder, number, NEW))
        self._disk.sync(self._file)
        self._name(number)
        self._path = segment_path(self.folder, number)
        self._written = 0

    def _name(self, number: int) -> None:
        """Give a segment its final name: what is before it is durable."""
        new = segment_path(self.folder, number, NEW)
        if new.exists():
            self._disk.rename(new, segment_path(self.folder, number))
        self._disk.sync_folder(self.folder)
