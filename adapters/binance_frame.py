"""The quick way through a Binance depth frame: envelope, ids and levels in one kernel call.

It takes a frame only if every byte is where Binance has always put it,
``{"stream":"S@depth…","data":{"e":"depthUpdate","E":…,["T":…,]"s":"S",["ps":"…",]"U":…,"u":…,["pu":…,]"b":[…],"a":[…]}}``,
and all of it is right. It refuses the rest without saying why: whatever is unusual or wrong goes the long way, through
the JSON decoder, which knows. So there is one judge of what is malformed, and it is not here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from adapters.wire import finish_levels, scan_side
from engine.core.events import ASK, BATCH, Batch
from engine.core.jit import entry_point, kernel

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_MINE = -100
FOLLOWS, LAST_ID = 0, 1
"""Where the kernel leaves the ids: the one before this frame, and this frame's last."""

_HEAD = np.frombuffer(b'","data":{"e":"depthUpdate","E":', np.uint8)
_STREAM_AT = 11  # behind {"stream":"
_LATEST_MS = 9_000_000_000_000


@kernel
def _number(text: bytes, at: int) -> tuple[int, int]:
    """A plain integer of at most 16 digits at ``at``, and where it ended (negative: there is none)."""
    end = len(text)
    value = 0
    first = at
    while at < end and 48 <= text[at] <= 57:
        value = value * 10 + (text[at] - 48)
        at += 1
    digits = at - first
    if digits == 0 or digits > 16 or (digits > 1 and text[first] == 48):
        return 0, -1
    return value, at


@kernel
def _key(text: bytes, at: int, letter: int) -> int:
    """The position behind ``,"X":`` with that letter; negative: it is not there."""
    if at + 5 > len(text) or text[at] != 44 or text[at + 1] != 34 or text[at + 2] != letter or text[at + 3] != 34:
        return -1
    return at + 5 if text[at + 4] == 58 else -1


@kernel
def _depth_frame(
    rows: Batch, start: int, text: bytes, at: int, scale: int, recv_ns: int, ids: npt.NDArray[np.int64]
) -> int:
    """A depth frame whose stream name ends at ``at``: the row behind its last, or NOT_MINE; fills ``ids``.

    Bit 48 of ``scale``: each frame names the one before (``pu``).
    """
    end = len(text)
    names_previous = scale >> 48 & 1
    if at + len(_HEAD) >= end:
        return NOT_MINE
    for i in range(len(_HEAD)):
        if text[at + i] != _HEAD[i]:
            return NOT_MINE
    event, at = _number(text, at + len(_HEAD))
    if at < 0 or event == 0:
        return NOT_MINE
    time = event
    after = _key(text, at, 84)  # T
    if after > 0:
        time, at = _number(text, after)
        if at < 0:
            return NOT_MINE
        if time == 0:
            time = event
    at = _key(text, at, 115)  # s, which is the stream's symbol in capitals
    if at < 0 or at >= end or text[at] != 34:
        return NOT_MINE
    at += 1
    name = _STREAM_AT
    while at < end and text[name] != 64:  # @
        letter = text[name]
        if 97 <= letter <= 122:
            letter -= 32
        elif letter >= 128:
            return NOT_MINE
        if text[at] != letter:
            return NOT_MINE
        at += 1
        name += 1
    if at >= end or text[at] != 34:
        return NOT_MINE
    at += 1
    if at + 7 < end and text[at + 2] == 112 and text[at + 3] == 115:  # ,"ps":"…": the pair of COIN-M
        if text[at] != 44 or text[at + 1] != 34 or text[at + 4] != 34 or text[at + 5] != 58 or text[at + 6] != 34:
            return NOT_MINE
        at += 7
        while at < end and (48 <= text[at] <= 57 or 65 <= text[at] <= 90):
            at += 1
        if at >= end or text[at] != 34:
            return NOT_MINE
        at += 1
    at = _key(text, at, 85)  # U
    if at < 0:
        return NOT_MINE
    first_id, at = _number(text, at)
    if at < 0:
        return NOT_MINE
    at = _key(text, at, 117)  # u
    if at < 0:
        return NOT_MINE
    last_id, at = _number(text, at)
    if at < 0 or last_id < first_id:
        return NOT_MINE
    follows = first_id - 1
    if names_previous:
        if at + 6 > end or text[at] != 44 or text[at + 1] != 34 or text[at + 2] != 112 or text[at + 3] != 117:
            return NOT_MINE
        if text[at + 4] != 34 or text[at + 5] != 58:
            return NOT_MINE
        follows, at = _number(text, at + 6)
        if at < 0:
            return NOT_MINE
    at = _key(text, at, 98)  # b
    if at < 0:
        return NOT_MINE
    venue_ns = time * 1_000_000 if time < _LATEST_MS else time * 1_000
    row, at = scan_side(rows, start, text, at, 0, scale, last_id, venue_ns, recv_ns)
    if row < 0:
        return NOT_MINE
    at = _key(text, at, 97)  # a
    if at < 0:
        return NOT_MINE
    row, at = scan_side(rows, row, text, at, ASK, scale, last_id, venue_ns, recv_ns)
    if row < 0 or at + 2 != end or text[at] != 125 or text[at + 1] != 125:
        return NOT_MINE
    row = finish_levels(rows, start, row, 0, scale, last_id, venue_ns, recv_ns)
    if row < 0:
        return NOT_MINE
    ids[0] = follows
    ids[1] = last_id
    return row


@cache
def depth_frame() -> Callable[..., int]:
    """The compiled kernel: ``(rows, start, frame, at, scale, recv_ns, ids) -> end``."""
    return entry_point(_depth_frame, np.zeros(4, BATCH), 0, b"{}", 0, 0, 0, np.zeros(2, np.int64))
