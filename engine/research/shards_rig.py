"""The rig of a run in shards: a redis-server of its own, processes that surely end, and a watcher of what they show.

The watcher reads through Redis what anybody could: the stream of records of each shard and the hash of its working
orders. What it saw is what must be in the shard's journal afterwards.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer

from engine.live.shards.names import Keys, Share

PROGRAM: Final = (sys.executable, "-c", "from engine.live.cli import main; main()")
LOOK_S: Final = 0.05
ORDERS_S: Final = 0.5
"""A shard tells its working orders once a second."""

STOP_S: Final = 45.0
"""A stand-in gives what it started 20 s, and a daemon takes some for its last snapshot."""

AT_ONCE: Final = 5_000
"""Records in one answer, at most."""

NO_ANSWER: Final = (NoConnection, NoAnswer)

CONFIG: Final = """
[run]
name = "r"
state_dir = "{folder}"
[venue.sim]
use = "binance-spot"
symbols = {symbols}
[venue.sim.market]
seed = {seed}
[paper]
out = "5ms"
back = "5ms"
feed = "1ms"
cash = {{ USDT = "10000000" }}
[risk]
max_orders_per_window = 0
max_position_notional = "0"
drawdown_fraction = "0"
allow_short = true
allow_debt = true
[journal]
snapshot_every = "3s"
[http]
port = 0
[redis]
lease = "{lease_s:g}s"
[[strategy]]
name = "busy"
use = "engine.research.crash_strategy:Busy"
symbol = "*"
every_s = {every_s:g}
orders = 2
rest = 10
"""

KEYS: Final = Keys("papertape", "r")


class TookTooLong(Exception):
    """What was waited for did not come; the text says what."""


class Plan(msgspec.Struct, frozen=True):
    """A run in shards and what is done to it; ``calm_s`` is how long it goes on undisturbed first."""

    symbols: tuple[str, ...]
    shards: int = 2
    lease_s: float = 5.0
    outage_s: float = 30.0
    calm_s: float = 20.0
    seed: int = 1
    patience_s: float = 300.0

    def config(self, folder: Path) -> str:
        """The configuration; where Redis is stands in PAPERTAPE_REDIS_URL. About 67 orders a second in all."""
        return CONFIG.format(
            folder=folder,
            symbols=json.dumps(self.symbols),
            seed=self.seed,
            lease_s=self.lease_s,
            every_s=0.03 * len(self.symbols),
        )

    @property
    def shares(self) -> list[Share]:
        """All shards."""
        return [Share(index, self.shards) for index in range(self.shards)]


class Server:
    """A redis-server on loopback that keeps its data on disk, so that it comes back with it."""

    def __init__(self, binary: str, folder: Path, words: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self._command += ["--appendonly", "yes", "--daemonize", "no", *words]
        self._process: subprocess.Popen[bytes] | None = None
        self.client: Any = Redis(port=self.port, decode_responses=True, protocol=2, socket_timeout=10.0)

    def start(self) -> None:
        """Returns when it answers, with all that was on disk."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until(self._answers, "redis-server answers", 30.0)

    def stop(self) -> None:
        """As its service does: by a signal that it may obey."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise TookTooLong(f"expected redis-server to run on port {self.port}, found that it ended")
        try:
            return bool(self.client.ping())
        except NO_ANSWER:
            return False


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], what: str, patience_s: float = 90.0) -> float:
    """Wait for a fact; the seconds that it took.

    Raises:
        TookTooLong: it did not come.
    """
    begun = time.monotonic()
    while time.monotonic() - begun < patience_s:
        if condition():
            return time.monotonic() - begun
        time.sleep(0.02)
    raise TookTooLong(f"expected that {what} within {patience_s:g} s")


@contextmanager
def running(folder: Path, environment: dict[str, str], name: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """``papertape run folder/c.toml`` with these words; what it says is in NAME.txt; whatever happens, it ends."""
    with (folder / f"{name}.txt").open("wb") as out:
        process = subprocess.Popen(
            [*PROGRAM, "run", str(folder / "c.toml"), *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
        )
        try:
            yield process
        finally:
            process.terminate()  # a stand-in that is killed leaves what it started behind
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def stopped(process: subprocess.Popen[bytes], patience_s: float = 60.0) -> int:
    """Stop it as a person does; its exit code."""
    process.send_signal(signal.SIGINT)
    return process.wait(patience_s)


class Order(msgspec.Struct, frozen=True):
    """A working order as a shard shows it; exact text."""

    id: int
    symbol: str
    side: str
    price: str | None
    size: str


class Shown:
    """What one shard showed to the world: records by their number, fills and working orders."""

    def __init__(self, client: Any, shard: str) -> None:
        self.shard = shard
        self.records: dict[int, tuple[int, str, str]] = {}
        """Engine time, type and the fact as JSON, by number."""
        self.fills: dict[tuple[int, int], int] = {}
        """Engine time, ns UTC, by order and its fill's number."""
        self.sent: dict[int, int] = {}
        self.orders: dict[int, Order] = {}
        self.changed = 0
        """Records and orders that were shown twice and not alike."""
        self._client = client
        self._last = "-"
        self._orders_at = 0.0

    def look(self) -> None:
        """Read what is new; nothing while Redis is away."""
        try:
            while self._read():
                pass
            if time.monotonic() - self._orders_at >= ORDERS_S:
                self._orders_at = time.monotonic()
                self._look_at_orders()
        except NO_ANSWER:
            return

    def fills_since(self, ns: int) -> int:
        """How many fills of that engine time and later were shown."""
        return sum(1 for told_ns in self.fills.values() if told_ns >= ns)

    def is_ready(self, since_ns: int) -> bool:
        """Whether its health, told since then, says that all of its books are ready."""
        try:
            told = self._client.hmget(KEYS.key(self.shard, "health"), "ready", "now_ns")
        except NO_ANSWER:
            return False
        return told[0] == "true" and int(told[1] or 0) >= since_ns

    def _read(self) -> bool:
        entries = self._client.xrange(KEYS.key(self.shard, "records"), self._last, "+", count=AT_ONCE)
        for number, fields in entries:
            self._last = f"({number}"
            seq, ns = int(fields["seq"]), int(fields["ns"])
            record = ns, fields["type"], fields["fact"]
            self.changed += self.records.setdefault(seq, record) != record
            if fields["type"] in ("Fill", "Sent"):
                fact = json.loads(fields["fact"])
                if fields["type"] == "Fill":
                    self.fills[fact["order"], fact["number"]] = ns
                else:
                    self.sent[fact["order"]] = ns
        return len(entries) == AT_ONCE

    def _look_at_orders(self) -> None:
        for text in self._client.hvals(KEYS.key(self.shard, "orders")):
            order = msgspec.json.decode(text, type=Order)
            self.changed += self.orders.setdefault(order.id, order) != order
