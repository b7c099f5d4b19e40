"""Small hands for building market data and engines in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from engine.core import events as ev
from engine.core.desk.risk import RiskSettings
from engine.core.engine import Engine
from engine.core.events import Batch, Command
from engine.core.records import AnyFact, Record
from engine.core.settings import EngineSettings
from engine.core.strategy import Config, Context, Strategy
from engine.core.types import Instrument
from engine.core.venue.paper_settings import PaperSettings

BTC = Instrument(venue="v", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=3)
ETH = Instrument(venue="v", symbol="ETHUSDT", base="ETH", quote="USDT", price_decimals=2, size_decimals=3)

MS = 1_000_000
S = 1_000_000_000

Levels = Sequence[tuple[int, int]]

NO_LATENCY = PaperSettings(out_ns=0, back_ns=0, feed_ns=0, maker_fee=Decimal(0), taker_fee=Decimal("0.001"))
LOOSE = RiskSettings(
    max_order_notional=Decimal(0),
    max_position_notional=Decimal(0),
    price_collar_bps=0,
    stale_book_ns=0,
    max_orders_per_window=0,
    max_open_orders=0,
    drawdown_fraction=Decimal(0),
    allow_short=True,
    allow_debt=True,
)


def depth(
    ns: int,
    bids: Levels = (),
    asks: Levels = (),
    *,
    symbol: int = 0,
    id: int = 0,  # noqa: A002
    kind: int = ev.LEVEL,
) -> Batch:
    """A depth frame: new total sizes at prices."""
    changes = [(price, size, 0) for price, size in bids] + [(price, size, ev.ASK) for price, size in asks]
    if not changes:
        return ev.row(ev.MARK, symbol=symbol, recv_ns=ns, id=id)
    batch = ev.rows(len(changes))
    for row, (price, size, flag) in zip(batch, changes, strict=True):
        row["kind"], row["flags"], row["price"], row["size"] = kind, flag, price, size
    batch["symbol"], batch["recv_ns"], batch["id"] = symbol, ns, id
    batch["flags"][-1] |= ev.LAST
    return batch


def snapshot(ns: int, bids: Levels, asks: Levels, *, symbol: int = 0, id: int = 1) -> Batch:  # noqa: A002
    """A snapshot that makes the book ready."""
    clear = ev.row(ev.CLEAR, symbol=symbol, recv_ns=ns, flags=ev.SNAPSHOT)
    body = depth(ns, bids, asks, symbol=symbol, id=id)
    body["flags"] = (body["flags"] & ~np.uint8(ev.LAST)) | ev.SNAPSHOT
    ready = ev.row(ev.READY, symbol=symbol, recv_ns=ns, flags=ev.LAST | ev.SNAPSHOT, id=id)
    return np.concatenate([clear, body, ready])


def trade(ns: int, price: int, size: int, *, sell: bool, symbol: int = 0, id: int = 1) -> Batch:  # noqa: A002
    """One public trade; ``sell``: the aggressor sold."""
    flags = ev.LAST | (ev.SELL if sell else 0)
    return ev.row(ev.TRADE, symbol=symbol, recv_ns=ns, flags=flags, price=price, size=size, id=id)


def gap(ns: int, *, symbol: int = 0, reason: int = ev.SEQUENCE) -> Batch:
    return ev.row(ev.GAP, symbol=symbol, recv_ns=ns, reason=reason)


def clock(ns: int) -> Batch:
    return ev.row(ev.CLOCK, symbol=0, recv_ns=ns)


class Script(Strategy[Config]):
    """Does what it is handed at given moments, and remembers all it heard."""

    def __init__(self, on: Mapping[str, Callable[..., Any]] | None = None) -> None:
        super().__init__(Config())
        self.on = dict(on or {})
        self.heard: list[tuple[str, Any]] = []

    def _hear(self, what: str, value: Any, ctx: Context) -> None:
        self.heard.append((what, value))
        if what in self.on:
            self.on[what](value, ctx)

    def on_start(self, ctx: Context) -> None:
        self._hear("start", None, ctx)

    def on_book(self, book: Any, ctx: Context) -> None:
        self._hear("book", (book.bid, book.ask), ctx)

    def on_trade(self, trade: Any, ctx: Context) -> None:
        self._hear("trade", trade, ctx)

    def on_signal(self, signal: Any, ctx: Context) -> None:
        self._hear("signal", signal, ctx)

    def on_fill(self, fill: Any, ctx: Context) -> None:
        self._hear("fill", fill, ctx)

    def on_order(self, order: Any, ctx: Context) -> None:
        self._hear("order", order, ctx)

    def on_gap(self, gap: Any, ctx: Context) -> None:
        self._hear("gap", gap, ctx)

    def on_timer(self, name: str, ctx: Context) -> None:
        self._hear("timer", name, ctx)

    def on_stop(self, ctx: Context) -> None:
        self._hear("stop", None, ctx)

    def all(self, what: str) -> list[Any]:
        return [value for kind, value in self.heard if kind == what]


class Rig:
    """An engine with scripted strategies; ``facts`` collects all that came out."""

    def __init__(
        self,
        *scripts: Strategy[Any],
        paper: PaperSettings = NO_LATENCY,
        risk: RiskSettings = LOOSE,
        instruments: Sequence[Instrument] = (BTC,),
        cash: Mapping[str, Decimal] | None = None,
        depth: int = 64,
        **engine: Any,
    ) -> None:
        settings = EngineSettings(
            paper=paper, risk=risk, cash=dict(cash or {"USDT": Decimal(1_000_000)}), book_depth=depth
        )
        names = ["s"] if len(scripts) == 1 else [f"s{i}" for i in range(len(scripts))]
        factories = {name: (lambda script=script: script) for name, script in zip(names, scripts, strict=True)}
        self.engine = Engine(instruments, factories, settings, **engine)
        self.records: list[Record] = []
        self.say("start", 0)

    def feed(self, *batches: Batch) -> list[AnyFact]:
        """Process batches one by one; the facts that came out."""
        out = [record for batch in batches for record in self.engine.process(batch)]
        self.records += out
        return [record.fact for record in out]

    def say(self, command: str, ns: int, **args: Any) -> list[AnyFact]:
        out = self.engine.process(Command(ns, command, args))
        self.records += out
        return [record.fact for record in out]

    def facts(self, kind: type[Any]) -> list[Any]:
        return [record.fact for record in self.records if isinstance(record.fact, kind)]
