"""The journal's writer: what it holds, what it says of bad disks, and that the loop never waits for an fsync."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import resource
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from adapters.entry import Entry, EntryKind
from adapters.tape import encode_entry
from engine.core.records import Digest, Record
from engine.live.journal import (
    Journal,
    JournalDamaged,
    JournalNotWritten,
    JournalSettings,
    Kind,
    Position,
    decode_header,
    decode_mark,
    decode_record,
    read,
    scan_tail,
    seq_of,
)
from engine.live.journal.disk import Disk
from engine.live.journal.frames import Broken, preamble, read_preamble
from engine.live.journal.verify import verify
from tests.journals import (
    LINE,
    QUIET,
    SMALL,
    FullDisk,
    ShortDisk,
    SlowDisk,
    entries,
    fact,
    facts,
    frames,
    kill,
    write,
    write_on,
)

ALWAYS = JournalSettings(sync_every_ns=0)


def test_what_was_appended_comes_back_in_its_order(tmp_path: Path) -> None:
    line = encode_entry(Entry(EntryKind.RECEIVED, 7, "sim", "", b"\x00\xff\n"))[:-1]
    records = facts(1, 3)
    with Journal.open(tmp_path / "new" / "journal", QUIET, run="demo", digest=lambda: "abc") as journal:
        journal.input(line)
        journal.facts(records[:2])
        journal.mark({"kind": "snapshot", "path": "x", "at": [1, 2]})
        journal.input(b"")
        journal.facts(records[2:])
        journal.facts([])
        assert journal.position == Position(1, journal.position.offset)
        assert (journal.entries, journal.last_seq, journal.cut) == (6, 3, None)
    header, *found = frames(tmp_path / "new" / "journal")
    assert header.kind is Kind.HEADER
    told = decode_header(header.payload)
    assert (told.run, told.segment, told.first, told.last_seq, told.digest) == ("demo", 1, 0, 0, "abc")
    assert told.opened_ns > 0 and told.papertape
    assert [frame.kind.value for frame in found] == list("iffmif")
    assert [frame.payload for frame in found if frame.kind is Kind.INPUT] == [line, b""]
    assert [decode_record(frame.payload) for frame in found if frame.kind is Kind.FACT] == records
    assert decode_mark(found[3].payload) == {"kind": "snapshot", "path": "x", "at": [1, 2]}
    assert all(one.end == other.position for one, other in pairwise(found))


def test_a_fact_is_in_the_encoding_of_the_digest(tmp_path: Path) -> None:
    digest, again = Digest(), Digest()
    records = [fact(1, "one"), *facts(2, 20), fact(22, "ü")]
    digest.update(records)
    with Journal.open(tmp_path, QUIET) as journal:
        journal.facts(records)
    for _, payload in entries(tmp_path):
        again.add(payload)
    assert again.hex() == digest.hex()


@pytest.mark.parametrize("seq", [1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53])
def test_the_number_of_a_fact_is_read_without_decoding_it(seq: int) -> None:
    assert seq_of(msgspec.msgpack.encode(fact(seq))) == seq


@pytest.mark.parametrize("wrong", [facts(2, 1), facts(0, 2), [*facts(1, 1), *facts(3, 1)]])
def test_facts_that_do_not_follow_are_refused(tmp_path: Path, wrong: list[Record]) -> None:
    with Journal.open(tmp_path, QUIET) as journal:
        with pytest.raises(ValueError, match=r"expected facts from number 1 on, found \d from"):
            journal.facts(wrong)
        journal.facts(facts(1, 1))


def test_what_was_not_committed_goes_with_the_process(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, QUIET)
    journal.facts(facts(1, 2))
    journal.commit()
    journal.facts(facts(3, 2))
    assert (journal.last_seq, journal.entries) == (4, 4)
    kill(journal)
    with Journal.open(tmp_path, QUIET) as journal:
        assert (journal.last_seq, journal.entries, journal.cut) == (2, 2, None)


def test_a_full_segment_is_sealed_and_the_next_goes_on(tmp_path: Path) -> None:
    write(tmp_path, 40, SMALL)
    whole = frames(tmp_path)
    headers = [decode_header(frame.payload) for frame in whole if frame.kind is Kind.HEADER]
    assert [header.segment for header in headers] == list(range(1, len(headers) + 1)) and len(headers) > 3
    assert [header.first for header in headers][1] == 2 * headers[1].last_seq > 0
    assert all(path.suffix == ".ptj" for path in tmp_path.iterdir())
    write(tmp_path, 5, SMALL)
    assert frames(tmp_path)[: len(whole)] == whole
    checked = verify(tmp_path)
    assert (checked.facts, checked.inputs, checked.first_seq, checked.last_seq) == (45, 45, 1, 45)
    assert checked.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_a_frame_larger_than_a_segment_and_a_read_is_whole(tmp_path: Path) -> None:
    large = os.urandom(5 << 20)
    with Journal.open(tmp_path, SMALL) as journal:
        journal.input(large)
        journal.facts(facts(1, 1))
        journal.commit()
        journal.facts(facts(2, 1))
    assert [payload for kind, payload in entries(tmp_path) if kind == "i"] == [large]
    assert verify(tmp_path).last_seq == 2


def test_reading_goes_on_from_a_position(tmp_path: Path) -> None:
    write(tmp_path, 12, SMALL)
    whole = frames(tmp_path)
    for at, frame in enumerate(whole):
        assert list(read(tmp_path, frame.position)) == whole[at:]
        assert list(read(tmp_path, frame.end)) == whole[at + 1 :]
    for beyond in (whole[-1].end._replace(offset=10**6), Position(99, 0)):
        with pytest.raises(JournalDamaged, match="ends before it"):
            list(read(tmp_path, beyond))
    with pytest.raises(JournalDamaged, match="expected a whole frame"):
        list(read(tmp_path, Position(1, whole[1].position.offset + 1)))


def test_an_empty_folder_is_an_empty_journal(tmp_path: Path) -> None:
    assert list(read(tmp_path)) == [] and scan_tail(tmp_path) is None and verify(tmp_path).frames == 0
    with pytest.raises(FileNotFoundError):
        list(read(tmp_path / "none"))


def test_a_journal_is_read_while_it_is_written(tmp_path: Path) -> None:
    with Journal.open(tmp_path, QUIET) as journal:
        for seq in range(1, 4):
            journal.facts(facts(seq, 1))
            journal.commit()
            assert [frame.end for frame in read(tmp_path)][-1] == journal.position


def test_another_format_is_refused_by_its_number(tmp_path: Path) -> None:
    write(tmp_path, 1)
    path = tmp_path / "00000001.ptj"
    newer = preamble(b"salt").replace(b"journal 1\n", b"journal 2\n")
    with pytest.raises(Broken):
        read_preamble(newer)
    for data, found in ((b"PK\x03\x04" * 20, "other bytes than 'papertape-journal '"), (newer, "checksum")):
        path.write_bytes(data)
        with pytest.raises(JournalDamaged, match=rf"00000001\.ptj: byte 0: .*{found}"):
            Journal.open(tmp_path, QUIET)


def test_short_and_interrupted_writes_make_whole_frames(tmp_path: Path) -> None:
    disk = ShortDisk()
    with Journal.open(tmp_path, SMALL, disk=disk) as journal:
        for seq in range(1, 21):
            journal.input(LINE)
            journal.facts(facts(seq, 1))
            journal.commit()
    assert disk.calls > 100
    assert verify(tmp_path).facts == 20


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_tells_no_fact_as_written(tmp_path: Path, error: int) -> None:
    """Whatever part of a commit was taken, it is taken back; later commits are refused too."""
    for room in range(0, 900, 13):
        folder = tmp_path / str(room)
        write(folder, 1)
        path = folder / "00000001.ptj"
        disk = FullDisk(room, error)
        journal = Journal.open(folder, QUIET, disk=disk)
        told = [1]
        with pytest.raises(JournalNotWritten) as refused:
            write_on(journal, told)
        words = re.escape(os.strerror(error))
        assert re.search(rf"00000001\.ptj: expected room for the journal, found: {words}; ", str(refused.value))
        assert "\n" not in str(refused.value)
        disk.room = 10**6  # room again, and still nothing is taken: a fact is missing
        for _ in range(2):
            with pytest.raises(JournalNotWritten):
                journal.commit()
        with pytest.raises(JournalNotWritten):
            journal.close()
        journal.close()
        checked = verify(folder)
        assert checked.cut is None and checked.last_seq == told[-1]
        assert path.stat().st_size == frames(folder)[-1].end.offset


def test_a_real_limit_of_the_file_system_is_met_in_order(tmp_path: Path) -> None:
    """A limit on the size of a file stands for the full disk: the kernel takes a part and refuses the rest."""
    journal = Journal.open(tmp_path, QUIET)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.position.offset + 5000, hard))
    try:
        with pytest.raises(JournalNotWritten, match="File too large"):
            write_on(journal, [], 20)
        committed = journal.position
        with pytest.raises(JournalNotWritten):
            journal.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "00000001.ptj").stat().st_size == committed.offset
    with Journal.open(tmp_path, QUIET) as again:
        assert again.position == committed and again.cut is None and again.last_seq % 20 == 0


def test_a_commit_stands_though_the_next_segment_cannot_begin(tmp_path: Path) -> None:
    class NoMoreFiles(Disk):
        is_full = False

        def create(self, path: Path) -> int:
            if self.is_full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return super().create(path)

    disk = NoMoreFiles()
    journal = Journal.open(tmp_path, SMALL, disk=disk)
    disk.is_full = True
    told: list[int] = []
    with pytest.raises(JournalNotWritten):
        write_on(journal, told)
    with pytest.raises(JournalNotWritten):
        journal.close()
    with Journal.open(tmp_path, SMALL) as again:
        assert again.last_seq == told[-1]
        assert again.position.segment == 2
    assert verify(tmp_path).last_seq == told[-1]


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalNotWritten, match=r"file.*: expected room for the journal, found: "):
        Journal.open(tmp_path / "file" / "journal", QUIET)


def test_a_slow_disk_holds_up_no_commit(tmp_path: Path) -> None:
    disk = SlowDisk()
    journal = Journal.open(tmp_path, JournalSettings(sync_every_ns=0, segment_bytes=2000), disk=disk)
    disk.called.clear()
    disk.let_go.clear()
    for seq in range(1, 101):
        journal.facts(facts(seq, 1))
        journal.commit()
    assert disk.called.wait(30)
    assert journal.position.segment > 2
    assert journal.durable < Position(1, 2000) and journal.backlog_bytes > 5000
    assert [frame.end for frame in read(tmp_path)][-1] == journal.position
    assert any(path.name.endswith(".ptj.new") for path in tmp_path.iterdir())
    disk.let_go.set()
    journal.sync()
    assert journal.durable == journal.position and journal.backlog_bytes == 0
    assert journal.synced_ns > 0 and journal.longest_sync_ns > 0 and journal.syncs > 0
    journal.close()
    assert not any(path.name.endswith(".new") for path in tmp_path.iterdir())
    assert verify(tmp_path).facts == 100


def test_how_often_it_is_made_durable_changes_while_it_runs(tmp_path: Path) -> None:
    disk = SlowDisk()
    journal = Journal.open(tmp_path, QUIET, disk=disk)
    disk.called.clear()
    journal.facts(facts(1, 1))
    journal.commit()
    assert journal.backlog_bytes > 0 and not disk.called.is_set()
    journal.sync_every(0)
    assert disk.called.wait(30), "what was there already is made durable at once"
    journal.sync()
    for every_ns in (0, 1_000_000):
        journal.sync_every(every_ns)
        journal.sync()
        disk.called.clear()
        journal.facts(facts(journal.last_seq + 1, 1))
        journal.commit()
        assert disk.called.wait(30), every_ns
    journal.close()


async def test_what_must_be_durable_is_waited_for_while_the_loop_goes_on(tmp_path: Path) -> None:
    for settings in (ALWAYS, QUIET, JournalSettings()):
        disk = SlowDisk()
        journal = Journal.open(tmp_path / str(settings.sync_every_ns), settings, disk=disk)
        disk.let_go.clear()
        journal.facts(facts(1, 1))
        journal.commit()
        waits = asyncio.create_task(journal.wait_durable())
        await asyncio.sleep(0)
        journal.facts(facts(2, 1))
        journal.commit()
        assert not waits.done()
        disk.let_go.set()
        await waits
        assert journal.durable.offset > 0
        await journal.wait_durable()
        assert journal.durable == journal.position
        journal.close()


async def test_an_fsync_that_fails_is_the_end_of_writing(tmp_path: Path) -> None:
    disk = SlowDisk()
    journal = Journal.open(tmp_path, ALWAYS, disk=disk)
    disk.refuses = True
    journal.facts(facts(1, 1))
    journal.commit()
    with pytest.raises(JournalNotWritten, match=r"found: Input/output error \(fsync\)"):
        await journal.wait_durable()
    with pytest.raises(JournalNotWritten):
        journal.sync()
    journal.facts(facts(2, 1))
    with pytest.raises(JournalNotWritten):
        journal.commit()
    assert journal.failure is not None
    with pytest.raises(JournalNotWritten):
        journal.close()
    assert verify(tmp_path).last_seq == 1


def test_an_open_file_at_its_limit_is_sealed_when_it_is_opened_with_a_lower_one(tmp_path: Path) -> None:
    write(tmp_path, 30, QUIET)
    with Journal.open(tmp_path, SMALL) as journal:
        assert journal.position.segment == 2
    assert verify(tmp_path).facts == 30
