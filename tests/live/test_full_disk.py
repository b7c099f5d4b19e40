"""A disk that takes no more: the run ends in order with code 1 and one line, and leaves no process behind."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from adapters.tape import TapeHeader, TapeNotWritten, TapeWriter, read_tape
from engine.live.statedir import StateDir, StateDirError
from tests.live.test_daemon import Daemon, papertape

HEADER = TapeHeader(started_ns=1, venues={})
LIMIT = 40_000


class Full(io.RawIOBase):
    """A file on a disk without room."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_tape_that_cannot_begin_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def store(self: TapeWriter, text: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(TapeWriter, "_store", store)
    with pytest.raises(TapeNotWritten, match=r"a\.ptz: expected room for the tape, found: No space left on device"):
        TapeWriter(tmp_path / "a.ptz", HEADER)
    assert list(tmp_path.iterdir()) == []


def test_a_tape_whose_end_cannot_be_stored_says_so(tmp_path: Path) -> None:
    writer = TapeWriter(tmp_path / "a.ptz", HEADER)
    kept, writer._file = writer._file, cast(BinaryIO, Full())
    with pytest.raises(TapeNotWritten, match="replay --torn"):
        writer.close()
    kept.close()
    assert list(read_tape(tmp_path / "a.ptz", allow_torn=True)[1]) == []


def test_a_summary_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with StateDir(tmp_path) as state:
        (tmp_path / "run.json").mkdir()
        with pytest.raises(StateDirError, match=r"run\.json: expected room to write it, found: ") as told:
            state.write("run.json", "{}")
    assert "\n" not in str(told.value)


def test_a_disk_that_fills_up_ends_the_daemon_in_order(tmp_path: Path) -> None:
    """A limit on the size of a file stands for the full disk: the journal is the first to meet it."""
    daemon = Daemon(tmp_path)
    try:
        daemon.wait(lambda: daemon.ask("/ready"))
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
        out, _ = daemon.process.communicate(timeout=90)
        told = (tmp_path / "stderr").read_text()
        assert daemon.process.returncode == 1, told
        assert "Traceback" not in told
        assert "expected room for the journal, found: File too large" in told.splitlines()[-1]
        assert json.loads(out)["failed"] in told
        assert json.loads((daemon.state / "run.json").read_text())["failed"]
        facts = json.loads(papertape("journal", "verify", daemon.state, "--json").stdout)["last_seq"]
        again = papertape("run", tmp_path / "config.toml", "--for", "2s", "--json")
        assert again.returncode == 0, again.stderr
        summary = json.loads(again.stdout)
        assert summary["records"] > facts > 5
        replayed = json.loads(papertape("replay", daemon.state, "--json").stdout.splitlines()[-1])
        assert replayed["digest"] == summary["digest"]
    finally:
        daemon.process.kill()
        daemon.process.wait()
        daemon.log.close()
