"""Hold the folder of a shard against what the shard showed, against its own replay, and against its own rules."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from adapters.contract import MalformedFrame
from adapters.entry import EntryKind
from adapters.redis_batches import ROWS, unpack
from engine.core.order_facts import Request, Sent
from engine.core.records import FeedState, Fill, Record
from engine.core.types import Instrument
from engine.live.journal import Kind, decode_record, read
from engine.research.loading import load_tape, run_tapes
from engine.research.replay import replay
from engine.research.shards_rig import Order, Shown

SHARES: Final = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999, "most_ms": 1.0}


class Judged(msgspec.Struct):
    """What a shard's folder holds; the counts of what is wrong are all zero where it holds."""

    facts: int = 0
    orders: int = 0
    fills: int = 0
    sessions: int = 0
    shown_records: int = 0
    shown_orders: int = 0
    shown_fills: int = 0
    gaps: int = 0
    doubled: int = 0
    lost_records: int = 0
    lost_orders: int = 0
    changed: int = 0
    sent_in_doubt: int = 0
    digest: str = ""
    replayed: str = ""

    @property
    def wrong(self) -> list[str]:
        """What does not hold, by name."""
        names = ("gaps", "doubled", "lost_records", "lost_orders", "changed", "sent_in_doubt")
        found = [f"{name} {count}" for name in names if (count := getattr(self, name))]
        if not self.digest or self.digest != self.replayed:
            found.append(f"digest {self.digest or 'none'}, replayed {self.replayed or 'none'}")
        if not self.shown_records or not self.shown_fills or not self.shown_orders:
            found.append("nothing was shown that could be held against the journal")
        return found


class Hop(msgspec.Struct, frozen=True):
    """From the feed's receipt of a frame to the shard's, by the clock of the one machine."""

    samples: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    most_ms: float = 0.0


def facts(folder: Path) -> list[Record]:
    """All facts of a shard's journal, in order."""
    return [decode_record(frame.payload) for frame in read(folder / "journal") if frame.kind is Kind.FACT]


def judge(folder: Path, shown: Shown) -> Judged:
    """Hold what was shown against the journal, and the run against its replay."""
    found = Judged(changed=shown.changed)
    instruments = {one.name: one for one in load_tape([folder]).instruments}
    requests: dict[int, Order] = {}
    sent: Counter[int] = Counter()
    fills: Counter[tuple[int, int]] = Counter()
    encode = msgspec.json.Encoder().encode
    seen = last = 0
    for record in facts(folder):
        found.gaps += record.seq != last + 1
        last = record.seq
        fact = record.fact
        if isinstance(fact, Request):
            requests[fact.order] = as_shown(fact, instruments[fact.symbol])
        elif isinstance(fact, Sent):
            sent[fact.order] += 1
        elif isinstance(fact, Fill):
            fills[fact.order, fact.number] += 1
        if (told := shown.records.get(record.seq)) is not None:
            seen += 1
            ours = record.ns, type(fact).__name__, json.loads(encode(fact))  # as JSON: names in any order
            found.changed += (*told[:2], json.loads(told[2])) != ours
    found.facts, found.orders, found.fills = last, len(sent), len(fills)
    found.doubled = sum(count - 1 for count in (*sent.values(), *fills.values()))
    found.shown_records, found.shown_orders = len(shown.records), len(shown.sent.keys() | shown.orders.keys())
    found.shown_fills = len(shown.fills)
    found.lost_records = found.shown_records - seen
    found.lost_orders = sum(1 for order in shown.sent.keys() | shown.orders.keys() if not sent[order])
    found.lost_orders += sum(1 for fill in shown.fills if not fills[fill])
    found.changed += sum(1 for number, order in shown.orders.items() if requests.get(number, order) != order)
    found.sent_in_doubt = sent_in_doubt(facts(folder))
    found.digest = str(json.loads((folder / "run.json").read_text())["digest"])
    found.replayed = replay([folder]).digest
    found.sessions = len(run_tapes(folder))
    return found


def as_shown(request: Request, instrument: Instrument) -> Order:
    """A request as its working order is shown."""
    return Order(
        id=request.order,
        symbol=request.symbol,
        side="buy" if request.side > 0 else "sell",
        price=instrument.price_text(request.price) if request.price else None,
        size=instrument.size_text(request.size),
    )


def sent_in_doubt(records: Iterable[Record]) -> int:
    """Orders that left while the book of their symbol was not ready."""
    ready: set[str] = set()
    symbols: dict[int, str] = {}
    count = 0
    for record in records:
        fact = record.fact
        if isinstance(fact, FeedState):
            ready = ready | {fact.symbol} if fact.ready else ready - {fact.symbol}
        elif isinstance(fact, Request):
            symbols[fact.order] = fact.symbol
        elif isinstance(fact, Sent):
            count += symbols[fact.order] not in ready
    return count


def hops(folder: Path, calm: tuple[int, int]) -> tuple[list[int], list[int]]:
    """Of each batch on a shard's tapes the time from the feed's receipt to its own, ns: in the calm, and outside of it.

    ``calm``: from and until, ns UTC.
    """
    inside: list[int] = []
    outside: list[int] = []
    for entry in load_tape([folder]).entries():
        if entry.kind is not EntryKind.RECEIVED:
            continue
        try:
            told = unpack(entry.data)
        except MalformedFrame:
            continue  # the venue's part counts it
        if told.kind == ROWS:
            (inside if calm[0] <= entry.ns < calm[1] else outside).append(entry.ns - told.sent_ns)
    return inside, outside


def hop(times_ns: Sequence[int]) -> Hop:
    """The distribution of such times.

    >>> hop([1_000_000, 3_000_000, 2_000_000])
    Hop(samples=3, p50_ms=2.0, p99_ms=3.0, p999_ms=3.0, most_ms=3.0)
    """
    if not times_ns:
        return Hop()
    ordered = sorted(times_ns)
    at = {name: ordered[min(int(share * len(ordered)), len(ordered) - 1)] for name, share in SHARES.items()}
    return Hop(samples=len(ordered), **{name: round(ns / 1e6, 3) for name, ns in at.items()})
