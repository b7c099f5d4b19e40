"""What moves a simulated market from outside: a latent price that only some agents see, and regimes that change.

Prices are in ticks, sizes in lots, time in ns; rates are a second of the market's own time.
"""

from __future__ import annotations

import math
import random
from typing import Final

import msgspec

SECOND_NS = 1_000_000_000


class SymbolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol that the simulated exchange trades; ``tick`` and ``lot`` are in 1e-8 of the currency, as the wire is.

    ``typical`` is the scale of an order's size in lots; ``volatility`` that of the latent price in ticks per square
    root of a second.
    """

    symbol: str
    base: str
    quote: str
    tick: int
    lot: int
    start: int
    typical: int
    volatility: float = 5.0


class Regime(msgspec.Struct, frozen=True, kw_only=True):
    """A way in which the market behaves for a while.

    ``volatility`` and ``activity`` are factors; ``trend`` is the drift of the latent price in ticks a second; ``news``
    the jumps a second; ``honesty`` how much the sizes of quotes betray where the price goes (1 fully, below 0 they
    mislead); ``momentum`` whether trend followers follow (1), stay out (0) or fade a move (-1);
    ``herding`` how much noise traders excite each other, and so how long an imbalance of trades lasts; ``swing``
    the deviation in ticks with which the latent price swings to and fro around itself.
    """

    name: str
    volatility: float
    trend: float
    activity: float
    news: float
    honesty: float
    momentum: float
    herding: float
    swing: float = 0.0


REGIMES = (
    Regime(name="calm", volatility=0.5, trend=0.0, activity=0.7, news=0.02, honesty=1.0, momentum=0.0, herding=0.6),
    Regime(name="rising", volatility=0.8, trend=2.5, activity=1.0, news=0.04, honesty=0.8, momentum=1.0, herding=1.3),
    Regime(name="falling", volatility=0.8, trend=-2.5, activity=1.0, news=0.04, honesty=0.8, momentum=1.0, herding=1.3),
    Regime(name="wild", volatility=2.0, trend=0.0, activity=1.6, news=0.15, honesty=0.3, momentum=1.0, herding=1.0),
    Regime(name="choppy", volatility=1.0, trend=0.0, activity=1.0, news=0.03, honesty=-0.9, momentum=-1.0, herding=0.3),
)
"""All ways to behave; each is followed by another one."""

STEP_NS = 50_000_000
SHORTEST_REGIME_S = 15.0
MEAN_REGIME_S = 45.0
PULL_S = 4 * 3600.0
"""The latent price is drawn back to where it began with this time constant, so that weeks of it stay sensible."""
SMALLEST_NEWS_TICKS = 12.0
LARGEST_NEWS_TICKS = 150.0


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The market has one regime, the calm one, and from ``after_ns`` of its time on another one.

    ``turn``: the latent price swings to and fro as fast as the book can follow, so that flow and moves tell the
    opposite of what they told; quotes betray the opposite of where it goes, and followers fade what they followed.
    ``storm``: volatility and news are three times as much.
    """

    after_ns: int
    kind: str

    def changed(self, regime: Regime) -> Regime:
        """The regime as it is from then on.

        >>> Change(after_ns=0, kind="storm").changed(REGIMES[0]).volatility
        1.5
        """
        if self.kind == "storm":
            more = {"volatility": 3.0 * regime.volatility, "news": 3.0 * regime.news}
            return msgspec.structs.replace(regime, name=f"{regime.name}, stormy", **more)
        turned = {"honesty": -regime.honesty, "momentum": -regime.momentum, "swing": SWING_TICKS}
        turned |= {
            "volatility": CALMER * regime.volatility,
            "trend": CALMER * regime.trend,
            "news": CALMER * regime.news,
        }
        return msgspec.structs.replace(regime, name=f"{regime.name}, turned", **turned)


CHANGES: Final = ("turn", "storm")
CALMER: Final = 0.3
"""What is left of volatility, trend and news: the market turns, and is not much wilder than before."""
SWING_TICKS: Final = 10.0
SWING_S: Final = 1.8
"""A whole swing; the book follows the latent price within half of it."""
CALM_S: Final = 8.0
"""The time constant with which a swing is forgotten."""


class World:
    """The latent price (ticks) and the regime of one symbol."""

    def __init__(self, spec: SymbolSpec, chance: random.Random, change: Change | None = None) -> None:
        self.price = float(spec.start)
        self._regimes: tuple[Regime, ...] = REGIMES if change is None else REGIMES[:1]
        self.regime = REGIMES[0]
        self.changes: list[tuple[int, str]] = []
        """The last regimes as (ns since the market began, name); at most 64."""
        self._spec = spec
        self._chance = chance
        self._until_ns = 0
        self._swung = (0.0, 0.0)
        self._to_come = change

    def act(self, now_ns: int) -> int:
        """Move by one step; the time of the next."""
        if now_ns >= self._until_ns:
            self._change(now_ns)
        if self._to_come is not None and now_ns >= self._to_come.after_ns:
            self._change_all(self._to_come)
            self.changes.append((now_ns, self.regime.name))
        chance, regime = self._chance, self.regime
        seconds = STEP_NS / SECOND_NS
        self.price += (self._spec.start - self.price) * seconds / PULL_S
        self.price += regime.trend * seconds
        self.price += chance.gauss(0.0, self._spec.volatility * regime.volatility * math.sqrt(seconds))
        if regime.swing:
            self.price += self._swing(regime.swing)
        if chance.random() < regime.news * seconds:
            jump = min(SMALLEST_NEWS_TICKS * chance.paretovariate(1.5), LARGEST_NEWS_TICKS)
            self.price += math.copysign(jump, chance.random() - 0.5)
        self.price = max(self.price, self._spec.start * 0.1)
        return now_ns + STEP_NS

    def _change(self, now_ns: int) -> None:
        first = not self.changes
        others = [each for each in self._regimes if first or each is not self.regime]
        self.regime = self._chance.choice(others or [self.regime])
        lasts = SHORTEST_REGIME_S + self._chance.expovariate(1.0 / (MEAN_REGIME_S - SHORTEST_REGIME_S))
        self._until_ns = now_ns + int(lasts * SECOND_NS)
        self.changes.append((now_ns, self.regime.name))
        del self.changes[:-64]

    def _change_all(self, change: Change) -> None:
        """The regime becomes another one at once; no chance is drawn for it."""
        place = self._regimes.index(self.regime)
        self._regimes = tuple(change.changed(each) for each in self._regimes)
        self.regime = self._regimes[place]
        self._to_come = None

    def _swing(self, size: float) -> float:
        """How far a swing of that deviation moves the latent price in a step: a damped oscillator that is kicked."""
        seconds = STEP_NS / SECOND_NS
        angle, kept = 2.0 * math.pi * seconds / SWING_S, math.exp(-seconds / CALM_S)
        kick = size * math.sqrt(1.0 - kept * kept)
        here, there = self._swung
        self._swung = (
            kept * (math.cos(angle) * here - math.sin(angle) * there) + self._chance.gauss(0.0, kick),
            kept * (math.sin(angle) * here + math.cos(angle) * there) + self._chance.gauss(0.0, kick),
        )
        return self._swung[0] - here
