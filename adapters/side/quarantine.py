"""The file of a stream's refused rows: a line of JSON each, with its reason; two files, the older goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

QUOTA_BYTES: Final = 8 << 20
WAITING: Final = 1_000
"""Lines that may wait for the disk; further ones are counted only."""


class Line(NamedTuple):
    """One refused row; ``ns`` is our time when it came."""

    ns: int
    stream: str
    reason: str
    found: str
    row: str


class Quarantine:
    """One stream's; ``store`` touches the disk and is for a thread, all else is for the loop.

    >>> import tempfile
    >>> quarantine = Quarantine(Path(tempfile.mkdtemp()) / "side" / "x.jsonl")
    >>> quarantine.add(Line(7, "x", "range", "2", "{}"))
    >>> quarantine.store(quarantine.taken())
    >>> quarantine.path.read_text()
    '{"ns":7,"stream":"x","reason":"range","found":"2","row":"{}"}\\n'
    """

    def __init__(self, path: Path, quota_bytes: int = QUOTA_BYTES) -> None:
        self.path = path
        self.left_out = 0
        self._half = max(1, quota_bytes // 2)
        self._waiting: list[Line] = []

    def add(self, line: Line) -> None:
        """Take a row down."""
        if len(self._waiting) < WAITING:
            self._waiting.append(line)
        else:
            self.left_out += 1

    def taken(self) -> Sequence[Line]:
        """What waits, for ``store``."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def store(self, lines: Sequence[Line]) -> None:
        """Append lines; a file that is full becomes ``.1``, over the one before.

        Raises:
            OSError: the disk refuses.
        """
        if not lines:
            return
        data = b"".join(msgspec.json.encode(line._asdict()) + b"\n" for line in lines)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and self.path.stat().st_size + len(data) > self._half:
            self.path.replace(self.path.with_name(f"{self.path.name}.1"))
        with self.path.open("ab") as file:
            file.write(data[-self._half :] if len(data) > self._half else data)
