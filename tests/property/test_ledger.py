"""Money is conserved: the ledger against an independent account in fractions, over random fills, fees and marks."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.account.ledger import Ledger
from engine.core.account.money import ONE
from engine.core.types import ContractKind, Instrument

INSTRUMENTS = (
    Instrument(venue="v", symbol="SPOT", base="BTC", quote="USDT", price_decimals=2, size_decimals=5),
    Instrument(
        venue="v",
        symbol="LINEAR",
        base="ETH",
        quote="USDT",
        price_decimals=1,
        size_decimals=3,
        kind=ContractKind.LINEAR,
        contract_size=Decimal("0.01"),
    ),
    Instrument(
        venue="v",
        symbol="INVERSE",
        base="BTC",
        quote="USD",
        price_decimals=1,
        size_decimals=0,
        kind=ContractKind.INVERSE,
        contract_size=Decimal(100),
    ),
)
STRATEGIES = ("a", "b", "c")
CASH = {"USDT": Decimal("100000.25"), "BTC": Decimal("1.5")}
RATES = [Decimal(text) for text in ("0", "0.001", "-0.00025", "0.00075", "0.0004")]


class Filled(msgspec.Struct, frozen=True):
    strategy: str
    symbol: int
    side: int
    price: int
    size: int
    rate: Decimal


class Marked(msgspec.Struct, frozen=True):
    symbol: int
    price2: int


fills = st.builds(
    Filled,
    strategy=st.sampled_from(STRATEGIES),
    symbol=st.integers(0, 2),
    side=st.sampled_from((1, -1)),
    price=st.integers(1, 10**8),
    size=st.one_of(st.integers(1, 10), st.integers(1, 10**9)),
    rate=st.sampled_from(RATES),
)
marks = st.builds(Marked, symbol=st.integers(0, 2), price2=st.integers(2, 2 * 10**8))
histories = st.lists(st.one_of(fills, marks), max_size=40)


def ceiling(value: Fraction) -> Fraction:
    """Up to the next 1e-30: the stated rounding of a fee."""
    return Fraction(-(-(value * ONE).numerator // (value * ONE).denominator), ONE)


def nearest(value: Fraction) -> Fraction:
    """To 1e-30, half to even: the stated rounding of an inverse contract's value."""
    return Fraction(round(value * ONE), ONE)


def value_of(instrument: Instrument, price: Fraction, size: int) -> Fraction:
    contracts = Fraction(size, 10**instrument.size_decimals) * Fraction(instrument.contract_size)
    if instrument.kind is ContractKind.INVERSE:
        return nearest(contracts / price)
    return contracts * price


class Oracle:
    """Knows no cost and no realised profit: only flows of money and what a position is worth now."""

    def __init__(self) -> None:
        self.flow: dict[tuple[str, int], Fraction] = defaultdict(Fraction)
        self.fees: dict[tuple[str, int], Fraction] = defaultdict(Fraction)
        self.size: dict[tuple[str, int], int] = defaultdict(int)
        self.marks2 = [0, 0, 0]

    def fill(self, filled: Filled) -> Fraction:
        instrument = INSTRUMENTS[filled.symbol]
        key = filled.strategy, filled.symbol
        value = value_of(instrument, Fraction(filled.price, 10**instrument.price_decimals), filled.size)
        fee = ceiling(value * Fraction(filled.rate))
        sign = 1 if instrument.kind is ContractKind.INVERSE else -1
        self.flow[key] += sign * filled.side * value
        self.fees[key] += fee
        self.size[key] += filled.side * filled.size
        return fee

    def worth(self, key: tuple[str, int]) -> Fraction:
        """What closing everything at the mark would bring; None of it is known before the first mark."""
        instrument, size = INSTRUMENTS[key[1]], self.size[key]
        if not size:
            return Fraction(0)
        price = Fraction(self.marks2[key[1]], 2 * 10**instrument.price_decimals)
        sign = 1 if (size > 0) != (instrument.kind is ContractKind.INVERSE) else -1
        return sign * value_of(instrument, price, abs(size))

    def profit(self, key: tuple[str, int]) -> Fraction:
        return self.flow[key] + self.worth(key) - self.fees[key]


def run(history: list[Filled | Marked]) -> tuple[Ledger, Oracle]:
    """Both accounts after the history; every symbol is marked before its first fill is valued."""
    ledger, oracle = Ledger(INSTRUMENTS, CASH), Oracle()
    for happened in [*(Marked(symbol, 20_001) for symbol in range(3)), *history]:
        if isinstance(happened, Marked):
            ledger.mark(happened.symbol, happened.price2)
            oracle.marks2[happened.symbol] = happened.price2
        else:
            fee, currency = ledger.fill(
                happened.strategy, happened.symbol, happened.side, happened.price, happened.size, happened.rate
            )
            assert Fraction(fee) == oracle.fill(happened)
            assert currency == INSTRUMENTS[happened.symbol].settle
    return ledger, oracle


def by_currency(parts: dict[tuple[str, int], Fraction], strategy: str | None = None) -> dict[str, Fraction]:
    totals: dict[str, Fraction] = {"USDT": Fraction(0), "BTC": Fraction(0)}
    for (name, symbol), value in parts.items():
        if strategy in (None, name):
            totals[INSTRUMENTS[symbol].settle] += value
    return totals


def exact(amounts: dict[str, Decimal]) -> dict[str, Fraction]:
    return {currency: Fraction(value) for currency, value in amounts.items()}


@given(histories)
@settings(max_examples=300, deadline=None)
def test_money_when_anything_trades_then_cash_positions_and_fees_are_exactly_equal(
    history: list[Filled | Marked],
) -> None:
    ledger, oracle = run(history)
    profits = {key: oracle.profit(key) for key in list(oracle.size)}
    for strategy in (None, *STRATEGIES):
        assert exact(ledger.profit(strategy)) == by_currency(profits, strategy)
        assert exact(ledger.fees(strategy)) == by_currency(oracle.fees, strategy)
        realised, unrealised, fees = ledger.realised(strategy), ledger.unrealised(strategy), ledger.fees(strategy)
        for currency, profit in ledger.profit(strategy).items():
            parts = Fraction(realised[currency]) + Fraction(unrealised[currency]) - Fraction(fees[currency])
            assert parts == Fraction(profit)
    initial = exact(CASH)
    for currency, equity in exact(ledger.equity()).items():
        assert equity == initial[currency] + Fraction(ledger.profit()[currency])
    # Cash is what flowed, and of margined contracts what was realised: the rest of the flow is cost of what is open.
    cash = exact(ledger.cash())
    spot = sum((oracle.flow[key] for key in oracle.size if key[1] == 0), Fraction(0))
    inventory = Fraction(ledger.position(0), 10**5)
    margined = {"USDT": Fraction(0), "BTC": Fraction(0)}
    for entry in ledger.entries():
        if entry.symbol:
            margined[INSTRUMENTS[entry.symbol].settle] += Fraction(entry.realised, ONE)
    paid = by_currency(oracle.fees)
    assert cash["USDT"] == initial["USDT"] + spot + margined["USDT"] - paid["USDT"]
    assert cash["BTC"] == initial["BTC"] + inventory + margined["BTC"] - paid["BTC"]
    # What was realised and what the open part cost are all that ever flowed.
    for entry in ledger.entries():
        assert Fraction(entry.realised - entry.cost, ONE) == oracle.flow[entry.strategy, entry.symbol]
        assert entry.size or entry.cost == 0


@given(histories)
@settings(max_examples=100, deadline=None)
def test_totals_when_strategies_trade_then_they_are_the_sums(history: list[Filled | Marked]) -> None:
    ledger, _ = run(history)
    for symbol in range(3):
        assert ledger.position(symbol) == sum(ledger.position(symbol, strategy) for strategy in STRATEGIES)
    for read in (ledger.realised, ledger.unrealised, ledger.fees, ledger.profit):
        for currency, total in read().items():
            assert Fraction(total) == sum(Fraction(read(strategy)[currency]) for strategy in STRATEGIES)
    for currency, equity in ledger.equity().items():
        own = sum(Fraction(ledger.equity(strategy)[currency]) for strategy in STRATEGIES)
        assert Fraction(equity) == Fraction(CASH[currency]) + own


crowded = st.lists(
    st.tuples(st.sampled_from((1, -1)), st.integers(1, 10**8), st.integers(1, 30), st.sampled_from(RATES)),
    min_size=1,
    max_size=12,
)


@given(st.integers(0, 2), crowded, st.data())
@settings(max_examples=300, deadline=None)
def test_split_when_fills_come_in_parts_then_nothing_but_stated_rounding_changes(
    symbol: int, history: list[tuple[int, int, int, Decimal]], data: st.DataObject
) -> None:
    whole, parts = Ledger(INSTRUMENTS, CASH), Ledger(INSTRUMENTS, CASH)
    count = 0
    for side, price, size, rate in history:
        whole.fill("a", symbol, side, price, size, rate)
        first = data.draw(st.integers(0, size - 1))
        count += 1 + bool(first)
        for part in (first, size - first):
            if part:
                parts.fill("a", symbol, side, price, part, rate)
        assert whole.position(symbol) == parts.position(symbol)
        if symbol != 2:
            assert whole.snapshot() == parts.snapshot()
            continue
        # Inverse: each value is off by at most half of 1e-30, each fee by less than one more.
        for currency, profit in whole.profit().items():
            assert abs(Fraction(profit) - Fraction(parts.profit()[currency])) <= Fraction(4 * count, ONE)


@given(st.integers(0, 2), crowded, st.data())
@settings(max_examples=200, deadline=None)
def test_move_when_fills_are_booked_as_one_then_profit_and_position_are_those_of_one_by_one(
    symbol: int, history: list[tuple[int, int, int, Decimal]], data: st.DataObject
) -> None:
    single, summed = Ledger(INSTRUMENTS, CASH), Ledger(INSTRUMENTS, CASH)
    is_inverse = INSTRUMENTS[symbol].kind is ContractKind.INVERSE
    signed = flow = fees = 0
    for side, price, size, rate in history:
        fee, _ = single.charge("a", symbol, side, price, size, rate)
        value = single.worth[symbol].settled(price, size)
        signed, flow, fees = signed + side * size, flow + side * (value if is_inverse else -value), fees + fee
        if data.draw(st.booleans()):
            summed.move("a", symbol, signed, flow, fees)
            signed = flow = fees = 0
    summed.move("a", symbol, signed, flow, fees)
    for price2 in (0, 2 * history[0][1] + 1):
        for ledger in (single, summed):
            ledger.mark(symbol, price2)
        if price2 or not single.position(symbol):
            assert single.profits() == summed.profits()
    assert single.position(symbol) == summed.position(symbol)
    if INSTRUMENTS[symbol].kind is ContractKind.SPOT:
        assert single.cash() == summed.cash()


@given(st.integers(0, 2), crowded)
@settings(max_examples=200, deadline=None)
def test_realised_when_parts_close_then_it_is_by_the_average_cost(
    symbol: int, history: list[tuple[int, int, int, Decimal]]
) -> None:
    ledger = Ledger(INSTRUMENTS, CASH)
    instrument = INSTRUMENTS[symbol]
    sign = -1 if instrument.kind is ContractKind.INVERSE else 1
    position, cost, realised = 0, Fraction(0), Fraction(0)
    for side, price, size, rate in history:
        ledger.fill("a", symbol, side, price, size, rate)
        each = sign * value_of(instrument, Fraction(price, 10**instrument.price_decimals), size) / size
        closing = min(size, abs(position)) if side * position < 0 else 0
        if closing:
            average = cost / position
            realised += -side * closing * (each - average)
            cost += side * closing * average
        cost += side * (size - closing) * each
        position += side * size
        (entry,) = ledger.entries()
        # One rounding a fill, each of less than 1e-30.
        assert abs(Fraction(entry.realised, ONE) - realised) <= Fraction(len(history), ONE)
        assert abs(Fraction(entry.cost, ONE) - cost) <= Fraction(len(history), ONE)


@given(histories, histories)
@settings(max_examples=60, deadline=None)
def test_snapshot_when_restored_then_the_account_goes_on_as_if_never_stopped(
    before: list[Filled | Marked], after: list[Filled | Marked]
) -> None:
    ledger, _ = run(before)
    restored = Ledger(INSTRUMENTS[::-1], {})
    restored.restore(msgspec.json.decode(msgspec.json.encode(ledger.snapshot())))
    for happened in after:
        for account, mirrored in ((ledger, False), (restored, True)):
            symbol = 2 - happened.symbol if mirrored else happened.symbol
            if isinstance(happened, Marked):
                account.mark(symbol, happened.price2)
            else:
                account.fill(happened.strategy, symbol, happened.side, happened.price, happened.size, happened.rate)
    assert restored.cash() == ledger.cash()
    assert restored.profit() == ledger.profit()
    assert restored.equity("a") == ledger.equity("a")
