"""A journal made smaller: the facts stay, the inputs before the last snapshot go, and no crash on the way loses any."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import polars as pl
import pytest

from engine.core.desk.order_terms import Terms
from engine.core.records import AnyFact, Fill, Note, Record, Request
from engine.live.journal import Frame, Journal, JournalDamaged, JournalNotWritten, Kind, Position, decode_header, read
from engine.live.journal.compaction import compact, compact_beside, wants
from engine.live.journal.diff import diff
from engine.live.journal.export import ExportError, export
from engine.live.journal.frames import PREAMBLE_BYTES
from engine.live.journal.verify import verify
from tests.journals import LINE, QUIET, SMALL, Crash, CrashingDisk, FullDisk, entries, facts, frames, write

BEFORE = Position(4, 100)
INPUTS = [LINE * 9, b"8 k - - "]


def made(folder: Path) -> list[tuple[str, bytes]]:
    """A journal of a dozen segments; its facts and marks."""
    with Journal.open(folder, SMALL, run="test") as journal:
        for seq in range(1, 41):
            for line in INPUTS:
                journal.input(line)
            journal.facts(facts(seq, 1))
            if seq % 7 == 0:
                journal.mark({"seq": seq})
            journal.commit()
    return without_inputs(folder)


def without_inputs(folder: Path) -> list[tuple[str, bytes]]:
    return [one for one in entries(folder) if one[0] != "i"]


def test_facts_and_marks_stay_and_inputs_go(tmp_path: Path) -> None:
    said = made(tmp_path)
    later = list(read(tmp_path, Position(BEFORE.segment, 0)))
    found = compact(tmp_path, BEFORE)
    assert (found.compacted, found.deleted, found.warning) == ([1, 2, 3], [], "")
    assert found.bytes_after == sum(path.stat().st_size for path in tmp_path.iterdir()) < found.bytes_before
    assert without_inputs(tmp_path) == said
    assert list(read(tmp_path, Position(BEFORE.segment, 0))) == later
    assert next(frame.position.segment for frame in frames(tmp_path) if frame.kind is Kind.INPUT) == BEFORE.segment
    header = decode_header(frames(tmp_path)[0].payload)
    assert header.compacted
    checked = verify(tmp_path)
    assert (checked.compacted, checked.facts, checked.last_seq) == (3, 40, 40)
    assert compact(tmp_path, BEFORE).compacted == []
    write(tmp_path, 3, SMALL)
    assert verify(tmp_path).last_seq == 43


def test_the_last_segment_is_never_compacted(tmp_path: Path) -> None:
    made(tmp_path)
    compact(tmp_path, Position(99, 0))
    assert max(tmp_path.iterdir()).suffix == ".ptj"
    assert verify(tmp_path).last_seq == 40


def test_a_position_in_a_compacted_segment_is_refused(tmp_path: Path) -> None:
    made(tmp_path)
    place = frames(tmp_path)[3].position
    compact(tmp_path, BEFORE)
    with pytest.raises(JournalDamaged, match="it was compacted since"):
        list(read(tmp_path, place._replace(offset=place.offset + 1)))
    assert list(read(tmp_path, Position(1, PREAMBLE_BYTES))) == frames(tmp_path)


@pytest.mark.parametrize("steps", range(24))
def test_a_crash_at_any_step_loses_nothing(tmp_path: Path, steps: int) -> None:
    said = made(tmp_path)
    with pytest.raises(Crash):
        compact(tmp_path, BEFORE, disk=CrashingDisk(steps))
    assert without_inputs(tmp_path) == said
    assert verify(tmp_path).last_seq == 40
    with Journal.open(tmp_path, SMALL) as journal:
        assert journal.cut is None and journal.last_seq == 40
    compact(tmp_path, BEFORE)
    assert without_inputs(tmp_path) == said
    assert verify(tmp_path).compacted == 3
    assert not [path for path in tmp_path.iterdir() if "part" in path.name]
    assert len(list(tmp_path.glob("00000001.*"))) == 1


def test_a_full_disk_leaves_the_segment_as_it_was(tmp_path: Path) -> None:
    made(tmp_path)
    whole = frames(tmp_path)
    for room in (0, 10, 100):
        with pytest.raises(JournalNotWritten, match="expected room for the journal, found: No space left"):
            compact(tmp_path, BEFORE, disk=FullDisk(room, errno.ENOSPC))
        assert frames(tmp_path) == whole
        assert not list(tmp_path.glob("*.part"))


def test_a_damaged_segment_is_not_compacted(tmp_path: Path) -> None:
    made(tmp_path)
    path = tmp_path / "00000002.ptj"
    data = bytearray(path.read_bytes())
    data[200] ^= 4
    path.write_bytes(data)
    with pytest.raises(JournalDamaged, match=r"00000002\.ptj"):
        compact(tmp_path, BEFORE)
    assert path.read_bytes() == data


def test_every_flipped_byte_of_a_compacted_segment_is_found(tmp_path: Path) -> None:
    made(tmp_path)
    compact(tmp_path, BEFORE)
    whole = frames(tmp_path)
    path = tmp_path / "00000002.ptj.zst"
    good = path.read_bytes()
    for place in range(len(good)):
        for bit in (1, 16, 128):
            path.write_bytes(good[:place] + bytes([good[place] ^ bit]) + good[place + 1 :])
            found: list[Frame] = []
            with pytest.raises(JournalDamaged) as told:
                found.extend(read(tmp_path))
            assert told.value.path == str(path)
            assert found == whole[: len(found)]
    for size in range(len(good)):
        path.write_bytes(good[:size])
        with pytest.raises(JournalDamaged):
            verify(tmp_path)


async def test_a_process_of_its_own_does_the_same(tmp_path: Path) -> None:
    said = made(tmp_path)
    assert wants(tmp_path, BEFORE, 0)
    done = await compact_beside(tmp_path, BEFORE, quota_bytes=1)
    assert done.compacted == [1, 2, 3] and "expected at most 1 bytes" in done.warning
    assert without_inputs(tmp_path) == said
    assert not wants(tmp_path, BEFORE, 0) and wants(tmp_path, BEFORE, 1)


async def test_what_it_meets_is_raised_here(tmp_path: Path) -> None:
    made(tmp_path)
    path = tmp_path / "00000002.ptj"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalDamaged) as caught:
        await compact_beside(tmp_path, BEFORE)
    assert caught.value.path == str(path) and caught.value.offset > 0
    with pytest.raises(JournalNotWritten, match="nowhere"):
        await compact_beside(tmp_path / "nowhere", BEFORE)


def test_errors_come_out_of_another_process() -> None:
    for error in (JournalDamaged("a", 7, "x", "y", "z"), JournalNotWritten("a", "full")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.path) == (type(error), str(error), error.path)


def test_the_quota_warns_and_keeps_facts_unless_told_otherwise(tmp_path: Path) -> None:
    said = made(tmp_path)
    told: list[str] = []
    found = compact(tmp_path, BEFORE, quota_bytes=3000, warn=told.append)
    assert told == [found.warning] and found.deleted == []
    assert found.warning.startswith(f"{tmp_path}: expected at most 3,000 bytes, found {found.bytes_after:,}: facts are")
    assert without_inputs(tmp_path) == said
    assert not compact(tmp_path, BEFORE, quota_bytes=10**6, warn=told.append).warning and len(told) == 1


def test_the_quota_takes_the_oldest_facts_and_never_what_a_start_needs(tmp_path: Path) -> None:
    made(tmp_path)
    told: list[str] = []
    size = compact(tmp_path, BEFORE).bytes_after
    assert compact(tmp_path, BEFORE, quota_bytes=size - 1, keep="quota", warn=told.append).deleted == [1]
    found = compact(tmp_path, BEFORE, quota_bytes=1, keep="quota", warn=told.append)
    assert found.deleted == [2, 3]
    assert "all that is left is needed to start again" in told[0] and len(told) == 1
    checked = verify(tmp_path)
    assert checked.first_seq > 1 and checked.last_seq == 40
    with pytest.raises(JournalDamaged, match="older ones were deleted"):
        list(read(tmp_path, Position(1, 0)))


def with_facts(folder: Path, *said: AnyFact) -> Path:
    with Journal.open(folder, QUIET) as journal:
        journal.facts([Record(seq, 10**18 + seq, fact) for seq, fact in enumerate(said, 1)])
    return folder


def test_two_journals_part_at_a_fact(tmp_path: Path) -> None:
    notes = [Note("s", {"a": number}) for number in range(5)]
    a = with_facts(tmp_path / "a", *notes)
    same = with_facts(tmp_path / "same", *notes)
    parts = with_facts(tmp_path / "parts", *notes[:3], Note("s", {"a": -1}), *notes[4:])
    start = with_facts(tmp_path / "start", *notes[:2])
    none = with_facts(tmp_path / "none")
    found = diff(a, same)
    assert (found.verdict, found.compared, found.seq) == ("same", 5, 0)
    found = diff(a, parts)
    assert (found.verdict, found.compared, found.seq) == ("they part", 3, 4)
    assert found.a.endswith('Note  strategy=s fields={"a":3}') and found.b.endswith('fields={"a":-1}')
    found = diff(start, a)
    assert (found.verdict, found.compared, found.seq, found.a) == ("a is the beginning of b", 2, 3, "")
    assert diff(a, start).verdict == "b is the beginning of a"
    assert (diff(none, a).verdict, diff(none, a).seq) == ("a is the beginning of b", 1)
    assert diff(none, none).verdict == "same"


def test_journals_are_compared_from_where_both_begin(tmp_path: Path) -> None:
    made(tmp_path / "a")
    made(tmp_path / "b")
    compact(tmp_path / "a", BEFORE, quota_bytes=1, keep="quota")
    found = diff(tmp_path / "a", tmp_path / "b")
    assert found.verdict == "same" and found.first_seq > 1 and found.compared == 41 - found.first_seq
    assert diff(tmp_path / "b", tmp_path / "a") == found


def test_an_export_has_a_table_a_kind_of_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.live.journal.export.PART_ROWS", 2)
    fill = Fill(7, "s", "v:X", -1, 100, 5, True, "0.1", "USDT", 0, 3, 10**18)
    asked = Request(7, "s", "v:X", 1, "limit", "GTC", 100, 5, False, Terms())
    folder = with_facts(tmp_path / "a", asked, fill, *[Note("s", {"a": [number]}) for number in range(5)])
    out = tmp_path / "out"
    assert export(folder, out) == {"Request": 1, "Fill": 1, "Note": 5}
    fills = pl.read_parquet(out / "Fill.parquet")
    assert fills.select("seq", "ns", "order", "price", "maker", "fee").rows() == [(2, 10**18 + 2, 7, 100, True, "0.1")]
    notes = pl.read_parquet(out / "Note.parquet")
    assert notes["fields"].to_list() == [f'{{"a":[{number}]}}' for number in range(5)]
    assert pl.read_parquet(out / "Request.parquet")["terms"].dtype == pl.String
    assert export(folder, out)["Note"] == 5  # an earlier export is replaced
    assert sorted(path.suffix for path in out.iterdir()) == [".json", *[".parquet"] * 3]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("")
    for bad in (tmp_path / "other", tmp_path / "other" / "file"):
        with pytest.raises(ExportError, match="choose another --out"):
            export(folder, bad)
