"""A black box: an incident in one file, that plays again anywhere to the same facts and the same end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from adapters.tape import read_tape
from engine.core.engine import Engine
from engine.live.blackbox import rerun as reruns
from engine.live.blackbox.index import BoxError, Index, is_box, read_index, unpacked
from engine.live.blackbox.pack import Order, boxes, pack, slug
from engine.live.blackbox.rerun import rerun, rerun_otherwise
from engine.live.blackbox.watch import Watch, pack_refused
from engine.live.config import AppConfig
from engine.live.journal import JournalDamaged, Kind, read
from engine.live.journal.verify import verify
from engine.live.recovery.state import RecoveryError
from tests.data import ROOT
from tests.recovering import CONFIG, Life, config

PAPERTAPE = [sys.executable, "-c", "from engine.live.cli import main; main()"]
RAISES = [{"name": "bad", "use": "tests.raising:Raises", "symbol": "v:BTC", "after": 200}]


def papertape(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which finds the program but nothing else of this folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [*PAPERTAPE, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, env=environment, check=False)


def stopped(folder: Path, settings: AppConfig | None = None, *, snapshot_at: int | None = 120) -> Path:
    """The folder of a run whose strategy raised, and which was killed after that."""
    life = Life(folder / "life", settings or config(strategy=RAISES))
    if snapshot_at is not None:
        life.live(snapshot_at)
        life.snapshot()
    life.live(240 - (snapshot_at or 0))
    assert life.engine.roster.stopped
    life.wait_for_tape()
    life.killed(folder)
    return folder / "r"


def packed(run: Path, **changes: Any) -> Path:
    return pack(Order(**{"folder": str(run), "reason": "asked", "detail": "a test", **changes}))


def test_a_strategy_that_raised_raises_again_on_a_clean_checkout(tmp_path: Path) -> None:
    box = packed(stopped(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(box, elsewhere / "incident.ptz")
    shutil.rmtree(tmp_path / "r")
    done = papertape("replay", "incident.ptz", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "from the snapshot behind fact" in done.stdout
    assert "same: " in done.stdout
    assert "ends with " in done.stdout
    assert "StrategyStopped  strategy=bad" in done.stdout
    assert "ZeroDivisionError: no change in 200 orders" in done.stdout
    told = json.loads(papertape("replay", "incident.ptz", "--json", cwd=elsewhere).stdout)
    assert told["is_same"] and told["facts"] > 100 and told["inputs"] == 120


def test_a_module_that_is_not_here_is_taken_from_the_box_only_when_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "own_idea_of_box.py").write_text((ROOT / "tests" / "raising.py").read_text())
    monkeypatch.syspath_prepend(str(mine))
    settings = config(strategy=[{**RAISES[0], "use": "own_idea_of_box:Raises"}])
    box = packed(stopped(tmp_path, settings))
    assert read_index(box).sources["own_idea_of_box"] == "source/own_idea_of_box.py"
    refused = papertape("replay", box, cwd=tmp_path)
    assert refused.returncode == 1
    assert "expected the module own_idea_of_box" in refused.stderr and "--trust" in refused.stderr
    done = papertape("replay", box, "--trust", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "own_idea_of_box: the box's own source" in done.stdout


def test_a_box_that_names_what_is_no_strategy_is_refused(tmp_path: Path) -> None:
    box = packed(stopped(tmp_path))
    with zipfile.ZipFile(box) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(b"tests.raising:Raises", b"posix:system")
    with zipfile.ZipFile(tmp_path / "evil.ptb", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(BoxError, match=r"module posix|posix:system"):
        rerun(tmp_path / "evil.ptb", trust=True)


def test_what_is_in_it(tmp_path: Path) -> None:
    run = stopped(tmp_path)
    box = packed(run)
    assert is_box(box) and not is_box(run / "tape" / "0001.ptz")
    with unpacked(box) as (index, folder):
        assert index.reason == "asked" and index.detail == "a test" and index.seq > index.snapshot_seq > 0
        assert index.session == 1 and index.has_start and index.left_out == [] and index.damage == ""
        assert index.packages["numpy"] and index.python and index.code["tests.raising"]
        assert json.loads((folder / "config.json").read_text())["strategy"][0]["after"] == 200
        assert (folder / index.sources["tests.raising"]).read_text() == (ROOT / "tests" / "raising.py").read_text()
        found = verify(folder / "journal")
        assert (found.facts, found.inputs) == (index.facts, index.inputs)
        assert sum(1 for _ in read_tape(folder / "tape" / index.tapes[0], allow_torn=True)[1]) > index.inputs


def test_secrets_are_not_in_it(tmp_path: Path) -> None:
    url = "redis://user:very-secret@localhost:1/0"
    box = packed(stopped(tmp_path, config(strategy=RAISES, redis={"url": url})))
    with zipfile.ZipFile(box) as archive:
        assert all(b"very-secret" not in archive.read(name) for name in archive.namelist())


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_box_over_a_changed_configuration_plays_each_session_under_its_own(tmp_path: Path, is_stored: bool) -> None:
    first = Life(tmp_path / "first", config(strategy=[{**RAISES[0], "after": 10_000}]))
    first.live(60)
    if is_stored:
        first.snapshot()
    first.killed(tmp_path / "second")
    life = Life(tmp_path / "second", config(strategy=[*CONFIG["strategy"], {**RAISES[0], "after": 100}]))
    life.live(120)
    assert set(life.engine.roster.stopped) == {"bad"}
    life.killed(tmp_path)
    found = rerun(packed(tmp_path / "r"))
    assert found.is_same and found.facts > 100
    assert found.begin.startswith("the snapshot" if is_stored else "the start")


def test_without_a_snapshot_it_begins_at_the_start(tmp_path: Path) -> None:
    box = packed(stopped(tmp_path, snapshot_at=None))
    found = rerun(box)
    assert (found.is_same, found.begin) == (True, "the start of the run")
    assert "StrategyStopped" in found.ends


@pytest.mark.parametrize("after", ["same", "other"])
def test_other_code_plays_from_the_start_and_is_held_to_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    box = packed(stopped(tmp_path))
    monkeypatch.setattr(reruns, "code_print", lambda modules: {"engine/core": "other"})
    if after == "other":
        monkeypatch.setattr("engine.research.crash_strategy.Busy.send", lambda *args: None)
    found = rerun(box)
    assert found.begin == "the start of the run"
    assert "found changes in adapters" in found.notes[0]
    assert found.is_same == (after == "same")
    assert ("today's code or libraries decide otherwise" in found.now) == (after == "other")


def test_other_code_without_the_start_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stopped(tmp_path)
    (run / "tape" / "0001.ptz").unlink()
    box = packed(run)
    assert rerun(box).is_same, "the snapshot and the journal are enough for the same code"
    monkeypatch.setattr(reruns, "code_print", lambda modules: {})
    with pytest.raises(
        BoxError, match=r"expected a snapshot that can be used or the whole run.*play it with papertape"
    ):
        rerun(box)


def test_a_fact_that_differs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = packed(stopped(tmp_path))
    monkeypatch.setattr("engine.research.crash_strategy.Busy.send", lambda *args: None)
    found = rerun(box)
    assert not found.is_same
    assert "Request" in found.was and found.now


def test_it_ends_where_the_incident_was(tmp_path: Path) -> None:
    life = Life(tmp_path / "life", config(strategy=RAISES))
    life.live(120)
    life.snapshot()
    life.live(20)
    end = life.journal.position
    life.live(60)
    life.killed(tmp_path)
    whole, part = packed(tmp_path / "r"), packed(tmp_path / "r", end=(end.segment, end.offset))
    assert read_index(part).inputs == 20 < read_index(whole).inputs == 80
    assert rerun(part).is_same


def test_a_snapshot_behind_the_incident_or_too_young_is_not_its_begin(tmp_path: Path) -> None:
    life = Life(tmp_path / "life", config(strategy=RAISES))
    life.live(100)
    life.snapshot()
    first = life.engine.seq
    life.live(20)
    life.snapshot()
    second = life.engine.seq
    life.live(5)
    now_ns = life.now_ns
    life.killed(tmp_path)
    young = packed(tmp_path / "r", ns=now_ns, window_ns=10**9)
    assert read_index(young).snapshot_seq == first
    assert read_index(packed(tmp_path / "r", ns=now_ns, window_ns=0)).snapshot_seq == second


def test_a_box_over_several_sessions_plays(tmp_path: Path) -> None:
    life = Life(tmp_path / "0")
    life.live(60)
    life.snapshot()
    life.live(20)
    life.killed(tmp_path / "1")
    life = Life(tmp_path / "1")
    life.live(40)
    life.killed(tmp_path / "2")
    box = packed(tmp_path / "2" / "r")
    found = rerun(box)
    assert found.is_same and found.inputs > 60
    assert read_index(box).session == 2


def test_what_has_no_place_is_left_out_and_said(tmp_path: Path) -> None:
    run = stopped(tmp_path)
    with (run / "tape" / "0001.ptz").open("ab") as tape:
        tape.write(os.urandom(1 << 20))
    box = packed(run, most_bytes=1 << 19)
    index = read_index(box)
    assert index.tapes == [] and "tapes (0001.ptz)" in index.left_out[0]
    assert rerun(box).is_same
    small = packed(run, most_bytes=4_000)
    index = read_index(small)
    assert index.snapshot == "" and index.inputs == 0 and "raise [blackbox] most" in index.left_out[0]
    with unpacked(small) as (_, folder):
        facts = [frame for frame in read(folder / "journal") if frame.kind is Kind.FACT]
    assert len(facts) == index.facts > 0
    with pytest.raises(BoxError, match="expected a snapshot that can be used or the whole run"):
        rerun(small)


def test_the_oldest_go(tmp_path: Path) -> None:
    run = stopped(tmp_path)
    for second in range(5):
        packed(run, ns=(1_700_000_000 + second) * 10**9, keep=3)
    assert [path.name[:15] for path in boxes(run / "blackbox")] == [f"20231114T22132{second}" for second in (2, 3, 4)]


def test_a_disk_that_refuses_leaves_no_half_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stopped(tmp_path)

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.live.blackbox.pack._fill", refuse)
    with pytest.raises(BoxError, match=r"expected to write the black box, found: .*No space left"):
        packed(run)
    assert list((run / "blackbox").iterdir()) == []


def test_an_engine_that_raises_raises_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Engine.settle

    def raises(engine: Engine) -> None:
        settle(engine)
        if engine.seq > 700:
            raise RuntimeError(f"fact {engine.seq} is one too many")

    monkeypatch.setattr(Engine, "settle", raises)
    life = Life(tmp_path / "life")
    life.live(120)
    life.snapshot()
    with pytest.raises(RuntimeError) as caught:
        life.live(200)
    watch = Watch(life.state, life.config, life.keeper, list)
    monkeypatch.setattr(watch, "_hear", lambda *args: None)
    watch.failure(caught.value)
    assert life.keeper.is_torn
    life.killed(tmp_path)
    box = packed(tmp_path / "r", reason="failed", detail=f"RuntimeError: {caught.value}")
    found = rerun(box)
    assert found.is_same and found.ends == f"RuntimeError: {caught.value}" and found.facts > 50
    monkeypatch.setattr(Engine, "settle", settle)
    assert not rerun(box).is_same, "mended, it does not raise"


def test_a_torn_state_is_not_kept(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.live(20)
    life.keeper.is_torn = True
    life.stop()
    assert life.keeper.snapshots == 0


def test_a_refused_start_is_packed_once(tmp_path: Path) -> None:
    run = stopped(tmp_path)
    changed = config(strategy=RAISES, paper={**CONFIG["paper"], "out": "6ms"})
    with pytest.raises(RecoveryError) as caught:
        Life(tmp_path, changed)
    box = pack_refused(run, changed, caught.value)
    assert box is not None and "refused" in box.name
    assert "paper.out: was '5ms', is '6ms'" in read_index(box).detail
    assert rerun(box).is_same, "under the configuration that it had"
    assert pack_refused(run, changed, caught.value) is None
    os.utime(box, (0, 0))
    assert pack_refused(run, changed, caught.value) is None, "the same refusal again"


def test_a_damaged_journal_is_packed_with_what_is_around_the_damage(tmp_path: Path) -> None:
    run = stopped(tmp_path, snapshot_at=None)
    (segment,) = (run / "journal").glob("*.ptj")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    with pytest.raises(JournalDamaged) as caught:
        Life(tmp_path, config(strategy=RAISES))
    box = pack_refused(run, config(strategy=RAISES), caught.value)
    assert box is not None
    with zipfile.ZipFile(box) as archive:
        (name,) = (name for name in archive.namelist() if name.startswith("damage/"))
        start = int(name.rpartition("-")[2])
        assert bytes(data)[start:].startswith(archive.read(name))
    index = read_index(box)
    assert index.damage.startswith(str(segment)) and index.facts > 0
    found = rerun(box)
    assert found.was == "" and "the journal was damaged" in found.notes[-1]


def test_its_tapes_play_under_another_configuration_and_another_model(tmp_path: Path) -> None:
    box = packed(stopped(tmp_path))
    done = papertape("replay", box, "--model", "linear=zero", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"][0]["use"] == "zero"
    path = tmp_path / "other.toml"
    path.write_text('[venue.v]\nuse = "plain"\nsymbols = ["BTC"]\n[paper.cash]\nUSDT = "5"\n')
    found = rerun_otherwise(box, config=path)
    assert found.summary["strategies"] == {} and found.config.endswith(f"on the tapes of {box.name}")
    wrong = papertape("replay", box, "--model", "nonsense=zero", cwd=tmp_path)
    assert wrong.returncode == 1 and "expected a model of linear, found nonsense" in wrong.stderr
    assert papertape("replay", box, "--model", "linear", cwd=tmp_path).returncode == 2


def test_the_command_packs_a_dead_run(tmp_path: Path) -> None:
    run = stopped(tmp_path)
    done = papertape("blackbox", run, "--reason", "it looked odd", "--out", tmp_path / "x.ptb", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == str(tmp_path / "x.ptb")
    assert read_index(tmp_path / "x.ptb").detail == "it looked odd"
    again = papertape("blackbox", run, "--out", tmp_path / "x.ptb", cwd=tmp_path)
    assert again.returncode == 2 and "never overwritten" in again.stderr
    none = papertape("blackbox", tmp_path / "nowhere", cwd=tmp_path)
    assert none.returncode == 1 and "expected a daemon's folder with a journal" in none.stderr


def test_a_box_that_is_none_or_torn_is_refused(tmp_path: Path) -> None:
    box = packed(stopped(tmp_path))
    data = bytearray(box.read_bytes())
    (tmp_path / "torn.ptb").write_bytes(data[: len(data) // 2])
    assert not is_box(tmp_path / "torn.ptb")
    with pytest.raises(BoxError, match="expected a black box"):
        read_index(tmp_path / "torn.ptb")
    data[200] ^= 1
    (tmp_path / "flipped.ptb").write_bytes(data)
    with pytest.raises(BoxError, match="expected a whole black box"), unpacked(tmp_path / "flipped.ptb"):
        pass


def test_an_index_of_another_format_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = packed(stopped(tmp_path))
    monkeypatch.setattr("engine.live.blackbox.index.FORMAT", 9)
    with pytest.raises(BoxError, match="expected format 9, found 1: of another papertape"):
        read_index(box)
    assert Index.__struct_fields__[0] == "format"


def test_a_reason_becomes_a_name() -> None:
    assert slug("../../etc passwd") == "etc-passwd"
