"""``papertape journal`` and ``papertape diff`` as their user meets them, and the ``[journal]`` section."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engine.core.records import Fill, Note, Record
from engine.live.cli import app
from engine.live.commands_journal import _last, _new, _Shown
from engine.live.config import AppConfig, ConfigError, parse_config
from engine.live.config_journal import JournalSection
from engine.live.journal import Journal, JournalSettings, read, seq_of
from engine.live.statedir import StateDir
from tests.journals import LINE, QUIET, SMALL, facts, write

FILL = Fill(7, "s", "v:X", -1, 100, 5, True, "0.1", "USDT", 0, 3, 10**18)


def papertape(*words: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder: five facts, an input before each of the first three."""
    with Journal.open(tmp_path / "demo" / "journal", QUIET, run="demo") as journal:
        for seq in (1, 2, 3):
            journal.input(LINE)
            journal.facts(facts(seq, 1))
        journal.facts([Record(4, 10**18, FILL), Record(5, 10**18, Note("s", {"a b": 1}))])
    return tmp_path / "demo"


def damage(run: Path, place: int) -> Path:
    path = next((run / "journal").iterdir())
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    return path


def test_a_whole_journal_verifies(run: Path) -> None:
    done = papertape("journal", "verify", run)
    assert done.exit_code == 0, done.output
    assert f"{run / 'journal'}: whole; 1 segment, " in done.stdout
    assert "3 inputs, 5 facts, 0 marks; facts 1 to 5, none missing" in done.stdout
    told = json.loads(papertape("journal", "verify", run, "--json").stdout)
    assert told["ok"] and (told["facts"], told["first_seq"], told["last_seq"], told["cut"]) == (5, 1, 5, None)


def test_a_torn_tail_is_told_and_is_no_damage(run: Path) -> None:
    path = next((run / "journal").iterdir())
    os.truncate(path, path.stat().st_size - 3)
    done = papertape("journal", "verify", run)
    assert done.exit_code == 0
    assert "facts 1 to 4, none missing" in done.stdout
    assert "torn tail, which the next start cuts off: the last " in done.stdout
    assert json.loads(papertape("journal", "verify", run, "--json").stdout)["cut"]["bytes"] > 0
    done = papertape("journal", "cat", run)
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 4 and "torn tail" in done.stderr
    with StateDir(run):  # its last frame may be on its way
        assert "torn tail" not in papertape("journal", "cat", run).output
        assert "torn tail" not in papertape("journal", "verify", run).output


def test_damage_is_named_with_its_file_and_byte(run: Path) -> None:
    found = list(read(run / "journal"))
    path = damage(run, found[2].position.offset + 14)
    done = papertape("journal", "verify", run)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"papertape: {path}: byte {found[2].position.offset}: expected a whole frame, found ")
    assert "put back a copy of this file" in line
    told = json.loads(papertape("journal", "verify", run, "--json").stdout)
    assert (told["ok"], told["path"], told["offset"]) == (False, str(path), found[2].position.offset)
    for words in (("cat", run), ("tail", run), ("export", run, "--out", run / "out")):
        done = papertape("journal", *words)
        assert done.exit_code == 1 and f"{path}: byte " in done.stderr
    assert not (run / "out").exists()
    assert papertape("diff", run, run).exit_code == 1


def test_cat_prints_a_fact_a_line(run: Path) -> None:
    lines = papertape("journal", "cat", run).stdout.splitlines()
    assert len(lines) == 5
    assert lines[0] == "1  2001-09-09 01:46:40.000000  Sent  order=1 arrives_ns=1000000000000000001"
    assert lines[4].endswith('Note  strategy=s fields={"a b":1}')
    assert papertape("journal", "cat", run, "--from", 2, "--to", 3).stdout.splitlines() == lines[1:3]
    assert papertape("journal", "cat", run, "--kind", "Fill, Note").stdout.splitlines() == lines[3:]
    mixed = papertape("journal", "cat", run, "--inputs", "--from", "2", "--to", "3").stdout.splitlines()
    assert mixed == [f"<  {LINE.decode()}", lines[1], f"<  {LINE.decode()}", lines[2]]
    told = [json.loads(line) for line in papertape("journal", "cat", run, "--json", "--inputs").stdout.splitlines()]
    assert told[0] == {"input": LINE.decode()}
    assert told[-2]["type"] == "Fill" and told[-2]["fact"]["fee"] == "0.1" and told[-2]["seq"] == 4
    wrong = papertape("journal", "cat", run, "--kind", "Filled")
    assert wrong.exit_code == 2 and "expected some of Accepted" not in wrong.stdout and "found Filled" in wrong.stderr


def test_tail_prints_the_last_facts(run: Path) -> None:
    lines = papertape("journal", "cat", run).stdout.splitlines()
    assert papertape("journal", "tail", run).stdout.splitlines() == lines
    assert papertape("journal", "tail", run, "-n", 2).stdout.splitlines() == lines[-2:]
    assert papertape("journal", "tail", run, "-n", 1, "--kind", "Sent").stdout.splitlines() == lines[2:3]


def test_tail_looks_at_as_few_segments_as_it_needs_and_follows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "journal"
    write(folder, 50, SMALL)
    shown = _Shown(frozenset(), inputs=False, as_json=True)
    for count in (1, 7, 49, 50, 80):
        last, end = _last(folder, count, shown)
        assert [seq_of(frame.payload) for frame in last] == list(range(max(1, 51 - count), 51))
    assert end is not None
    for _ in range(30):  # over the end of segments too
        write(folder, 1, SMALL)
        end = _new(folder, end, shown)
    seen = [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()]
    assert seen == list(range(51, 81))


def test_an_export_and_its_rows(run: Path) -> None:
    done = papertape("journal", "export", run, "--out", run / "out")
    assert done.exit_code == 0 and done.stdout == f"wrote {run / 'out'}: 3 Sent, 1 Fill, 1 Note\n"
    told = json.loads(papertape("journal", "export", run, "--out", run / "out", "--json").stdout)
    assert told["rows"] == {"Sent": 3, "Fill": 1, "Note": 1}


def test_diff_ends_with_0_for_the_same_and_1_for_others(run: Path, tmp_path: Path) -> None:
    assert papertape("diff", run, run).stdout == "the same: 5 facts from 1 on\n"
    other = tmp_path / "other"
    write(other / "journal", 4)
    done = papertape("diff", run, other)
    assert done.exit_code == 1
    first, a, b = done.stdout.splitlines()
    assert first == "the same up to fact 3 (3 facts compared), then:"
    assert a.startswith("a: 4  ") and "  Fill  " in a and b.startswith("b: 4  ") and "  Sent  " in b
    told = json.loads(papertape("diff", run, other, "--json").stdout)
    assert (told["verdict"], told["seq"]) == ("they part", 4)
    short = tmp_path / "short"
    write(short / "journal", 2)
    done = papertape("diff", short, other)
    assert done.exit_code == 1 and f"a: {short} ends here; it is the beginning of b" in done.stdout


def test_a_run_is_found_by_its_folder_its_journal_or_its_name(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert papertape("journal", "verify", run / "journal").exit_code == 0
    monkeypatch.setattr("engine.live.commands_journal.VAR", run.parent)
    assert papertape("journal", "verify", "demo").exit_code == 0
    done = papertape("journal", "verify", "none")
    assert done.exit_code == 1
    assert "none: expected a daemon's folder with a journal, or a run's name below" in done.stderr


def test_what_a_section_says_reaches_the_journal() -> None:
    said = parse_config({"journal": {"fsync": "250ms", "segment": "1MiB", "quota": "0B", "keep": "quota"}}, "c")
    assert said.journal.settings() == JournalSettings(
        sync_every_ns=250_000_000, segment_bytes=1 << 20, quota_bytes=0, keep="quota"
    )
    assert JournalSection().settings() == JournalSettings()
    assert parse_config({"journal": {"fsync": "always"}}, "c").journal.settings().sync_every_ns == 0
    assert parse_config({"journal": {"fsync": "off"}}, "c").journal.settings().sync_every_ns is None
    assert said.journal.snapshot_every == 60 * 10**9 and said.journal.enabled
    assert "journal" not in said.plain()  # it decides nothing of the run


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("fsync", "sometimes", 'expected "always", "off" or a duration above zero such as "1s", found'),
        ("fsync", "0s", 'expected "always", "off" or a duration above zero such as "1s", found'),
        ("segment", "1KiB", "expected a size between 64KiB and 4GiB, found '1KiB'"),
        ("segment", 5, 'expected a size with a unit such as "512KiB", "64MiB" or "4GiB", found 5'),
        ("quota", "4GB", 'expected a size with a unit such as "512KiB", "64MiB" or "4GiB", found'),
        ("keep", "some", "expected 'all' or 'quota', found 'some'"),
        ("snapshot_every", "5ms", "expected greater than or equal to 1s, found '5ms'"),
        ("every", "1s", "expected one of enabled, fsync, segment, quota, keep, snapshot_every, found the unknown key"),
    ],
)
def test_a_mistake_in_the_section_is_named(key: str, value: object, expected: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_config({"journal": {key: value}}, "c.toml")
    assert str(told.value).startswith(f"c.toml: journal.{key}: {expected}")


def test_the_schema_says_what_the_file_may_say() -> None:
    section = AppConfig.model_json_schema()["$defs"]["JournalSection"]["properties"]
    assert {name: one["default"] for name, one in section.items()} == {
        "enabled": True,
        "fsync": "1s",
        "segment": "64MiB",
        "quota": "4GiB",
        "keep": "all",
        "snapshot_every": "60s",
    }
    written = {name: one["default"] for name, one in section.items()}
    assert parse_config({"journal": written}, "c").journal == JournalSection()
    assert JournalSection().model_dump(mode="json") == {**written, "snapshot_every": "1m"}
