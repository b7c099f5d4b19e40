"""Where the mid went after a fill, and after an order ended with something unfilled, at four horizons.

A *markout* is ``side * (mid after the horizon - price)``: above 0 the fill was good for us. It is taken apart into what
the fill earned against the mid of its own moment (half the spread for a maker, less than nothing for a taker) and the
drift of the mid after it (adverse selection where it is below 0). The mid is the book's at that engine time; where the
book may not be used then, the mark is void and counts nowhere. All sums are exact: twice the mid is a whole number of
price units.

What is followed at once is bounded; what comes beyond the bound is counted as left out and never measured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from engine.core.book import ASK, BID, IS_READY, Int64s
from engine.core.records import AnyFact, Markout, Missed
from engine.core.types import Instrument

HORIZONS_NS: Final = (100_000_000, 1_000_000_000, 10_000_000_000, 60_000_000_000)
"""After how long the mid is looked at, engine time."""

PLACES: Final = ("taker", "alone", "near", "middle", "deep")
"""Where a fill's order stood when it came: it took; nobody in front; at most 4, at most 32, more than 32 times its own
size in front."""


def place(maker: bool, ahead: int, size: int) -> str:
    """The word for a place in the queue, in multiples of the order's own size.

    >>> [place(True, ahead, 10) for ahead in (0, 40, 41, 321)], place(False, 0, 10)
    (['alone', 'near', 'middle', 'deep'], 'taker')
    """
    if not maker:
        return "taker"
    if ahead <= 0:
        return "alone"
    return "near" if ahead <= 4 * size else "middle" if ahead <= 32 * size else "deep"


def mid2_of(top: memoryview[int], symbol: int) -> int:
    """Twice the mid in price units now; 0 where the book may not be used or has only one side."""
    bid, ask = top[symbol, BID], top[symbol, ASK]
    return bid + ask if bid and ask and top[symbol, IS_READY] else 0


@dataclass(slots=True)
class Sums:
    """Exact sums of one group: by horizon (0: at once) how many counted, their moves and moves times size."""

    fills: int = 0
    size: int = 0
    counted: list[int] = field(default_factory=lambda: [0] * (len(HORIZONS_NS) + 1))
    gain2: list[int] = field(default_factory=lambda: [0] * (len(HORIZONS_NS) + 1))
    sized: list[int] = field(default_factory=lambda: [0] * (len(HORIZONS_NS) + 1))
    sized_gain2: list[int] = field(default_factory=lambda: [0] * (len(HORIZONS_NS) + 1))
    price2: list[int] = field(default_factory=lambda: [0] * (len(HORIZONS_NS) + 1))

    def add(self, at: int, gain2: int, price2: int, size: int) -> None:
        """One measured move; ``gain2`` is twice the signed move, ``price2`` twice what it is measured from."""
        self.counted[at] += 1
        self.gain2[at] += gain2
        self.sized[at] += size
        self.sized_gain2[at] += gain2 * size
        self.price2[at] += price2

    def plain(self, tick: int) -> dict[str, Any]:
        """Averages a fill: in ticks and basis points by horizon, None where none was measured."""
        return {
            "fills": self.fills,
            "size": self.size,
            "counted": list(self.counted),
            "ticks": [
                gain2 / (2 * tick * count) if count else None
                for gain2, count in zip(self.gain2, self.counted, strict=True)
            ],
            "bps": [
                1e4 * gain2 / price2 if price2 else None for gain2, price2 in zip(self.gain2, self.price2, strict=True)
            ],
        }


NO_SUMS: Final = Sums()
"""Those of a mark that adds to none."""


class Mark(msgspec.Struct, eq=False):
    """A fill (``number`` counts an order's fills from 1) or what an order left unfilled (``number`` 0) on its way."""

    order: int
    number: int
    strategy: str
    symbol: int
    side: int
    price2: int  # twice the price; of what was missed: twice the mid at the end
    size: int
    ns: int
    place: str
    grade: str
    is_void: bool = False
    group: Sums = NO_SUMS  # of its fill, which it adds to
    mids2: list[int] = []  # at once, then after each horizon that has passed


Group = tuple[str, int, str, str]
"""Strategy, symbol, place, grade."""


class Markouts:
    """Follows marks to their horizons; ``due`` is the handler of the engine's ``markout``.

    ``on_missed(mark, horizon, mid2)`` hears of the moves after orders that ended unfilled.
    """

    def __init__(
        self,
        instruments: tuple[Instrument, ...],
        top: Int64s,
        room: int,
        emit: Callable[[AnyFact], None],
        schedule: Callable[[int, str, object], None],
        on_missed: Callable[[Mark, int, int], None],
    ) -> None:
        self.groups: dict[Group, Sums] = {}
        self.left_out = 0
        self._instruments = instruments
        self._top: memoryview[int] = top.data
        self._room = room
        self._emit = emit
        self._schedule = schedule
        self._on_missed = on_missed
        self._waiting: tuple[deque[Mark], ...] = tuple(deque() for _ in HORIZONS_NS)

    @property
    def pending(self) -> int:
        """Marks that have not reached their last horizon."""
        return len(self._waiting[-1])

    def follow(self, mark: Mark) -> None:
        """Take the mid at once, and come back at each horizon."""
        if mark.number:
            group = mark.group = self._group(mark)
            group.fills += 1
            group.size += mark.size
        if self.pending >= self._room:
            self.left_out += 1
            return
        self._look(mark)
        for at, (queue, horizon_ns) in enumerate(zip(self._waiting, HORIZONS_NS, strict=True)):
            if not queue:
                self._schedule(mark.ns + horizon_ns, "markout", at)
            queue.append(mark)

    def due(self, at: int, ns: int) -> None:
        """A horizon has passed for the oldest marks that wait for it."""
        queue, horizon_ns = self._waiting[at], HORIZONS_NS[at]
        while queue and queue[0].ns + horizon_ns <= ns:
            mark = queue.popleft()
            self._look(mark)
            if at == len(HORIZONS_NS) - 1:
                self._tell(mark)
        if queue:
            self._schedule(queue[0].ns + horizon_ns, "markout", at)

    def void(self, symbol: int) -> None:
        """Count no further horizon of the marks of a symbol."""
        for mark in self._waiting[-1]:
            if mark.symbol == symbol:
                mark.is_void = True

    def finish(self) -> None:
        """The run ends: tell what is known of the marks that did not come to their last horizon, and forget them."""
        for mark in self._waiting[-1]:
            mark.mids2.extend([0] * (len(HORIZONS_NS) + 1 - len(mark.mids2)))
            self._tell(mark)
        for queue in self._waiting:
            queue.clear()

    def _look(self, mark: Mark) -> None:
        at = len(mark.mids2)
        mid2 = 0 if mark.is_void else mid2_of(self._top, mark.symbol)
        mark.mids2.append(mid2)
        if not mid2:
            return
        if mark.number:
            mark.group.add(at, mark.side * (mid2 - mark.price2), mark.price2, mark.size)
        elif at:
            self._on_missed(mark, at - 1, mid2)

    def _group(self, mark: Mark) -> Sums:
        key = (mark.strategy, mark.symbol, mark.place, mark.grade)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Sums()
        return group

    def _tell(self, mark: Mark) -> None:
        name = self._instruments[mark.symbol].name
        if mark.number:
            self._emit(Markout(mark.order, mark.number, name, mark.place, mark.mids2))
        else:
            self._emit(Missed(mark.order, mark.strategy, name, mark.side, mark.size, mark.mids2))

    def plain(self) -> list[dict[str, Any]]:
        """One row a group, in the order of strategy, symbol, place and grade."""
        rows = []
        for strategy, symbol, place_, grade in sorted(
            self.groups, key=lambda group: (group[0], group[1], PLACES.index(group[2]), group[3])
        ):
            instrument = self._instruments[symbol]
            sums = self.groups[strategy, symbol, place_, grade]
            rows.append(
                {"strategy": strategy, "symbol": instrument.name, "place": place_, "grade": grade}
                | sums.plain(instrument.tick)
                | {"size": instrument.size_text(sums.size)}
            )
        return rows
