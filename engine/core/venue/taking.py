"""What an order that crosses finds: the display less what we took already, and the impact law beyond it.

With ``[paper.impact] enabled``, our own earlier trades make the prices worse while they fade, and an order that wants
more than the whole display gets the rest at the law's price. Market orders trade up to the venue's price protection and
expire beyond it: Binance's *market order price cap and floor ratio*, there against the mark price, here against the
middle of the book that the order meets; Bybit turns market orders into limits of the same kind.
"""

from __future__ import annotations

import msgspec

from engine.core.book import ASK, ASK_COUNT, BID, BID_COUNT
from engine.core.desk.orders import Working
from engine.core.desk.risk import Intent
from engine.core.prints import FIRST_NS, MOVED2, TRADED
from engine.core.queues.matching import walk
from engine.core.state import F_ORDER, F_PRICE, F_SIZE, FILL_COUNT, NOW, State
from engine.core.types import OrderKind
from engine.core.venue.impact import Impact, ImpactSettings, protected
from engine.core.venue.resting import BEYOND, Match

CHANCE = 500
"""Per mille, of a fill that the law gives: nobody displayed it, so its grade is *ambiguous*."""


class _Reach(msgspec.Struct):
    """How far an order may walk. ``limit``: worst displayed price, 0 any; ``bound``: worst price paid, 0 any."""

    mid2: int
    bound: int
    shift: int
    limit: int
    nothing: bool


class Taking:
    """The taking side of the paper venue, for all symbols."""

    def __init__(self, settings: ImpactSettings, state: State) -> None:
        self._settings = settings
        self._state = state
        self._impacts: dict[int, Impact] = {}

    def look(self, intent: Intent) -> int:
        """How much of an order would trade now."""
        reach = self._reach(intent)
        if reach.nothing:
            return 0
        found = walk(self._state.flat, intent.symbol, intent.side, reach.limit, intent.size, 0)
        return found + self._beyond(intent, reach, found, intent.size - found, 0)[1]

    def take(self, order: Working) -> list[Match]:
        """Trade what an order that arrives finds; ``order.venue_left`` is what it did not."""
        state, intent = self._state, order.intent
        reach = self._reach(intent)
        if reach.nothing:
            return []
        found = walk(state.flat, intent.symbol, intent.side, reach.limit, order.venue_left, intent.order)
        rows = state.fills[: state.control[FILL_COUNT]].tolist()
        state.control[FILL_COUNT] = 0
        extra = 0
        if rows and reach.shift:
            # What we took is still missing on the display: that much of our own impact is in the price already.
            best = self._best(intent)
            extra = max(0, reach.shift - (rows[0][F_PRICE] - best) * intent.side) * intent.side
        matches = [Match(row[F_ORDER], row[F_PRICE] + extra, row[F_SIZE], is_maker=False, ahead=0) for row in rows]
        left = order.venue_left - found
        if left:
            worst = matches[-1].price if matches else self._best(intent) + reach.shift * intent.side
            price, more = self._beyond(intent, reach, found, left, worst)
            if more:
                matches.append(Match(intent.order, price, more, is_maker=False, ahead=0, cause=BEYOND, chance=CHANCE))
                found += more
        order.venue_left -= found
        if found and self._settings.enabled:
            self._impact(intent.symbol).remember(intent.side, found, int(state.control[NOW]))
        return matches

    def is_protected(self, intent: Intent) -> bool:
        """What a market order did not get was displayed, or to be had by the law, but beyond the price protection."""
        if intent.kind is not OrderKind.MARKET or self._is_bare(intent):
            return False
        reach = self._reach(intent)
        has_law = self._settings.enabled and self._impact(intent.symbol).unit > 0
        return reach.bound != 0 and (has_law or not self._is_used_up(intent, reach))

    def _reach(self, intent: Intent) -> _Reach:
        top = self._state.books.top[intent.symbol]
        bid, ask = int(top[BID]), int(top[ASK])
        tick = self._state.books.instruments[intent.symbol].tick
        mid2 = bid + ask if bid and ask else 2 * (bid or ask)
        bound = intent.price
        if intent.kind is OrderKind.MARKET:
            bound = protected(mid2, intent.side, self._settings.protection_bps, tick)
        shift = 0
        if self._settings.enabled:
            shift = self._impact(intent.symbol).shift(intent.side, int(self._state.control[NOW]), tick)
        limit = bound - intent.side * shift if bound else 0
        return _Reach(mid2, bound, shift, limit, bound != 0 and limit <= 0)

    def _beyond(self, intent: Intent, reach: _Reach, done: int, left: int, worst: int) -> tuple[int, int]:
        """Price and size of what the law gives when the whole display is not enough; ``worst`` 0 only asks the size."""
        if not self._settings.enabled or left <= 0 or not self._is_used_up(intent, reach):
            return 0, 0
        instrument = self._state.books.instruments[intent.symbol]
        worst = worst or self._last(intent) + reach.shift * intent.side
        return self._impact(intent.symbol).beyond(
            intent.side, reach.mid2, worst, done, left, reach.bound, instrument.tick, instrument.lot
        )

    def _is_used_up(self, intent: Intent, reach: _Reach) -> bool:
        """The last displayed level lies within what the order may pay: nothing displayed is left to it."""
        if self._is_bare(intent):
            return False
        return reach.limit == 0 or (reach.limit - self._last(intent)) * intent.side >= 0

    def _is_bare(self, intent: Intent) -> bool:
        """The other side shows nothing at all; then there is no price to go by either."""
        return self._best(intent) == 0

    def _best(self, intent: Intent) -> int:
        return int(self._state.books.top[intent.symbol, ASK if intent.side > 0 else BID])

    def _last(self, intent: Intent) -> int:
        """The displayed level farthest from the touch that the order would meet."""
        which = 1 if intent.side > 0 else 0
        count = int(self._state.books.top[intent.symbol, ASK_COUNT if which else BID_COUNT])
        key = int(self._state.books.levels[intent.symbol, which, 0, 0]) if count else 0
        return -key if which else key

    def _impact(self, symbol: int) -> Impact:
        """The symbol's law, with what the tape told up to now."""
        impact = self._impacts.get(symbol)
        top = self._state.books.top[symbol]
        if impact is None:
            impact = self._impacts[symbol] = Impact(self._settings)
            impact.meter.observe(int(top[FIRST_NS]), 0, 0)
        impact.meter.observe(int(self._state.control[NOW]), int(top[TRADED]), int(top[MOVED2]))
        return impact
