"""What a plain source trades: its list of instruments, and what its frames show where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from adapters.contract import MalformedFrame
from engine.core.types import INT64_MAX, ContractKind, Instrument, UnitsError, decimal_text, units

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Decimals = Annotated[int, msgspec.Meta(ge=0, le=18)]
Number = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?$")]

_SYMBOL = re.compile(rb'"symbol":"([^"]+)"')
_LEVEL = re.compile(rb'\["([0-9.]+)","([0-9.]+)"\]')
_TRADE = re.compile(rb'"price":"([0-9.]+)","size":"([0-9.]+)"')


class _Listed(msgspec.Struct):
    symbol: Name
    base: Name
    quote: str
    price_decimals: Decimals
    size_decimals: Decimals
    kind: ContractKind = ContractKind.SPOT
    tick: Number | None = None
    lot: Number | None = None
    min_size: Number = "0"
    max_size: Number = "0"
    min_notional: Number = "0"
    contract_size: Number = "1"
    settle: str = ""


class _Page(msgspec.Struct):
    instruments: list[_Listed]
    type: str = "instruments"


_decode = msgspec.json.Decoder(_Page).decode


def parse(venue: str, body: bytes) -> dict[str, Instrument]:
    """Every instrument of a list; ``venue`` is the name in the config.

    Raises:
        MalformedFrame: not a list of instruments as plain.py documents it.
    """
    try:
        page = _decode(body)
        if page.type != "instruments":
            raise MalformedFrame(f"{venue}: expected the type instruments, found {page.type[:40]!r}")
        return {each.symbol: _instrument(venue, each) for each in page.instruments}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UnitsError) as error:
        raise MalformedFrame(f"{venue}: expected a list of instruments, found {error}") from error


def _instrument(venue: str, each: _Listed) -> Instrument:
    price, size = each.price_decimals, each.size_decimals
    contract_size = Decimal(each.contract_size)
    if contract_size == 0:
        raise UnitsError("expected a contract size above 0, found 0")
    return Instrument(
        venue=venue,
        symbol=each.symbol,
        base=each.base,
        quote=each.quote,
        kind=each.kind,
        price_decimals=price,
        size_decimals=size,
        tick=_step(each.tick, price),
        lot=_step(each.lot, size),
        min_size=units(each.min_size, size),
        max_size=units(each.max_size, size),
        min_notional=Decimal(each.min_notional),
        contract_size=contract_size,
        settle_in=each.settle,
    )


def _step(text: str | None, decimals: int) -> int:
    found = 1 if text is None else units(text, decimals)
    if not 0 < found <= INT64_MAX:
        raise UnitsError(f"expected a step above 0, found {text}")
    return found


def page(instruments: Sequence[Instrument]) -> bytes:
    """The list of instruments as a plain source gives it.

    >>> eth = Instrument(venue="v", symbol="ETHUSD", base="ETH", quote="USD", price_decimals=2, size_decimals=8)
    >>> parse("v", page([eth])) == {"ETHUSD": eth}
    True
    """
    return msgspec.json.encode({"type": "instruments", "instruments": [_entry(one) for one in instruments]})


def _entry(one: Instrument) -> dict[str, Any]:
    price, size = one.price_decimals, one.size_decimals
    return {
        "symbol": one.symbol,
        "base": one.base,
        "quote": one.quote,
        "kind": one.kind.value,
        "price_decimals": price,
        "size_decimals": size,
        "tick": decimal_text(one.tick, price),
        "lot": decimal_text(one.lot, size),
        "min_size": decimal_text(one.min_size, size),
        "max_size": decimal_text(one.max_size, size),
        "min_notional": f"{one.min_notional:f}",
        "contract_size": f"{one.contract_size:f}",
        "settle": one.settle_in,
    }


def infer(venue: str, frames: Iterable[bytes]) -> dict[str, Instrument]:
    """Instruments as frames show them: give every frame that may hold the finest number.

    Base and quote are told apart by a dash, slash or underscore.

    >>> frame = b'{"type":"trade","symbol":"ETH-USD","price":"2278.150","size":"0.0409"}'
    >>> found = infer("v", [frame])["ETH-USD"]
    >>> found.price_decimals, found.size_decimals, found.base, found.quote, found.source
    (2, 4, 'ETH', 'USD', 'wire')
    """
    seen: dict[str, list[int]] = {}
    for frame in frames:
        match = _SYMBOL.search(frame)
        pairs = _LEVEL.findall(frame) or _TRADE.findall(frame)
        if match is None or not pairs:
            continue
        finest = seen.setdefault(match[1].decode(errors="replace"), [0, 0])
        for pair in pairs:
            for column in (0, 1):
                finest[column] = max(finest[column], len(pair[column].partition(b".")[2].rstrip(b"0")))
    return {symbol: _inferred(venue, symbol, *finest) for symbol, finest in seen.items()}


def _inferred(venue: str, symbol: str, price_decimals: int, size_decimals: int) -> Instrument:
    base, *rest = re.split(r"[-/_]", symbol, maxsplit=1)
    return Instrument(
        venue=venue,
        symbol=symbol,
        base=base or symbol,
        quote=rest[0] if rest else "",
        price_decimals=price_decimals,
        size_decimals=size_decimals,
        source="wire",
    )
