"""Orders that wait at the venue for a price: stops, take-profits and trailing stops, and pegged orders that follow one.

A frame is applied whole before anyone looks. The trades of a frame are then taken one after another, so a trigger by
the last price fires at the first trade that reaches it; mid and best are those that the frame left. A price that made a
new best for a trailing stop does not fire it: the next one may. Nothing fires on a book in doubt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.core.account.marks import MARK_PRICE
from engine.core.book import Book, Books
from engine.core.desk.order_terms import Peg, PegTo, Trail, TrailBy, TriggerBy
from engine.core.desk.orders import Working
from engine.core.thresholds import BY_ASK, BY_BID, BY_LAST, BY_MARK, BY_MID2, LAST_PRICE, watch
from engine.core.venue.venue_rules import VenueRules

FARTHEST = 1 << 60
"""No trigger stands farther away, in half price units: no price comes there, and it is whole in 64 bits."""


@dataclass(slots=True)
class Armed:
    """One waiting order. ``stop`` is where its trigger stands, in half price units as all prices here; 0: not yet.

    ``best``: the most favourable price since it began to follow, 0 before its activation.
    """

    order: Working
    by: TriggerBy
    is_above: bool
    stop: int
    trail: Trail | None
    best: int = 0

    def waits_for(self) -> list[tuple[bool, int]]:
        """Prices at or above (True) or below which it must be looked at: its trigger, and its next best price."""
        prices = [(self.is_above, self.stop)] if self.stop else []
        if self.trail is None:
            return prices
        if self.best:
            prices.append((not self.is_above, self.best + (-1 if self.is_above else 1)))
        elif self.trail.activation:
            prices.append((not self.is_above, 2 * self.trail.activation))
        else:
            prices.append((True, 1))  # the first there is
        return prices

    def is_reached(self, price2: int) -> bool:
        """Whether a price wakes it."""
        return self.stop != 0 and (price2 >= self.stop if self.is_above else price2 <= self.stop)


class Volatility:
    """The mean absolute change of the mid between samples, exact: twice the price units, summed over a bounded window.

    >>> measured = Volatility(3)
    >>> for mid2 in (200, 210, 204, 208): measured.add(mid2)
    >>> measured.is_known, measured.distance2(1500)
    (True, 10)
    """

    def __init__(self, samples: int) -> None:
        self._changes: deque[int] = deque(maxlen=samples)
        self._mid2 = 0

    @property
    def is_known(self) -> bool:
        """The window is full."""
        return len(self._changes) == self._changes.maxlen

    def add(self, mid2: int) -> None:
        """Take the mid of this moment, twice."""
        if self._mid2:
            self._changes.append(abs(mid2 - self._mid2))
        self._mid2 = mid2

    def distance2(self, thousandths: int) -> int:
        """So many thousandths of the mean change, twice, rounded up."""
        return -(-thousandths * sum(self._changes) // (1000 * len(self._changes)))


class Triggers:
    """All waiting and pegged orders, by symbol, in the order in which they came."""

    def __init__(self, books: Books, rules: Sequence[VenueRules]) -> None:
        self._books = books.views
        self._top = books.top
        self._rules = tuple(rules)
        self._armed: list[list[Armed]] = [[] for _ in self._books]
        self._pegged: list[list[Working]] = [[] for _ in self._books]
        self._volatility: dict[int, Volatility] = {}

    def watches(self, symbol: int) -> bool:
        """Whether somebody there waits for a price."""
        return bool(self._armed[symbol] or self._pegged[symbol])

    def _publish(self, symbol: int) -> None:
        """Tell the kernel the nearest prices that somebody waits for, so that it wakes us there and nowhere else."""
        rises: dict[int, int] = {}
        falls: dict[int, int] = {}
        for armed in self._armed[symbol]:
            price = self._column(armed)
            unit = 1 if price == BY_MID2 else 2
            for above, value2 in armed.waits_for():
                if above:
                    value = -(-value2 // unit)
                    rises[price] = min(rises.get(price, value), value)
                else:
                    value = value2 // unit
                    falls[price] = max(falls.get(price, value), value)
        watch(self._top, symbol, rises, falls, moves=bool(self._pegged[symbol]))

    def _column(self, armed: Armed) -> int:
        if armed.by is TriggerBy.BEST:
            return BY_ASK if armed.order.intent.side > 0 else BY_BID
        return {TriggerBy.LAST: BY_LAST, TriggerBy.MID: BY_MID2, TriggerBy.MARK: BY_MARK}[armed.by]

    # Waiting orders.

    def arm(self, order: Working) -> Armed:
        """The order waits from now on; the answer says where its trigger stands."""
        intent = order.intent
        trigger = intent.terms.trigger
        assert trigger is not None
        armed = Armed(order, trigger.by, trigger.is_above(intent.side), 2 * trigger.price, trigger.trail)
        if trigger.trail is not None:
            if trigger.trail.by is TrailBy.VOLATILITY:
                self._volatility.setdefault(intent.symbol, Volatility(self._rules[intent.symbol].volatility_samples))
            now2 = self.price2(intent.symbol, intent.side, trigger.by)
            if now2:
                self._trail(armed, trigger.trail, now2)
        self._armed[intent.symbol].append(armed)
        self._publish(intent.symbol)
        return armed

    def needs_samples(self, order: Working) -> bool:
        """The order trails by a volatility that nobody measures yet."""
        trigger = order.intent.terms.trigger
        trail = trigger.trail if trigger is not None else None
        return trail is not None and trail.by is TrailBy.VOLATILITY and order.intent.symbol not in self._volatility

    def disarm(self, order: Working) -> None:
        """The order waits no more."""
        here = self._armed[order.intent.symbol]
        here[:] = [armed for armed in here if armed.order is not order]
        self._publish(order.intent.symbol)

    def is_reached_now(self, armed: Armed) -> int:
        """The price that would wake the order at this moment, twice; 0 where none is known that does."""
        intent = armed.order.intent
        now2 = self.price2(intent.symbol, intent.side, armed.by)
        return now2 if now2 and armed.is_reached(now2) else 0

    def price2(self, symbol: int, side: int, by: TriggerBy) -> int:
        """The price that an order of this side waits for, twice; 0 where it is not known."""
        book = self._books[symbol]
        if by is TriggerBy.LAST:
            return 2 * int(self._top[symbol, LAST_PRICE])
        if by is TriggerBy.MARK:
            return 2 * int(self._top[symbol, MARK_PRICE])
        if not book.is_ready or not book.bid or not book.ask:
            return 0
        if by is TriggerBy.MID:
            return book.bid + book.ask
        return 2 * (book.ask if side > 0 else book.bid)

    def reached(self, symbol: int, trades: Iterable[int]) -> list[tuple[Armed, int]]:
        """Orders that the frame just applied woke, oldest first, each with the price that did, twice.

        ``trades``: prices of its trades in order. Who woke waits no more.
        """
        prices = list(trades)
        if not self._books[symbol].is_ready:
            return []
        woken: list[tuple[Armed, int]] = []
        for armed in self._armed[symbol]:
            if armed.by is TriggerBy.LAST:
                # Of trades while the book was in doubt the last one counts, once it is not any more.
                seen = [2 * price for price in prices or [int(self._top[symbol, LAST_PRICE])] if price]
            else:
                now2 = self.price2(symbol, armed.order.intent.side, armed.by)
                seen = [now2] if now2 else []
            for price2 in seen:
                if armed.is_reached(price2):
                    woken.append((armed, price2))
                    break
                if armed.trail is not None:
                    self._trail(armed, armed.trail, price2)
        for armed, _ in woken:
            self._armed[symbol].remove(armed)
        self._publish(symbol)
        return woken

    def missed(self, symbol: int, low: int, high: int) -> list[tuple[Armed, int]]:
        """Orders that what traded while nobody listened woke, oldest first, each with the price that did, twice.

        The last price reaches a trigger; mid and best are judged by what traded through it, and of the mark price a
        trade says nothing. A trigger is held against the far end of a range before it follows the near one. Who woke
        is still armed: see ``Exchange.assumed``.
        """
        woken: list[tuple[Armed, int]] = []
        for armed in self._armed[symbol]:
            far2, near2 = (2 * high, 2 * low) if armed.is_above else (2 * low, 2 * high)
            if armed.by is TriggerBy.MARK:
                continue
            if armed.is_reached(far2) and (armed.by is TriggerBy.LAST or far2 != armed.stop):
                woken.append((armed, far2))
            elif armed.trail is not None:
                self._trail(armed, armed.trail, near2)
        self._publish(symbol)
        return woken

    def _trail(self, armed: Armed, trail: Trail, price2: int) -> None:
        """Follow a price that is more favourable than all before; the trigger never moves back."""
        sign = -1 if armed.is_above else 1  # a sell follows the price up, a buy down
        if not armed.best and trail.activation and (price2 - 2 * trail.activation) * sign < 0:
            return
        if not armed.best or (price2 - armed.best) * sign > 0:
            armed.best = price2
        stop = armed.best - sign * self._distance2(armed, trail)
        if not armed.stop or (stop - armed.stop) * sign > 0:
            armed.stop = min(max(1, stop), FARTHEST)

    def _distance2(self, armed: Armed, trail: Trail) -> int:
        if trail.by is TrailBy.PRICE:
            return 2 * trail.value
        if trail.by is TrailBy.BPS:
            return armed.best * trail.value // 10_000
        volatility = self._volatility[armed.order.intent.symbol]
        return volatility.distance2(trail.value) if volatility.is_known else 2 * trail.first

    def sample(self, symbol: int) -> bool:
        """Measure the volatility for the orders that trail by it; False when there are none any more."""
        here = [
            (armed, armed.trail)
            for armed in self._armed[symbol]
            if armed.trail is not None and armed.trail.by is TrailBy.VOLATILITY
        ]
        if not here:
            self._volatility.pop(symbol, None)
            return False
        book = self._books[symbol]
        if book.is_ready and book.bid and book.ask:
            self._volatility[symbol].add(book.bid + book.ask)
            for armed, trail in here:
                if armed.best:
                    self._trail(armed, trail, armed.best)
            self._publish(symbol)
        return True

    # Pegged orders.

    def follow(self, order: Working) -> None:
        """The order's price follows the market from now on."""
        self._pegged[order.intent.symbol].append(order)
        self._publish(order.intent.symbol)

    def moved(self, symbol: int) -> list[tuple[Working, int]]:
        """Pegged orders that the market moved away from, oldest first, each with the price it should have."""
        here = self._pegged[symbol]
        if not here:
            return []
        here[:] = [order for order in here if order.at_venue]
        self._publish(symbol)
        moved = [(order, self.peg_price(order)) for order in here]
        return [(order, price) for order, price in moved if price and price != order.intent.price]

    def peg_price(self, order: Working) -> int:
        """Where a pegged order stands now, on the tick and never beyond its limit; 0 while the market has no price.

        It joins the other side's best price at most: what would cross is put one tick short of it.
        """
        intent = order.intent
        book, peg = self._books[intent.symbol], intent.terms.peg
        assert peg is not None
        if not book.is_ready or not book.bid or not book.ask:
            return 0
        tick = book.instrument.tick
        price = _reference(book, intent.side, peg)
        price = price // tick * tick if intent.side > 0 else -(-price // tick) * tick
        if peg.to is not PegTo.MARKET:
            price = min(price, book.ask - tick) if intent.side > 0 else max(price, book.bid + tick)
        if order.limit:
            price = min(price, order.limit) if intent.side > 0 else max(price, order.limit)
        return max(tick, price)


def _reference(book: Book, side: int, peg: Peg) -> int:
    """The price that a peg asks for; a mid between two units is taken on the passive side."""
    if peg.to is PegTo.MID:
        both = book.bid + book.ask
        return (both // 2 if side > 0 else -(-both // 2)) + peg.offset
    is_bid = (peg.to is PegTo.PRIMARY) == (side > 0)
    return (book.bid if is_bid else book.ask) + peg.offset
