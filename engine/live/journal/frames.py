"""The bytes of a segment: its preamble, its frames, their checksums.

A frame is twelve bytes of head and then its payload, whose first byte is the kind. The head has a checksum of its own:
a length is believed before the bytes that it speaks of are there, so a flipped bit in it must not make a damaged frame
look like one that was cut off. That checksum is salted with four random bytes of the segment's preamble, so bytes
inside a payload, such as a frame that a venue sends us, never pass for a frame of ours.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Final, NamedTuple

import google_crc32c
import msgspec

from engine.live.journal.errors import Position

FORMAT_VERSION: Final = 1
SCHEMA_VERSION: Final = 1
"""Of the facts inside; the header of each segment says it."""

MAGIC: Final = b"papertape-journal "
PREAMBLE_BYTES: Final = len(MAGIC) + 2 + 4 + 4
HEAD_BYTES: Final = 12
FRAME_LIMIT: Final = 1 << 28
"""Bytes of the longest payload; a longer one is none of ours."""

crc_of = google_crc32c.value
crc_more = google_crc32c.extend
"""``crc_more(crc, data)``: the CRC32C of what came before and ``data``. Both want ``bytes``."""

pack_start = struct.Struct("<II").pack
"""Length and CRC32C of the payload: what the third word, the head's own checksum, is taken over."""
pack_check = struct.Struct("<I").pack
_unpack_head = struct.Struct("<III").unpack_from
_END = struct.Struct("<cQQI")


class Kind(StrEnum):
    """What a frame holds; the value is the first byte of its payload."""

    HEADER = "H"
    INPUT = "i"
    FACT = "f"
    MARK = "m"
    END = "e"


KINDS: Final = {kind.value.encode()[0]: kind for kind in Kind}
ENTRIES: Final = frozenset({Kind.INPUT, Kind.FACT, Kind.MARK})
"""What is counted: what the run said, without what segments say of themselves."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame of a segment: where in the run it begins.

    ``first``: how many entries (inputs, facts, marks) of the run came before it. ``last_seq``: the number of the last
    fact before it. ``digest``: the run's digest up to there, None where it is not known. ``compacted``: the inputs of
    this segment were left out.
    """

    segment: int
    first: int
    last_seq: int
    opened_ns: int
    run: str = ""
    digest: str | None = None
    papertape: str = ""
    schema: int = SCHEMA_VERSION
    compacted: bool = False


class End(NamedTuple):
    """The last frame of a sealed segment: entries in it, the last fact's number, CRC32C of all bytes before."""

    entries: int
    last_seq: int
    crc: int


class Frame(NamedTuple):
    """One whole frame; ``position`` is where it begins, ``payload`` comes without the byte of its kind."""

    position: Position
    kind: Kind
    payload: bytes

    @property
    def end(self) -> Position:
        """The place behind it."""
        return Position(self.position.segment, self.position.offset + HEAD_BYTES + 1 + len(self.payload))


class Broken(Exception):
    """From ``offset`` on there is no whole frame. ``is_incomplete``: the file ends inside of it."""

    def __init__(self, offset: int, found: str, *, is_incomplete: bool = False) -> None:
        super().__init__(found)
        self.offset = offset
        self.found = found
        self.is_incomplete = is_incomplete


def preamble(salt: bytes) -> bytes:
    """The first bytes of a segment: magic and version in plain text, the salt, a CRC32C of both."""
    text = MAGIC + b"%d\n" % FORMAT_VERSION + salt
    return text + pack_check(crc_of(text))


def read_preamble(data: bytes) -> int:
    """The salt of a segment, from its first ``PREAMBLE_BYTES``.

    >>> read_preamble(preamble(b"\\x01\\x00\\x00\\x00"))
    1

    Raises:
        Broken: they are not those of a segment, or of another format.
    """
    if len(data) < PREAMBLE_BYTES:
        raise Broken(0, f"only {len(data)} bytes of the preamble", is_incomplete=True)
    if not data.startswith(MAGIC):
        raise Broken(0, f"other bytes than {MAGIC.decode()!r}")
    if pack_check(crc_of(data[:-4])) != data[-4:]:
        raise Broken(0, "a preamble whose checksum does not hold")
    version = data[len(MAGIC) : len(MAGIC) + 2]
    if version != b"%d\n" % FORMAT_VERSION:
        raise Broken(0, f"format {version[:1]!r}, this papertape reads {FORMAT_VERSION}: a newer one may read it")
    return int.from_bytes(data[-8:-4], "little")


def frame(payload: bytes, salt: int) -> bytes:
    """One frame.

    Raises:
        ValueError: the payload is beyond all reason.
    """
    if len(payload) > FRAME_LIMIT:
        raise ValueError(f"expected a journal entry of at most {FRAME_LIMIT} bytes, found {len(payload)}")
    start = pack_start(len(payload), crc_of(payload))
    return start + pack_check(crc_more(salt, start)) + payload


def header_payload(header: Header) -> bytes:
    """The payload of a segment's first frame."""
    return b"H" + msgspec.msgpack.encode(header)


def end_payload(end: End) -> bytes:
    """The payload of the last one: of fixed length, so that it is found from the file's end."""
    return _END.pack(b"e", *end)


END_BYTES: Final = HEAD_BYTES + _END.size
"""The whole last frame."""


def read_end(payload: bytes) -> End:
    """An end from its payload, without the byte of its kind.

    Raises:
        ValueError: of another length.
    """
    if len(payload) != _END.size - 1:
        raise ValueError(f"expected {_END.size - 1} bytes, found {len(payload)}")
    _, entries, last_seq, crc = _END.unpack(b"e" + payload)
    return End(entries, last_seq, crc)


def seq_of(payload: bytes) -> int:
    """The number of a fact from its payload, without the byte of its kind and without decoding all of it.

    >>> seq_of(msgspec.msgpack.encode([70_000, 1, {}])), seq_of(msgspec.msgpack.encode([5, 1, {}]))
    (70000, 5)
    """
    first = payload[1]
    if first < 0x80:
        return first
    return int.from_bytes(payload[2 : 2 + (1 << (first - 0xCC))], "big")


def head_at(data: bytes, at: int, salt: int) -> tuple[int, int] | None:
    """Length and CRC32C of the frame that begins there, None when the head's own checksum does not hold."""
    length, crc, check = _unpack_head(data, at)
    if crc_more(salt, data[at : at + 8]) != check or not 0 < length <= FRAME_LIMIT:
        return None
    return length, crc


def walk(chunks: Iterable[bytes], salt: int, offset: int) -> Iterator[tuple[int, bytes]]:
    """Each frame's offset and payload (with the byte of its kind); ``offset`` is that of the first byte of the chunks.

    Memory is that of a chunk or of the longest frame.

    Raises:
        Broken: what comes next is no whole frame; all that was given out is right.
    """
    held: list[bytes] = []
    held_bytes, need = 0, HEAD_BYTES
    for chunk in chunks:
        held.append(chunk)
        held_bytes += len(chunk)
        if held_bytes < need:
            continue
        data = b"".join(held) if len(held) > 1 else chunk
        at, size = 0, len(data)
        while True:
            begin = at + HEAD_BYTES
            if begin > size:
                need = HEAD_BYTES
                break
            length, crc, check = _unpack_head(data, at)
            if crc_more(salt, data[at : at + 8]) != check or not 0 < length <= FRAME_LIMIT:
                raise Broken(offset + at, "a frame whose length has a checksum that does not hold")
            end = begin + length
            if end > size:
                need = HEAD_BYTES + length
                break
            payload = data[begin:end]
            if crc_of(payload) != crc:
                raise Broken(offset + at, "a frame whose checksum does not hold")
            if payload[0] not in KINDS:
                raise Broken(offset + at, f"a frame of the unknown kind {payload[:1]!r}")
            yield offset + at, payload
            at = end
        offset += at
        held = [data[at:]] if at < size else []
        held_bytes = size - at
    if held_bytes:
        raise Broken(offset, f"only {held_bytes} bytes of a frame of {need} or more", is_incomplete=True)


def decode_header(payload: bytes) -> Header:
    """A header from its payload, without the byte of its kind.

    Raises:
        msgspec.DecodeError: no header, or of a schema that this papertape does not know.
    """
    header = msgspec.msgpack.decode(payload, type=Header)
    if header.schema != SCHEMA_VERSION:
        raise msgspec.ValidationError(f"facts of schema {header.schema}, this papertape reads {SCHEMA_VERSION}")
    return header


def decode_mark(payload: bytes) -> dict[str, Any]:
    """A mark from its payload, without the byte of its kind."""
    return msgspec.msgpack.decode(payload, type=dict[str, Any])
