"""What resting orders cost: a level change at their price, a replay among a thousand of them, an order's whole life."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.core import events as ev
from engine.core.desk.risk import RiskSettings
from engine.core.engine import Engine
from engine.core.events import Batch, Command
from engine.core.kernel import fast_advance
from engine.core.queues.slots import join
from engine.core.settings import EngineSettings
from engine.core.state import RESTING_COUNT, State
from engine.core.strategy import Config, Context, Strategy, Trade
from engine.core.types import Side
from engine.core.venue.paper_settings import PaperSettings
from engine.research.bench_data import BTC, MID, START_NS, STEP_NS, SYMBOL, change_tape
from engine.research.bench_row import Row, row
from engine.research.player import DEFAULT_BLOCK

SEED: Final = 7
RESTING: Final = 1000


def orders(data: Path | None, scale: float) -> Iterator[Row]:
    """Resting orders under every queue model at once."""
    del data
    changes = max(2_000, round(100_000 * scale))
    empty = min(_level_change_us(0, changes) for _ in range(5))
    for count in (1, 10, 100):
        samples = [(_level_change_us(count, changes // count) - empty) / count for _ in range(7)]
        yield row(f"level change, each of {count} orders at the level", samples, "us")
    moves = max(20_000, round(1_000_000 * scale))
    rates = [_events_a_second(moves) for _ in range(5)]
    yield row(f"replay among {RESTING} resting orders, 5 a level", rates, "events/s")
    yield row("an order's life, passive and filled", _lives_us(max(500, round(5_000 * scale))), "us")


def level_tape(rng: np.random.Generator, count: int) -> Batch:
    """Changes of one level's size, every 2.5 ms: half of them falls."""
    tape = ev.rows(count)
    tape["kind"], tape["flags"], tape["price"] = ev.LEVEL, ev.LAST, MID - 1
    tape["size"] = rng.integers(100_000, 500_000, count)
    tape["recv_ns"] = START_NS + STEP_NS * np.arange(1, count + 1)
    return tape


def _level_change_us(count: int, changes: int) -> float:
    paper = PaperSettings()
    state = State(
        [BTC],
        1000,
        max_orders=max(1, count),
        explain_ns=paper.explain_ns,
        taken_room=paper.max_taken,
        queue=paper.queue,
    )
    rng = np.random.default_rng(SEED)
    advance, tape = fast_advance(), level_tape(rng, changes)
    snapshot, _ = change_tape(rng, 1)
    advance(state.flat, snapshot, 0)
    for number in range(count):
        join(state.flat, 0, 1, MID - 1, 100, 1 + number, state.rule, 0)
    begin = time.perf_counter_ns()
    end = advance(state.flat, tape, 0)
    elapsed = time.perf_counter_ns() - begin
    if end != changes or state.control[RESTING_COUNT] != count:
        raise RuntimeError(f"expected {changes} changes among {count} orders, found {end}")
    return elapsed / 1000 / changes


class Sower(Strategy[Config]):
    """Rests as many orders as the benchmark wants, on all levels of the book, and looks no more."""

    def __init__(self) -> None:
        super().__init__(Config())
        self.sown = 0

    def on_start(self, ctx: Context) -> None:
        ctx.timer("sow", 0.001)

    def on_timer(self, name: str, ctx: Context) -> None:
        for number in range(self.sown, self.sown + 100):
            side = Side.BUY if number % 2 else Side.SELL
            distance = 1 + number // 2 % 100
            ctx.order(SYMBOL, side, 100, MID - int(side) * distance, post_only=True)
        self.sown += 100
        if self.sown < RESTING:
            ctx.timer("sow", 0.001)


def _engine(strategy: Strategy[Any]) -> Engine:
    cash = {"USDT": Decimal(10**12), "BTC": Decimal(10**6)}
    risk = RiskSettings(
        max_orders_per_window=0,
        max_open_orders=0,
        max_position_notional=Decimal(0),
        price_collar_bps=0,
        stale_book_ns=0,
        allow_short=True,
    )
    paper = PaperSettings(max_orders=max(RESTING, PaperSettings().max_orders))
    return Engine((BTC,), {"bench": lambda: strategy}, EngineSettings(risk=risk, cash=cash, paper=paper))


def _events_a_second(count: int) -> float:
    snapshot, tape = change_tape(np.random.default_rng(SEED), count)
    engine = _engine(Sower())
    engine.process(Command(START_NS, "start"))
    engine.process(snapshot)
    engine.process(tape[:100])
    blocks = [tape[at : at + DEFAULT_BLOCK] for at in range(100, len(tape), DEFAULT_BLOCK)]
    begin = time.perf_counter_ns()
    for block in blocks:
        engine.process(block)
    seconds = (time.perf_counter_ns() - begin) / 1e9
    if engine.summary()["orders"]["working"] != RESTING:
        raise RuntimeError(f"expected {RESTING} orders, found {engine.summary()['orders']}")
    return (len(tape) - 100) / seconds


class Renewer(Strategy[Config]):
    """Joins the best bid with each trade that it hears."""

    def __init__(self) -> None:
        super().__init__(Config())

    def on_trade(self, trade: Trade, ctx: Context) -> None:
        ctx.order(SYMBOL, Side.BUY, 100, MID - 1, post_only=True)


def _lives_us(count: int) -> list[float]:
    """Each trade fills the last order in full and calls for the next one; both and all between are in the time."""
    snapshot, _ = change_tape(np.random.default_rng(SEED), 1)
    engine = _engine(Renewer())
    engine.process(Command(START_NS, "start"))
    engine.process(snapshot)
    tape = ev.rows(count)
    tape["kind"], tape["flags"] = ev.TRADE, ev.LAST | ev.SELL
    tape["price"], tape["size"] = MID - 1, 600_000
    tape["recv_ns"] = START_NS + 20_000_000 * np.arange(1, count + 1)
    samples = []
    for at in range(count):
        frame = tape[at : at + 1]
        begin = time.perf_counter_ns()
        engine.process(frame)
        samples.append((time.perf_counter_ns() - begin) / 1000)
    filled = engine.summary()["orders"]["filled"]
    if filled < count - 3:
        raise RuntimeError(f"expected about {count} filled orders, found {engine.summary()['orders']}")
    return samples
