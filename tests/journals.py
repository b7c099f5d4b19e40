"""Small hands for tests of the journal: facts to write, disks that misbehave, a daemon that is killed."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event

from engine.core.records import AnyFact, Note, Record, Sent
from engine.live.journal import Frame, Journal, JournalSettings, Kind, read
from engine.live.journal.disk import Disk
from engine.live.journal.errors import Cut

QUIET = JournalSettings(sync_every_ns=None)
"""No fsync but at seals and at the end: what is tested is not the disk."""

SMALL = JournalSettings(sync_every_ns=None, segment_bytes=600)

LINE = b'7 r sim - {"a":1}'


def fact(seq: int, words: str = "") -> Record:
    said: AnyFact = Note("s", {"said": words}) if words else Sent(seq, 10**18 + seq)
    return Record(seq, 10**18 + seq, said)


def facts(first: int, count: int) -> list[Record]:
    return [fact(seq) for seq in range(first, first + count)]


def entries(folder: Path, cuts: list[Cut] | None = None) -> list[tuple[str, bytes]]:
    """What the run said, without what segments say of themselves."""
    found = read(folder, on_cut=None if cuts is None else cuts.append)
    return [(frame.kind.value, frame.payload) for frame in found if frame.kind not in (Kind.HEADER, Kind.END)]


def frames(folder: Path) -> list[Frame]:
    return list(read(folder))


def write(folder: Path, count: int, settings: JournalSettings = QUIET, inputs: Sequence[bytes] = (LINE,)) -> None:
    """A fact a commit, with its inputs before it."""
    with Journal.open(folder, settings, run="test") as journal:
        for _ in range(count):
            for line in inputs:
                journal.input(line)
            journal.facts([fact(journal.last_seq + 1)])
            journal.commit()


def kill(journal: Journal) -> None:
    """What is left of a journal whose process is gone: what was committed, and nothing more."""
    journal._pending.clear()
    journal.close()


def write_on(journal: Journal, told: list[int], count: int = 1) -> None:
    """Commit facts without end; ``told`` hears of each commit that came back."""
    while True:
        journal.input(LINE)
        journal.facts(facts(journal.last_seq + 1, count))
        journal.commit()
        told.append(journal.last_seq)


class QuickDisk(Disk):
    """Makes nothing durable: for tests that open journals by the thousand."""

    def sync(self, file: int) -> None:
        pass


class FullDisk(Disk):
    """Takes so many bytes, the last ones in part, and then refuses."""

    def __init__(self, room: int, error: int = errno.ENOSPC) -> None:
        self.room = room
        self.error = error

    def write(self, file: int, data: memoryview) -> int:
        if not self.room:
            raise OSError(self.error, os.strerror(self.error))
        taken = super().write(file, data[: self.room])
        self.room -= taken
        return taken


class ShortDisk(Disk):
    """Takes at most a few bytes at once and is interrupted every other time."""

    def __init__(self) -> None:
        self.calls = 0

    def write(self, file: int, data: memoryview) -> int:
        self.calls += 1
        if self.calls % 2:
            raise InterruptedError
        return super().write(file, data[:7])


class SlowDisk(Disk):
    """An fsync takes until the test lets it go."""

    def __init__(self) -> None:
        self.let_go = Event()
        self.let_go.set()
        self.called = Event()
        self.refuses = False

    def sync(self, file: int) -> None:
        self.called.set()
        self.let_go.wait()
        if self.refuses:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(file)


class Crash(Exception):
    """The process ends here."""


class CrashingDisk(Disk):
    """Does so many things and then the process is gone."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def _step(self) -> None:
        if not self.steps:
            raise Crash
        self.steps -= 1

    def create(self, path: Path) -> int:
        self._step()
        return super().create(path)

    def write(self, file: int, data: memoryview) -> int:
        self._step()
        return super().write(file, data)

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)

    def sync_folder(self, folder: Path) -> None:
        self._step()
        super().sync_folder(folder)

    def close(self, file: int) -> None:
        with suppress(OSError):
            super().close(file)
