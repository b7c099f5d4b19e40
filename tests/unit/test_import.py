"""``papertape import``: CryptoChassis' csv, made by hand, and the command itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.tape import read_tape
from engine.live.commands_import import FormatName, HoursName
from engine.research.import_lean import Hours
from engine.research.import_source import SourceError
from engine.research.import_tape import Format, import_tape
from tests.foreign import frames_of, papertape

BOOKS = "time_seconds,bid_price_bid_size,ask_price_ask_size"
TRADES = "time_seconds,price,size,is_buyer_maker"
DAY = "kraken__eth-usd__2021-07-01"


def ccapi(folder: Path, books: str, trades: str, day: str = DAY) -> Path:
    (folder / f"{day}__market-depth.csv").write_text(books)
    (folder / f"{day}__trade.csv").write_text(trades)
    return folder / f"{day}__trade.csv"


def test_ccapi_trades_stand_before_the_book_of_their_second_and_numbers_are_exact(tmp_path: Path) -> None:
    books = f"{BOOKS}\n1625097600,10.50_1.25,10.6_2\n1625097601,10.5_0.00000001|10_7,10.6_2\n1625097602,,10.6_2\n"
    trades = f"{TRADES}\n1625097600.25,10.5,0.5,1\n1625097601,10.6,1,0\n1625097601.000000001,10.6,1,0"
    out = tmp_path / "a.ptz"
    summary = import_tape(Format.CCAPI, [ccapi(tmp_path, books, trades)], out)
    assert (summary["books"], summary["trades"], summary["entries"], summary["left_out"]) == (3, 3, 8, {})
    header, _ = read_tape(out)
    (instrument,) = header.instruments
    assert (instrument.name, instrument.price_decimals, instrument.size_decimals) == ("kraken:ETHUSD", 1, 8)
    found = frames_of(out)
    second = 1625097600 * 10**9
    assert [(ns - second, one["type"], one["seq"]) for ns, one in found] == [
        (0, "book", 1),
        (250_000_000, "trade", 2),
        (10**9, "trade", 3),
        (10**9, "book", 4),
        (10**9 + 1, "trade", 5),
        (2 * 10**9, "book", 6),
    ]
    assert (found[0][1]["bids"], found[0][1]["asks"]) == ([["10.50", "1.25"]], [["10.6", "2"]])
    assert found[3][1]["bids"] == [["10.5", "0.00000001"], ["10", "7"]]
    assert found[5][1]["bids"] == []
    assert [one["side"] for _, one in found if one["type"] == "trade"] == ["sell", "buy", "buy"]


def test_ccapi_days_are_joined_in_order(tmp_path: Path) -> None:
    row = ",1_1,2_1\n"
    for day, second in (("2021-07-02", 1625184000), ("2021-07-01", 1625097600)):
        ccapi(tmp_path, f"{BOOKS}\n{second}{row}", f"{TRADES}\n", day=f"kraken__eth-usd__{day}")
    import_tape(Format.CCAPI, [tmp_path], tmp_path / "a.ptz")
    assert [ns // 10**9 for ns, _ in frames_of(tmp_path / "a.ptz")] == [1625097600, 1625184000]


GOOD = f"{BOOKS}\n1625097600,1_1,2_1\n"
NO_TRADES = f"{TRADES}\n"


@pytest.mark.parametrize(
    ("books", "trades", "words"),
    [
        ("time,bid,ask\n", NO_TRADES, "market-depth.csv: line 1: expected time_seconds"),
        (GOOD + "1625097601,1_1\n", NO_TRADES, "market-depth.csv: line 3: expected whole seconds, bids and asks"),
        (GOOD + "1625097601.5,1_1,2_1\n", NO_TRADES, "line 3: expected whole seconds"),
        (GOOD + "1625097600,1_1,2_1\n", NO_TRADES, "line 3: expected a later second"),
        (GOOD + "1625097601,1e-7_1,2_1\n", NO_TRADES, "line 3: expected levels as price_size, found '1e-7_1'"),
        (GOOD + "1625097601,1_-1,2_1\n", NO_TRADES, "line 3: expected levels as price_size"),
        (GOOD + "1625097601,1_1,2_", NO_TRADES, "line 3: expected levels as price_size, found '2_'"),
        (f"{BOOKS}\n", NO_TRADES, "expected rows of books, found none"),
        (GOOD, "time,price\n", "trade.csv: line 1: expected time_seconds,price,size,is_buyer_maker"),
        (GOOD, f"{TRADES}\n1625097600,1,1,2\n", "trade.csv: line 2: expected seconds, price, size, and 0 or 1"),
        (GOOD, f"{TRADES}\n1625097600,NaN,1,1\n", "trade.csv: line 2"),
        (GOOD, f"{TRADES}\n1625097600,1,1,1\n1625097599.9,1,1,1\n", "trade.csv: line 3: expected no earlier time"),
        (GOOD, f"{TRADES}\n1625097600,1,\xff,1\n", "expected plain text"),
    ],
)
def test_ccapi_when_a_row_is_wrong_then_file_and_line_are_named_and_nothing_is_left(
    tmp_path: Path, books: str, trades: str, words: str
) -> None:
    source = ccapi(tmp_path, books, trades)
    before = sorted(tmp_path.iterdir())
    result = papertape("ccapi", source, "--out", tmp_path / "a.ptz")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert words in result.output
    assert sorted(tmp_path.iterdir()) == before


def test_ccapi_when_the_sibling_or_the_source_is_missing_then_it_says_so(tmp_path: Path) -> None:
    source = ccapi(tmp_path, GOOD, NO_TRADES)
    source.unlink()
    with pytest.raises(SourceError, match=r"trade\.csv: the file: expected books and trades of the same day"):
        import_tape(Format.CCAPI, [tmp_path], tmp_path / "a.ptz")
    ccapi(tmp_path, GOOD, NO_TRADES, day="kraken__btc-usd__2021-07-01")
    with pytest.raises(SourceError, match="files of one instrument, found kraken__btc-usd, kraken__eth-usd"):
        import_tape(Format.CCAPI, [tmp_path], tmp_path / "a.ptz")
    for wrong in (tmp_path / "none", Path(__file__), Path(__file__).parent):
        with pytest.raises(SourceError, match="expected"):
            import_tape(Format.CCAPI, [wrong], tmp_path / "a.ptz")


def test_the_command_when_asked_for_json_then_it_is_the_summary_and_a_tape_is_never_overwritten(tmp_path: Path) -> None:
    source = ccapi(tmp_path, GOOD + "1625097601,2_1,2_1\n", f"{TRADES}\n1625097600,0,1,1\n")
    result = papertape("ccapi", source, "--out", tmp_path / "a.ptz", "--json")
    assert json.loads(result.output) == {
        "format": "ccapi", "tape": str(tmp_path / "a.ptz"), "venue": "kraken", "symbols": ["ETHUSD"], "entries": 4,
        "books": 2, "trades": 0, "locked_or_crossed": 1, "left_out": {"trades_of_nothing": 1},
        "first_ns": 1625097600 * 10**9, "last_ns": 1625097601 * 10**9,
    }  # fmt: skip
    before = (tmp_path / "a.ptz").read_bytes()
    again = papertape("ccapi", source, "--out", tmp_path / "a.ptz")
    assert again.exit_code == 1 and "never overwritten" in again.output
    assert (tmp_path / "a.ptz").read_bytes() == before
    shown = papertape("ccapi", source, "--out", tmp_path / "b.ptz")
    assert "2 books, 0 trades" in shown.output and "1 trades of nothing" in shown.output
    assert (tmp_path / "b.ptz").read_bytes() == before  # the same source, the same tape
    assert papertape("ccapi", source, "--out", tmp_path / "no" / "c.ptz").exit_code == 1


def test_the_command_when_used_wrongly_then_the_code_is_2(tmp_path: Path) -> None:
    source = ccapi(tmp_path, GOOD, NO_TRADES)
    assert papertape("csv", source, "--out", tmp_path / "a.ptz").exit_code == 2
    assert papertape("ccapi", source).exit_code == 2
    assert papertape("lean", source, "--out", tmp_path / "a.ptz", "--hours", "night").exit_code == 2
    wrong = papertape("ccapi", source, "--out", tmp_path / "a.ptz", "--hours", "all")
    assert wrong.exit_code == 2 and "with the format lean" in wrong.output


def test_the_names_of_the_command_line_are_those_of_the_importers() -> None:
    assert [one.value for one in FormatName] == [one.value for one in Format]
    assert [one.value for one in HoursName] == [one.value for one in Hours]
