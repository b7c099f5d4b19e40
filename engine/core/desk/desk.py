"""From what a strategy asked to what it is told: request, risk, the way to the paper venue and back, the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from engine.core.account.fees import Fees
from engine.core.account.ledger import Ledger
from engine.core.account.money import to_text
from engine.core.desk.amends import Amends
from engine.core.desk.exposure import Exposure
from engine.core.desk.missed import Missed
from engine.core.desk.order_terms import PLAIN, Change
from engine.core.desk.orders import (
    ARMED,
    CANCELLED,
    CLOSING,
    EXPIRED,
    FILLED,
    OPEN,
    PENDING,
    REJECTED,
    TRIGGERED,
    Working,
)
from engine.core.desk.requests import Requests
from engine.core.desk.risk import Intent, Risk, waking_price
from engine.core.due import Handler
from engine.core.honesty.grades import CAUSES
from engine.core.honesty.honesty import Honesty
from engine.core.records import (
    Accepted,
    Amended,
    AmendRejected,
    AnyFact,
    Armed,
    Cancelled,
    CancelRejected,
    CancelRequested,
    Expired,
    Fill,
    Pending,
    Rejected,
    Sent,
    Triggered,
)
from engine.core.state import State
from engine.core.types import Instrument
from engine.core.venue.exchange import Exchange
from engine.core.venue.gateway import Gateway
from engine.core.venue.latency import AMEND, CANCEL, ORDER
from engine.core.venue.lines import Lines
from engine.core.venue.paper import PaperVenue
from engine.core.venue.paper_settings import PaperSettings
from engine.core.venue.resting import Match
from engine.core.venue.triggers import Armed as Waiting

Told = Match | AnyFact

STANDS: dict[type, str] = {Pending: PENDING, Armed: ARMED, Triggered: TRIGGERED, Accepted: OPEN}
"""Where an order stands at the venue after each of its words."""

AGAIN_NS = 1_000_000_000
"""After how long the engine repeats a cancel of its own that the venue's door refused, engine time."""


class Desk:
    """All orders of a run.

    ``emit`` records a fact; ``schedule(ns, what, subject)`` comes back through ``arrive``, ``cancel_arrives`` and
    ``heard``; ``on_order`` and ``on_fill`` reach the owner.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        settings: PaperSettings,
        state: State,
        ledger: Ledger,
        fees: Fees,
        risk: Risk,
        exposure: Exposure,
        honesty: Honesty,
        *,
        emit: Callable[[AnyFact], None],
        schedule: Callable[[int, str, object], None],
        on_order: Callable[[Working, str], None],
        on_fill: Callable[[Fill, int], None],
    ) -> None:
        self.venue = PaperVenue(settings, state)
        self.honesty = honesty
        self.lines = Lines(settings, instruments)
        self.gateway = Gateway(settings.gates, instruments)
        self.orders: dict[int, Working] = {}
        self.sent = self.filled = self.cancelled = self.expired = self.rejected = self.fills = 0
        self.refused: dict[str, int] = {}
        self.rejections: dict[str, int] = {}
        self.exposure = exposure
        self.risk = risk
        self.emit = emit
        self.schedule = schedule
        self.on_order = on_order
        self.amends = Amends(self)
        self._again: set[int] = set()  # orders that the engine asks back once more
        self.requests = Requests(self, instruments, state.books.views)
        self._names = tuple(instrument.name for instrument in instruments)
        self.missed = Missed(self, self._names, [one.tick for one in instruments], emit, schedule)
        self._ledger = ledger
        self._books = state.books.views
        self._fees = fees
        self._on_fill = on_fill
        self._exchange = Exchange(
            self.venue,
            [settings.rules_of(instrument.venue) for instrument in instruments],
            state,
            self.orders,
            self._position,
            self._worth2,
            schedule,
        )

    @property
    def handlers(self) -> dict[str, Handler]:
        """What comes back through ``schedule``."""
        return {
            "arrive": self.arrive,
            "cancel": self.cancel_arrives,
            "amend": self.amend_arrives,
            "again": self.cancel_again,
            "expire": self.expires,
            "volatility": self.sample,
            "told": self.heard,
            **self.missed.handlers,
        }

    def _position(self, strategy: str, symbol: int) -> int:
        return self._ledger.position(symbol, strategy)

    def _worth2(self, intent: Intent) -> int:
        """Twice an order's notional: at its price, at its trigger, or at the price it would take first."""
        book = self._books[intent.symbol]
        price = intent.price or waking_price(intent) or (book.ask if intent.side > 0 else book.bid)
        return self._ledger.worth[intent.symbol].notional2(2 * price, intent.size)

    def of(self, strategy: str) -> list[Working]:
        """A strategy's working orders, oldest first."""
        return [order for order in self.orders.values() if order.intent.strategy == strategy]

    def working(self, symbol: int) -> tuple[int, int]:
        """Sizes still to buy and to sell of a symbol over all strategies, in flight included."""
        return self.exposure.working(symbol)

    def promised(self, currency: str) -> int:
        """Money that working buys on spot markets would take, as an exact amount."""
        return self.exposure.promised(currency)

    def request(self, intent: Intent, now_ns: int) -> bool:
        """A strategy wants an order: risk decides, and an approved one leaves; the answer says whether it did."""
        return self.request_list((intent,), now_ns)

    def request_list(self, intents: Sequence[Intent], now_ns: int) -> bool:
        """A strategy wants orders that hang together: all leave in one message, or none does."""
        orders = self.requests.approved(intents, now_ns)
        arrives_ns = 0
        for order in orders:
            intent = order.intent
            self.orders[intent.order] = order
            if intent.terms is not PLAIN:
                self._exchange.expect(order, self.orders.get(intent.terms.parent))
            self.sent += 1
            if order is orders[0]:
                arrives_ns = self.lines.send(order, ORDER, now_ns)
            else:
                order.out_ns, order.feed_ns = orders[0].out_ns, orders[0].feed_ns
            self.honesty.sent(order)
            self.emit(Sent(intent.order, arrives_ns))
            self.schedule(arrives_ns, "arrive", order)
        return bool(orders)

    def amend_arrives_ns(self, order: Working, now_ns: int) -> int:
        """When a change of an order that leaves now meets the market in the received stream."""
        return self.lines.send(order, AMEND, now_ns)

    def cancel(self, number: int, strategy: str, now_ns: int, reason: str = "user") -> None:
        """Ask the venue to take an order back; unknown, foreign and ended orders answer that it is too late."""
        order = self.orders.get(number)
        if order is None or order.intent.strategy != strategy:
            self.emit(CancelRejected(number))
            return
        if order.state == CLOSING:
            return
        order.tell(CLOSING)
        arrives_ns = self.lines.send(order, CANCEL, now_ns)
        self.emit(CancelRequested(number, arrives_ns))
        self.schedule(arrives_ns, "cancel", (order, reason))
        self.on_order(order, "")

    def cancel_all(self, strategy: str | None, now_ns: int, reason: str, symbol: int | None = None) -> None:
        """Ask for every working order of a strategy and symbol, or of all, to be taken back."""
        for number, order in list(self.orders.items()):
            intent = order.intent
            if strategy in (None, intent.strategy) and symbol in (None, intent.symbol):
                self.cancel(number, intent.strategy, now_ns, reason)

    def arrive(self, order: Working, now_ns: int) -> None:
        refused = self.gateway.refuses(order, ORDER, now_ns)
        told = self._exchange.refuse(order, *refused) if refused else self._exchange.arrive(order, now_ns)
        self._answer(told, now_ns, order)

    def cancel_arrives(self, asked: tuple[Working, str], now_ns: int) -> None:
        order, reason = asked
        refused = self.gateway.refuses(order, CANCEL, now_ns)
        number = order.intent.order
        if refused and reason != "user" and number not in self._again:
            self._again.add(number)
            self.schedule(now_ns + AGAIN_NS, "again", (order, reason))
        told = [CancelRejected(number, *refused)] if refused else self._exchange.cancel(order, reason, now_ns)
        self._answer(told, now_ns, order)

    def cancel_again(self, asked: tuple[Working, str], now_ns: int) -> None:
        """The venue's door was shut to a cancel that nobody but the engine wanted: ask once more."""
        order, reason = asked
        number = order.intent.order
        self._again.discard(number)
        if number not in self.orders:
            return
        if order.state == CLOSING:  # the refusal, or another cancel, is on its way still
            self._again.add(number)
            self.schedule(now_ns + AGAIN_NS, "again", asked)
        else:
            self.cancel(number, order.intent.strategy, now_ns, reason)

    def end(self, order: Working, reason: str, now_ns: int) -> None:
        """The venue itself takes an order out: nobody asks at its door."""
        self._answer(self._exchange.cancel(order, reason, now_ns), now_ns, order)

    def amend_arrives(self, asked: tuple[Working, Change], now_ns: int) -> None:
        order, change = asked
        refused = self.gateway.refuses(order, AMEND, now_ns)
        number = order.intent.order
        told = [AmendRejected(number, *refused)] if refused else self._exchange.amend(order, change, now_ns)
        self._answer(told, now_ns, order)

    def expires(self, _: object, now_ns: int) -> None:
        self._answer(self._exchange.expire(now_ns), now_ns)

    def looked(self, symbol: int, trades: Iterable[int], now_ns: int) -> None:
        """A frame of a symbol on which orders wait was applied; ``trades``: the prices of its trades in order."""
        self._answer(self._exchange.looked(symbol, trades, now_ns), now_ns)

    def watches(self, symbol: int) -> bool:
        """Whether somebody waits for a price of the symbol."""
        return self._exchange.triggers.watches(symbol)

    def sample(self, symbol: int, now_ns: int) -> None:
        self._exchange.sample(symbol, now_ns)

    def matched(self, now_ns: int) -> None:
        """Resting orders traded in the frame that was just applied; what their twins did moves nothing."""
        self.hear_twins()
        matches = self.venue.matched()
        if matches:
            self._answer(self._exchange.matched(matches, now_ns), now_ns)

    def assume(self, order: Working, size: int, chance: int, now_ns: int) -> None:
        """A resting order is judged to have traded while nobody listened."""
        match = self.venue.resting.assume(order, size, chance)
        self._answer(self._exchange.matched([match], now_ns), now_ns)

    def woken_unseen(self, symbol: int, low: int, high: int) -> list[tuple[Waiting, int]]:
        """Waiting orders that a print or a bar woke while nobody listened, each with the price that did, twice."""
        return self._exchange.triggers.missed(symbol, low, high)

    def assume_woken(self, armed: Waiting, seen2: int, price: int, now_ns: int) -> None:
        """A waiting order is judged to have woken and traded while nobody listened."""
        self._answer(self._exchange.assumed(armed.order, armed.stop, seen2, price, now_ns), now_ns)

    def queues_before(self, order: Working) -> Sequence[int]:
        """The possible public sizes in front of a resting order, smallest first."""
        return self.venue.resting.queues_before(order)

    def hear_twins(self) -> None:
        """What the rules beside the venue's own made of orders since the last time."""
        self.honesty.twins_did(self.venue.resting.twins())

    def _answer(self, told: Sequence[Told], now_ns: int, asked: Working | None = None) -> None:
        """Bring the venue's words back; what takes no time is told at once.

        ``asked`` is the order whose message the venue answers: its owner may know already that it ended.
        """
        self.honesty.did(told, now_ns)
        self.gateway.did(told, self.orders)
        late: list[tuple[int, int, list[tuple[Told, int]]]] = []
        for word in told:
            order = self.orders.get(getattr(word, "order", 0), asked)
            assert order is not None  # the venue speaks of orders that we sent
            line, heard_ns = self.lines.of(order), self.lines.hear(order, isinstance(word, Match), now_ns)
            if late and late[-1][0] == heard_ns and late[-1][1] == line:
                late[-1][2].append((word, now_ns))
            else:
                late.append((heard_ns, line, [(word, now_ns)]))
        for heard_ns, line, words in late:
            if heard_ns == now_ns and self.lines.is_quiet(line):
                self.told(words)
            else:
                self.lines.wait(line)
                self.schedule(heard_ns, "told", (line, words))

    def heard(self, late: tuple[int, Sequence[tuple[Told, int]]], _: int) -> None:
        """Words that were on their way reach us."""
        line, words = late
        self.lines.arrived(line)
        self.told(words)

    def told(self, words: Sequence[tuple[Told, int]]) -> None:
        """The owner learns what the venue said; each word comes with the engine time at which it was true."""
        for word, matched_ns in words:
            if isinstance(word, Match):
                self._told_fill(word, matched_ns)
                continue
            self.emit(word)
            order = self.orders.get(getattr(word, "order", 0))
            if order is None:
                continue
            stands = STANDS.get(type(word))
            if stands is not None:
                order.learn(stands)
                if not order.held and order.stands != PENDING:
                    self.exposure.hold(order, order.left)  # a child is let in
                self.on_order(order, "")
            elif isinstance(word, Cancelled):
                self.cancelled += 1
                self._end(order, CANCELLED, word.reason)
            elif isinstance(word, Rejected):
                self.rejected += 1
                self.rejections[word.reason] = self.rejections.get(word.reason, 0) + 1
                self._end(order, REJECTED, word.reason)
            elif isinstance(word, Amended | AmendRejected):
                self.amends.told(order, word)
            elif isinstance(word, Expired):
                self.expired += 1
                self._end(order, EXPIRED, word.reason)
            elif isinstance(word, CancelRejected) and order.state == CLOSING:
                order.tell(order.stands)  # it came before its order, or the venue's door was shut
                self.on_order(order, word.reason or "too_late")

    def _told_fill(self, match: Match, matched_ns: int) -> None:
        order = self.orders[match.order]
        intent = order.intent
        fee, currency = self._fees.charge(
            intent.strategy,
            intent.symbol,
            intent.side,
            match.price,
            match.size,
            is_maker=match.is_maker,
            now_ns=matched_ns,
        )
        self.honesty.booked(order, match, fee, currency, matched_ns)
        answer = self.honesty.told(match)
        order.filled += match.size
        self.exposure.hold(order, max(0, order.held - match.size))
        self.fills += 1
        fill = Fill(
            order=match.order,
            strategy=intent.strategy,
            symbol=self._names[intent.symbol],
            side=intent.side,
            price=match.price,
            size=match.size,
            maker=match.is_maker,
            fee=to_text(fee),
            fee_currency=currency,
            left=order.left,
            queue_ahead=match.ahead,
            matched_ns=matched_ns,
            number=answer.number if answer else 1,
            model=match.model or self.honesty.twins.own,
            cause=CAUSES[match.cause],
            grade=answer.grade if answer else "",
            chance=match.chance,
            ahead_now=match.ahead_now,
            latency_ns=answer.latency_ns if answer else 0,
            front_ns=answer.front_ns if answer else 0,
            back_ns=answer.back_ns if answer else 0,
            mid2=answer.mid2 if answer else 0,
        )
        self.emit(fill)
        self._on_fill(fill, intent.symbol)
        if order.left == 0:
            self.filled += 1
            self._end(order, FILLED, "")

    def _end(self, order: Working, state: str, reason: str) -> None:
        order.tell(state)
        self.exposure.hold(order, 0)
        self.orders.pop(order.intent.order, None)
        self.on_order(order, reason)
