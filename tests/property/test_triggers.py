"""A trigger fires after the first frame that reaches it and never before, whatever the price it waits for."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st

from engine.core import events as ev
from engine.core.desk.order_terms import Trigger, TriggerBy, stop, take_profit, trailing
from engine.core.events import Batch
from engine.core.records import Armed, Triggered
from engine.core.types import Side
from tests.market import MS, Rig, S, Script, clock, depth, snapshot, trade

BYS = (TriggerBy.LAST, TriggerBy.MID, TriggerBy.BEST)


def triggers(chance: Random) -> Trigger:
    """Some order's trigger around a market at 100."""
    by = chance.choice(BYS)
    kind = chance.randrange(4)
    if kind < 2:
        return (stop, take_profit)[kind](chance.randint(94, 107), by)
    activation = chance.choice((0, 0, chance.randint(97, 104)))
    value = chance.randint(1, 5) if kind == 2 else chance.randint(60, 400)
    return trailing(value, "price" if kind == 2 else "bps", by=by, activation=activation)


class Reference:
    """One waiting order, in plain Python and fractions of nothing: prices are twice the units."""

    def __init__(self, side: int, trigger: Trigger, start2: int) -> None:
        self.side, self.trigger = side, trigger
        self.best = 0
        self.stop = 2 * trigger.price
        if trigger.trail is not None and start2:
            self.follow(start2)

    def follow(self, price2: int) -> None:
        trail = self.trigger.trail
        assert trail is not None
        if not self.best and trail.activation and (2 * trail.activation - price2) * -self.side > 0:
            return
        best = (min if self.side > 0 else max)(self.best or price2, price2)
        distance = 2 * trail.value if trail.by == "price" else best * trail.value // 10_000
        self.best = best
        moved = best + distance if self.side > 0 else best - distance
        self.stop = (min if self.side > 0 else max)(self.stop or moved, moved)

    def sees(self, price2: int) -> bool:
        """The price comes: does it wake the order?"""
        rises = (self.trigger.kind == "stop") == (self.side > 0)
        if self.stop and (price2 >= self.stop if rises else price2 <= self.stop):
            return True
        if self.trigger.trail is not None:
            self.follow(price2)
        return False


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_a_trigger_fires_at_the_first_frame_that_reaches_it_and_never_before(seed: int) -> None:
    chance = Random(seed)
    side, trigger = chance.choice(list(Side)), triggers(chance)
    script = Script({"start": lambda _, ctx: ctx.timer("go", 1.0)})
    script.on["timer"] = lambda _, ctx: ctx.order("BTCUSDT", side, 1, trigger=trigger)
    made = Rig(script)
    bid, ask, last = 99, 101, 0
    made.feed(snapshot(1 * MS, [(bid, 5)], [(ask, 5)]))
    if chance.random() < 0.7:
        last = chance.randint(98, 102)
        made.feed(trade(2 * MS, last, 1, sell=True))

    def now2() -> int:
        return {"last": 2 * last, "mid": bid + ask, "best": 2 * (ask if side > 0 else bid)}[trigger.by]

    reference = Reference(side, trigger, now2())
    made.feed(clock(1 * S), clock(1 * S + 1))
    expected = 0 if now2() and reference.sees(now2()) else -1
    for step in range(1, 40):
        ns = 1 * S + step * MS
        frame: Batch
        if chance.random() < 0.5:
            prices = [chance.randint(93, 108) for _ in range(chance.randint(1, 4))]
            frame = np.concatenate([trade(ns, price, 1, sell=True) for price in prices])
            frame["flags"][:-1] &= ~np.uint8(ev.LAST)
            last = prices[-1]
            seen = [2 * price for price in prices] if trigger.by == "last" else []
        else:
            old_bid, old_ask = bid, ask
            bid = chance.randint(94, 104)
            ask = bid + chance.randint(1, 4)
            frame = depth(ns, [(old_bid, 0), (bid, 5)], [(old_ask, 0), (ask, 5)])
            seen = [] if trigger.by == "last" else [now2()]
        if expected < 0 and any(reference.sees(price2) for price2 in seen):
            expected = step
        made.feed(frame)
        fired = [record.ns for record in made.records if isinstance(record.fact, Triggered)]
        assert bool(fired) == (expected >= 0), (step, expected, trigger, side, reference.stop, seen)
    event("fired" if expected > 0 else "at once" if expected == 0 else "never")
    assert len(made.facts(Triggered)) + len(made.facts(Armed)) >= 1
