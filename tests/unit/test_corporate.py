"""Shares: dividends, splits, borrowed shares, and money that has not arrived, worked out by hand and in fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.account.corporate import CorporateAction, CorporateActions, EquitySettings
from engine.core.account.ledger import Ledger
from engine.core.account.money import ONE
from engine.core.account.settlement import DAY_NS
from engine.core.engine import Engine
from engine.core.events import Command
from engine.core.money_facts import Dividend, Settled, ShortFee, Split
from engine.core.records import AnyFact, Cancelled, Refusal
from engine.core.settings import EngineSettings
from engine.core.types import Instrument, Side
from engine.live.build import build_engine, offline_problems
from engine.live.config import ConfigError, parse_config
from engine.live.config_paper import paper_settings, unknown_money
from tests.market import LOOSE, MS, NO_LATENCY, Rig, S, Script, clock, depth, snapshot

AAPL = Instrument(venue="xnas", symbol="AAPL", base="AAPL", quote="USD", price_decimals=2, size_decimals=0)
FRIDAY = 19_874 * DAY_NS
"""2024-05-31."""
NIGHT = FRIDAY + DAY_NS - 10 * S
"""Ten seconds before it ends: positions are valued ten times a second, so tests keep the time they hold them short."""


def rig(
    settings: EquitySettings,
    *orders: tuple[int, Side, int, int | None],
    cash: dict[str, Decimal] | None = None,
    scripts: int = 1,
    **risk: Any,
) -> Rig:
    """``orders``: ms after the last ten seconds of Friday began, side, size and price."""

    def timed(name: str, ctx: Any) -> None:
        _, side, size, price = orders[int(name)]
        ctx.order("AAPL", side, size, price)

    def on_book(_: Any, ctx: Any) -> None:
        if ctx.now_ns == NIGHT + MS:
            for number, (ms, *_) in enumerate(orders):
                ctx.timer(str(number), ms / 1000)

    made = [Script({"book": on_book, "timer": timed}) for _ in range(scripts)]
    paper = msgspec.structs.replace(NO_LATENCY, taker_fee=Decimal(0), equities=settings)
    found = Rig(
        *made,
        paper=paper,
        risk=msgspec.structs.replace(LOOSE, **risk),
        instruments=(AAPL,),
        cash=cash or {"USD": Decimal(10_000)},
    )
    found.feed(snapshot(NIGHT + MS, [(20_000, 5000)], [(20_010, 5000)]))
    return found


def action(kind: str, value: str, after_s: int, pay_s: int = 0) -> CorporateAction:
    pay_ns = NIGHT + pay_s * S if pay_s else 0
    return CorporateAction(ns=NIGHT + after_s * S, symbol="xnas:AAPL", kind=kind, value=Decimal(value), pay_ns=pay_ns)


def test_dividend_when_ex_then_longs_receive_and_shorts_pay_and_it_is_spent_only_once_paid() -> None:
    settings = EquitySettings(actions=(action("dividend", "0.25", 3, pay_s=6),))
    found = rig(settings, (10, Side.BUY, 40, None))
    found.engine.ledger.fill("short", 0, -1, 20_000, 8, Decimal(0))
    found.feed(clock(NIGHT + 3 * S - 1))
    assert found.facts(Dividend) == []
    found.feed(clock(NIGHT + 3 * S))
    assert [(fact.strategy, fact.amount, fact.paid_ns - NIGHT) for fact in found.facts(Dividend)] == [
        ("short", "-2", 3 * S),
        ("s", "10", 6 * S),
    ]
    assert found.engine.ledger.carry("s") == {"USD": Decimal(10)}
    assert found.engine.summary()["unsettled"][0]["amount"] == "10"
    spendable = found.engine.charges.corporate.spendable
    assert spendable("USD") == found.engine.ledger.balance_of("USD") - 10 * ONE
    found.feed(clock(NIGHT + 6 * S))
    assert [fact.amount for fact in found.facts(Settled)] == ["10"]
    assert spendable("USD") == found.engine.ledger.balance_of("USD")


def test_split_when_four_for_one_then_nothing_is_won_and_orders_end() -> None:
    found = rig(EquitySettings(actions=(action("split", "4", 3),)), (10, Side.BUY, 40, None), (20, Side.BUY, 5, 19_000))
    found.feed(clock(NIGHT + 2 * S))
    before = found.engine.ledger.profit()
    found.feed(clock(NIGHT + 3 * S))
    (fact,) = found.facts(Split)
    assert (fact.before, fact.after, fact.cash, fact.ratio) == (40, 160, "0", "4")
    assert [fact.reason for fact in found.facts(Cancelled)] == ["split"]
    # The mark is a whole number of half price units, so a quarter of it can be off by less than half a unit a share.
    assert abs(found.engine.ledger.profit()["USD"] - before["USD"]) < 160 * Decimal("0.005")
    assert found.engine.ledger.cash() == {"USD": Decimal("1996"), "AAPL": Decimal(160)}
    # The market opens at a quarter of the price: still nothing is won.
    found.feed(depth(NIGHT + 3 * S + MS, [(20_000, 0), (5_000, 10)], [(20_010, 0), (5_002, 10)]))
    found.say("stop", NIGHT + 3 * S + 2 * MS)
    assert found.engine.ledger.unrealised() == {"USD": Decimal(160) * (Decimal("50.01") - Decimal("50.025"))}


def test_split_when_one_for_ten_then_the_rest_is_paid_in_cash_at_the_mark() -> None:
    found = rig(EquitySettings(actions=(action("split", "0.1", 3),)), (10, Side.BUY, 47, None))
    found.feed(clock(NIGHT + 3 * S))
    (fact,) = found.facts(Split)
    # 4.7 new shares: seven old ones at 200.05 are paid.
    assert (fact.before, fact.after, fact.cash) == (47, 4, "1400.35")
    assert found.engine.ledger.realised("s") == {"USD": Decimal(7) * (Decimal("200.05") - Decimal("200.10"))}
    assert found.engine.ledger.cash()["AAPL"] == 4


def test_split_when_the_account_had_shares_then_they_are_split_and_may_be_sold() -> None:
    settings = EquitySettings(actions=(action("split", "2", 3),))
    later = 3000
    found = rig(
        settings, (later + 100, Side.SELL, 21, None), (later + 200, Side.SELL, 20, None),
        cash={"AAPL": Decimal(10)}, allow_short=False,
    )  # fmt: skip
    found.feed(clock(NIGHT + 3 * S + 50 * MS))
    found.feed(depth(NIGHT + 3 * S + 60 * MS, [(19_990, 10)]))
    found.feed(clock(NIGHT + 3 * S + 1000 * MS))
    assert [fact.rule for fact in found.facts(Refusal)] == ["position"]
    assert found.engine.ledger.cash()["AAPL"] == 0


def test_action_when_before_the_first_input_then_it_is_history() -> None:
    paper = msgspec.structs.replace(NO_LATENCY, equities=EquitySettings(actions=(action("split", "2", -10),)))
    for start_ns, shares in ((NIGHT, 10), (NIGHT - 11 * S, 20)):
        engine = Engine((AAPL,), {}, EngineSettings(paper=paper, cash={"AAPL": Decimal(10)}))
        engine.process(Command(start_ns, "start"))
        engine.process(clock(NIGHT + 1))
        assert engine.ledger.cash()["AAPL"] == shares


def test_short_fee_when_a_day_ends_then_the_short_pays_a_360th_of_the_year() -> None:
    found = rig(EquitySettings(short_fee={"xnas:AAPL": Decimal("0.036")}), (10, Side.SELL, 100, None))
    found.feed(clock(FRIDAY + DAY_NS - 1))
    assert found.facts(ShortFee) == []
    found.feed(clock(FRIDAY + DAY_NS))
    # 100 shares at 200.05 are 20,005; 3.6 % a year are 0.01 % a day.
    assert [(fact.value, fact.amount) for fact in found.facts(ShortFee)] == [("20005", "-2.0005")]
    assert found.engine.summary()["carry"] == {"short fee": {"USD": "-2.0005"}}


def test_settlement_when_sold_then_the_money_buys_nothing_before_it_has_arrived() -> None:
    settings = EquitySettings(settlement_days={"xnas": 1})
    monday = 10_000 + 2 * 24 * 3600 * 1000
    orders = (
        (10, Side.BUY, 49, None),  # 9,804.90 of 10,000
        (20, Side.SELL, 49, None),  # 9,800, on its way until Monday
        (30, Side.BUY, 10, None),
        (monday - 10, Side.BUY, 10, None),
        (monday + 10, Side.BUY, 10, None),
    )
    found = rig(settings, *orders, allow_debt=False)
    found.feed(clock(NIGHT + 10 * S + 2 * DAY_NS + 100 * MS))
    assert [(fact.rule, fact.order) for fact in found.facts(Refusal)] == [("notional", 3), ("notional", 4)]
    assert "195.1 USD" in found.facts(Refusal)[0].detail
    assert [fact.amount for fact in found.facts(Settled)] == ["9800"]
    assert found.engine.ledger.position(0) == 10
    free = rig(msgspec.structs.replace(settings, unsettled_buys=True), *orders[:3], allow_debt=False)
    free.feed(clock(NIGHT + 100 * MS))
    assert free.facts(Refusal) == []


def test_settlement_when_restored_then_it_still_arrives() -> None:
    settings = EquitySettings(settlement_days={"xnas:AAPL": 2})
    found = rig(settings, (10, Side.BUY, 10, None), (20, Side.SELL, 10, None))
    found.feed(clock(NIGHT + 100 * MS))
    state = msgspec.json.decode(msgspec.json.encode(found.engine.charges.snapshot()))
    again = rig(settings)
    again.engine.charges.restore(state)
    again.feed(clock(FRIDAY + 4 * DAY_NS))
    assert [fact.amount for fact in again.facts(Settled)] == ["2000"]


@given(
    st.integers(-5000, 5000).filter(bool),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.fractions(Fraction(1, 100), 100).filter(lambda ratio: ratio.denominator <= 100),
)
def test_split_when_any_then_shares_and_money_are_what_they_were_worth(
    size: int, price: int, mark: int, ratio: Fraction
) -> None:
    ledger = Ledger((AAPL,), {"USD": Decimal(10**9)})
    ledger.fill("s", 0, 1 if size > 0 else -1, price, abs(size), Decimal(0))
    ledger.mark(0, 2 * mark)
    before, cash_before = ledger.profit()["USD"], ledger.balance_of("USD")
    (entry,) = ledger.entries()
    cash = Fraction(ledger.split(entry, ratio.numerator, ratio.denominator), ONE)
    after = Fraction(size) * ratio
    assert entry.size == int(after) == ledger.position(0)
    assert ledger.cash()["AAPL"] == entry.size
    # The part of a share is paid at the old mark, scaled by the split, to the nearest 1e-30.
    old_price = Fraction(mark, 100)
    assert abs(cash - (after - entry.size) * old_price / ratio) <= Fraction(1, ONE)
    assert Fraction(ledger.balance_of("USD") - cash_before, ONE) == cash
    worth = entry.size * old_price / ratio
    equity = Fraction(entry.realised - entry.cost, ONE) + worth
    assert abs(equity - Fraction(before)) <= Fraction(2, ONE)
    assert entry.size or entry.cost == 0


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_dividends_when_a_long_and_a_short_hold_the_same_then_they_sum_to_nothing(size: int, cents: int) -> None:
    ledger, facts = Ledger((AAPL,), {}), list[AnyFact]()
    for name, side in (("a", 1), ("b", -1)):
        ledger.fill(name, 0, side, 20_000, size, Decimal(0))
    what = action("dividend", str(Decimal(cents).scaleb(-4)), 3)
    corporate = CorporateActions(
        (AAPL,), EquitySettings(), ledger, ledger.mark2, facts.append, lambda *_: None, tuple, lambda _: None
    )
    corporate.due(what, what.ns)
    paid = {fact.strategy: Fraction(fact.amount) for fact in facts if isinstance(fact, Dividend)}
    assert paid["a"] == size * Fraction(cents, 10_000) == -paid["b"]


CONFIG: dict[str, Any] = {
    "equities": {
        "settlement_days": {"xnas": 1},
        "short_fee": {"xnas:AAPL": "0.003"},
        "holidays": ["2024-07-04"],
    },
    "corporate_action": [
        {"date": "2024-05-10", "symbol": "xnas:AAPL", "kind": "dividend", "value": "0.25", "pay_date": "2024-05-16"},
        {"date": "2024-06-10T13:30:00Z", "symbol": "xnas:AAPL", "kind": "split", "value": 4},
    ],
}


def test_config_when_it_has_actions_then_the_core_gets_their_instants() -> None:
    paper = parse_config({"paper": CONFIG}, "test").paper
    told = paper_settings(paper).equities
    assert [one.ns // DAY_NS for one in told.actions] == [19_853, 19_884]
    assert told.actions[1].ns % DAY_NS == 13 * 3600 * 10**9 + 1800 * 10**9
    assert told.actions[0].pay_ns == 19_859 * DAY_NS
    assert told.holidays == {19_908}
    assert unknown_money(paper, [AAPL]) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"date": "2024-06-10T13:30:00"}, "a time with its zone"),
        ({"kind": "merger"}, "kind"),
        ({"value": 0}, "value"),
        ({"ratio": 1}, "unknown key 'ratio'"),
    ],
)
def test_config_when_an_action_cannot_be_then_it_says_why(change: dict[str, Any], words: str) -> None:
    actions = [{**CONFIG["corporate_action"][0], **change}]
    with pytest.raises(ConfigError, match=words):
        parse_config({"paper": {"corporate_action": actions}}, "test")


def test_config_when_it_names_what_is_not_traded_then_error() -> None:
    config = parse_config({"paper": {**CONFIG, "fees": {"nyse": {"schedule": "bitstamp"}}}}, "test")
    other = msgspec.structs.replace(AAPL, venue="tape")
    with pytest.raises(ConfigError) as caught:
        build_engine(config, [other], inline_training=True)
    places = [line.partition(":")[0] for line in caught.value.problems]
    assert places == [
        "paper.fees", "paper.equities.short_fee", "paper.equities.settlement_days", *["paper.corporate_action"] * 2
    ]  # fmt: skip


def test_check_when_a_config_names_what_it_does_not_trade_then_it_says_so_without_the_network() -> None:
    told = {"venue": {"spot": {"use": "binance-spot", "symbols": ["BTCUSDT"]}}}
    paper = {"fees": {"sport": {"pay_in": "settle"}}, "margin": {"leverages": {"spot:ETHUSDT": 2}}}
    assert offline_problems(parse_config({**told, "paper": paper}, "test")) == [
        "paper.fees: expected one of spot, found 'sport'",
        "paper.margin.leverages: expected one of spot:BTCUSDT, found 'spot:ETHUSDT'",
    ]
