"""The log of lives: what was written is read, what was altered is named, what was torn is cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.live.registry.log import FIRST, NAME, Event, lines, read_log
from engine.live.registry.store import Store

EVENTS = [
    Event(what="stored", model="net", version="ab" * 32, more={"card": "x", "seconds": 1.5}),
    Event(what="swapped", model="net", version="ab" * 32, ns=7, seq=3),
    Event(what="drift", model="net", version="ab" * 32, ns=9, seq=4, more={"value": 0.25, "detector": "adwin"}),
    Event(what="scored", model="net", version="ab" * 32, ns=11, seq=5, more={"sums": {"count": 3}}),
]


def written(folder: Path) -> bytes:
    Store(folder).append(EVENTS)
    return (folder / NAME).read_bytes()


def test_what_was_written_is_read_whether_at_once_or_line_by_line(tmp_path: Path) -> None:
    at_once = written(tmp_path / "a")
    store = Store(tmp_path / "b")
    for event in EVENTS:
        store.append([event])
    assert (tmp_path / "b" / NAME).read_bytes() == at_once
    log = read_log(tmp_path / "a" / NAME)
    assert (log.events, log.damage, log.torn, log.end) == (EVENTS, [], "", len(at_once))
    assert read_log(tmp_path / "none").events == []


def test_another_session_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    before = written(tmp_path)
    store = Store(tmp_path)
    assert store.open() == EVENTS
    store.append(EVENTS[:1])
    assert (tmp_path / NAME).read_bytes().startswith(before)
    assert read_log(tmp_path / NAME).events == [*EVENTS, EVENTS[0]]


@given(data=st.data())
def test_any_altered_byte_is_found_in_its_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    text, _ = lines(EVENTS, FIRST)
    at = data.draw(st.integers(0, len(text) - 2))  # without the last newline, or it is torn
    flipped = text[at] ^ data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("log") / NAME
    path.write_bytes(text[:at] + bytes([flipped]) + text[at + 1 :])
    log = read_log(path)
    number = text[:at].count(b"\n") + 1
    assert log.damage and f": line {number}: expected" in log.damage[0]
    assert all(event in EVENTS for event in log.events)


def test_a_line_that_was_taken_out_or_moved_is_found(tmp_path: Path) -> None:
    first, second, third, fourth = written(tmp_path).splitlines(keepends=True)
    for altered in (first + third + fourth, second + third + fourth, first + third + second + fourth):
        (tmp_path / NAME).write_bytes(altered)
        assert read_log(tmp_path / NAME).damage


@pytest.mark.parametrize("kept", [1, 20, 60])
def test_half_a_line_is_cut_off_by_the_next_writer_and_said(tmp_path: Path, kept: int) -> None:
    whole = written(tmp_path)
    path = tmp_path / NAME
    path.write_bytes(whole + lines(EVENTS[:1], read_log(path).last)[0][:kept])
    log = read_log(path)
    assert log.events == EVENTS and log.torn == f"{path}: {kept} bytes at its end are half a line"
    store = Store(tmp_path)
    assert store.open() == EVENTS and store.remarks == [f"{log.torn}; cut off"]
    store.append(EVENTS[1:2])
    assert read_log(path).events == [*EVENTS, EVENTS[1]]
    assert read_log(path).damage == []
