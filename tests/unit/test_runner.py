"""The runner owns the order of inputs: what the engine saw is on the tape, before it and at the same place."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from adapters.entry import Entry, EntryKind
from engine.core.engine import Engine
from engine.core.events import CLOCK, Batch, Command, ModelReady, row
from engine.core.records import FeedState, Fill, ModelRefused, Record
from engine.core.settings import EngineSettings
from engine.core.strategy import Context
from engine.core.types import Side
from engine.live.bus import Bus, BusFull
from engine.live.clock import Clock
from engine.live.runner import Runner
from tests.market import BTC, LOOSE, NO_LATENCY, Script, depth, snapshot

START = 1_700_000_000_000_000_000
PAYLOAD = b"weights"
VERSION = hashlib.sha256(PAYLOAD).hexdigest()


def new_engine() -> Engine:
    """An engine whose strategy buys once when the book is first seen."""

    def buy(seen: Any, ctx: Context) -> None:
        if not ctx.position(BTC.name) and not ctx.orders():
            ctx.order(BTC.name, Side.BUY, 1)

    settings = EngineSettings(paper=NO_LATENCY, risk=LOOSE, cash={"USDT": Decimal(1_000_000)}, book_depth=64)
    return Engine([BTC], {"buyer": lambda: Script({"book": buy})}, settings)


class Live:
    """A runner on a clock that moves a microsecond a look, and what it wrote."""

    def __init__(self, capacity: int = 100) -> None:
        ticks = count(0, 1_000)
        self.tape: list[Entry] = []
        self.frames: dict[int, Batch] = {}
        self.records: list[Record] = []
        self.clock = Clock(wall=lambda: START, monotonic=lambda: next(ticks))
        self.runner = Runner(new_engine(), Bus(capacity), self.clock, self.tape.append)
        self.runner.sinks.append(self.records.extend)

    def frame(self, batch: Batch) -> bool:
        """Hand on a frame as a connection does: the tape first."""
        now_ns = self.clock.now_ns()
        batch["recv_ns"] = now_ns
        self.tape.append(Entry(EntryKind.RECEIVED, now_ns, "v"))
        self.frames[now_ns] = batch
        return self.runner.take(batch, now_ns)

    def replayed(self) -> str:
        """The digest of a fresh engine that gets what is on the tape."""
        engine = new_engine()
        for entry in self.tape:
            engine.process(self._input(entry))
        return engine.digest

    def _input(self, entry: Entry) -> Batch | Command | ModelReady:
        if entry.kind is EntryKind.RECEIVED:
            return self.frames[entry.ns]
        if entry.kind is EntryKind.COMMAND:
            return Command(entry.ns, entry.token, json.loads(entry.data))
        if entry.kind is EntryKind.MODEL:
            return ModelReady(entry.ns, entry.token, entry.data.decode(), PAYLOAD)
        return row(CLOCK, symbol=0, recv_ns=entry.ns)


def test_the_tape_has_every_input_in_the_order_of_the_engine_and_repeats_the_run() -> None:
    live = Live()
    live.runner.command("start")
    live.frame(snapshot(0, [(100_00, 5)], [(101_00, 5)]))
    live.runner.drain(10)
    live.runner.tell_time()
    live.frame(depth(0, [(100_00, 6)]))
    live.runner.model_ready("net", VERSION, PAYLOAD)
    live.runner.command("halt", {"reason": "test"})
    live.frame(depth(0, [(100_00, 7)]))
    live.runner.drain(10)
    live.runner.command("stop")
    live.runner.drain(10)
    kinds = "".join(entry.kind.value for entry in live.tape)
    assert kinds == "crkrmcrc"
    facts = [type(record.fact) for record in live.records]
    assert FeedState in facts and Fill in facts and ModelRefused in facts
    assert live.runner.engine.digest == live.replayed()


def test_an_overflow_keeps_what_is_on_the_tape() -> None:
    live = Live(capacity=2)
    live.runner.command("start")
    assert live.frame(snapshot(0, [(100_00, 5)], [(101_00, 5)]))
    assert not live.frame(depth(0, [(100_00, 6)]))
    live.runner.drain(10)
    assert live.runner.engine.book_views[0].bid_size == 6
    assert live.runner.engine.digest == live.replayed()


def test_a_refused_command_leaves_no_trace_on_the_tape() -> None:
    live = Live(capacity=1)
    live.frame(depth(0, [(100_00, 6)]))
    with pytest.raises(BusFull, match="try again"):
        live.runner.command("halt")
    assert [entry.kind for entry in live.tape] == [EntryKind.RECEIVED]
    assert live.runner.bus.refused == 1


def test_time_is_told_only_when_the_market_is_quiet() -> None:
    live = Live()
    live.runner.tell_time()
    live.runner.tell_time()
    assert [entry.kind for entry in live.tape] == [EntryKind.CLOCK]
    live.runner.drain(10)
    assert live.runner.engine.now_ns == live.tape[0].ns


def test_no_batch_is_missed_and_what_waits_is_not_missed() -> None:
    live = Live()
    live.runner.command("start")
    for size in range(1, 8):
        live.frame(depth(0, [(100_00, size)]))
    live.runner.drain(3)
    assert (live.runner.batches_taken, live.runner.batches_processed, live.runner.missed) == (7, 2, 0)
    live.runner.drain(100)
    assert (live.runner.batches_processed, live.runner.missed) == (7, 0)
    assert live.runner.decision.count == 7


def test_a_turn_ends_when_its_time_is_over_and_never_before_an_input() -> None:
    live = Live()
    live.runner.command("start")
    for size in range(1, 8):
        live.frame(depth(0, [(100_00, size)]))
    before = live.runner.processed
    live.runner.drain(256, 0)
    assert live.runner.processed == before + 1
    live.runner.drain(256, 5_000)  # a look at this clock takes a microsecond
    assert 1 < live.runner.processed - before < 6
    live.runner.drain(256, 1_000_000)
    assert live.runner.missed == 0 and len(live.runner.bus) == 0


def test_the_latency_of_orders_counts_only_frames_that_sent_one() -> None:
    live = Live()
    live.runner.command("start")
    live.frame(snapshot(0, [(100_00, 5)], [(101_00, 5)]))
    live.frame(depth(0, [(99_00, 1)]))
    live.runner.drain(10)
    sent = live.runner.engine.summary()["orders"]["sent"]
    assert sent == 1
    assert (live.runner.decision.count, live.runner.order.count) == (2, 1)


def test_a_fill_is_told_in_exact_text() -> None:
    live = Live()
    live.runner.command("start")
    live.frame(snapshot(0, [(100_00, 5)], [(101_00, 5)]))
    live.frame(depth(0, [(99_00, 1)]))
    live.runner.drain(10)
    (fill,) = live.runner.recent_fills
    told = {key: fill[key] for key in ("strategy", "side", "price", "size", "maker")}
    assert told == {"strategy": "buyer", "side": "buy", "price": "101.00", "size": "0.001", "maker": False}
