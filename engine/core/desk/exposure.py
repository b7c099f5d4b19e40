"""What working orders would add to the account: sizes still to buy and to sell, and the money kept back for them.

Two orders of which one cancels the other count once, as the larger of them: they cannot both fill.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from engine.core.account.ledger import Ledger
from engine.core.desk.orders import Working
from engine.core.types import Instrument


class Exposure:
    """Counts every order as its owner knows it, in flight included."""

    def __init__(self, instruments: Sequence[Instrument], ledger: Ledger) -> None:
        self._quotes = tuple(instrument.quote for instrument in instruments)
        self._ledger = ledger
        self._working = [[0, 0] for _ in instruments]  # per symbol: sizes still to buy, to sell
        self._promised: dict[str, int] = {}
        self._pairs: dict[int, dict[int, tuple[int, int]]] = {}

    def working(self, symbol: int) -> tuple[int, int]:
        """Sizes still to buy and to sell of a symbol over all strategies."""
        buying, selling = self._working[symbol]
        return buying, selling

    def promised(self, currency: str) -> int:
        """Money that working buys on spot markets would take, as an exact amount."""
        return self._promised.get(currency, 0)

    def hold(self, order: Working, size: int) -> None:
        """Count ``size`` of an order from now on, in place of what it counted before."""
        intent = order.intent
        money = 0
        if order.promised and size:
            money = self._ledger.worth[intent.symbol].notional2(2 * order.promised, size) // 2
        more, more_money = size - order.held, money - order.held_money
        if intent.terms.pair:
            legs = self._pairs.setdefault(intent.terms.pair, {})
            before = _largest(legs)
            legs[intent.order] = (size, money)
            after = _largest(legs)
            more, more_money = after[0] - before[0], after[1] - before[1]
            if after == (0, 0):
                del self._pairs[intent.terms.pair]
        order.held, order.held_money = size, money
        self._working[intent.symbol][0 if intent.side > 0 else 1] += more
        if more_money:
            quote = self._quotes[intent.symbol]
            self._promised[quote] = self._promised.get(quote, 0) + more_money

    @contextmanager
    def without(self, orders: Iterable[Working]) -> Iterator[None]:
        """Within it these orders do not count: risk looks at what takes their place."""
        held = [(order, order.held) for order in orders]
        for order, _ in held:
            self.hold(order, 0)
        try:
            yield
        finally:
            for order, size in held:
                self.hold(order, size)


def _largest(legs: dict[int, tuple[int, int]]) -> tuple[int, int]:
    return max((size for size, _ in legs.values()), default=0), max((money for _, money in legs.values()), default=0)
