"""Which adapter understands a recording that does not say so.

Asks every registered venue whether frames and addresses are its own; names none.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from adapters.feed import INSTRUMENTS
from adapters.registry import sniff, venue_class


def sniff_use(frames: Sequence[bytes]) -> str:
    """The registered name of the adapter that understands the frames; empty where none does."""
    return sniff(frames) or ""


def replied_token(use: str, url: str) -> str | None:
    """The token of a recorded REST address: None where it is none of the adapter's, the address where none is known.

    >>> replied_token("binance-spot", "https://api.binance.com/api/v3/exchangeInfo")
    'instruments'
    >>> replied_token("binance-spot", "https://api.binance.com/api/v3/depth?symbol=NKNUSDT&limit=1000")
    'depth:NKNUSDT'
    >>> replied_token("", "https://example.org/book"), replied_token("binance-spot", "https://example.org/book")
    ('https://example.org/book', None)
    """
    if not use:
        return url
    venue = venue_class(use)
    if urlsplit(url).path == urlsplit(venue.instruments_url(venue.spec.rest_url)).path:
        return INSTRUMENTS
    return venue.token_of(url)
