"""The features of a run: one state row a symbol, a pass over the frames for each family, one vector out.

The state array is everything: copy it and put it back, and the features go on bit for bit as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.core.events import FRAME, FRAME_READY, Frames, Judged, Observed
from engine.core.jit import entry_point, kernel
from engine.core.side import SideStream
from engine.core.types import Instrument
from engine.features.families import NEVER_MISSING, select
from engine.features.family import (
    DOUBTS,
    HEAD,
    LEADERS,
    PLAN,
    READY,
    SEEN_NS,
    SINCE_NS,
    SKIP,
    START,
    TWINS,
    UPDATE,
    Indices,
    Rows,
)
from engine.features.family import Vector as Vector
from engine.features.held import FIELDS, hold
from engine.features.side import StreamFamily

VERSION = 1
"""Raised when something in this file begins to mean other numbers; families have their own constants."""

WARM_UP_NS = 5_000_000_000
"""How long a book must have been usable, without a break, before its features are read."""

LIVE, HELD = TRADES = ("live", "held")
"""When trades count: at once, or when the book shows them (``held.py``)."""

_FIRST_ROOM = 64  # frames of a block; grows


@kernel
def usable(frame: np.void) -> bool:
    """The book is verified, has both sides, and is not crossed."""
    bid, ask = frame["bid"][0], frame["ask"][0]
    return bool((frame["flags"] & FRAME_READY) != 0 and bid > 0 and ask > bid)


@kernel
def _prepare(frames: Frames, lasts: Frames, words: Indices, row: int, newest: Indices, plan: Rows) -> None:
    """Say for each frame what the families do with it, and keep the heads of the rows."""
    newest[:] = -1
    for i in range(frames.shape[0]):
        now = frames[i]
        symbol = now["symbol"]
        head = symbol * row
        todo = plan[i]
        was = newest[symbol]
        todo["was"] = was
        newest[symbol] = i
        was_ready = words[head + READY] != 0
        if not usable(now):
            todo["step"] = SKIP
            words[head + READY] = 0
            if was_ready:
                words[head + DOUBTS] += 1
        elif not was_ready:
            todo["step"] = START
            words[head + READY] = 1
            words[head + SINCE_NS] = now["recv_ns"]
        else:
            todo["step"] = UPDATE
            before_ns = frames[was]["recv_ns"] if was >= 0 else lasts[symbol]["recv_ns"]
            todo["seconds"] = max(0, now["recv_ns"] - before_ns) * 1e-9


@kernel
def _finish(frames: Frames, heard: Frames, lasts: Frames, words: Indices, row: int, newest: Indices) -> None:
    """Keep each symbol's last frame, and when it was last ``heard`` of."""
    for symbol in range(newest.shape[0]):
        if newest[symbol] >= 0:
            lasts[symbol] = frames[newest[symbol]]
    for i in range(heard.shape[0]):
        words[heard[i]["symbol"] * row + SEEN_NS] = heard[i]["recv_ns"]


@kernel
def _show(found: Vector, columns: Indices, warm_up_ns: Indices, age_ns: int, out: Vector) -> None:
    """Pick columns; nan where a number is not warm yet or not finite."""
    for i in range(columns.shape[0]):
        value = found[columns[i]]
        out[i] = value if age_ns >= warm_up_ns[i] and np.isfinite(value) else np.nan


_OF_THIS_PROCESS = frozenset({"_prepare", "_finish", "_absorbs", "_reads", "_dtype"})
"""Attributes that are machine code, or belong to it: made anew where a set is taken from a snapshot."""


class FeatureSet:
    """The streaming features of all symbols; ``ticks`` are the price steps in price units, one a symbol.

    ``features`` is a set's name or a list of sets, families and features; ``trades`` says when trades count;
    ``units`` is what one price unit is worth, and ``others`` says for each symbol who leads it and who is its twin
    (``FeatureSet.of`` takes both from the instruments).

    Raises:
        UnknownFeature: a name in ``features`` that is none of them.
        ValueError: ``trades`` is neither ``live`` nor ``held``.

    >>> features = FeatureSet(ticks=[1], warm_up_ns=0)
    >>> frame = np.zeros(1, FRAME)
    >>> frame["flags"], frame["bid"][0, 0], frame["bid_size"][0, 0] = FRAME_READY, 9_999, 30
    >>> frame["ask"][0, 0], frame["ask_size"][0, 0] = 10_001, 10
    >>> features.update(frame)
    >>> out = features.vector()
    >>> features.read(0, now_ns=0, out=out)
    True
    >>> named = dict(zip(features.names, out.tolist(), strict=True))
    >>> named["spread_bps"], named["spread_ticks"], named["imbalance_1"], named["microprice_bps"]
    (2.0, 2.0, 0.5, 0.5)
    """

    version: int = VERSION

    def __init__(
        self,
        ticks: Sequence[int],
        warm_up_ns: int = WARM_UP_NS,
        features: str | Sequence[str] = "standard",
        trades: str = LIVE,
        *,
        units: Sequence[float] | None = None,
        others: Indices | None = None,
        relations: Sequence[Sequence[str]] = (),
        streams: Sequence[SideStream] = (),
    ) -> None:
        if trades not in TRADES:
            raise ValueError(f"trades: expected one of {', '.join(TRADES)}, found {trades!r}")
        self.warm_up_ns = warm_up_ns
        self.trades = trades
        chosen = select(features, streams)
        self.families = chosen.families
        self.relations = tuple(tuple(each) for each in relations)
        names = [name for one in chosen.families for name in one.names]
        of_units = [unit for one in chosen.families for unit in one.units]
        self.names: tuple[str, ...] = tuple(names[column] for column in chosen.columns)
        self.units: tuple[str, ...] = tuple(of_units[column] for column in chosen.columns)
        self._columns: Indices = np.array(chosen.columns, np.int64)
        self._warm_ups: Indices = np.concatenate([one.warm_up_ns for one in chosen.families])[self._columns]
        self._others = np.full((len(ticks), 2, len(ticks)), -1, np.int64) if others is None else others
        layout = [*HEAD, *((one.name, "f8", (one.memory,)) for one in chosen.families)]
        kind = np.dtype(layout + list(FIELDS) if trades == HELD else layout)
        # One row more than there are symbols: the views of a single row would be of another type to the compiler.
        rows = np.zeros(max(1, len(ticks)) + 1, kind)
        self.state: npt.NDArray[np.void] = rows[: len(ticks)]
        self.state["tick"] = ticks
        self.state["unit"] = 1.0 if units is None else units
        for one in self._streams():
            one.begin(self.state[one.name])
        self._row = kind.itemsize // 8
        self._words: Indices = rows.view(np.int64)
        self._lasts: Frames = rows["last"]
        self._waiting = (rows["waiting"], rows["held"]) if trades == HELD else None
        self._newest: Indices = np.zeros(len(ticks), np.int64)
        self._plan: Rows = np.zeros(_FIRST_ROOM, PLAN)
        self._held: Frames = np.zeros(_FIRST_ROOM, FRAME)
        self._found: Vector = np.zeros(len(names))
        self._flat: Vector = rows.view(np.float64)
        self._compile()

    def _compile(self) -> None:
        """At the start, and not at the first tick."""
        self._dtype = FRAME
        nothing = np.zeros(0, FRAME)
        heads = (self._lasts, self._words, self._row, self._newest)
        self._prepare = entry_point(_prepare, nothing, *heads, self._plan)
        self._finish = entry_point(_finish, nothing, nothing, *heads)
        self._absorbs, self._reads = self._loops(self._flat)
        self.update(nothing)
        _show(np.zeros(len(self._found)), self._columns, self._warm_ups, 0, self.vector())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _OF_THIS_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._compile()

    def _loops(self, flat: Vector) -> tuple[list[Callable[..., None]], list[Callable[..., None]]]:
        """The loops of each family with all that stays the same bound to them."""
        absorbs: list[Callable[..., None]] = []
        reads: list[Callable[..., None]] = []
        at, first = np.dtype([*HEAD]).itemsize // 8, 0
        for family in self.families:
            absorb, read = family.loops
            place = (flat, self._row, at, family.memory, self._others)
            out = self._found[first : first + len(family.names)]
            absorb = entry_point(absorb, np.zeros(0, FRAME), self._plan, self._lasts, *place)
            read = entry_point(read, self._lasts, 0, 0, *place, out)
            absorbs.append(lambda frames, plan, absorb=absorb, place=place: absorb(frames, plan, self._lasts, *place))
            reads.append(
                lambda symbol, now_ns, read=read, place=place, out=out: read(self._lasts, symbol, now_ns, *place, out)
            )
            at += family.memory
            first += len(family.names)
        return absorbs, reads

    @classmethod
    def of(
        cls,
        instruments: Sequence[Instrument],
        warm_up_ns: int = WARM_UP_NS,
        features: str | Sequence[str] = "standard",
        trades: str = LIVE,
        leaders: Sequence[str] = (),
        streams: Sequence[SideStream] = (),
    ) -> FeatureSet:
        """The set of a run's instruments; ``leaders`` are the names of those that may lead, none: all the others.

        Raises:
            UnknownFeature: as above.
            ValueError: a leader that is no instrument of the run.
        """
        names = [one.name for one in instruments]
        if unknown := [name for name in leaders if name not in names]:
            raise ValueError(f"leaders: expected some of {', '.join(names)}, found {', '.join(unknown)}")
        others = np.full((len(names), 2, len(names)), -1, np.int64)
        relations = []
        for index, mine in enumerate(instruments):
            led = [names.index(name) for name in leaders or names if name != mine.name]
            twins = [
                at
                for at, one in enumerate(instruments)
                if (one.base, one.quote) == (mine.base, mine.quote) and one.venue != mine.venue
            ]
            others[index, LEADERS, : len(led)] = led
            others[index, TWINS, : len(twins)] = twins
            relations.append([mine.name, *(names[at] for at in led), "=", *(names[at] for at in twins)])
        units = [10.0**-one.price_decimals for one in instruments]
        ticks = [one.tick for one in instruments]
        return cls(
            ticks, warm_up_ns, features, trades, units=units, others=others, relations=relations, streams=streams
        )

    def _streams(self) -> list[StreamFamily]:
        return [one for one in self.families if isinstance(one, StreamFamily)]

    def hear(self, item: Observed | Judged) -> None:
        """A side stream said something: what is read from now on knows it; the time in it counts for nothing."""
        for one in self._streams():
            if one.stream.name == item.stream:
                one.take(item, self.state[one.name])

    def update(self, frames: Frames) -> None:
        """Take frames, oldest first. One that is not ready forgets its symbol, and the warm-up begins again."""
        if frames.dtype is not self._dtype:  # the loops below look no more
            if frames.dtype != FRAME:
                raise TypeError(f"frames: expected an array of FRAME, found one of {frames.dtype}")
            self._dtype = frames.dtype
        if not frames.flags.c_contiguous:
            frames = frames.copy()
        heard = frames
        if self._waiting is not None:
            waiting, trades = self._waiting
            room = len(frames) + int(waiting.sum())
            if room > len(self._held):
                self._held = np.zeros(2 * room, FRAME)
            frames = self._held[: hold(frames, self._lasts, waiting, trades, self._newest, self._held)]
        if len(frames) > len(self._plan):
            self._plan = np.zeros(2 * len(frames), PLAN)
        self._prepare(frames, self._lasts, self._words, self._row, self._newest, self._plan)
        for absorb in self._absorbs:
            absorb(frames, self._plan)
        self._finish(frames, heard, self._lasts, self._words, self._row, self._newest)

    def read(self, symbol: int, now_ns: int, out: Vector) -> bool:
        """Write a symbol's features as of ``now_ns`` into ``out``; False (and nothing written) while not warm.

        A feature that needs longer than the set's warm-up, or that is undefined, is nan, and none is ever infinite.
        Reading changes nothing: read as often as you like, or never.
        """
        head = symbol * self._row
        age_ns = now_ns - int(self._words[head + SINCE_NS])
        if not self._words[head + READY] or age_ns < self.warm_up_ns:
            return False
        for family in self._reads:
            family(symbol, now_ns)
        _show(self._found, self._columns, self._warm_ups, age_ns, out)
        return True

    def frame_ns(self, symbol: int) -> int:
        """Engine time of a symbol's last frame; 0 before the first."""
        return int(self._words[symbol * self._row + SEEN_NS])

    def restore(self, state: bytes) -> None:
        """Go on from the bytes of another set's ``state``."""
        self.state[:] = np.frombuffer(state, self.state.dtype)

    def vector(self) -> Vector:
        """A zeroed vector of the right length."""
        return np.zeros(len(self.names))

    @property
    def may_be_missing(self) -> tuple[str, ...]:
        """The features that can be nan in a row that is read: late ones, and those that the market can leave undefined.

        >>> FeatureSet(ticks=[1], features=["spread_bps", "ofi_integrated_5s", "vpin"]).may_be_missing
        ('ofi_integrated_5s', 'vpin')
        """
        late = self._warm_ups > self.warm_up_ns
        whole = {name for one in self.families if one.name in NEVER_MISSING for name in one.names}
        return tuple(name for i, name in enumerate(self.names) if late[i] or name not in whole)

    @property
    def hash(self) -> str:
        """SHA-256 over what the numbers mean: names, units, constants, warm-ups, version. Models carry it."""
        meaning = {
            "version": self.version,
            "features": [list(pair) for pair in zip(self.names, self.units, strict=True)],
            "families": {one.name: one.meaning for one in self.families},
            "warm_up_ns": self.warm_up_ns,
            "trades": self.trades,
            "relations": self.relations if any(one.looks_around for one in self.families) else [],
        }
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
