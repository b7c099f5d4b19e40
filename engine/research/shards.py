"""A run in shards is disturbed, and what it showed to the world is held against what is left.

    python -m engine.research.shards --symbols 100 --shards 2 --lease 5s --outage 30 --seed 1 --json

A redis-server, a feed with the simulated exchange, the shards and a stand-in are started; all books become ready and
all shards trade. Then shard 0 dies by SIGKILL and is taken over, and later Redis is away for a while. A watcher reads
through Redis all the time what each shard shows. In the end all is stopped cleanly, and of every shard:

* every fact in the journal is there once, numbered without a gap, and no order or fill is there twice;
* every record, order and fill that was shown is in the journal, and there it is the same;
* no order left while the book of its symbol was in doubt;
* a replay of all tapes, undisturbed and in one go, reaches the digest of the shard.

The dead shard must have another owner within its lease, and an outage must change no owner. What the way through Redis
adds is read from the tapes: each frame has the feed's time of receipt, and each entry the shard's. Exit code 1:
something does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from engine.live.durations import parse_duration
from engine.research.shards_judge import Hop, Judged, hop, hops, judge
from engine.research.shards_rig import KEYS, LOOK_S, Plan, Server, Shown, TookTooLong, running, stopped

TRADES: Final = 5
"""So many fills are trading."""


class Found(msgspec.Struct):
    """What a campaign found; times in seconds, by shard where each has its own."""

    symbols: int
    shards: int
    lease_s: float
    outage_s: float
    seed: int
    cores: int = 0
    load: tuple[float, float] = (0.0, 0.0)
    """Processes that run or want to, mean of the minute before the begin and before the end."""
    seconds: float = 0.0
    ready_s: float = 0.0
    owner_s: float = 0.0
    owner_ready_s: float = 0.0
    owner_trades_s: float = 0.0
    back_shows_s: dict[str, float] = {}
    back_ready_s: dict[str, float] = {}
    back_trades_s: dict[str, float] = {}
    owners_changed: list[str] = []
    codes: dict[str, int] = {}
    hop_calm: Hop = Hop()
    hop_disturbed: Hop = Hop()
    judged: dict[str, Judged] = {}
    failed: list[str] = []

    @property
    def wrong(self) -> list[str]:
        """What does not hold."""
        found = list(self.failed)
        if self.owner_s > self.lease_s:
            found.append(f"expected another owner within {self.lease_s:g} s, found one after {self.owner_s:.2f} s")
        found += [f"{shard}: expected the same owner after the outage" for shard in self.owners_changed]
        found += [f"{name}: expected to stop with code 0, found {code}" for name, code in self.codes.items() if code]
        found += [f"{shard}: {what}" for shard, one in self.judged.items() for what in one.wrong]
        if not self.failed and len(self.judged) != self.shards:
            found.append(f"expected {self.shards} shards judged, found {len(self.judged)}")
        return found


class Campaign:
    """One run in shards in ``folder``, step by step; whatever happens, its processes end.

    Each step raises ``TookTooLong`` where what it waits for does not come.
    """

    def __init__(self, plan: Plan, folder: Path, binary: str, progress: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.folder = folder
        self.server = Server(binary, folder)
        self.names = [share.name for share in plan.shares]
        self.shown = {name: Shown(self.server.client, name) for name in self.names}
        self.found = Found(len(plan.symbols), plan.shards, plan.lease_s, plan.outage_s, plan.seed)
        self.calm_ns = (0, 0)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._progress = progress
        self._stack = ExitStack()

    def __enter__(self) -> Campaign:
        (self.folder / "c.toml").write_text(self.plan.config(self.folder))
        self._stack.callback(self.server.stop)
        self.server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def begin(self) -> None:
        """All processes, until all books are ready, all shards trade, and there is a snapshot to recover from."""
        begun = time.monotonic()
        self._start("feed", "--role", "feed")
        for share in self.plan.shares:
            self._start(share.name, "--role", "engine", "--shard", f"{share.index}/{share.count}")
        self._until(lambda: self._ready(self.names, 0), "all books are ready")
        self.found.ready_s = time.monotonic() - begun
        self._start("stand-in", "--role", "engine", "--shard", f"0/{self.plan.shards}", "--standby")
        for name in self.names:
            self.trades(name, 0)
        self._until(lambda: "watching" in (self.folder / "stand-in.txt").read_text(), "the stand-in watches")
        snapshots = self.folder / "r" / self.names[0] / "snapshots"
        self._until(lambda: any(snapshots.glob("*")), "there is a snapshot")

    def calm(self) -> None:
        """Let it run undisturbed, to be measured."""
        begun_ns, until = time.time_ns(), time.monotonic() + self.plan.calm_s
        self._until(lambda: time.monotonic() >= until, "the calm passes")
        self.calm_ns = begun_ns, time.time_ns()

    def kill(self) -> None:
        """Kill shard 0, until its next owner trades."""
        shard = self.names[0]
        before = self._owner(shard)
        process = self.processes.pop(shard)
        begun, begun_ns = time.monotonic(), time.time_ns()
        process.send_signal(signal.SIGKILL)
        process.wait()
        self._until(lambda: self._owner(shard) not in (None, before), f"{shard} has an owner again")
        self.found.owner_s = time.monotonic() - begun
        self._until(lambda: self._ready([shard], begun_ns), f"the books of {shard} are ready again")
        self.found.owner_ready_s = time.monotonic() - begun
        self.trades(shard, begun_ns)
        self.found.owner_trades_s = time.monotonic() - begun

    def outage(self) -> None:
        """Stop Redis for a while, until all shards trade again."""
        owners = {name: self._owner(name) for name in self.names}
        self.server.stop()
        time.sleep(self.plan.outage_s)
        self.server.start()
        begun, begun_ns, counts = time.monotonic(), time.time_ns(), self._records()
        waits: tuple[tuple[dict[str, float], Callable[[str], bool]], ...] = (
            (self.found.back_shows_s, lambda name: len(self.shown[name].records) > counts[name]),
            (self.found.back_ready_s, lambda name: self._ready([name], begun_ns)),
            (self.found.back_trades_s, lambda name: self._trades(name, begun_ns)),
        )

        def is_done() -> bool:
            for came_s, came in waits:
                for name in self.names:
                    if name not in came_s and came(name):
                        came_s[name] = time.monotonic() - begun
            return all(len(came_s) == len(self.names) for came_s, _ in waits)

        self._until(is_done, "all shards show, are ready and trade again")
        self.found.owners_changed += [name for name in self.names if self._owner(name) != owners[name]]

    def end(self) -> None:
        """Stop all, read the last that was shown, and judge what is left."""
        for name in [*self.names, "stand-in", "feed"]:  # what the stand-in started ends with it
            if name in self.processes:
                self.found.codes[name] = stopped(self.processes.pop(name))
        self._look()
        self._stack.close()
        calm: list[int] = []
        disturbed: list[int] = []
        for name in self.names:
            folder = self.folder / "r" / name
            self._say(f"{name} is judged")
            self.found.judged[name] = judge(folder, self.shown[name])
            for all_ns, ours_ns in zip((calm, disturbed), hops(folder, self.calm_ns), strict=True):
                all_ns += ours_ns
        self.found.hop_calm, self.found.hop_disturbed = hop(calm), hop(disturbed)

    def trades(self, shard: str, since_ns: int) -> None:
        """Wait until a shard has traded at that engine time, ns UTC, and later."""
        self._until(partial(self._trades, shard, since_ns), f"{shard} trades")

    def order(self, shard: str, name: str) -> None:
        """Give one shard a command."""
        self.server.client.xadd(KEYS.key(shard, "commands"), {"name": name, "args": "{}"})

    def _start(self, name: str, *words: str) -> None:
        environment = {**os.environ, "PAPERTAPE_REDIS_URL": self.server.url}
        self.processes[name] = self._stack.enter_context(running(self.folder, environment, name, *words))

    def _until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for a fact and watch meanwhile.

        Raises:
            TookTooLong: it did not come, or a process ended before.
        """
        begun = time.monotonic()
        while not condition():
            if time.monotonic() - begun > self.plan.patience_s:
                raise TookTooLong(f"expected that {what} within {self.plan.patience_s:g} s; see {self.folder}/*.txt")
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise TookTooLong(f"{name} ended with code {process.returncode}; see {self.folder / name}.txt")
            self._look()
            time.sleep(LOOK_S)
        self._say(f"{time.monotonic() - begun:7.2f} s until {what}")

    def _look(self) -> None:
        for shown in self.shown.values():
            shown.look()

    def _records(self) -> dict[str, int]:
        return {name: len(shown.records) for name, shown in self.shown.items()}

    def _ready(self, names: Sequence[str], since_ns: int) -> bool:
        return all(self.shown[name].is_ready(since_ns) for name in names)

    def _trades(self, name: str, since_ns: int) -> bool:
        return self.shown[name].fills_since(since_ns) >= TRADES

    def _owner(self, name: str) -> str | None:
        owner: str | None = self.server.client.get(KEYS.lease(name))
        return owner

    def _say(self, text: str) -> None:
        if self._progress is not None:
            self._progress(text)


def campaign(plan: Plan, folder: Path, binary: str, progress: Callable[[str], None] | None = None) -> Found:
    """All steps, in order; what did not come is in ``failed``."""
    begun, load = time.monotonic(), os.getloadavg()[0]
    one = Campaign(plan, folder, binary, progress)
    with one:
        try:
            one.begin()
            one.calm()
            one.kill()
            one.outage()
            one.end()
        except TookTooLong as error:
            one.found.failed.append(str(error))
    one.found.cores, one.found.load = os.cpu_count() or 0, (load, os.getloadavg()[0])
    one.found.seconds = time.monotonic() - begun
    return one.found


def symbols(count: int) -> tuple[str, ...]:
    """So many symbols of the simulated exchange.

    >>> symbols(2), symbols(101)[-1]
    (('S00USDT', 'S01USDT'), 'S100USDT')
    """
    return tuple(f"S{number:02d}USDT" for number in range(count))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main(words: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.research.shards", description=__doc__)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--lease", type=parse_duration, default="5s", metavar="DURATION")
    parser.add_argument("--outage", type=float, default=30.0, help="seconds without Redis")
    parser.add_argument("--calm", type=float, default=20.0, help="seconds undisturbed, to be measured")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep the run here; a temporary folder without it")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)
    binary = shutil.which("redis-server")
    if binary is None:
        parser.error("expected redis-server in PATH, found none: install it (Debian package redis-server)")
    plan = Plan(symbols(asked.symbols), asked.shards, asked.lease / 1e9, asked.outage, asked.calm, asked.seed)
    for share in plan.shares:
        if not any(share.owns(f"sim:{symbol}") for symbol in plan.symbols):
            parser.error(f"expected symbols for each shard, found none for {share.name}: give more --symbols")
    with tempfile.TemporaryDirectory(prefix="papertape-shards-") as place:
        folder = asked.folder or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        found = campaign(plan, folder.resolve(), binary, _say)
    plain: dict[str, Any] = msgspec.to_builtins(found) | {"wrong": found.wrong, "holds": not found.wrong}
    if asked.json:
        sys.stdout.write(json.dumps(plain) + "\n")
    else:
        sys.stdout.writelines(f"{name:16} {value}\n" for name, value in plain.items())
    return 0 if not found.wrong else 1


if __name__ == "__main__":
    sys.exit(main())
