"""Orders at the venue judged by what traded while nobody listened: the daemon was away, the orders were not.

A venue tells afterwards what traded (its recent trades, or bars). Each print is applied at its own time to the orders
that still rest then, so that one that expired or was taken back in between has nothing of what came later:

* through an order's price: nobody was left in front of it, so it traded, at most the print's size;
* at its price, by the other side: the queue in front of it, as it was when the market was last seen, goes first, for
  who cancelled meanwhile nobody knows;
* a bar whose range went through the price fills it; one that only touched it says nothing by itself.

A stop or take-profit whose trigger was reached (see ``Triggers.missed``) trades all that is left at once, at an assumed
price: of a print the worse of trigger and print, of a bar, which does not say where it went first, the middle between
the trigger and its far end; a stop-limit only where that is no worse than its limit. Beside it stand the better of
trigger and print, and the worst price of the second that follows. What woke and could not trade at its limit goes on
waiting, and trades at it once a print goes through it; if none does, its trigger is judged anew by the next book.

Such a fill has the cause and the grade ``assumed``. Beside it stands what the optimist (nobody in front) and the
pessimist (only what went through) would have had. Own orders share a print, the older first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from engine.core.desk.orders import Working
from engine.core.due import Handler
from engine.core.order_facts import Assumed
from engine.core.venue.triggers import Armed

MOST_PRINTS: Final = 200_000
"""Prints of one absence that are judged; a longer list is for bars."""

SLIP_NS: Final = 1_000_000_000
"""For so long after a trigger the worst price counts for the pessimist, engine time."""

PRINT: Final = "missed"
OVER: Final = "missed_over"


class Market(Protocol):
    """What the desk lets this part do."""

    orders: dict[int, Working]

    def queues_before(self, order: Working) -> Sequence[int]: ...

    def assume(self, order: Working, size: int, chance: int, now_ns: int) -> None: ...

    def woken_unseen(self, symbol: int, low: int, high: int) -> list[tuple[Armed, int]]: ...

    def assume_woken(self, armed: Armed, seen2: int, price: int, now_ns: int) -> None: ...


class Track(msgspec.Struct):
    """One order's part in what was missed; sizes in units. ``ahead``: the possible queues in front, smallest first."""

    ahead: list[int]
    traded: int = 0
    through: int = 0
    at_price: int = 0
    optimistic: int = 0
    touched: int = 0


class Woken(msgspec.Struct):
    """What became of an order that waited for its trigger; prices in units, size what it traded at ``price``."""

    order: Working
    size: int
    price: int
    best: int
    worst: int
    ns: int


class Missed:
    """Prints come in with ``hear`` and are judged through ``schedule``."""

    def __init__(
        self,
        market: Market,
        names: Sequence[str],
        ticks: Sequence[int],
        emit: Callable[[Assumed], None],
        schedule: Callable[[int, str, object], None],
    ) -> None:
        self._market = market
        self._names = {name: index for index, name in enumerate(names)}
        self._emit = emit
        self._schedule = schedule
        self._ticks = tuple(ticks)
        self._tracks: dict[int, tuple[Working, Track]] = {}
        self._woken: dict[int, Woken] = {}
        self._late: dict[int, tuple[Armed, int]] = {}  # woke, by which price, and could not trade at their limit yet
        self.handlers: dict[str, Handler] = {PRINT: self._judge, OVER: self._over}

    def hear(self, args: dict[str, Any], now_ns: int) -> str:
        """Take what a venue told of one symbol; the answer says what is wrong with it, empty: nothing.

        ``prints``: lists of time (ours, ns), price, size, and the aggressor (1 bought, -1 sold, 0 unknown); ``bars``:
        of the end (ours, ns), lowest and highest price. Prices and sizes in units. Times before now count as now.
        """
        symbol = self._names.get(str(args.get("symbol")))
        prints, bars = args.get("prints", []), args.get("bars", [])
        if symbol is None:
            return f"expected one of {', '.join(self._names)}, found {args.get('symbol')!r}"
        if len(prints) + len(bars) > MOST_PRINTS:
            return f"expected at most {MOST_PRINTS} prints, found {len(prints) + len(bars)}"
        last_ns = now_ns
        for ns, price, size, side in prints:
            self._schedule(max(now_ns, ns), PRINT, (symbol, price, price, size, side))
            last_ns = max(last_ns, ns)
        for ns, low, high in bars:
            self._schedule(max(now_ns, ns), PRINT, (symbol, low, high, 0, 0))
            last_ns = max(last_ns, ns)
        if prints or bars:
            self._schedule(last_ns, OVER, (symbol, "bars" if bars else "prints", now_ns))
        return ""

    def _judge(self, subject: tuple[int, int, int, int, int], now_ns: int) -> None:
        symbol, low, high, size, side = subject
        pool = size if size else None  # a bar does not say how much traded below a price
        for order in self._resting(symbol):
            buys, price = order.intent.side > 0, order.price
            track = self._track(order)
            if low < price if buys else high > price:
                track.through += order.venue_left if pool is None else size
                track.optimistic += order.venue_left if pool is None else size
                filled = order.venue_left if pool is None else min(order.venue_left, pool)
                pool = self._fill(order, track, filled, 1000, pool, now_ns)
            elif size and price == low == high and side != (1 if buys else -1):
                track.at_price += size
                track.optimistic += size
                before = self._own_before(order)
                reached = [track.at_price - ahead - before for ahead in track.ahead]
                middle = sorted(reached)[len(reached) // 2]
                filled = min(order.venue_left, max(0, middle), size if pool is None else pool)
                chance = 1000 * sum(one >= filled for one in reached) // len(reached) if filled else 0
                pool = self._fill(order, track, filled, chance, pool, now_ns)
            elif not size and (price == low if buys else price == high):
                track.touched += 1
                track.optimistic += order.venue_left
        self._wake(symbol, low, high, is_bar=not size, now_ns=now_ns)

    def _wake(self, symbol: int, low: int, high: int, *, is_bar: bool, now_ns: int) -> None:
        """Let those trade that waited for their trigger."""
        for one in self._woken.values():
            if one.order.intent.symbol == symbol and now_ns - one.ns <= SLIP_NS:
                one.worst = _worse(one.order.intent.side, one.worst, low if one.order.intent.side < 0 else high)
                one.worst = self._bounded(one.order, one.worst)
        for armed, seen2 in list(self._late.values()):
            limit = armed.order.intent.price
            is_through = high > limit if armed.order.intent.side < 0 else low < limit
            if armed.order.intent.symbol == symbol and not armed.order.ended and is_through:
                self._trade(armed, seen2, limit, limit, limit, now_ns)
        for armed, seen2 in self._market.woken_unseen(symbol, low, high):
            order = armed.order
            side, limit = order.intent.side, order.intent.price
            if order.ended or order.intent.order in self._late:
                continue  # the other of its pair woke with this print, or it woke before
            trigger = min(max(armed.stop // 2, low), high) if is_bar else armed.stop // 2
            far = (low if side < 0 else high) if is_bar else seen2 // 2
            price = self._middle(symbol, side, trigger, far) if is_bar else _worse(side, trigger, far)
            if limit and (limit - price) * side < 0:  # beyond what it would pay
                self._late[order.intent.order] = armed, seen2
                continue
            best, worst = -_worse(side, -trigger, -far), self._bounded(order, _worse(side, trigger, far))
            self._trade(armed, seen2, price, best, worst, now_ns)

    def _trade(self, armed: Armed, seen2: int, price: int, best: int, worst: int, now_ns: int) -> None:
        order = armed.order
        number = order.intent.order
        self._late.pop(number, None)
        self._woken[number] = Woken(order, order.venue_left, price, best, worst, now_ns)
        self._market.assume_woken(armed, seen2, price, now_ns)

    def _middle(self, symbol: int, side: int, one: int, other: int) -> int:
        """Between two prices, on the tick at the worse side."""
        tick = self._ticks[symbol]
        return (one + other) // 2 // tick * tick if side < 0 else -(-(one + other) // (2 * tick)) * tick

    def _bounded(self, order: Working, price: int) -> int:
        """A price no worse than the order's limit."""
        limit, side = order.intent.price, order.intent.side
        return price if not limit or (limit - price) * side >= 0 else limit

    def _fill(self, order: Working, track: Track, size: int, chance: int, pool: int | None, now_ns: int) -> int | None:
        """Let an order trade; what is left of the print."""
        if size <= 0:
            return pool
        track.traded += size
        self._market.assume(order, size, chance, now_ns)
        return None if pool is None else pool - size

    def _resting(self, symbol: int) -> list[Working]:
        """The symbol's resting orders as a print meets them: the best price first, at one price the oldest."""
        found = [
            order
            for order in self._market.orders.values()
            if order.intent.symbol == symbol and order.at_venue and not order.ended
        ]
        return sorted(found, key=lambda order: (-order.intent.side * order.price, order.intent.order))

    def _own_before(self, order: Working) -> int:
        """What this order and older ones of ours at its price have had already, size units."""
        return sum(
            track.traded
            for other, track in self._tracks.values()
            if other.intent.symbol == order.intent.symbol
            and other.intent.side == order.intent.side
            and other.price == order.price
            and other.intent.order <= order.intent.order
        )

    def _track(self, order: Working) -> Track:
        number = order.intent.order
        if number not in self._tracks:
            self._tracks[number] = order, Track([int(one) for one in self._market.queues_before(order)], 0)
        return self._tracks[number][1]

    def _over(self, subject: tuple[int, str, int], now_ns: int) -> None:
        """Nothing more was missed: tell what each order was judged to have had."""
        symbol = subject[0]
        self._late = {number: one for number, one in self._late.items() if one[0].order.intent.symbol != symbol}
        for number, (order, track) in list(self._tracks.items()):
            if order.intent.symbol != symbol:
                continue
            del self._tracks[number]
            whole = order.venue_left + track.traded
            if not (track.traded or track.optimistic):
                continue
            optimistic, pessimistic = min(whole, track.optimistic), min(whole, track.through)
            self._tell(order, order.price, track.traded, (optimistic, pessimistic), (0, 0), subject, now_ns)
        for number, one in list(self._woken.items()):
            if one.order.intent.symbol == symbol:
                del self._woken[number]
                done = one.size - one.order.lost  # what the venue let stand of it
                if done:
                    self._tell(one.order, one.price, done, (done, done), (one.best, one.worst), subject, now_ns)

    def _tell(
        self,
        order: Working,
        price: int,
        size: int,
        sizes: tuple[int, int],
        prices: tuple[int, int],
        subject: tuple[int, str, int],
        now_ns: int,
    ) -> None:
        symbol, basis, since_ns = subject
        self._emit(
            Assumed(
                order=order.intent.order,
                strategy=order.intent.strategy,
                symbol=list(self._names)[symbol],
                side=order.intent.side,
                price=price,
                size=size,
                optimistic=sizes[0],
                pessimistic=sizes[1],
                basis=basis,
                since_ns=since_ns,
                until_ns=now_ns,
                best=prices[0],
                worst=prices[1],
            )
        )


def _worse(side: int, one: int, other: int) -> int:
    """The price that is worse for an order: the higher one for a buy."""
    return max(one, other) if side > 0 else min(one, other)
