"""Side streams: what a run is told beside the markets, each value known from the moment at which it was available.

The edge validates; the engine keeps the latest observation of each stream and says when one goes out of use. The time
that a source gives its rows (*event time*) is kept as data: nothing is joined by it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from engine.core.events import Judged, Observed
from engine.core.side_facts import SideChanged

if TYPE_CHECKING:
    from engine.core.engine import Engine

PRINTS = 1024
"""Prints of accepted rows kept a stream: where the edge goes on after a restart."""

GOOD, STALE, QUARANTINED = "good", "stale", "quarantined"
"""The states of a stream that has spoken."""


class SideStream(msgspec.Struct, frozen=True):
    """What the engine must know of a stream: its fields with their units, and after how long a silence it is stale.

    ``stale_ns`` 0: never. ``schema``: SHA-256 of all that decides what the values mean.
    """

    name: str
    fields: tuple[tuple[str, str], ...]
    stale_ns: int = 0
    schema: str = ""


class UnknownStream(LookupError):
    """A strategy named a side stream or a field that the config does not have."""


class Seen:
    """The latest of one stream."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.event_ns = 0
        self.recv_ns = 0
        self.quality = 1.0
        self.count = 0
        self.is_good = True  # not quarantined
        self.is_stale = False
        self.reason = ""
        self.prints: deque[str] = deque(maxlen=PRINTS)
        self.is_watched = False

    @property
    def state(self) -> str:
        """``good``, ``stale`` or ``quarantined``; empty before the first row."""
        if not self.is_good:
            return QUARANTINED
        return "" if not self.count else STALE if self.is_stale else GOOD


class SideStreams:
    """The side streams of a run, bounded by the config: one observation each."""

    def __init__(self, engine: Engine, streams: Sequence[SideStream]) -> None:
        self.streams = {one.name: one for one in streams}
        self.seen = {one.name: Seen() for one in streams}
        self._engine = engine

    def hear(self, item: Observed | Judged) -> None:
        """Take an input; a stream that this run does not have is none of ours."""
        if item.stream not in self.seen:
            return
        if isinstance(item, Observed):
            self._observed(item)
        else:
            self._judged(item)
        self._engine.signals.hear(item)

    def value(self, stream: str, field: str) -> float | None:
        """The latest value; None while there is none, or it is out of use.

        Raises:
            UnknownStream: the config has no such stream or field.
        """
        if stream not in self.streams or all(field != name for name, _ in self.streams[stream].fields):
            known = ", ".join(f"{one.name}.{name}" for one in self.streams.values() for name, _ in one.fields)
            raise UnknownStream(f"expected one of {known or 'no side stream'}, found {stream}.{field}")
        seen, stale_ns = self.seen[stream], self.streams[stream].stale_ns
        is_old = stale_ns > 0 and self._engine.now_ns - seen.recv_ns > stale_ns
        return None if is_old or not seen.is_good else seen.values.get(field)

    def plain(self) -> list[dict[str, Any]]:
        """The streams as plain values, in the order of the config."""
        now_ns = self._engine.now_ns
        return [
            {
                "stream": name,
                "state": seen.state,
                "reason": seen.reason,
                "observations": seen.count,
                "values": dict(seen.values),
                "event_ns": seen.event_ns,
                "available_ns": seen.recv_ns,
                "age_s": round((now_ns - seen.recv_ns) / 1e9, 3) if seen.count else None,
                "quality": round(seen.quality, 6),
            }
            for name, seen in self.seen.items()
        ]

    def due(self, name: object, ns: int) -> None:
        """A stream may have been silent for too long."""
        stream, seen = self.streams[str(name)], self.seen[str(name)]
        seen.is_watched = False
        if ns - seen.recv_ns <= stream.stale_ns:
            self._watch(stream, seen)
        elif not seen.is_stale:
            seen.is_stale = True
            self._change(stream.name, seen, STALE, f"silent for more than {stream.stale_ns / 1e9:g} s")

    def _observed(self, item: Observed) -> None:
        stream, seen = self.streams[item.stream], self.seen[item.stream]
        known = {name for name, _ in stream.fields}
        seen.values = {name: value for name, value in item.values.items() if name in known}
        seen.event_ns, seen.recv_ns, seen.quality = item.event_ns, item.recv_ns, item.quality
        seen.count += 1
        if item.print:
            seen.prints.append(item.print)
        if seen.is_stale:
            seen.is_stale = False
            self._change(stream.name, seen, GOOD, "spoke again")
        self._watch(stream, seen)

    def _judged(self, item: Judged) -> None:
        seen = self.seen[item.stream]
        seen.quality = item.quality
        if item.good != seen.is_good:
            seen.is_good = item.good
            self._change(item.stream, seen, GOOD if item.good else QUARANTINED, item.reason)

    def _change(self, name: str, seen: Seen, state: str, reason: str) -> None:
        seen.reason = "" if state == GOOD else reason
        self._engine.emit(SideChanged(name, state, reason, seen.quality))

    def _watch(self, stream: SideStream, seen: Seen) -> None:
        """One wait a stream, however many rows come."""
        if stream.stale_ns and not seen.is_watched:
            seen.is_watched = True
            self._engine.schedule(seen.recv_ns + stream.stale_ns + 1, "side", stream.name)
