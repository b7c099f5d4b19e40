"""Recordings of CryptoChassis (ccapi): a csv of books, a csv of trades, a day of one instrument.

Format: https://github.com/crypto-chassis/cryptochassis-data-api-docs (market depth, trade)::

    gemini__eth-usd__2021-07-01__market-depth.csv        gemini__eth-usd__2021-07-01__trade.csv
    time_seconds,bid_price_bid_size,ask_price_ask_size    time_seconds,price,size,is_buyer_maker
    1625097600,2271.58_1.6477,2279.63_28.479526           1625097621.647,2278.15,0.0409,1

More levels follow in the same column after ``|``. A row of the books is written where the book differs from the row
before, and stands for the second that ends at its time: that is when it is taken as received. A second with trades and
without a row ended with the book of the row before, and the tape says so: what waits for a book that is as new as the
trades need not wait for the next change. Trades carry finer times and stand before the book of the second in which they
end. A buyer that was the maker means that the aggressor sold.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final

from adapters.entry import Entry, EntryKind
from engine.core.types import Instrument
from engine.research.import_source import Recording, SourceError, Tally, files_of, opening

NAME: Final = re.compile(
    r"(?P<stem>(?P<venue>[a-z0-9-]+)__(?P<base>[a-z0-9]+)-(?P<quote>[a-z0-9]+)__\S+)__(market-depth|trade)\.csv"
)
BOOKS_HEAD: Final = re.compile(r"time_seconds,bid_price_bid_size(\|.*)?,ask_price_ask_size(\|.*)?")
TRADES_HEAD: Final = "time_seconds,price,size,is_buyer_maker"
NUMBER: Final = re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?")
SECOND: Final = 10**9
SIDES: Final = {"1": "sell", "0": "buy"}


class _Finest:
    """The most decimals seen in prices and in sizes."""

    def __init__(self) -> None:
        self.price = 0
        self.size = 0

    def see(self, price: str, size: str) -> None:
        self.price = max(self.price, len(price.partition(".")[2].rstrip("0")))
        self.size = max(self.size, len(size.partition(".")[2].rstrip("0")))


def open_ccapi(sources: Sequence[Path]) -> Recording:
    """The recording of one instrument, of one day or several; either file of a day finds the other.

    Raises:
        SourceError: no such recording, several instruments, or a row that is not as documented.
    """
    days, names = _days(files_of(sources), sources)
    venue, base, quote = names
    tally = Tally()
    finest = _Finest()
    rows: list[tuple[int, int, str]] = []
    for stem in days:
        books = _books(stem.with_name(f"{stem.name}__market-depth.csv"), finest, tally)
        trades = _trades(stem.with_name(f"{stem.name}__trade.csv"), finest, tally)
        if not books:
            raise SourceError(stem, "the day", "rows of books", "none")
        if rows and min(part[0][0] for part in (books, trades) if part) < rows[-1][0]:
            raise SourceError(stem, "the day", "days in the order of time", "a time before the end of the day before")
        rows.extend(heapq.merge(trades, heapq.merge(books, _unchanged(books, trades)), key=itemgetter(0, 1)))
    symbol = (base + quote).upper()
    instrument = Instrument(
        venue=venue,
        symbol=symbol,
        base=base.upper(),
        quote=quote.upper(),
        price_decimals=finest.price,
        size_decimals=finest.size,
        source="wire",
    )
    return Recording(venue, "plain", [symbol], [instrument], _entries(rows, instrument), tally)


def _days(files: Sequence[Path], sources: Sequence[Path]) -> tuple[list[Path], tuple[str, str, str]]:
    """The days' common names in order, and their venue, base and quote."""
    found: dict[Path, tuple[str, str, str]] = {}
    for path in files:
        match = NAME.fullmatch(path.name)
        if match is not None:
            found[path.with_name(match["stem"])] = (match["venue"], match["base"], match["quote"])
        elif path in sources:
            raise SourceError(path, "the name", "VENUE__BASE-QUOTE__DAY__market-depth.csv or …__trade.csv", path.name)
    if not found:
        raise SourceError(sources[0], "the source", "VENUE__BASE-QUOTE__DAY__market-depth.csv and …__trade.csv", "none")
    kinds = sorted(set(found.values()))
    if len(kinds) > 1:
        listed = ", ".join("__".join((kind[0], "-".join(kind[1:]))) for kind in kinds)
        raise SourceError(sources[0], "the source", "files of one instrument", f"{listed}: name those of one")
    return sorted(found), kinds[0]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="ascii", newline="\n") as file:
            for number, line in enumerate(file, 1):
                yield number, line.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise SourceError(path, "the file", "books and trades of the same day", error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise SourceError(path, f"byte {error.start}", "plain text", "other bytes") from error


def _books(path: Path, finest: _Finest, tally: Tally) -> list[tuple[int, int, str]]:
    """(ns, 1, the two sides as JSON) a row."""
    found: list[tuple[int, int, str]] = []
    last_ns = 0
    for number, line in _lines(path):
        if number == 1:
            if not BOOKS_HEAD.fullmatch(line):
                raise SourceError(path, "line 1", "time_seconds,bid_price_bid_size,ask_price_ask_size", repr(line[:80]))
            continue
        cells = line.split(",")
        if len(cells) != 3 or not cells[0].isdecimal():
            raise SourceError(path, f"line {number}", "whole seconds, bids and asks", repr(line[:80]))
        ns = int(cells[0]) * SECOND
        if ns <= last_ns:
            raise SourceError(path, f"line {number}", "a later second than in the line before", cells[0])
        last_ns = ns
        (bids, best_bid), (asks, best_ask) = (_side(path, number, cell, finest) for cell in cells[1:])
        found.append((ns, 1, f'"bids":{bids},"asks":{asks}'))
        if best_bid and best_ask and _at_least(best_bid, best_ask):
            tally.locked_or_crossed += 1
    tally.books += len(found)
    return found


def _unchanged(books: list[tuple[int, int, str]], trades: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """The book before once more at the end of each second that has trades and no row of its own."""
    found: list[tuple[int, int, str]] = []
    at = 0
    for ns, _, _ in trades:
        end_ns = -(-ns // SECOND) * SECOND
        while at < len(books) and books[at][0] <= end_ns:
            at += 1
        if at and books[at - 1][0] < end_ns and (not found or found[-1][0] < end_ns):
            found.append((end_ns, 1, books[at - 1][2]))
    return found


def _side(path: Path, number: int, cell: str, finest: _Finest) -> tuple[str, str]:
    """One side's levels as JSON, and its best price; both sides may be empty."""
    levels = []
    for level in cell.split("|") if cell else ():
        price, _, size = level.partition("_")
        if not NUMBER.fullmatch(price) or not NUMBER.fullmatch(size):
            raise SourceError(path, f"line {number}", "levels as price_size", repr(level[:40]))
        finest.see(price, size)
        if size.strip("0."):
            levels.append((price, size))
    text = ",".join(f'["{price}","{size}"]' for price, size in levels)
    return f"[{text}]", levels[0][0] if levels else ""


def _at_least(one: str, other: str) -> bool:
    """Whether one plain decimal is not below another, exactly.

    >>> _at_least("10.5", "9.75"), _at_least("2", "2.00"), _at_least("1.99", "2")
    (True, True, False)
    """
    whole, _, fraction = one.partition(".")
    other_whole, _, other_fraction = other.partition(".")
    return (int(whole), fraction.ljust(18, "0")) >= (int(other_whole), other_fraction.ljust(18, "0"))


def _trades(path: Path, finest: _Finest, tally: Tally) -> list[tuple[int, int, str]]:
    """(ns, 0, price, size and side as JSON) a row."""
    found: list[tuple[int, int, str]] = []
    last_ns = 0
    for number, line in _lines(path):
        if number == 1:
            if line != TRADES_HEAD:
                raise SourceError(path, "line 1", TRADES_HEAD, repr(line[:80]))
            continue
        cells = line.split(",")
        if len(cells) != 4 or not all(NUMBER.fullmatch(cell) for cell in cells[:3]) or cells[3] not in SIDES:
            raise SourceError(path, f"line {number}", "seconds, price, size, and 0 or 1", repr(line[:80]))
        seconds, _, fraction = cells[0].partition(".")
        ns = int(seconds) * SECOND + int(fraction[:9].ljust(9, "0"))
        if ns < last_ns:
            raise SourceError(path, f"line {number}", "no earlier time than in the line before", cells[0])
        last_ns = ns
        price, size = cells[1], cells[2]
        if not price.strip("0.") or not size.strip("0."):
            tally.left_out["trades_of_nothing"] += 1
            continue
        finest.see(price, size)
        found.append((ns, 0, f'"price":"{price}","size":"{size}","side":"{SIDES[cells[3]]}"'))
    tally.trades += len(found)
    return found


def _entries(rows: Sequence[tuple[int, int, str]], instrument: Instrument) -> Iterator[Entry]:
    venue, received = instrument.venue, EntryKind.RECEIVED
    yield from opening(venue, [instrument], rows[0][0])
    books = f'{{"type":"book","symbol":"{instrument.symbol}","seq":'
    trades = f'{{"type":"trade","symbol":"{instrument.symbol}","seq":'
    for seq, (ns, is_book, text) in enumerate(rows, 1):
        head = f'{books}{seq},"time":{ns},' if is_book else f'{trades}{seq},"time":{ns},"id":0,'
        yield Entry(received, ns, venue, "", f"{head}{text}}}".encode())
