"""Mark price and funding of Binance's perpetual contracts.

Docs: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Mark-Price-Stream
https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams/Mark-Price-Stream

Once a second, of USD-M and COIN-M alike::

    {"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15000000",
      "i":"11784.62659091","P":"11784.25641265","r":"0.00038167","T":1562306400000}}

``r`` is the rate that will be paid at ``T`` if it stays; a delivery contract writes ``"r":""`` and ``"T":0``.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated

import msgspec

from adapters.binance_book import Market
from adapters.binance_wire import DECODE_ERRORS, Data, to_ns
from adapters.contract import MalformedFrame, Output
from engine.core.events import FUNDING, RATE_DECIMALS, row
from engine.core.types import UnitsError, units

MARK_DECIMALS = 8
HIGHEST_RATE = int(10**RATE_DECIMALS)
"""A rate of 100 % of the position is no funding rate."""

_TEXT = msgspec.json.Decoder(Annotated[str, msgspec.Meta(max_length=40)])


def mark_price(market: Market, data: Data, recv_ns: int) -> Sequence[Output]:
    """One FUNDING row: the mark price rounded half to even to the instrument's price unit, rate and time exact.

    Raises:
        MalformedFrame: a mark price of nothing, a rate or a time that cannot be.
    """
    instrument = market.scale.instrument
    try:
        mark = units(_TEXT.decode(data.p), MARK_DECIMALS)
        rate_text = _TEXT.decode(data.r)
        rate = units(rate_text, RATE_DECIMALS) if rate_text else 0
    except (*DECODE_ERRORS, UnitsError) as error:
        raise MalformedFrame(f"{market.symbol}: expected a mark price and a funding rate, found {error}") from error
    scaled = Decimal(mark).scaleb(instrument.price_decimals - MARK_DECIMALS)
    price = int(scaled.to_integral_value(ROUND_HALF_EVEN))
    if data.s != market.symbol or data.E == 0 or price <= 0 or price >= 2**53 or abs(rate) >= HIGHEST_RATE:
        raise MalformedFrame(f"{market.symbol}: expected a mark price with s, E, p above 0 and r below 1, found others")
    next_ns = to_ns(data.T) if rate_text else 0
    venue_ns = to_ns(data.E)
    if rate_text and next_ns == 0:
        raise MalformedFrame(f"{market.symbol}: expected the next funding time beside the rate, found none")
    return (row(FUNDING, symbol=market.index, recv_ns=recv_ns, price=price, size=rate, venue_ns=venue_ns, id=next_ns),)
