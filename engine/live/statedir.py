"""The daemon's folder: one writer, known by its lock; what cannot be written says so before anything starts."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType


class StateDirError(Exception):
    """The folder cannot be used; one line says why and what to do."""


class StateDir:
    """``STATE_DIR/NAME``, held by this process until it ends: the lock goes with the process, so none is ever stale."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tape = path / "tape"
        self.models = path / "models"
        self.journal = path / "journal"
        self.snapshots = path / "snapshots"
        self.blackbox = path / "blackbox"
        try:
            for folder in (path, self.tape, self.models):
                folder.mkdir(parents=True, exist_ok=True)
            self._file = (path / "lock").open("a+", encoding="ascii")
        except OSError as error:
            raise StateDirError(
                f"{path}: expected a folder that can be written, found: {error.strerror}; set run.state_dir"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            owner = self._file.read().strip() or "unknown"
            self._file.close()
            raise StateDirError(
                f"{path}: expected to be the only daemon here, found it in use by process {owner}; "
                "stop that one or set another run.name"
            ) from error
        self._file.seek(0)
        self._file.truncate()
        with suppress(OSError):  # who it is is a courtesy; that it is held is the lock
            self._file.write(f"{os.getpid()}\n")
            self._file.flush()

    @classmethod
    def waited_for(cls, path: Path, patience_s: float) -> StateDir:
        """As the constructor, but waits so long for another daemon to leave.

        Raises:
            StateDirError: as the constructor.
        """
        until = time.monotonic() + patience_s
        while time.monotonic() < until and is_held(path):
            time.sleep(0.05)
        return cls(path)

    def write(self, name: str, text: str) -> None:
        """Replace a file of the folder as a whole.

        Raises:
            StateDirError: the disk refuses.
        """
        part = self.path / f"{name}.part"
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(self.path / name)
        except OSError as error:
            raise StateDirError(f"{self.path / name}: expected room to write it, found: {error.strerror}") from error

    def set_aside(self, stamp: str) -> Path | None:
        """Move what a run has left to ``old/STAMP``; None when there is nothing.

        Raises:
            StateDirError: the disk refuses.
        """
        names = ("journal", "snapshots", "tape", "models", "side", "run.json", "report.html")
        left = [self.path / name for name in names]
        left = [one for one in left if one.exists() and (one.is_file() or any(one.iterdir()))]
        if not left:
            return None
        aside = self.path / "old" / stamp
        try:
            aside.mkdir(parents=True)
            for one in left:
                one.rename(aside / one.name)
            for folder in (self.tape, self.models):
                folder.mkdir(exist_ok=True)
        except OSError as error:
            raise StateDirError(f"{aside}: expected to move the run before here, found: {error.strerror}") from error
        return aside

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()

    def __enter__(self) -> StateDir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_held(path: Path) -> bool:
    """Whether a daemon has this folder now, whatever its files say of earlier ones."""
    try:
        with (path / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
