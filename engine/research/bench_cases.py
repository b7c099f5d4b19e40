"""The benchmarks themselves: wire, replay, decide, train; the others have files of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np

from adapters.binance import BinanceSpot
from adapters.contract import Output
from adapters.entry import Entry, EntryKind
from adapters.feed import Feed
from adapters.tape import read_tapes
from engine.core.book import Book
from engine.core.desk.risk import RiskSettings
from engine.core.engine import Engine
from engine.core.events import Batch, Command
from engine.core.settings import EngineSettings
from engine.core.strategy import Config, Context, Strategy
from engine.core.types import Side
from engine.learn.contract import ModelSettings
from engine.learn.models import Models
from engine.learn.trainer import fit
from engine.research.bench_data import BTC, MID, START_NS, STEP_NS, SYMBOL, change_tape, depth_frames, snapshot_frame
from engine.research.bench_features import features
from engine.research.bench_journal import journal
from engine.research.bench_orders import orders
from engine.research.bench_row import Row, row
from engine.research.bench_shadows import shadows
from engine.research.player import DEFAULT_BLOCK
from engine.research.scan import scan

SEED: Final = 7
RECORDING: Final = ("binance/spot-btcusdt_20240808.gz", "binance/spot-btcusdt_20240809.gz")
CHUNK: Final = 50
"""Frames timed together, so that the clock itself does not count."""

Bench = Callable[[Path | None, float], Iterator[Row]]


def wire(data: Path | None, scale: float) -> Iterator[Row]:
    """Bytes of a venue to the updated book: the venue's parser and the engine's kernel, nobody listening."""
    count = max(40 * CHUNK, round(20_000 * scale))
    for changes in (3.4, 40.0):
        rng = np.random.default_rng(SEED)
        page, frames = snapshot_frame(rng), depth_frames(rng, changes, count)
        yield row(f"bytes to book, {changes:g} changes a frame", _venue_samples(page, frames), "us")
        yield row(f"tape entry to book, {changes:g} changes a frame", _feed_samples(page, frames), "us")
    if data is not None and all((data / one).exists() for one in RECORDING):
        yield row("recorded Binance spot, tape entry to book", _recorded_samples(data, round(100_000 * scale)), "us")


def _venue_samples(page: bytes, frames: Sequence[bytes]) -> list[float]:
    venue = BinanceSpot({SYMBOL: (0, BTC)})
    engine = Engine((BTC,), {}, EngineSettings())
    _take(engine, venue.opened(START_NS))
    _take(engine, venue.received(frames[0], START_NS))
    _take(engine, venue.replied(f"depth:{SYMBOL}", page, START_NS))
    samples = []
    received, process = venue.received, engine.process
    for start in range(1, len(frames) - CHUNK, CHUNK):
        part = frames[start : start + CHUNK]
        begin = time.perf_counter_ns()
        for frame in part:
            for output in received(frame, START_NS):
                if isinstance(output, np.ndarray):
                    process(output)
        samples.append((time.perf_counter_ns() - begin) / CHUNK / 1000)
    return _checked(engine, samples)


def _feed_samples(page: bytes, frames: Sequence[bytes]) -> list[float]:
    feed = Feed("bench", BinanceSpot, {SYMBOL: (0, BTC)})
    engine = Engine((BTC,), {}, EngineSettings())
    entries = [Entry(EntryKind.RECEIVED, START_NS, "bench", "", one) for one in frames]
    reply = Entry(EntryKind.REPLIED, START_NS, "bench", f"depth:{SYMBOL}", page)
    for entry in (Entry(EntryKind.OPENED, START_NS, "bench"), entries[0], reply):
        _take(engine, feed.apply(entry))
    return _checked(engine, _timed(engine, feed, entries[1:]))


def _recorded_samples(data: Path, count: int) -> list[float]:
    paths = [data / one for one in RECORDING]
    found = scan(*read_tapes(paths), {})
    ((name, one),) = found.items()
    indexed = {symbol: (index, instrument) for index, (symbol, instrument) in enumerate(one.instruments.items())}
    feed = Feed(name, one.venue, indexed)
    engine = Engine(list(one.instruments.values()), {}, EngineSettings())
    entries = [entry for entry, _ in zip(read_tapes(paths)[1], range(count), strict=False)]
    return _checked(engine, _timed(engine, feed, entries))


def _timed(engine: Engine, feed: Feed, entries: Sequence[Entry]) -> list[float]:
    samples = []
    apply, process = feed.apply, engine.process
    for start in range(0, len(entries) - CHUNK, CHUNK):
        part = entries[start : start + CHUNK]
        begin = time.perf_counter_ns()
        for entry in part:
            for output in apply(entry):
                if isinstance(output, np.ndarray):
                    process(output)
        samples.append((time.perf_counter_ns() - begin) / CHUNK / 1000)
    return samples


def _take(engine: Engine, outputs: Iterable[Output]) -> None:
    for output in outputs:
        if isinstance(output, np.ndarray):
            engine.process(output)


def _checked(engine: Engine, samples: list[float]) -> list[float]:
    """A benchmark of a book that is not ready would measure nothing."""
    if not engine.book_views[0].is_ready:
        raise RuntimeError("expected a ready book at the end of the benchmark, found one in doubt")
    return samples


class EveryChange(Strategy[Config]):
    """Reads the best bid and ask at every single change."""

    def __init__(self) -> None:
        super().__init__(Config())
        self.seen = 0
        self.total = 0

    def on_book(self, book: Book, ctx: Context) -> None:
        self.seen += 1
        self.total += book.bid + book.ask


class EveryTenth(Strategy[Config]):
    """Wakes every 100 ms of engine time and reads the best bid and ask."""

    def __init__(self) -> None:
        super().__init__(Config())
        self.seen = 0
        self.total = 0

    def on_start(self, ctx: Context) -> None:
        ctx.timer("look", 0.1)

    def on_timer(self, name: str, ctx: Context) -> None:
        ctx.timer("look", 0.1)
        book = ctx.book(SYMBOL)
        self.seen += 1
        self.total += book.bid + book.ask


def replay(data: Path | None, scale: float) -> Iterator[Row]:
    """A tape of one-change frames, 2.5 ms apart, in blocks of the replay's own size."""
    del data
    count = max(20_000, round(1_000_000 * scale))
    snapshot, tape = change_tape(np.random.default_rng(SEED), count)
    cases: tuple[tuple[str, Callable[[], EveryChange | EveryTenth], int], ...] = (
        ("best bid and ask at every change", EveryChange, count),
        ("a wake every 100 ms", EveryTenth, count * STEP_NS // 100_000_000),
    )
    for case, make, wakes in cases:
        yield row(case, [_events_a_second(make(), snapshot, tape, wakes) for _ in range(5)], "events/s")
    yield row("nobody listens", [_events_a_second(None, snapshot, tape, 0) for _ in range(5)], "events/s")


def _events_a_second(strategy: EveryChange | EveryTenth | None, snapshot: Batch, tape: Batch, wakes: int) -> float:
    strategies: dict[str, Callable[[], Strategy[Any]]] = {}
    if strategy is not None:
        strategies["bench"] = lambda: strategy
    engine = Engine((BTC,), strategies, EngineSettings())
    engine.process(Command(START_NS, "start"))
    engine.process(snapshot)
    blocks = [tape[at : at + DEFAULT_BLOCK] for at in range(0, len(tape), DEFAULT_BLOCK)]
    begin = time.perf_counter_ns()
    for block in blocks:
        engine.process(block)
    seconds = (time.perf_counter_ns() - begin) / 1e9
    if strategy is not None and strategy.seen < wakes * 0.99:
        raise RuntimeError(f"expected about {wakes} wakes, found {strategy.seen}: the benchmark measured nothing")
    return len(tape) / seconds


class Quoter(Strategy[Config]):
    """Sends a passive order at every change and takes the last one back: the whole way of an order, each frame."""

    def __init__(self) -> None:
        super().__init__(Config())
        self.last = 0

    def on_book(self, book: Book, ctx: Context) -> None:
        if self.last:
            ctx.cancel(self.last)
        self.last = ctx.order(book.symbol, Side.BUY, 100, MID - 5_000, post_only=True)


def decide(data: Path | None, scale: float) -> Iterator[Row]:
    """One frame in, a decision out: with a strategy that only looks, and with one that orders and cancels."""
    del data
    count = max(2_000, round(20_000 * scale))
    snapshot, tape = change_tape(np.random.default_rng(SEED), count)
    frames = [tape[at : at + 1] for at in range(count)]
    makers: Mapping[str, Callable[[], Strategy[Any]]] = {
        "one change in, strategy looked": EveryChange,
        "one change in, order and cancel out": Quoter,
    }
    for case, make in makers.items():
        risk = RiskSettings(max_orders_per_window=0)
        settings = EngineSettings(risk=risk, cash={"USDT": Decimal(10**9)})
        engine = Engine((BTC,), {"bench": make}, settings)
        engine.process(Command(START_NS, "start"))
        engine.process(snapshot)
        samples = []
        for frame in frames:
            begin = time.perf_counter_ns()
            engine.process(frame)
            samples.append((time.perf_counter_ns() - begin) / 1000)
        if make is Quoter and not engine.summary()["orders"]["sent"]:
            raise RuntimeError(f"expected orders, found {engine.summary()['orders']}: the benchmark measured nothing")
        yield row(case, samples, "us")


def train(data: Path | None, scale: float) -> Iterator[Row]:
    """One retraining of the network on a window of samples of a seeded market, as the trainer process does it."""
    del data
    rows = max(400, round(6_000 * scale))
    settings = ModelSettings(name="mlp", use="mlp", symbol=BTC.name, retrain_every_ns=0, window_rows=rows)
    models = Models((BTC,), [settings], seed=SEED)
    engine = Engine((BTC,), {}, EngineSettings(), learning=models)
    snapshot, tape = change_tape(np.random.default_rng(SEED), rows * 45)
    engine.process(snapshot)
    for at in range(0, len(tape), DEFAULT_BLOCK):
        engine.process(tape[at : at + DEFAULT_BLOCK])
    job = models.job("mlp")
    samples = []
    for _ in range(3):
        begin = time.perf_counter_ns()
        fit(job)
        samples.append((time.perf_counter_ns() - begin) / 1e6)
    yield row(f"train the network on {len(job.y)} samples", samples, "ms")


BENCHES: Final[Mapping[str, Bench]] = {
    "wire": wire,
    "replay": replay,
    "orders": orders,
    "decide": decide,
    "features": features,
    "train": train,
    "journal": journal,
    "shadows": shadows,
}
"""Every benchmark by name."""
