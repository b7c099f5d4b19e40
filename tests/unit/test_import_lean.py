"""LEAN's ticks, made by hand: frames of the national best, what is left out, New York's clock, ways to be wrong."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.entry import EntryKind
from adapters.tape import read_tape
from engine.research.import_lean import Hours
from engine.research.import_source import SourceError
from engine.research.import_tape import Format, import_tape
from tests.foreign import entries_of, frames_of, papertape

EDT_MIDNIGHT_S = 1_625_112_000  # 2021-07-01 00:00 in New York
OPEN_MS = 34_200_000


def lean(folder: Path, quotes: str, trades: str, day: str = "20210701", ticker: str = "xyz") -> Path:
    for kind, text in (("quote", quotes), ("trade", trades)):
        with zipfile.ZipFile(folder / f"{ticker}_{day}_{kind}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{day}_{ticker}_{kind.capitalize()}_Tick.csv", text)
    return folder / f"{ticker}_{day}_quote.zip"


def test_lean_rows_become_frames_of_the_national_best(tmp_path: Path) -> None:
    quotes = [
        f"{OPEN_MS - 1},100000,100,0,0,P,1,0",  # before the opening
        f"{OPEN_MS},110000,300,0,0,N,1,0",  # bid and ask of one moment: one frame
        f"{OPEN_MS},0,0,111200,400,P,1,0",
        f"{OPEN_MS},0,0,111100,200,P,1,1",  # suspicious
        f"{OPEN_MS + 5},111300,100,0,0,Q,1,0",  # crosses
        f"{OPEN_MS + 6},111100,0,0,0,Q,1,0",  # no bid
        f"{OPEN_MS + 7},0,0,0,0,Q,1,0",
        f"{OPEN_MS + 8}.5,0,0,111250,1,Q,1,0",
        "57600000,111000,100,0,0,P,1,0",  # after the close
    ]
    trades = [
        f"{OPEN_MS - 5},110000,10,N,2000,0",
        f"{OPEN_MS + 5},111200,100,N,20000020,0",
        f"{OPEN_MS + 5},111250,100,D,1,0",  # a dealer's
        f"{OPEN_MS + 5},111250,100,M,20000200,0",  # not based on the quote
        f"{OPEN_MS + 6},111200,7,Q,1,1",
        f"{OPEN_MS + 6},111200,0,Q,1,0",
    ]
    source = lean(tmp_path, "\r\n".join(quotes), "\n".join(trades) + "\n")
    summary = import_tape(Format.LEAN, [source], tmp_path / "a.ptz")
    assert (summary["venue"], summary["symbols"], summary["books"], summary["trades"]) == ("usa", ["XYZ"], 4, 1)
    assert summary["locked_or_crossed"] == 1
    assert summary["left_out"] == {
        "quotes_outside_hours": 2,
        "quotes_suspicious": 1,
        "quotes_without_price": 1,
        "trades_not_of_the_moment": 1,
        "trades_of_nothing": 1,
        "trades_off_exchange": 1,
        "trades_outside_hours": 1,
        "trades_suspicious": 1,
    }
    start = EDT_MIDNIGHT_S * 10**9 + OPEN_MS * 10**6
    ask = [["11.1200", "400"]]
    assert [
        (ns - start, one.get("bids"), one.get("asks"), one["seq"]) for ns, one in frames_of(tmp_path / "a.ptz")
    ] == [
        (0, [["11.0000", "300"]], ask, 1),
        (5_000_000, None, None, 2),
        (5_000_000, [["11.1300", "100"]], ask, 3),
        (6_000_000, [], ask, 4),
        (8_500_000, [], [["11.1250", "1"]], 5),
    ]
    header, entries = read_tape(tmp_path / "a.ptz")
    assert (header.instruments[0].tick, header.instruments[0].price_decimals) == (100, 4)
    assert all(one.ns == json.loads(one.data)["time"] for one in entries if one.kind is EntryKind.RECEIVED)
    everything = import_tape(Format.LEAN, [source], tmp_path / "b.ptz", hours=Hours.ALL, off_exchange=True)
    assert (everything["books"], everything["trades"]) == (6, 3)


def test_lean_days_are_connections_of_their_own_and_clocks_change_in_between(tmp_path: Path) -> None:
    for day in ("20210315", "20210312"):  # summer time began on the 14th
        lean(tmp_path, f"{OPEN_MS},9000,100,0,0,N,1,0\n", "", day=day)
    import_tape(Format.LEAN, [tmp_path], tmp_path / "a.ptz")
    entries = entries_of(tmp_path / "a.ptz")
    assert "".join(one.kind.value for one in entries) == "horlor"
    friday, monday = (one.ns for one in entries if one.kind is EntryKind.RECEIVED)
    assert monday - friday == (3 * 24 - 1) * 3600 * 10**9
    assert read_tape(tmp_path / "a.ptz")[0].instruments[0].tick == 1  # below a dollar


ROW = f"{OPEN_MS},110000,300,0,0,N,1,0\n"


@pytest.mark.parametrize(
    ("quotes", "trades", "words"),
    [
        (ROW + "x,110000,300,0,0,N,1,0\n", "", "Quote_Tick.csv, line 2: expected time,bid,bid_size"),
        (ROW + f"{OPEN_MS},110000,300,0,0,N,1\n", "", "line 2: expected time,bid"),
        (ROW + f"{OPEN_MS},-1,300,0,0,N,1,0\n", "", "line 2: expected time,bid"),
        (ROW + f"{OPEN_MS},1.5,300,0,0,N,1,0\n", "", "line 2: expected time,bid"),
        (ROW + "\n" + ROW, "", "line 2: expected time,bid"),
        (ROW + f"{OPEN_MS - 1},110000,300,0,0,N,1,0\n", "", "line 2: expected no earlier time"),
        (ROW, f"{OPEN_MS},110000,300,N,zz,0\n", "Trade_Tick.csv, line 1: expected time,price,size,exchange"),
        ("1,110000,300,0,0,N,1,0\n", "", "expected quotes or trades in regular hours, found none"),
    ],
)
def test_lean_when_a_row_is_wrong_then_file_and_line_are_named(
    tmp_path: Path, quotes: str, trades: str, words: str
) -> None:
    result = papertape("lean", lean(tmp_path, quotes, trades), "--out", tmp_path / "a.ptz")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert words in result.output
    assert len(list(tmp_path.iterdir())) == 2


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[70] ^= 0xFF
    path.write_bytes(content)


def _other_day(path: Path) -> None:
    for kind in ("quote", "trade"):
        path.with_name(f"xyz_20210701_{kind}.zip").rename(path.with_name(f"xyz_20210702_{kind}.zip"))


def _two(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.csv", "")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut, "expected a whole zip"),
        (_flip, "expected a whole zip"),
        (_other_day, "expected 20210702_TICKER_Quote_Tick.csv, found 20210701_xyz_Quote_Tick.csv"),
        (_two, "expected one csv"),
        (Path.unlink, "expected quotes and trades of the day"),
    ],
)
def test_lean_when_a_zip_is_not_right_then_it_is_named(
    tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    damage(lean(tmp_path, ROW * 20, ""))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SourceError, match=words):
        import_tape(Format.LEAN, [tmp_path], tmp_path / "a.ptz")
    assert sorted(tmp_path.iterdir()) == before


def test_lean_when_the_second_day_is_wrong_then_no_half_tape_is_left(tmp_path: Path) -> None:
    lean(tmp_path, ROW, "")
    lean(tmp_path, "x\n", "", day="20210702")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SourceError, match=r"20210702_xyz_Quote_Tick\.csv, line 1"):
        import_tape(Format.LEAN, [tmp_path], tmp_path / "a.ptz")
    assert sorted(tmp_path.iterdir()) == before
    lean(tmp_path, ROW, "", ticker="abc")
    with pytest.raises(SourceError, match="20210701 twice"):
        import_tape(Format.LEAN, [tmp_path], tmp_path / "a.ptz")
