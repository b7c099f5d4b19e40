"""Conservation of liquidity: paper fills never exceed what traded plus what was displayed, on any tape.

Held three ways: on random tapes full of nonsense, on the simulated market, and on the recordings where they are there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import events as ev
from engine.core.engine import Engine
from engine.core.events import MOST_UNITS, Batch, Command
from engine.core.queues.queue_models import MODELS
from engine.core.queues.queue_settings import QueueSettings
from engine.core.records import Fill, Record
from engine.core.settings import EngineSettings
from engine.core.state import Q_AHEAD, Q_FELL, Q_LEFT, SLOTS_USED
from engine.core.strategy import Config, Context, Strategy
from engine.core.types import Instrument, Side, TimeInForce
from engine.core.venue.paper_settings import PaperSettings
from engine.research.parity import recorded, simulated
from engine.research.virtual_market import NO_LIMITS
from tests.data import recordings
from tests.market import BTC, MS

PRICES = st.one_of(st.integers(95, 108), st.sampled_from([-5, 0, 1, 10_000, MOST_UNITS + 1]))
SIZES = st.one_of(st.integers(0, 30), st.sampled_from([-3, 10**12, MOST_UNITS, 2**63 - 1]))
ROWS = st.tuples(
    st.sampled_from([ev.LEVEL] * 6 + [ev.TRADE] * 4 + [ev.CLEAR, ev.READY, ev.GAP, ev.MARK]),
    st.sampled_from([0, ev.ASK, ev.UNSIDED]),
    PRICES,
    SIZES,
    st.integers(0, 5),
)
ORDERS = st.tuples(st.sampled_from([Side.BUY, Side.SELL]), st.integers(1, 25), st.integers(95, 108), st.booleans())


class Sender(Strategy[Config]):
    """At each of its times sends one of the orders; every third time it takes the oldest back."""

    def __init__(self, orders: Sequence[tuple[Side, int, int, bool]]) -> None:
        super().__init__(Config())
        self.orders = list(orders)

    def on_start(self, ctx: Context) -> None:
        ctx.timer("next", 0.0)

    def on_timer(self, name: str, ctx: Context) -> None:
        if not self.orders:
            return
        side, size, price, takes = self.orders.pop()
        (symbol,) = ctx.symbols
        force = TimeInForce.IOC if takes else TimeInForce.GTC
        ctx.order(
            symbol, side, size, price if price % 7 else None, time_in_force=force if price % 7 else TimeInForce.GTC
        )
        working = ctx.orders(symbol)
        if len(self.orders) % 3 == 0 and working:
            ctx.cancel(working[0].id)
        ctx.timer("next", 0.002)


def played(strategy: Strategy[Config], instrument: Instrument, batch: Batch, paper: PaperSettings) -> list[Record]:
    cash = {instrument.quote: Decimal(10) ** 30, instrument.base: Decimal(10) ** 30}
    engine = Engine([instrument], {"s": lambda: strategy}, EngineSettings(paper=paper, risk=NO_LIMITS, cash=cash))
    records = engine.process(Command(int(batch["recv_ns"][0]), "start"))
    ends = np.flatnonzero(batch["flags"] & ev.LAST) + 1
    start = 0
    for end in [*ends[::512].tolist(), len(batch)]:
        if end > start:
            records += engine.process(batch[start:end])
            start = end
            used = engine._state.control[SLOTS_USED]
            queues = engine._state.queues[:used]
            assert (queues[:, :, [Q_LEFT, Q_AHEAD, Q_FELL]] >= 0).all()
    return records


def assert_conserved(batch: Batch, records: Sequence[Record]) -> None:
    """Who rested got no more than prints of that moment and what was displayed; who took, what was displayed."""
    is_level, is_trade = batch["kind"] == ev.LEVEL, batch["kind"] == ev.TRADE
    shown: dict[tuple[int, int], int] = defaultdict(int)  # (side that it rests on, price): all sizes ever said
    printed: dict[tuple[int, int], int] = defaultdict(int)  # (side that was hit, engine time)
    times = np.maximum.accumulate(batch["recv_ns"])
    for flags, price, size in batch[is_level][["flags", "price", "size"]].tolist():
        if 0 < size <= MOST_UNITS:
            shown[-1 if flags & ev.ASK else 1, price] += size
    for (flags, price, size), now_ns in zip(
        batch[is_trade][["flags", "price", "size"]].tolist(), times[is_trade].tolist(), strict=True
    ):
        if price > 0 and 0 < size <= MOST_UNITS:
            for hit in (1, -1) if flags & ev.UNSIDED else (1 if flags & ev.SELL else -1,):
                printed[hit, now_ns] += size
    took: dict[tuple[int, int], int] = defaultdict(int)
    rested: dict[tuple[int, int], int] = defaultdict(int)
    reached: dict[int, int] = defaultdict(int)
    for fill in (record.fact for record in records if isinstance(record.fact, Fill)):
        assert fill.size > 0 and fill.queue_ahead >= 0 and fill.ahead_now >= 0 and fill.left >= 0
        if not fill.maker:
            took[-fill.side, fill.price] += fill.size
        elif fill.cause == "crossed":
            reached[-fill.side] += fill.size
        else:
            rested[fill.side, fill.matched_ns] += fill.size
    for where, size in took.items():
        assert size <= shown[where], f"took {size} at {where}, shown were {shown[where]}"
    for side, size in reached.items():
        everything = sum(here for (which, _), here in shown.items() if which == side)
        assert size + sum(here for (which, _), here in took.items() if which == side) <= everything
    for (side, now_ns), size in rested.items():
        most = printed[side, now_ns]
        if size > most:  # one fill of a frame may be made of prints and of the other side's display
            most += sum(here for (which, _), here in shown.items() if which == -side)
        assert size <= most, f"{size} filled at {now_ns} on side {side}, {most} traded"


@settings(deadline=None, max_examples=150)
@given(
    rows=st.lists(ROWS, min_size=1, max_size=120), orders=st.lists(ORDERS, max_size=20), model=st.sampled_from(MODELS)
)
def test_no_tape_however_bad_gives_more_than_there_was(
    rows: list[tuple[int, int, int, int, int]], orders: list[tuple[Side, int, int, bool]], model: str
) -> None:
    opening = [
        (ev.CLEAR, 0, 0, 0, 0), *((ev.LEVEL, 0, 100 - i, 5, 0) for i in range(4)),
        *((ev.LEVEL, ev.ASK, 102 + i, 5, 0) for i in range(4)), (ev.READY, 0, 0, 0, 0),
    ]  # fmt: skip
    batch = ev.rows(len(opening) + len(rows))
    for at, (kind, flags, price, size, number) in enumerate([*opening, *rows]):
        row = batch[at]
        row["kind"], row["flags"], row["price"], row["size"], row["id"] = kind, flags, price, size, number
        row["recv_ns"] = MS if at < len(opening) else MS * (at + 2)
        row["venue_ns"] = row["recv_ns"] if number else 0
        row["reason"] = ev.SEQUENCE if kind == ev.GAP else 0
        if at >= len(opening) - 1:
            row["flags"] |= ev.LAST
    paper = PaperSettings(out_ns=MS, back_ns=MS, feed_ns=0, queue=QueueSettings(model=model))
    assert_conserved(batch, played(Sender(orders), BTC, batch, paper))


class Ladder(Strategy[Config]):
    """Every half second: five large quotes a side around the touch, and a market order of thrice the best size."""

    def on_start(self, ctx: Context) -> None:
        ctx.timer("again", 2.0)

    def on_timer(self, name: str, ctx: Context) -> None:
        (symbol,) = ctx.symbols
        book = ctx.book(symbol)
        for order in ctx.orders(symbol):
            ctx.cancel(order.id)
        if book.bid and book.ask:
            size = max(1, book.bid_size)
            for step in range(5):
                ctx.order(symbol, Side.BUY, size, book.bid - (step - 1) * book.instrument.tick)
                ctx.order(symbol, Side.SELL, size, book.ask + (step - 1) * book.instrument.tick)
            ctx.order(symbol, Side.BUY if book.bid % 2 else Side.SELL, 3 * size)
        ctx.timer("again", 0.5)


@pytest.mark.parametrize("model", ["risk_averse", "power3"])
def test_the_simulated_market_gives_no_more_than_there_was(model: str) -> None:
    instrument, batch = simulated(5, 40, 3 * MS)
    records = played(Ladder(Config()), instrument, batch, PaperSettings(queue=QueueSettings(model=model)))
    assert sum(isinstance(record.fact, Fill) for record in records) > 100
    assert_conserved(batch, records)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["usdm-btcusdt_20240718.gz", "spot-btcusdt_20240808.gz", "cm-btcusd_perp_20240808.gz"])
def test_a_recording_gives_no_more_than_there_was(name: str) -> None:
    instrument, batch = recorded([recordings() / "binance" / name])
    assert_conserved(batch, played(Ladder(Config()), instrument, batch, PaperSettings()))
