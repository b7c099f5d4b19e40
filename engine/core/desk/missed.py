"""Resting orders judged by what traded while nobody listened: the daemon was away, the orders were not.

A venue tells afterwards what traded (its recent trades, or bars). Each print is applied at its own time to the orders
that still rest then, so that one that expired or was taken back in between has nothing of what came later:

* through an order's price: nobody was left in front of it, so it traded, at most the print's size;
* at its price, by the other side: the queue in front of it, as it was when the market was last seen, goes first, for
  who cancelled meanwhile nobody knows;
* a bar whose range went through the price fills it; one that only touched it says nothing by itself.

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

MOST_PRINTS: Final = 200_000
"""Prints of one absence that are judged; a longer list is for bars."""

PRINT: Final = "missed"
OVER: Final = "missed_over"


class Market(Protocol):
    """What the desk lets this part do."""

    orders: dict[int, Working]

    def queues_before(self, order: Working) -> Sequence[int]: ...

    def assume(self, order: Working, size: int, chance: int, now_ns: int) -> None: ...


class Track(msgspec.Struct):
    """One order's part in what was missed; sizes in units. ``ahead``: the possible queues in front, smallest first."""

    ahead: list[int]
    traded: int = 0
    through: int = 0
    at_price: int = 0
    optimistic: int = 0
    touched: int = 0


class Missed:
    """Prints come in with ``hear`` and are judged through ``schedule``."""

    def __init__(
        self,
        market: Market,
        names: Sequence[str],
        emit: Callable[[Assumed], None],
        schedule: Callable[[int, str, object], None],
    ) -> None:
        self._market = market
        self._names = {name: index for index, name in enumerate(names)}
        self._emit = emit
        self._schedule = schedule
        self._tracks: dict[int, tuple[Working, Track]] = {}
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
        symbol, basis, since_ns = subject
        for number, (order, track) in list(self._tracks.items()):
            if order.intent.symbol != symbol:
                continue
            del self._tracks[number]
            whole = order.venue_left + track.traded
            if not (track.traded or track.optimistic):
                continue
            self._emit(
                Assumed(
                    order=number,
                    strategy=order.intent.strategy,
                    symbol=list(self._names)[symbol],
                    side=order.intent.side,
                    price=order.price,
                    size=track.traded,
                    optimistic=min(whole, track.optimistic),
                    pessimistic=min(whole, track.through),
                    basis=basis,
                    since_ns=since_ns,
                    until_ns=now_ns,
                )
            )
