"""Prices that Python waits for: the kernel wakes it after the frame in which one was reached, and not before.

Orders that sleep at the venue (stops, take-profits) need the first price that reaches them; pegged and trailing orders
need each move of the touch. For every symbol there is one threshold from below and one from above on each price, the
nearest that somebody waits for; who that is, is Python's affair, and it sets the next ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.core.account.marks import MARK_PRICE
from engine.core.book import ASK, BID, Int64s
from engine.core.jit import borrowing

# Columns of a symbol's row in ``Books.top``.
LAST_PRICE, WATCHING, RISES, FALLS, SEEN_BID, SEEN_ASK = 20, 21, 22, 27, 32, 33

BY_LAST, BY_BID, BY_ASK, BY_MID2, BY_MARK = range(5)
"""The prices that are watched; the mid is watched twice as large, best bid plus best ask."""
PRICES = 5

REACHED, MOVED = 1, 2
"""Bits of ``WATCHING``: wake when a threshold is reached; when the best bid or the best ask has another price."""


def watch(top: Int64s, symbol: int, rises: Mapping[int, int], falls: Mapping[int, int], *, moves: bool = False) -> None:
    """Wake when a price (``BY_LAST`` …) is at or above its value in ``rises``, or at or below that in ``falls``.

    What was watched before is forgotten. ``moves``: also at each new best bid or ask price.

    >>> import numpy as np
    >>> top = np.zeros((1, 64), np.int64)
    >>> watch(top, 0, {BY_LAST: 105}, {BY_LAST: 95})
    >>> [is_reached(top, 0, BY_LAST, price) for price in (94, 95, 100, 105)]
    [True, True, False, True]
    """
    row = top[symbol]
    row[RISES : RISES + PRICES] = row[FALLS : FALLS + PRICES] = 0
    for price, value in rises.items():
        row[RISES + price] = value
    for price, value in falls.items():
        row[FALLS + price] = value
    row[SEEN_BID], row[SEEN_ASK] = row[BID], row[ASK]
    row[WATCHING] = (REACHED if rises or falls else 0) | (MOVED if moves else 0)


@borrowing
def is_reached(top: Int64s, symbol: int, which: int, price: int) -> bool:
    """One of the two thresholds on this price is reached; a price of 0 is none."""
    above, below = top[symbol, RISES + which], top[symbol, FALLS + which]
    return bool(price > 0 and ((above > 0 and price >= above) or (below > 0 and price <= below)))


@borrowing
def touch_wakes(top: Int64s, symbol: int) -> bool:
    """After a depth frame: the touch is where somebody waits for it."""
    bid, ask = top[symbol, BID], top[symbol, ASK]
    if top[symbol, WATCHING] & MOVED and (bid != top[symbol, SEEN_BID] or ask != top[symbol, SEEN_ASK]):
        top[symbol, SEEN_BID] = bid
        top[symbol, SEEN_ASK] = ask
        return True
    return bool(
        is_reached(top, symbol, BY_BID, bid)
        or is_reached(top, symbol, BY_ASK, ask)
        or (bid > 0 and ask > 0 and is_reached(top, symbol, BY_MID2, bid + ask))
    )


@borrowing
def last_wakes(top: Int64s, symbol: int, price: int) -> bool:
    """After a trade: its price is one that somebody waits for."""
    return is_reached(top, symbol, BY_LAST, price)


@borrowing
def mark_wakes(top: Int64s, symbol: int) -> bool:
    """After the venue said its mark price: it is where somebody waits for it."""
    return is_reached(top, symbol, BY_MARK, top[symbol, MARK_PRICE])
