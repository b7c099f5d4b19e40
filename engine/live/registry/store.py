"""Payloads and cards under the hash of their content, and the log beside them: the writer's side of ``models/``.

Nothing is written over: a file is written beside its name, synced and renamed, and the log only grows. Call it off the
loop.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.live.recovery.snapshots import sync_folder
from engine.live.registry.log import NAME, Event, lines, read_log

NO_MODEL: Final = hashlib.sha256(b"").hexdigest()
"""The version that says that a training failed."""

PAYLOAD: Final = ".ptm"
CARD: Final = ".json"
LINEAGE: Final = ".lineage.json"
PART: Final = ".part"


def content_name(data: bytes) -> str:
    """The SHA-256 of some bytes: their name."""
    return hashlib.sha256(data).hexdigest()


def model_path(folder: Path, version: str) -> Path:
    """Where a payload of that version lies."""
    return folder / f"{version}{PAYLOAD}"


def card_path(folder: Path, version: str) -> Path:
    """Where the card of that version lies."""
    return folder / f"{version}{CARD}"


def lineage_path(folder: Path, sha256: str) -> Path:
    """Where a lineage lies: under the SHA-256 of its own bytes."""
    return folder / f"{sha256}{LINEAGE}"


class Store:
    """One folder, with one writer (the daemon's lock sees to that); its methods may be called from several threads.

    ``remarks``: what was found of an earlier writer that was stopped in the middle.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remarks: list[str] = []
        self._lock = threading.Lock()
        self._end = 0
        self._last = ""
        self._is_open = False

    def open(self) -> list[Event]:
        """Make the folder ready to be written to; the events so far.

        Raises:
            OSError: the disk refuses.
        """
        with self._lock:
            return self._open()

    def _open(self) -> list[Event]:
        self.folder.mkdir(parents=True, exist_ok=True)
        log = read_log(self.folder / NAME)
        self._end, self._last, self._is_open = log.end, log.last, True
        self.remarks = [*log.damage, *([f"{log.torn}; cut off"] if log.torn else [])]
        for part in self.folder.glob(f"*{PART}"):
            part.unlink()
        return log.events

    def put(self, path: Path, data: bytes) -> bool:
        """Write a file of the folder as a whole, once; True where it was not there, or not whole.

        Raises:
            OSError: the disk refuses; nothing of it is left under this name.
        """
        with self._lock:
            if path.exists() and path.read_bytes() == data:
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + PART)
            try:
                with part.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            except OSError:
                _forget(part)
                raise
            sync_folder(path.parent)
            return True

    def append(self, events: list[Event]) -> None:
        """Add events to the log.

        Raises:
            OSError: the disk refuses; none of them is in the log.
        """
        if not events:
            return
        with self._lock:
            if not self._is_open:
                self._open()
            text, last = lines(events, self._last)
            with (self.folder / NAME).open("ab", buffering=0) as file:
                if file.tell() != self._end:  # half a line: of a writer that was killed, or of a disk that was full
                    file.truncate(self._end)
                try:
                    rest = memoryview(text)
                    while rest:
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(self._end)
                    raise
            self._end, self._last = self._end + len(text), last

    def forget(self, paths: list[Path]) -> None:
        """Take back files that nothing refers to yet; a disk that is read-only keeps them."""
        with self._lock:
            for path in paths:
                _forget(path)


def _forget(path: Path) -> None:
    with suppress(OSError):  # a disk that is read-only keeps what it has
        path.unlink(missing_ok=True)
