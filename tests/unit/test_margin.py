"""Margin and liquidation by the venues' own worked examples, and what a config of it may say."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from engine.core import events as ev
from engine.core.account.ledger import Ledger
from engine.core.account.margin import MarginError, MarginSettings, MarginTier, TierTable, bankruptcy_value
from engine.core.account.money import ONE, amount
from engine.core.money_facts import Liquidated, MarginCall
from engine.core.records import Cancelled, Refusal
from engine.core.types import ContractKind, Instrument, Side
from engine.live.config import ConfigError, parse_config
from engine.live.config_paper import paper_settings
from tests.market import BTC, MS, NO_LATENCY, Rig, S, Script, clock, depth, snapshot

PERP = Instrument(
    venue="v", symbol="PERP", base="BTC", quote="USDT", price_decimals=2, size_decimals=3, kind=ContractKind.LINEAR
)
ETHP = Instrument(
    venue="v", symbol="ETHP", base="ETH", quote="USDT", price_decimals=2, size_decimals=3, kind=ContractKind.LINEAR
)
COIN = Instrument(
    venue="v",
    symbol="COIN",
    base="BTC",
    quote="USD",
    price_decimals=1,
    size_decimals=0,
    kind=ContractKind.INVERSE,
    contract_size=Decimal(100),
)
QUANTO = Instrument(
    venue="v",
    symbol="ETHUSD",
    base="ETH",
    quote="USD",
    price_decimals=2,
    size_decimals=0,
    kind=ContractKind.QUANTO,
    contract_size=Decimal("0.000001"),
    settle_in="XBT",
)


def tiers(*rows: tuple[str, str]) -> tuple[MarginTier, ...]:
    return tuple(MarginTier(Decimal(above), Decimal(rate)) for above, rate in rows)


# Binance's tables of 2021, whose amounts its liquidation example uses.
BTC_2021 = tiers(("0", "0.004"), ("50000", "0.005"), ("250000", "0.01"), ("1000000", "0.025"), ("5000000", "0.05"))
ETH_2021 = tiers(
    ("0", "0.005"), ("10000", "0.0065"), ("100000", "0.01"), ("500000", "0.02"), ("1000000", "0.05"),
    ("2000000", "0.1"), ("5000000", "0.125"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("table", "size", "entry", "maintenance", "profit", "amount_", "expected"),
    [
        (BTC_2021, "109.488", "32481.980", "356512.508", "-448192.89", "16300", "26316.89"),
        (ETH_2021, "3683.979", "1456.84", "71200.81144", "-56354.57", "135365", "1153.26"),
    ],
)
def test_liquidation_price_when_binance_works_it_out_then_ours_is_the_same(
    table: tuple[MarginTier, ...], size: str, entry: str, maintenance: str, profit: str, amount_: str, expected: str
) -> None:
    """https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93: cross, wallet 1,535,443.01 USDT."""
    found = TierTable(table)
    cost = amount(Decimal(size) * Decimal(entry))
    balance = amount(Decimal("1535443.01") - Decimal(maintenance) + Decimal(profit))
    value = found.liquidation_value(balance, cost, 1)
    assert value is not None
    assert found.amount_at(int(value)) == amount(Decimal(amount_))
    price = value / ONE / Fraction(size)
    assert round(price, 2) == Fraction(expected)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("balance", ["1000", "60000", "3000000"])
def test_liquidation_value_is_where_the_margin_is_used_up(sign: int, balance: str) -> None:
    table, cost, have = TierTable(BTC_2021), sign * amount(Decimal(2_000_000)), amount(Decimal(balance))
    value = table.liquidation_value(have, cost, sign)
    if value is None:
        assert sign == 1 and have >= cost  # a long that is paid in full cannot be liquidated
        return
    gap = have + sign * value - cost - table.maintenance(int(value))
    assert abs(gap) <= 2
    broke = bankruptcy_value(have, cost, sign)
    assert broke is not None and sign * broke < sign * value


@pytest.mark.parametrize(
    "rows",
    [(), (("1", "0.1"),), (("0", "0.1"), ("0", "0.2")), (("0", "0.2"), ("5", "0.1")), (("0", "1"),), (("0", "-0.1"),)],
)
def test_tiers_when_they_cannot_be_then_error(rows: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(MarginError, match="expected"):
        TierTable(tiers(*rows))


def test_quanto_when_bitmex_works_it_out_then_ours_is_the_same() -> None:
    """Quanto perpetuals of BitMEX: (exit - entry) x multiplier x contracts, in XBT, whatever ether and dollars do."""
    ledger = Ledger((QUANTO,), {"XBT": Decimal(1)})
    ledger.fill("long", 0, 1, 50_000, 1000, Decimal("0.0005"))
    ledger.fill("short", 0, -1, 50_000, 1000, Decimal(0))
    ledger.mark(0, 2 * 60_000)
    assert ledger.unrealised("long") == {"XBT": Decimal("0.1")}
    assert ledger.unrealised() == {"XBT": Decimal(0)}
    assert ledger.fees("long") == {"XBT": Decimal("0.00025")}
    ledger.fill("long", 0, -1, 60_000, 1000, Decimal(0))
    assert ledger.cash() == {"XBT": Decimal("1.09975")}


# In the engine.

HIGH = MarginSettings(
    mode="isolated", leverage=Decimal(10), tiers=tiers(("0", "0.01")), liquidation_fee=Decimal("0.005")
)


def rig(
    settings: MarginSettings,
    orders: Any,
    *,
    instruments: tuple[Instrument, ...] = (PERP,),
    cash: dict[str, Decimal] | None = None,
    scripts: int = 1,
) -> Rig:
    def go(_: Any, ctx: Any) -> None:
        for symbol, side, size, *price in orders:
            ctx.order(symbol, side, size, *price)

    made = [Script({"start": lambda _, ctx: ctx.timer("go", 0.005), "timer": go}) for _ in range(scripts)]
    paper = msgspec.structs.replace(NO_LATENCY, margin=settings, taker_fee=Decimal(0))
    found = Rig(*made, paper=paper, instruments=instruments, cash=cash or {"USDT": Decimal(20_000)})
    for symbol in range(len(instruments)):
        at = 5_000_000 if symbol == 0 else 300_000
        found.feed(snapshot(MS, [(at - 100, 9_000_000)], [(at, 9_000_000)], symbol=symbol))
    found.feed(clock(6 * MS))
    return found


def moved(found: Rig, ns: int, price: int, *, symbol: int = 0) -> None:
    """The venue's mark price moves."""
    found.feed(ev.row(ev.FUNDING, symbol=symbol, recv_ns=ns, price=price, venue_ns=ns), clock(ns + 200 * MS))


def test_isolated_when_the_mark_falls_then_it_is_called_and_closed_and_loses_no_more_than_its_margin() -> None:
    found = rig(HIGH, [("PERP", Side.BUY, 1000), ("PERP", Side.BUY, 500, 4_000_000)])
    # 1 BTC at 50,000 and 10 times leverage: margin 5,000; closed where 5,000 + P - 50,000 = 1 % of P, at 45,454.55.
    (told,) = found.engine.summary()["margin"]
    assert (told["margin"], told["liquidation_price"]) == ("5000", "45454.55")
    moved(found, S, 4_555_000)
    (call,) = found.facts(MarginCall)
    assert (call.scope, call.balance, call.maintenance) == ("v:PERP", "550", "455.5")
    moved(found, 2 * S, 4_545_500)
    assert found.facts(Liquidated) == []
    moved(found, 3 * S, 4_545_400)
    (closed,) = found.facts(Liquidated)
    assert (closed.size, closed.mark, closed.realised, closed.fee) == (-1000, "45454.00", "-4546", "227.27")
    assert (closed.insurance, closed.bankruptcy) == ("0", "45000.00")
    assert [fact.reason for fact in found.facts(Cancelled)] == ["liquidation"]
    assert found.engine.ledger.cash() == {"USDT": Decimal("15226.73")}
    assert found.engine.ledger.position(0) == 0
    assert len(found.facts(MarginCall)) == 1


def test_isolated_when_the_mark_jumps_through_then_insurance_pays_what_is_beyond_the_margin() -> None:
    found = rig(HIGH, [("PERP", Side.SELL, 1000)])
    moved(found, S, 6_000_000)
    (closed,) = found.facts(Liquidated)
    # Sold at 49,999; a loss of 10,001 and 300 of fee, of which the margin of 4,999.9 pays its part.
    assert (closed.size, closed.realised, closed.fee, closed.insurance) == (1000, "-10001", "300", "5301.1")
    assert found.engine.ledger.cash() == {"USDT": Decimal("15000.1")}
    assert found.engine.summary()["carry"] == {"insurance": {"USDT": "5301.1"}}


def test_isolated_when_it_shrinks_then_its_margin_shrinks_with_it() -> None:
    found = rig(HIGH, [("PERP", Side.BUY, 1000), ("PERP", Side.SELL, 750)])
    assert found.engine.summary()["margin"][0]["margin"] == "1250"
    state = found.engine.charges.snapshot()
    again = rig(HIGH, [])
    again.engine.ledger.restore(found.engine.ledger.snapshot())
    again.engine.charges.restore(msgspec.json.decode(msgspec.json.encode(state)))
    assert again.engine.summary()["margin"] == found.engine.summary()["margin"]


def test_cross_when_two_positions_lose_then_the_largest_goes_first_and_may_save_the_other() -> None:
    settings = msgspec.structs.replace(HIGH, mode="cross", liquidation_fee=Decimal(0))
    orders = [("PERP", Side.BUY, 3000), ("ETHP", Side.BUY, 10_000)]
    found = rig(settings, orders, instruments=(PERP, ETHP))
    # 20,000 USDT, 3 BTC at 50,000, 10 ETH at 3,000: at 43,900 the balance is 1,700 and maintenance 1,317 + 300 = 1,617.
    moved(found, S, 4_390_000)
    assert found.facts(Liquidated) == []
    moved(found, 2 * S, 4_380_000)
    assert [(fact.symbol, fact.realised, fact.insurance) for fact in found.facts(Liquidated)] == [
        ("v:PERP", "-18600", "0")
    ]
    assert found.engine.ledger.position(1) == 10_000
    moved(found, 3 * S, 280_000, symbol=1)
    # 1,400 are left, 2,000 are lost: the fund pays 600.
    assert found.facts(Liquidated)[-1].insurance == "600"
    assert found.engine.ledger.cash() == {"USDT": Decimal(0)}


def test_cross_when_inverse_then_the_price_is_where_the_formula_holds() -> None:
    settings = msgspec.structs.replace(HIGH, mode="cross", liquidation_fee=Decimal(0))
    found = rig(settings, [("COIN", Side.BUY, 1000)], instruments=(COIN,), cash={"BTC": Decimal("0.05")})
    # 100,000 USD bought at 500,000 are 0.2 BTC: 0.05 + 0.2 - V = 0.01 V where V = 0.25 / 1.01 BTC, at 404,000.
    assert found.engine.charges.margin.liquidation_price(0) == "404000.0"
    moved(found, S, 4_040_001)
    assert found.facts(Liquidated) == []
    moved(found, 2 * S, 4_040_000)
    assert len(found.facts(Liquidated)) == 1


@pytest.mark.parametrize("mode", ["cross", "isolated"])
def test_position_when_nothing_marks_it_then_it_is_not_judged(mode: str) -> None:
    paper = msgspec.structs.replace(NO_LATENCY, margin=msgspec.structs.replace(HIGH, mode=mode))
    found = Rig(Script(), paper=paper, instruments=(PERP,), cash={"USDT": Decimal(0)})
    found.engine.ledger.fill("s", 0, 1, 5_000_000, 1000, Decimal(0))
    found.engine.charges.margin.watch()
    assert found.engine.ledger.position(0) == 1000


def test_strategies_when_they_offset_each_other_then_only_the_net_needs_margin() -> None:
    found = rig(HIGH, [("PERP", Side.BUY, 1000)])
    ledger = found.engine.ledger
    ledger.fill("other", 0, -1, 5_000_000, 1000, Decimal(0))
    found.engine.charges.margin.filled(0, 5_000_000)
    moved(found, S, 1_000_000)
    assert found.facts(Liquidated) == []
    assert found.engine.summary()["margin"] == []


@pytest.mark.parametrize("mode", ["cross", "isolated"])
def test_risk_when_initial_margin_is_missing_then_the_word_is_margin(mode: str) -> None:
    settings = msgspec.structs.replace(HIGH, mode=mode)
    orders = [
        ("PERP", Side.BUY, 2000),  # 10,000 of 20,000
        ("PERP", Side.BUY, 1999, 4_999_000),  # working: almost 10,000 more
        ("PERP", Side.BUY, 100),
        ("PERP", Side.SELL, 2000),  # closes
    ]
    found = rig(settings, orders)
    (refused,) = found.facts(Refusal)
    assert (refused.rule, refused.order) == ("margin", 3)
    assert "20000 USDT" in refused.detail and "leverage of 10" in refused.detail


def test_risk_when_it_is_a_spot_order_then_margin_is_not_asked() -> None:
    found = rig(HIGH, [("BTCUSDT", Side.BUY, 390)], instruments=(BTC,))
    assert found.facts(Refusal) == []


def test_risk_when_the_tier_allows_less_leverage_then_more_margin_is_needed() -> None:
    capped = (MarginTier(Decimal(0), Decimal("0.01")), MarginTier(Decimal(60_000), Decimal("0.02"), Decimal(2)))
    found = rig(msgspec.structs.replace(HIGH, tiers=capped), [("PERP", Side.BUY, 1000), ("PERP", Side.BUY, 1200)])
    assert [fact.rule for fact in found.facts(Refusal)] == ["margin"]


def test_mark_when_the_feed_has_none_then_the_mid_counts() -> None:
    found = rig(HIGH, [("PERP", Side.BUY, 1000)])
    found.feed(depth(S, [(4_999_900, 0), (4_500_000, 10)], [(5_000_000, 0), (4_500_100, 10)]), clock(2 * S))
    (closed,) = found.facts(Liquidated)
    assert closed.mark == "45000.50"


def test_config_when_it_has_margin_then_the_core_gets_it() -> None:
    told = {
        "margin": {
            "mode": "cross",
            "leverage": 5,
            "leverages": {"v:PERP": 20},
            "tiers": [{"above": 0, "rate": "0.004"}, {"above": 50_000, "rate": "0.005", "max_leverage": 100}],
            "tables": {"v:ETHP": [{"above": 0, "rate": "0.01"}]},
            "liquidation_fee": "0.0125",
        },
        "borrow": {"hourly": {"BTC": "0.00001"}},
    }
    paper = paper_settings(parse_config({"paper": told}, "test").paper)
    assert paper.margin.leverages == {"v:PERP": Decimal(20)}
    assert paper.margin.tiers[1] == MarginTier(Decimal(50_000), Decimal("0.005"), Decimal(100))
    assert paper.margin.tables["v:ETHP"][0].rate == Decimal("0.01")
    assert paper.borrow.hourly == {"BTC": Decimal("0.00001")}


@pytest.mark.parametrize(
    ("margin", "words"),
    [
        ({"mode": "portfolio"}, "mode"),
        ({"tiers": []}, "expected tiers from 0 upwards"),
        ({"tiers": [{"above": 0, "rate": 1}]}, "rate"),
        ({"leverages": {"v:PERP": 0}}, "leverages above 0"),
    ],
)
def test_config_when_it_cannot_be_then_it_says_why(margin: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config({"paper": {"margin": margin}}, "test")
