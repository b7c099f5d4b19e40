"""What Binance trades: its ``exchangeInfo`` pages, and what its frames show where a recording holds no such page.

Docs: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints (and filters),
https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Exchange-Information and
https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/Exchange-Information

A symbol of spot, of USD-M and of COIN-M (only what is read here)::

    {"symbol":"ETHBTC","baseAsset":"ETH","quoteAsset":"BTC","filters":[
      {"filterType":"PRICE_FILTER","tickSize":"0.00000100"},
      {"filterType":"LOT_SIZE","minQty":"0.00010000","maxQty":"100000.00000000","stepSize":"0.00010000"},
      {"filterType":"MARKET_LOT_SIZE","minQty":"0.00000000","maxQty":"963.49166667","stepSize":"0.00000000"},
      {"filterType":"PERCENT_PRICE_BY_SIDE","bidMultiplierUp":"5","bidMultiplierDown":"0.2","askMultiplierUp":"5",
       "askMultiplierDown":"0.2","avgPriceMins":5},
      {"filterType":"ICEBERG_PARTS","limit":100},{"filterType":"MAX_NUM_ORDERS","maxNumOrders":200},
      {"filterType":"MAX_NUM_ALGO_ORDERS","maxNumAlgoOrders":5},
      {"filterType":"NOTIONAL","minNotional":"0.00010000","maxNotional":"9000000.00000000"}]}
    {"symbol":"BTCUSDT","baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"USDT","filters":[…
      {"filterType":"MIN_NOTIONAL","notional":"5"}]}
    {"symbol":"BTCUSD_PERP","baseAsset":"BTC","quoteAsset":"USD","marginAsset":"BTC","contractSize":100,"filters":[…]}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated

import msgspec

from adapters.contract import MalformedFrame
from engine.core.account.money import amount
from engine.core.types import ContractKind, Filters, Instrument, UnitsError, units

WIRE_DECIMALS = 8
"""Spot writes every number with this many decimals, whatever the tick."""

SPARE_DECIMALS = 3
"""Spot units are finer than today's tick and lot by up to this many decimals: orders placed before Binance made a tick
or lot coarser rest on the old grid for years, and a book with one level left out would not be exact. Futures say with
``pricePrecision`` and ``quantityPrecision`` how fine their numbers get."""

QUOTES = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "DAI", "BTC", "ETH", "BNB", "EUR", "TRY", "GBP", "AUD", "BRL",
    "JPY", "ZAR", "UAH", "RUB", "NGN", "IDRT", "BIDR", "BVND", "PLN", "RON", "ARS", "MXN", "COP", "CZK", "VAI", "TRX",
    "XRP", "DOGE", "DOT", "SOL", "PAX", "USDS", "UST", "EURI", "USD1", "U", "USD",
)  # fmt: skip
_INVERSE_SIZES = {"BTC": Decimal(100)}
_LEVELS = re.compile(rb'\["([0-9.]+)","([0-9.]+)"\]')
_SYMBOL_NAME = re.compile(rb'"s(?:ymbol)?":"([^"]+)"')
_PRICE = re.compile(rb'"p":"([0-9.]+)","q":"([0-9.]+)"')


class _Filter(msgspec.Struct, gc=False):
    filterType: str  # noqa: N815 - Binance's name
    tickSize: str = "0"  # noqa: N815
    minPrice: str = "0"  # noqa: N815
    maxPrice: str = "0"  # noqa: N815
    stepSize: str = "0"  # noqa: N815
    minQty: str = "0"  # noqa: N815
    maxQty: str = "0"  # noqa: N815
    minNotional: str = ""  # noqa: N815 - spot
    maxNotional: str = ""  # noqa: N815 - spot
    notional: str = ""  # USD-M
    multiplierUp: str = "0"  # noqa: N815 - PERCENT_PRICE
    multiplierDown: str = "0"  # noqa: N815
    bidMultiplierUp: str = "0"  # noqa: N815 - PERCENT_PRICE_BY_SIDE
    bidMultiplierDown: str = "0"  # noqa: N815
    askMultiplierUp: str = "0"  # noqa: N815
    askMultiplierDown: str = "0"  # noqa: N815
    limit: int = 0  # ICEBERG_PARTS; of futures also MAX_NUM_ORDERS and MAX_NUM_ALGO_ORDERS
    maxNumOrders: int = 0  # noqa: N815 - spot
    maxNumAlgoOrders: int = 0  # noqa: N815 - spot


class _Symbol(msgspec.Struct):
    symbol: str
    baseAsset: str  # noqa: N815
    quoteAsset: str  # noqa: N815
    filters: list[_Filter]
    marginAsset: str = ""  # noqa: N815
    pricePrecision: Annotated[int, msgspec.Meta(ge=0, le=18)] | None = None  # noqa: N815 - futures
    quantityPrecision: Annotated[int, msgspec.Meta(ge=0, le=18)] | None = None  # noqa: N815 - futures
    contractSize: msgspec.Raw = msgspec.Raw(b"1")  # noqa: N815


class _Page(msgspec.Struct):
    symbols: list[_Symbol]


_DECODER = msgspec.json.Decoder(_Page)


def parse(venue: str, body: bytes, kind: ContractKind) -> dict[str, Instrument]:
    """Every instrument of an ``exchangeInfo`` page; ``venue`` is the name in the config.

    Raises:
        MalformedFrame: the page is not what Binance documents.
    """
    try:
        page = _DECODER.decode(body)
        return {entry.symbol: _instrument(venue, entry, kind) for entry in page.symbols}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UnitsError, InvalidOperation) as error:
        raise MalformedFrame(f"{venue}: expected an exchangeInfo page, found {error}") from error


def _instrument(venue: str, entry: _Symbol, kind: ContractKind) -> Instrument:
    filters = {each.filterType: each for each in entry.filters}
    tick = filters.get("PRICE_FILTER", _Filter("")).tickSize
    lot = filters.get("LOT_SIZE", _Filter(""))
    price_decimals = _finest(_step_decimals(tick), entry.pricePrecision)
    size_decimals = _finest(_step_decimals(lot.stepSize), entry.quantityPrecision)
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or _Filter("")
    is_inverse = kind is ContractKind.INVERSE
    return Instrument(
        venue=venue,
        symbol=entry.symbol,
        base=(entry.marginAsset or entry.baseAsset) if is_inverse else entry.baseAsset,
        quote=entry.quoteAsset,
        kind=kind,
        price_decimals=price_decimals,
        size_decimals=size_decimals,
        tick=units(tick, price_decimals) or 1,
        lot=units(lot.stepSize, size_decimals) or 1,
        min_size=_at_least(lot.minQty, size_decimals),
        max_size=_limit(lot.maxQty, size_decimals),
        min_notional=_positive(notional.minNotional or notional.notional or "0"),
        contract_size=_positive(bytes(entry.contractSize).decode()) if is_inverse else Decimal(1),
        filters=_further(filters, price_decimals, size_decimals),
    )


def _further(filters: Mapping[str, _Filter], price_decimals: int, size_decimals: int) -> Filters:
    """What Binance holds orders against beyond tick, lot and least notional; a filter that is off (0) is unknown."""
    none = _Filter("")
    price, market = filters.get("PRICE_FILTER", none), filters.get("MARKET_LOT_SIZE", none)
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or none
    by_side, percent = filters.get("PERCENT_PRICE_BY_SIDE", none), filters.get("PERCENT_PRICE", none)
    orders, algo = filters.get("MAX_NUM_ORDERS", none), filters.get("MAX_NUM_ALGO_ORDERS", none)
    return Filters(
        min_price=_at_least(price.minPrice, price_decimals),
        max_price=_limit(price.maxPrice, price_decimals),
        market_lot=_at_least(market.stepSize, size_decimals),
        market_min_size=_at_least(market.minQty, size_decimals),
        market_max_size=_limit(market.maxQty, size_decimals),
        bid_up=_millionths(by_side.bidMultiplierUp, percent.multiplierUp),
        bid_down=_millionths(by_side.bidMultiplierDown, percent.multiplierDown),
        ask_up=_millionths(by_side.askMultiplierUp, percent.multiplierUp),
        ask_down=_millionths(by_side.askMultiplierDown, percent.multiplierDown),
        min_worth=amount(_positive(notional.minNotional or notional.notional or "0")),
        max_worth=amount(_positive(notional.maxNotional or "0")),
        iceberg_parts=filters.get("ICEBERG_PARTS", none).limit,
        max_orders=orders.maxNumOrders or orders.limit,
        max_algo_orders=algo.maxNumAlgoOrders or algo.limit,
    )


def _millionths(by_side: str, both: str) -> int:
    """A multiplier of the market's price in millionths: of one side, or else of both."""
    return int((_positive(by_side) or _positive(both)) * 1_000_000)


def _step_decimals(step: str) -> int:
    """Decimals of a step; a filter that is switched off (0) leaves all that the wire can carry.

    >>> _step_decimals("0.00100000"), _step_decimals("10"), _step_decimals("0.00000000")
    (3, 0, 8)
    """
    if step.startswith("-"):
        raise UnitsError(f"expected a step of at least 0, found {step!r}")
    if units(step, WIRE_DECIMALS) == 0:
        return WIRE_DECIMALS
    return len(step.partition(".")[2].rstrip("0"))


def _finest(decimals: int, precision: int | None) -> int:
    """Decimals that also hold what was placed on a finer grid of old.

    >>> _finest(2, None), _finest(7, None), _finest(3, 5)
    (5, 8, 5)
    """
    return min(WIRE_DECIMALS, decimals + SPARE_DECIMALS) if precision is None else max(decimals, precision)


def _at_least(text: str, decimals: int) -> int:
    """The smallest whole unit that is not below ``text``."""
    scaled = _positive(text).scaleb(decimals)
    return int(scaled.to_integral_value("ROUND_CEILING"))


def _limit(text: str, decimals: int) -> int:
    """A largest size in units; 0 (no limit known) where it is beyond what the units can hold."""
    scaled = int(_positive(text).scaleb(decimals))
    return scaled if scaled < 2**63 else 0


def _positive(text: str) -> Decimal:
    value = Decimal(text.strip('"'))
    if not value.is_finite() or value < 0 or value.adjusted() > 27:
        raise UnitsError(f"expected a finite number of at most 28 digits, not below 0, found {text!r}")
    return value


def infer(venue: str, frames: Iterable[bytes], kind: ContractKind) -> dict[str, Instrument]:
    """Instruments as wire frames show them: give every frame that may hold the finest number.

    Futures write each number with the instrument's own decimals; spot always writes eight, so there the finest digit
    that is not 0 counts. A REST depth answer that names no symbol counts for each.

    >>> frame = b'{"data":{"s":"BTCUSDT","b":[["61737.63000000","0.00120000"]],"a":[]}}'
    >>> found = infer("spot", [frame], ContractKind.SPOT)["BTCUSDT"]
    >>> found.price_decimals, found.size_decimals, found.base, found.quote, found.source
    (2, 4, 'BTC', 'USDT', 'wire')
    """
    seen: dict[str, list[int]] = {}
    unnamed = [0, 0]
    for frame in frames:
        match = _SYMBOL_NAME.search(frame)
        finest = unnamed if match is None else seen.setdefault(match[1].decode(errors="replace"), [0, 0])
        for pair in _LEVELS.findall(frame) or _PRICE.findall(frame):
            for column in (0, 1):
                fraction = pair[column].partition(b".")[2]
                kept = fraction.rstrip(b"0") if len(fraction) == WIRE_DECIMALS else fraction
                finest[column] = max(finest[column], len(kept))
    return {
        symbol: _inferred(venue, symbol, kind, max(price, unnamed[0]), max(size, unnamed[1]))
        for symbol, (price, size) in seen.items()
    }


def _inferred(venue: str, symbol: str, kind: ContractKind, price_decimals: int, size_decimals: int) -> Instrument:
    base, quote = split_symbol(symbol)
    is_inverse = kind is ContractKind.INVERSE
    return Instrument(
        venue=venue,
        symbol=symbol,
        base=base,
        quote=quote,
        kind=kind,
        price_decimals=price_decimals,
        size_decimals=size_decimals,
        contract_size=_INVERSE_SIZES.get(base, Decimal(10)) if is_inverse else Decimal(1),
        source="wire",
    )


def split_symbol(symbol: str) -> tuple[str, str]:
    """Base and quote of a symbol by the quote assets that Binance has had.

    >>> split_symbol("BTCFDUSD"), split_symbol("BTCUSD_PERP"), split_symbol("ETHBTC"), split_symbol("ODD")
    (('BTC', 'FDUSD'), ('BTC', 'USD'), ('ETH', 'BTC'), ('ODD', ''))
    """
    pair = symbol.partition("_")[0]
    for quote in sorted(QUOTES, key=len, reverse=True):
        if pair.endswith(quote) and len(pair) > len(quote):
            return pair.removesuffix(quote), quote
    return pair, ""
