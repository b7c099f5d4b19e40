"""A paper order in the very market in which the real one trades: the real order's own effect is in the feed.

So a user who trades for real would see it. The paper order meets the market at the same instant, just before the real
one: it never stands behind its own double, and what the double does is on the tape like anybody's trade.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from adapters.market import SymbolMarket
from engine.core import events as ev
from engine.core.engine import Engine
from engine.core.events import Batch, Command
from engine.core.records import Fill
from engine.core.settings import EngineSettings
from engine.core.strategy import Config, Context, Strategy
from engine.core.types import Side, TimeInForce
from engine.core.venue.paper_settings import PaperSettings
from engine.research.truth_market import Fate, Truth, play
from engine.research.truth_orders import Trial
from engine.research.virtual_market import NO_LIMITS, VirtualFeed, joined


class _Double(Strategy[Config]):
    """Sends a trial's orders at given engine times, and takes them back."""

    def __init__(self, trial: Trial, late_ns: int) -> None:
        super().__init__(Config())
        self.orders: dict[int, int] = {}
        self._trial = trial
        self._late_ns = late_ns

    def on_start(self, ctx: Context) -> None:
        for at, one in enumerate(self._trial.wanted):
            arrives_ns = self._trial.decided_ns + one.after_ns + self._late_ns
            ctx.timer(f"send{at}", (arrives_ns - ctx.now_ns) / 1e9)
            if one.life_ns:
                ctx.timer(f"back{at}", (arrives_ns + one.life_ns - ctx.now_ns) / 1e9)

    def on_timer(self, name: str, ctx: Context) -> None:
        at, (symbol,) = int(name[4:]), ctx.symbols
        if name.startswith("back"):
            ctx.cancel(next(number for number, which in self.orders.items() if which == at))
            return
        one = self._trial.wanted[at]
        price = one.price or None
        force = TimeInForce.GTC if one.life_ns or price is None else TimeInForce.IOC
        number = ctx.order(symbol, Side(one.side), one.size, price, time_in_force=force)
        self.orders[number] = at


def paired(market: SymbolMarket, trial: Trial, settings: PaperSettings, until_ns: int) -> tuple[Truth, list[Fate]]:
    """Play a trial for real in ``market``, which is changed, and on paper on that market's own feed, tick by tick.

    The paper order's way is spent before: it takes effect at decision + out + feed in the received stream, as ever.
    """
    feed = VirtualFeed(market, feed_ns=settings.feed_ns)
    batches: list[Batch] = [feed.opening()]
    one = feed.instrument
    start_ns = int(batches[0]["recv_ns"][0])
    truth = play(
        market, trial, settings.out_ns, one.tick, one.lot, until_ns, lambda ns: batches.append(feed.advance(ns))
    )
    double = _Double(trial, settings.out_ns + settings.feed_ns)
    at_once = msgspec.structs.replace(settings, out_ns=0, back_ns=0, feed_ns=0)
    cash = {one.quote: Decimal(10) ** 15}
    engine = Engine([one], {"double": lambda: double}, EngineSettings(paper=at_once, risk=NO_LIMITS, cash=cash))
    records = engine.process(Command(start_ns, "start"))
    records += engine.process(joined(batches))
    records += engine.process(ev.row(ev.CLOCK, symbol=0, recv_ns=until_ns + settings.feed_ns))
    fates = [Fate([]) for _ in trial.wanted]
    for fact in (record.fact for record in records):
        if isinstance(fact, Fill):
            told = (fact.matched_ns - settings.feed_ns, fact.price, fact.size, fact.maker)
            fates[double.orders[fact.order]].fills.append(told)
    return truth, fates
