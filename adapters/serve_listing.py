"""A list of instruments in Binance's form, made so that the real adapter reads the same units back out of it.

Where a tape holds no list of its own, ``papertape serve`` answers with this one.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.types import Instrument, decimal_text


def exchange_info(instruments: Iterable[Instrument]) -> bytes:
    """An ``exchangeInfo`` page; ``pricePrecision`` and ``quantityPrecision`` tell the units exactly.

    >>> from adapters.binance import BinanceSpot
    >>> btc = Instrument(venue="v", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)
    >>> BinanceSpot.parse_instruments("v", exchange_info([btc]))["BTCUSDT"] == btc
    True
    """
    page = {"timezone": "UTC", "serverTime": 0, "rateLimits": [], "exchangeFilters": []}
    return msgspec.json.encode({**page, "symbols": [_entry(instrument) for instrument in instruments]})


def _entry(instrument: Instrument) -> dict[str, Any]:
    size = instrument.size_decimals
    largest = decimal_text(instrument.max_size, size) if instrument.max_size else "0"
    return {
        "symbol": instrument.symbol,
        "status": "TRADING",
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "marginAsset": instrument.settle,
        "contractSize": _number(instrument.contract_size),
        "pricePrecision": instrument.price_decimals,
        "quantityPrecision": size,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": decimal_text(instrument.tick, instrument.price_decimals)},
            {
                "filterType": "LOT_SIZE",
                "minQty": decimal_text(instrument.min_size, size),
                "maxQty": largest,
                "stepSize": decimal_text(instrument.lot, size),
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": f"{instrument.min_notional:f}",
                "notional": f"{instrument.min_notional:f}",
            },
        ],
    }


def _number(value: Decimal) -> int | str:
    return int(value) if value == value.to_integral_value() else f"{value:f}"
