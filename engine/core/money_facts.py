"""What moved money without a fill, told as facts; amounts are exact decimal text, below 0 where the strategy paid."""

from __future__ import annotations

from engine.core.order_facts import Fact


class Funding(Fact, frozen=True, tag=True):
    """A perpetual's funding was paid: ``amount`` in ``currency``.

    ``rate``: as a fraction of the position's value at the ``mark`` price; above 0 the longs pay.
    """

    symbol: str
    strategy: str
    rate: str
    mark: str
    amount: str
    currency: str
