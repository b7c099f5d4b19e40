"""A start after a kill: everything that was written down is there, once, or one line says why not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from adapters.entry import Entry, EntryKind
from adapters.tape import read_tape
from engine.live.journal import Journal, JournalDamaged, Kind, read
from engine.live.recovery import session as sessions
from engine.live.recovery.recover import recover
from engine.live.recovery.snapshots import SnapshotUnusable, newest, unpack
from engine.live.recovery.state import RecoveryError
from engine.research.replay import replay
from tests.data import ROOT
from tests.recovering import BTC, CONFIG, Life, config


def killed(tmp_path: Path, *, frames: int = 300, snapshot_at: int | None = 200) -> tuple[Path, str, int]:
    """A run that was killed: its place, digest and last fact."""
    life = Life(tmp_path / "first")
    life.live(snapshot_at or 0)
    if snapshot_at is not None:
        life.snapshot()
    life.live(frames - (snapshot_at or 0))
    digest = life.killed(tmp_path / "second")
    assert life.engine.desk.orders, "nothing rests: the test would show nothing"
    return tmp_path / "second", digest, life.engine.seq


@pytest.mark.parametrize("snapshot_at", [None, 0, 120, 299])
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, snapshot_at: int | None) -> None:
    place, _, seq = killed(tmp_path, snapshot_at=snapshot_at)
    life = Life(place)
    assert life.past is not None
    assert bool(life.past.told.snapshot) == (snapshot_at is not None)
    assert life.past.told.remarks == []
    assert life.engine.seq > seq, "the farewell of the session before is told"
    life.live(200)
    digest = life.stop()
    again = replay([place / "r"])
    assert (again.digest, again.summary["records"]) == (digest, life.engine.seq)


def test_the_digest_is_that_of_the_moment_of_the_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, digest, seq = killed(tmp_path)
    seen: list[tuple[str, int, list[int]]] = []

    def look(*args: Any) -> Any:
        past = recover(*args)
        assert past is not None
        seen.append((past.kept.engine.digest, past.kept.engine.seq, list(past.kept.engine.desk.orders)))
        return past

    monkeypatch.setattr(sessions, "recover", look)
    Life(place).stop()
    assert [one[:2] for one in seen] == [(digest, seq)]


def test_many_sessions_are_one_run(tmp_path: Path) -> None:
    place = tmp_path / "0"
    for number in range(6):
        life = Life(place)
        life.live(40 + 7 * number)
        if number % 2:
            life.snapshot()
        life.live(30)
        place = tmp_path / str(number + 1)
        life.killed(place)
    life = Life(place)
    life.live(50)
    digest = life.stop()
    assert replay([place / "r"]).digest == digest
    numbers = [seq for seq, _ in facts(place)]
    assert numbers == list(range(1, len(numbers) + 1))


def facts(place: Path) -> list[tuple[int, bytes]]:
    found = [frame.payload for frame in read(place / "r" / "journal") if frame.kind is Kind.FACT]
    return [(msgspec.msgpack.decode(payload)[0], payload) for payload in found]


def test_a_stopped_run_starts_again_with_its_account(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.live(300)
    first = life.stop()
    cash = life.engine.ledger.cash()
    again = Life(tmp_path)
    assert again.past is not None and again.past.told.inputs == 0
    assert again.engine.commands.is_running, "it was told to start"
    assert again.engine.ledger.cash() == cash
    again.live(100)
    digest = again.stop()
    assert replay([tmp_path / "r"]).digest == digest != first


def test_facts_that_were_not_written_any_more_are_written_at_the_start(tmp_path: Path) -> None:
    place, digest, seq = killed(tmp_path)
    (segment,) = (place / "r" / "journal").glob("*.ptj")
    last = [frame for frame in read(segment.parent) if frame.kind is Kind.FACT][-1]
    whole = segment.read_bytes()
    segment.write_bytes(whole[: last.position.offset + 5])
    life = Life(place)
    assert life.past is not None
    assert life.past.told.completed >= 1 and "cut off" in life.past.told.remarks[0]
    assert [number for number, _ in facts(place)][:seq] == list(range(1, seq + 1))
    digest = life.stop()
    assert replay([place / "r"]).digest == digest


def test_the_tape_of_a_killed_session_is_completed(tmp_path: Path) -> None:
    place, _, _ = killed(tmp_path)
    entries = sum(1 for frame in read(place / "r" / "journal") if frame.kind is Kind.INPUT)
    Life(place).stop()
    assert sum(1 for _ in read_tape(place / "r" / "tape" / "0001.ptz")[1]) == entries


def test_a_damaged_snapshot_costs_a_longer_replay(tmp_path: Path) -> None:
    life = Life(tmp_path / "first")
    life.live(100)
    life.snapshot()
    life.live(100)
    life.snapshot()
    life.live(50)
    place = tmp_path / "second"
    life.killed(place)
    new, old = newest(place / "r" / "snapshots")
    data = bytearray(new.read_bytes())
    data[len(data) // 2] ^= 1
    new.write_bytes(data)
    again = Life(place)
    assert again.past is not None
    assert again.past.told.snapshot == old.name
    assert "found damage" in again.past.told.remarks[0]
    assert again.past.told.inputs > 50, "those behind the older snapshot"
    digest = again.stop()
    assert replay([place / "r"]).digest == digest


@pytest.mark.parametrize("cut", [0, 10, 30, 60, -1])
def test_a_torn_snapshot_is_no_snapshot(tmp_path: Path, cut: int) -> None:
    place, _, seq = killed(tmp_path)
    (path,) = newest(place / "r" / "snapshots")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(SnapshotUnusable, match="expected"):
        unpack(path)
    life = Life(place)
    assert life.past is not None and life.past.told.snapshot == "" and life.engine.seq > seq
    life.stop()


def test_a_snapshot_of_another_schema_is_named_and_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(tmp_path / "first")
    life.live(100)
    monkeypatch.setattr("engine.live.recovery.keeper.SCHEMA", 9)
    life.snapshot()
    place = tmp_path / "second"
    life.killed(place)
    again = Life(place)
    assert again.past is not None
    assert "expected schema 1, found 9 of another papertape" in again.past.told.remarks[0]
    again.stop()


def test_other_code_replays_from_the_start_and_goes_on_when_it_decides_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _, _ = killed(tmp_path)
    monkeypatch.setattr(sessions, "code_print", lambda modules: {"engine/core": "other"})
    life = Life(place)
    assert life.past is not None
    assert life.past.told.snapshot == ""
    assert "expected the state of today's program, found changes in adapters" in life.past.told.remarks[0]
    life.live(30)
    digest = life.stop()
    assert replay([place / "r"]).digest == digest


@pytest.mark.parametrize("is_told", [True, False])
def test_code_that_was_reloaded_is_the_code_of_the_snapshots_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    source = tmp_path / f"reloaded_idea_{is_told}.py"
    source.write_text((ROOT / "tests" / "raising.py").read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    strategy = {"name": "mine", "use": f"{source.stem}:Raises", "symbol": "v:BTC", "after": 100_000}
    settings = config(strategy=[strategy])
    life = Life(tmp_path / "first", settings)
    life.live(100)
    source.write_text(source.read_text() + "# the same, in other words\n")
    life.apply(Entry(EntryKind.COMMAND, life.now_ns, "", "reload", b"{}"))
    if is_told:
        life.keeper.reloaded(["mine"])
        assert life.keeper.is_due(), "a start from before would not have that code any more"
    life.live(20)
    life.snapshot()
    life.live(20)
    life.killed(tmp_path / "second")
    again = Life(tmp_path / "second", settings)
    assert again.past is not None
    assert bool(again.past.told.snapshot) == is_told
    again.stop()


def test_other_code_that_decides_otherwise_is_refused_at_the_first_fact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _, _ = killed(tmp_path)
    before = tree(place)
    monkeypatch.setattr(sessions, "code_print", lambda modules: {})
    monkeypatch.setattr("engine.research.crash_strategy.Busy.send", lambda *args: None)
    with pytest.raises(RecoveryError, match=r"expected fact \d+ to be .*Request.*; run the version that wrote it, or"):
        Life(place)
    assert tree(place) == before, "a refused start changes nothing"


def tree(place: Path) -> dict[str, bytes]:
    skipped = ("lock",)
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.name not in skipped
    }


def test_another_configuration_is_refused_with_each_key(tmp_path: Path) -> None:
    place, _, _ = killed(tmp_path)
    paper = {**CONFIG["paper"], "out": "6ms"}
    changed = config(paper=paper, run={"name": "r", "seed": 2}, risk={"allow_short": False}, http={"port": 1}, model=[])
    with pytest.raises(RecoveryError) as caught:
        Life(place, changed)
    assert "paper.out: was '5ms', is '6ms' (account, fees" in str(caught.value)
    assert "run.seed: was 1, is 2 (" in str(caught.value) and "model.linear.use: was " in str(caught.value)
    assert "http" not in str(caught.value) and "risk." not in str(caught.value)
    assert "--fresh" in str(caught.value)


def test_a_torn_tail_is_told_by_a_refused_start_too(tmp_path: Path) -> None:
    place, *_ = killed(tmp_path, frames=40, snapshot_at=None)
    (segment,) = (place / "r" / "journal").glob("*.ptj")
    whole = segment.read_bytes()
    segment.write_bytes(whole + b"torn")
    with capture_logs() as told, pytest.raises(RecoveryError):
        Life(place, config(paper={**CONFIG["paper"], "cash": {"USDT": "5"}}))
    assert "cut off the last 4 bytes" in " ".join(str(line.get("found")) for line in told)
    assert segment.read_bytes() == whole


def test_a_changed_instrument_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, _, _ = killed(tmp_path)
    monkeypatch.setattr("tests.recovering.BTC", msgspec.structs.replace(BTC, tick=5))
    with pytest.raises(RecoveryError, match="v:BTC: expected the instrument as it was"):
        Life(place)


def test_a_journal_whose_files_are_gone_is_refused(tmp_path: Path) -> None:
    place, _, _ = killed(tmp_path)
    shutil.rmtree(place / "r" / "snapshots")
    (segment,) = (place / "r" / "journal").glob("*.ptj")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    with pytest.raises(JournalDamaged, match=rf"{segment.name}: byte \d+"):
        Life(place)


def test_a_compacted_journal_and_its_tapes_are_enough_for_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = config(journal={"segment": "64KiB"})
    place = tmp_path / "0"
    for number in range(3):
        life = Life(place, small)
        for _ in range(4):
            life.live(120)
            life.snapshot()
        life.wait_for_tape()
        life.snapshot()
        life.live(20)
        place = tmp_path / str(number + 1)
        life.killed(place)
    assert list((place / "r" / "journal").glob("*.zst")), "nothing was compacted: the test would show nothing"
    monkeypatch.setattr(sessions, "code_print", lambda modules: {})
    life = Life(place, small)
    assert life.past is not None and life.past.told.snapshot == ""
    digest = life.stop()
    assert replay([place / "r"]).digest == digest
    (place / "r" / "tape" / "0001.ptz").unlink()
    monkeypatch.setattr(sessions, "code_print", lambda modules: {"python": "4"})
    with pytest.raises(RecoveryError, match=r"0001\.ptz.*bring the tape back, or start anew with --fresh"):
        Life(place, small)


def test_a_clock_that_was_set_back_does_not_set_the_run_back(tmp_path: Path) -> None:
    from engine.live.clock import Clock

    place, _, _ = killed(tmp_path)
    life = Life(place)
    assert life.past is not None
    clock = Clock(wall=lambda: 5, monotonic=lambda: 7, after_ns=life.past.last_ns + 1)
    assert clock.now_ns() == life.past.last_ns + 1
    assert clock.behind_ns == life.past.last_ns - 4
    life.stop()


def test_a_long_absence_calls_a_timer_once(tmp_path: Path) -> None:
    place, _, _ = killed(tmp_path)
    life = Life(place)
    assert life.past is not None
    timers = life.engine.timers
    assert min(timers._due.values()) >= life.past.last_ns + 1_000_000_000
    life.stop()


def test_a_strategy_that_holds_a_file_is_named_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    life = Life(tmp_path)
    life.live(50)
    with (tmp_path / "open").open("w") as file:
        life.engine.roster.slots["busy"].strategy.file = file
        assert life.keeper.snapshot() is None
    assert life.keeper.failed == 1
    assert not life.keeper.is_due()
    del life.engine.roster.slots["busy"].strategy.file
    life.live(10)
    life.stop()


def test_an_empty_folder_begins_a_run(tmp_path: Path) -> None:
    life = Life(tmp_path)
    assert life.past is None and life.opened.number == 1
    life.live(10)
    life.killed(tmp_path / "second")
    with Journal.open(tmp_path / "second" / "r" / "journal") as journal:
        assert journal.entries > 10
