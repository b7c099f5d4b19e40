"""What a trade on the tape is worth to resting orders, and what all of them say of volume and volatility.

Venues repeat trades, send them late, leave out who was the aggressor, and sometimes send nonsense. A print counts once,
only where it makes sense, and only for orders that were there; what is left out is counted.
"""

from __future__ import annotations

from engine.core.book import ASK, BID, Book, Int64s
from engine.core.events import MOST_UNITS, SELL, UNSIDED
from engine.core.jit import borrowing
from engine.core.state import NOW, PRINT_VENUE_NS, R_JOINED_VENUE_NS, Memory
from engine.core.types import Side

# Columns of a symbol's row in ``Books.top``.
(
    TRADED,  # size of all prints that counted
    MOVED2,  # sum of squared moves of twice the mid, sampled every SAMPLE_NS
    SAMPLED_NS,  # when it was sampled last, 0: never
    SAMPLED_MID2,
    LEFT_OUT,  # prints that made no sense, or were told before
    BOOK_VENUE_NS,  # the venue's time of the last depth frame, 0 where it gives none
    FIRST_NS,  # when the middle was sampled first, 0: never
    NUMBERS_AT,
    NUMBERS,  # the last NUMBERS_ROOM trade ids, from here on
) = range(34, 43)
NUMBERS_ROOM = 8

SAMPLE_NS = 1_000_000_000

LATE_NS = 1_000_000_000
"""A print older by more than this (the venue's clock) than the book that an order joined was before the order. Not
less, as some venues stamp trades with whole seconds."""


@borrowing
def is_sane(price: int, size: int) -> bool:
    """A price and size that a trade can have."""
    return 0 < price <= MOST_UNITS and 0 < size <= MOST_UNITS


@borrowing
def hit_side(top: Int64s, symbol: int, flags: int, price: int) -> int:
    """On which side resting orders were hit: 1 bids, -1 asks, 0 nobody knows.

    Where the venue does not say it, the quotes before the trade do: at the bid or below somebody sold, at the ask or
    above somebody bought, and between them there was nobody of us (Lee and Ready 1991, without their tick test).
    """
    if flags & UNSIDED == 0:
        return 1 if flags & SELL else -1
    if top[symbol, BID] > 0 and price <= top[symbol, BID]:
        return 1
    if top[symbol, ASK] > 0 and price >= top[symbol, ASK]:
        return -1
    return 0


@borrowing
def counts(m: Memory, symbol: int, price: int, size: int, venue_ns: int, number: int) -> bool:
    """Whether a print is to be used; it is then in the volume. Only a venue's own id and time tell a repetition."""
    if not is_sane(price, size):
        m.top[symbol, LEFT_OUT] += 1
        return False
    if number != 0 and venue_ns != 0:
        for i in range(NUMBERS, NUMBERS + NUMBERS_ROOM):
            if m.top[symbol, i] == number:
                m.top[symbol, LEFT_OUT] += 1
                return False
        at = m.top[symbol, NUMBERS_AT]
        m.top[symbol, NUMBERS + at] = number
        m.top[symbol, NUMBERS_AT] = (at + 1) % NUMBERS_ROOM
    m.top[symbol, TRADED] += size
    m.control[PRINT_VENUE_NS] = venue_ns
    return True


@borrowing
def came_after(m: Memory, slot: int) -> bool:
    """The print of this moment was over before the order came."""
    venue_ns = m.control[PRINT_VENUE_NS]
    return bool(venue_ns != 0 and venue_ns + LATE_NS < m.resting[slot, R_JOINED_VENUE_NS])


@borrowing
def sample_mid(m: Memory, symbol: int) -> None:
    """After a depth frame of a ready book: how far the middle moved since the last sample."""
    now = m.control[NOW]
    then = m.top[symbol, SAMPLED_NS]
    if then != 0 and now - then < SAMPLE_NS:
        return
    if m.top[symbol, BID] == 0 or m.top[symbol, ASK] == 0:
        return
    mid2 = m.top[symbol, BID] + m.top[symbol, ASK]
    move = mid2 - m.top[symbol, SAMPLED_MID2]
    if then == 0:
        m.top[symbol, FIRST_NS] = now
    if then != 0 and -(1 << 30) < move < (1 << 30):
        m.top[symbol, MOVED2] += move * move
    m.top[symbol, SAMPLED_NS] = now
    m.top[symbol, SAMPLED_MID2] = mid2


def aggressor(flags: int, price: int, book: Book) -> Side:
    """Who the venue says it was; where it does not, the side of the middle on which the trade was."""
    if flags & UNSIDED:
        return Side.SELL if 2 * price < book.bid + book.ask else Side.BUY
    return Side.SELL if flags & SELL else Side.BUY
