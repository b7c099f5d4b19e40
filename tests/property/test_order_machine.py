"""The whole desk and venue as a state machine: whatever is asked and whatever the market does, the books balance.

Every change of state goes through the one table of orders.py, which raises on what is not in it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.core.desk.order_terms import Peg, PegTo, SelfTrade, Trigger, TriggerBy, stop, take_profit, trailing
from engine.core.desk.orders import LEGAL, WORKING
from engine.core.records import Amended, Cancelled, Expired, Fill, Refusal, Rejected, Request
from engine.core.strategy import Context
from engine.core.types import ContractKind, Side, TimeInForce
from engine.core.venue.paper_settings import PaperSettings
from engine.core.venue.venue_rules import VenueRules
from tests.market import BTC, MS, Rig, Script, clock, depth, gap, snapshot, trade

LINEAR = msgspec.structs.replace(BTC, kind=ContractKind.LINEAR)
PRICES = st.integers(94, 108)
SIZES = st.integers(1, 9)
SIDES = st.sampled_from(Side)
BYS = st.sampled_from((TriggerBy.LAST, TriggerBy.MID, TriggerBy.BEST))
TRIGGERS = st.one_of(
    st.builds(stop, PRICES, BYS),
    st.builds(take_profit, PRICES, BYS),
    st.builds(lambda value, by: trailing(value, by=by), st.integers(1, 5), BYS),
    st.builds(lambda value, by: trailing(value, "bps", by=by), st.integers(50, 500), BYS),
    st.builds(lambda first: trailing(1500, "volatility", by=TriggerBy.MID, first=first), st.integers(1, 4)),
)
ENDS = (Cancelled, Expired, Rejected, Refusal)


class Desk(RuleBasedStateMachine):
    """Orders of two strategies on one symbol, over a market that moves, gaps and comes back."""

    @initialize(
        latency=st.sampled_from(((0, 0, 0), (2, 5, 1), (3, 1, 1))),
        rejects=st.booleans(),
        parts=st.booleans(),
        ends=st.booleans(),
        mode=st.sampled_from(SelfTrade),
    )
    def start(self, latency: tuple[int, int, int], rejects: bool, parts: bool, ends: bool, mode: SelfTrade) -> None:
        out, back, feed = latency
        rules = VenueRules(
            rejects_reached=rejects,
            lets_in_parts=parts,
            ends_pair_on_part=ends,
            self_trade=mode,
            volatility_step_ns=3 * MS,
            volatility_samples=3,
        )
        paper = PaperSettings(out_ns=out * MS, back_ns=back * MS, feed_ns=feed * MS, max_orders=6, rules=rules)
        self.mode = mode
        self.pairs: list[tuple[int, int]] = []
        self.brackets: list[tuple[int, int, int]] = []
        self.asked: list[Any] = []
        self.states: dict[int, str] = {}
        self.scripts = [Script({"trade": self._say, "order": self._hear}) for _ in range(2)]
        self.turn = 0
        self.rig = Rig(*self.scripts, paper=paper, instruments=(LINEAR,))
        self.now = 10 * MS
        self.made = 0
        self._feed(snapshot(self.now, [(99, 6), (98, 9)], [(102, 5), (103, 8)]))

    def _say(self, _: Any, ctx: Context) -> None:
        for act in self.asked.pop() if self.asked else ():
            act(ctx)

    def _hear(self, order: Any, _: Context) -> None:
        before = self.states.get(order.id, "sent")
        assert order.state == before or order.state in LEGAL[before] or order.state == "refused", (before, order.state)
        assert 0 <= order.filled <= order.size or order.state == "refused"
        assert order.is_working == (order.state in WORKING)
        self.states[order.id] = order.state

    def _feed(self, batch: Any) -> None:
        self.rig.feed(batch)

    def _ask(self, act: Any) -> None:
        """One strategy says it at its next trade, which fills nobody."""
        self.now += MS // 4
        self.turn = 1 - self.turn
        self.asked = [(act,)] if self.turn else [(act,), ()]
        self._feed(trade(self.now, 500, 1, sell=True))
        self.asked = []

    @rule(side=SIDES, size=SIZES, price=PRICES, post_only=st.booleans(), reduce_only=st.booleans())
    def limit(self, side: Side, size: int, price: int, post_only: bool, reduce_only: bool) -> None:
        self._ask(lambda ctx: ctx.order("BTCUSDT", side, size, price, post_only=post_only, reduce_only=reduce_only))

    @rule(side=SIDES, size=SIZES, price=st.none() | PRICES, tif=st.sampled_from(("ioc", "fok", "day")))
    def short_lived(self, side: Side, size: int, price: int | None, tif: str) -> None:
        self._ask(lambda ctx: ctx.order("BTCUSDT", side, size, price, time_in_force=TimeInForce(tif)))

    @rule(side=SIDES, size=SIZES, price=PRICES, after=st.integers(-1, 9))
    def until(self, side: Side, size: int, price: int, after: int) -> None:
        ends = self.now + after * MS
        tif = TimeInForce.GTD
        self._ask(lambda ctx: ctx.order("BTCUSDT", side, size, price, time_in_force=tif, expires_ns=ends))

    @rule(side=SIDES, size=SIZES, price=st.none() | PRICES, trigger=TRIGGERS, reduce_only=st.booleans())
    def waiting(self, side: Side, size: int, price: int | None, trigger: Trigger, reduce_only: bool) -> None:
        self._ask(lambda ctx: ctx.order("BTCUSDT", side, size, price, trigger=trigger, reduce_only=reduce_only))

    @rule(side=SIDES, size=SIZES, price=PRICES, display=st.integers(1, 4))
    def iceberg(self, side: Side, size: int, price: int, display: int) -> None:
        self._ask(lambda ctx: ctx.order("BTCUSDT", side, size, price, display=min(size, display)))

    @rule(side=SIDES, size=SIZES, to=st.sampled_from(PegTo), offset=st.integers(-3, 3), limit=st.none() | PRICES)
    def pegged(self, side: Side, size: int, to: PegTo, offset: int, limit: int | None) -> None:
        self._ask(lambda ctx: ctx.order("BTCUSDT", side, size, limit, peg=Peg(to, offset)))

    @rule(side=SIDES, size=SIZES, price=PRICES, trigger=TRIGGERS, limit=st.none() | PRICES, which=st.integers(0, 99))
    def pair(self, side: Side, size: int, price: int, trigger: Trigger, limit: int | None, which: int) -> None:
        def act(ctx: Context) -> None:
            parent = 0 if which % 3 else self._one(ctx, which)
            first, second = ctx.oco("BTCUSDT", side, size, price, trigger, stop_price=limit, parent=parent)
            self.pairs.append((first, second))

        self._ask(act)

    @rule(side=SIDES, size=SIZES, price=st.none() | PRICES, away=st.integers(1, 4), trigger=TRIGGERS)
    def bracket(self, side: Side, size: int, price: int | None, away: int, trigger: Trigger) -> None:
        target = (price or 100) + side * away

        def act(ctx: Context) -> None:
            entry, first, second = ctx.bracket("BTCUSDT", side, size, price, target=target, stop=trigger)
            self.pairs.append((first, second))
            self.brackets.append((entry, first, second))

        self._ask(act)

    @rule(side=SIDES, size=SIZES, price=PRICES, mode=st.sampled_from(SelfTrade))
    def against_ourselves(self, side: Side, size: int, price: int, mode: SelfTrade) -> None:
        self._ask(lambda ctx: ctx.order("BTCUSDT", side, size, price, self_trade=mode))

    @rule(which=st.integers(0, 99), trigger=PRICES)
    def amend_trigger(self, which: int, trigger: int) -> None:
        self._ask(lambda ctx: ctx.amend(self._one(ctx, which), trigger=trigger))

    @rule(which=st.integers(0, 99), size=st.none() | SIZES, price=PRICES)
    def amend(self, which: int, size: int | None, price: int) -> None:
        self._ask(lambda ctx: ctx.amend(self._one(ctx, which), price=None if price % 2 else price, size=size or 3))

    @rule(which=st.integers(0, 99))
    def cancel(self, which: int) -> None:
        self._ask(lambda ctx: ctx.cancel(self._one(ctx, which)))

    @rule()
    def cancel_all(self) -> None:
        self._ask(lambda ctx: ctx.cancel_all("BTCUSDT"))

    def _one(self, ctx: Context, which: int) -> int:
        orders = ctx.orders()
        return orders[which % len(orders)].id if orders else which

    @rule(price=PRICES, size=st.integers(1, 12), sell=st.booleans())
    def print(self, price: int, size: int, sell: bool) -> None:
        self.now += MS
        self._feed(trade(self.now, price, size, sell=sell))

    @rule(mid=st.integers(97, 105), bid=st.integers(0, 9), ask=st.integers(0, 9))
    def move(self, mid: int, bid: int, ask: int) -> None:
        self.now += MS
        gone = [(price, 0) for price in range(90, 112)]
        bids = [*[row for row in gone if row[0] >= mid], (mid - 1, bid), (mid - 2, 7)]
        self._feed(depth(self.now, bids, [*[row for row in gone if row[0] <= mid], (mid + 1, ask), (mid + 2, 7)]))

    @rule()
    def doubt(self) -> None:
        self.now += 2 * MS
        self._feed(gap(self.now - MS))
        self._feed(snapshot(self.now, [(99, 6), (98, 9)], [(102, 5), (103, 8)]))

    @rule(ms=st.integers(1, 20))
    def wait(self, ms: int) -> None:
        self.now += ms * MS
        self._feed(clock(self.now))

    @invariant()
    def nobody_was_stopped(self) -> None:
        assert self.rig.engine.roster.stopped == {}

    @invariant()
    def sums_hold(self) -> None:
        engine, desk = self.rig.engine, self.rig.engine.desk
        orders = list(desk.orders.values())
        assert all(order.held >= 0 and order.done >= order.filled for order in orders)
        held = [self._held(side) for side in (1, -1)]
        assert desk.working(0) == tuple(held)
        for order in orders:
            if order.at_venue:
                assert (
                    not order.ended and order.venue_left > 0 and desk.venue.queue_ahead(order.intent.order) is not None
                )
            if not order.amends:
                assert order.held == order.left or (order.held == 0 and order.stands in ("sent", "pending"))
        assert engine.ledger.position(0) == sum(fill.side * fill.size for fill in self.rig.facts(Fill))

    def _held(self, side: int) -> int:
        """What counts as working: each order, of a pair the larger one."""
        of_pairs: dict[int, int] = {}
        total = 0
        for order in self.rig.engine.desk.orders.values():
            pair = order.intent.terms.pair
            if order.intent.side == side and pair:
                of_pairs[pair] = max(of_pairs.get(pair, 0), order.held)
            elif order.intent.side == side:
                total += order.held
        return total + sum(of_pairs.values())

    @invariant()
    def no_pair_trades_more_than_one_of_it_asked_for(self) -> None:
        filled: dict[int, int] = {}
        for fill in self.rig.facts(Fill):
            filled[fill.order] = filled.get(fill.order, 0) + fill.size
        most: dict[int, int] = {request.order: request.size for request in self.rig.facts(Request)}
        for fact in self.rig.facts(Amended):
            most[fact.order] = max(most[fact.order], fact.size)
        for first, second in self.pairs:
            assert filled.get(first, 0) + filled.get(second, 0) <= max(most[first], most[second])
        for entry, first, second in self.brackets:
            if not any(fact.order in (first, second) and fact.cause == "user" for fact in self.rig.facts(Amended)):
                assert filled.get(first, 0) + filled.get(second, 0) <= filled.get(entry, 0)

    @invariant()
    def nobody_of_ours_crosses_where_the_venue_prevents_it(self) -> None:
        requests = self.rig.facts(Request)
        if self.mode is SelfTrade.NONE or any(one.terms.self_trade is SelfTrade.NONE for one in requests):
            return
        resting = [order.intent for order in self.rig.engine.desk.orders.values() if order.at_venue]
        bids = [intent.price for intent in resting if intent.side > 0]
        asks = [intent.price for intent in resting if intent.side < 0]
        assert not bids or not asks or max(bids) < min(asks)

    def teardown(self) -> None:
        """After all is said and told, every order ended once or still works, and what traded is what it says."""
        if not hasattr(self, "rig"):
            return
        self.now += 100 * MS
        self._feed(clock(self.now))
        ends: dict[int, int] = {}
        for fact in (record.fact for record in self.rig.records):
            if isinstance(fact, ENDS) or (isinstance(fact, Fill) and fact.left == 0):
                ends[fact.order] = ends.get(fact.order, 0) + 1
        for word in {type(record.fact).__name__ for record in self.rig.records}:
            event(word)
        asked = {request.order for request in self.rig.facts(Request)}
        working = set(self.rig.engine.desk.orders)
        assert set(ends) == asked - working and set(ends.values()) <= {1}
        for order in self.rig.engine.desk.orders.values():
            assert (
                order.filled == order.done
                and order.size == order.intent.size
                and order.state not in ("amending", "closing")
            )


Desk.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestDesk = Desk.TestCase
