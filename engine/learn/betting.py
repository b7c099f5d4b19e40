"""A test that may be looked at after every number: wealth that can only grow by chance if there is nothing to find.

Testing by betting (Waudby-Smith and Ramdas, *Estimating means of bounded random variables by betting*, JRSS B 2024):
start with a wealth of 1 and bet a share of it, chosen before the number is seen, that the number is above 0. While the
mean given the past is not above 0 the wealth is a supermartingale, so the chance that it *ever* reaches 1 / alpha is at
most alpha (Ville 1939), whenever one looks and whatever the numbers' distribution or dependence.

The numbers must be bounded for that, so they are cut, and it is the mean of what is left that the claim is about. The
difference of two that are exchangeable is symmetric, and what is symmetric has a mean of 0 after the cut too; of a
number that wins a little often and loses much seldom the cut hides a part of the loss (README.md has figures).
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

MOST: Final = 0.5
"""Of the wealth at stake at most: a number is at least -1 after scaling, so half of the wealth always stays."""

PRIOR: Final = 20.0
"""Numbers that the first guesses of mean and square count for."""

FIRST: Final = 30
"""Numbers that only tell the scale; nothing is bet on them."""

WIDE: Final = 4.0
"""Root mean squares of the numbers before it that a number is divided by, so that it seldom needs to be cut."""

DECAY: Final = 0.999
"""Of the running mean square, a number."""


class Bet(msgspec.Struct):
    """Wealth on the claim that numbers have a mean above 0.

    Each is divided by ``WIDE`` root mean squares of those before it and cut at -1 and 1: a scale that was known before
    changes no sign of a mean. The share is the one that would have grown fastest so far, near mean / mean square.
    ``carries``: what a cut hid of a number below -1 is taken off the next ones, so that every number is at most what it
    would be without; for money, where a loss that was too large to count stays a loss.

    >>> bet = Bet()
    >>> for _ in range(200):
    ...     bet.update(0.3)
    >>> bet.wealth > 1e3, bet.count
    (True, 200)
    >>> nothing = Bet()
    >>> for number in range(1000):
    ...     nothing.update(0.3 if number % 2 else -0.3)
    >>> nothing.best < 5.0
    True
    """

    wealth: float = 1.0
    best: float = 1.0
    count: int = 0
    total: float = 0.0
    scaled: float = 0.0
    squares: float = 0.0
    bets: int = 0
    weight: float = 0.0
    running: float = 0.0
    carries: bool = False
    debt: float = 0.0  # not above 0

    def update(self, number: float) -> None:
        """Bet, and see the number."""
        scale = WIDE * math.sqrt(self.running / self.weight) if self.count >= FIRST else 0.0
        if scale > 0.0:
            value = min(1.0, max(-1.0, (number + self.debt) / scale))
            if self.carries:
                self.debt = min(0.0, number + self.debt - value * scale)
            mean = self.scaled / (self.bets + PRIOR)
            square = (self.squares + PRIOR / (WIDE * WIDE)) / (self.bets + PRIOR)
            share = min(MOST, max(0.0, mean / square))
            self.wealth = min(1e300, self.wealth * (1.0 + share * value))
            self.best = max(self.best, self.wealth)
            self.bets += 1
            self.scaled += value
            self.squares += value * value
        self.count += 1
        self.total += number
        self.weight = DECAY * self.weight + 1.0
        self.running = DECAY * self.running + number * number

    @property
    def mean(self) -> float:
        """Of the numbers so far."""
        return self.total / self.count if self.count else 0.0
