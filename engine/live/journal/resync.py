"""Looks for a whole frame behind a broken one: that is what tells damage from a torn tail.

Every offset of the rest of the segment is tried. The heads' checksums are computed for a block of offsets at once; only
where one holds is the payload read.
"""

from __future__ import annotations

from functools import cache
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from engine.live.journal.frames import HEAD_BYTES, KINDS, PREAMBLE_BYTES, crc_of, head_at

BLOCK: Final = 1 << 20
POLYNOMIAL: Final = 0x82F63B78
"""CRC32C (Castagnoli), reflected."""

Words = npt.NDArray[np.uint32]


@cache
def _tables() -> list[Words]:
    """What a byte contributes to the CRC when zero, one … seven bytes follow it."""
    one = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        one = np.where(one & 1, (one >> 1) ^ np.uint32(POLYNOMIAL), one >> 1).astype(np.uint32)
    tables = [one]
    for _ in range(7):
        last = tables[-1]
        tables.append((one[last & 0xFF] ^ (last >> 8)).astype(np.uint32))
    return tables


def heads(data: bytes, salt: int) -> list[int]:
    """The offsets in some bytes at which a head's own checksum holds."""
    count = len(data) - HEAD_BYTES + 1
    if count <= 0:
        return []
    tables = _tables()
    state = salt ^ 0xFFFFFFFF
    raw = np.frombuffer(data, np.uint8)
    check = np.full(count, 0xFFFFFFFF, np.uint32)
    for place in range(8):
        table = tables[7 - place]
        if place < 4:  # the CRC of what came before goes into the first four bytes
            table = table[np.arange(256) ^ (state >> 8 * place & 0xFF)]
        check ^= table[raw[place : place + count]]
    for place in range(4):
        check ^= raw[8 + place : 8 + place + count].astype(np.uint32) << np.uint32(8 * place)
    return [int(at) for at in np.flatnonzero(check == 0)]


def whole_frame_after(file: BinaryIO, salt: int, start: int) -> int | None:
    """The offset of the first whole frame that begins at ``start`` or later, None when there is none."""
    start = max(start, PREAMBLE_BYTES)
    size = file.seek(0, 2)
    while size - start >= HEAD_BYTES:
        file.seek(start)
        data = file.read(BLOCK + HEAD_BYTES - 1)
        for at in heads(data, salt):
            head = head_at(data, at, salt)
            if head is None:
                continue
            length, crc = head
            file.seek(start + at + HEAD_BYTES)
            payload = file.read(length)
            if len(payload) == length and crc_of(payload) == crc and payload[0] in KINDS:
                return start + at
        start += BLOCK
    return None
