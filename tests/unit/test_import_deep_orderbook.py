"""Binance hours, made by hand: exact frames in their order, snapshots where they bridge, every way to be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.tape import read_tape
from engine.research.import_deep_orderbook import Snapshot, Update, compare
from engine.research.import_source import SourceError
from engine.research.import_tape import Format, import_tape
from tests.foreign import papertape


def depth(ms: int, first: int, last: int, bids: Any = (), asks: Any = ()) -> dict[str, Any]:
    return {"e": "depthUpdate", "E": ms, "s": "XYBTC", "U": first, "u": last, "b": bids, "a": asks}


def agg(ms: int, number: int, price: str = "1.00000000") -> dict[str, Any]:
    one = {"e": "aggTrade", "E": ms + 1, "s": "XYBTC", "a": number, "p": price, "q": "2.00000000"}
    return {**one, "f": number, "l": number, "T": ms, "m": True, "M": True}


MS = 1_604_221_200_000
SNAPSHOT = {"lastUpdateId": 12, "bids": [["1.00000000", "1.00000000"]], "asks": [["2.00000000", "1.00000000"]]}
UPDATES = [depth(MS + 100, 5, 10), depth(MS + 1100, 11, 15, [["1.00000000", "3.00000000"]]), depth(MS + 2100, 16, 16)]
AGGREGATES = [agg(MS + 50, 1), agg(MS + 1100, 2), agg(MS + 1101, 3)]


def deep(
    folder: Path, hour: str = "09", snapshot: Any = SNAPSHOT, updates: Any = UPDATES, trades: Any = AGGREGATES
) -> Path:
    for name, value in (("snapshot", snapshot), ("update", updates), ("trades", trades)):
        (folder / f"2020-11-01T{hour}-00-00_{name}.json").write_text(json.dumps(value))
    return folder


def test_deep_orderbook_frames_stand_in_their_order_and_the_snapshot_where_it_bridges(tmp_path: Path) -> None:
    summary = import_tape(Format.DEEP_ORDERBOOK, [deep(tmp_path)], tmp_path / "a.ptz")
    assert (summary["books"], summary["trades"], summary["gaps"], summary["snapshots"]) == (3, 3, 0, [])
    header, entries = read_tape(tmp_path / "a.ptz")
    assert {name: (one.use, one.symbols) for name, one in header.venues.items()} == {
        "binance-spot": ("binance-spot", ["XYBTC"])
    }
    found = list(entries)
    assert [(one.kind.value, one.ns // 10**6 - MS) for one in found] == [
        ("o", 50), ("r", 50), ("r", 100), ("r", 1100), ("h", 1100), ("r", 1100), ("r", 1101), ("r", 2100),
    ]  # fmt: skip
    assert found[2].data == b'{"stream":"xybtc@depth","data":' + msgspec.json.encode(UPDATES[0]) + b"}"
    assert found[3].data == b'{"stream":"xybtc@aggTrade","data":' + msgspec.json.encode(AGGREGATES[1]) + b"}"
    assert (found[4].token, found[4].data) == ("depth:XYBTC", msgspec.json.encode(SNAPSHOT))


def test_deep_orderbook_hours_overlap_without_telling_anything_twice(tmp_path: Path) -> None:
    deep(tmp_path)
    deep(tmp_path, "10", {**SNAPSHOT, "lastUpdateId": 16}, [UPDATES[2], depth(MS + 3100, 18, 20)], [AGGREGATES[2]])
    summary = import_tape(Format.DEEP_ORDERBOOK, [tmp_path], tmp_path / "a.ptz")
    assert (summary["books"], summary["trades"], summary["gaps"]) == (4, 3, 1)
    assert summary["left_out"] == {"depth_frames_seen_before": 1, "trades_seen_before": 1}
    (compared,) = summary["snapshots"]
    assert {key: count for key, count in compared.items() if key != "file"} == {
        "equal": 1, "under_way": 0, "never_told": 0, "different": 1,
    }  # fmt: skip


def test_a_later_snapshot_when_compared_then_each_level_has_its_verdict() -> None:
    first = Snapshot(10, [("5", "1"), ("4", "1")], [("6", "1")])
    updates = [
        Update(1, "X", 11, 12, [("5", "2")], [("7", "3")]),
        Update(2, "X", 13, 18, [("4", "9"), ("5", "0")], [("6", "4")]),  # under way at 15
    ]
    later = Snapshot(15, [("4", "7"), ("3", "1")], [("6", "1"), ("7", "4"), ("8", "1")])
    (found,) = compare(updates, [("later", later), ("first", first)])
    # 5 is gone as after the frame, 6 as before it; 4 is neither;
    # 3 and 8 are out of the first one's reach, 7 is wrong.
    assert found == {"file": "later", "equal": 2, "under_way": 1, "never_told": 2, "different": 1}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"snapshot": {"lastUpdateId": 1}}, "snapshot.json: the file: expected a depth snapshot"),
        ({"updates": {"a": 1}}, "update.json: the file: expected a JSON array"),
        ({"updates": [UPDATES[0], {**UPDATES[1], "u": "x"}]}, "update.json: payload 2: expected a payload"),
        ({"updates": [{**UPDATES[0], "b": [["1", "NaN"]]}]}, "update.json: payload 1: expected a payload"),
        ({"updates": []}, "expected depth frames, found none"),
        ({"updates": [UPDATES[0], {**UPDATES[1], "E": MS}]}, "depth frames, number 2: expected no earlier time"),
        ({"trades": [{**AGGREGATES[0], "s": "OTHER"}]}, "expected payloads of one symbol, found OTHER, XYBTC"),
    ],
)
def test_deep_orderbook_when_a_payload_is_wrong_then_it_is_named(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    result = papertape("deep-orderbook", deep(tmp_path, **changed), "--out", tmp_path / "a.ptz")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert words in result.output
    assert len(list(tmp_path.iterdir())) == 3


def test_deep_orderbook_when_a_file_is_cut_or_missing_then_it_says_so(tmp_path: Path) -> None:
    deep(tmp_path)
    path = tmp_path / "2020-11-01T09-00-00_trades.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(SourceError, match=r"trades\.json: the file: expected a JSON array"):
        import_tape(Format.DEEP_ORDERBOOK, [tmp_path], tmp_path / "a.ptz")
    path.unlink()
    with pytest.raises(SourceError, match=r"found no …_trades\.json"):
        import_tape(Format.DEEP_ORDERBOOK, [tmp_path], tmp_path / "a.ptz")
