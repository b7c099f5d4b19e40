"""Which adapter understands a recording that does not say so.

Asks every registered venue whether frames and addresses are its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

INSTRUMENTS = "instruments"
"""The token of a venue's own list of instruments."""

_LISTING = re.compile(r"/exchangeInfo(\?|$)")
_DEPTH = re.compile(r"/depth\?(?:.*&)?symbol=([^&]+)")


def sniff_use(frames: Sequence[bytes]) -> str:
    """The registered name of the adapter that understands the frames; empty where none does."""
    for frame in frames:
        if b'"e":"depthUpdate"' in frame[:200] and b'"stream":"' in frame[:40]:
            if b'"ps":' in frame[:300]:
                return "binance-coinm"
            return "binance-usdm" if b'"pu":' in frame[:300] else "binance-spot"
    return ""


def replied_token(use: str, url: str) -> str | None:
    """The token of a recorded REST address: None where it is none of the adapter's, the address where none is known."""
    if not use:
        return url
    if _LISTING.search(url):
        return INSTRUMENTS
    match = _DEPTH.search(url)
    return f"depth:{match[1]}" if match else None
