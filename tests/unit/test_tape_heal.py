"""The tape of a killed daemon and its journal: exactly the entries that the journal has, and an end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.entry import Entry, EntryKind
from adapters.tape import TapeWriter, encode_entry, read_tape
from adapters.tape_bytes import whole_frames
from adapters.tape_heal import Healed, heal_tape
from adapters.tape_types import TapeHeader

ENTRIES = [Entry(EntryKind.RECEIVED, number, "v", "", b'{"n":%d}' % number) for number in range(1, 41)]
LINES = [encode_entry(entry)[:-1] for entry in ENTRIES]


def lines_after(count: int) -> Iterator[bytes]:
    return iter(LINES[count:])


def tape(path: Path, entries: int, frame: int = 7) -> list[int]:
    """A whole tape with so many entries a frame; the offset behind each frame."""
    with TapeWriter(path, TapeHeader(started_ns=1, venues={}), flush_s=None) as writer:
        for number, entry in enumerate(ENTRIES[:entries], 1):
            writer.write(entry)
            if number % frame == 0:
                with writer._changed:
                    writer._full.append(writer._pending)
                    writer._pending, writer._filled = [], 0
                    writer._changed.notify_all()
    with path.open("rb") as file:
        return [end for _, end in whole_frames(file)]


def read(path: Path) -> list[Entry]:
    return list(read_tape(path)[1])


def test_a_tape_that_is_right_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.ptz"
    tape(path, 40)
    before = path.read_bytes()
    assert heal_tape(path, 40, lines_after) == Healed(0, 0)
    assert path.read_bytes() == before


@pytest.mark.parametrize("most", [0, 1, 6, 7, 8, 20, 39])
def test_what_the_journal_has_not_is_cut(tmp_path: Path, most: int) -> None:
    path = tmp_path / "a.ptz"
    tape(path, 40)
    assert heal_tape(path, most, lambda count: iter(LINES[count:most])) == Healed(0, 40 - most)
    assert read(path) == ENTRIES[:most]
    assert heal_tape(path, most, lambda count: iter(LINES[count:most])) == Healed(0, 0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_wherever_it_was_torn_it_is_made_whole(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.ptz"
    path.unlink(missing_ok=True)
    header, *_ = ends = tape(path, data.draw(st.integers(1, 40)), data.draw(st.integers(1, 12)))
    path.write_bytes(path.read_bytes()[: data.draw(st.integers(header, ends[-1]))])
    most = data.draw(st.integers(0, 40))
    heal_tape(path, most, lambda count: iter(LINES[count:most]))
    assert read(path) == ENTRIES[:most]


def test_without_a_header_it_is_no_tape(tmp_path: Path) -> None:
    path = tmp_path / "a.ptz"
    header, *_ = tape(path, 3)
    path.write_bytes(path.read_bytes()[: header - 1])
    with pytest.raises(ValueError, match="expected a tape with a header, found none that is whole"):
        heal_tape(path, 3, lines_after)
