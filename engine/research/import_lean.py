"""US equity ticks in the format of QuantConnect's LEAN: a zip of quotes and a zip of trades, a day of one ticker.

Format: https://github.com/QuantConnect/Lean/blob/master/Data/equity/readme.md (Tick File Format), no header line::

    20131007_quote.zip, in it 20131007_aig_Quote_Tick.csv: time, bid, size, ask, size, exchange, condition, suspicious
    34200052,491100,300,0,0,P,1,0
    20131007_trade.zip, in it 20131007_aig_Trade_Tick.csv: time, price, size, exchange, condition, suspicious
    34200053,491100,300,P,1,0

Times are milliseconds since midnight in New York, prices dollars times 10,000, conditions hexadecimal. A quote row
holds one side of the national best quote; the source writes both sides of a change as two rows of one time, bid then
ask, which are one frame here. Trades and quotes of one millisecond have no order of their own: trades stand first,
so that a trade meets the quote that it changed. Nobody says who the aggressor was.

A printed trade moves a queue only where it was made in a displayed book at its time. What was not is left out and
counted: trades that dealers report (exchange D, FINRA; they may be kept), and reports whose condition says that price
or time are another's (``NOT_OF_THE_MOMENT``).
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from adapters.entry import Entry, EntryKind
from engine.core.types import Instrument
from engine.research.import_source import Recording, SourceError, Tally, files_of, opening

MARKET: Final = "usa"
"""LEAN's name of the market, and the venue's on the tape."""

ZONE: Final = "America/New_York"
MS: Final = 1_000_000
OPEN_NS: Final = 34_200_000 * MS  # 09:30
CLOSE_NS: Final = 57_600_000 * MS  # 16:00
PRICE_DECIMALS: Final = 4
CENT, DOLLAR = 100, 10_000
FINRA: Final = "D"
LARGEST: Final = 1 << 31
"""Bytes of a csv; a larger one is refused before it is unpacked."""

NOT_OF_THE_MOMENT: Final = (
    0x0000_0002 | 0x0000_0004 | 0x0000_0008  # cash, next day, seller's option: another settlement, another price
    | 0x0000_0200  # derivatively priced: not based on the quote
    | 0x0000_0800 | 0x0200_0000  # sold last, prior reference price: told late
    | 0x0004_0000  # stock-option trade: priced with its other leg
    | 0x0010_0000  # an average of prices
    | 0x0100_0000 | 0x0400_0000  # official close and open: a second report of an auction
)  # fmt: skip

FILE: Final = re.compile(r"(?P<head>.*?)(?P<day>\d{8})_(?P<kind>quote|trade)\.zip")
INSIDE: Final = re.compile(r"(\d{8})_(.+)_(quote|trade)_tick\.csv", re.IGNORECASE)
TIME: Final = r"[0-9]{1,8}(\.[0-9]{1,6})?"
ROWS: Final = {
    "quote": rf"^{TIME}(,[0-9]{{1,12}}){{4}},[A-Za-z]*,[0-9A-Fa-f]{{1,8}},[01]$",
    "trade": rf"^{TIME}(,[0-9]{{1,12}}){{2}},[A-Za-z]*,[0-9A-Fa-f]{{1,8}},[01]$",
}
COLUMNS: Final = {
    "quote": ("time", "bid", "bid_size", "ask", "ask_size", "exchange", "condition", "suspicious"),
    "trade": ("time", "price", "size", "exchange", "condition", "suspicious"),
}
WORDS: Final = ("time", "exchange", "condition")


class Hours(StrEnum):
    """Which part of a day is taken: 09:30 to 16:00 New York, or all that is there."""

    REGULAR = "regular"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class _Day:
    day: str
    quotes: Path
    trades: Path


def open_lean(sources: Sequence[Path], hours: Hours = Hours.REGULAR, off_exchange: bool = False) -> Recording:
    """One ticker's days in order; either file of a day finds the other. Between two days the connection is lost.

    ``off_exchange`` keeps the trades that dealers report.

    Raises:
        SourceError: no such recording, a zip or row that is not as documented, or days of several tickers.
    """
    days = _days(files_of(sources), sources)
    tally = Tally()
    symbol, first = _frames(days[0], hours, off_exchange, tally, "")
    instrument = Instrument(
        venue=MARKET,
        symbol=symbol,
        base=symbol,
        quote="USD",
        price_decimals=PRICE_DECIMALS,
        size_decimals=0,
        tick=_tick(first),
    )
    return Recording(
        MARKET, "plain", [symbol], [instrument], _entries(days, first, instrument, hours, off_exchange, tally), tally
    )


def _tick(frames: pl.DataFrame) -> int:
    """Quotes of a dollar and above move in cents, below in hundredths of one (Regulation NMS, Rule 612)."""
    lowest = frames["lowest"].min()
    return CENT if isinstance(lowest, int) and lowest >= DOLLAR else 1


def _entries(
    days: Sequence[_Day], first: pl.DataFrame, instrument: Instrument, hours: Hours, off_exchange: bool, tally: Tally
) -> Iterator[Entry]:
    venue, received = MARKET, EntryKind.RECEIVED
    last_ns = 0
    for day in days:
        frames = first if day is days[0] else _frames(day, hours, off_exchange, tally, instrument.symbol)[1]
        times, texts = frames["ns"].to_list(), frames["text"].to_list()
        if last_ns:
            yield Entry(EntryKind.LOST, last_ns, venue, "connection")
            yield Entry(EntryKind.OPENED, times[0], venue)
        else:
            yield from opening(venue, [instrument], times[0])
        for ns, text in zip(times, texts, strict=True):
            yield Entry(received, ns, venue, "", text.encode())
        last_ns = times[-1]


def _days(files: Sequence[Path], sources: Sequence[Path]) -> list[_Day]:
    found: dict[tuple[str, str], _Day] = {}
    for path in files:
        match = FILE.fullmatch(path.name)
        if match is not None:
            quotes, trades = (path.with_name(f"{match['head']}{match['day']}_{kind}.zip") for kind in ROWS)
            found[match["day"], str(quotes)] = _Day(match["day"], quotes, trades)
        elif path in sources:
            raise SourceError(path, "the name", "YYYYMMDD_quote.zip or YYYYMMDD_trade.zip", path.name)
    if not found:
        raise SourceError(sources[0], "the source", "YYYYMMDD_quote.zip and YYYYMMDD_trade.zip", "none")
    days = [found[key] for key in sorted(found)]
    for one, other in pairwise(days):
        if one.day == other.day:
            raise SourceError(other.quotes, "the day", "one ticker's days", f"{one.day} twice: name one ticker's files")
    return days


def _frames(day: _Day, hours: Hours, off_exchange: bool, tally: Tally, ticker: str) -> tuple[str, pl.DataFrame]:
    """A day's ticker and frames in order: ``ns``, ``text``, and ``lowest``, the lowest price of a quote."""
    ticker, quotes = _table(day.quotes, "quote", day.day, ticker)
    ticker, trades = _table(day.trades, "trade", day.day, ticker)
    midnight_ns = _midnight_ns(day.day)
    parts = [
        _trade_frames(_in_hours(trades, hours, "trades", tally), off_exchange, tally),
        _book_frames(_in_hours(quotes, hours, "quotes", tally), tally),
    ]
    tally.trades += parts[0].height
    tally.books += parts[1].height
    frames = pl.concat(parts).sort("ns", "is_book", maintain_order=True)
    if not frames.height:
        raise SourceError(day.quotes, "the day", f"quotes or trades in {hours.value} hours", "none")
    ns = pl.col("ns") + midnight_ns
    kind = pl.when("is_book").then(pl.lit("book")).otherwise(pl.lit("trade"))
    text = pl.concat_str(
        pl.lit('{"type":"'), kind, pl.lit(f'","symbol":"{ticker}","seq":'), pl.int_range(1, pl.len() + 1),
        pl.lit(',"time":'), ns, pl.lit(","), pl.col("text"), pl.lit("}"),
    )  # fmt: skip
    return ticker, frames.select(ns=ns, text=text, lowest="lowest")


def _in_hours(rows: pl.DataFrame, hours: Hours, what: str, tally: Tally) -> pl.DataFrame:
    good = rows.filter(pl.col("suspicious") == 0)
    tally.left_out[f"{what}_suspicious"] += rows.height - good.height
    if hours is Hours.ALL:
        return good
    inside = good.filter((pl.col("ns") >= OPEN_NS) & (pl.col("ns") < CLOSE_NS))
    tally.left_out[f"{what}_outside_hours"] += good.height - inside.height
    return inside


def _trade_frames(rows: pl.DataFrame, off_exchange: bool, tally: Tally) -> pl.DataFrame:
    kept = rows if off_exchange else rows.filter(pl.col("exchange") != FINRA)
    tally.left_out["trades_off_exchange"] += rows.height - kept.height
    made = kept.filter(pl.col("condition").str.to_integer(base=16) & NOT_OF_THE_MOMENT == 0)
    tally.left_out["trades_not_of_the_moment"] += kept.height - made.height
    real = made.filter((pl.col("price") > 0) & (pl.col("size") > 0))
    tally.left_out["trades_of_nothing"] += made.height - real.height
    text = pl.concat_str(
        pl.lit('"id":0,"price":"'), _dollars("price"), pl.lit('","size":"'), "size", pl.lit('","side":"none"')
    )
    return real.select("ns", is_book=pl.lit(False), text=text, lowest=pl.lit(None, pl.Int64))


def _book_frames(rows: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    real = rows.filter((pl.col("bid") > 0) | (pl.col("ask") > 0))
    tally.left_out["quotes_without_price"] += rows.height - real.height
    is_bid, is_ask = pl.col("bid") > 0, pl.col("ask") > 0
    is_half = is_bid & ~is_ask & (is_ask & ~is_bid).shift(-1) & (pl.col("ns") == pl.col("ns").shift(-1))
    stands = real.select(
        "ns",
        *(pl.when(is_bid).then(name).forward_fill().alias(name) for name in ("bid", "bid_size")),
        *(pl.when(is_ask).then(name).forward_fill().alias(name) for name in ("ask", "ask_size")),
        is_half=is_half.fill_null(False),
    ).filter(~pl.col("is_half"))
    both = (pl.col("bid_size") > 0) & (pl.col("ask_size") > 0)
    tally.locked_or_crossed += stands.filter(both & (pl.col("bid") >= pl.col("ask"))).height
    text = pl.concat_str(pl.lit('"bids":['), _side("bid"), pl.lit('],"asks":['), _side("ask"), pl.lit("]"))
    return stands.select("ns", is_book=pl.lit(True), text=text, lowest=pl.min_horizontal("bid", "ask"))


def _side(name: str) -> pl.Expr:
    size = pl.col(f"{name}_size")
    level = pl.concat_str(pl.lit('["'), _dollars(name), pl.lit('","'), size, pl.lit('"]'))
    return pl.when(size > 0).then(level).otherwise(pl.lit(""))


def _dollars(name: str) -> pl.Expr:
    price = pl.col(name)
    return pl.concat_str(price // DOLLAR, pl.lit("."), (price % DOLLAR).cast(pl.String).str.zfill(PRICE_DECIMALS))


def _table(path: Path, kind: str, day: str, ticker: str) -> tuple[str, pl.DataFrame]:
    """The ticker and the rows of a zip, ``ns`` since midnight in front."""
    name, content = _unpacked(path)
    inside = INSIDE.fullmatch(name)
    if inside is None or inside[1] != day or inside[3].lower() != kind:
        raise SourceError(path, "its csv", f"{day}_TICKER_{kind.capitalize()}_Tick.csv", name)
    found = inside[2].upper()
    if ticker not in ("", found):
        raise SourceError(path, "its csv", f"ticks of {ticker} as in the other files", found)
    try:
        text = content.decode("ascii").replace("\r\n", "\n").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise SourceError(path, f"{name}, byte {error.start}", "plain text", "other bytes") from error
    types = {column: pl.String if column in WORDS else pl.Int64 for column in COLUMNS[kind]}
    if not text:
        return found, pl.DataFrame(schema={**types, "ns": pl.Int64})
    lines = pl.Series([text]).str.split("\n").explode(empty_as_null=True)
    bad = (~lines.str.contains(ROWS[kind])).arg_true()
    if len(bad):
        at = int(bad[0])
        raise SourceError(path, f"{name}, line {at + 1}", ",".join(COLUMNS[kind]), repr(lines[at][:80]))
    rows = pl.read_csv(text.encode(), has_header=False, schema=types, quote_char=None)
    time = pl.col("time").str.splitn(".", 2).struct
    fraction = time.field("field_1").fill_null("").str.pad_end(6, "0").cast(pl.Int64)
    rows = rows.with_columns(ns=time.field("field_0").cast(pl.Int64) * MS + fraction)
    back = (rows["ns"].diff() < 0).arg_true()
    if len(back):
        at = int(back[0])
        raise SourceError(path, f"{name}, line {at + 1}", "no earlier time than in the line before", rows["time"][at])
    return found, rows


def _unpacked(path: Path) -> tuple[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = archive.infolist()
            if len(inside) != 1 or inside[0].file_size > LARGEST:
                found = ", ".join(f"{one.filename} of {one.file_size} bytes" for one in inside[:3]) or "nothing"
                raise SourceError(path, "the zip", f"one csv of at most {LARGEST} bytes", found)
            return inside[0].filename, archive.read(inside[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceError(path, "the zip", "a whole zip", str(error)) from error
    except OSError as error:
        raise SourceError(path, "the file", "quotes and trades of the day", error.strerror or str(error)) from error


def _midnight_ns(day: str) -> int:
    """The start of a day in New York, ns UTC; its offset is that of noon, as nothing trades while clocks change.

    >>> _midnight_ns("20131007") == (1381104000 + 4 * 3600) * 10**9
    True
    """
    try:
        noon = datetime(int(day[:4]), int(day[4:6]), int(day[6:]), 12, tzinfo=ZoneInfo(ZONE))
    except ValueError as error:
        raise SourceError(day, "the name", "a date as YYYYMMDD", str(error)) from error
    except ZoneInfoNotFoundError as error:
        raise SourceError(ZONE, "the time zone", "time zones on this machine (package tzdata)", "none") from error
    return (int(noon.astimezone(UTC).timestamp()) - 12 * 3600) * 1_000 * MS
