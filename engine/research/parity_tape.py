"""Why an order filled differently in hftbacktest: read off the tape at the moment where the two first part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from engine.core import events as ev
from engine.core.events import Batch

THROUGH: Final = "a print through the price: they fill the order whole, we at most the print's size"
CROSSED: Final = "the other side reached the price: they fill the order whole, we at most what is displayed"
FLEETING: Final = "the other side reached the price inside a frame and was gone at its end: we look at whole frames"
UNEXPLAINED: Final = "unexplained"


class Look(msgspec.Struct, frozen=True):
    """An order on which the two differ: fills as {received time ns: size}."""

    side: int
    price: int
    size: int
    ours: dict[int, int]
    theirs: dict[int, int]


class _Frame:
    """What one frame did: its trades, how far the other side reached while it was applied, what stood at its end."""

    def __init__(self) -> None:
        self.trades: list[tuple[int, int, int]] = []
        self.touched = {1: 0, -1: 0}
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}


def explain(batch: Batch, looks: Sequence[Look]) -> list[str]:
    """The class of each difference; what follows after the first parting of an order belongs to the same cause."""
    partings = [_parting(look) for look in looks]
    frames = _frames(batch, set(partings))
    return [_word(look, frames.get(at), at) for look, at in zip(looks, partings, strict=True)]


def _parting(look: Look) -> int:
    """The first moment at which the two have a different fill."""
    moments = sorted(look.ours.keys() | look.theirs.keys())
    return next(at for at in moments if look.ours.get(at) != look.theirs.get(at))


def _word(look: Look, frame: _Frame | None, at: int) -> str:
    if frame is None:
        return UNEXPLAINED
    left = look.size - sum(size for ns, size in look.ours.items() if ns < at)
    theirs, ours = look.theirs.get(at, 0), look.ours.get(at, 0)
    if theirs != left or ours >= left:  # they filled what was left, and we did not
        return UNEXPLAINED
    through = [
        size for side, price, size in frame.trades if side == -look.side and (look.price - price) * look.side > 0
    ]
    at_price = [size for side, price, size in frame.trades if side == -look.side and price == look.price]
    if through and ours <= sum(through) + sum(at_price):
        return THROUGH
    other = frame.asks if look.side > 0 else frame.bids
    shown = sum(size for price, size in other.items() if (look.price - price) * look.side >= 0)
    if shown and ours <= shown:
        return CROSSED
    reached = frame.touched[look.side]
    if reached and (look.price - reached) * look.side >= 0 and not shown:
        return FLEETING
    return UNEXPLAINED


def _frames(batch: Batch, moments: set[int]) -> dict[int, _Frame]:
    """Replay the tape with two dictionaries, and keep what happened at the moments asked for."""
    found: dict[int, _Frame] = {}
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    columns = (batch[name].tolist() for name in ("kind", "flags", "price", "size"))
    times = np.maximum.accumulate(batch["recv_ns"]).tolist()
    for kind, flags, price, size, now_ns in zip(*columns, times, strict=True):
        frame = None
        if now_ns in moments:
            frame = found.setdefault(now_ns, _Frame())
        if kind == ev.LEVEL:
            side = asks if flags & ev.ASK else bids
            if size:
                side[price] = size
            else:
                side.pop(price, None)
            if frame is not None and size:
                worst = frame.touched[1 if flags & ev.ASK else -1]
                beyond = min if flags & ev.ASK else max
                frame.touched[1 if flags & ev.ASK else -1] = beyond(worst, price) if worst else price
        elif kind == ev.CLEAR:
            bids.clear()
            asks.clear()
        elif kind == ev.TRADE and frame is not None:
            frame.trades.append((-1 if flags & ev.SELL else 1, price, size))
        if frame is not None and flags & ev.LAST:
            frame.bids, frame.asks = dict(bids), dict(asks)
    return found
