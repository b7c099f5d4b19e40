"""Small hands for tests of order types: a strategy that asks at set times, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from engine.core import events as ev
from engine.core.desk.risk import RiskSettings
from engine.core.events import Batch
from engine.core.records import Fill
from engine.core.strategy import Context
from engine.core.types import ContractKind, Side
from engine.core.venue.paper_settings import PaperSettings
from engine.core.venue.venue_rules import VenueRules
from tests.market import BTC, LOOSE, MS, NO_LATENCY, Rig, S, Script, clock, snapshot, trade

LINEAR = msgspec.structs.replace(BTC, kind=ContractKind.LINEAR)
LATENT = msgspec.structs.replace(NO_LATENCY, out_ns=2 * MS, back_ns=5 * MS, feed_ns=1 * MS)
BUY, SELL = Side.BUY, Side.SELL
BIDS = [(100, 10), (99, 20), (95, 50)]
ASKS = [(102, 5), (103, 7), (105, 50)]
Act = Callable[[Context], Any]


def with_rules(**rules: Any) -> PaperSettings:
    return msgspec.structs.replace(NO_LATENCY, rules=VenueRules(**rules))


def rig(*acts: Act, paper: PaperSettings = NO_LATENCY, instrument: Any = LINEAR, risk: RiskSettings = LOOSE) -> Rig:
    """A strategy that does the first thing at one second, the next half a second later, and so on."""

    def on_timer(name: str, ctx: Context) -> None:
        at = int(name)
        if at + 1 < len(acts):
            ctx.timer(str(at + 1), 0.5)
        acts[at](ctx)

    made = Rig(
        Script({"start": lambda _, ctx: ctx.timer("0", 1.0), "timer": on_timer}),
        paper=paper,
        instruments=(instrument,),
        risk=risk,
    )
    made.feed(snapshot(1 * MS, BIDS, ASKS), clock(1 * S), clock(1 * S + 1))
    return made


def order(side: Side, size: int, price: int | None = None, **terms: Any) -> Act:
    return lambda ctx: ctx.order("BTCUSDT", side, size, price, **terms)


def prints(ns: int, *prices: int) -> Batch:
    """One frame of trades, each of one unit, bought."""
    frame = np.concatenate([trade(ns, price, 1, sell=False) for price in prices])
    frame["flags"][:-1] &= ~np.uint8(ev.LAST)
    return frame


def fills(made: Rig) -> list[tuple[int, int, int]]:
    return [(fill.order, fill.price, fill.size) for fill in made.facts(Fill)]


def states(made: Rig) -> dict[int, str]:
    return {number: one.state for number, one in made.engine.desk.orders.items()}
