"""A daemon without its processes: real runner, engine, models, feed and connection under a clock that a test moves."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from adapters.binance import BinanceSpot
from adapters.connection import Connection
from adapters.entry import Entry
from adapters.feed import Feed
from engine.core.desk.risk import RiskSettings
from engine.core.engine import Engine
from engine.core.events import Batch
from engine.core.settings import EngineSettings
from engine.core.venue.paper_settings import PaperSettings
from engine.learn.contest import ContestSettings
from engine.learn.contract import ModelSettings
from engine.learn.models import Models
from engine.live.bus import Bus
from engine.live.clock import Clock
from engine.live.runner import Runner
from engine.live.view import View
from tests.market import BTC, ETH, LOOSE, NO_LATENCY, S, Script, snapshot
from tests.scripted import ScriptedTransport

START_NS = 1_700_000_000 * S
BIDS, ASKS = [(10_000, 5_000), (9_990, 7_000)], [(10_010, 4_000), (10_020, 6_000)]


def buys(size: int) -> Script:
    """Buys at the market at its first sight of a book."""
    script = Script()

    def on_book(_: Any, ctx: Any) -> None:
        if len(script.all("book")) == 1:
            ctx.order("BTCUSDT", 1, size)

    script.on["book"] = on_book
    return script


class Watched:
    """One strategy ``s``, two books, one model, one venue ``v``; the connection is open.

    ``with_contest``: a second model ``z`` may take the place of ``m`` in the contest ``best``.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        risk: RiskSettings = LOOSE,
        paper: PaperSettings = NO_LATENCY,
        capacity: int = 64,
        with_models: bool = True,
        with_contest: bool = False,
    ) -> None:
        self.now_ns = START_NS
        self.taped: list[Entry] = []
        instruments = (BTC, ETH)
        settings = [ModelSettings(name="m", use="river-linear", symbol=BTC.name)] if with_models else []
        contests = []
        if with_contest:
            settings.append(ModelSettings(name="z", use="zero", symbol=BTC.name))
            contests.append(
                ContestSettings(
                    name="best", symbol=BTC.name, champion="m", challengers=("z",), horizon_ns=S, accounts=True
                )
            )
        self.models = Models(instruments, settings, contests=contests)
        self.script = script or Script()
        self.engine = Engine(
            instruments,
            {"s": lambda: self.script},
            EngineSettings(paper=paper, risk=risk, cash={"USDT": Decimal(1_000_000)}, book_depth=64),
            self.models if with_models else None,
        )
        clock = Clock(wall=lambda: START_NS, monotonic=lambda: self.now_ns - START_NS)
        self.runner = Runner(self.engine, Bus(capacity), clock, self.taped.append)
        self.feed = Feed("v", BinanceSpot, {BTC.symbol: (0, BTC), ETH.symbol: (1, ETH)})
        self.connection = Connection(
            self.feed,
            ScriptedTransport(lambda url: b""),
            clock.now_ns,
            self.runner.take,
            self.taped.append,
        )
        self.connection.is_open = True
        self.runner.connections = {"v": self.connection}
        self.view = View(self.runner, self.models if with_models else None, {"v": self.feed}, "demo", START_NS)
        self.runner.command("start")
        self.runner.drain(10)

    def feed_batches(self, *batches: Batch) -> None:
        for batch in batches:
            self.now_ns = max(self.now_ns, int(batch["recv_ns"][-1]))
            assert self.runner.take(batch, int(batch["recv_ns"][-1]))
            self.runner.drain(10)

    def make_ready(self) -> None:
        """Both books get a snapshot, a second after the start."""
        at = START_NS + S
        self.feed_batches(snapshot(at, BIDS, ASKS), snapshot(at, BIDS, ASKS, symbol=1))

    def pass_time(self, ns: int) -> None:
        """Let the clock go on, and the engine hear of it."""
        self.now_ns += ns
        self.runner.tell_time()
        self.runner.drain(10)
