"""The bytes under a tape: zstd, gzip or plain, told apart by content, read in bounded pieces.

A piece is given out only when it is known to be whole where the caller asks for ``verified`` pieces: then a piece is
one zstd frame whose checksum has been checked.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd

    ZSTD_ERROR: type[Exception] = zstd.ZstdError

    def compress_frame(data: bytes, level: int = 3) -> bytes:
        """One zstd frame with a content checksum."""
        option = zstd.CompressionParameter
        return zstd.compress(data, options={option.compression_level: level, option.checksum_flag: 1})

    def _zstd_decoder() -> Decoder:
        return zstd.ZstdDecompressor()
else:
    import zstandard

    ZSTD_ERROR: type[Exception] = zstandard.ZstdError

    def compress_frame(data: bytes, level: int = 3) -> bytes:
        """One zstd frame with a content checksum."""
        return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(data)

    def _zstd_decoder() -> Decoder:
        return zstandard.ZstdDecompressor().decompressobj()


ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
GZIP_MAGIC = b"\x1f\x8b"
READ_BYTES = 1 << 16
LINE_LIMIT = 1 << 28
"""Bytes of the longest line or verified frame; a longer one is no tape of ours."""


class Decoder(Protocol):
    """What the decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class Torn(Exception):
    """The bytes end, or stop making sense, at ``offset`` of the file."""

    def __init__(self, offset: int, found: str) -> None:
        super().__init__(found)
        self.offset = offset
        self.found = found


def _gzip_decoder() -> Decoder:
    return zlib.decompressobj(31)


def pieces(file: BinaryIO, *, verified: bool = False) -> Iterator[bytes]:
    """The decompressed bytes of an open file.

    Raises:
        Torn: the compressed data is cut off or damaged; all that was yielded before is right.
    """
    start = file.read(4)
    file.seek(0)
    if start == ZSTD_MAGIC:
        return _decoded(file, _zstd_decoder, verified)
    if start[:2] == GZIP_MAGIC:
        return _decoded(file, _gzip_decoder, verified)
    return iter(lambda: file.read(READ_BYTES), b"")


def _decoded(file: BinaryIO, make: Callable[[], Decoder], verified: bool) -> Iterator[bytes]:
    decoder = make()
    fresh = True
    held: list[bytes] = []
    held_bytes = 0
    while raw := file.read(READ_BYTES):
        while raw:
            offset = file.tell() - len(raw)
            try:
                out = decoder.decompress(raw)
            except (ZSTD_ERROR, zlib.error) as error:
                raise Torn(offset, f"damaged compressed data ({error})") from error
            fresh = False
            raw = b""
            held_bytes += len(out)
            if held_bytes > LINE_LIMIT and verified:
                raise Torn(offset, f"a compressed frame of over {LINE_LIMIT} bytes")
            if verified:
                held.append(out)
            elif out:
                yield out
            if decoder.eof:
                raw = decoder.unused_data
                if verified:
                    yield b"".join(held)
                    held.clear()
                    held_bytes = 0
                decoder = make()
                fresh = True
    if not fresh:
        raise Torn(file.tell(), "the end of the file in the middle of compressed data")


def whole_frames(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Each zstd frame that is whole, decompressed, and the offset behind it; ends silently where none is whole."""
    decoder, held = _zstd_decoder(), bytearray()
    while raw := file.read(READ_BYTES):
        while raw:
            try:
                held += decoder.decompress(raw)
            except ZSTD_ERROR:
                return
            if len(held) > LINE_LIMIT:
                return
            if not decoder.eof:
                break
            raw = decoder.unused_data
            yield bytes(held), file.tell() - len(raw)
            decoder, held = _zstd_decoder(), bytearray()


def lines(parts: Iterator[bytes]) -> Iterator[list[bytes]]:
    """The lines of the pieces, many at a time, without their newlines.

    Raises:
        Torn: the last line has no newline, a line is beyond all reason, or the compressed data is torn.
    """
    tail = b""
    size = 0
    for part in parts:
        size += len(part)
        found = (tail + part if tail else part).split(b"\n")
        tail = found.pop()
        if len(tail) > LINE_LIMIT:
            raise Torn(size, f"a line of over {LINE_LIMIT} bytes")
        if found:
            yield found
    if tail:
        raise Torn(size, f"the end of the file in the middle of a line: {tail[:40]!r}")
