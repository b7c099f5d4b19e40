"""Compile every kernel before the market is open: the first run on a machine takes seconds for it, later ones none.

A throw-away engine lives through a short made-up market with a taker, a maker, a trade and a model, so that nothing is
compiled in the middle of a run.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import numpy as np

from adapters.contract import Venue
from engine.core import events as ev
from engine.core.desk.risk import RiskSettings
from engine.core.engine import Engine
from engine.core.settings import EngineSettings
from engine.core.strategy import Config, Context, Strategy
from engine.core.types import Instrument, Side
from engine.core.venue.paper_settings import PaperSettings
from engine.learn.contract import ModelSettings
from engine.learn.drift.grading import LEAST, Case
from engine.learn.drift.line_up import parts_of, ranked
from engine.learn.drift.settings import DriftSettings
from engine.learn.drift.tuning import Tuning
from engine.learn.models import Models

STEP_NS = 1_000_000
STEPS = 40


class _Busy(Strategy[Config]):
    """Takes, rests and cancels once each."""

    def on_start(self, ctx: Context) -> None:
        ctx.timer("go", 0.005)

    def on_timer(self, name: str, ctx: Context) -> None:
        symbol = ctx.symbols[0]
        if name == "go":
            ctx.order(symbol, Side.BUY, 10)
            ctx.order(symbol, Side.BUY, 10, 9_999)
            ctx.order(symbol, Side.BUY, 10, 9_998)
            ctx.order(symbol, Side.SELL, 5, 10_001)
            ctx.timer("stop", 0.02)
        else:
            for order in ctx.orders():
                ctx.cancel(order.id)


def warm_up(venues: Iterable[type[Venue]]) -> None:
    """Bring all compiled code into memory; a second call does little."""
    one = Instrument(venue="warm", symbol="UP", base="A", quote="B", price_decimals=2, size_decimals=2)
    model = ModelSettings(name="warm", symbol=one.name, every_ns=STEP_NS, horizon_ns=STEP_NS, warm_up_ns=STEP_NS)
    models = Models((one,), (model,))
    settings = EngineSettings(
        paper=PaperSettings(out_ns=0, back_ns=0, feed_ns=0),
        risk=RiskSettings(allow_short=True, allow_debt=True),
        cash={"B": Decimal(1_000_000)},
        book_depth=16,
    )
    engine = Engine((one,), {"warm": lambda: _Busy(Config())}, settings, models)
    engine.process(ev.Command(0, "start"))
    for step in range(1, STEPS):
        engine.process(_frame(step * STEP_NS, is_first=step == 1))
        engine.process(_trade(step * STEP_NS, is_sell=step % 2 == 1))
    engine.process(ev.Command(STEPS * STEP_NS, "stop"))
    scans = ranked(parts_of(DriftSettings(), (), model.drift_delta))
    Tuning(scans, np.zeros((STEPS, len(scans))), per=1, seed=0).step()
    Case(0, np.ones((LEAST, 2)), 1, 0, 0).add((1.0, 1.0), (1.0, 1.0))
    for venue in set(venues):
        venue({"UP": (0, one)})


def _trade(ns: int, *, is_sell: bool) -> ev.Batch:
    """A print large enough to go through the queue at the touch."""
    flags, price = (ev.LAST | ev.SELL, 9_999) if is_sell else (ev.LAST, 10_001)
    return ev.row(ev.TRADE, symbol=0, recv_ns=ns, flags=flags, price=price, size=50)


def _frame(ns: int, *, is_first: bool) -> ev.Batch:
    """Two bids and two asks around 100.00 whose sizes move with time."""
    levels = [(9_999, 0), (9_998, 0), (10_001, ev.ASK), (10_002, ev.ASK)]
    batch = ev.rows(len(levels) + 2 * is_first)
    body = batch[1:-1] if is_first else batch
    for place, (price, side) in enumerate(levels):
        body[place]["kind"], body[place]["flags"] = ev.LEVEL, side
        body[place]["price"], body[place]["size"] = price, 20 + (ns // STEP_NS + place) % 7
    if is_first:
        batch[0]["kind"], batch[-1]["kind"] = ev.CLEAR, ev.READY
    batch["recv_ns"] = ns
    batch["flags"][-1] |= np.uint8(ev.LAST)
    return batch
