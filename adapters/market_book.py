"""A matching engine of individual orders for one symbol: price first, then time; limit, market and cancel.

Prices are whole ticks and sizes whole lots, so nothing here rounds. There is no clock and no chance in this file.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple

from engine.core.types import Side


class Order:
    """A resting order; ``size`` is what is left of it, in lots, and 0 once it is filled or cancelled."""

    __slots__ = ("number", "owner", "price", "side", "size")

    def __init__(self, number: int, owner: int, side: Side, price: int, size: int) -> None:
        self.number = number
        self.owner = owner
        self.side = side
        self.price = price
        self.size = size


class Fill(NamedTuple):
    """One trade: ``taker`` and ``maker`` are owners, ``side`` is the taker's, price in ticks, size in lots."""

    number: int
    side: Side
    price: int
    size: int
    taker: int
    maker: int


class Level:
    """The orders at one price in the order of their arrival, and their total size in lots."""

    __slots__ = ("orders", "total")

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.total = 0


class Half:
    """One side of the book; ``keys`` is sorted, best last (a bid's key is its price, an ask's is minus its price)."""

    __slots__ = ("keys", "levels", "sign")

    def __init__(self, side: Side) -> None:
        self.sign = int(side)
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}

    @property
    def best(self) -> int:
        """The best price in ticks; 0 where there is none."""
        return self.keys[-1] * self.sign if self.keys else 0

    @property
    def best_size(self) -> int:
        """The total at the best price in lots; 0 where there is none."""
        return self.levels[self.best].total if self.keys else 0

    def total(self, price: int) -> int:
        """The total at a price in lots."""
        level = self.levels.get(price)
        return level.total if level is not None else 0

    def depth(self, count: int) -> list[tuple[int, int]]:
        """The best ``count`` levels as (price in ticks, total in lots), best first."""
        best_first = self.keys[: -count - 1 : -1]
        return [(key * self.sign, self.levels[key * self.sign].total) for key in best_first]

    def add(self, order: Order) -> None:
        level = self.levels.get(order.price)
        if level is None:
            level = self.levels[order.price] = Level()
            insort(self.keys, order.price * self.sign)
        level.orders[order.number] = order
        level.total += order.size

    def take(self, order: Order, size: int) -> None:
        """Take ``size`` lots off a resting order, and the order and its level away where nothing is left."""
        level = self.levels[order.price]
        order.size -= size
        level.total -= size
        if order.size == 0:
            del level.orders[order.number]
        if level.total == 0:
            del self.levels[order.price]
            del self.keys[bisect_left(self.keys, order.price * self.sign)]


class MatchingBook:
    """Both sides of one symbol.

    ``update_id`` grows by one with each command that changes the book. ``changed`` collects the (side, price) of the
    levels that changed and ``fills`` the trades, both until the owner of the book takes them away; ``positions`` is
    what each owner has bought less what it has sold, in lots: they sum to zero, as each trade has a buyer and a seller.

    >>> book = MatchingBook()
    >>> first, second = book.limit(1, Side.SELL, 101, 5), book.limit(2, Side.SELL, 101, 5)
    >>> book.market(3, Side.BUY, 7)
    0
    >>> [(fill.maker, fill.size) for fill in book.fills], book.asks.depth(5), book.positions
    ([(1, 5), (2, 2)], [(101, 3)], {3: 7, 1: -5, 2: -2})
    """

    def __init__(self) -> None:
        self.bids = Half(Side.BUY)
        self.asks = Half(Side.SELL)
        self.update_id = 0
        self.trade_id = 0
        self.changed: set[tuple[Side, int]] = set()
        self.fills: list[Fill] = []
        self.positions: dict[int, int] = {}
        self.bought = 0
        self.sold = 0
        self._order_number = 0

    @property
    def mid2(self) -> int:
        """Twice the middle of the book: best bid plus best ask, in ticks; of one side alone twice that, 0 of none."""
        bid, ask = self.bids.best, self.asks.best
        return (bid or ask) + (ask or bid)

    def half(self, side: Side) -> Half:
        """The side on which an order of ``side`` rests."""
        return self.bids if side is Side.BUY else self.asks

    def limit(self, owner: int, side: Side, price: int, size: int) -> Order:
        """Trade what the price allows and rest the remainder; the order's ``size`` says what rests.

        Raises:
            ValueError: a price or size that is not positive.
        """
        if price <= 0 or size <= 0:
            raise ValueError(f"expected a price and a size above 0, found {price} ticks and {size} lots")
        left = self._match(owner, side, size, price)
        self._order_number += 1
        order = Order(self._order_number, owner, side, price, left)
        if left:
            self.half(side).add(order)
            self.changed.add((side, price))
        self.update_id += 1
        return order

    def market(self, owner: int, side: Side, size: int) -> int:
        """Trade at whatever prices there are; the lots that found nobody are dropped and returned.

        Raises:
            ValueError: a size that is not positive.
        """
        if size <= 0:
            raise ValueError(f"expected a size above 0, found {size} lots")
        left = self._match(owner, side, size, None)
        if left < size:
            self.update_id += 1
        return left

    def cancel(self, order: Order) -> bool:
        """Take a resting order out; False where nothing of it rests."""
        if order.size == 0:
            return False
        self.half(order.side).take(order, order.size)
        self.changed.add((order.side, order.price))
        self.update_id += 1
        return True

    def _match(self, taker: int, side: Side, size: int, limit: int | None) -> int:
        """Fill against the other side, best price first and oldest order first; the lots that are left."""
        other = self.asks if side is Side.BUY else self.bids
        sign = int(side)
        while size and other.keys:
            price = other.best
            if limit is not None and price * sign > limit * sign:
                break
            self.changed.add((side.opposite, price))
            level = other.levels[price]
            while size and level.orders:
                order = next(iter(level.orders.values()))
                traded = min(size, order.size)
                other.take(order, traded)
                size -= traded
                self._trade(side, price, traded, taker, order.owner)
        return size

    def _trade(self, side: Side, price: int, size: int, taker: int, maker: int) -> None:
        self.trade_id += 1
        self.fills.append(Fill(self.trade_id, side, price, size, taker, maker))
        signed = size * side
        self.positions[taker] = self.positions.get(taker, 0) + signed
        self.positions[maker] = self.positions.get(maker, 0) - signed
        if side is Side.BUY:
            self.bought += 1
        else:
            self.sold += 1
