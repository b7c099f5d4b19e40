"""A file: the lines that are appended to it, or all of it whenever it was replaced."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Final

from adapters.side.sources.contract import SourceError

PIECE: Final = 1 << 16
"""Bytes of lines handed out at a time, about."""


class Lines:
    """Whole lines as they are appended, looked for every ``every_s`` seconds; ``has_header``: the first goes with each.

    ``from_start``: what is there already counts too; otherwise the first look only finds the end. A file that became
    shorter or another one is read from its start. At most ``most_lines`` come at a time. A line longer than
    ``most_bytes`` is skipped, all but its begin.
    """

    def __init__(
        self,
        path: Path,
        every_s: float,
        *,
        has_header: bool = False,
        from_start: bool = False,
        most_bytes: int = 1 << 20,
        most_lines: int = 1_000,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = path
        self._every_s = every_s
        self._has_header = has_header
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._sleep = sleep
        self._at = 0 if from_start else -1  # -1: the end, whatever it is
        self._file_id = (0, 0)
        self._header = b""
        self._is_skipping = False

    async def payloads(self) -> AsyncGenerator[bytes, None]:
        while True:
            payload = await asyncio.to_thread(self._read)
            if payload:
                yield payload
            else:
                await self._sleep(self._every_s)

    async def close(self) -> None:
        return None

    def _read(self) -> bytes:
        """The next whole lines; empty while there are none."""
        try:
            about = _regular(self._path)
            with self._path.open("rb") as file:
                if self._file_id not in ((0, 0), (about.st_dev, about.st_ino)) or about.st_size < self._at:
                    self._at, self._header, self._is_skipping = 0, b"", False
                self._file_id = (about.st_dev, about.st_ino)
                if self._has_header and not self._header:
                    header = file.readline(self._most_bytes)
                    if not header.endswith(b"\n"):
                        return b""
                    self._header, self._at = header, max(self._at, len(header)) if self._at >= 0 else -1
                if self._at < 0:
                    self._at = about.st_size
                    return b""
                file.seek(self._at)
                while True:
                    data = file.read(max(PIECE, self._most_bytes) + 1)
                    if not (self._is_skipping and data):
                        return self._lines(data)
                    end = data.find(b"\n") + 1
                    self._at += end or len(data)
                    self._is_skipping = end == 0
                    file.seek(self._at)
        except OSError as error:
            raise SourceError(f"expected a file that can be read, found: {error.strerror or error}") from error

    def _lines(self, data: bytes) -> bytes:
        end = data.rfind(b"\n", 0, PIECE) + 1 or data.find(b"\n") + 1
        if end == 0 and len(data) <= self._most_bytes:
            return b""
        if end == 0 or end > self._most_bytes:  # its begin is more than validation takes, which then says so
            self._is_skipping = end == 0
            self._at += end or len(data)
            return self._header + data[: self._most_bytes + 1]
        if data.count(b"\n", 0, end) > self._most_lines:
            end = 0
            for _ in range(self._most_lines):
                end = data.index(b"\n", end) + 1
        self._at += end
        return self._header + data[:end]


def _regular(path: Path) -> os.stat_result:
    """What is known of a file; reading anything else, such as a pipe, could take for ever."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise SourceError(f"expected a file that can be read, found no regular file at {path}")
    return about


class Whole:
    """A file that is replaced as a whole: given out when it changed, looked at every ``every_s`` seconds."""

    def __init__(
        self,
        path: Path,
        every_s: float,
        *,
        most_bytes: int = 1 << 20,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = path
        self._every_s = every_s
        self._most_bytes = most_bytes
        self._sleep = sleep
        self._seen = (0, 0, 0)

    async def payloads(self) -> AsyncGenerator[bytes, None]:
        while True:
            if payload := await asyncio.to_thread(self._read):
                yield payload
            await self._sleep(self._every_s)

    async def close(self) -> None:
        return None

    def _read(self) -> bytes:
        try:
            about = _regular(self._path)
            seen = (about.st_mtime_ns, about.st_size, about.st_ino)
            if seen == self._seen:
                return b""
            with self._path.open("rb") as file:
                data = file.read(self._most_bytes + 1)
        except OSError as error:
            raise SourceError(f"expected a file that can be read, found: {error.strerror or error}") from error
        self._seen = seen
        return data
