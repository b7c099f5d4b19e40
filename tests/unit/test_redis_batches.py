"""What an engine makes of a feed's frames: each number once, a hole doubted, an old book never taken for a new one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from adapters.contract import MalformedFrame, Output, Send
from adapters.entry import Entry, EntryKind
from adapters.feed import Feed
from adapters.redis_batches import BEAT, MARKER, ROWS, Asked, RedisBatches, pack, unpack
from engine.core.events import CLEAR, GAP, LAST, LEVEL, OVERFLOW, READY, REASONS, SEQUENCE, TRADE, UP, row, rows
from engine.core.types import Instrument

X = Instrument(venue="v", symbol="X", base="B", quote="Q", price_decimals=2, size_decimals=2)
S = 1_000_000_000


def feed() -> Feed:
    made = Feed("v", RedisBatches, {"X": (5, X)})
    made.apply(Entry(EntryKind.OPENED, S, "v"))
    return made


def frame(number: int, *kinds: int, epoch: int = 1, sent_ns: int = S, one: int = 0) -> bytes:
    batch = rows(len(kinds))
    batch["kind"] = kinds
    batch["flags"][-1:] = LAST
    kind = ROWS if kinds else MARKER
    return pack(kind, "X", epoch, number, sent_ns, one, rows=batch.tobytes())


def hear(to: Feed, data: bytes, ns: int = S) -> list[tuple[int, ...]]:
    """The kinds of rows of each batch that follows."""
    return kinds(to.apply(Entry(EntryKind.RECEIVED, ns, "v", data=data)))


def kinds(outputs: Sequence[Output]) -> list[tuple[int, ...]]:
    return [tuple(one["kind"].tolist()) for one in outputs if isinstance(one, np.ndarray)]


def asked(outputs: Sequence[Output]) -> list[Asked]:
    """What is asked for."""
    return [msgspec.json.decode(one.frame, type=Asked) for one in outputs if isinstance(one, Send)]


def in_step() -> Feed:
    """One whose book is ready: what it asked for was answered."""
    made = feed()
    assert hear(made, frame(1, one=S)) == []
    assert hear(made, frame(2, CLEAR, LEVEL, READY)) == [(CLEAR, LEVEL, READY)]
    return made


def test_it_asks_at_the_opening_and_takes_no_book_before_the_answer() -> None:
    made = Feed("v", RedisBatches, {"X": (5, X)})
    up, send = made.apply(Entry(EntryKind.OPENED, S, "v"))
    assert kinds([up]) == [(UP,)] and isinstance(send, Send)
    assert msgspec.json.decode(send.frame, type=Asked) == Asked(S, ["X"])
    assert hear(made, frame(1, CLEAR, LEVEL, READY)) == []  # of a backlog
    assert hear(made, frame(2, LEVEL, TRADE)) == [(TRADE,)]
    assert hear(made, frame(3, one=S - 1)) == []  # the answer to another
    assert hear(made, frame(4, LEVEL)) == []
    assert hear(made, frame(5, one=S)) == []
    assert hear(made, frame(6, CLEAR, READY)) == [(CLEAR, READY)]


def test_rows_are_of_the_engines_symbol_and_time() -> None:
    made = in_step()
    (batch,) = made.apply(Entry(EntryKind.RECEIVED, 9 * S // 8, "v", data=frame(3, LEVEL, TRADE)))
    assert isinstance(batch, np.ndarray)
    assert batch["symbol"].tolist() == [5, 5] and batch["recv_ns"].tolist() == [9 * S // 8] * 2
    assert batch["flags"][-1] & LAST


def test_what_was_seen_is_dropped_also_after_a_lost_connection() -> None:
    made = in_step()
    assert hear(made, frame(3, TRADE)) == [(TRADE,)]
    assert hear(made, frame(3, TRADE)) == []
    made.apply(Entry(EntryKind.LOST, 2 * S, "v", "connection"))
    made.apply(Entry(EntryKind.OPENED, 3 * S, "v"))
    assert hear(made, frame(3, TRADE), 3 * S) == []
    assert hear(made, frame(4, TRADE), 3 * S) == [(TRADE,)]


def test_a_hole_puts_the_book_in_doubt_and_is_asked_about() -> None:
    made = in_step()
    gap, send, trade = made.apply(Entry(EntryKind.RECEIVED, S, "v", data=frame(4, LEVEL, TRADE)))
    assert kinds([gap, trade]) == [(GAP,), (TRADE,)] and isinstance(send, Send)
    assert isinstance(gap, np.ndarray) and gap["reason"][0] == SEQUENCE
    assert made.stats.gaps == 1


def test_a_beat_shows_a_hole_at_the_end() -> None:
    made = in_step()
    assert hear(made, pack(BEAT, "X", 1, 2, S)) == []
    assert hear(made, pack(BEAT, "X", 1, 3, S)) == [(GAP,)]


def test_a_new_feed_is_doubted_and_an_old_one_unheard() -> None:
    made = in_step()
    assert hear(made, frame(1, LEVEL, epoch=2)) == [(GAP,)]
    assert hear(made, frame(3, TRADE, epoch=1)) == []
    assert hear(made, frame(2, TRADE, epoch=2)) == [(TRADE,)]


def test_a_backlog_is_no_market_to_decide_on() -> None:
    made = in_step()
    late = made.apply(Entry(EntryKind.RECEIVED, 6 * S, "v", data=frame(3, LEVEL, TRADE, sent_ns=S)))
    assert kinds(late) == [(GAP,), (TRADE,)] and asked(late) == []
    assert isinstance(late[0], np.ndarray) and REASONS[late[0]["reason"][0]] == REASONS[OVERFLOW]
    assert hear(made, frame(4, CLEAR, READY, sent_ns=2 * S), 7 * S) == []


def test_a_snapshot_is_asked_for_when_the_backlog_is_worked_off_and_not_before() -> None:
    made = in_step()
    assert hear(made, frame(3, LEVEL, sent_ns=S), 6 * S) == [(GAP,)]
    for second in range(7, 60):  # as long as it lasts the venue is left alone
        assert made.apply(Entry(EntryKind.TICKED, second * S, "v")) == []
        assert hear(made, frame(second - 3, LEVEL, TRADE, sent_ns=(second - 5) * S), second * S) == [(TRADE,)]
    assert hear(made, pack(BEAT, "X", 1, 56, 60 * S), 60 * S) == []
    assert asked(made.apply(Entry(EntryKind.TICKED, 61 * S, "v"))) == [Asked(61 * S, ["X"])]
    assert hear(made, frame(57, LEVEL, sent_ns=61 * S), 61 * S) == []
    assert hear(made, frame(58, one=61 * S, sent_ns=61 * S), 61 * S) == []
    assert hear(made, frame(59, CLEAR, READY, sent_ns=62 * S), 62 * S) == [(CLEAR, READY)]
    assert made.apply(Entry(EntryKind.TICKED, 70 * S, "v")) == []


def test_a_backlog_that_comes_again_before_the_request_is_one_backlog() -> None:
    made = in_step()
    assert hear(made, frame(3, LEVEL, sent_ns=S), 6 * S) == [(GAP,)]
    assert hear(made, frame(4, LEVEL, sent_ns=6 * S), 6 * S) == []
    assert hear(made, frame(5, LEVEL, sent_ns=6 * S), 9 * S) == []
    assert made.apply(Entry(EntryKind.TICKED, 10 * S, "v")) == []
    assert hear(made, frame(6, LEVEL, sent_ns=10 * S), 10 * S) == []
    assert len(asked(made.apply(Entry(EntryKind.TICKED, 11 * S, "v")))) == 1


def test_symbols_that_were_behind_are_asked_for_together() -> None:
    many = {f"S{number}": (number, X) for number in range(300)}
    made = Feed("v", RedisBatches, many)
    made.apply(Entry(EntryKind.OPENED, S, "v"))
    for symbol in many:
        hear(made, pack(MARKER, symbol, 1, 1, S, one=S))
    trade = row(TRADE, symbol=0, recv_ns=0).tobytes()
    for symbol in many:
        hear(made, pack(ROWS, symbol, 1, 2, S, rows=trade), 6 * S)
    for symbol in many:
        hear(made, pack(BEAT, symbol, 1, 2, 7 * S), 7 * S)
    assert asked(made.apply(Entry(EntryKind.TICKED, 8 * S, "v"))) == [Asked(8 * S, list(many))]


def test_clocks_that_drift_are_no_backlog() -> None:
    made = in_step()
    day = 86_400
    for hour in range(1, 25):
        ns = hour * 3600 * S
        sent_ns = ns - hour * S // 6  # two seconds and more in a day
        assert hear(made, frame(2 + hour, LEVEL, sent_ns=sent_ns), ns) == [(LEVEL,)], (hour, day)


def test_an_unanswered_request_is_made_again() -> None:
    made = feed()
    assert made.apply(Entry(EntryKind.TICKED, 3 * S, "v")) == []
    assert asked(made.apply(Entry(EntryKind.TICKED, 6 * S, "v"))) == [Asked(S, ["X"])], "the marker may be on its way"
    assert made.apply(Entry(EntryKind.TICKED, 8 * S, "v")) == []
    assert asked(made.apply(Entry(EntryKind.TICKED, 11 * S, "v"))) == [Asked(S, ["X"])]
    assert hear(made, frame(1, one=S)) == []
    assert made.apply(Entry(EntryKind.TICKED, 60 * S, "v")) == []
    assert hear(made, frame(2, CLEAR, READY)) == [(CLEAR, READY)]


def test_the_engines_doubt_goes_to_the_feed() -> None:
    made = in_step()
    (send,) = made.apply(Entry(EntryKind.DOUBTED, 2 * S, "v", "5"))
    assert isinstance(send, Send)
    assert hear(made, frame(3, CLEAR, READY)) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        pack(ROWS, "X", 1, 1, 0),
        pack(9, "X", 1, 1, 0),
        pack(MARKER, "X", 1, 1, 0, rows=bytes(48)),
        pack(ROWS, "X", 1, 1, 0, rows=bytes(47)),
        pack(ROWS, "X", 1, 1, 0, rows=bytes(48)),
        pack(ROWS, "X", 1, 1, 0, rows=row(LEVEL, symbol=0, recv_ns=0, flags=0).tobytes()),
        pack(ROWS, "X", 1, 1, 0, rows=row(200, symbol=0, recv_ns=0).tobytes()),
    ],
)
def test_other_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        unpack(data)
    made = in_step()
    assert hear(made, data) == [] and made.stats.malformed == 1


def test_the_list_of_instruments() -> None:
    body = msgspec.json.encode({"X": X})
    assert RedisBatches.parse_instruments("v", body) == {"X": X}
    with pytest.raises(MalformedFrame):
        RedisBatches.parse_instruments("v", b"[]")
