"""What the journal costs on the loop: an order's facts appended and committed, with and without fsync beside it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from adapters.entry import Entry, EntryKind
from adapters.tape import encode_entry
from engine.core.records import Accepted, AnyFact, Fill, Record, Request, Sent
from engine.live.journal import Journal, JournalSettings, read
from engine.research.bench_data import START_NS, SYMBOL
from engine.research.bench_row import Row, row

CHUNK: Final = 48
"""Facts timed together, so that the clock itself does not count; twelve orders' lives."""


def journal(data: Path | None, scale: float) -> Iterator[Row]:
    """Facts of orders, one at a time. The page cache takes the writes: the loop's share, not the disk's."""
    del data
    count = max(20 * CHUNK, round(100_000 * scale) // CHUNK * CHUNK)
    facts = _facts(count)
    with tempfile.TemporaryDirectory(prefix="papertape-bench-") as place:
        for word, every_ns in (("off", None), ("1s", 1_000_000_000)):
            settings = JournalSettings(sync_every_ns=every_ns)
            yield row(f"a fact appended, fsync {word}", _append_us(Path(place) / f"a{word}", settings, facts), "us")
            samples = _commit_us(Path(place) / f"c{word}", settings, facts)
            yield row(f"a fact appended and committed, fsync {word}", samples, "us")
        settings = JournalSettings(sync_every_ns=None)
        yield row("a frame of 1 kB appended and committed", _input_us(Path(place) / "input", settings, count), "us")
        yield row("journal read and checked", _read_us(Path(place) / "c1s", count), "us/fact")


def _facts(count: int) -> list[Record]:
    """Orders that are asked for, sent, acknowledged and filled."""
    records = []
    for at in range(count):
        order, step = divmod(at, 4)
        facts: tuple[AnyFact, ...] = (
            Request(order, "maker", SYMBOL, 1, "limit", "GTC", 6_000_000 + order, 1_000, True),
            Sent(order, START_NS + at),
            Accepted(order, 120_000),
            Fill(order, "maker", SYMBOL, 1, 6_000_000, 1_000, True, "-0.0003", "USDT", 0, 120_000, START_NS + at),
        )
        records.append(Record(at + 1, START_NS + at, facts[step]))
    return records


def _append_us(folder: Path, settings: JournalSettings, facts: list[Record]) -> list[float]:
    samples = []
    with Journal.open(folder, settings) as made:
        for start in range(0, len(facts), CHUNK):
            part = [[one] for one in facts[start : start + CHUNK]]
            begin = time.perf_counter_ns()
            for one in part:
                made.facts(one)
            samples.append((time.perf_counter_ns() - begin) / CHUNK / 1000)
            made.commit()
    return samples


def _commit_us(folder: Path, settings: JournalSettings, facts: list[Record]) -> list[float]:
    samples = []
    with Journal.open(folder, settings) as made:
        for start in range(0, len(facts), CHUNK):
            part = [[one] for one in facts[start : start + CHUNK]]
            begin = time.perf_counter_ns()
            for one in part:
                made.facts(one)
                made.commit()
            samples.append((time.perf_counter_ns() - begin) / CHUNK / 1000)
    return samples


def _input_us(folder: Path, settings: JournalSettings, count: int) -> list[float]:
    line = encode_entry(Entry(EntryKind.RECEIVED, START_NS, "bench", "", b"x" * 1024))[:-1]
    samples = []
    with Journal.open(folder, settings) as made:
        for _ in range(0, count, CHUNK):
            begin = time.perf_counter_ns()
            for _ in range(CHUNK):
                made.input(line)
                made.commit()
            samples.append((time.perf_counter_ns() - begin) / CHUNK / 1000)
    return samples


def _read_us(folder: Path, count: int) -> list[float]:
    samples = []
    for _ in range(5):
        begin = time.perf_counter_ns()
        found = sum(1 for _ in read(folder))
        samples.append((time.perf_counter_ns() - begin) / count / 1000)
        if found < count:
            raise RuntimeError(f"expected {count} facts, found {found} frames: the benchmark measured nothing")
    return samples
