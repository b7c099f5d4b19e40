"""The plain protocol: whole frames become differences, and a locked or crossed moment ends with the next good frame."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import MalformedFrame
from adapters.entry import Entry, EntryKind
from adapters.feed import Feed
from adapters.plain import CROSSED_FOR_NS, Plain
from adapters.plain_book import DEPTH
from engine.core.events import (
    ASK,
    CLEAR,
    CROSSED,
    GAP,
    LAST,
    LEVEL,
    MARK,
    READY,
    SEQUENCE,
    SNAPSHOT,
    TRADE,
    UNSIDED,
    Batch,
)
from engine.core.records import FeedState
from engine.core.types import Instrument
from engine.research.player import Player
from tests.market import Rig, Script

NS = 1_700_000_000_000_000_000
ETH = Instrument(venue="v", symbol="ETH", base="ETH", quote="USD", price_decimals=2, size_decimals=3)
Levels = Sequence[tuple[str, str]]


def book(seq: int, bids: Levels, asks: Levels, symbol: str = "ETH") -> bytes:
    return msgspec.json.encode(
        {"type": "book", "symbol": symbol, "seq": seq, "time": NS + seq, "bids": bids, "asks": asks}
    )


def trade(seq: int, price: str, size: str, side: str = "none") -> bytes:
    return msgspec.json.encode(
        {"type": "trade", "symbol": "ETH", "seq": seq, "time": NS, "id": 0, "price": price, "size": size, "side": side}
    )


def plain() -> Plain:
    venue = Plain({"ETH": (0, ETH)})
    venue.opened(NS)
    return venue


def rows(venue: Plain, frame: bytes, recv_ns: int = NS) -> list[Batch]:
    return [each for each in venue.received(frame, recv_ns) if isinstance(each, np.ndarray)]


def kinds(batches: Sequence[Batch]) -> list[list[int]]:
    return [batch["kind"].tolist() for batch in batches]


def test_a_crossed_moment_when_replayed_then_the_book_before_stands_on_until_the_next_good_frame() -> None:
    good, next_good = [("10.00", "1"), ("9.00", "2")], [("10.01", "1")]
    frames = [
        book(1, good, [("10.02", "1")]),
        book(2, [("10.02", "1")], [("10.02", "1")]),  # locked
        book(3, [("10.03", "1")], [("10.02", "1")]),  # crossed
        trade(4, "10.02", "1"),
        book(5, next_good, [("10.02", "4")]),
    ]
    rig = Rig(Script(), instruments=(ETH,))
    player = Player(rig.engine, {"v": Feed("v", Plain, {"ETH": (0, ETH)})}, block=1)
    player.apply(Entry(EntryKind.OPENED, NS, "v"))
    states = []
    for at, frame in enumerate(frames):
        player.apply(Entry(EntryKind.RECEIVED, NS + at, "v", data=frame))
        states.append(rig.engine.books.views[0].is_ready)
    view = rig.engine.books.views[0]
    assert states == [True] * 5
    assert (view.levels("bid"), view.levels("ask")) == ([(1001, 1000)], [(1002, 4000)])
    assert (player.doubts, player.feeds["v"].stats.gaps) == (0, 0)
    assert player.feeds["v"].stats.malformed == 0


def test_a_crossed_second_when_heard_by_a_strategy_then_it_is_a_gap_with_its_reason() -> None:
    script = Script()
    rig = Rig(script, instruments=(ETH,))
    venue = plain()
    moments = (
        ("10.00", 0),
        ("10.05", 1),
        ("10.04", CROSSED_FOR_NS),
        ("10.05", CROSSED_FOR_NS + 1),
        ("10.00", 2 * CROSSED_FOR_NS),
    )
    for seq, (bid, after_ns) in enumerate(moments, 1):
        rig.feed(*rows(venue, book(seq, [(bid, "1")], [("10.02", "1")]), NS + after_ns))
        assert rig.engine.books.views[0].is_ready == (seq not in (4,))
    assert [one.reason for one in script.all("gap")] == ["crossed"]
    assert [(fact.ready, fact.reason) for fact in rig.facts(FeedState)] == [(True, ""), (False, "crossed"), (True, "")]


def test_a_crossed_second_when_nothing_more_comes_then_the_clock_says_so() -> None:
    venue = plain()
    rows(venue, book(1, [("10.00", "1")], [("10.02", "1")]))
    assert rows(venue, book(2, [("10.02", "1")], [("10.02", "1")])) == []
    assert venue.ticked(NS + CROSSED_FOR_NS - 1) == []
    (gap,) = venue.ticked(NS + CROSSED_FOR_NS)
    assert isinstance(gap, np.ndarray)
    assert (gap["kind"][0], gap["reason"][0]) == (GAP, CROSSED)
    assert venue.ticked(NS + 2 * CROSSED_FOR_NS) == []


def test_frames_of_a_ready_book_when_nothing_is_wrong_then_it_is_never_taken_out_of_use() -> None:
    script = Script()
    rig = Rig(script, instruments=(ETH,))
    venue = plain()
    for seq in range(1, 50):
        rig.feed(*rows(venue, book(seq, [(f"10.0{seq % 5}", "1")], [("10.10", f"{seq}")]), NS + seq))
    assert script.all("gap") == []
    assert [fact.ready for fact in rig.facts(FeedState)] == [True]


def test_a_hole_when_a_book_follows_then_there_is_a_gap_and_the_book_is_whole_again() -> None:
    venue = plain()
    assert kinds(rows(venue, book(5, [("10", "1")], []))) == [[CLEAR, LEVEL, READY]]  # joined in the middle: no hole
    found = rows(venue, book(7, [("10", "1")], [("11", "2")]))
    assert kinds(found) == [[GAP], [CLEAR, LEVEL, LEVEL, READY]]
    assert found[0]["reason"][0] == SEQUENCE
    assert kinds(rows(venue, book(9, [("11", "1")], [("11", "2")]))) == [[GAP]]  # a hole, and locked
    assert kinds(rows(venue, book(10, [("10", "1")], [("11", "2")]))) == [[CLEAR, LEVEL, LEVEL, READY]]


def test_a_hole_when_a_trade_follows_then_the_trade_counts_and_the_next_book_is_whole() -> None:
    venue = plain()
    rows(venue, book(1, [("10", "1")], []))
    found = rows(venue, trade(3, "10", "0.5"))
    assert kinds(found) == [[GAP], [TRADE]]
    assert int(found[1]["flags"][0]) == UNSIDED | LAST
    assert kinds(rows(venue, book(4, [("10", "1")], []))) == [[CLEAR, LEVEL, READY]]


def test_a_frame_when_it_comes_again_or_late_then_nothing_follows() -> None:
    venue = plain()
    rows(venue, book(1, [("10", "1")], []))
    rows(venue, trade(2, "10", "0.5"))
    for frame in (book(1, [("9", "1")], []), book(2, [("9", "1")], []), trade(2, "10", "0.5")):
        assert rows(venue, frame) == []
    assert kinds(rows(venue, book(3, [("10", "1")], []))) == [[MARK]]


def test_a_doubted_book_when_the_next_frame_comes_then_it_is_whole() -> None:
    venue = plain()
    rows(venue, book(1, [("10", "1")], []))
    assert venue.doubted(0, NS) == ()
    assert kinds(rows(venue, book(2, [("10", "1")], []))) == [[CLEAR, LEVEL, READY]]


@pytest.mark.parametrize(
    ("bids", "asks", "words"),
    [
        ([("10", "1"), ("10", "1")], [], "each price once"),
        ([("9", "1"), ("10", "1")], [], "best first"),
        ([], [("11", "1"), ("10", "1")], "best first"),
        ([("10", "0")], [], "sizes above zero"),
        ([("0", "1")], [], "above zero"),
        ([("10.001", "1")], [], "2 decimals"),
        ([("90071992547410.00", "1")], [], "at most 9007199254740992 units"),
        ([("10", "9007199254741")], [], "at most 9007199254740992 units"),
        ([(f"{price}", "1") for price in range(DEPTH + 1, 0, -1)], [], "5,000 levels a side"),
        ([], [(f"{price}", "1") for price in range(1, 2 * DEPTH + 3)], "5,000 levels a side"),
    ],
)
def test_a_wrong_book_when_received_then_it_is_refused_with_words_and_the_next_one_tells_of_the_hole(
    bids: Levels, asks: Levels, words: str
) -> None:
    venue = plain()
    rows(venue, book(1, [("10", "1")], [("11", "1")]))
    with pytest.raises(MalformedFrame, match=words):
        rows(venue, book(2, bids, asks))
    assert kinds(rows(venue, book(3, [("10", "1")], [("11", "1")]))) == [[GAP], [CLEAR, LEVEL, LEVEL, READY]]


def test_a_deep_book_when_it_fills_a_chunk_then_all_of_it_leaves() -> None:
    venue = plain()
    for seq in range(1, 5):
        bids = [(f"{price}.0{seq}", "1") for price in range(DEPTH, 0, -1)]
        asks = [(f"{price}.0{seq}", "1") for price in range(DEPTH + 1, 2 * DEPTH + 1)]
        (batch,) = rows(venue, book(seq, bids, asks))
        assert len(batch) == (2 * DEPTH + 2 if seq == 1 else 4 * DEPTH)


def test_instruments_when_a_field_is_impossible_then_the_list_is_refused() -> None:
    one = {"symbol": "X", "base": "X", "quote": "Y", "price_decimals": 2, "size_decimals": 0}
    assert Plain.parse_instruments("v", msgspec.json.encode({"instruments": [one]}))["X"].tick == 1
    for wrong in ({"tick": "0"}, {"tick": "0.001"}, {"contract_size": "0"}, {"min_size": "0.5"}, {"kind": "swap"}):
        with pytest.raises(MalformedFrame):
            Plain.parse_instruments("v", msgspec.json.encode({"instruments": [one | wrong]}))


sides = st.dictionaries(st.integers(1, 12), st.integers(1, 3), max_size=6)


@given(st.lists(st.tuples(sides, sides, st.sampled_from(["", "hole", "doubt"])), max_size=12))
def test_any_frames_when_applied_row_by_row_then_the_book_is_what_the_last_one_showed(
    frames: list[tuple[dict[int, int], dict[int, int], str]],
) -> None:
    venue = plain()
    held: tuple[dict[int, int], dict[int, int]] = ({}, {})
    is_ready, seq = False, 0
    for bids, asks, trouble in frames:
        seq += 2 if trouble == "hole" else 1
        if trouble == "doubt":
            is_ready = False  # the engine took it out of use, and says so
            venue.doubted(0, NS)
        shown = [
            [(f"{price}", f"{size}") for price, size in side]
            for side in (sorted(bids.items(), reverse=True), sorted(asks.items()))
        ]
        for batch in rows(venue, book(seq, shown[0], shown[1])):
            assert batch["flags"][-1] & LAST and not (batch["flags"][:-1] & LAST).any()
            for kind, flags, _, reason, price, size, *_ in batch.tolist():
                if kind in (CLEAR, GAP):
                    is_ready = False
                    assert kind == CLEAR or reason in (CROSSED, SEQUENCE)
                    held = ({}, {})
                elif kind == READY:
                    is_ready = True
                elif kind == LEVEL:
                    side = held[flags & ASK]
                    assert side.get(price, 0) != size  # only what differs, but for a whole book
                    assert is_ready != bool(flags & SNAPSHOT)
                    side.update({price: size}) if size else side.pop(price)
        crossed = bool(bids and asks and max(bids) >= min(asks))
        assert is_ready or crossed  # a book in doubt waits for one that is not crossed
        if not crossed:
            assert held == tuple({100 * price: 1000 * size for price, size in side.items()} for side in (bids, asks))
