"""Trades that wait until the book shows them.

Many venues publish depth in steps of 100 ms or a second and trades at once. A trade that is counted on arrival then
tells where the mid went before the mid that labels start at has moved: a model predicts the past, and its scores are
too good. Held, a trade is counted with the first book frame that the venue made at or after it, before that frame.
"""

from __future__ import annotations

import numpy as np

from engine.core.events import FRAME_BOOK, FRAME_READY, FRAME_TRADE, Frames
from engine.core.jit import kernel
from engine.features.family import Indices, Rows

ROOM = 256
"""Frames with trades that wait at most, a symbol; when it is full the newest two become one."""

TRADES = np.dtype(
    [
        ("venue_ns", "i8"),
        ("buy_size", "i8"),
        ("sell_size", "i8"),
        ("buys", "i8"),
        ("sells", "i8"),
        ("last_price", "i8"),
    ]
)
"""The trades of a frame that waits, as in ``FRAME``."""

FIELDS: tuple[tuple[object, ...], ...] = (("waiting", "i8"), ("held", TRADES, (ROOM,)))
"""What a symbol's row has more where trades are held: how many wait, and they, oldest first."""


@kernel
def _wait(now: np.void, waiting: int, trades: Rows) -> int:
    """Put a frame's trades behind those that wait; how many wait then."""
    if waiting == trades.shape[0]:
        newest = trades[waiting - 1]
        newest["venue_ns"] = max(newest["venue_ns"], now["venue_ns"])
        newest["buy_size"] += now["buy_size"]
        newest["sell_size"] += now["sell_size"]
        newest["buys"] += now["buys"]
        newest["sells"] += now["sells"]
        newest["last_price"] = now["last_price"]
        return waiting
    free = trades[waiting]
    free["venue_ns"] = now["venue_ns"]
    free["buy_size"] = now["buy_size"]
    free["sell_size"] = now["sell_size"]
    free["buys"] = now["buys"]
    free["sells"] = now["sells"]
    free["last_price"] = now["last_price"]
    return waiting + 1


@kernel
def hold(frames: Frames, lasts: Frames, waiting: Indices, trades: Rows, newest: Indices, out: Frames) -> int:
    """Write to ``out`` the frames as they are to be counted, and return how many.

    A frame of trades only is taken away until a book frame of its symbol whose venue time is not before theirs (where
    either has none, the next one); there it stands before that frame, with the book of the one before. Trades within a
    book frame count with it. A book in doubt forgets what waits. ``out`` needs room for ``frames`` and all that waits.
    """
    count = 0
    newest[:] = -1
    for i in range(frames.shape[0]):
        now = frames[i]
        symbol = now["symbol"]
        flags = now["flags"]
        if flags & FRAME_READY and flags & FRAME_TRADE and not flags & FRAME_BOOK:
            waiting[symbol] = _wait(now, waiting[symbol], trades[symbol])
            continue
        if not flags & FRAME_READY:
            waiting[symbol] = 0
        shown = 0
        while shown < waiting[symbol]:
            held = trades[symbol, shown]
            if now["venue_ns"] > 0 and held["venue_ns"] > now["venue_ns"]:
                break
            before = out[newest[symbol]] if newest[symbol] >= 0 else lasts[symbol]
            out[count] = before
            told = out[count]
            told["recv_ns"] = now["recv_ns"]
            told["venue_ns"] = held["venue_ns"]
            told["id"] = 0
            told["flags"] = FRAME_READY | FRAME_TRADE
            told["buy_size"] = held["buy_size"]
            told["sell_size"] = held["sell_size"]
            told["buys"] = held["buys"]
            told["sells"] = held["sells"]
            told["last_price"] = held["last_price"]
            newest[symbol] = count
            count += 1
            shown += 1
        if shown > 0:
            for k in range(shown, waiting[symbol]):
                trades[symbol, k - shown] = trades[symbol, k]
            waiting[symbol] -= shown
        out[count] = now
        newest[symbol] = count
        count += 1
    return count
