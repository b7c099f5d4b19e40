"""The book: sorted levels, snapshots, doubt, and what strategies may see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core import events as ev
from engine.core.book import Book, Books, find_level, set_level
from engine.core.records import FeedState, Fill
from engine.core.state import HEARS_BOOK
from engine.core.types import Side
from tests.market import BTC, ETH, Rig, Script, clock, depth, gap, snapshot, trade


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 3)), max_size=200), st.integers(1, 40))
def test_levels_agree_with_a_dictionary(changes: list[tuple[int, int]], room: int) -> None:
    keys, sizes = np.zeros(room, np.int64), np.zeros(room, np.int64)
    count, model = 0, dict[int, int]()
    for key, size in changes:
        count = set_level(keys, sizes, count, key, size)
        if size:
            model[key] = size
            if len(model) > room:  # the level farthest from the touch makes room
                del model[min(model)]
        else:
            model.pop(key, None)
        assert dict(zip(keys[:count].tolist(), sizes[:count].tolist(), strict=True)) == model
        assert keys[:count].tolist() == sorted(model)
    for key in range(1, 61):
        at = find_level(keys, count, key)
        assert (at >= 0 and keys[at] == key) if key in model else at == -1


def test_levels_far_from_the_touch_are_found_too() -> None:
    keys, sizes = np.zeros(64, np.int64), np.zeros(64, np.int64)
    count = 0
    for key in range(2, 122, 2):
        count = set_level(keys, sizes, count, key, key)
    for key in (3, 1, 4, 60, 61, 2):  # new, first, changed, changed, new, gone
        count = set_level(keys, sizes, count, key, 0 if key == 2 else 7)
    assert count == 62
    assert dict(zip(keys[:5].tolist(), sizes[:5].tolist(), strict=True)) == {1: 7, 3: 7, 4: 7, 6: 6, 8: 8}
    assert keys[:count].tolist() == sorted({*range(4, 122, 2), 1, 3, 61})


def test_the_view_reads_both_sides() -> None:
    rig = Rig()
    rig.feed(snapshot(5, [(99, 2), (100, 1)], [(103, 4), (102, 3)], id=7))
    book = rig.engine.book_views[0]
    assert (book.bid, book.bid_size, book.ask, book.ask_size) == (100, 1, 102, 3)
    assert (book.is_ready, book.changed_ns, book.update_id) == (True, 5, 7)
    assert (book.mid, book.spread) == (101.0, 2)
    assert book.levels("bid") == [(100, 1), (99, 2)]
    assert book.levels("ask", 1) == [(102, 3)]
    assert (book.size_at("ask", 103), book.size_at("bid", 98), book.size_at("bid", 99)) == (4, 0, 2)
    assert book.imbalance() == pytest.approx(-0.5)
    assert book.imbalance(levels=2) == pytest.approx((3 - 7) / 10)


def test_an_empty_book_reads_as_nothing() -> None:
    book = Books((BTC,)).views[0]
    assert (book.mid, book.spread, book.imbalance(), book.levels("bid")) == (0.0, 0, 0.0, [])


def states(rig: Rig) -> list[tuple[bool, str]]:
    return [(fact.ready, fact.reason) for fact in rig.facts(FeedState)]


def test_only_a_snapshot_makes_a_book_ready() -> None:
    script = Script()
    rig = Rig(script)
    rig.feed(depth(1, [(100, 1)], [(101, 1)]), depth(2, [(100, 2)]))
    assert script.all("book") == [] and states(rig) == []
    rig.feed(snapshot(3, [(100, 1)], [(101, 1)]), depth(4, [(100, 5)]), depth(5))
    assert script.all("book") == [(100, 101), (100, 101)]


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        (gap(2), "sequence"),
        (ev.row(ev.DOWN, symbol=0, recv_ns=2, reason=ev.CONNECTION), "connection"),
        (depth(2, [(102, 1)]), "crossed"),
        (depth(2, [(100, -1)]), "negative"),
        (depth(2, [(0, 1)]), "negative"),
    ],
)
def test_doubt_takes_the_book_away_from_everybody(batch: ev.Batch, reason: str) -> None:
    script = Script()
    rig = Rig(script)
    rig.feed(snapshot(1, [(100, 1)], [(101, 1)]))
    rig.feed(batch)
    assert rig.engine.doubted == ([0] if reason in ("crossed", "negative") else [])
    rig.feed(depth(3, [(100, 7)], [(102, 0)]))
    assert states(rig) == [(True, ""), (False, reason)]
    assert [gap.reason for gap in script.all("gap")] == [reason]
    assert len(script.all("book")) == 1
    status = rig.engine.status()["book_tops"][0]
    assert (status["ready"], status["reason"]) == (False, reason)
    rig.feed(snapshot(4, [(100, 1)], [(101, 1)]))
    assert states(rig)[-1] == (True, "")
    assert rig.engine.summary()["books"] == {"ready": 1, "total": 1, "doubts": 1}


def test_a_crossed_snapshot_is_no_book() -> None:
    rig = Rig()
    rig.feed(snapshot(1, [(102, 1)], [(101, 1)]))
    assert not rig.engine.book_views[0].is_ready
    assert rig.engine.doubted == [0]


def test_a_snapshot_of_a_ready_book_is_told_as_a_break() -> None:
    script = Script()
    rig = Rig(script)
    rig.feed(snapshot(1, [(100, 1)], [(101, 1)]), snapshot(2, [(99, 1)], [(101, 1)]))
    assert states(rig) == [(True, ""), (False, ""), (True, "")]
    assert script.all("book")[-1] == (99, 101)


def test_a_frame_is_seen_whole() -> None:
    script = Script()
    rig = Rig(script)
    rig.feed(snapshot(1, [(100, 1)], [(101, 1)]))
    rig.feed(depth(2, [(100, 0), (98, 1)], [(99, 1), (101, 0)]))  # crossed in the middle, sound at the end
    assert script.all("book")[-1] == (98, 99)
    assert states(rig) == [(True, "")]


def test_symbols_do_not_touch_each_other() -> None:
    rig = Rig(Script(), instruments=(BTC, ETH))
    rig.feed(snapshot(1, [(100, 1)], [(101, 1)], symbol=0), snapshot(2, [(10, 1)], [(11, 1)], symbol=1))
    rig.feed(gap(3, symbol=0), depth(4, [(10, 9)], symbol=1))
    assert [book.is_ready for book in rig.engine.book_views] == [False, True]
    assert rig.engine.book_views[1].bid_size == 9


def test_quotes_and_clocks_leave_the_book_alone() -> None:
    rig = Rig()
    rig.feed(snapshot(1, [(100, 1)], [(101, 1)]))
    quote = np.concatenate(
        [
            ev.row(ev.QUOTE, symbol=0, recv_ns=2, flags=0, price=50, size=1),
            ev.row(ev.QUOTE, symbol=0, recv_ns=2, flags=ev.ASK | ev.LAST, price=51, size=1),
        ]
    )
    rig.feed(quote, clock(9), ev.row(ev.UP, symbol=0, recv_ns=9))
    assert (rig.engine.book_views[0].bid, rig.engine.now_ns) == (100, 9)


def test_time_never_runs_backwards() -> None:
    script = Script()
    rig = Rig(script)
    rig.feed(snapshot(10, [(100, 1)], [(101, 1)]), depth(5, [(100, 2)]))
    assert rig.engine.now_ns == 10
    assert [record.ns for record in rig.records] == sorted(record.ns for record in rig.records)


def test_trades_are_heard_in_order_after_their_frame() -> None:
    script = Script()
    rig = Rig(script)
    both = np.concatenate([trade(1, 100, 1, sell=True, id=1), trade(1, 101, 2, sell=False, id=2)])
    both["flags"][0] &= ~np.uint8(ev.LAST)
    rig.feed(both)
    assert [(t.price, t.size, int(t.side), t.id) for t in script.all("trade")] == [(100, 1, -1, 1), (101, 2, 1, 2)]


def test_nobody_listening_costs_no_wake() -> None:
    rig = Rig()
    assert rig.engine.books.top[0, HEARS_BOOK] == 0


def checked(ns: int, bids: list[tuple[int, int]], checksum: int) -> ev.Batch:
    """A depth frame that ends with the venue's checksum."""
    body = depth(ns, bids, id=ns)
    body["flags"] &= ~np.uint8(ev.LAST)
    return np.concatenate([body, ev.row(ev.CHECK, symbol=0, recv_ns=ns, size=checksum, id=ns)])


def test_a_frame_is_held_until_the_venues_checksum_was_compared() -> None:
    seen: list[tuple[int, int]] = []

    def rule(book: Book) -> int:
        seen.append((book.bid, book.bid_size))
        return book.bid_size

    script = Script()
    rig = Rig(script, checksums={0: rule})
    rig.feed(checked(1, [(100, 3)], 3))  # no book yet, nothing to compare
    rig.feed(snapshot(2, [(100, 1)], [(101, 1)]), checked(3, [(100, 7)], 7), checked(4, [(99, 2)], 7))
    assert seen == [(100, 7), (100, 7)]
    assert len(script.all("book")) == 3 and rig.engine.book_views[0].update_id == 4
    rig.feed(np.concatenate([trade(5, 100, 1, sell=True), checked(6, [(100, 8)], 9), depth(7, [(100, 9)])]))
    assert (states(rig)[-1], rig.engine.doubted) == ((False, "checksum"), [0])
    assert len(script.all("book")) == 3


def test_a_resting_order_trades_once_in_a_frame_that_is_checked() -> None:
    script = Script({"start": lambda _, ctx: ctx.timer("go", 1e-8)})
    script.on["timer"] = lambda _, ctx: ctx.order("BTCUSDT", Side.BUY, 4, 100)
    rig = Rig(script, checksums={0: lambda book: 5})
    rig.feed(snapshot(1, [(99, 1)], [(102, 1)]), clock(20), clock(21))
    both = np.concatenate([trade(30, 100, 3, sell=True), checked(30, [(99, 2)], 5)])
    both["flags"][0] &= ~np.uint8(ev.LAST)
    rig.feed(both)
    assert [(fill.price, fill.size) for fill in rig.facts(Fill)] == [(100, 3)]


def test_a_venue_without_a_rule_lets_its_checksums_pass() -> None:
    rig = Rig()
    rig.feed(snapshot(1, [(100, 1)], [(101, 1)]), checked(2, [(100, 7)], 1))
    assert rig.engine.book_views[0].is_ready


def test_frames_reach_the_tap() -> None:
    seen: list[ev.Frames] = []
    rig = Rig(frames_tap=lambda frames: seen.append(frames.copy()))
    rig.feed(snapshot(1, [(100, 1)], [(101, 2)], id=3), trade(2, 101, 4, sell=False), trade(3, 100, 5, sell=True))
    rig.feed(depth(4, id=8))
    rig.say("stop", 5)
    frames = np.concatenate(seen)
    assert frames["id"].tolist() == [3, 0, 0, 8]
    assert frames["flags"].tolist() == [
        ev.FRAME_READY | ev.FRAME_BOOK,
        ev.FRAME_READY | ev.FRAME_TRADE,
        ev.FRAME_READY | ev.FRAME_TRADE,
        ev.FRAME_READY | ev.FRAME_BOOK,
    ]
    assert frames["bid"][:, 0].tolist() == [100] * 4 and frames["ask_size"][:, 0].tolist() == [2] * 4
    assert frames["buy_size"].tolist() == [0, 4, 0, 0] and frames["sell_size"].tolist() == [0, 0, 5, 0]
    assert frames["last_price"].tolist() == [0, 101, 100, 0]
