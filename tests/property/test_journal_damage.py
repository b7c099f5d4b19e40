"""Every cut and every flipped bit: a journal gives out what was written, or says exactly where it is damaged."""

from __future__ import annotations

import os
import shutil
from bisect import bisect_right
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.live.journal import Frame, Journal, JournalDamaged, JournalSettings, Kind, Position, read, scan_tail
from engine.live.journal.errors import Cut
from engine.live.journal.frames import HEAD_BYTES, PREAMBLE_BYTES
from engine.live.journal.verify import verify
from tests.journals import LINE, QUIET, QuickDisk, entries, fact, facts, frames, kill, write

LAST_KIB = 64


def tail_of(folder: Path) -> Path:
    return max(folder.iterdir())


def begins(found: list[Frame], segment: int) -> list[int]:
    return [frame.position.offset for frame in found if frame.position.segment == segment]


def test_a_tail_cut_at_every_byte_loses_at_most_the_torn_frame(tmp_path: Path) -> None:
    with Journal.open(tmp_path, QUIET) as journal:
        for number in range(20):
            journal.input(bytes([65 + number]) * (37 * number + 3000))
            journal.facts(facts(journal.last_seq + 1, 1 + number % 2))
            journal.mark({"number": number})
            journal.commit()
    whole = frames(tmp_path)
    ends = [frame.end.offset for frame in whole]
    path = tail_of(tmp_path)
    size = path.stat().st_size
    assert size > LAST_KIB << 10
    for cut in range(size - 1, size - (LAST_KIB << 10) - 1, -1):
        os.truncate(path, cut)
        tail = scan_tail(tmp_path)
        assert tail is not None
        left = bisect_right(ends, cut)
        assert tail.position.offset == ends[left - 1]
        assert tail.entries == left - 1
        assert (tail.cut is None) == (cut == ends[left - 1])
        if tail.cut is not None:
            assert (tail.cut.position, tail.cut.bytes) == (tail.position, cut - ends[left - 1])


def test_a_journal_cut_anywhere_is_opened_and_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "whole", 6)
    whole = frames(tmp_path / "whole")
    data = tail_of(tmp_path / "whole").read_bytes()
    for cut in range(whole[0].end.offset, len(data)):
        folder = tmp_path / "cut"
        folder.mkdir()
        (folder / "00000001.ptj").write_bytes(data[:cut])
        left = [frame for frame in whole if frame.end.offset <= cut]
        with Journal.open(folder, QUIET, disk=QuickDisk()) as journal:
            assert journal.position == left[-1].end
            assert (journal.cut is None) == (left[-1].end.offset == cut)
            journal.facts([fact(journal.last_seq + 1, "went on")])
        assert frames(folder)[:-1] == left
        assert verify(folder).cut is None
        shutil.rmtree(folder)


def test_a_first_segment_without_its_header_is_damage(tmp_path: Path) -> None:
    """It got its name when the header was on the disk, so nothing was cut off here."""
    write(tmp_path, 1)
    path = tail_of(tmp_path)
    whole = path.read_bytes()
    for size, offset in ((0, 0), (3, 0), (PREAMBLE_BYTES, PREAMBLE_BYTES), (40, PREAMBLE_BYTES)):
        path.write_bytes(whole[:size])
        with pytest.raises(JournalDamaged) as told:
            Journal.open(tmp_path, QUIET)
        assert told.value.offset == offset
        assert path.stat().st_size == size


def read_until_damage(folder: Path) -> tuple[list[Frame], Cut | None, JournalDamaged | None]:
    cuts: list[Cut] = []
    found: list[Frame] = []
    try:
        found.extend(read(folder, on_cut=cuts.append))
    except JournalDamaged as damage:
        return found, None, damage
    return found, cuts[0] if cuts else None, None


def two_segments(folder: Path) -> list[Frame]:
    """A sealed segment and the last one, two thousand bytes each, all kinds of frames in both."""
    with Journal.open(folder, JournalSettings(sync_every_ns=None, segment_bytes=1900), run="test") as journal:
        while journal.position.segment < 2 or journal.position.offset < 1600:
            journal.input(LINE * (1 + journal.last_seq % 3))
            journal.facts(facts(journal.last_seq + 1, 2))
            if journal.last_seq % 6 == 0:
                journal.mark({"kind": "digest", "seq": journal.last_seq})
            journal.commit()
        journal.facts([fact(journal.last_seq + 1, "the last words of this run, and not the shortest")])
    found = frames(folder)
    assert {frame.kind for frame in found if frame.position.segment == 1} == set(Kind)
    return found


@pytest.mark.parametrize("segment", [1, 2])
def test_every_flipped_bit_is_found_at_its_frame(tmp_path: Path, segment: int) -> None:
    whole = two_segments(tmp_path)
    starts = begins(whole, segment)
    path = tmp_path / f"{segment:08d}.ptj"
    size = path.stat().st_size
    assert 1500 < size < 2600
    before = [frame for frame in whole if frame.position.segment < segment]
    ours = [frame for frame in whole if frame.position.segment == segment]
    with path.open("r+b", buffering=0) as file:
        good = file.read()
        for flipped in range(8 * size):
            place = flipped // 8
            file.seek(place)
            file.write(bytes([good[place] ^ (1 << flipped % 8)]))
            number = bisect_right(starts, place) - 1
            begin = starts[number] if number >= 0 else 0
            found, cut, damage = read_until_damage(tmp_path)
            if segment == 2 and number == len(starts) - 1:
                assert damage is None and cut is not None
                assert (cut.position, cut.bytes) == (Position(2, begin), size - begin)
                assert found == before + ours[:-1]
            else:
                assert damage is not None
                assert (damage.path, damage.offset) == (str(path), begin)
                assert found == before + ours[: max(0, number)]
            file.seek(place)
            file.write(good[place : place + 1])
    assert frames(tmp_path) == whole


def test_every_flipped_bit_of_the_tail_is_seen_when_it_is_opened(tmp_path: Path) -> None:
    """Opening changes nothing where it refuses, and cuts off the last frame where only that is bad."""
    whole = two_segments(tmp_path)
    starts = begins(whole, 2)
    path = tmp_path / "00000002.ptj"
    good = path.read_bytes()
    for place in range(0, len(good), 3):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        path.write_bytes(bad)
        if place >= starts[-1]:
            with Journal.open(tmp_path, QUIET) as journal:
                assert journal.cut is not None and journal.position == Position(2, starts[-1])
            assert path.read_bytes() == good[: starts[-1]]
        else:
            with pytest.raises(JournalDamaged) as told:
                Journal.open(tmp_path, QUIET)
            assert told.value.offset == max([0, *(start for start in starts if start <= place)])
            assert path.read_bytes() == bad


def test_a_bad_end_of_a_sealed_segment_is_seen_when_it_is_opened(tmp_path: Path) -> None:
    whole = two_segments(tmp_path)
    begin = begins(whole, 1)[-1]
    path = tmp_path / "00000001.ptj"
    good = path.read_bytes()
    for place in range(begin, len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 8]) + good[place + 1 :])
        with pytest.raises(JournalDamaged) as told:
            Journal.open(tmp_path, QUIET)
        assert (told.value.path, told.value.offset) == (str(path), begin)


@pytest.mark.parametrize("junk", [b"\0" * 5000, b"\0", os.urandom(3000), b"papertape-journal 1\n"])
def test_junk_behind_the_last_frame_is_a_torn_tail(tmp_path: Path, junk: bytes) -> None:
    write(tmp_path, 3)
    whole = frames(tmp_path)
    path = tail_of(tmp_path)
    good = path.read_bytes()
    path.write_bytes(good + junk)
    with Journal.open(tmp_path, QUIET) as journal:
        assert journal.cut is not None and journal.cut.bytes == len(junk)
    assert frames(tmp_path) == whole and path.read_bytes() == good


def test_a_tail_filled_with_zeros_loses_only_what_was_there(tmp_path: Path) -> None:
    write(tmp_path, 5)
    whole = frames(tmp_path)
    path = tail_of(tmp_path)
    good = path.read_bytes()
    start = whole[0].end.offset
    for place in range(start, len(good) - HEAD_BYTES):
        path.write_bytes(good[:place] + b"\0" * (len(good) - place))
        left = [frame for frame in whole if frame.end.offset <= place]
        tail = scan_tail(tmp_path)
        assert tail is not None and tail.position in (left[-1].end, whole[len(left)].end)
        assert frames(tmp_path) == whole[: tail.entries + 1]  # a frame may end in a zero of its own


def test_a_frame_inside_a_payload_is_no_frame(tmp_path: Path) -> None:
    """A venue that sends us the bytes of a journal must not make a torn tail look like damage."""
    write(tmp_path / "theirs", 3)
    theirs = tail_of(tmp_path / "theirs").read_bytes()
    with Journal.open(tmp_path / "ours", QUIET) as journal:
        journal.input(LINE)
        journal.commit()
        end = journal.position
        journal.input(theirs)
    path = tail_of(tmp_path / "ours")
    os.truncate(path, path.stat().st_size - 1)
    data = bytearray(path.read_bytes())
    data[end.offset] ^= 1
    path.write_bytes(data)
    with Journal.open(tmp_path / "ours", QUIET) as journal:
        assert journal.position == end and journal.cut is not None


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_missing_segment_is_named(tmp_path: Path, number: int) -> None:
    write(tmp_path, 40, JournalSettings(sync_every_ns=None, segment_bytes=600))
    path = tmp_path / f"{number:08d}.ptj"
    path.unlink()
    if number == 1:  # as after a quota: the journal begins later
        assert verify(tmp_path).first_seq > 1
        return
    for act in (scan_tail, frames, verify):
        with pytest.raises(JournalDamaged, match=f"{path.name}: .*found no file"):
            act(tmp_path)


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["input", "facts", "mark", "commit", "reopen", "kill", "tear"]), st.integers(0, 400)),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, segment_bytes=st.sampled_from([300, 2000, 1 << 20]))
def test_whatever_is_done_the_journal_holds_what_was_committed(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], segment_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    sizes = JournalSettings(sync_every_ns=None, segment_bytes=segment_bytes)
    journal = Journal.open(folder, sizes, disk=QuickDisk())
    committed: list[tuple[str, int]] = []  # kind, and the length or number that tells it apart
    pending: list[tuple[str, int]] = []
    seq = 0
    for what, size in steps:
        match what:
            case "input":
                journal.input(b"x" * size)
                pending.append(("i", size))
            case "facts":
                count = size % 4
                journal.facts(facts(journal.last_seq + 1, count))
                pending += [("f", journal.last_seq - count + 1 + at) for at in range(count)]
            case "mark":
                journal.mark({"size": size})
                pending.append(("m", size))
            case "commit":
                journal.commit()
                committed += pending
                pending = []
            case "reopen":
                journal.close()
                committed += pending
                pending = []
                journal = Journal.open(folder, sizes, disk=QuickDisk())
                assert journal.cut is None
            case _:
                kill(journal)
                pending = []
                if what == "tear":
                    with tail_of(folder).open("ab") as file:
                        file.write(b"\x07" * size)
                journal = Journal.open(folder, sizes, disk=QuickDisk())
                assert (journal.cut is not None) == (what == "tear" and size > 0)
        seq = max((number for kind, number in committed if kind == "f"), default=0)
        assert journal.entries == len(committed) + len(pending)
    assert journal.last_seq == seq + sum(kind == "f" for kind, _ in pending)
    journal.close()
    committed += pending
    kinds = [(kind, len(payload) if kind == "i" else -1) for kind, payload in entries(folder)]
    assert kinds == [(kind, value if kind == "i" else -1) for kind, value in committed]
    checked = verify(folder)
    assert checked.cut is None
    assert (checked.facts, checked.last_seq) == (sum(kind == "f" for kind, _ in committed), journal.last_seq)
