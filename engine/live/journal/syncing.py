"""The thread that makes a journal durable, so that the loop never waits for a disk."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from engine.live.journal.disk import Disk
from engine.live.journal.errors import JournalNotWritten, Position


class Written(NamedTuple):
    """What is in the file: up to where, and how many bytes since the journal was opened."""

    position: Position
    bytes: int


class Sealed(NamedTuple):
    """A segment that is full, and the next one, which gets its final name when the full one is durable."""

    file: int
    path: Path
    next_file: int
    next_new: Path
    next_path: Path


class Syncer:
    """Calls fsync on a thread of its own: each ``every_ns``, at once (0), or only when asked and at seals (None).

    Reads of its figures need no lock. After ``failure`` nothing is durable any more.
    """

    def __init__(self, disk: Disk, file: int, path: Path, written: Written, every_ns: int | None) -> None:
        self.durable = written
        self.failure: JournalNotWritten | None = None
        self.synced_ns = 0
        self.longest_ns = 0
        self.count = 0
        self._disk = disk
        self._every_s = None if every_ns is None else every_ns / 1e9
        self._file = file
        self._path = path
        self._written = written
        self._changed = threading.Condition()
        self._sealed: deque[Sealed] = deque()
        self._waiting: list[tuple[Position, Callable[[], None]]] = []
        self._is_asked = False
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name=f"journal {path.parent.parent.name}", daemon=True)
        self._thread.start()

    def committed(self, written: Written) -> None:
        """More bytes are in the file; costs no lock unless each commit is to be synced."""
        self._written = written
        if self._every_s == 0:
            with self._changed:
                self._is_asked = True
                self._changed.notify()

    def sync_every(self, every_ns: int | None) -> None:
        """Another interval from here on; what is in the file already is made durable at once."""
        with self._changed:
            self._every_s = None if every_ns is None else every_ns / 1e9
            self._is_asked = True
            self._changed.notify()

    def rotated(self, sealed: Sealed, written: Written) -> None:
        """The next segment is written to from here on."""
        with self._changed:
            self._sealed.append(sealed)
            self._file, self._path, self._written = sealed.next_file, sealed.next_path, written
            self._changed.notify()

    def when_durable(self, position: Position, call: Callable[[], None]) -> None:
        """Call back, on the thread, when a position is durable or never will be; asks for an fsync at once."""
        with self._changed:
            if self.failure is None and self.durable.position < position:
                self._waiting.append((position, call))
                self._is_asked = True
                self._changed.notify()
                return
        call()

    def close(self) -> None:
        """One last fsync; returns when it is done or failed."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    @property
    def backlog(self) -> int:
        """Bytes that a loss of power would take."""
        return self._written.bytes - self.durable.bytes

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except JournalNotWritten as failure:
            with self._changed:
                self.failure = failure
                waiting, self._waiting = self._waiting, []
            for _, call in waiting:
                call()

    def _turn(self) -> bool:
        with self._changed:
            while not (self._is_asked or self._is_closing or self._sealed):
                if not self._changed.wait(self._every_s or None):
                    break
            is_closing, self._is_asked = self._is_closing, False
            sealed = list(self._sealed)
            self._sealed.clear()
            written, file, path = self._written, self._file, self._path
        for one in sealed:
            self._seal(one)
        if written != self.durable:
            self._sync(file, path)
            self._became_durable(written)
        return not is_closing

    def _seal(self, one: Sealed) -> None:
        self._sync(one.file, one.path)
        with suppress(OSError):
            self._disk.close(one.file)
        self._sync(one.next_file, one.next_new)
        try:
            self._disk.rename(one.next_new, one.next_path)
            self._disk.sync_folder(one.next_path.parent)
        except OSError as error:
            raise JournalNotWritten(str(one.next_path), error.strerror or str(error)) from error

    def _sync(self, file: int, path: Path) -> None:
        began_ns = time.monotonic_ns()
        try:
            self._disk.sync(file)
        except OSError as error:
            raise JournalNotWritten(str(path), f"{error.strerror or error} (fsync)") from error
        self.longest_ns = max(self.longest_ns, time.monotonic_ns() - began_ns)
        self.synced_ns = time.time_ns()
        self.count += 1

    def _became_durable(self, written: Written) -> None:
        with self._changed:
            self.durable = written
            due = [call for position, call in self._waiting if position <= written.position]
            self._waiting = [one for one in self._waiting if one[0] > written.position]
        for call in due:
            call()
