"""Whatever is asked, in whatever order fills come: what risk let through never breaks the limits."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.account.ledger import Ledger
from engine.core.account.money import ONE
from engine.core.book import ASK, BID, CHANGED_NS, IS_READY, Books
from engine.core.desk.risk import Approved, Intent, Risk, RiskSettings
from engine.core.types import ContractKind, Instrument, OrderKind, TimeInForce

LIMIT = 3_000  # size units: 300 of notional at the mid
INSTRUMENTS = (
    Instrument(venue="v", symbol="S", base="BTC", quote="USDT", price_decimals=2, size_decimals=3),
    Instrument(
        venue="v", symbol="L", base="BTC", quote="USDT", price_decimals=2, size_decimals=3, kind=ContractKind.LINEAR
    ),
)
asked = st.tuples(
    st.integers(0, 1), st.sampled_from(("a", "b")), st.sampled_from((1, -1)), st.integers(1, 4_000), st.integers(0, 3)
)


@given(st.lists(asked, max_size=60))
@settings(max_examples=300, deadline=None)
def test_position_when_every_working_order_fills_then_it_is_within_the_limit(
    history: list[tuple[int, str, int, int, int]],
) -> None:
    books = Books(INSTRUMENTS)
    books.top[:, BID], books.top[:, ASK], books.top[:, IS_READY], books.top[:, CHANGED_NS] = 9_999, 10_001, 1, 1
    ledger = Ledger(INSTRUMENTS, {"USDT": Decimal(500)})
    risk = Risk(
        RiskSettings(max_position_notional=Decimal(300), max_orders_per_window=0, drawdown_fraction=Decimal(0)),
        books,
        ledger,
    )
    working: list[Intent] = []

    def sizes(symbol: int, side: int) -> int:
        return sum(intent.size for intent in working if (intent.symbol, intent.side) == (symbol, side))

    for number, (symbol, strategy, side, size, fate) in enumerate(history):
        intent = Intent(number, strategy, symbol, side, OrderKind.LIMIT, TimeInForce.GTC, 10_000, size, False)
        if isinstance(risk.check(intent, 1, sizes(symbol, 1), sizes(symbol, -1)), Approved):
            working.append(intent)
        if working and fate:
            done = working.pop(number % len(working))
            if fate == 1:  # filled; else it was cancelled
                ledger.fill(done.strategy, done.symbol, done.side, done.price, done.size, Decimal(0))
        for index in range(2):
            assert ledger.position(index) + sizes(index, 1) <= LIMIT
            assert ledger.position(index) - sizes(index, -1) >= -LIMIT
        # A spot account neither sells what it lacks nor spends what it has not.
        assert ledger.position(0) - sizes(0, -1) >= 0
        assert ledger.balance_of("USDT") >= sizes(0, 1) * ONE // 10
