"""Fees as venues' own pages work them out, the tiers that a volume reaches, and what a config may say."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.core.account.currencies import Conversions
from engine.core.account.fee_schedules import SCHEDULES, UnknownTier, schedule
from engine.core.account.fees import DAY_NS, FeeRates, Fees, FeeSettings, VenueFees
from engine.core.account.ledger import Ledger
from engine.core.types import ContractKind, Instrument
from engine.live.config import ConfigError, parse_config
from engine.live.config_paper import paper_settings

SPOT = Instrument(venue="v", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)
TOKEN = Instrument(venue="v", symbol="BNBUSDT", base="BNB", quote="USDT", price_decimals=1, size_decimals=3)
PERP = Instrument(
    venue="v",
    symbol="PERP",
    base="BTC",
    quote="USD",
    price_decimals=1,
    size_decimals=0,
    kind=ContractKind.INVERSE,
    contract_size=Decimal(100),
)


def book(plan: VenueFees, cash: dict[str, Decimal], *, bnb: int = 6000) -> tuple[Ledger, Fees]:
    markets = (SPOT, TOKEN, PERP)
    ledger = Ledger(markets, cash)
    ledger.mark(1, 2 * bnb)
    return ledger, Fees(markets, ledger, FeeRates(), FeeSettings({"v": plan}), Conversions(markets, ledger.mark2))


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_says_where_it_comes_from_and_falls_with_volume(name: str) -> None:
    one = SCHEDULES[name]
    assert one.url.startswith("https://") and len(one.read) > 10 and one.checked in ("venue", "second hand")
    reached = [tier for tier in one.tiers if tier.volume is not None]
    assert one.tiers[0].volume == 0
    volumes = [tier.volume for tier in reached if tier.volume is not None]
    assert volumes == sorted(set(volumes))
    assert [tier.maker for tier in reached] == sorted((tier.maker for tier in reached), reverse=True)
    assert [tier.taker for tier in reached] == sorted((tier.taker for tier in reached), reverse=True)
    assert all(tier.maker <= tier.taker < Decimal("0.02") for tier in one.tiers)
    assert len({tier.name for tier in one.tiers}) == len(one.tiers)


def test_schedule_when_unknown_then_it_names_what_there_is() -> None:
    with pytest.raises(UnknownTier, match="kraken-spot"):
        schedule("kraken")
    with pytest.raises(UnknownTier, match="VIP 9"):
        schedule("binance-spot").tier("VIP 10")


def test_received_when_a_purchase_then_the_position_is_what_can_be_sold() -> None:
    ledger, fees = book(VenueFees(schedule="binance-spot", tier="Regular"), {"USDT": Decimal(100_000)})
    assert fees.fill("s", 0, 1, 5_000_000, 100_000, is_maker=False, now_ns=0) == (Decimal("0.001"), "BTC")
    assert ledger.position(0, "s") == 99_900
    assert ledger.cash()["BTC"] == Decimal("0.999")
    assert ledger.fees() == {"USDT": Decimal(50), "BTC": Decimal(0)}
    assert fees.fill("s", 0, -1, 5_000_000, 99_900, is_maker=False, now_ns=0) == (Decimal("49.95"), "USDT")
    assert ledger.cash()["BTC"] == 0
    assert ledger.profit()["USDT"] == Decimal("-99.95")


def test_received_when_finer_than_a_unit_then_it_is_owed_until_it_makes_one() -> None:
    ledger, fees = book(VenueFees(schedule="binance-spot", tier="Regular"), {"USDT": Decimal(100_000)})
    for count in range(1, 11):
        assert fees.fill("s", 0, 1, 5_000_000, 100, is_maker=False, now_ns=0) == (Decimal("0.000001"), "BTC")
        assert ledger.cash()["BTC"] == Decimal("0.000999") * count
        assert ledger.position(0) == 100 * count - (1 if count == 10 else 0)
    assert ledger.profit()["BTC"] == 0
    assert ledger.fees()["USDT"] == Decimal("0.5")


def test_token_when_held_then_the_discount_applies_else_the_whole_fee_is_paid_without_it() -> None:
    plan = VenueFees(schedule="binance-spot", tier="Regular", pay_in="token")
    ledger, fees = book(plan, {"USDT": Decimal(10**6), "BNB": Decimal("0.07")})
    # 50,000 USDT at 0.075 % are 37.5 USDT, at 600 USDT a BNB 0.0625 BNB.
    assert fees.fill("s", 0, 1, 5_000_000, 100_000, is_maker=True, now_ns=0) == (Decimal("0.0625"), "BNB")
    assert ledger.position(0) == 100_000
    assert ledger.cash()["BNB"] == Decimal("0.0075")
    assert ledger.fees() == {"USDT": Decimal(0), "BTC": Decimal(0), "BNB": Decimal("0.0625")}
    assert fees.fill("s", 0, -1, 5_000_000, 100_000, is_maker=True, now_ns=0) == (Decimal(50), "USDT")


def test_token_when_nothing_values_it_then_the_fee_is_paid_without_it() -> None:
    plan = VenueFees(schedule="binance-spot", tier="Regular", pay_in="token")
    _, fees = book(plan, {"BNB": Decimal(5)}, bnb=0)
    assert fees.fill("s", 0, -1, 5_000_000, 100_000, is_maker=True, now_ns=0) == (Decimal(50), "USDT")


def test_rebate_when_an_inverse_contract_then_it_comes_in_the_coin() -> None:
    # Deribit: a maker of 10,000 USD of weekly futures at 100,000 receives 0.01 % of 0.1 BTC.
    ledger, fees = book(VenueFees(schedule="deribit-weekly", tier="All"), {"BTC": Decimal(1)})
    assert fees.fill("s", 2, 1, 1_000_000, 100, is_maker=True, now_ns=0) == (Decimal("-0.00001"), "BTC")
    assert fees.fill("s", 2, -1, 1_000_000, 100, is_maker=False, now_ns=0) == (Decimal("0.00005"), "BTC")
    assert ledger.cash()["BTC"] == Decimal("0.99996")


def test_tier_when_volume_grows_then_it_changes_the_next_day_and_falls_back_after_the_window() -> None:
    _, fees = book(VenueFees(schedule="binance-spot"), {"USDT": Decimal(10**7), "BTC": Decimal(100)})
    plan = fees.plans["v"]
    for day, expected in ((0, "Regular"), (0, "Regular"), (1, "VIP 1"), (29, "VIP 1"), (61, "Regular")):
        size = 1_000_000 if day == 0 else 1
        fees.fill("s", 0, -1, 5_000_000, size, is_maker=True, now_ns=(20_000 + day) * DAY_NS)
        assert (day, plan.tier.name) == (day, expected)


def test_tier_when_the_venue_looks_at_each_fill_then_the_next_fill_has_it() -> None:
    _, fees = book(VenueFees(schedule="kraken-spot", volume=Decimal(49_990)), {"USDT": Decimal(10**7)})
    rates = [fees.fill("s", 0, 1, 5_000_000, 100, is_maker=True, now_ns=7)[0] / 50 for _ in range(2)]
    assert rates == [Decimal("0.0016"), Decimal("0.0014")]


def test_volume_when_nothing_values_it_in_dollars_then_it_says_how_many_fills_it_left_out() -> None:
    odd = Instrument(venue="v", symbol="ODD", base="A", quote="B", price_decimals=0, size_decimals=0)
    ledger = Ledger((odd,), {})
    fees = Fees((odd,), ledger, FeeRates(), FeeSettings({"v": VenueFees()}), Conversions((odd,), ledger.mark2))
    fees.fill("s", 0, 1, 10, 10, is_maker=True, now_ns=0)
    assert fees.status()["v"]["volume_left_out"] == 1


def test_config_when_it_names_a_schedule_then_the_core_gets_it() -> None:
    told = {"fees": {"spot": {"schedule": "binance-spot", "tier": "VIP 2", "pay_in": "token", "volume": "12.5"}}}
    config = parse_config({"paper": told}, "test")
    assert paper_settings(config.paper).fees.venues["spot"] == VenueFees(
        schedule="binance-spot", tier="VIP 2", pay_in="token", volume=Decimal("12.5")
    )


@pytest.mark.parametrize(
    ("fees", "words"),
    [
        ({"schedule": "nowhere"}, "expected one of binance-spot"),
        ({"schedule": "binance-spot", "tier": "VIP 99"}, "expected a tier of binance-spot among Regular"),
        ({"tier": "VIP 1"}, "expected a schedule beside the tier"),
        ({"pay_in": "token"}, "expected the name of the token"),
        ({"pay_in": "gold"}, "pay_in"),
        ({"rate": 1}, "unknown key 'rate'"),
    ],
)
def test_config_when_it_cannot_be_then_it_says_what_could(fees: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config({"paper": {"fees": {"spot": fees}}}, "test")
