"""What goes into the engine: batches of market data, commands, new models, and what side streams said.

A *batch* is a numpy array of ``BATCH`` rows: one websocket frame, or many frames of a replayed tape in a row. The
last row of each frame carries ``LAST``, and a batch always ends with one, so a frame is never split.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

BATCH = np.dtype(
    [
        ("kind", "u1"),
        ("flags", "u1"),
        ("symbol", "u2"),  # index into the engine's instruments
        ("reason", "u4"),  # of GAP and DOWN: see REASONS
        ("price", "i8"),  # units of the instrument
        ("size", "i8"),  # units of the instrument
        ("venue_ns", "i8"),  # the venue's own clock, ns UTC, 0 where it gives none; never mixed with ours
        ("recv_ns", "i8"),  # our clock, ns UTC, stamped once where the bytes arrived
        ("id", "i8"),  # LEVEL, QUOTE, MARK, READY: the frame's last update id; TRADE: its own
    ]
)

ROW_STRIDES = (BATCH.itemsize,)
"""Of a batch whose rows lie one behind the other, as kernels take them."""
"""One row of market data, 48 bytes."""

Batch: TypeAlias = npt.NDArray[np.void]

# Kinds of row.
CLOCK = 0  # nothing happened until recv_ns
LEVEL = 1  # the new total size at a price; size 0 removes the level; side by the flag ASK
TRADE = 2  # one trade; SELL in flags: the aggressor sold
CLEAR = 3  # a snapshot begins: empty the book (it is not ready until READY)
QUOTE = 4  # the venue's own best price (bid row, then ask row); does not touch the book
MARK = 5  # a depth frame that changed no level
READY = 6  # snapshot and buffered differences are applied and verified: the book may be used
GAP = 7  # the book is in doubt until the next READY
DOWN = 8  # the connection that feeds this symbol is lost: the book is in doubt
UP = 9  # the connection is open and subscribed (the book is still not ready)
CHECK = 10  # last row of a depth frame: the venue's checksum of the book, in size
FUNDING = 11  # a perpetual's mark price, the rate that its next funding will pay (size, 1e-12), and when (id, ns UTC)

RATE_DECIMALS = 12
"""A funding rate is an integer of 1e-12 of the position's value; below 0 the shorts pay."""

# Flags.
ASK = 1  # LEVEL, QUOTE: the sell side
SELL = 1  # TRADE: the aggressor sold
SNAPSHOT = 2  # the row belongs to a snapshot
UNSIDED = 4  # TRADE: the venue does not say who the aggressor was
LAST = 128  # the last row of a frame

REASONS: tuple[str, ...] = (
    "",
    "sequence",  # an update id is missing
    "connection",  # the connection was lost or closed
    "stale snapshot",  # the snapshot is older than the first difference at hand
    "overflow",  # we fell behind and frames were dropped
    "checksum",  # the venue's checksum does not match
    "crossed",  # the best bid is not below the best ask
    "negative",  # a price or size below zero
    "malformed",  # a frame that could not be parsed
    "silence",  # the watchdog heard nothing
    "absurd",  # a price or size beyond all sense
    "restart",  # the daemon itself was away
)
"""Why a book is in doubt; a row carries the index."""

(
    SEQUENCE,
    CONNECTION,
    STALE_SNAPSHOT,
    OVERFLOW,
    CHECKSUM,
    CROSSED,
    NEGATIVE,
    MALFORMED,
    SILENCE,
    ABSURD,
    RESTART,
) = range(1, 12)

MOST_UNITS = 1 << 53
"""A larger price or size is no market: sums and shares of what is below stay within 64 bits."""

FRAME_LEVELS = 10
FRAME = np.dtype(
    [
        ("symbol", "i8"),
        ("recv_ns", "i8"),  # engine time
        ("venue_ns", "i8"),
        ("id", "i8"),  # last update id of a book frame, 0 of others
        ("flags", "i8"),  # FRAME_READY | FRAME_BOOK | FRAME_TRADE
        ("bid", "i8", (FRAME_LEVELS,)),  # best first; 0 where the level is missing
        ("bid_size", "i8", (FRAME_LEVELS,)),
        ("ask", "i8", (FRAME_LEVELS,)),
        ("ask_size", "i8", (FRAME_LEVELS,)),
        ("buy_size", "i8"),  # sum of the frame's trades with a buying aggressor
        ("sell_size", "i8"),
        ("buys", "i8"),  # their number
        ("sells", "i8"),
        ("last_price", "i8"),  # of the frame's last trade, 0 without one
    ]
)
"""What the market looked like when a frame had been applied whole: the input of the streaming features."""

Frames: TypeAlias = npt.NDArray[np.void]

FRAME_READY = 1  # the book may be used
FRAME_BOOK = 2  # a depth frame
FRAME_TRADE = 4  # it held trades


def rows(count: int) -> Batch:
    """An empty batch of ``count`` rows, zero-filled."""
    return np.zeros(count, BATCH)


def row(
    kind: int,
    *,
    symbol: int,
    recv_ns: int,
    flags: int = LAST,
    price: int = 0,
    size: int = 0,
    venue_ns: int = 0,
    id: int = 0,  # noqa: A002 - the field's name
    reason: int = 0,
) -> Batch:
    """A batch of one row.

    >>> int(row(CLOCK, symbol=0, recv_ns=7)["recv_ns"][0])
    7
    """
    batch = np.zeros(1, BATCH)
    batch[0] = (kind, flags, symbol, reason, price, size, venue_ns, recv_ns, id)
    return batch


class Command(msgspec.Struct, frozen=True, tag=True):
    """A user's word to the running engine; it is on the tape, so a replay obeys it too.

    ``name`` is ``halt``, ``resume``, ``flatten`` or ``reload``; ``args`` by name.
    """

    recv_ns: int
    name: str
    args: dict[str, Any] = {}


class ModelReady(msgspec.Struct, frozen=True, tag=True):
    """A model was trained elsewhere and may be swapped in; ``version`` is the SHA-256 of ``payload``."""

    recv_ns: int
    model: str
    version: str
    payload: bytes


class Measured(msgspec.Struct, frozen=True, tag=True):
    """A round trip to a venue (its name in the config) was measured on the live connection: an input of the engine.

    ``delay_ns``: how much later than in its best moment market data came meanwhile.
    """

    recv_ns: int
    venue: str
    rtt_ns: int
    delay_ns: int = 0


class Observed(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """A row of a side stream passed its validation; ``recv_ns`` is when it was available, and all that joins go by.

    ``event_ns``: the source's own time, ns UTC, 0 where it gives none. A field without a value is left out of
    ``values``. ``quality``: that of the stream, 0 to 1. ``print``: of the row, by which it is known when it comes
    again. ``text``: what was scored, or the start of its SHA-256.
    """

    recv_ns: int
    stream: str
    event_ns: int
    values: dict[str, float]
    quality: float = 1.0
    print: str = ""
    text: str = ""


class Judged(msgspec.Struct, frozen=True, tag=True):
    """Validation took a side stream out of use, or back into it (``good``)."""

    recv_ns: int
    stream: str
    good: bool
    reason: str
    quality: float


Input: TypeAlias = Batch | Command | ModelReady | Measured | Observed | Judged
