"""One venue's state over tape entries: the same code live, in a replay and in a recovery.

Whatever happens to a connection is an ``Entry``; ``Feed.apply`` turns each into batches for the engine and requests for
the connection. It never raises for what a venue sends: a malformed frame is counted and sampled, and a fault breaks
the venue's instance until the connection is lost and opened again, exactly as the tape tells it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from adapters.contract import AdapterError, MalformedFrame, Output, Venue
from adapters.entry import Entry, EntryKind
from engine.core.events import CONNECTION, DOWN, GAP, REASONS, STALE_SNAPSHOT, row
from engine.core.types import Instrument

INSTRUMENTS = "instruments"
"""The token of the venue's own list of instruments, which is read before a feed starts."""

SAMPLES = 8
SAMPLE_BYTES = 200
NOTHING: tuple[Output, ...] = ()


class FeedStats(msgspec.Struct):
    """Counts since the start. ``malformed_samples`` are the first few of (receive time ns, why, first bytes)."""

    frames: int = 0
    gaps: int = 0
    reconnects: int = 0
    malformed: int = 0
    unknown: int = 0
    malformed_samples: list[tuple[int, str, bytes]] = []


class Feed:
    """A venue by its name in the config, and the instruments asked of it by the venue's own symbol.

    >>> from adapters.binance import BinanceSpot
    >>> btc = Instrument(venue="b", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)
    >>> feed = Feed("b", BinanceSpot, {"BTCUSDT": (0, btc)})
    >>> [len(batch) for batch in feed.apply(Entry(EntryKind.OPENED, 1, "b"))]
    [1]
    >>> feed.apply(Entry(EntryKind.RECEIVED, 2, "b", data=b"{")), feed.stats.malformed
    ((), 1)
    """

    def __init__(
        self,
        name: str,
        venue: type[Venue],
        instruments: Mapping[str, tuple[int, Instrument]],
        rest_url: str = "",
    ) -> None:
        self.name = name
        self.venue_class = venue
        self.instruments = dict(instruments)
        self.rest_url = rest_url
        self.fault: AdapterError | None = None
        """Why the venue's instance is broken; None while it works. The connection must then be lost."""
        self._venue: Venue | None = None
        self._before: Venue | None = None
        self._stats = FeedStats()
        self._openings = 0
        self._unknown = 0

    @property
    def is_open(self) -> bool:
        """Whether its connection was opened and not lost since."""
        return self._venue is not None

    @property
    def stats(self) -> FeedStats:
        """Counts since the start, brought up to date."""
        self._stats.unknown = self._unknown + (self._venue.unknown if self._venue else 0)
        return self._stats

    def apply(self, entry: Entry) -> Sequence[Output]:
        """What follows: batches for the engine, and for a live connection frames to send and pages to fetch."""
        kind = entry.kind
        if kind is EntryKind.OPENED:
            return self._opened(entry)
        if kind is EntryKind.LOST:
            return self._lost(entry)
        venue = self._venue
        if venue is None or self.fault is not None:
            return NOTHING
        try:
            if kind is EntryKind.RECEIVED:
                self._stats.frames += 1
                outputs = venue.received(entry.data, entry.ns)
            elif kind is EntryKind.REPLIED:
                if entry.token == INSTRUMENTS:
                    return NOTHING
                outputs = venue.replied(entry.token, entry.data, entry.ns)
            elif kind is EntryKind.TICKED:
                outputs = venue.ticked(entry.ns)
            elif kind is EntryKind.DOUBTED:
                outputs = venue.doubted(int(entry.token), entry.ns)
            else:
                return NOTHING
        except MalformedFrame as error:
            self._stats.malformed += 1
            if len(self._stats.malformed_samples) < SAMPLES:
                self._stats.malformed_samples.append((entry.ns, str(error), entry.data[:SAMPLE_BYTES]))
            return NOTHING
        except AdapterError as error:
            self.fault = error
            return NOTHING
        for output in outputs:
            if isinstance(output, np.ndarray) and len(output) == 1 and output["kind"][0] == GAP:
                self._stats.gaps += int(output["reason"][0] != STALE_SNAPSHOT)
        return outputs

    def _opened(self, entry: Entry) -> Sequence[Output]:
        self._drop()
        self._openings += 1
        self._stats.reconnects = self._openings - 1
        self._venue = self.venue_class(self.instruments, self.rest_url)
        if self._before is not None:
            self._venue.follows(self._before)
            self._before = None
        try:
            return self._venue.opened(entry.ns)
        except AdapterError as error:
            self.fault = error
            return NOTHING

    def _lost(self, entry: Entry) -> Sequence[Output]:
        if self._venue is None:
            return NOTHING
        self._drop()
        reason = REASONS.index(entry.token) if entry.token in REASONS[1:] else CONNECTION
        return [row(DOWN, symbol=index, recv_ns=entry.ns, reason=reason) for index, _ in self.instruments.values()]

    def _drop(self) -> None:
        self._unknown += self._venue.unknown if self._venue else 0
        self._before = self._venue or self._before
        self._venue = None
        self.fault = None
