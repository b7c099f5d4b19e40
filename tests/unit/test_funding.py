"""Funding at the venue's times: who pays whom, when it is due, and whose clock it is."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.binance import BinanceCoinm, BinanceUsdm
from adapters.contract import MalformedFrame
from engine.core import book, state
from engine.core import events as ev
from engine.core.account import marks
from engine.core.account.funding import RATE_ONE, payment
from engine.core.account.money import ONE
from engine.core.events import Batch
from engine.core.money_facts import Funding
from engine.core.records import Account
from engine.core.types import ContractKind, Instrument, Side
from tests.market import MS, Rig, S, Script, clock, depth, snapshot, trade

PERP = Instrument(
    venue="v",
    symbol="PERP",
    base="BTC",
    quote="USDT",
    price_decimals=2,
    size_decimals=3,
    kind=ContractKind.LINEAR,
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
RATE = 100_000_000
"""0.01 %."""
HOUR = 30 * S  # a short one: positions are valued ten times a second


def said(ns: int, mark: int, rate: int, next_ns: int, *, symbol: int = 0, venue_ns: int = 0) -> Batch:
    return ev.row(ev.FUNDING, symbol=symbol, recv_ns=ns, price=mark, size=rate, id=next_ns, venue_ns=venue_ns)


def opened(side: Side, size: int = 500, *, instrument: Instrument = PERP) -> Rig:
    script = Script({"start": lambda _, ctx: ctx.timer("go", 0.002)})
    script.on["timer"] = lambda _, ctx: ctx.order(instrument.symbol, side, size)
    rig = Rig(script, instruments=(instrument,), cash={"USDT": Decimal(100_000), "BTC": Decimal(10)})
    rig.feed(snapshot(MS, [(5_999_000, 10_000)], [(6_001_000, 10_000)]), clock(3 * MS))
    assert rig.engine.ledger.position(0) == side * size
    return rig


@pytest.mark.parametrize(("side", "amount"), [(Side.BUY, "-3"), (Side.SELL, "3")])
def test_funding_when_its_time_comes_then_longs_pay_shorts(side: Side, amount: str) -> None:
    rig = opened(side)
    rig.feed(said(1 * S, 6_100_000, -RATE, HOUR), said(HOUR - 1, 6_000_000, RATE, HOUR), clock(HOUR - 1))
    assert rig.facts(Funding) == []
    rig.feed(clock(HOUR))
    # 0.5 BTC at 60,000 are 30,000 USDT, of which 0.01 % are 3: the mark and the rate that were said last.
    assert rig.facts(Funding) == [Funding("v:PERP", "s", "0.000100000000", "60000.00", amount, "USDT")]
    assert rig.engine.ledger.carry("s") == {"USDT": Decimal(amount)}
    rig.feed(said(HOUR + 1, 6_000_000, RATE, 2 * HOUR), clock(HOUR + S))
    assert len(rig.facts(Funding)) == 1
    rig.feed(clock(2 * HOUR))
    assert len(rig.facts(Funding)) == 2
    rig.say("stop", 2 * HOUR)
    account = rig.facts(Account)[-1]
    assert Decimal(account.carry) == 2 * Decimal(amount)
    parts = [Decimal(getattr(account, name)) for name in ("realised", "unrealised", "carry")]
    assert Decimal(account.equity) == sum(parts) - Decimal(account.fees)


def test_funding_when_twins_hold_it_too_then_the_band_of_profit_has_it() -> None:
    rig = opened(Side.BUY)
    twins = rig.engine.honesty.twins
    assert twins.accounts and all(twins.position(model, "s", 0) == 500 for model in twins.models)
    rig.feed(said(S, 6_000_000, RATE, HOUR), clock(HOUR))
    assert len(rig.facts(Funding)) == 1
    for account in twins.accounts.values():
        assert account.ledger.carry("s") == {"USDT": Decimal(-3)}


def test_funding_when_inverse_then_it_is_paid_in_the_coin() -> None:
    rig = opened(Side.SELL, 600, instrument=COIN)
    rig.feed(said(S, 600_000, RATE, HOUR), clock(HOUR))
    # 600 contracts of 100 USD at 60,000 are 1 BTC.
    assert [(fact.amount, fact.currency) for fact in rig.facts(Funding)] == [("0.0001", "BTC")]


def test_funding_when_our_clock_is_behind_then_it_is_due_by_the_distance_of_the_clocks() -> None:
    rig = opened(Side.BUY)
    rig.feed(said(S, 6_000_000, RATE, HOUR, venue_ns=S + 1_300 * MS), clock(HOUR - 1_300 * MS - 1))
    assert rig.facts(Funding) == []
    rig.feed(clock(HOUR - 1_300 * MS))
    assert len(rig.facts(Funding)) == 1


def test_funding_when_the_venue_names_the_next_first_then_it_is_paid_then_at_its_own_rate() -> None:
    rig = opened(Side.BUY)
    rig.feed(said(S, 6_000_000, RATE, HOUR), said(HOUR - 5, 6_500_000, 9 * RATE, 2 * HOUR))
    assert [(fact.rate, fact.mark) for fact in rig.facts(Funding)] == [("0.000100000000", "60000.00")]
    rig.feed(clock(HOUR + S))
    assert len(rig.facts(Funding)) == 1


def test_funding_when_the_feed_repeats_a_time_that_was_paid_then_it_is_not_paid_again() -> None:
    rig = opened(Side.BUY)
    rig.feed(said(S, 6_000_000, RATE, HOUR), clock(HOUR), said(HOUR + 1, 6_000_000, RATE, 2 * HOUR))
    rig.feed(said(HOUR + 2, 6_000_000, RATE, HOUR), said(HOUR + 3, 6_000_000, RATE, 2 * HOUR), clock(HOUR + S))
    assert len(rig.facts(Funding)) == 1
    state = rig.engine.charges.snapshot()
    rig.feed(clock(2 * HOUR))
    assert len(rig.facts(Funding)) == 2
    again = opened(Side.BUY)
    again.engine.charges.restore(state)
    again.feed(said(S, 6_000_000, RATE, HOUR), clock(HOUR + 1), said(HOUR + 2, 6_000_000, RATE, 2 * HOUR))
    assert again.facts(Funding) == []


def test_funding_when_a_delivery_contract_then_none_is_due() -> None:
    rig = opened(Side.BUY)
    rig.feed(said(S, 6_000_000, 0, 0), clock(30 * HOUR))
    assert rig.facts(Funding) == []


def test_funding_when_flat_then_nothing_is_paid() -> None:
    rig = Rig(Script(), instruments=(PERP,))
    rig.feed(said(S, 6_000_000, RATE, HOUR), clock(HOUR))
    assert rig.facts(Funding) == []


@given(st.integers(1, 10**40), st.integers(-RATE_ONE, RATE_ONE))
def test_payment_sums_to_zero_and_is_the_nearest(value: int, rate: int) -> None:
    long, short = payment(value, 1, rate), payment(value, -1, rate)
    assert long + short == 0
    assert abs(Fraction(long) + Fraction(value * rate, RATE_ONE)) <= Fraction(1, 2)


rates = st.lists(
    st.tuples(st.integers(1, 2 * HOUR), st.integers(1, 10**8), st.integers(-RATE_ONE // 10, RATE_ONE // 10)),
    max_size=12,
)


@given(rates, st.integers(1, 4000), st.integers(-2 * S, 2 * S))
@settings(max_examples=60, deadline=None)
def test_funding_when_a_long_and_a_short_hold_the_same_then_nothing_is_lost_and_each_time_is_paid_once(
    history: list[tuple[int, int, int]], size: int, apart_ns: int
) -> None:
    scripts = [Script(), Script()]
    for script, side in zip(scripts, (Side.BUY, Side.SELL), strict=True):
        script.on["book"] = lambda _, ctx, side=side: ctx.position("PERP") or ctx.order("PERP", side, size)
    rig = Rig(*scripts, instruments=(PERP,))
    rig.feed(snapshot(S, [(5_999_000, 10_000)], [(6_001_000, 10_000)]))
    for script in scripts:
        script.on.clear()
    ns, expected, last = 5 * S, Fraction(0), (0, 0, 0)
    for after_ns, mark, rate in history:
        ns += after_ns
        venue_ns = ns + apart_ns
        next_ns = (venue_ns // HOUR + 1) * HOUR
        if last[2] and last[2] != next_ns:
            value = Fraction(size * last[0], 10**5)
            expected += Fraction(round(value * Fraction(last[1], RATE_ONE) * ONE), ONE)
        last = (mark, rate, next_ns)
        rig.feed(said(ns, mark, rate, next_ns, venue_ns=venue_ns))
    ledger = rig.engine.ledger
    paid = {name: Fraction(ledger.carry(name).get("USDT", Decimal(0))) for name in ("s0", "s1")}
    assert paid["s0"] + paid["s1"] == 0 == Fraction(ledger.carry().get("USDT", Decimal(0)))
    assert abs(paid["s0"] + expected) <= Fraction(len(history), ONE)


def test_rows_in_one_batch_or_many_give_one_digest() -> None:
    rows = [
        said(S, 6_000_000, RATE, HOUR),
        depth(2 * S, [(5_999_000, 9_000)]),
        said(HOUR - 7, 6_010_000, 2 * RATE, HOUR),
        trade(HOUR + 5, 6_001_000, 10, sell=False),
        said(HOUR + 9, 6_020_000, 3 * RATE, 2 * HOUR),
        depth(2 * HOUR + 1, [(5_999_000, 8_000)]),
    ]
    digests = set()
    for together in (False, True):
        rig = opened(Side.BUY)
        rig.feed(*([np.concatenate(rows)] if together else rows))
        assert len(rig.facts(Funding)) == 2
        digests.add(rig.engine.digest)
    assert len(digests) == 1


def test_the_columns_of_marks_are_nobody_elses() -> None:
    taken = {value for module in (book, state) for name, value in vars(module).items() if name in COLUMNS}
    assert max(taken) < marks.MARK_PRICE
    assert marks.PAST_NS < book.TOP_FIELDS


COLUMNS = {"BID", "EPOCH", "HEARS_BOOK", "HEARS_TRADE", "RESTING_HERE", "TAKEN_HERE", "OWN_FIRST", "OWN_COUNT"}


FRAME = (
    '{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":1700000000410,"s":"BTCUSDT",'
    '"p":"%s","P":"1","i":"1","r":"%s","T":%s}}'
)


def venue() -> BinanceUsdm:
    instrument = Instrument(
        venue="u", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=3,
        kind=ContractKind.LINEAR,
    )  # fmt: skip
    return BinanceUsdm({"BTCUSDT": (0, instrument)})


@pytest.mark.parametrize(
    ("mark", "units"), [("24000.12500000", 2_400_012), ("24000.13500000", 2_400_014), ("24000.12500001", 2_400_013)]
)
def test_binance_when_the_mark_is_finer_than_the_price_then_the_nearest(mark: str, units: int) -> None:
    (batch,) = venue().received((FRAME % (mark, "-0.00038167", "1700006400000")).encode(), 7)
    assert isinstance(batch, np.ndarray)
    row = batch[0]
    assert (row["price"], row["size"], row["id"]) == (units, -381_670_000, 1_700_006_400_000_000_000)
    assert (row["venue_ns"], row["recv_ns"]) == (1_700_000_000_410_000_000, 7)


@pytest.mark.parametrize(
    ("mark", "rate", "next_ms"),
    [("0", "0.1", "9"), ("-1", "0.1", "9"), ("1", "1.0", "9"), ("1", "x", "9"), ("1", "0.1", "0"), ("1e5", "0.1", "9")],
)
def test_binance_when_it_cannot_be_then_malformed(mark: str, rate: str, next_ms: str) -> None:
    with pytest.raises(MalformedFrame, match="BTCUSDT: expected"):
        venue().received((FRAME % (mark, rate, next_ms)).encode(), 7)


def test_binance_subscribes_to_marks_where_there_are_any() -> None:
    assert "btcusdt@markPrice@1s" in BinanceUsdm.websocket_url("", ["BTCUSDT"])
    assert "btcusd_perp@markPrice@1s" in BinanceCoinm.websocket_url("", ["BTCUSD_PERP"])
    frame = (FRAME % ("1", "0.1", "9")).encode()
    assert BinanceUsdm.sniff(frame) and not BinanceCoinm.sniff(frame)
    coin = frame.replace(b"btcusdt@", b"btcusd_perp@")
    assert BinanceCoinm.sniff(coin) and not BinanceUsdm.sniff(coin)
