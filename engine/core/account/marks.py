"""What the venue says of a perpetual: mark price, funding rate and the next funding, kept beside the book.

A FUNDING row never touches the book. When it names another funding time, the one before it is over: what was last said
for that one is kept, and Python is woken to pay it if it has not been paid at its time.
"""

from __future__ import annotations

from engine.core.book import TOP_FIELDS, Int64s
from engine.core.events import MOST_UNITS
from engine.core.jit import borrowing

# The last columns of a symbol's row in ``Books.top``.
(
    MARK_PRICE,  # price units, 0 before the first
    FUNDING_RATE,  # 1e-12 of the position's value, at the next funding
    FUNDING_NS,  # when that is, the venue's clock, 0 where there is none
    SAID_NS,  # our clock when the venue said so
    SAID_VENUE_NS,  # its own clock when it said so
    PAST_MARK,  # the same of the funding that is over
    PAST_RATE,
    PAST_NS,
) = range(TOP_FIELDS - 8, TOP_FIELDS)


@borrowing
def note_mark(top: Int64s, symbol: int, price: int, rate: int, next_ns: int, venue_ns: int, recv_ns: int) -> bool:
    """Keep what a FUNDING row says; whether it names another funding time than the one before."""
    if not 0 <= price <= MOST_UNITS:
        return False  # no market has such a mark: the row says nothing
    is_new = next_ns != top[symbol, FUNDING_NS]
    if is_new:
        top[symbol, PAST_MARK] = top[symbol, MARK_PRICE]
        top[symbol, PAST_RATE] = top[symbol, FUNDING_RATE]
        top[symbol, PAST_NS] = top[symbol, FUNDING_NS]
    top[symbol, MARK_PRICE] = price
    top[symbol, FUNDING_RATE] = rate
    top[symbol, FUNDING_NS] = next_ns
    top[symbol, SAID_NS] = recv_ns
    top[symbol, SAID_VENUE_NS] = venue_ns
    return bool(is_new)
