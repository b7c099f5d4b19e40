"""Snapshots on disk: one file each, whole or not there at all, and never trusted without its checksum.

A file is the magic line, the head (length, then msgpack), the state (zstd) and a CRC32C over all of it. It is written
beside its name, synced, renamed and the folder synced, so that a crash leaves the one before. The two newest are kept:
one that cannot be read costs a longer replay, not the account.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import google_crc32c
import msgspec

from adapters.tape_bytes import Torn, compress_frame, pieces
from engine.live.journal import Position

SCHEMA: Final = 1
"""Raised when a head or a state of before cannot be read any more."""

MAGIC: Final = b"papertape snapshot 1\n"
SUFFIX: Final = ".pts"
KEPT: Final = 2
LEVEL: Final = 1

_LENGTH = struct.Struct("<I")


class Head(msgspec.Struct, frozen=True):
    """What must be known before a state is built.

    ``seq`` and ``digest`` are those of the last fact in it, ``now_ns`` its engine time, ``position`` where the journal
    goes on. ``code`` is the print of the program that made it, ``config`` what it ran under, as JSON. ``session``
    counts the starts of the run; ``tape`` is the name of that session's tape and ``tape_entries`` what was on it.
    """

    schema: int
    papertape: str
    code: dict[str, str]
    config: str
    session: int
    seq: int
    digest: str
    now_ns: int
    position: Position
    tape: str
    tape_entries: int


class SnapshotUnusable(Exception):
    """This file cannot be used; the text says what was expected and found. An older one, or the tape, may do."""


def head_name(head: Head) -> str:
    """The name of a snapshot's file: names sort as the journal's places do."""
    return f"{head.position.segment:08d}-{head.position.offset:012d}{SUFFIX}"


def pack(head: Head, state: bytes) -> bytes:
    """The bytes of a file; off the loop, for it compresses."""
    words = msgspec.msgpack.encode(head)
    body = compress_frame(state, LEVEL)
    whole = b"".join((MAGIC, _LENGTH.pack(len(words)), words, body))
    return whole + _LENGTH.pack(google_crc32c.value(whole))


def unpack(path: Path) -> tuple[Head, bytes]:
    """The head and the state of a file.

    Raises:
        SnapshotUnusable: it is damaged, of another schema, or cannot be read.
    """
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise SnapshotUnusable(f"{path}: expected a readable file, found: {error.strerror or error}") from error
    if not whole.startswith(MAGIC):
        raise SnapshotUnusable(f"{path}: expected {MAGIC.decode().strip()!r} first, found {whole[:24]!r}")
    if len(whole) < len(MAGIC) + 8 or _LENGTH.unpack(whole[-4:])[0] != google_crc32c.value(whole[:-4]):
        raise SnapshotUnusable(f"{path}: expected {len(whole)} bytes as their checksum says, found damage")
    at = len(MAGIC) + 4
    end = at + _LENGTH.unpack_from(whole, len(MAGIC))[0]
    try:
        schema = msgspec.msgpack.decode(whole[at:end], type=_Schema).schema
        if schema != SCHEMA:
            raise SnapshotUnusable(f"{path}: expected schema {SCHEMA}, found {schema} of another papertape")
        head = msgspec.msgpack.decode(whole[at:end], type=Head)
        return head, b"".join(pieces(io.BytesIO(whole[end:-4])))
    except (msgspec.DecodeError, Torn) as error:
        raise SnapshotUnusable(f"{path}: expected a head and a state, found: {error}") from error


class _Schema(msgspec.Struct):
    schema: int


def store(folder: Path, head: Head, state: bytes) -> Path:
    """Write a snapshot and forget all but the newest two; off the loop.

    Raises:
        OSError: the disk refuses; what was there is still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / head_name(head)
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            file.write(pack(head, state))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(folder)
    for older in list(newest(folder))[KEPT:]:
        older.unlink(missing_ok=True)
    return path


def newest(folder: Path) -> Iterator[Path]:
    """The snapshots of a folder, the newest first; their names are their places."""
    return iter(sorted(folder.glob(f"*{SUFFIX}"), reverse=True))


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
