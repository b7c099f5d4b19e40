"""What a journal asks of the operating system, in one place, so that a test can be a full, slow or broken disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path


class Disk:
    """The real one. Every method may raise OSError."""

    def create(self, path: Path) -> int:
        """A new file to append to; never one that is there."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def append(self, path: Path) -> int:
        """An existing file to append to."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def write(self, file: int, data: memoryview) -> int:
        """Bytes taken, maybe fewer than given."""
        return os.write(file, data)

    def truncate(self, file: int, size: int) -> None:
        os.ftruncate(file, size)

    def sync(self, file: int) -> None:
        """Returns when the file's bytes survive a loss of power."""
        os.fsync(file)

    def close(self, file: int) -> None:
        os.close(file)

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Makes names durable: those of new, renamed and removed files."""
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(file)
        finally:
            os.close(file)

    def write_all(self, file: int, data: bytes) -> None:
        """All of it, whatever a single write takes."""
        view = memoryview(data)
        while view:
            try:
                taken = self.write(file, view)
            except InterruptedError:
                continue
            if not taken:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            view = view[taken:]
