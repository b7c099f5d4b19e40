"""A process for heavy work: one order in, one answer out, and it never outlives who asked."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.live.beside import NICENESS, BesideError, beside

WORK = """
import os, sys, time
from engine.live.beside import serve
def work(order):
    if order == b"raise":
        raise ValueError("no such thing")
    if order == b"sleep":
        open("began", "w").write(str(os.getpid()))
        time.sleep(600)
    return b"%d %s" % (os.nice(0), order)
serve(work)
"""

PARENT = """
import asyncio
from engine.live.beside import beside
asyncio.run(beside("some_work_beside", b"sleep"))
"""


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_work_beside.py").write_text(WORK)
    monkeypatch.chdir(tmp_path)


async def began(tmp_path: Path) -> int:
    for _ in range(600):
        if (tmp_path / "began").exists() and (text := (tmp_path / "began").read_text()):
            return int(text)
        await asyncio.sleep(0.05)
    raise AssertionError("it did not begin")


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_it_answers_at_low_priority() -> None:
    for _ in range(3):
        assert await beside("some_work_beside", b"an order") == b"%d an order" % NICENESS


async def test_its_last_words_are_told() -> None:
    with pytest.raises(BesideError, match="ended with code 1 and said: ValueError: no such thing"):
        await beside("some_work_beside", b"raise")
    with pytest.raises(BesideError, match="No module named"):
        await beside("no_such_work", b"x")


async def test_cancelled_it_is_gone(tmp_path: Path) -> None:
    task = asyncio.ensure_future(beside("some_work_beside", b"sleep"))
    pid = await began(tmp_path)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not lives(pid)


async def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path, env=environment) as parent:
        pid = await began(tmp_path)
        assert lives(pid)
        parent.kill()
    deadline = time.monotonic() + 10
    while lives(pid) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    assert not lives(pid)
