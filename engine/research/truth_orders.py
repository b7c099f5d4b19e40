"""The orders of the market truth: one deterministic plan, sent on paper by a strategy and for real by a visitor.

A *trial* is one decision: a few orders whose sides, prices and sizes follow from the best prices seen at that moment.
The same values then go to the paper venue and, in a copy of the market, to its matching engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from engine.core.book import Book
from engine.core.strategy import Config, Context, Strategy
from engine.core.types import Side, TimeInForce

MS: Final = 1_000_000

TOUCH, DEEP, SMALL, LARGE, SLICED = "passive at touch", "passive deep", "crossing small", "crossing large", "sliced"
KINDS: Final = (TOUCH, DEEP, SMALL, LARGE, SLICED)
SLICES: Final = 5
"""Market orders of one sliced trial."""

ORDERS: Final = {TOUCH: 1, DEEP: 1, SMALL: 1, LARGE: 1, SLICED: SLICES}
"""Orders of a trial of each kind."""

CYCLE: Final = (TOUCH, DEEP, SMALL, TOUCH, LARGE, DEEP, TOUCH, SLICED)
"""What the trials are, in turn."""


class Wanted(msgspec.Struct, frozen=True):
    """One order: sent ``after_ns`` after the decision, taken back ``life_ns`` later (0: it does not rest).

    ``price`` 0 is a market order; prices and sizes in the instrument's units.
    """

    after_ns: int
    side: int
    price: int
    size: int
    life_ns: int


class Trial(msgspec.Struct):
    """A decision and what it asked for; ``number`` counts from 0, ``orders`` are the engine's ids, in order."""

    number: int
    kind: str
    decided_ns: int
    wanted: list[Wanted]
    orders: list[int] = []


class Plan(msgspec.Struct, frozen=True):
    """When and how: times in ns; ``large`` multiples of what is displayed at the opposite best, in turn.

    ``gap_ns`` lies between two decisions. ``sweep`` makes the large orders that many tenths of the whole visible side
    instead, 0 not.
    """

    first_ns: int
    gap_ns: int
    trials: int
    life_ns: int = 2_000 * MS
    slice_ns: int = 250 * MS
    large: tuple[int, ...] = (2, 5, 10)
    sweep: int = 0


def decide(number: int, book: Book, plan: Plan) -> tuple[str, list[Wanted]]:
    """What trial ``number`` asks for on this book. Both sides are used alike."""
    kind = CYCLE[number % len(CYCLE)]
    turn = number // len(CYCLE)
    side = 1 if (turn ^ (number % len(CYCLE))) & 1 else -1
    tick, lot = book.instrument.tick, book.instrument.lot
    own, other = (book.bid, book.ask) if side > 0 else (book.ask, book.bid)
    own_size, other_size = (book.bid_size, book.ask_size) if side > 0 else (book.ask_size, book.bid_size)

    def lots(size: int) -> int:
        return max(lot, size - size % lot)

    if kind == TOUCH:
        return kind, [Wanted(0, side, own, lots(own_size * (1, 3, 10)[turn % 3] // 10), plan.life_ns)]
    if kind == DEEP:
        return kind, [Wanted(0, side, own - side * tick * (1 + turn % 5), lots(own_size // 4), plan.life_ns)]
    if kind == SMALL:
        return kind, [Wanted(0, side, other, lots(other_size * (1, 3, 6)[turn % 3] // 10), 0)]
    if kind == LARGE:
        size = other_size * plan.large[turn % len(plan.large)]
        if plan.sweep:
            shown = sum(here for _, here in book.levels("ask" if side > 0 else "bid", 1 << 30))
            size = shown * plan.sweep // 10
        return kind, [Wanted(0, side, 0, lots(size), 0)]
    return kind, [Wanted(at * plan.slice_ns, side, 0, lots(other_size), 0) for at in range(SLICES)]


class TruthConfig(Config, frozen=True):
    """The plan is handed over by the driver, as it is not a user's setting."""

    plan: Plan


class Tester(Strategy[TruthConfig]):
    """Sends the plan's orders on paper; ``decided`` hears each trial at the moment of its decision."""

    def __init__(self, config: TruthConfig, decided: Callable[[Trial], None]) -> None:
        super().__init__(config)
        self._decided = decided
        self._next = 0
        self._trial = Trial(-1, "", 0, [])

    def on_start(self, ctx: Context) -> None:
        ctx.timer("decide", (self.config.plan.first_ns - ctx.now_ns) / 1e9)

    def on_timer(self, name: str, ctx: Context) -> None:
        if name == "decide":
            self._decide(ctx)
        elif name.startswith("send"):
            self._send(int(name[4:]), ctx)
        else:
            ctx.cancel(self._trial.orders[int(name[4:])])

    def _decide(self, ctx: Context) -> None:
        plan, (symbol,) = self.config.plan, ctx.symbols
        kind, wanted = decide(self._next, ctx.book(symbol), plan)
        self._trial = Trial(self._next, kind, ctx.now_ns, wanted, [])
        self._decided(self._trial)
        for at, one in enumerate(wanted):
            if one.after_ns:
                ctx.timer(f"send{at}", one.after_ns / 1e9)
            else:
                self._send(at, ctx)
        self._next += 1
        if self._next < plan.trials:
            ctx.timer("decide", plan.gap_ns / 1e9)

    def _send(self, at: int, ctx: Context) -> None:
        one, (symbol,) = self._trial.wanted[at], ctx.symbols
        price = one.price or None
        force = TimeInForce.GTC if one.life_ns or price is None else TimeInForce.IOC
        number = ctx.order(symbol, Side(one.side), one.size, price, time_in_force=force)
        self._trial.orders.append(number)
        if one.life_ns:
            ctx.timer(f"back{at}", one.life_ns / 1e9)
