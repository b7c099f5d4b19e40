"""However latencies jitter: nothing overtakes, nothing is told before it was, and batches do not matter."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.desk.order_terms import Trigger, TriggerKind
from engine.core.events import Batch, Measured
from engine.core.records import Accepted, AmendRequested, CancelRequested, Fill, Rejected, Sent
from engine.core.strategy import Context
from engine.core.types import Side
from engine.core.venue.gateway import BUSY, OUTAGE, RATE_LIMIT, Gate, Outage
from engine.core.venue.latency import LatencySettings, LatencyTape
from engine.core.venue.paper_settings import PaperSettings
from engine.core.venue.rate_limits import LIMITS, RateLimit
from tests.market import MS, Rig, Script, clock, depth, snapshot, trade

KINDS = st.one_of(
    st.builds(
        LatencySettings,
        kind=st.just("jitter"),
        seed=st.integers(0, 2**32),
        shape=st.sampled_from(("lognormal", "gamma")),
        spread=st.sampled_from((0.2, 0.9)),
        cancel_out_ns=st.sampled_from((None, 0, 9 * MS)),
        fill_back_ns=st.sampled_from((None, 0, 9 * MS)),
    ),
    st.builds(
        lambda outs, backs: LatencySettings(
            kind="tape", tape=LatencyTape(at_ns=[], out_ns=outs, back_ns=backs, feed_ns=backs[::-1])
        ),
        st.lists(st.integers(0, 8 * MS), min_size=5, max_size=5),
        st.lists(st.integers(0, 8 * MS), min_size=5, max_size=5),
    ),
    st.builds(LatencySettings, kind=st.just("measured"), draw=st.sampled_from(("median", "sample"))),
    st.just(LatencySettings()),
)


SENT = (Sent, CancelRequested, AmendRequested)


GATES = st.one_of(
    st.builds(Gate, reject_ppm=st.sampled_from((100_000, 500_000)), seed=st.integers(0, 99)),
    st.builds(
        lambda limit, is_rolling, counts: Gate(own=(RateLimit(limit, 20 * MS, counts, is_rolling, words="slow"),)),
        st.integers(1, 4),
        st.booleans(),
        st.integers(1, 7),
    ),
    st.builds(lambda start, lasts: Gate(outages=(Outage(start, lasts),)), *[st.integers(0, 60 * MS)] * 2),
    st.sampled_from([Gate(limits=name) for name in LIMITS]),
)


def trader(seed: int, with_lists: bool = False) -> Script:
    """Orders and cancels at every frame, by chance of its own."""
    chance = Random(seed)

    def on_book(_: Any, ctx: Context) -> None:
        price = chance.choice((0, 99, 100, 101, 102))
        ctx.order("BTCUSDT", chance.choice((Side.BUY, Side.SELL)), chance.randint(1, 4), price or None)
        working = ctx.orders()
        if working and chance.random() < 0.5:
            ctx.cancel(chance.choice(working).id)
        if working and chance.random() < 0.5:
            ctx.amend(chance.choice(working).id, size=chance.randint(1, 4))
        if with_lists and chance.random() < 0.3:
            ctx.bracket(
                "BTCUSDT", Side.BUY, 1, 100, target=chance.randint(101, 103), stop=Trigger(TriggerKind.STOP, 98)
            )

    return Script({"book": on_book})


def frames(seed: int) -> list[Batch | Measured]:
    chance = Random(seed)
    out: list[Batch | Measured] = [snapshot(1, [(100, 5), (99, 9)], [(102, 5), (103, 9)])]
    ns = 1
    for _ in range(40):
        ns += chance.randint(0, 3 * MS)
        which = chance.random()
        if which < 0.15:
            out.append(Measured(ns, "v", chance.randint(1, 9 * MS)))
        elif which < 0.5:
            out.append(trade(ns, chance.choice((100, 102)), chance.randint(1, 8), sell=chance.random() < 0.5))
        else:
            out.append(depth(ns, [(100, chance.randint(1, 9))], [(102, chance.randint(1, 9))]))
    return [*out, clock(ns + 5_000 * MS)]  # until nothing is on its way any more


def run(latency: LatencySettings, seed: int, blocks: bool, gate: Gate | None = None) -> Rig:
    paper = PaperSettings(
        out_ns=3 * MS,
        back_ns=2 * MS,
        feed_ns=2 * MS,
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
        latency=latency,
        gates={} if gate is None else {"*": gate},
    )
    made = Rig(trader(seed, gate is not None), paper=paper)
    waiting: list[Batch] = []

    def flush() -> None:
        if waiting:
            made.feed(np.concatenate(waiting))
            waiting.clear()

    for item in frames(seed):
        if isinstance(item, Measured):
            flush()
            made.records += made.engine.process(item)
        else:
            waiting.append(item)
            if not blocks:
                flush()
    flush()
    return made


def rising(values: Sequence[int]) -> bool:
    return list(values) == sorted(values)


@settings(max_examples=60, deadline=None)
@given(latency=KINDS, seed=st.integers(0, 10_000))
def test_nothing_overtakes_and_blocks_do_not_matter(latency: LatencySettings, seed: int) -> None:
    made = run(latency, seed, blocks=False)
    sent = [(record.ns, record.fact) for record in made.records if isinstance(record.fact, SENT)]
    assert rising([fact.arrives_ns for _, fact in sent])
    assert all(fact.arrives_ns >= ns for ns, fact in sent)
    assert rising([record.ns for record in made.records])
    # The venue answers in the order in which the orders arrived, and is heard in that order.
    answered = [
        fact.order for fact in (record.fact for record in made.records) if isinstance(fact, (Accepted, Rejected))
    ]
    arrived = [fact.order for _, fact in sent if isinstance(fact, Sent)]
    assert answered == arrived[: len(answered)] and len(answered) == len(arrived)
    matched = [(record.ns, record.fact.matched_ns) for record in made.records if isinstance(record.fact, Fill)]
    assert all(told >= happened for told, happened in matched) and rising([happened for _, happened in matched])
    assert made.engine.digest == run(latency, seed, blocks=True).engine.digest


@settings(max_examples=60, deadline=None)
@given(latency=KINDS, gate=GATES, seed=st.integers(0, 10_000))
def test_whatever_the_door_refuses_every_order_is_answered_and_ends(
    latency: LatencySettings, gate: Gate, seed: int
) -> None:
    made = run(latency, seed, blocks=False, gate=gate)
    desk = made.engine.desk
    refused = [fact for fact in made.facts(Rejected) if fact.reason in (RATE_LIMIT, BUSY, OUTAGE)]
    assert len({fact.order for fact in refused}) == len(refused)
    sides = [sum(order.held for order in desk.orders.values() if order.intent.side == side) for side in (1, -1)]
    assert all(0 <= working <= held for working, held in zip(desk.working(0), sides, strict=True))  # a pair counts once
    assert all(order.arrived and not order.ended for order in desk.orders.values())
    assert made.engine.digest == run(latency, seed, blocks=True, gate=gate).engine.digest
