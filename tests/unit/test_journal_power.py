"""What a loss of power may leave of a journal: segments that were begun before the one in front was on the disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from engine.live.journal import Journal, read
from engine.live.journal.verify import verify
from tests.journals import LINE, QUIET, SMALL, QuickDisk, SlowDisk, facts, frames


def test_a_segment_gets_its_name_when_the_one_before_it_is_durable(tmp_path: Path) -> None:
    done: list[str] = []

    class Noted(QuickDisk):
        def sync(self, file: int) -> None:
            done.append(f"sync {Path(os.readlink(f'/proc/self/fd/{file}')).name}")

        def rename(self, old: Path, new: Path) -> None:
            done.append(f"rename {old.name}")
            super().rename(old, new)

    with Journal.open(tmp_path, SMALL, disk=Noted()) as journal:
        begun = ["sync 00000001.ptj.new", "rename 00000001.ptj.new", f"sync {tmp_path.name}"]
        assert done == begun
        done.clear()
        while journal.position.segment < 2:
            journal.facts(facts(journal.last_seq + 1, 1))
            journal.commit()
        journal.facts(facts(journal.last_seq + 1, 1))
        journal.commit()
        journal.sync()
        named = ["sync 00000002.ptj.new", "rename 00000002.ptj.new", f"sync {tmp_path.name}"]
        assert done[:4] == ["sync 00000001.ptj", *named]
        assert set(done[4:]) == {"sync 00000002.ptj"}


def left_by_a_loss_of_power(tmp_path: Path) -> Path:
    """A journal of three segments of which no fsync came back since the first was begun."""
    disk = SlowDisk()
    journal = Journal.open(tmp_path / "live", SMALL, disk=disk)
    disk.let_go.clear()
    while journal.position.segment < 3:
        journal.input(LINE)
        journal.facts(facts(journal.last_seq + 1, 1))
        journal.commit()
    shutil.copytree(tmp_path / "live", tmp_path / "left")
    disk.let_go.set()
    journal.close()
    return tmp_path / "left"


def test_a_killed_daemon_leaves_segments_that_were_only_begun(tmp_path: Path) -> None:
    left = left_by_a_loss_of_power(tmp_path)
    assert sorted(path.name for path in left.iterdir())[1:] == ["00000002.ptj.new", "00000003.ptj.new"]
    whole = frames(left)
    assert frames(tmp_path / "live") == whole
    with Journal.open(left, SMALL) as journal:
        assert journal.cut is None and journal.position.segment == 3
    assert frames(left) == whole
    assert sorted(path.name for path in left.iterdir()) == [f"0000000{number}.ptj" for number in (1, 2, 3)]


@pytest.mark.parametrize("torn", ["00000001.ptj", "00000002.ptj.new"])
def test_a_loss_of_power_ends_the_journal_where_it_is_torn(tmp_path: Path, torn: str) -> None:
    """The segments behind were begun before the torn one was known to be on the disk."""
    left = left_by_a_loss_of_power(tmp_path)
    os.truncate(left / torn, (left / torn).stat().st_size - 30)
    cuts: list[object] = []
    kept = list(read(left, on_cut=cuts.append))
    assert len(cuts) == 1
    with Journal.open(left, SMALL) as journal:
        assert journal.cut == cuts[0] and journal.cut is not None
        assert "00000003.ptj.new, begun before this one was known to be on the disk" in str(journal.cut)
        assert journal.last_seq > 0
    assert [frame for frame in frames(left) if frame in kept] == kept
    assert verify(left).cut is None


@pytest.mark.parametrize("size", [0, 5, 28, 40])
def test_a_segment_that_was_not_even_begun_is_begun_anew(tmp_path: Path, size: int) -> None:
    left = left_by_a_loss_of_power(tmp_path)
    os.truncate(left / "00000003.ptj.new", size)
    before = verify(left)
    assert (before.cut is None) == (size in (0, 28))
    with Journal.open(left, SMALL) as journal:
        assert (journal.cut is None) == (size == 0)
        assert journal.last_seq == before.last_seq
        journal.facts(facts(journal.last_seq + 1, 1))
    checked = verify(left)
    assert (checked.last_seq, checked.segments) == (before.last_seq + 1, 3)


def test_the_very_first_segment_may_not_have_been_begun(tmp_path: Path) -> None:
    (tmp_path / "00000001.ptj.new").write_bytes(b"papertape-jou")
    with Journal.open(tmp_path, QUIET, disk=QuickDisk()) as journal:
        assert journal.cut is not None and journal.cut.bytes == 13
        journal.facts(facts(1, 1))
    assert verify(tmp_path).facts == 1
