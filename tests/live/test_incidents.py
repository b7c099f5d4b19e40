"""A daemon in trouble: it packs what happened, says who hangs, and ends at once when it is told twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.live.blackbox.index import read_index
from tests.live.test_daemon import PAPERTAPE, ROOT, papertape

PATIENCE_S = 90.0
CONFIG = """
[run]
name = "bad"
state_dir = "{folder}"
[http]
port = 0
[venue.sim]
use = "binance-spot"
symbols = ["BTCUSDT"]
[venue.sim.market]
seed = 1
[paper]
cash = {{ USDT = "{cash}" }}
[risk]
max_orders_per_window = 0
allow_short = true
allow_debt = true
[journal]
snapshot_every = "1s"
[blackbox]
window = "1s"
[[strategy]]
name = "bad"
use = "tests.raising:Raises"
symbol = "sim:BTCUSDT"
after = {after}
"""

HANGS = """
import asyncio, time
from engine.live import app, cli
from engine.live.recovery.memory import Memory
async def waits(self): await asyncio.sleep(600)
def blocks(self): time.sleep(600)
app.STAGE_S, kind = STAGE_S, KIND
if kind == "task": Memory.close_journal = waits
if kind == "thread": Memory.close_tape = blocks
if kind == "loop": app.App._write_summary = lambda self: asyncio.sleep(0, time.sleep(600))
cli.main()
"""


def hanging(kind: str, stage_s: float) -> list[str]:
    """A daemon that does not come to the end of its stop."""
    return [sys.executable, "-c", HANGS.replace("= STAGE_S, KIND", f"= {stage_s}, {kind!r}")]


def start(
    folder: Path, *words: str, after: int = 1_000_000, program: list[str] = PAPERTAPE, cash: int = 1_000_000
) -> subprocess.Popen[str]:
    path = folder / "config.toml"
    path.write_text(CONFIG.format(folder=folder, after=after, cash=cash))
    log = (folder / "stderr").open("w")
    environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "1000000"}
    command = [*program, "run", str(path), "--json", *words]
    with log:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=environment)


def wait(daemon: subprocess.Popen[str], folder: Path, look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert daemon.poll() is None, (folder / "stderr").read_text()
        try:
            found = look()
        except (OSError, ValueError, KeyError):
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError((folder / "stderr").read_text())


def trades(folder: Path) -> Callable[[], Any]:
    """Whether its journal has grown beyond what a start writes."""
    return lambda: (folder / "bad" / "journal" / "00000001.ptj").stat().st_size > 100_000


def end(daemon: subprocess.Popen[str]) -> str:
    out, _ = daemon.communicate(timeout=PATIENCE_S)
    return out


def test_a_strategy_that_raises_is_packed_and_plays_again_elsewhere(tmp_path: Path) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    daemon = start(tmp_path, after=300)
    try:
        (box,) = wait(daemon, tmp_path, lambda: list((tmp_path / "bad" / "blackbox").glob("*.ptb")))
        asked = papertape("blackbox", tmp_path / "bad", "--reason", "curious", "--json")
        assert asked.returncode == 0, asked.stderr
        daemon.send_signal(signal.SIGTERM)
        summary = json.loads(end(daemon).splitlines()[-1])
        assert daemon.returncode == 0
    finally:
        daemon.kill()
        daemon.wait()
    with manager:
        manager.setblocking(False)
        said = [manager.recv(4096).decode() for _ in range(4)]
    assert "READY=1" in said and "WATCHDOG=1" in said
    assert "strategy_stopped" in box.name
    index = read_index(box)
    assert "StrategyStopped" in index.fact and index.snapshot and index.facts > 0
    assert summary["strategies"]["bad"]["stopped"]
    done = papertape("replay", box)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "same: " in done.stdout and "ZeroDivisionError: no change in 300 orders" in done.stdout
    second = Path(json.loads(asked.stdout)["path"])
    assert read_index(second).detail == "curious"
    assert papertape("replay", second).returncode == 0
    refused = start(tmp_path, after=301, cash=2_000_000)
    end(refused)
    told = (tmp_path / "stderr").read_text()
    assert (
        refused.returncode == 1 and "paper.cash.USDT: was '1000000', is '2000000'" in told and "Traceback" not in told
    )
    (third,) = (tmp_path / "bad" / "blackbox").glob("*-refused.ptb")
    assert f"papertape: what was refused is in {third}" in told
    assert "paper.cash.USDT: was '1000000', is '2000000'" in read_index(third).detail


@pytest.mark.parametrize("kind", ["task", "thread"])
def test_a_stage_that_hangs_is_named_and_left_behind(tmp_path: Path, kind: str) -> None:
    program = hanging(kind, 1.0)
    daemon = start(tmp_path, program=program)
    try:
        wait(daemon, tmp_path, trades(tmp_path))
        daemon.send_signal(signal.SIGTERM)
        began = time.monotonic()
        end(daemon)
        assert time.monotonic() - began < 20
    finally:
        daemon.kill()
        daemon.wait()
    told = (tmp_path / "stderr").read_text()
    stage = {"task": "journal", "thread": "tape"}[kind]
    assert daemon.returncode == 1, told
    assert "stage of the stop hangs and is left behind" in told
    assert told.splitlines()[-1].startswith(f"papertape: stop: {stage} was not done within 1 s and was left behind")


@pytest.mark.parametrize("kind", ["task", "loop"])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, kind: str) -> None:
    program = hanging(kind, 60.0)
    daemon = start(tmp_path, program=program)
    try:
        wait(daemon, tmp_path, trades(tmp_path))
        daemon.send_signal(signal.SIGINT)
        wait(daemon, tmp_path, lambda: "stopping" in (tmp_path / "stderr").read_text())
        time.sleep(3.0 if kind == "loop" else 1.0)
        assert daemon.poll() is None, "it hangs"
        daemon.send_signal(signal.SIGINT)
        daemon.wait(timeout=3)
        assert daemon.returncode == 130
    finally:
        daemon.kill()
        daemon.communicate()
