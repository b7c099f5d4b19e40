"""Who trades on the simulated exchange: patient and noise traders, followers, informed traders and market makers.

An agent acts when its time has come and says when it wants to act again. All chance is drawn from its own seeded
source, all time is passed in (ns), and all it does goes through the same matching engine.
"""

from __future__ import annotations

import heapq
import math
import random
from typing import Protocol

from adapters.market_book import MatchingBook, Order
from adapters.market_world import SECOND_NS, SymbolSpec, World
from engine.core.types import Side

PATIENT, NOISE, FOLLOWER, INFORMED, FIRST_MAKER = range(1, 6)
"""Numbers of the owners of orders; market makers count up from ``FIRST_MAKER``."""

MAKERS = 5


class Agent(Protocol):
    """Somebody who trades."""

    def act(self, now_ns: int) -> int:
        """Do what is to be done now; the time of the next action, later than now."""


class _Trader:
    """What all agents hold."""

    def __init__(self, spec: SymbolSpec, book: MatchingBook, world: World, chance: random.Random) -> None:
        self.spec = spec
        self.book = book
        self.world = world
        self.chance = chance

    def size(self, scale: float = 1.0, tail: float = 1.7) -> int:
        """A heavy-tailed size in lots: Pareto of exponent ``tail``, at most 60 times its smallest."""
        drawn = min(self.chance.paretovariate(tail), 60.0)
        return max(1, round(self.spec.typical * scale * 0.25 * drawn))

    def wait(self, rate: float) -> int:
        """Nanoseconds until the next event of a Poisson process of ``rate`` a second."""
        return 1 + int(self.chance.expovariate(rate) * SECOND_NS)

    @property
    def mid(self) -> float:
        """The middle of the book in ticks; the latent price where nobody quotes."""
        return self.book.mid2 / 2 or self.world.price

    def gap(self) -> float:
        """How far the latent price is above the middle of the book, in ticks."""
        return self.world.price - self.mid


class Patient(_Trader):
    """Limit orders at power-law distances from the other side, often at round prices, taken back after a while."""

    RATE = 24.0
    LIFE_S = 80.0
    FARTHEST = 3_000

    def __init__(self, spec: SymbolSpec, book: MatchingBook, world: World, chance: random.Random) -> None:
        super().__init__(spec, book, world, chance)
        self._leaving: list[tuple[int, int, Order]] = []
        self._next_ns = 0

    def fill_book(self, now_ns: int) -> None:
        """The book that stands when the market opens."""
        for _ in range(int(self.RATE * self.LIFE_S)):
            self._place(now_ns)

    def act(self, now_ns: int) -> int:
        while self._leaving and self._leaving[0][0] <= now_ns:
            self.book.cancel(heapq.heappop(self._leaving)[2])
        if now_ns >= self._next_ns:
            self._place(now_ns)
            self._next_ns = now_ns + self.wait(self.RATE * self.world.regime.activity)
        return max(now_ns + 1, min(self._next_ns, self._leaving[0][0])) if self._leaving else self._next_ns

    def _place(self, now_ns: int) -> None:
        chance, book = self.chance, self.book
        side = Side.BUY if chance.random() < 0.5 else Side.SELL
        distance = min(int(3.0 * (chance.paretovariate(0.9) - 0.7)), self.FARTHEST)
        if side is Side.BUY:
            best = (book.asks.best or self.spec.start + 1) - 1
            price = best - distance
            price -= price % 10 if distance > 20 and chance.random() < 0.4 else 0
        else:
            best = (book.bids.best or self.spec.start) + 1
            price = best + distance
            price += -price % 10 if distance > 20 and chance.random() < 0.4 else 0
        life_s = chance.expovariate(1.0 / self.LIFE_S) if distance > 8 else chance.expovariate(1.0 / 4.0)
        order = book.limit(PATIENT, side, max(1, price), self.size(0.5 + min(distance, 400) / 200))
        heapq.heappush(self._leaving, (now_ns + 1 + int(life_s * SECOND_NS), order.number, order))


class Noise(_Trader):
    """Market orders without reason whose arrivals excite each other: a Hawkes process of buys and sells.

    The intensity of a side is ``BASE`` plus what each past trade adds: ``SAME`` after one of the same side and
    ``OTHER`` after one of the other, decaying by ``DECAY`` a second; the regime's herding scales ``SAME``. Drawn by
    thinning; trades of other agents count from the next candidate on.
    """

    BASE = 0.7
    SAME = 0.9
    OTHER = 0.2
    DECAY = 2.2
    MOST = 10.0

    def __init__(self, spec: SymbolSpec, book: MatchingBook, world: World, chance: random.Random) -> None:
        super().__init__(spec, book, world, chance)
        self._buying = 0.0
        self._selling = 0.0
        self._then_ns = 0
        self._bought = 0
        self._sold = 0

    def act(self, now_ns: int) -> int:
        fading = math.exp(-self.DECAY * (now_ns - self._then_ns) / SECOND_NS)
        bound = self._intensity()
        self._buying *= fading
        self._selling *= fading
        self._then_ns = now_ns
        drawn = self.chance.random() * bound
        base = self.BASE * self.world.regime.activity
        if drawn < base + self._buying:
            self.book.market(NOISE, Side.BUY, self.size(0.6, 1.4))
        elif drawn < 2 * base + self._buying + self._selling:
            self.book.market(NOISE, Side.SELL, self.size(0.6, 1.4))
        buys, sells = self.book.bought - self._bought, self.book.sold - self._sold
        self._bought, self._sold = self.book.bought, self.book.sold
        # A sweep through many orders is one decision: it excites as few do.
        buys, sells = min(buys, 3), min(sells, 3)
        same = self.SAME * self.world.regime.herding
        self._buying = min(self.MOST, self._buying + same * buys + self.OTHER * sells)
        self._selling = min(self.MOST, self._selling + same * sells + self.OTHER * buys)
        return now_ns + self.wait(self._intensity())

    def _intensity(self) -> float:
        return 2 * self.BASE * self.world.regime.activity + self._buying + self._selling


class Follower(_Trader):
    """Trades with a recent move of the price, or against it, as the regime has it."""

    RATE = 4.0
    FAST_S = 0.7
    SLOW_S = 4.0
    MOVE_TICKS = 2.0

    def __init__(self, spec: SymbolSpec, book: MatchingBook, world: World, chance: random.Random) -> None:
        super().__init__(spec, book, world, chance)
        self._fast = self._slow = float(spec.start)
        self._then_ns = 0

    def act(self, now_ns: int) -> int:
        seconds = (now_ns - self._then_ns) / SECOND_NS
        self._then_ns = now_ns
        mid = self.mid
        self._fast += (mid - self._fast) * (1.0 - math.exp(-seconds / self.FAST_S))
        self._slow += (mid - self._slow) * (1.0 - math.exp(-seconds / self.SLOW_S))
        push = (self._fast - self._slow) * self.world.regime.momentum / self.MOVE_TICKS
        if abs(push) > 1.0 and self.chance.random() < min(0.6, 0.15 * abs(push)):
            self.book.market(FOLLOWER, Side.BUY if push > 0 else Side.SELL, self.size(0.5))
        return now_ns + self.wait(self.RATE)


class Informed(_Trader):
    """Knows the latent price and buys below it and sells above it, the faster the farther the market is off."""

    RATE = 12.0
    NEAR_TICKS = 1.5
    FAR_TICKS = 12.0

    def act(self, now_ns: int) -> int:
        gap = self.gap()
        eager = (abs(gap) - self.NEAR_TICKS) / self.FAR_TICKS
        if eager > 0 and self.chance.random() < min(1.0, eager):
            self.book.market(INFORMED, Side.BUY if gap > 0 else Side.SELL, self.size(0.6 + min(eager, 1.5)))
        return now_ns + self.wait(self.RATE * self.world.regime.activity)


class Maker(_Trader):
    """Quotes a ladder on both sides around a price of its own, and leans it against what it holds.

    Its price is the middle of the book, moved part of the way to the latent price that it hears of with noise, and
    away from its inventory. The ladder is divided into bands of ticks behind the best price it wants; it keeps one
    order a band. The sizes of its best orders lean to where it expects the price to go, as far as the regime is honest.
    """

    RATE = 6.0
    BANDS = (0, 1, 2, 3, 5, 8, 12, 18, 26, 36)
    HEARS = 0.95
    MOST_TICKS = 30.0
    LEAN_TICKS = 8.0

    def __init__(self, spec: SymbolSpec, book: MatchingBook, world: World, chance: random.Random, number: int) -> None:
        super().__init__(spec, book, world, chance)
        self.number = number
        self.half_spread = chance.uniform(0.6, 1.8)
        self.noise = chance.uniform(1.5, 5.0)
        self._bids: list[Order] = []
        self._asks: list[Order] = []

    def act(self, now_ns: int) -> int:
        book = self.book
        heard = self.gap() + self.chance.gauss(0.0, self.noise)
        inventory = book.positions.get(self.number, 0) / (40.0 * self.spec.typical)
        moved = max(-self.MOST_TICKS, min(self.MOST_TICKS, self.HEARS * heard)) - max(-3.0, min(3.0, inventory))
        center = self.mid + moved
        lean = math.tanh(heard / self.LEAN_TICKS) * self.world.regime.honesty
        half_spread = self.half_spread * (0.6 + 0.4 * self.world.regime.volatility)
        bid = math.floor(center - half_spread + 0.5)
        ask = math.ceil(center + half_spread - 0.5)
        # What would cross is taken back first, so that the other side can then be quoted there.
        for order in [each for each in self._bids if each.price > bid] + [
            each for each in self._asks if each.price < ask
        ]:
            book.cancel(order)
        if book.asks.keys:
            bid = min(bid, book.asks.best - 1)
        if book.bids.keys:
            ask = max(ask, book.bids.best + 1, bid + 1)
        self._bids = self._quote(Side.BUY, self._bids, bid, 1.0 + 0.8 * lean)
        self._asks = self._quote(Side.SELL, self._asks, ask, 1.0 - 0.8 * lean)
        return now_ns + self.wait(self.RATE * (0.5 + 0.5 * self.world.regime.activity))

    def _quote(self, side: Side, mine: list[Order], target: int, weight: float) -> list[Order]:
        """Keep one order a band behind ``target``; what stands in no band, or is much too large, goes."""
        kept: list[Order] = []
        by_distance = sorted((int(side) * (target - order.price), order) for order in mine if order.size)
        place = 0
        for band, start in enumerate(self.BANDS[:-1]):
            end = self.BANDS[band + 1]
            wanted = weight if band < 3 else 1.0
            scale = wanted * (0.8 + 0.45 * band)
            found = None
            while place < len(by_distance) and by_distance[place][0] < end:
                distance, order = by_distance[place]
                place += 1
                is_too_large = band < 3 and order.size > 3.0 * scale * self.spec.typical and self.chance.random() < 0.5
                if distance < start or found is not None or is_too_large:
                    self.book.cancel(order)
                else:
                    found = order
            if found is None:
                price = target - int(side) * self.chance.randrange(start, end)
                found = self.book.limit(self.number, side, max(1, price), self.size(scale * 1.8, 2.5))
            if found.size:
                kept.append(found)
        for _, order in by_distance[place:]:
            self.book.cancel(order)
        return kept


def crowd(spec: SymbolSpec, book: MatchingBook, world: World, seed: str) -> tuple[Patient, list[Agent]]:
    """Everybody who trades a symbol, each with a seeded source of chance of its own; the first fills the book."""

    def chance(name: str) -> random.Random:
        return random.Random(f"{seed}:{spec.symbol}:{name}")

    patient = Patient(spec, book, world, chance("patient"))
    makers = [Maker(spec, book, world, chance(f"maker {each}"), FIRST_MAKER + each) for each in range(MAKERS)]
    others: list[Agent] = [
        Noise(spec, book, world, chance("noise")),
        Follower(spec, book, world, chance("follower")),
        Informed(spec, book, world, chance("informed")),
    ]
    return patient, [patient, *makers, *others]
