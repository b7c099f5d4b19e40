"""Bringing the tape of a killed daemon in step with its journal: what is missing is added, what is too much is cut."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from adapters.tape import FLUSH_BYTES, NoEntry, decode_entry
from adapters.tape_bytes import compress_frame, whole_frames


class Healed(NamedTuple):
    """Entries that were added to a tape, and cut from it; both 0 where it was as it should be."""

    added: int
    cut: int


def heal_tape(path: Path, most: int, lines_after: Callable[[int], Iterator[bytes]]) -> Healed:
    """Make a tape hold exactly the first ``most`` entries of its session, and end.

    ``lines_after(count)`` gives the lines of the entries behind the first ``count``, without newlines. An entry that
    was stored here but did not reach the journal any more was never applied as far as anybody knows. Killed in the
    middle, it goes on where it was.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: it has not even a header.
    """
    count, end, cut, kept, is_ended = -1, 0, 0, b"", False  # the header is no entry
    with path.open("r+b") as file:
        for text, behind in whole_frames(file):
            if _is_end(text):
                is_ended = True
                break
            lines = text.count(b"\n")
            if cut or count + lines > most:
                if not cut and count < most:
                    kept = b"".join(text.splitlines(keepends=True)[: most - count])
                cut += count + lines - most if not cut else lines
                count = most
                continue
            count += lines
            end = behind
        if count < 0:
            raise ValueError(f"{path}: expected a tape with a header, found none that is whole")
        if is_ended and not cut and count == most:
            return Healed(0, 0)
        file.seek(end)
        file.truncate()
        added, block, size = 0, [kept], len(kept)
        for line in lines_after(count):
            block.append(line + b"\n")
            size += len(line)
            added += 1
            if size >= FLUSH_BYTES:
                file.write(compress_frame(b"".join(block)))
                block, size = [], 0
        if any(block):
            file.write(compress_frame(b"".join(block)))
        file.write(compress_frame(b"end %d\n" % (count + added)))
        file.flush()
        os.fsync(file.fileno())
    return Healed(added, cut)


def _is_end(text: bytes) -> bool:
    """Whether a frame holds the end line, which is no entry."""
    try:
        decode_entry(text[:-1])
    except NoEntry:
        return text.startswith(b"end ")
    return False
