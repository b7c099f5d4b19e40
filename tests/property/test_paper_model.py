"""The paper venue against a second one, written anew from the rules in plain Python: both say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st

from engine.core import events as ev
from engine.core.events import Batch
from engine.core.queues.queue_settings import QueueSettings
from engine.core.records import Accepted, Cancelled, CancelRejected, Fill, Refusal, Rejected
from engine.core.strategy import Context
from engine.core.types import Side, TimeInForce
from engine.core.venue.paper_settings import PaperSettings
from tests.market import MS, Rig, Script, depth, gap, snapshot, trade

BID, ASK = 1, -1
ROOM, EXPLAIN_NS = 5, 2 * MS
TOLD = (Accepted, Cancelled, CancelRejected, Fill, Refusal, Rejected)

Said = tuple[Any, ...]
Frame = tuple[str, list[tuple[int, int, int]]]


@dataclass
class Ask:
    """What the owner wants; ``price`` 0: at the market."""

    side: int
    size: int
    price: int
    tif: str
    post_only: bool


@dataclass
class Resting:
    number: int
    side: int
    price: int
    left: int
    ahead: int
    early: int = 0
    early_ns: int = 0

    def reaches(self, price: int) -> bool:
        return price <= self.price if self.side == BID else price >= self.price


class Reference:
    """One symbol, no latency of its own: the caller says when things happen."""

    def __init__(self) -> None:
        self.shown: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
        self.taken: dict[tuple[int, int], int] = {}
        self.queue: list[Resting] = []
        self.is_ready = False
        self.said: list[Said] = []

    def has_both_sides(self) -> bool:
        return self.is_ready and all(self.shown.values())

    def offers(self, taker: int, limit: int) -> list[tuple[int, int]]:
        """What a taker may still have, best first."""
        side = -taker
        prices = sorted(self.shown[side], reverse=side == BID)
        within = [price for price in prices if limit == 0 or (limit - price) * taker >= 0]
        left = [(price, self.shown[side][price] - self.taken.get((side, price), 0)) for price in within]
        return [(price, size) for price, size in left if size > 0]

    def take(self, taker: int, limit: int, size: int) -> list[tuple[int, int]]:
        got = []
        for price, there in self.offers(taker, limit):
            if size > 0:
                amount = min(there, size)
                self.taken[-taker, price] = self.taken.get((-taker, price), 0) + amount
                size -= amount
                got.append((price, amount))
        return got

    def arrive(self, number: int, ask: Ask) -> None:
        if not self.is_ready:
            return self.said.append(("Rejected", number, "book_not_ready"))
        touch = {BID: min, ASK: max}[ask.side](self.shown[-ask.side], default=0)
        crosses = ask.price == 0 or (touch and (ask.price - touch) * ask.side >= 0)
        there = sum(size for _, size in self.offers(ask.side, ask.price)) if crosses else 0
        rests = ask.price > 0 and ask.tif == "gtc"
        if ask.post_only and crosses:
            return self.said.append(("Rejected", number, "would_take"))
        if ask.tif == "fok" and there < ask.size:
            return self.said.append(("Rejected", number, "fok_unfilled"))
        if ask.price == 0 and there == 0:
            return self.said.append(("Rejected", number, "no_liquidity"))
        if rests and len(self.queue) == ROOM:
            return self.said.append(("Rejected", number, "too_many_orders"))
        fills = self.take(ask.side, ask.price, ask.size) if crosses else []
        left = ask.size - sum(size for _, size in fills)
        ahead = self.shown[ask.side].get(ask.price, 0) if rests and left else 0
        self.said.append(("Accepted", number, ahead))
        self.said.extend(("Fill", number, price, size, False) for price, size in fills)
        if left and rests:
            self.queue.append(Resting(number, ask.side, ask.price, left, ahead))
        elif left:
            self.said.append(("Cancelled", number, left, "no_liquidity" if ask.price == 0 else "ioc"))
        return None

    def cancel(self, number: int) -> None:
        found = [order for order in self.queue if order.number == number]
        self.queue = [order for order in self.queue if order.number != number]
        self.said.append(("Cancelled", number, found[0].left, "user") if found else ("CancelRejected", number))

    def market(self, now: int, kind: str, rows: Sequence[tuple[int, int, int]]) -> None:
        """A frame whole; ``rows`` are (side, price, size), of a trade the side that was hit."""
        before = {order.number: order.left for order in self.queue}
        touched: list[Resting] = []
        if kind == "gap":
            self.is_ready = False
        elif kind == "trades" and self.is_ready:
            for row in rows:
                self.print(now, row, touched)
        elif kind != "trades":
            if kind == "snapshot":
                self.is_ready = False
                self.shown = {BID: {}, ASK: {}}
                self.taken = {}
            for side, price, size in rows:
                self.level(now, side, price, size)
            if kind == "snapshot":
                self.is_ready = True
                for order in self.queue:
                    order.ahead, order.early = min(order.ahead, self.shown[order.side].get(order.price, 0)), 0
            bids, asks = self.shown[BID], self.shown[ASK]
            self.is_ready = self.is_ready and not (bids and asks and max(bids) >= min(asks))
            if self.is_ready:
                self.cross(touched)
        seen: list[int] = []
        for order in touched:
            if order.number not in seen:
                seen.append(order.number)
                self.said.append(("Fill", order.number, order.price, before[order.number] - order.left, True))
        self.queue = [order for order in self.queue if order.left]

    def level(self, now: int, side: int, price: int, size: int) -> None:
        self.shown[side].pop(price, None)
        if size:
            self.shown[side][price] = size
        self.taken.pop((side, price), None)
        for order in self.queue:
            if self.is_ready and (order.side, order.price) == (side, price) and order.ahead > size:
                waits = order.early if order.early_ns == now else 0
                order.early, order.early_ns, order.ahead = waits + order.ahead - size, now, size

    def print(self, now: int, row: tuple[int, int, int], touched: list[Resting]) -> None:
        side, price, budget = row
        mine = [order for order in self.queue if order.side == side and order.left]
        for order in sorted(mine, key=lambda order: -side * order.price):
            if (order.price - price) * side > 0 and budget:
                order.ahead = order.early = 0
                ours = min(budget, order.left)
                order.left, budget = order.left - ours, budget - ours
                touched.append(order)
        given_out = before = 0
        for order in mine:
            if order.price == price:
                order.early = order.early if now - order.early_ns <= EXPLAIN_NS else 0
                explained = min(budget, order.early)
                public = min(budget - explained, order.ahead)
                order.early, order.ahead = order.early - explained, order.ahead - public
                before = max(before, explained + public)
                ours = min(order.left, budget - before - given_out)
                if ours > 0:
                    order.left, given_out = order.left - ours, given_out + ours
                    touched.append(order)

    def cross(self, touched: list[Resting]) -> None:
        while True:
            able = [order for order in self.queue if order.left and self.offers(order.side, order.price)]
            if not able:
                return
            best = min(able, key=lambda order: (-order.side, -order.side * order.price))
            best.left -= sum(size for _, size in self.take(best.side, best.price, best.left))
            touched.append(best)


FIRST: Frame = ("snapshot", [(BID, 99, 5), (BID, 98, 4), (ASK, 102, 3), (ASK, 103, 6)])


def scenario(chance: Random, count: int) -> list[tuple[list[Ask | int], Frame]]:
    """Orders and cancels around the touch of a market that is mostly, but not always, in good order."""
    orders = 0

    def asked() -> Ask | int:
        nonlocal orders
        if orders and chance.random() < 0.2:
            return chance.randint(max(1, orders - 6), orders + 1)
        orders += 1
        price = 0 if chance.random() < 0.15 else chance.randint(97, 104)
        tif = chance.choice(("gtc", "gtc", "gtc", "gtc", "ioc", "fok"))
        post_only = price > 0 and tif == "gtc" and chance.random() < 0.3
        return Ask(chance.choice((BID, ASK)), chance.randint(1, 8), price, tif, post_only)

    def levels(wild: float) -> list[tuple[int, int, int]]:
        rows = []
        for _ in range(chance.randint(1, 3)):
            side = chance.choice((BID, ASK))
            price = (
                chance.randint(97, 104) if chance.random() < wild else 100 + (side < 0) - side * chance.randint(0, 3)
            )
            rows.append((side, price, chance.choice((0, 1, 2, 4, 6, 9))))
        return rows

    def frame() -> Frame:
        kind = chance.choices(("levels", "trades", "snapshot", "gap", "fresh"), (10, 9, 1, 0.4, 0.4))[0]
        if kind == "trades":
            sides = [chance.choice((BID, ASK)) for _ in range(chance.randint(1, 2))]
            return kind, [
                (side, 100 + (side < 0) - side * chance.randint(-1, 2), chance.randint(1, 9)) for side in sides
            ]
        if kind in ("snapshot", "fresh"):
            return "snapshot", FIRST[1] + levels(0.0)
        return kind, levels(0.06) if kind == "levels" else []

    return [([asked() for _ in range(chance.choice((0, 0, 0, 1, 1, 3)))], frame()) for _ in range(count)]


def batch(ns: int, kind: str, rows: Sequence[tuple[int, int, int]]) -> Batch:
    if kind == "gap":
        return gap(ns)
    if kind == "trades":
        frame = np.concatenate([trade(ns, price, size, sell=side == BID) for side, price, size in rows])
        frame["flags"][:-1] &= ~np.uint8(ev.LAST)
        return frame
    whole = snapshot(ns, [], []) if kind == "snapshot" else depth(ns)
    body = np.concatenate(
        [depth(ns, [(p, s)] if side == BID else (), [(p, s)] if side == ASK else ()) for side, p, s in rows]
    )
    body["flags"] &= ~np.uint8(ev.LAST)
    whole = np.concatenate([whole[:-2], body, whole[-1:]]) if kind == "snapshot" else body
    whole["flags"][-1] |= ev.LAST
    return whole


def told(fact: Any) -> Said:
    name = type(fact).__name__
    match fact:
        case Accepted():
            return name, fact.order, fact.queue_ahead
        case Fill():
            return name, fact.order, fact.price, fact.size, fact.maker
        case Cancelled():
            return name, fact.order, fact.left, fact.reason
        case Rejected():
            return name, fact.order, fact.reason
    return name, fact.order


def expected(steps: Sequence[Any], out_ns: int) -> list[Said]:
    """What the reference says, step after step: actions at a step's time, its frame half a millisecond later."""
    venue = Reference()
    due: list[tuple[int, int, str, Any]] = []
    orders = 0
    closing: set[int] = set()

    def run(until: int) -> None:
        while due and min(due)[0] <= until:
            one = min(due, key=lambda one: one[:2])
            due.remove(one)
            venue.arrive(*one[3]) if one[2] == "arrive" else venue.cancel(one[3])

    def is_working(number: int) -> bool:
        ended = ("Rejected", "Refusal", "Cancelled")
        filled = sum(said[3] for said in venue.said if said[:2] == ("Fill", number))
        return (
            number in wanted
            and filled < wanted[number]
            and not any(said[:2] in [(e, number) for e in ended] for said in venue.said)
        )

    wanted: dict[int, int] = {}
    sequence = 0
    for step, (actions, (kind, rows)) in enumerate(steps, 1):
        run(step * MS)
        for action in actions:
            sequence += 1
            if isinstance(action, Ask):
                orders += 1
                if venue.has_both_sides():
                    wanted[orders] = action.size
                    due.append((step * MS + out_ns, sequence, "arrive", (orders, action)))
                else:
                    venue.said.append(("Refusal", orders))
            elif not is_working(action):
                venue.said.append(("CancelRejected", action))
            elif action not in closing:
                closing.add(action)
                due.append((step * MS + out_ns, sequence, "cancel", action))
        run(step * MS + MS // 2)
        venue.market(step * MS + MS // 2, kind, rows)
    run((len(steps) + 9) * MS)
    return venue.said


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80), st.sampled_from((0, 700_000, 1_200_000)))
def test_the_paper_venue_does_what_the_rules_say(seed: int, count: int, out_ns: int) -> None:
    steps: list[Any] = [([], FIRST), *scenario(Random(seed), count)]

    def act(_: str, ctx: Context) -> None:
        actions = steps[ctx.now_ns // MS - 1][0] if ctx.now_ns // MS <= len(steps) else ()
        ctx.timer("step", 0.001)
        for action in actions:
            if isinstance(action, Ask):
                tif = TimeInForce(action.tif)
                price = action.price or None
                ctx.order(
                    "BTCUSDT", Side(action.side), action.size, price, time_in_force=tif, post_only=action.post_only
                )
            else:
                ctx.cancel(action)

    queue = QueueSettings(model="risk_averse")
    paper = PaperSettings(out_ns=out_ns, back_ns=0, feed_ns=0, max_orders=ROOM, explain_ns=EXPLAIN_NS, queue=queue)
    rig = Rig(Script({"start": lambda _, ctx: ctx.timer("step", 0.001), "timer": act}), paper=paper)
    for step, (_, (kind, rows)) in enumerate(steps, 1):
        rig.feed(batch(step * MS + MS // 2, kind, rows))
    rig.feed(ev.row(ev.CLOCK, symbol=0, recv_ns=(len(steps) + 9) * MS))
    said = [told(record.fact) for record in rig.records if isinstance(record.fact, TOLD)]
    for word in {word[0] for word in said}:
        event(word)
    assert said == expected(steps, out_ns)
