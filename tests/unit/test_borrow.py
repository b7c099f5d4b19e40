"""Interest on debts by the hour, worked out by hand, and against an account in fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.account.borrow import BorrowSettings
from engine.core.account.money import ONE
from engine.core.money_facts import Interest
from engine.core.types import Side
from tests.market import MS, NO_LATENCY, Rig, S, Script, clock, snapshot

HOUR = 3600 * S
RATES = BorrowSettings(hourly={"BTC": Decimal("0.0001"), "USDT": Decimal("0.00002")})
PAPER = msgspec.structs.replace(NO_LATENCY, taker_fee=Decimal(0), borrow=RATES)


def rig(*orders: tuple[int, Side, int], scripts: int = 1, cash: dict[str, Decimal] | None = None) -> Rig:
    """``orders``: when (ns), side and size, of each strategy."""

    def timed(name: str, ctx: Any) -> None:
        _, side, size = orders[int(name)]
        ctx.order("BTCUSDT", side, size)

    def started(_: Any, ctx: Any) -> None:
        for number, (ns, _, _) in enumerate(orders):
            ctx.timer(str(number), ns / S)

    made = [Script({"start": started, "timer": timed}) for _ in range(scripts)]
    found = Rig(*made, paper=PAPER, cash=cash or {"USDT": Decimal(1000)})
    found.feed(snapshot(MS, [(100_000, 10**9)], [(100_000 + 2, 10**9)]))
    return found


def test_interest_when_short_then_the_coin_is_charged_at_each_full_hour() -> None:
    found = rig((10 * MS, Side.SELL, 2000))
    found.feed(clock(HOUR - 1))
    assert found.facts(Interest) == []
    found.feed(clock(HOUR), clock(2 * HOUR))
    # 2 BTC at 0.01 % an hour; the second hour's debt is 2.0002 BTC.
    assert [(fact.debt, fact.amount) for fact in found.facts(Interest)] == [("2", "-0.0002"), ("2.0002", "-0.00020002")]
    assert found.engine.ledger.cash()["BTC"] == Decimal("-2.00040002")
    assert found.engine.summary()["carry"] == {"interest": {"BTC": "-0.00040002"}}


def test_interest_when_paid_back_within_the_hour_then_that_hour_counts_whole_and_no_other() -> None:
    found = rig((10 * MS, Side.SELL, 2000), (20 * MS, Side.BUY, 2000))
    found.feed(clock(3 * HOUR))
    assert [fact.debt for fact in found.facts(Interest)] == ["2", "0.0002", "0.00020002"]
    # What is owed from then on is only the interest that nobody paid back.


def test_interest_when_bought_on_credit_then_the_money_is_charged() -> None:
    found = rig((10 * MS, Side.BUY, 2000))
    found.feed(clock(HOUR))
    # 2 BTC at 1,000.02 with 1,000 in hand: 1,000.04 owed.
    assert [(fact.currency, fact.debt) for fact in found.facts(Interest)] == [("USDT", "1000.04")]
    assert found.engine.ledger.cash()["USDT"] == Decimal("-1000.04") * (1 + Decimal("0.00002"))


def test_interest_when_two_owe_then_they_share_it_by_what_they_owe() -> None:
    found = rig((10 * MS, Side.SELL, 1000), scripts=2)
    found.engine.ledger.fill("s1", 0, -1, 100_000, 2000, Decimal(0))
    found.engine.charges.borrowing.moved(found.engine.now_ns)
    found.feed(clock(HOUR))
    assert [(fact.strategy, fact.amount) for fact in found.facts(Interest)] == [("s1", "-0.0003"), ("s0", "-0.0001")]


def test_interest_when_nobody_owes_then_nothing_is_charged_and_nothing_is_due() -> None:
    found = rig((10 * MS, Side.BUY, 100))
    found.feed(clock(5 * HOUR))
    assert found.facts(Interest) == []


changes = st.lists(
    st.tuples(st.integers(1, 3 * HOUR), st.sampled_from((1, -1)), st.integers(1, 5000)), min_size=1, max_size=10
)


@given(changes)
@settings(max_examples=60, deadline=None)
def test_interest_when_anything_is_borrowed_then_each_hour_pays_for_its_largest_debt(
    history: list[tuple[int, int, int]],
) -> None:
    found = rig()
    ledger, charges, ns = found.engine.ledger, found.engine.charges, S
    balance = {"BTC": Fraction(0), "USDT": Fraction(1000)}
    peaks = dict.fromkeys(balance, Fraction(0))
    hour = 0

    def until(now_ns: int) -> None:
        nonlocal hour
        while (hour + 1) * HOUR <= now_ns:
            hour += 1
            for currency, peak in peaks.items():
                rate = Fraction(RATES.hourly[currency])
                balance[currency] -= Fraction(-(-(peak * rate * ONE).numerator // (peak * rate * ONE).denominator), ONE)
                peaks[currency] = max(Fraction(0), -balance[currency])

    for after_ns, side, size in history:
        ns += after_ns
        found.feed(clock(ns))
        until(ns)
        ledger.fill("s", 0, side, 100_000, size, Decimal(0))
        charges.borrowing.moved(ns)
        balance["BTC"] += side * Fraction(size, 1000)
        balance["USDT"] -= side * size
        for currency in peaks:
            peaks[currency] = max(peaks[currency], -balance[currency])
    found.feed(clock(ns + 2 * HOUR))
    until(ns + 2 * HOUR)
    assert {name: Fraction(value) for name, value in ledger.cash().items()} == balance
    paid = sum((Fraction(fact.amount) for fact in found.facts(Interest)), Fraction(0))
    told = sum((Fraction(value) for value in ledger.carry("s").values()), Fraction(0))
    assert paid == told
