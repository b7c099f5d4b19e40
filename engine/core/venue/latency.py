"""How long messages take: to the venue and back, for orders, amends, cancels and what the venue says of them.

Four kinds. *constant*: the same each time. *jitter*: drawn around a median, from the seed and the message's own number,
so that no order's latency depends on what else was sent. *tape*: interpolated between recorded latencies, as
hftbacktest's ``IntpOrderLatency`` does. *measured*: from the round trips that the live connection measured, which are
inputs of the engine and on the tape.

One-way times cannot be measured with two clocks of unknown offset. Where only a round trip is known, half of it counts
as the way out and half as the way back; market data is taken to be as old as an answer at best, plus what it came later
than at best, which the offset does not touch.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache

import msgspec

KINDS = ("constant", "jitter", "tape", "measured")
SHAPES = ("lognormal", "gamma")
DRAWS = ("median", "sample")

ORDER, AMEND, CANCEL = range(3)
"""What is sent."""

MESSAGES = 1 << 20
"""A message's number is its order's times this, plus its place among the order's messages."""

TABLE = 4096
MILLION = 1_000_000
_MASK = (1 << 64) - 1
_HALF = (1 << 32) - 1
_WAY_OUT, _WAY_BACK = 1, 2


class LatencyTape(msgspec.Struct, frozen=True):
    """Recorded latencies in ns: rows at engine times ``at_ns`` (rising, ns UTC), or, without times, one an order.

    ``feed_ns`` may be empty: market data is then as old as the setting says.

    >>> tape = LatencyTape(at_ns=[0, 100], out_ns=[10, 20], back_ns=[5, 5])
    >>> [tape.at(tape.out_ns, now, 0) for now in (-7, 50, 55, 1000)]
    [10, 15, 15, 20]
    >>> by_number = LatencyTape(at_ns=[], out_ns=[10, 20, 30], back_ns=[5, 5, 5])
    >>> [by_number.at(by_number.out_ns, 0, order) for order in (1, 2, 3, 4)]
    [10, 20, 30, 10]
    """

    at_ns: Sequence[int]
    out_ns: Sequence[int]
    back_ns: Sequence[int]
    feed_ns: Sequence[int] = ()

    def at(self, column: Sequence[int], now_ns: int, order: int) -> int:
        """A column's value at an engine time, in whole ns; held before the first row and after the last."""
        if not self.at_ns:
            return column[(order - 1) % len(column)]
        after = bisect_right(self.at_ns, now_ns)
        if after == 0:
            return column[0]
        if after == len(column):
            return column[-1]
        start, end = self.at_ns[after - 1], self.at_ns[after]
        return column[after - 1] + (column[after] - column[after - 1]) * (now_ns - start) // (end - start)


class LatencySettings(msgspec.Struct, frozen=True):
    """What is assumed beyond the constants of ``PaperSettings``, which stay the medians and the values to begin with.

    ``amend_out_ns``, ``cancel_out_ns``: ways out that differ from an order's. ``fill_back_ns``: the private message of
    a fill, where it differs from an acknowledgement. ``shape`` and ``spread`` (jitter): lognormal with the standard
    deviation of the logarithm, or gamma with the standard deviation over the mean; no leg takes longer than ``cap_ns``
    (0: no cap). ``window``, ``draw`` and ``processing_ns`` (measured): the median of the last so many round trips, or
    one of them by chance, plus what the venue itself takes, which a ping does not see. ``is_feed_set``: market data
    keeps its configured age instead of that of an answer.
    """

    kind: str = "constant"
    seed: int = 1
    amend_out_ns: int | None = None
    cancel_out_ns: int | None = None
    fill_back_ns: int | None = None
    shape: str = "lognormal"
    spread: float = 0.3
    cap_ns: int = 1_000_000_000
    window: int = 32
    draw: str = "median"
    processing_ns: int = 0
    is_feed_set: bool = False
    tape: LatencyTape | None = None


def scatter(seed: int, number: int, salt: int) -> int:
    """64 bits that look random and are the same wherever and whenever they are asked for (SplitMix64, Vigna 2015).

    A generator with a memory would make an order's latency depend on the orders before it, and a restart on its state.

    >>> scatter(1, 2, 3) == scatter(1, 2, 3), scatter(1, 2, 3) == scatter(1, 3, 3)
    (True, False)
    """
    word = (seed * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03 + salt * 0x8CB92BA72F3D8DD7) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


@cache
def factors(shape: str, spread: float) -> tuple[int, ...]:
    """Quantiles of a latency over its median, in millionths, at the middles of ``TABLE`` equal shares.

    Whole millionths, so that the last bit of a machine's ``exp`` does not change a run. Gamma by Wilson and Hilferty
    (1931), good to a few per mille for a spread of at most 1.

    >>> middle = factors("lognormal", 0.3)[TABLE // 2]
    >>> abs(middle - MILLION) < 200, factors("gamma", 0.5)[0] > 0
    (True, True)
    """
    half = [_normal((at + 0.5) / TABLE) for at in range(TABLE // 2)]
    values = [*half, *(-z for z in reversed(half))]
    if shape == "lognormal":
        return tuple(round(MILLION * math.exp(spread * z)) for z in values)
    ninth = spread * spread / 9
    middle = (1 - ninth) ** 3
    return tuple(round(MILLION * max(0.0, 1 - ninth + z * spread / 3) ** 3 / middle) for z in values)


def _normal(share: float) -> float:
    """The standard normal quantile of a share below a half, by bisection."""
    low, high = -9.0, 0.0
    for _ in range(48):
        middle = (low + high) / 2
        if math.erfc(-middle / math.sqrt(2)) / 2 < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


class LatencyModel:
    """Answers how long a message takes; all times in ns. ``out_ns``, ``back_ns`` and ``feed_ns`` are the constants."""

    def __init__(self, settings: LatencySettings | None, out_ns: int, back_ns: int, feed_ns: int, lines: int) -> None:
        self.settings = settings = settings or LatencySettings()
        others = (settings.amend_out_ns, settings.cancel_out_ns)
        self._out = [out_ns, *(out_ns if other is None else other for other in others)]
        self._back = [back_ns, back_ns if settings.fill_back_ns is None else settings.fill_back_ns]
        self._feed = feed_ns
        self._ways = [(out, feed_ns) for out in self._out]
        self._base_out, self._base_back = out_ns, back_ns
        self._factors = factors(settings.shape, settings.spread) if settings.kind == "jitter" else ()
        self._cap = settings.cap_ns or 1 << 62
        self._tape = settings.tape if settings.kind == "tape" else None
        self._trips: list[list[int]] = [[] for _ in range(lines)]
        self._delays: list[list[int]] = [[] for _ in range(lines)]
        self._median = [0] * lines
        self._delay = [0] * lines
        self._is_constant = settings.kind == "constant"

    def way_out(self, line: int, what: int, message: int, now_ns: int) -> tuple[int, int]:
        """From us to the venue's matching, and how old market data is then."""
        if self._is_constant:
            return self._ways[what]
        if self._factors:
            word = scatter(self.settings.seed, message, _WAY_OUT)
            return self._jitter(self._out[what], word >> 32), self._jitter(self._feed, word & _HALF)
        apart = self._out[what] - self._base_out  # how much an amend or a cancel differs from an order
        if self._tape is not None:
            tape, order = self._tape, message // MESSAGES
            feed_ns = tape.at(tape.feed_ns, now_ns, order) if tape.feed_ns else self._feed
            return max(0, tape.at(tape.out_ns, now_ns, order) + apart), feed_ns
        trip = self._trip(line, message)
        if not trip:
            return self._ways[what]
        feed_ns = self._feed if self.settings.is_feed_set else trip - trip // 2 + self._late(line, message)
        return max(0, trip // 2 + self.settings.processing_ns + apart), feed_ns

    def way_back(self, line: int, is_fill: bool, message: int, now_ns: int) -> int:
        """From the venue's matching to us: an acknowledgement, or the private message of a fill."""
        if self._is_constant:
            return self._back[is_fill]
        if self._factors:
            return self._jitter(self._back[is_fill], scatter(self.settings.seed, message, _WAY_BACK) >> 32)
        apart = self._back[is_fill] - self._base_back
        if self._tape is not None:
            return max(0, self._tape.at(self._tape.back_ns, now_ns, message // MESSAGES) + apart)
        trip = self._trip(line, message)
        return max(0, trip - trip // 2 + apart) if trip else self._back[is_fill]

    def measured(self, line: int, rtt_ns: int, delay_ns: int = 0) -> None:
        """A round trip and a delay of market data were measured; the oldest of the window are forgotten."""
        trips, delays = self._trips[line], self._delays[line]
        trips.append(max(1, rtt_ns))
        delays.append(max(0, delay_ns))
        del trips[: -self.settings.window], delays[: -self.settings.window]
        self._median[line] = sorted(trips)[len(trips) // 2]
        self._delay[line] = sorted(delays)[len(delays) // 2]

    def round_trip_ns(self, line: int) -> int:
        """The median of the round trips measured lately; 0 before the first."""
        return self._median[line]

    def feed_delay_ns(self, line: int) -> int:
        """The median of what market data lately came later than at best; 0 before the first."""
        return self._delay[line]

    def typical(self, line: int, now_ns: int) -> tuple[int, int, int]:
        """Out, back and feed of an order as they are in the middle: medians, or the tape at an engine time."""
        if self._factors or self._is_constant:
            return self._out[ORDER], self._back[False], self._feed
        if self._tape is None and (trip := self._median[line]):
            back_ns = trip - trip // 2
            feed_ns = self._feed if self.settings.is_feed_set else back_ns + self._delay[line]
            return trip // 2 + self.settings.processing_ns, back_ns, feed_ns
        out_ns, feed_ns = self.way_out(line, ORDER, MESSAGES, now_ns)
        return out_ns, self.way_back(line, False, MESSAGES, now_ns), feed_ns

    def _trip(self, line: int, message: int) -> int:
        trips = self._trips[line]
        if self.settings.draw == "sample" and trips:
            return trips[scatter(self.settings.seed, message, _WAY_OUT) % len(trips)]
        return self._median[line]

    def _late(self, line: int, message: int) -> int:
        """What market data comes later than at best: measured together with the trip that ``_trip`` draws."""
        delays = self._delays[line]
        if self.settings.draw == "sample" and delays:
            return delays[scatter(self.settings.seed, message, _WAY_OUT) % len(delays)]
        return self._delay[line]

    def _jitter(self, median: int, word: int) -> int:
        """A median scaled by the quantile that 32 bits name: 12 of them a row of the table, 20 the way to the next."""
        at = word >> 20
        low = self._factors[at]
        high = self._factors[at + 1] if at < TABLE - 1 else low
        return min(self._cap, median * (low + ((high - low) * (word & 0xFFFFF) >> 20)) // MILLION)
