"""Tables of a run as parquet, exact and in bounded memory.

Prices and sizes leave as ``Decimal(38, s)`` where ``s`` is the largest number of decimals among the run's instruments:
every integer of 64 bits at every instrument's own scale fits in there exactly. Money (fees, profit) leaves as plain
decimal text, because the ledger keeps thirty decimals, which no ``Decimal(38, s)`` holds beside a large balance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.core.types import Instrument

PART_ROWS: Final = 1 << 18
"""Rows held in memory before they become a part on disk."""


class Scale:
    """Turns integer units into exact decimals, for all instruments of a run in one column.

    >>> btc = Instrument(venue="v", symbol="X", base="B", quote="Q", price_decimals=2, size_decimals=5)
    >>> eth = Instrument(venue="v", symbol="Y", base="E", quote="Q", price_decimals=4, size_decimals=0)
    >>> Scale([btc, eth]).prices(pl.Series([6183763, 5]), pl.Series([0, 1])).to_list()
    [Decimal('61837.6300'), Decimal('0.0005')]
    """

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._price = max((one.price_decimals for one in instruments), default=0)
        self._size = max((one.size_decimals for one in instruments), default=0)
        price_units = [Decimal(1).scaleb(-one.price_decimals) for one in instruments]
        size_units = [Decimal(1).scaleb(-one.size_decimals) for one in instruments]
        self._price_units = pl.Series(price_units, dtype=self.price_type)
        self._half_units = pl.Series([unit / 2 for unit in price_units], dtype=self.half_type)
        self._size_units = pl.Series(size_units, dtype=self.size_type)
        self._venues = pl.Series([one.venue for one in instruments], dtype=pl.String)
        self._symbols = pl.Series([one.symbol for one in instruments], dtype=pl.String)

    @property
    def price_type(self) -> pl.Decimal:
        return pl.Decimal(38, self._price)

    @property
    def half_type(self) -> pl.Decimal:
        return pl.Decimal(38, self._price + 1)

    @property
    def size_type(self) -> pl.Decimal:
        return pl.Decimal(38, self._size)

    def prices(self, units: pl.Series, symbol: pl.Series) -> pl.Series:
        """Price units of the instruments with these indexes as decimals."""
        return units.cast(self.price_type) * self._price_units.gather(symbol)

    def halves(self, units2: pl.Series, symbol: pl.Series) -> pl.Series:
        """The same of twice a price, such as bid plus ask for a mid, with one decimal more."""
        return units2.cast(self.half_type) * self._half_units.gather(symbol)

    def sizes(self, units: pl.Series, symbol: pl.Series) -> pl.Series:
        """Size units of the instruments with these indexes as decimals."""
        return units.cast(self.size_type) * self._size_units.gather(symbol)

    def finished(self, frame: pl.DataFrame, layout: Mapping[str, str]) -> pl.DataFrame:
        """Columns of units, indexes and signs as what a reader expects; see ``LAYOUTS``."""
        symbol = frame["symbol"] if "symbol" in layout else pl.Series(dtype=pl.Int64)
        columns: list[pl.Series] = []
        for name, meaning in layout.items():
            if meaning == "venue":
                columns.append(self._venues.gather(symbol).alias(name))
            elif meaning == "symbol":
                columns.append(self._symbols.gather(symbol).alias(name))
            elif meaning == "price":
                columns.append(self.prices(_without_zeros(frame[name]), symbol).alias(name))
            elif meaning == "half":
                columns.append(self.halves(_without_zeros(frame[name]), symbol).alias(name))
            elif meaning == "when":
                columns.append(_without_zeros(frame[name]).cast(pl.Int64))
            elif meaning == "size":
                columns.append(self.sizes(frame[name], symbol).alias(name))
            elif meaning == "side":
                columns.append(frame[name].replace_strict({1: "buy", -1: "sell"}, return_dtype=pl.String))
            else:
                columns.append(frame[name].cast(TYPES[meaning]))
        return pl.DataFrame(columns)


def _without_zeros(units: pl.Series) -> pl.Series:
    """A price or time of 0 means that there is none: a market order, an empty side, a book in doubt, not yet."""
    return units.set(units == 0, None)


TYPES: Final[Mapping[str, Any]] = {"int": pl.Int64, "text": pl.String, "float": pl.Float64, "bool": pl.Boolean}

MIDS: Final[Mapping[str, str]] = {"mid": "half", **{f"mid_{word}": "half" for word in ("100ms", "1s", "10s", "60s")}}
"""The mid at once and after each horizon of the core's markouts."""

LAYOUTS: Final[Mapping[str, Mapping[str, str]]] = {
    "bbo": {
        "recv_ns": "int",
        "venue": "venue",
        "symbol": "symbol",
        "update_id": "int",
        "ready": "bool",
        "bid": "price",
        "bid_size": "size",
        "ask": "price",
        "ask_size": "size",
    },
    "trades": {
        "recv_ns": "int",
        "venue_ns": "int",
        "venue": "venue",
        "symbol": "symbol",
        "id": "int",
        "side": "side",
        "price": "price",
        "size": "size",
    },
    "signals": {
        "ns": "int",
        "venue": "venue",
        "symbol": "symbol",
        "source": "text",
        "name": "text",
        "id": "int",
        "horizon_ns": "int",
        "value": "float",
    },
    "labels": {
        "ns": "int",
        "venue": "venue",
        "symbol": "symbol",
        "model": "text",
        "id": "int",
        "prediction": "float",
        "label": "float",
    },
    "orders": {
        "order": "int",
        "strategy": "text",
        "venue": "venue",
        "symbol": "symbol",
        "side": "side",
        "kind": "text",
        "time_in_force": "text",
        "post_only": "bool",
        "price": "price",
        "size": "size",
        "filled": "size",
        "state": "text",
        "reason": "text",
        "detail": "text",
        "queue_ahead": "size",
        "requested_ns": "int",
        "arrives_ns": "int",
        "accepted_ns": "int",
        "ended_ns": "int",
    },
    "fills": {
        "ns": "int",
        "matched_ns": "int",
        "order": "int",
        "strategy": "text",
        "venue": "venue",
        "symbol": "symbol",
        "side": "side",
        "price": "price",
        "size": "size",
        "maker": "bool",
        "fee": "text",
        "fee_currency": "text",
        "left": "size",
        "queue_ahead": "size",
        "number": "int",
        "model": "text",
        "cause": "text",
        "grade": "text",
        "chance": "int",
        "ahead_now": "size",
        "latency_ns": "int",
        "front_ns": "when",
        "back_ns": "when",
        "mid": "half",
    },
    "regrades": {"ns": "int", "order": "int", "number": "int", "grade": "text", "reason": "text"},
    "markouts": {
        "ns": "int",
        "order": "int",
        "number": "int",
        "venue": "venue",
        "symbol": "symbol",
        "place": "text",
        **MIDS,
    },
    "missed": {
        "ns": "int",
        "order": "int",
        "strategy": "text",
        "venue": "venue",
        "symbol": "symbol",
        "side": "side",
        "left": "size",
        **MIDS,
    },
    "twin_fills": {
        "ns": "int",
        "matched_ns": "int",
        "order": "int",
        "strategy": "text",
        "venue": "venue",
        "symbol": "symbol",
        "side": "side",
        "model": "text",
        "price": "price",
        "size": "size",
        "cause": "text",
    },
    "twins": {"ns": "int", "strategy": "text", "currency": "text", "model": "text", "profit": "text", "hedged": "text"},
    "ledger": {
        "ns": "int",
        "strategy": "text",
        "currency": "text",
        "equity": "text",
        "realised": "text",
        "unrealised": "text",
        "fees": "text",
        "carry": "text",
    },
    "carry": {
        "ns": "int",
        "strategy": "text",
        "instrument": "text",
        "kind": "text",
        "amount": "text",
        "currency": "text",
    },
}
"""Every table: its columns in order, and what their raw values mean. ``symbol`` is an instrument's index before."""

RAW: Final[Mapping[str, Any]] = {
    "venue": pl.Int64,
    "symbol": pl.Int64,
    "price": pl.Int64,
    "size": pl.Int64,
    "side": pl.Int64,
    "half": pl.Int64,
    "when": pl.Int64,
    **TYPES,
}


class Table:
    """One table that grows: full parts go to disk at once, ``close`` makes one file of them."""

    def __init__(self, folder: Path, name: str, scale: Scale) -> None:
        self.name = name
        self.rows = 0
        self._folder = folder
        self._scale = scale
        self._layout = LAYOUTS[name]
        self._raw = {column: RAW[meaning] for column, meaning in self._layout.items() if meaning != "venue"}
        self._waiting: list[tuple[Any, ...]] = []
        self._frames: list[pl.DataFrame] = []
        self._frame_rows = 0
        self._parts: list[Path] = []

    def add(self, *values: Any) -> None:
        """One row, in the order of the layout without ``venue``."""
        self._waiting.append(values)
        if len(self._waiting) >= PART_ROWS:
            self._gather()

    def extend(self, frame: pl.DataFrame) -> None:
        """Many raw rows at once."""
        self._frames.append(frame)
        self._frame_rows += frame.height
        if self._frame_rows >= PART_ROWS:
            self._store()

    def close(self) -> Path:
        """Write what waits and return the one file."""
        self._gather()
        path = self._folder / f"{self.name}.parquet"
        if not self._parts or self._frames:
            self._store()
        if len(self._parts) == 1:
            return self._parts[0].rename(path)
        pl.scan_parquet(self._parts).sink_parquet(path, compression="zstd")
        for part in self._parts:
            part.unlink()
        return path

    def _gather(self) -> None:
        if self._waiting:
            rows, self._waiting = self._waiting, []
            self.extend(pl.DataFrame(rows, schema=self._raw, orient="row"))

    def _store(self) -> None:
        raw = pl.concat(self._frames) if self._frames else pl.DataFrame(schema=self._raw)
        self._frames, self._frame_rows = [], 0
        self.rows += raw.height
        path = self._folder / f"{self.name}.{len(self._parts):06d}.part"
        self._scale.finished(raw, self._layout).write_parquet(path, compression="zstd")
        self._parts.append(path)
