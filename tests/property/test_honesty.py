"""Whatever the market does: bounds hold order by order, takers agree in every model, sums are those of the facts."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.honesty.grades import GRADES, REASONS
from engine.core.honesty.markouts import HORIZONS_NS
from engine.core.queues.queue_settings import QueueSettings
from engine.core.records import Cancelled, Fill, Markout, Missed, Regraded, TwinAccount, TwinFill
from engine.core.types import Side, TimeInForce
from tests.market import MS, NO_LATENCY, Rig, S, Script, clock, depth, gap, snapshot, trade


def trader(rng: np.random.Generator, *, takes_only: bool) -> Script:
    """Places and cancels orders near the touch at random."""

    def on_book(_: Any, ctx: Any) -> None:
        book = ctx.book("BTCUSDT")
        if not book.is_ready or not book.bid or not book.ask or rng.random() < 0.5:
            return
        side = Side.BUY if rng.random() < 0.5 else Side.SELL
        size = int(rng.integers(1, 12))
        if takes_only or rng.random() < 0.2:
            limit = book.ask if side > 0 else book.bid
            ctx.order("BTCUSDT", side, size, limit, time_in_force=TimeInForce.IOC)
            return
        best = book.bid if side > 0 else book.ask
        ctx.order("BTCUSDT", side, size, max(1, best - side * int(rng.integers(0, 3))))
        for order in ctx.orders():
            if rng.random() < 0.2:
                ctx.cancel(order.id)

    return Script({"book": on_book})


def play(seed: int, *, takes_only: bool = False, gaps: bool = False) -> Rig:
    """Some seconds of a market that changes levels, trades and, where wanted, loses its book now and then."""
    rng = np.random.default_rng(seed)
    paper = replace(NO_LATENCY, out_ns=2 * MS, back_ns=3 * MS, feed_ns=1 * MS)
    paper = replace(paper, queue=QueueSettings(model=str(rng.choice(["risk_averse", "power2", "log", "print"]))))
    made = Rig(trader(rng, takes_only=takes_only), paper=paper)
    levels = range(95, 106)
    ns, mid = 1 * S, 100
    made.feed(snapshot(ns, [(p, 20) for p in levels if p < mid], [(p, 20) for p in levels if p > mid]))
    for _ in range(150):
        ns += int(rng.integers(1, 400)) * MS
        what = rng.random()
        if gaps and what < 0.03:
            made.feed(gap(ns))
            made.feed(snapshot(ns + 1, [(p, 9) for p in levels if p < mid], [(p, 9) for p in levels if p > mid]))
        elif what < 0.45:
            sell = bool(rng.random() < 0.5)
            price = mid - 1 - int(rng.integers(0, 2)) if sell else mid + 1 + int(rng.integers(0, 2))
            made.feed(trade(ns, price, int(rng.integers(1, 25)), sell=sell))
        elif what < 0.5:
            mid = min(102, max(98, mid + int(rng.choice([-1, 1]))))
            changed = {p: int(rng.integers(1, 25)) for p in range(mid - 4, mid + 5)}
            made.feed(
                depth(
                    ns,
                    [(p, s if p < mid else 0) for p, s in changed.items()],
                    [(p, s if p > mid else 0) for p, s in changed.items()],
                )
            )
        else:
            price = mid + int(rng.choice([-3, -2, -1, 1, 2, 3]))
            size = [(price, int(rng.integers(0, 30)))]
            made.feed(depth(ns, size if price < mid else (), size if price > mid else ()))
    made.feed(clock(ns + 2 * S))
    made.say("stop", ns + 3 * S)
    made.feed(clock(ns + 4 * S))
    return made


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_the_bounds_hold_order_by_order_and_the_band_holds_the_run(seed: int, gaps: bool) -> None:
    made = play(seed, gaps=gaps)
    own: dict[int, int] = defaultdict(int)
    twins: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for record in made.records:
        fact = record.fact
        if isinstance(fact, TwinFill):
            for model in fact.models:
                twins[model][fact.order] += fact.size
        elif isinstance(fact, Fill):
            own[fact.order] += fact.size
            if not fact.maker:
                for model in made.engine.honesty.twins.models:
                    twins[model][fact.order] += fact.size
    for order, filled in own.items():
        assert filled <= twins["front"][order]
    for order, filled in twins["back"].items():
        assert filled <= own[order]
        assert all(filled <= by_order[order] <= twins["front"][order] for by_order in twins.values())
    profit = made.engine.ledger.profit()["USDT"]
    for fact in made.facts(TwinAccount):
        assert len(fact.profits) == len(made.engine.honesty.twins.models) + 1
    band = made.engine.honesty.plain()["band"]["USDT"]
    assert Decimal(band["low"]) <= Decimal(band["own"]) == profit <= Decimal(band["high"])
    for model, by_order in twins.items():
        assert sum(by_order.values()) >= abs(made.engine.honesty.twins.position(model, "s", 0))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_fills_that_take_are_the_same_in_every_model(seed: int) -> None:
    made = play(seed, takes_only=True)
    band = made.engine.honesty.plain()["band"]["USDT"]
    assert set(band["models"].values()) == {format(made.engine.ledger.profit()["USDT"], "f")}
    assert {fill.grade for fill in made.facts(Fill)} <= {"certain"}
    assert made.facts(TwinFill) == []


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_grades_markouts_and_shortfall_add_up_to_the_facts(seed: int, gaps: bool) -> None:
    made = play(seed, gaps=gaps)
    plain = made.engine.honesty.plain()
    fills = {(fill.order, fill.number): fill for fill in made.facts(Fill)}
    assert len(fills) == len(made.facts(Fill)), "an order's fills are numbered"
    told = plain["truth"]
    assert sum(told[grade] for grade in GRADES) == sum(told["final"].values()) == told["fills"] == len(fills)
    assert sum(told["regraded"][reason] for reason in REASONS) >= len(made.facts(Regraded))
    grades = {key: fill.grade for key, fill in fills.items()}
    for fact in made.facts(Regraded):
        assert grades[fact.order, fact.number] != "certain" or fact.reason == "gone"
        grades[fact.order, fact.number] = fact.grade
    assert {grade: list(grades.values()).count(grade) for grade in GRADES} == told["final"]
    for fill in fills.values():
        assert not fill.back_ns or fill.front_ns <= fill.back_ns <= fill.matched_ns
        assert fill.grade == "certain" or not fill.back_ns or gaps
    sums: dict[int, list[int]] = {at: [] for at in range(len(HORIZONS_NS) + 1)}
    marks = made.facts(Markout)
    assert {(mark.order, mark.number) for mark in marks} == set(fills)
    for mark in marks:
        fill = fills[mark.order, mark.number]
        assert mark.mids2[0] == fill.mid2
        for at, mid2 in enumerate(mark.mids2):
            if mid2:
                sums[at].append(fill.side * (mid2 - 2 * fill.price))
    groups = made.engine.honesty.markouts.groups.values()
    assert sum(group.fills for group in groups) == len(fills)
    for at, gains in sums.items():
        assert sum(group.counted[at] for group in groups) == len(gains)
        assert sum(group.gain2[at] for group in groups) == sum(gains)
    missed = made.facts(Missed)
    ended = [fact for fact in made.facts(Cancelled) if fact.left]
    assert {fact.order for fact in missed} <= {fact.order for fact in ended}
    (row,) = plain["execution"] or [None]
    assert row is None or row["fills"] == len(fills)
    assert row is None or row["missed"] == len(ended)
