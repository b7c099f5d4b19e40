"""What the service manager is told, over a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.live.notify import Notify, status
from tests.market import MS, S
from tests.watched import Watched


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A manager that listens, and the address that it gives in NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@papertape-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        listening.setblocking(False)
        yield listening, name


def heard(listening: socket.socket) -> list[str]:
    """All that was said so far, one datagram each."""
    found = []
    while True:
        try:
            found.append(listening.recv(4096).decode())
        except BlockingIOError:
            return found


async def turn(notify: Notify, watched: Watched, seconds: float) -> None:
    """Let it look at a run for a while."""
    task = asyncio.ensure_future(notify.run(watched.view))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_ready_is_said_once_when_the_books_are(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    watched, notify = Watched(), Notify(address)
    await turn(notify, watched, 0.05)
    said = heard(listening)
    assert said == [f"STATUS={status(watched.view, watched.view.ready()[1])}"]
    assert said[0].startswith("STATUS=not ready: book v:BTCUSDT: ")
    watched.make_ready()
    await turn(notify, watched, 0.05)
    await turn(notify, watched, 0.05)
    said = heard(listening)
    assert said.count("READY=1") == 1 and said[0] == "READY=1"
    assert said[1].startswith("STATUS=ready: ")
    assert not any("WATCHDOG" in one for one in said), "nobody asked for it"


async def test_the_watchdog_is_told_at_half_its_time_while_the_engine_looks(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    watched, notify = Watched(), Notify(address, watchdog_s=0.1)
    watched.make_ready()
    await turn(notify, watched, 0.5)
    assert 5 <= heard(listening).count("WATCHDOG=1") <= 11
    watched.now_ns += 3 * S  # the loop turns, and the engine has not looked at the bus
    await turn(notify, watched, 0.3)
    assert "WATCHDOG=1" not in heard(listening)
    watched.pass_time(MS)
    await turn(notify, watched, 0.1)
    assert "WATCHDOG=1" in heard(listening)


async def test_the_stop_is_said_and_ends_the_rest(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    notify = Notify(address, watchdog_s=0.05)
    notify.stopping("signal\nSIGTERM")
    notify.stopping("again")
    await turn(notify, Watched(), 0.1)
    assert heard(listening) == ["STOPPING=1\nSTATUS=stopping: signal SIGTERM"]


async def test_without_a_manager_nothing_is_said(tmp_path: Path) -> None:
    await asyncio.wait_for(Notify().run(Watched().view), 1)
    Notify(str(tmp_path / "nobody")).say("READY=1")


def test_the_watchdog_of_another_process_is_not_ours() -> None:
    told = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "7"}
    assert Notify.of(told, pid=7).watchdog_s == 2.0
    assert Notify.of(told, pid=8).watchdog_s is None
    assert Notify.of({"WATCHDOG_USEC": "soon"}).watchdog_s is None
    assert Notify.of({}).watchdog_s is None
