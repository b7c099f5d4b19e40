"""Binance recordings of deep_orderbook: hour by hour a REST snapshot, the depth frames and the aggregate trades.

Format: https://github.com/gQuantCoder/deep_orderbook, three JSON files an hour, of exact payloads::

    2020-11-01T09-00-00_snapshot.json    {"lastUpdateId":…,"bids":[["0.02818100","7.66600000"],…],"asks":[…]}
    2020-11-01T09-00-00_update.json      [{"e":"depthUpdate","E":…,"s":"ETHBTC","U":…,"u":…,"b":[…],"a":[…]},…]
    2020-11-01T09-00-00_trades.json      [{"e":"aggTrade","E":…,"s":"ETHBTC","a":…,"p":"…","q":"…","T":…,"m":…},…]

Each payload becomes a frame of Binance's combined stream, as the adapter gets it live; only white space goes. When it
was received was not recorded: a depth frame counts as received at its ``E``, a trade at its ``T`` and, at the same
time, before the depth frame. A snapshot stands before the first depth frame that goes beyond it.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from adapters.entry import Entry, EntryKind
from engine.research.import_source import Recording, SourceError, Tally, files_of

VENUE: Final = "binance-spot"
NAME: Final = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2})_(snapshot|update|trades)\.json")
MS: Final = 1_000_000
Millis = Annotated[int, msgspec.Meta(ge=1_300_000_000_000, le=4_000_000_000_000)]  # UTC, years 2011 to 2096
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Number = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,18}(\.[0-9]{1,18})?$")]
Side = list[tuple[Number, Number]]
_Item = tuple[int, int, bytes, int]
"""ns, 0 of a trade and 1 of a depth frame, the payload, its id."""


class Snapshot(msgspec.Struct):
    """A REST depth answer."""

    lastUpdateId: Count  # noqa: N815 - Binance's name
    bids: Side
    asks: Side


class Update(msgspec.Struct):
    """A depth frame."""

    E: Millis
    s: str
    U: Count
    u: Count
    b: Side
    a: Side


class _Trade(msgspec.Struct):
    T: Millis
    s: str
    a: Count
    p: Number
    q: Number
    m: bool


_snapshot = msgspec.json.Decoder(Snapshot).decode
_update = msgspec.json.Decoder(Update).decode
_trade = msgspec.json.Decoder(_Trade).decode
_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def open_deep_orderbook(sources: Sequence[Path]) -> Recording:
    """The hours of one symbol in order.

    Raises:
        SourceError: no such recording, a file or payload that is not as documented, or several symbols.
    """
    files = _files(files_of(sources), sources)
    tally = Tally()
    symbols: set[str] = set()
    depth: list[_Item] = []
    trades: list[_Item] = []
    updates: list[Update] = []
    snapshots: list[tuple[Path, bytes, Snapshot]] = []
    for path in files:
        kind = path.name.rpartition("_")[2]
        if kind == "snapshot.json":
            snapshots.append((path, *_one(path)))
        elif kind == "update.json":
            for raw, update in _items(path, _update):
                if updates and update.u <= updates[-1].u:
                    tally.left_out["depth_frames_seen_before"] += 1
                    continue
                symbols.add(update.s)
                updates.append(update)
                depth.append((update.E * MS, 1, raw, update.u))
        else:
            for raw, trade in _items(path, _trade):
                if trades and trade.a <= trades[-1][3]:
                    tally.left_out["trades_seen_before"] += 1
                    continue
                symbols.add(trade.s)
                trades.append((trade.T * MS, 0, raw, trade.a))
    _check_order(files, depth, "depth frames")
    _check_order(files, trades, "trades")
    if len(symbols) != 1:
        raise SourceError(sources[0], "the source", "payloads of one symbol", ", ".join(sorted(symbols)))
    (symbol,) = symbols
    tally.books, tally.trades = len(depth), len(trades)
    tally.notes["gaps"] = sum(1 for one, other in pairwise(updates) if one.u + 1 != other.U)
    tally.notes["snapshots"] = compare(updates, [(path.name, held) for path, _, held in snapshots])
    return Recording(VENUE, VENUE, [symbol], [], _entries(symbol, depth, trades, snapshots), tally)


def _files(files: Sequence[Path], sources: Sequence[Path]) -> list[Path]:
    found = [path for path in files if NAME.fullmatch(path.name)]
    kinds = {path.name.rpartition("_")[2] for path in found}
    missing = [kind for kind in ("snapshot.json", "update.json", "trades.json") if kind not in kinds]
    if missing:
        raise SourceError(
            sources[0], "the source", "…_snapshot.json, …_update.json, …_trades.json", f"no …_{missing[0]}"
        )
    return sorted(found, key=lambda path: path.name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(path, "the file", "a readable file", error.strerror or str(error)) from error


def _one(path: Path) -> tuple[bytes, Snapshot]:
    body = _read(path)
    try:
        return msgspec.json.format(body, indent=-1), _snapshot(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(path, "the file", "a depth snapshot", str(error)) from error


def _items(path: Path, decode: Any) -> Iterator[tuple[bytes, Any]]:
    try:
        items = _raw_list(_read(path))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(path, "the file", "a JSON array of payloads", str(error)) from error
    for number, raw in enumerate(items, 1):
        try:
            yield msgspec.json.format(bytes(raw), indent=-1), decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SourceError(path, f"payload {number}", "a payload as Binance documents it", str(error)) from error


def _check_order(files: Sequence[Path], items: Sequence[_Item], what: str) -> None:
    if not items:
        raise SourceError(files[0].parent, "the source", what, "none")
    for number, (one, other) in enumerate(pairwise(items), 2):
        if other[0] < one[0]:
            where = f"{what}, number {number}"
            raise SourceError(files[0].parent, where, "no earlier time than before", f"{other[0]} ns")


def _entries(
    symbol: str,
    depth: Sequence[_Item],
    trades: Sequence[_Item],
    snapshots: Sequence[tuple[Path, bytes, Snapshot]],
) -> Iterator[Entry]:
    """Frames by time, trades first; each snapshot before the first depth frame that goes beyond it."""
    streams = [f'{{"stream":"{symbol.lower()}@{name}","data":'.encode() for name in ("aggTrade", "depth")]
    waiting = sorted(snapshots, key=lambda one: one[2].lastUpdateId)
    yield Entry(EntryKind.OPENED, min(depth[0][0], trades[0][0]), VENUE)
    for ns, is_depth, raw, number in heapq.merge(trades, depth, key=itemgetter(0, 1)):
        while is_depth and waiting and waiting[0][2].lastUpdateId < number:
            yield Entry(EntryKind.REPLIED, ns, VENUE, f"depth:{symbol}", waiting.pop(0)[1])
        yield Entry(EntryKind.RECEIVED, ns, VENUE, "", streams[is_depth] + raw + b"}")
    for _, body, _ in waiting:
        yield Entry(EntryKind.REPLIED, max(depth[-1][0], trades[-1][0]), VENUE, f"depth:{symbol}", body)


def compare(updates: Sequence[Update], snapshots: Sequence[tuple[str, Snapshot]]) -> list[dict[str, Any]]:
    """Later snapshots against the book that the first one and the depth frames since give, level by level.

    A frame that begins before a snapshot and ends after it gathers a second of changes: a level of it that is neither
    as before nor as after was under way. A level farther out than the first snapshot reached was never told, unless it
    changed. Anything else that is not equal is different: then the recording has a hole.
    """
    results: list[dict[str, Any]] = []
    ordered = sorted(snapshots, key=lambda one: one[1].lastUpdateId)
    first = ordered[0][1]
    book = _Book(first)
    position = 0
    for name, held in ordered[1:]:
        last_id = held.lastUpdateId
        while position < len(updates) and updates[position].u <= last_id:
            if updates[position].u > first.lastUpdateId:
                book.apply(updates[position])
            position += 1
        begun = position < len(updates) and last_id >= updates[position].U
        straddling = updates[position] if begun else None
        results.append({"file": name} | book.against(held, straddling))
    return results


class _Book:
    """Both sides by price, as exact texts, and how far the first snapshot reached."""

    def __init__(self, first: Snapshot) -> None:
        self.sides: tuple[dict[str, str], dict[str, str]] = (dict(first.bids), dict(first.asks))
        self.reach = tuple(Decimal(side[-1][0]) if side else Decimal(0) for side in (first.bids, first.asks))

    def apply(self, update: Update) -> None:
        for side, changes in zip(self.sides, (update.b, update.a), strict=True):
            for price, size in changes:
                if size.strip("0."):
                    side[price] = size
                else:
                    side.pop(price, None)

    def against(self, held: Snapshot, straddling: Update | None) -> dict[str, int]:
        """How many levels are equal, under way, never told, and different."""
        count = {"equal": 0, "under_way": 0, "never_told": 0, "different": 0}
        changes = (straddling.b, straddling.a) if straddling else ([], [])
        for which, theirs in enumerate((held.bids, held.asks)):
            ours, after, told = self.sides[which], dict(changes[which]), dict(theirs)
            edge = Decimal(theirs[-1][0]) if theirs else Decimal(0)
            shown = {price for price in ours if (Decimal(price) >= edge if which == 0 else Decimal(price) <= edge)}
            for price in told.keys() | shown:
                size, mine = told.get(price, ""), ours.get(price, "")
                changed = after.get(price, mine)
                if size in (mine, changed if changed.strip("0.") else ""):
                    count["equal"] += 1
                elif price in after:
                    count["under_way"] += 1
                elif not mine and self._is_beyond(which, Decimal(price)):
                    count["never_told"] += 1
                else:
                    count["different"] += 1
        return count

    def _is_beyond(self, which: int, price: Decimal) -> bool:
        return price < self.reach[which] if which == 0 else price > self.reach[which]
