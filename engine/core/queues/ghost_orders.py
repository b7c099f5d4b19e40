"""Ghost orders of the running engine: they rest in the same kernel as real paper orders, and nobody hears of them.

A ghost of one size unit joins a level at or near the touch at seeded moments and rests for a while. Its fate is certain
where the bounds agree: the pessimist was filled (surely filled), or the optimist never was (surely not). In between
only the real orders could tell. So the ghosts say how much of the truth level sizes and trades can tell at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.core.queues.calibration_settings import CalibrationSettings
from engine.core.queues.implied import MERSENNE, mixed
from engine.core.queues.slots import join, leave
from engine.core.state import OPTIMIST, OWN, PESSIMIST, R_UNSURE, State

DROP, END = "ghost", "ghost_ends"


@dataclass(slots=True)
class Ghost:
    """One ghost at work: its slot in the kernel, and which lanes filled it."""

    symbol: int
    slot: int
    front: bool = False
    back: bool = False
    own: bool = False


@dataclass(slots=True)
class Fates:
    """What became of a symbol's ghosts; ``said``: those that the model in use filled, ``void``: a gap came between."""

    ended: int = 0
    surely: int = 0
    surely_not: int = 0
    said: int = 0
    void: int = 0

    @property
    def unknown(self) -> int:
        return self.ended - self.surely - self.surely_not


class GhostOrders:
    """Drops ghosts, hears what the kernel makes of them, ends them. Numbers count down from -1."""

    def __init__(
        self, state: State, settings: CalibrationSettings, schedule: Callable[[int, str, object], None]
    ) -> None:
        self._state = state
        self._settings = settings
        self._schedule = schedule
        self._made = 0
        self._drawn = settings.seed << 20
        self._live: dict[int, Ghost] = {}
        symbols = len(state.books.views)
        self.fates = [Fates() for _ in range(symbols)]
        self._here = [0] * symbols
        self._dropping = [False] * symbols
        state.on_ghost = self.traded

    def start(self, symbol: int, now_ns: int) -> None:
        """The book may be used: go on dropping."""
        if not self._dropping[symbol]:
            self._dropping[symbol] = True
            self._next(symbol, now_ns)

    def drop(self, symbol: int, now_ns: int) -> None:
        """It is time for another ghost; none while the book is in doubt, until ``start``."""
        book = self._state.books.views[symbol]
        if not book.is_ready:
            self._dropping[symbol] = False
            return
        self._next(symbol, now_ns)
        if self._here[symbol] >= self._settings.most:
            return
        drawn = self._draw()
        side = 1 if drawn & 1 else -1
        levels = book.levels("bid" if side > 0 else "ask", self._settings.deepest)
        if not levels:
            return
        price, _ = levels[(drawn >> 1) % len(levels)]
        self._made += 1
        slot = join(self._state.flat, symbol, side, price, 1, -self._made, self._state.rule, 0)
        self._live[-self._made] = Ghost(symbol, int(slot))
        self._here[symbol] += 1
        self._schedule(now_ns + self._settings.life_ns, END, -self._made)

    def traded(self, number: int, lane: int) -> None:
        """A lane filled a ghost."""
        ghost = self._live.get(number)
        if ghost is None:
            return
        if lane == OWN:
            ghost.own = True
        elif lane == OPTIMIST:
            ghost.front = True
        elif lane == PESSIMIST:
            ghost.back = True

    def end(self, number: int, now_ns: int) -> None:
        """A ghost's time is over: what is known of its fate."""
        ghost = self._live.pop(number)
        self._here[ghost.symbol] -= 1
        fates = self.fates[ghost.symbol]
        if self._state.resting[ghost.slot, R_UNSURE]:
            fates.void += 1
        else:
            fates.ended += 1
            fates.surely += ghost.back
            fates.surely_not += not ghost.front
            fates.said += ghost.own
        leave(self._state.flat, ghost.slot)

    def _next(self, symbol: int, now_ns: int) -> None:
        """Half to one and a half of the mean time from now, so that ghosts keep no step with anybody."""
        interval = self._settings.interval_ns
        self._schedule(now_ns + interval // 2 + interval * self._draw() // MERSENNE, DROP, symbol)

    def _draw(self) -> int:
        self._drawn += 1
        return mixed(self._drawn)
