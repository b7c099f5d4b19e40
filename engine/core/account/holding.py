"""One strategy's position in one symbol, by the average-cost method, in exact integers."""

from __future__ import annotations

from engine.core.account.money import round_half_even


class Entry:
    """A position and what it cost; amounts are integers of 1e-30 of the settlement currency.

    ``cost`` is what the open position cost so far (negative where opening it brought money in). ``grown_size`` and
    ``grown_cost`` are position and cost when it last grew. ``owed`` is a fee in the base asset, at 1e-30 of it, that is
    below one size unit: it is paid, and the position gives up a unit once it adds up to one.
    """

    __slots__ = ("cost", "fees", "grown_cost", "grown_size", "owed", "realised", "size", "strategy", "symbol")

    def __init__(self, strategy: str, symbol: int) -> None:
        self.strategy = strategy
        self.symbol = symbol
        self.size = 0
        self.cost = 0
        self.grown_size = 0
        self.grown_cost = 0
        self.realised = 0
        self.fees = 0
        self.owed = 0

    def apply(self, signed_size: int, flow: int) -> int:
        """Book a fill that moves the position by ``signed_size`` for ``flow`` of money; returns the profit realised."""
        before = self.size
        realised = 0
        if before and (before > 0) != (signed_size > 0):
            closing = min(abs(before), abs(signed_size))
            closing_flow = flow * closing // abs(signed_size)
            left = abs(before) - closing
            # The open part keeps the ceiling of its share, so what is released is the floor.
            kept = -(-self.grown_cost * left // self.grown_size)
            realised = closing_flow - (self.cost - kept)
            self.realised += realised
            self.cost = kept
            if closing == abs(signed_size):
                self.size = before + signed_size
                return realised
            flow -= closing_flow
        self.size = before + signed_size
        self.cost -= flow
        self.grown_size = abs(self.size)
        self.grown_cost = self.cost
        return realised

    def split(self, new: int, old: int, value: int) -> tuple[int, int]:
        """Turn every ``old`` units into ``new`` ones; returns the profit realised and the cash in lieu.

        A part of a unit is sold: it gets its share of ``value``, which is what the whole position was worth. The cost
        stays with what is left.
        """
        side = 1 if self.size > 0 else -1
        fine = abs(self.size) * new  # in units of 1 / old
        rest = fine % old
        cash = side * round_half_even(value * rest, fine) if rest else 0
        self.size, self.grown_size = self.size * new, self.grown_size * new
        realised = self.apply(-side * rest, cash) if rest else 0
        self.size //= old
        self.grown_size, self.grown_cost = abs(self.size), self.cost
        return realised, cash
