"""The venue's side of an order's life around the matching: when an order enters the market, changes and ends.

Everything here happens at the venue, at the order's own moment in the received stream: an order that wakes there pays
no further way out. Each method answers with what happened, in order, as ``PaperVenue`` does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from engine.core.book import ASK, BID, IS_READY
from engine.core.desk.order_terms import PLAIN, Change, TriggerBy
from engine.core.desk.orders import Working
from engine.core.desk.risk import Intent
from engine.core.records import (
    Accepted,
    Amended,
    AmendRejected,
    AnyFact,
    Armed,
    Cancelled,
    CancelRejected,
    Expired,
    Pending,
    Rejected,
    Triggered,
)
from engine.core.state import State
from engine.core.types import TimeInForce
from engine.core.venue.expiries import Expiries
from engine.core.venue.lists import IN, OUT, WAITS, Lists
from engine.core.venue.paper import PaperVenue
from engine.core.venue.places import Places
from engine.core.venue.reducing import Reducing
from engine.core.venue.resting import ASSUMED, Match
from engine.core.venue.rule_book import RuleBook
from engine.core.venue.self_trade import Entrance
from engine.core.venue.triggers import Triggers
from engine.core.venue.venue_rules import VenueRules

Told = Match | AnyFact

DAY_NS = 86_400_000_000_000


class Exchange:
    """Stands between the desk and the matching.

    ``rules``: the venue's, by symbol. ``orders``: those whose end the owner does not know yet, by number.
    ``position_of(strategy, symbol)``: what fills have told. ``worth2(intent)``: twice an order's notional as its venue
    counts it. ``schedule(ns, what, subject)`` comes back through ``expire`` and ``sample``.
    """

    def __init__(
        self,
        venue: PaperVenue,
        rules: Sequence[VenueRules],
        state: State,
        orders: dict[int, Working],
        position_of: Callable[[str, int], int],
        worth2: Callable[[Intent], int],
        schedule: Callable[[int, str, object], None],
    ) -> None:
        self.lists = Lists(rules)
        self.triggers = Triggers(state.books, rules)
        self._venue = venue
        self._rules = tuple(rules)
        self._book = RuleBook(rules, state, orders, worth2)
        self._places = Places(venue, self.triggers)
        self._entrance = Entrance(venue, self._places, rules, state, orders)
        self._state = state
        self._now_ns = 0
        self._orders = orders
        self._schedule = schedule
        self._expiries = Expiries(schedule)
        self._special: set[int] = set()  # live orders with terms of their own, and parents
        self._reducing = Reducing(orders, position_of)

    def expect(self, order: Working, parent: Working | None) -> None:
        """An order of a list was sent."""
        self.lists.expect(order, parent)
        if parent is not None and not parent.ended:
            self._special.add(parent.intent.order)

    def arrive(self, order: Working, now_ns: int) -> list[Told]:
        """The order reaches the venue."""
        intent = order.intent
        self._now_ns, order.arrived = now_ns, True
        problem = self._book.refusal(intent)
        if problem:
            if intent.terms is not PLAIN:
                self._special.add(intent.order)
            return self._follow(self._reject(order, problem))
        ends_ns = self._ends_ns(order, now_ns)
        if ends_ns:
            if ends_ns <= now_ns:
                return self._follow(self._reject(order, "expired"))
            self._expiries.add(order, ends_ns, len(self._orders))
        if intent.terms is PLAIN:
            return self._follow(self._enter(order))
        self._special.add(intent.order)
        if order.parent == OUT or order.is_over:
            return self._follow(self._reject(order, "list"))
        if order.parent == WAITS:
            return [Pending(intent.order, intent.terms.parent)]
        return self._follow(self._let_in(order))

    def refuse(self, order: Working, reason: str, words: str) -> list[Told]:
        """The order reached the venue and was not let in."""
        order.arrived = order.ended = True
        if order.intent.terms is not PLAIN:
            self._special.add(order.intent.order)
        return self._follow([Rejected(order.intent.order, reason, words)])

    def cancel(self, order: Working, reason: str, now_ns: int) -> list[Told]:
        """A cancel reaches the venue; it lost when the order has ended."""
        self._now_ns = now_ns
        if order.ended or not order.arrived:
            return [CancelRejected(order.intent.order)]
        return self._follow([Cancelled(order.intent.order, self._places.take_out(order), reason)])

    def amend(self, order: Working, change: Change, now_ns: int) -> list[Told]:
        """A change reaches the venue: less size keeps the place, another price or more size goes behind the queue."""
        intent, number, done = order.intent, order.intent.order, order.done
        self._now_ns = now_ns
        if order.ended or not order.arrived:
            return self._follow([AmendRejected(number, "too_late")])
        new = changed(intent, change)
        left = new.size - done
        if left <= 0:
            return self._follow([Cancelled(number, self._places.take_out(order), "amended")])
        if not order.at_venue:
            return self._follow(self._amend_waiting(order, new, left))
        if intent.terms.peg is not None:
            order.limit = change.price or order.limit
            new = msgspec.structs.replace(new, price=intent.price)
        if new.price == intent.price and left <= order.venue_left:
            word = self._places.shrink(order, left, "user")
            self.lists.resized(order)
            return [word]
        problem = self._cannot_move(new) or self._book.cannot_change(intent, new)
        if problem:
            return self._follow([AmendRejected(number, problem)])
        return self._follow(self._move(order, new, left, "user"))

    def expire(self, now_ns: int) -> list[Told]:
        """The time of some orders is over."""
        self._now_ns = now_ns
        told: list[Told] = []
        for order in self._expiries.due(now_ns):
            if not order.ended:
                reason = order.intent.time_in_force.value
                told += self._follow([Expired(order.intent.order, self._places.take_out(order), reason)])
        return told

    def matched(self, matches: Iterable[Match], now_ns: int) -> list[Told]:
        """Resting orders traded: what the venue makes of it."""
        self._now_ns = now_ns
        return self._follow(list(matches))

    def assumed(self, order: Working, stop2: int, seen2: int, price: int, now_ns: int) -> list[Told]:
        """A waiting order woke while nobody listened, and all of it is judged to have traded at a price."""
        self._now_ns = now_ns
        self.triggers.disarm(order)
        size, order.venue_left, order.ended = order.venue_left, 0, True
        woken = Triggered(order.intent.order, stop2 // 2, seen2 // 2)
        return self._follow([woken, Match(order.intent.order, price, size, False, 0, cause=ASSUMED)])

    def looked(self, symbol: int, trades: Iterable[int], now_ns: int) -> list[Told]:
        """A frame of a watched symbol was applied: who wakes, and which pegged orders move."""
        self._now_ns = now_ns
        told: list[Told] = []
        for armed, seen2 in self.triggers.reached(symbol, trades):
            order = armed.order
            if not order.ended:
                told += self._follow(self._wake(order, armed.stop, seen2))
        for order, price in self.triggers.moved(symbol):
            if order.at_venue:
                new = msgspec.structs.replace(order.intent, price=price)
                told += self._follow(self._move(order, new, order.venue_left, "peg"))
        return told

    def sample(self, symbol: int, now_ns: int) -> None:
        """Measure the volatility while somebody trails by it."""
        if self.triggers.sample(symbol):
            self._schedule(now_ns + self._rules[symbol].volatility_step_ns, "volatility", symbol)

    # How an order enters and leaves the market.

    def _let_in(self, order: Working) -> list[Told]:
        """The order wakes, waits for its trigger, or meets the market."""
        intent = order.intent
        told: list[Told] = []
        if order.most and order.most < order.venue_left:
            told.append(self._places.cut(order, order.most, "list"))
        if intent.terms.trigger is None:
            return told + self._enter(order)
        if intent.terms.trigger.by is TriggerBy.MARK and not self.triggers.price2(intent.symbol, 0, TriggerBy.MARK):
            return told + self._reject(order, "no_mark_price")
        is_first = self.triggers.needs_samples(order)
        armed = self.triggers.arm(order)
        if is_first:
            self._schedule(self._now_ns + self._rules[intent.symbol].volatility_step_ns, "volatility", intent.symbol)
        seen2 = self.triggers.is_reached_now(armed)
        if not seen2:
            return [*told, Armed(intent.order, armed.stop // 2)]
        self.triggers.disarm(order)
        if self._rules[intent.symbol].rejects_reached:
            return told + self._reject(order, "would_trigger")
        return told + self._wake(order, armed.stop, seen2)

    def _wake(self, order: Working, stop2: int, seen2: int) -> list[Told]:
        return [Triggered(order.intent.order, stop2 // 2, seen2 // 2), *self._enter(order)]

    def _enter(self, order: Working) -> list[Told]:
        """The order meets the market now."""
        intent = order.intent
        if intent.terms is PLAIN:
            return self._entrance.meet(order)
        told: list[Told] = []
        if intent.terms.reduce_only:
            room = self._reducing.room(order)
            if room <= 0:
                return self._reject(order, "reduce_only")
            if room < order.venue_left:
                told.append(self._places.cut(order, room, "reduce_only"))
        if intent.terms.peg is not None:
            price = self.triggers.peg_price(order)
            if not price:
                return told + self._reject(order, "book_not_ready")
            order.intent = msgspec.structs.replace(order.intent, price=price)
            if self._rules[intent.symbol].pegs_follow:
                self.triggers.follow(order)
            told.append(Amended(intent.order, price, order.intent.size, -1, "peg"))
        told += self._entrance.meet(order)
        if order.at_venue and intent.terms.reduce_only:
            self._reducing.add(order)
        return told

    def _move(self, order: Working, new: Intent, left: int, cause: str) -> list[Told]:
        """A resting order goes to another place: it meets the market there anew."""
        self._venue.resting.lift(order)
        order.intent, order.venue_left = new, left
        self.lists.resized(order)
        told: list[Told] = []
        for word in self._entrance.meet(order):
            if isinstance(word, Accepted):
                told.append(Amended(word.order, new.price, order.intent.size, word.queue_ahead, cause))
            elif isinstance(word, Rejected):  # what was taken once is not rejected any more
                told.append(Expired(word.order, self._places.take_out(order), word.reason))
            else:
                told.append(word)
        return told

    def _amend_waiting(self, order: Working, new: Intent, left: int) -> list[Told]:
        """Change an order that waits for its parent or its trigger; a new trigger may be reached already."""
        order.intent, order.venue_left = new, left
        self.lists.resized(order)
        told: list[Told] = [Amended(new.order, new.price, new.size, -1, "user")]
        if new.terms.trigger is None or order.parent == WAITS:
            return told
        self.triggers.disarm(order)
        words = self._let_in(order)
        return told + [word for word in words if not isinstance(word, Armed)]

    def _cannot_move(self, new: Intent) -> str:
        """Why a resting order cannot go to another place now; empty when it can."""
        top = self._state.books.top[new.symbol]
        if not top[IS_READY]:
            return "book_not_ready"
        opposite = int(top[ASK] if new.side > 0 else top[BID])
        return "would_take" if new.post_only and opposite and (new.price - opposite) * new.side >= 0 else ""

    def _reject(self, order: Working, reason: str) -> list[Told]:
        order.ended = True
        return [Rejected(order.intent.order, reason)]

    def _ends_ns(self, order: Working, now_ns: int) -> int:
        """When in the received stream the venue ends the order by its clock; 0: never."""
        intent = order.intent
        if intent.time_in_force is TimeInForce.GTD:
            return intent.terms.expires_ns + order.feed_ns
        if intent.time_in_force is TimeInForce.DAY:
            after = self._rules[intent.symbol].day_ends_ns
            at_venue = now_ns - order.feed_ns - after
            return (at_venue // DAY_NS + 1) * DAY_NS + after + order.feed_ns
        return 0

    # What follows from what happened.

    def _follow(self, told: list[Told]) -> list[Told]:
        """What the venue does by its rules after what it just told, until nothing follows any more."""
        told = self._book.in_its_words(told)
        if not self._special:
            return told
        out: list[Told] = []
        over: list[Working] = []
        words = deque(told)
        traded: deque[Working | Expired] = deque()  # whose trades of this frame are looked at together
        while words or traded:
            if traded and not (words and isinstance(words[0], Match)):
                done = traded.popleft()
                if isinstance(done, Expired):
                    words.appendleft(done)
                else:
                    words.extendleft(reversed(self._after_match(done)))
                    self._if_over(done, words, over)
                continue
            word = words.popleft()
            order = self._orders.get(getattr(word, "order", 0))
            if order is not None and isinstance(word, Match):
                allowed = self._allowed(order, word, words)
                if allowed:
                    out.append(word if allowed == word.size else msgspec.structs.replace(word, size=allowed))
                if allowed < word.size and not (order.ended and order.lost):
                    traded.append(self._undo(order, word.size - allowed))
                traded.append(order)
                continue
            out.append(word)
            if order is not None and isinstance(word, Triggered):
                words.extendleft(reversed(self._close_pair(order)))
            if order is not None:
                self._if_over(order, words, over)
        for order in over:
            out += self._children_of(order)
        return out

    def _if_over(self, order: Working, words: deque[Told], over: list[Working]) -> None:
        """An order that is over ends the other of its pair; its children come in or end once all else was said."""
        if order.ended and order.intent.order in self._special:
            self._special.discard(order.intent.order)
            words.extendleft(reversed(self._close_pair(order)))
            over.append(order)

    def _undo(self, order: Working, over: int) -> Expired:
        """So much of the order's trade did not stand: it never was, and the order is over."""
        reason = "reduce_only" if order.intent.terms.reduce_only else "list"
        if order.ended:
            order.lost = over
            return Expired(order.intent.order, over, reason)
        order.venue_left += over
        return Expired(order.intent.order, self._places.take_out(order), reason)

    def _allowed(self, order: Working, match: Match, rest: Iterable[Told]) -> int:
        """How much of a match stands: what its pair, and what there is to reduce, left when its turn came."""
        terms, allowed = order.intent.terms, match.size
        if terms.reduce_only:
            allowed = self._reducing.allowed(order, match, rest)
        if terms.pair:
            allowed = self.lists.take(order, allowed)
        return allowed

    def _after_match(self, order: Working) -> list[Told]:
        """What a trade does to the other of its pair and to what only reduces."""
        told: list[Told] = []
        terms = order.intent.terms
        if terms.pair:
            left = 0 if self._rules[order.intent.symbol].ends_pair_on_part else self.lists.left(order)
            if left:
                larger = [one for one in self.lists.others(order) if one.venue_left > left]
                told += [self._places.less(other, left, "list") for other in larger if not other.ended]
            else:
                told += self._close_pair(order)
        too_much = self._reducing.too_much(order.intent.strategy, order.intent.symbol)
        return told + [self._places.less(other, left, "reduce_only") for other, left in too_much]

    def _children_of(self, order: Working) -> list[Told]:
        """The order is over: its children come in one after the other, or end."""
        told: list[Told] = []
        for child in self.lists.ended(order):
            if child.arrived and not child.ended:
                told += self._follow(self._let_in(child) if child.parent == IN else self._out(child))
        return told

    def _close_pair(self, order: Working) -> list[Told]:
        """One of a pair came first: the other ends."""
        if not order.intent.terms.pair:
            return []
        others = self.lists.close(order)
        return [word for other in others if other.arrived and not other.ended for word in self._out(other)]

    def _out(self, order: Working) -> list[Told]:
        return [Expired(order.intent.order, self._places.take_out(order), "list")]


def changed(intent: Intent, change: Change) -> Intent:
    """The intent as a change would have it."""
    terms = intent.terms
    if change.trigger and terms.trigger is not None:
        terms = msgspec.structs.replace(terms, trigger=msgspec.structs.replace(terms.trigger, price=change.trigger))
    return msgspec.structs.replace(
        intent, price=change.price or intent.price, size=change.size or intent.size, terms=terms
    )
