"""Real orders in a copy of the simulated market: what truly happens to them, own effect included."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Final

import msgspec

from adapters.market import VISITOR, SymbolMarket
from adapters.market_book import Order
from engine.core.types import Side
from engine.research.truth_orders import Trial

SEND, TAKE_BACK = 0, 1
NANOSECOND: Final = 1


class Fate(msgspec.Struct):
    """What became of an order: fills as (market time ns, price, size, is a maker), prices and sizes in units."""

    fills: list[tuple[int, int, int, bool]] = []

    @property
    def size(self) -> int:
        return sum(size for _, _, size, _ in self.fills)

    @property
    def worth(self) -> int:
        """Sum of price times size over the fills, units of both."""
        return sum(price * size for _, price, size, _ in self.fills)


class Truth(msgspec.Struct):
    """The fates of a trial's orders; twice the middle at the end, in units; the spread each order met, in ticks."""

    fates: list[Fate]
    mid2: int
    spreads: list[int]


def copied(market: SymbolMarket) -> SymbolMarket:
    """The same market once more, its chance included: without a visitor both go the same way."""
    twin: SymbolMarket = pickle.loads(pickle.dumps(market, pickle.HIGHEST_PROTOCOL))
    return twin


def play(
    market: SymbolMarket,
    trial: Trial,
    out_ns: int,
    tick: int,
    lot: int,
    until_ns: int,
    advance: Callable[[int], object] | None = None,
) -> Truth:
    """Place a trial's orders for real in ``market``, which is changed, and follow it to ``until_ns``.

    An order sent at t arrives at the market at t + ``out_ns``, before what else happens at that instant. ``advance``
    takes the market on to a time in its place, for who wants to see what happens.
    """
    advance = advance or market.advance
    fates = [Fate([]) for _ in trial.wanted]
    spreads = [0] * len(fates)
    resting: dict[int, Order | None] = {}
    for at_ns, what, number in _steps(trial, out_ns):
        advance(at_ns - NANOSECOND)
        market.now_ns = at_ns
        wanted = trial.wanted[number]
        if what == SEND:
            price = wanted.price // tick or None
            side = Side(wanted.side)
            spreads[number] = market.book.asks.best - market.book.bids.best
            resting[number] = market.place(
                VISITOR + number, side, wanted.size // lot, price, rests=bool(wanted.life_ns)
            )
        else:
            order = resting[number]
            if order is not None:
                market.withdraw(order)
    advance(until_ns)
    for ns, fill in market.visits:
        is_maker = fill.maker >= VISITOR
        owner = (fill.maker if is_maker else fill.taker) - VISITOR
        fates[owner].fills.append((ns, fill.price * tick, fill.size * lot, is_maker))
    return Truth(fates, market.book.mid2 * tick, spreads)


def _steps(trial: Trial, out_ns: int) -> list[tuple[int, int, int]]:
    steps = []
    for number, one in enumerate(trial.wanted):
        arrives_ns = trial.decided_ns + one.after_ns + out_ns
        steps.append((arrives_ns, SEND, number))
        if one.life_ns:
            steps.append((arrives_ns + one.life_ns, TAKE_BACK, number))
    return sorted(steps)
