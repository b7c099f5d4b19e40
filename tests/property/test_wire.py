"""The wire kernels against the exact and slow way, on any text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import MalformedFrame
from adapters.wire import CHUNK_ROWS, Scale, Scanner
from engine.core.events import ASK, LAST, LEVEL, MARK, SELL, TRADE
from engine.core.types import INT64_MAX, Instrument, UnitsError, decimal_text, units

SCANNER = Scanner()


def scale(price_decimals: int = 2, size_decimals: int = 5, symbol: int = 3) -> Scale:
    return Scale(
        Instrument(
            venue="v", symbol="X", base="B", quote="Q", price_decimals=price_decimals, size_decimals=size_decimals
        ),
        symbol,
    )


def one(text: str, decimals: int) -> int:
    """The kernel's value of one quoted price."""
    batch = SCANNER.levels(scale(decimals, 0), f'[["{text}","1"]]'.encode(), b"[]", 1, 2, 3)
    return int(batch["price"][0])


@given(st.integers(1, INT64_MAX), st.integers(0, 18), st.integers(0, 4))
def test_a_number_when_it_fits_then_it_is_exact(value: int, decimals: int, zeros: int) -> None:
    text = decimal_text(value, decimals)
    assert one(text, decimals) == value
    if decimals:
        assert one(text + "0" * zeros, decimals) == value


@given(st.from_regex(r"[0-9]{1,24}(\.[0-9]{1,12})?", fullmatch=True), st.integers(0, 10))
def test_a_decimal_when_it_is_plain_then_it_is_as_units_says_or_refused(text: str, decimals: int) -> None:
    try:
        expected = units(text, decimals)
    except UnitsError:
        expected = 0
    whole = text.partition(".")[0]
    if expected == 0 or (len(whole) > 1 and whole.startswith("0")):
        with pytest.raises(MalformedFrame):
            one(text, decimals)
    else:
        assert one(text, decimals) == expected


@given(st.text(max_size=12))
def test_a_text_when_it_is_anything_then_it_is_exact_or_refused(text: str) -> None:
    try:
        found = one(text, 3)
    except MalformedFrame:
        return
    assert found == units(text, 3) > 0


@given(st.binary(max_size=40))
def test_bytes_when_they_are_anything_then_rows_or_malformed(data: bytes) -> None:
    try:
        batch = SCANNER.levels(scale(), data, data, 1, 2, 3)
    except MalformedFrame:
        return
    assert json.loads(data) == [] or batch["kind"][0] == LEVEL


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[", b"[[", b'[["1","1"]', b'[["1","1"]]]', b'[["1","1"]]x', b'[["1","1"],]', b'[["1"]]', b"[[]]",
        b'[["1","1","1"]]', b"[[1,1]]", b'[["1",1]]', b'[["-1","1"]]', b'[["1","-1"]]', b'[["+1","1"]]',
        b'[["1e3","1"]]', b'[["NaN","1"]]', b'[["Infinity","1"]]', b'[["","1"]]', b'[["1.","1"]]', b'[[".5","1"]]',
        b'[["1.2.3","1"]]', b'[["01","1"]]', b'[["0x1","1"]]', b'[[" 1","1"]]', b'[["1","1"] ["1","1"]]', b'{"1":"1"}',
        b'[["0","1"]]', b'[["0.00","1"]]', b'[["1.001","1"]]', b'[["1","0.000001"]]', b"null", b'[["1""1"]]',
        b'[["92233720368547758.08","1"]]', b'[["1","99999999999999999999"]]', b'["1","1"]', b'[["1,"1"]]',
    ],
)  # fmt: skip
def test_levels_when_they_are_not_the_grammar_then_malformed(text: bytes) -> None:
    with pytest.raises(MalformedFrame, match="v:X: expected"):
        SCANNER.levels(scale(), text, b"[]", 1, 2, 3)
    with pytest.raises(MalformedFrame):
        SCANNER.levels(scale(), b"[]", text, 1, 2, 3)


def test_levels_when_they_are_good_then_every_field_is_written() -> None:
    batch = SCANNER.levels(scale(), b'[["2.50","1.5"] , ["2.49","0"]]\n', b' [ [ "2.51" , "7" ] ] ', 9, 8, 7)
    assert batch.tolist() == [
        (LEVEL, 0, 3, 0, 250, 150_000, 8, 7, 9),
        (LEVEL, 0, 3, 0, 249, 0, 8, 7, 9),
        (LEVEL, ASK | LAST, 3, 0, 251, 700_000, 8, 7, 9),
    ]
    assert SCANNER.levels(scale(), b"[]", b"[ ]", 9, 8, 7).tolist() == [(MARK, LAST, 3, 0, 0, 0, 8, 7, 9)]


def test_batches_when_many_then_each_keeps_its_rows() -> None:
    scanner = Scanner()
    text = ("[" + ",".join(f'["{i}","1"]' for i in range(1, 101)) + "]").encode()
    batches = [scanner.levels(scale(), text, text, number, 2, 3) for number in range(3 * CHUNK_ROWS // 200)]
    assert all(len(batch) == 200 and set(batch["id"].tolist()) == {number} for number, batch in enumerate(batches))


def test_a_snapshot_when_it_is_larger_than_a_chunk_then_it_is_whole() -> None:
    count = CHUNK_ROWS + 10
    text = ("[" + ",".join(f'["{i}","1"]' for i in range(1, count + 1)) + "]").encode()
    batch = Scanner().levels(scale(), text, b"[]", 1, 2, 3)
    assert len(batch) == count and int(batch["price"][-1]) == 100 * count


def test_trades_and_quotes_when_chunks_run_out_then_they_go_on() -> None:
    scanner = Scanner()
    trades = [scanner.trade(scale(), b'"2.5"', b'"1"', SELL, number, 2, 3) for number in range(CHUNK_ROWS + 3)]
    assert [int(trade["id"][0]) for trade in trades] == list(range(CHUNK_ROWS + 3))
    assert trades[0].tolist() == [(TRADE, SELL | LAST, 3, 0, 250, 100_000, 2, 3, 0)]
    quotes = [scanner.quote(scale(), b'"2"', b'"1"', b'"3"', b'"0"', number, 2, 3) for number in range(CHUNK_ROWS)]
    assert [int(quote["id"][1]) for quote in quotes] == list(range(CHUNK_ROWS))


@pytest.mark.parametrize(("price", "size"), [(b'"0"', b'"1"'), (b'"1"', b'"0"'), (b"1", b'"1"'), (b'"1" ', b'"1"')])
def test_a_trade_when_price_or_size_is_no_positive_decimal_then_malformed(price: bytes, size: bytes) -> None:
    with pytest.raises(MalformedFrame):
        SCANNER.trade(scale(), price, size, 0, 1, 2, 3)


def test_a_quote_when_a_side_is_broken_then_malformed() -> None:
    with pytest.raises(MalformedFrame):
        SCANNER.quote(scale(), b'"1"', b'"1"', b'"1"', b'"-1"', 1, 2, 3)
