"""Whatever the market does and however the tape is cut, the engine decides alike and its sums hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.events import Batch
from engine.core.records import Fill, Request
from engine.core.state import RESTING_COUNT, RESTING_HERE
from engine.core.strategy import Context
from engine.core.types import Side
from engine.core.venue.paper_settings import PaperSettings
from tests.market import MS, Rig, S, Script, clock, depth, gap, snapshot, trade

BOOK = snapshot(1, [(100, 50), (99, 50)], [(101, 50), (102, 50)])


def busy() -> Script:
    """Trades on all it hears, deterministically."""

    def on_book(value: tuple[int, int], ctx: Context) -> None:
        bid, ask = value
        if len(ctx.orders()) < 4:
            ctx.order("BTCUSDT", Side.BUY if bid % 2 else Side.SELL, 1 + ask % 3, bid if bid % 3 else None)
        else:
            ctx.cancel(ctx.orders()[0].id)
        ctx.timer(f"t{bid % 5}", 0.01 * (ask % 7))

    return Script({"book": on_book, "timer": lambda name, ctx: ctx.emit("BTCUSDT", name, 1.0)})


def random_market(seed: int, count: int) -> list[Batch]:
    rng = np.random.default_rng(seed)
    frames = [BOOK]
    ns = 1
    for _ in range(count):
        ns += int(rng.integers(1, 40)) * MS
        mid = 100 + int(rng.integers(-3, 4))
        kind = rng.random()
        if kind < 0.6:
            size = int(rng.integers(0, 20))
            frames.append(depth(ns, [(mid - 1, size), (mid, 0)], [(mid + 1, size + 1), (mid, 0)]))
        elif kind < 0.9:
            frames.append(trade(ns, mid, int(rng.integers(1, 30)), sell=bool(rng.integers(2))))
        elif kind < 0.95:
            frames.append(clock(ns))
        else:
            frames += [gap(ns), snapshot(ns + MS, [(mid - 1, 30)], [(mid + 1, 30)])]
    return frames


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 120), min_size=0, max_size=8, unique=True))
def test_how_the_tape_is_cut_into_blocks_changes_nothing(seed: int, cuts: list[int]) -> None:
    paper = PaperSettings(out_ns=12 * MS, back_ns=9 * MS, feed_ns=4 * MS)
    frames = random_market(seed, 120)
    one = Rig(busy(), paper=paper)
    one.feed(*frames)
    other = Rig(busy(), paper=paper)
    edges = [0, *sorted(cuts), len(frames)]
    blocks = [np.concatenate(frames[a:b]) for a, b in pairwise(edges) if a < b]
    other.feed(*blocks)
    end = int(frames[-1]["recv_ns"][-1]) + S
    assert one.say("stop", end) == other.say("stop", end)
    assert one.engine.digest == other.engine.digest
    assert [record.seq for record in one.records] == list(range(1, len(one.records) + 1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_whatever_happens_orders_and_money_add_up(seed: int) -> None:
    rig = Rig(busy(), paper=PaperSettings(out_ns=12 * MS, back_ns=9 * MS, feed_ns=4 * MS))
    rig.feed(*random_market(seed, 150))
    engine = rig.engine
    bought = sum(fill.side * fill.size for fill in rig.facts(Fill))
    assert engine.ledger.position(0) == bought
    sizes = {request.order: request.size for request in rig.facts(Request)}
    filled: dict[int, int] = {}
    for fill in rig.facts(Fill):
        filled[fill.order] = filled.get(fill.order, 0) + fill.size
        assert fill.left == sizes[fill.order] - filled[fill.order] >= 0
    buying = sum(order.left for order in engine.working("s") if order.intent.side > 0)
    selling = sum(order.left for order in engine.working("s") if order.intent.side < 0)
    assert engine.desk.working(0) == (buying, selling)
    assert engine._state.control[RESTING_COUNT] == engine.books.top[0, RESTING_HERE]
