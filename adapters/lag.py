"""How much later than in its best moment a venue's market data comes.

The venue's clock and ours differ by an unknown offset, so how old a frame is cannot be measured. But the offset is in
each frame's lag (our receive time less the venue's own time) alike: what a lag has above the least of the last half
minute is delay, whatever the clocks say. A drift of 20 parts in a million adds 0.6 ms at most in that time.
"""

from __future__ import annotations

from collections import deque

SAMPLES = 512
"""Lags kept between two calls of ``take``; more are left out."""

SPANS = 6
"""The least lag is looked for in so many spans, the one under way included."""


class FeedLag:
    """Lags of frames, in ns; a span ends with ``take``.

    >>> lag = FeedLag()
    >>> for delay in (3, 1, 9):
    ...     lag.seen(venue_ns=1_000, recv_ns=700 + delay)  # our clock is 300 behind
    >>> lag.take()
    2
    >>> lag.seen(2_000, 1_709); lag.take(), lag.take()
    (8, 0)
    """

    def __init__(self) -> None:
        self._lags: list[int] = []
        self._least: deque[int] = deque(maxlen=SPANS)

    def seen(self, venue_ns: int, recv_ns: int) -> None:
        """A frame that carries the venue's time."""
        if venue_ns and len(self._lags) < SAMPLES:
            self._lags.append(recv_ns - venue_ns)

    def take(self) -> int:
        """The middle lag of the span above the least of the last spans; 0 where no frame carried a time."""
        if not self._lags:
            return 0
        lags, self._lags = sorted(self._lags), []
        self._least.append(lags[0])
        return lags[len(lags) // 2] - min(self._least)
