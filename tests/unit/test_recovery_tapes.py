"""Tapes of sessions that were killed: completed by a later start, and nothing they lack leaves the journal before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.tape import TapeWriter, has_end, read_tape
from engine.live.config import parse_config
from engine.live.journal import Frame, read
from engine.live.recovery import session as sessions
from engine.live.recovery.inputs import count_inputs, lines_after, stretches
from engine.live.recovery.state import Recovered, RecoveryError
from engine.live.statedir import StateDir
from engine.research.replay import replay
from tests.recovering import CONFIG, Life
from tests.unit.test_recovery import killed


def test_a_session_that_was_killed_before_it_healed_the_tape_before_leaves_that_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _, _ = killed(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("tests.recovering.heal", lambda state, past: None)
        second = Life(place)
        second.live(20)
        second.killed(tmp_path / "third")
    life = Life(tmp_path / "third")
    life.live(20)
    digest = life.stop()
    assert replay([tmp_path / "third" / "r"]).digest == digest


def test_however_many_tapes_are_torn_the_journal_is_read_through_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight sessions in a row are killed before they heal anything; then each one's own part is read once more."""
    place, _, _ = killed(tmp_path)
    monkeypatch.setattr("tests.recovering.heal", lambda state, past: None)
    for number in range(7):
        life = Life(place)
        life.live(40)
        place = tmp_path / f"kill {number}"
        life.killed(place)
    taken = 0

    def counted(*args: Any) -> Iterator[Frame]:
        nonlocal taken
        for frame in read(*args):
            taken += 1
            yield frame

    def heal(state: StateDir, past: Recovered) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("engine.live.recovery.inputs.read", counted)
            sessions.heal(state, past)

    monkeypatch.setattr("tests.recovering.heal", heal)
    life = Life(place)
    whole = sum(1 for _ in read(place / "r" / "journal"))
    assert 0 < taken < 2.5 * whole
    life.live(20)
    digest = life.stop()
    assert replay([place / "r"]).digest == digest


def test_healing_that_is_given_up_leaves_the_rest_to_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _, _ = killed(tmp_path)
    monkeypatch.setattr("tests.recovering.heal", lambda state, past: sessions.heal(state, past, lambda: True))
    life = Life(place)
    life.live(20)
    assert not has_end(str(place / "r" / "tape" / "0001.ptz"))
    life.killed(tmp_path / "third")
    monkeypatch.setattr("tests.recovering.heal", sessions.heal)
    life = Life(tmp_path / "third")
    assert all(has_end(str(path)) for path in sorted((tmp_path / "third" / "r" / "tape").glob("*.ptz"))[:2])
    digest = life.stop()
    assert replay([tmp_path / "third" / "r"]).digest == digest


def test_no_input_leaves_the_journal_while_an_earlier_tape_is_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments so small that each snapshot could make the journal smaller; the session before was not healed yet."""
    settings = parse_config({**CONFIG, "journal": {"segment": "64KiB", "snapshot_every": "1s"}}, "test")
    life = Life(tmp_path / "first", settings)
    life.live(900)
    life.killed(tmp_path / "second")
    monkeypatch.setattr("tests.recovering.heal", lambda state, past: None)
    life = Life(tmp_path / "second", settings)
    life.keeper.is_healed = False
    for _ in range(4):
        life.live(300)
        life.snapshot()
    place = tmp_path / "second" / "r"
    part = stretches(place / "journal")[1]
    assert count_inputs(place / "journal", 1) == part.inputs > 900
    assert sum(1 for _ in lines_after(place / "journal", 1, 0, part.begins)) == part.inputs
    assert life.past is not None
    sessions.heal(life.state, life.past)
    life.keeper.is_healed = True
    for _ in range(40):  # the own tape has a thread, and must have come so far too
        life.live(50)
        life.snapshot()
        if 1 not in stretches(place / "journal"):
            break
    assert 1 not in stretches(place / "journal"), "now they may go"
    with pytest.raises(RecoveryError, match="expected the inputs of session 1, found that they are gone"):
        count_inputs(place / "journal", 1)
    digest = life.stop()
    assert replay([place]).digest == digest


def test_a_tape_whose_session_never_began_is_set_aside(tmp_path: Path) -> None:
    place, _, _ = killed(tmp_path)
    tapes = place / "r" / "tape"
    header = msgspec.structs.replace(read_tape(tapes / "0001.ptz", allow_torn=True)[0], session=2)
    with TapeWriter(tapes / "0002-a.ptz", header):
        pass
    (tapes / "0002-b.ptz").write_bytes(b"")
    life = Life(place)
    life.live(20)
    digest = life.stop()
    assert sorted(path.name for path in tapes.iterdir()) == [
        *("0001.ptz", "0002-a.ptz.unbegun", "0002-b.ptz.unbegun", "0002.ptz")
    ]
    assert replay([place / "r"]).digest == digest
