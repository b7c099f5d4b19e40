"""Exact units and the values of the market."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.events import ModelReady
from engine.core.learning import NoLearning
from engine.core.records import PIECE, Digest, ModelRefused, Note, Record, encode
from engine.core.strategy import Config, Strategy
from engine.core.types import INT64_MAX, ContractKind, Instrument, Side, UnitsError, decimal_text, units
from tests.market import BTC, Rig


@given(st.integers(-INT64_MAX, INT64_MAX), st.integers(0, 12))
def test_text_and_units_are_inverse(value: int, decimals: int) -> None:
    text = decimal_text(value, decimals)
    assert units(text, decimals) == value
    assert Decimal(text) == Decimal(value).scaleb(-decimals)


@pytest.mark.parametrize("text", ["", "-", ".", "1.", ".5", "1e3", "NaN", "+1", " 1", "1_0", "٣", "1.2.3", "--1"])
def test_what_is_not_a_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(UnitsError, match="expected a plain decimal number"):
        units(text, 2)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UnitsError, match="at most 2 decimals"):
        units("1.005", 2)
    with pytest.raises(UnitsError, match="64 bits"):
        units("92233720368547758.08", 2)
    assert units("1.00500", 3) == 1005


def test_an_instrument_turns_text_and_units_into_each_other() -> None:
    assert (BTC.price_units("1.5"), BTC.price_text(150), BTC.size_units("2"), BTC.size_text(1)) == (
        150,
        "1.50",
        2000,
        "0.001",
    )
    assert Side.BUY.opposite is Side.SELL
    assert BTC.settle == "USDT"


def test_size_for_notional_counts_contracts_and_whole_lots() -> None:
    inverse = Instrument(
        venue="v", symbol="P", base="BTC", quote="USD", price_decimals=1, size_decimals=0,
        kind=ContractKind.INVERSE, contract_size=Decimal(100),
    )  # fmt: skip
    assert inverse.settle == "BTC"
    assert inverse.size_for_notional(Decimal(1050), 600_000) == 10
    coarse = Instrument(venue="v", symbol="C", base="B", quote="Q", price_decimals=0, size_decimals=2, lot=50)
    assert coarse.size_for_notional(Decimal(199), 100) == 150
    assert coarse.size_for_notional(Decimal(199), 0) == 0


def test_a_run_without_models_asks_for_nothing_and_refuses_what_comes() -> None:
    nothing = NoLearning()
    nothing.absorb(Rig().engine._state.ring[:0])
    assert nothing.due(1) == ()
    assert nothing.swap(ModelReady(1, "m", "v", b"")) == (ModelRefused("m", "v", "the run has no such model"),)


def test_the_digest_sees_order_and_content() -> None:
    one, two, other = Digest(), Digest(), Digest()
    records = [Record(1, 5, Note("s", {"a": 1, "b": 2})), Record(2, 6, Note("s", {}))]
    one.update(records)
    two.update(records[:1])
    two.update(records[1:])
    other.update(records[::-1])
    assert one.hex() == two.hex() != other.hex()


def test_handlers_do_nothing_unless_overridden() -> None:
    strategy: Strategy[Config] = Strategy(Config())
    ctx = Rig(strategy).engine.roster.slots["s"].context
    strategy.on_start(ctx)
    strategy.on_timer("t", ctx)
    strategy.on_stop(ctx)
    strategy.load(strategy.save())
    assert ctx.said == []


@pytest.mark.parametrize("length", [0, 1, 15, 16, 65_535, 65_536])
def test_digest_when_records_come_together_then_it_is_over_the_encoding_of_each(length: int) -> None:
    together, apart, encoded = Digest(), Digest(), bytearray()
    records = [Record(seq, seq, Note("s", {"at": seq})) for seq in range(length)]
    together.update(records)
    for record in records:
        apart.update([record])
        encoded += encode(record)
    before = b""
    while len(encoded) >= PIECE:
        before = hashlib.blake2b(before + encoded[:PIECE], digest_size=16).digest()
        del encoded[:PIECE]
    assert together.hex() == apart.hex() == hashlib.blake2b(before + encoded, digest_size=16).hexdigest()
