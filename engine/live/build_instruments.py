"""An instrument as its venue tells it, and as the configuration wants it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from engine.core.types import Filters, Instrument, UnitsError
from engine.live.config import ConfigError, InstrumentSection


def override(instrument: Instrument, section: InstrumentSection | None, where: str) -> Instrument:
    """An instrument as the config wants it.

    Raises:
        ConfigError: a tick or lot that the decimals cannot hold.
    """
    if section is None:
        return instrument
    told = section.model_dump(exclude_none=True)
    price_decimals = told.get("price_decimals", instrument.price_decimals)
    size_decimals = told.get("size_decimals", instrument.size_decimals)
    named = ("base", "quote", "contract_size", "kind", "settle_in")
    changes: dict[str, Any] = {key: told[key] for key in named if key in told}
    changes |= {"price_decimals": price_decimals, "size_decimals": size_decimals, "source": "config"}
    scale_price = _scale(instrument.price_decimals, price_decimals)
    scale_size = _scale(instrument.size_decimals, size_decimals)
    try:
        changes["tick"] = _units(told.get("tick"), price_decimals) or instrument.tick * scale_price or 1
        changes["lot"] = _units(told.get("lot"), size_decimals) or instrument.lot * scale_size or 1
    except UnitsError as error:
        raise ConfigError([f"{where}: {error}"]) from error
    changes["filters"] = _rescaled(instrument.filters, scale_price, scale_size)
    changes["min_size"] = instrument.min_size * scale_size
    changes["max_size"] = instrument.max_size * scale_size
    return msgspec.structs.replace(instrument, **changes)


def _rescaled(filters: Filters, price: int, size: int) -> Filters:
    """The venue's filters in other units; what coarser units cannot hold is not known any more."""
    prices = {name: getattr(filters, name) * price for name in ("min_price", "max_price")}
    sizes = {name: getattr(filters, name) * size for name in ("market_lot", "market_min_size", "market_max_size")}
    return msgspec.structs.replace(filters, **prices, **sizes)


def _scale(before: int, after: int) -> int:
    """From units of 1e-before to units of 1e-after; 0 where coarser units cannot hold the old values."""
    return int(10 ** (after - before)) if after >= before else 0


def _units(value: Decimal | None, decimals: int) -> int:
    if value is None:
        return 0
    scaled = value.scaleb(decimals)
    if scaled != scaled.to_integral_value():
        raise UnitsError(f"expected at most {decimals} decimals, found {value}")
    return int(scaled)
