"""Liquidations conserve money: what the account loses is what market, fees and insurance fund say, and no more."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.account.ledger import Ledger
from engine.core.account.liquidation import MarginAccount
from engine.core.account.margin import MarginSettings, MarginTier
from engine.core.account.money import ONE, amount
from engine.core.book import TOP_FIELDS
from engine.core.money_facts import Liquidated, MarginCall
from engine.core.records import AnyFact
from engine.core.types import ContractKind, Instrument
from tests.market import BTC

KINDS = (ContractKind.LINEAR, ContractKind.INVERSE, ContractKind.QUANTO)


def contract(kind: ContractKind) -> Instrument:
    return Instrument(
        venue="v",
        symbol=kind.value,
        base="BTC" if kind is not ContractKind.INVERSE else "USDT",
        quote="USDT" if kind is ContractKind.LINEAR else "USD",
        price_decimals=1,
        size_decimals=2,
        kind=kind,
        contract_size=Decimal("0.5"),
        settle_in="USDT" if kind is ContractKind.QUANTO else "",
    )


CONTRACTS = tuple(contract(kind) for kind in KINDS)
"""All settle in USDT, so that cross margin spans every kind."""

steps = st.lists(
    st.tuples(
        st.sampled_from(("fill", "mark")),
        st.integers(0, 2),
        st.sampled_from(("a", "b")),
        st.sampled_from((1, -1)),
        st.integers(200, 5000),
        st.integers(1, 3000),
    ),
    max_size=30,
)
modes = st.builds(
    lambda mode, leverage, fee: MarginSettings(
        mode=mode,
        leverage=Decimal(leverage),
        tiers=(MarginTier(Decimal(0), Decimal("0.01")), MarginTier(Decimal(1000), Decimal("0.02"))),
        liquidation_fee=Decimal(fee),
    ),
    st.sampled_from(("cross", "isolated")),
    st.integers(1, 50),
    st.sampled_from(("0", "0.005")),
)


@given(modes, steps)
@settings(max_examples=200, deadline=None)
def test_liquidation_when_anything_moves_then_every_party_is_accounted_for(
    mode: MarginSettings, history: list[tuple[str, int, str, int, int, int]]
) -> None:
    ledger = Ledger((*CONTRACTS, BTC), {"USDT": Decimal(3000)})
    facts: list[AnyFact] = []
    taken_out: list[int] = []
    top = np.zeros((4, TOP_FIELDS), np.int64)
    account = MarginAccount(
        ledger.instruments, mode, ledger, top, facts.append, ledger.mark2, lambda _: (0, 0), taken_out.append
    )
    for symbol in range(3):
        ledger.mark(symbol, 2 * 1000)
    told = 0
    for what, symbol, strategy, side, price, size in history:
        if what == "fill":
            ledger.fill(strategy, symbol, side, price, size, Decimal("0.0005"))
            account.filled(symbol, price)
        else:
            ledger.mark(symbol, 2 * price)
        before = Fraction(ledger.balance_of("USDT"), ONE)
        isolated = [Fraction(value, ONE) for value in account._isolated]
        account.watch()
        news = [fact for fact in facts[told:] if isinstance(fact, Liquidated)]
        told = len(facts)
        moved = sum(
            (Fraction(fact.realised) - Fraction(fact.fee) + Fraction(fact.insurance) for fact in news), Fraction(0)
        )
        assert Fraction(ledger.balance_of("USDT"), ONE) == before + moved
        closed = {fact.symbol for fact in news}
        assert len(taken_out) >= len(closed)
        for index, one in enumerate(CONTRACTS):
            here = [fact for fact in news if fact.symbol == one.name]
            lost = sum((Fraction(fact.fee) - Fraction(fact.realised) for fact in here), Fraction(0))
            paid = sum((Fraction(fact.insurance) for fact in here), Fraction(0))
            assert paid >= 0
            if here and mode.mode == "isolated":
                assert lost - paid <= isolated[index]
                assert paid == max(0, lost - isolated[index])
            if here:
                assert ledger.position(index) == 0
            held = account.position(index)
            if mode.mode == "isolated" and held.size:
                assert account._isolated[index] + held.open_profit > held.maintenance
        if mode.mode == "cross" and news and all(ledger.position(index) == 0 for index in range(3)):
            assert before < 0 or ledger.balance_of("USDT") >= 0
        held_now = [account.position(index) for index in range(3)]
        if mode.mode == "cross" and any(one.size for one in held_now):
            balance = ledger.balance_of("USDT") + sum(one.open_profit for one in held_now)
            assert balance > sum(one.maintenance for one in held_now)
    profit = ledger.profits()
    parts = sum(ledger.profits(name).get("USDT", 0) for name in ("a", "b"))
    assert profit.get("USDT", 0) == parts
    calls = [fact for fact in facts if isinstance(fact, MarginCall)]
    assert all(Decimal(fact.maintenance) > 0 for fact in calls)
    assert amount(Decimal(3000)) == ledger.initial_of("USDT")
