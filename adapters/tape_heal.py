"""Completing the tape of a daemon that was killed: what was whole stays, what only the journal has is added."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from adapters.tape import FLUSH_BYTES, NoEntry, decode_entry
from adapters.tape_bytes import compress_frame, whole_frames


def heal_tape(path: Path, lines_after: Callable[[int], Iterator[bytes]]) -> int:
    """Make a torn tape whole, and return how many entries were added; a whole one stays as it is.

    ``lines_after(count)`` gives the lines of the entries behind the first ``count``, without newlines. Killed in the
    middle, it goes on where it was.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: it has not even a header.
    """
    count, end = -1, 0  # the header is no entry
    with path.open("r+b") as file:
        for text, behind in whole_frames(file):
            if _is_end(text):
                return 0
            count += text.count(b"\n")
            end = behind
        if count < 0:
            raise ValueError(f"{path}: expected a tape with a header, found none that is whole")
        file.seek(end)
        file.truncate()
        added, block, size = 0, [], 0
        for line in lines_after(count):
            block.append(line + b"\n")
            size += len(line)
            added += 1
            if size >= FLUSH_BYTES:
                file.write(compress_frame(b"".join(block)))
                block, size = [], 0
        if block:
            file.write(compress_frame(b"".join(block)))
        file.write(compress_frame(b"end %d\n" % (count + added)))
        file.flush()
        os.fsync(file.fileno())
    return added


def _is_end(text: bytes) -> bool:
    """Whether a frame holds the end line, which is no entry."""
    try:
        decode_entry(text[:-1])
    except NoEntry:
        return text.startswith(b"end ")
    return False
