"""What an order does to the market beyond what is displayed: the square-root law, and how it fades.

Executing a size Q moves the price by about Y times the volatility times the square root of Q over the volume, both of
the same span of time: Almgren, Thum, Hauptmann and Li, *Direct estimation of equity market impact* (2005); Bouchaud,
Farmer and Lillo, *How markets slowly digest changes in supply and demand* (2009). What a trade moved fades as a power
of time (the propagator of Bouchaud, Gefen, Potters and Wyart, 2004). Volatility and volume are measured here, on the
tape, as rates over a rolling window; Y and the fading are settings, fitted with ``engine.research.impact_fit``.

Everything is arithmetic that is the same on every machine: square roots, but no powers, exponentials or logarithms.
"""

from __future__ import annotations

import math
from collections import deque

import msgspec


class ImpactSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``scale`` is Y of the law. After t a trade's move is its share ``(1 + t / decay_ns) ** -(decay_quarters / 4)``.

    ``window_ns``: over which volume and volatility are measured; ``memory``: own executions remembered a symbol.
    ``most_per_mille`` bounds what an order may find beyond the display, of the volume of a window.
    ``protection_bps``: a market order trades no farther than this from the middle, and the rest expires; 0 is without
    limit. It holds also where ``enabled`` is False, and then only what is displayed is there.
    """

    enabled: bool = False
    scale: float = 1.0
    decay_ns: int = 500_000_000
    decay_quarters: int = 2
    window_ns: int = 600_000_000_000
    memory: int = 64
    most_per_mille: int = 100
    protection_bps: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.scale < math.inf or self.decay_ns < 1 or self.window_ns < 1 or self.memory < 1:
            raise ValueError(
                "expected scale of at least 0 and decay_ns, window_ns and memory of at least 1, found "
                f"{self.scale}, {self.decay_ns}, {self.window_ns}, {self.memory}"
            )
        if not 1 <= self.decay_quarters <= 8 or not 0 <= self.most_per_mille <= 1000 or self.protection_bps < 0:
            raise ValueError(
                "expected decay_quarters in 1..8, most_per_mille in 0..1000 and protection_bps of at least 0, found "
                f"{self.decay_quarters}, {self.most_per_mille}, {self.protection_bps}"
            )


def faded(age_ns: int, settings: ImpactSettings) -> float:
    """The share of its impact that an execution still has, 1 at once.

    >>> one = ImpactSettings(decay_ns=100, decay_quarters=2)
    >>> faded(0, one), faded(300, one)
    (1.0, 0.5)
    """
    fourth_root = math.sqrt(math.sqrt(1.0 + max(0, age_ns) / settings.decay_ns))
    share = 1.0
    for _ in range(settings.decay_quarters):
        share /= fourth_root
    return share


class Meter:
    """Volume and variance of the mid as rates a nanosecond, from sums that only grow; weights fade over ``window_ns``.

    A new stretch of time counts by its length against the window, in a rational way, so that nothing but the four
    operations is needed.

    >>> meter = Meter(1000)
    >>> meter.observe(0, 0, 0); meter.observe(100, 50, 400)
    >>> meter.volume, meter.variance2
    (0.5, 4.0)
    """

    def __init__(self, window_ns: int) -> None:
        self.volume = 0.0
        self.variance2 = 0.0
        """Of twice the mid, price units squared a nanosecond."""
        self._window_ns = window_ns
        self._then_ns = -1
        self._traded = 0
        self._moved2 = 0

    def observe(self, now_ns: int, traded: int, moved2: int) -> None:
        """``traded``: the size traded so far; ``moved2``: the sum so far of squared moves of twice the mid."""
        if self._then_ns >= 0 and now_ns > self._then_ns:
            age_ns = now_ns - self._then_ns
            weight = 1.0 if self.volume == 0 and self.variance2 == 0 else age_ns / (age_ns + self._window_ns)
            self.volume += weight * ((traded - self._traded) / age_ns - self.volume)
            self.variance2 += weight * ((moved2 - self._moved2) / age_ns - self.variance2)
        if now_ns > self._then_ns:
            self._then_ns, self._traded, self._moved2 = now_ns, traded, moved2


class Impact:
    """One symbol's law: what is measured of it, and what we did to it."""

    def __init__(self, settings: ImpactSettings) -> None:
        self.meter = Meter(settings.window_ns)
        self._settings = settings
        self._done: deque[tuple[int, float]] = deque(maxlen=settings.memory)  # (ns, signed move in price units)

    @property
    def unit(self) -> float:
        """By how many price units a size of 1 moves the market; 0 before anything is measured."""
        meter = self.meter
        if meter.volume <= 0 or meter.variance2 <= 0:
            return 0.0
        return self._settings.scale * math.sqrt(meter.variance2 / 4.0 / meter.volume)

    def remember(self, side: int, size: int, now_ns: int) -> None:
        """We took ``size``: it moved the market to the side of the trade."""
        self._done.append((now_ns, side * self.unit * math.sqrt(size)))

    def moved(self, now_ns: int) -> float:
        """How far our own executions still have the market moved, price units; above 0 it is higher."""
        return sum(move * faded(now_ns - ns, self._settings) for ns, move in self._done)

    def shift(self, side: int, now_ns: int, tick: int) -> int:
        """By how much a taker's prices are worse, price units, whole ticks: what our earlier trades of that side left.

        Never better: that a sale after our own purchase finds a higher bid is nothing that we would have paid for.
        """
        return math.floor(max(0.0, side * self.moved(now_ns)) / tick + 0.5) * tick

    def beyond(
        self, side: int, mid2: int, worst: int, done: int, left: int, bound: int, tick: int, lot: int
    ) -> tuple[int, int]:
        """Price and size of what trades behind the display, which gave ``done`` up to ``worst``; ``left`` is wanted.

        The price is the law's mean over the rest, at least a tick beyond ``worst``, on the tick away from us. ``bound``
        (0: none) is the last price allowed: as much as the law reaches it with. Size 0 where nothing trades.
        """
        unit = self.unit
        most = int(self.meter.volume * self._settings.window_ns * self._settings.most_per_mille / 1000)
        left = min(left, most)
        if unit <= 0 or left <= 0:
            return 0, 0
        nearest = worst + side * tick
        if bound:
            room = side * (2 * bound - mid2) / 2.0
            if room <= 0 or side * (bound - nearest) < 0:
                return 0, 0
            left = min(left, math.floor((room / unit) ** 2) - done)
        left -= left % lot
        if left <= 0:
            return 0, 0
        whole = done + left
        mean = 2.0 / 3.0 * unit * (whole * math.sqrt(whole) - done * math.sqrt(done)) / left
        ticks = math.ceil((side * mid2 / 2.0 + mean) / tick)
        price = side * ticks * tick
        price = price if side * (price - nearest) >= 0 else nearest
        if bound and side * (price - bound) > 0:
            price = bound
        return (price, left) if price > 0 else (0, 0)


def protected(mid2: int, side: int, bps: int, tick: int) -> int:
    """The last price that a market order may trade at, on the tick towards the middle; 0 without protection.

    >>> protected(20_010, 1, 100, 5), protected(20_010, -1, 100, 5), protected(20_010, 1, 0, 5)
    (10105, 9905, 0)
    """
    if bps == 0 or mid2 <= 0:
        return 0
    if side > 0:
        return mid2 * (10_000 + bps) // 20_000 // tick * tick
    return max(tick, -(-mid2 * (10_000 - bps) // 20_000 // tick) * tick)
