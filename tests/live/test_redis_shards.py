"""A feed and two shards on one Redis: a shard is killed and taken over, Redis stops and comes back, nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from engine.core.order_facts import Sent
from engine.core.records import FeedState, Fill, Record
from engine.live.journal import Kind, decode_record, read
from engine.live.shards.names import Share
from engine.research.replay import replay
from tests.services import free_port, require

PROGRAM = (sys.executable, "-c", "from engine.live.cli import main; main()")
PATIENCE_S = 90.0
LEASE_S = 2.0
SHARDS = ("shard-0-of-2", "shard-1-of-2")

CONFIG = """
[run]
name = "r"
state_dir = "{folder}"
[venue.sim]
use = "binance-spot"
symbols = ["BTCUSDT", "ETHUSDT", "XRPUSDT", "DOGEUSDT"]
[venue.sim.market]
seed = 3
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
url = "redis://127.0.0.1:{port}/0"
lease = "{lease_s}s"
[[strategy]]
name = "busy"
use = "engine.research.crash_strategy:Busy"
symbol = "*"
every_s = 0.1
rest = 20
"""


class Server:
    """A redis-server that keeps its data on disk, so that it comes back with it."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.port = free_port()
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self._command += ["--appendonly", "yes", "--daemonize", "no"]
        self._process: subprocess.Popen[bytes] | None = None
        self.client: Any = Redis(port=self.port, decode_responses=True, protocol=2)

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until(self._answers, "redis-server answers")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except NoConnection:
            return False


def until(condition: Callable[[], Any], what: str) -> float:
    """Wait for a fact; the seconds that it took."""
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE_S:
        if condition():
            return time.monotonic() - begun
        time.sleep(0.02)
    raise AssertionError(f"expected that {what} within {PATIENCE_S:g} s")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(require("redis-server"), tmp_path)
    made.start()
    yield made
    made.stop()


@contextmanager
def running(folder: Path, name: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """``papertape run`` with these words; whatever happens, it ends."""
    with (folder / f"{name}.txt").open("wb") as out:
        process = subprocess.Popen(
            [*PROGRAM, "run", str(folder / "c.toml"), *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def stopped(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGINT)
    return process.wait(60)


def facts(folder: Path) -> list[Record]:
    return [decode_record(frame.payload) for frame in read(folder / "journal") if frame.kind is Kind.FACT]


def shown_fills(server: Server, shard: str) -> set[tuple[int, int]]:
    """The fills that the shard told the world."""
    entries = server.client.xrange(f"papertape:r:{shard}:records")
    told = [json.loads(fields["fact"]) for _, fields in entries if fields["type"] == "Fill"]
    return {(fill["order"], fill["number"]) for fill in told}


def health(server: Server, word: str, shards: Sequence[str] = SHARDS) -> bool:
    """Whether these shards all say ``true`` to a word of their health."""
    return all(server.client.hget(f"papertape:r:{shard}:health", word) == "true" for shard in shards)


def trades_on(server: Server, shard: str, before: int) -> None:
    until(lambda: len(shown_fills(server, shard)) > before + 5, f"{shard} trades again")


def order(server: Server, shard: str, name: str) -> None:
    """Give one shard a command."""
    server.client.xadd(f"papertape:r:{shard}:commands", {"name": name, "args": "{}"})


def judge(server: Server, folder: Path, shard: str, sessions: int) -> None:
    """What a shard's folder must hold after all: every fact once, every shown fill, and a replay that agrees."""
    records = facts(folder)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    sent = Counter(record.fact.order for record in records if isinstance(record.fact, Sent))
    fills = Counter((one.fact.order, one.fact.number) for one in records if isinstance(one.fact, Fill))
    assert len(sent) > 50 and len(fills) > 10
    assert set(sent.values()) == {1} and set(fills.values()) == {1}
    shown = shown_fills(server, shard)
    assert len(shown) > 10 and shown <= set(fills)
    digest = json.loads((folder / "run.json").read_text())["digest"]
    assert replay([folder]).digest == digest
    assert len(list((folder / "tape").glob("*.ptz"))) == sessions


def sent_while_in_doubt(records: list[Record], symbols: set[str]) -> int:
    """Orders that left while no book was ready."""
    ready: set[str] = set()
    count = 0
    for record in records:
        fact = record.fact
        if isinstance(fact, FeedState):
            ready = ready | {fact.symbol} if fact.ready else ready - {fact.symbol}
        elif isinstance(fact, Sent):
            count += not ready & symbols
    return count


def test_a_killed_shard_is_taken_over_and_a_stopped_redis_loses_nothing(server: Server, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path, port=server.port, lease_s=LEASE_S))
    folders = {shard: tmp_path / "r" / shard for shard in SHARDS}
    lease = f"papertape:r:lease:{SHARDS[0]}"
    with ExitStack() as stack:

        def start(name: str, *words: str) -> subprocess.Popen[bytes]:
            return stack.enter_context(running(tmp_path, name, *words))

        feed = start("feed", "--role", "feed")
        first = start("first", "--role", "engine", "--shard", "0/2")
        second = start("second", "--role", "engine", "--shard", "1/2")
        until(lambda: health(server, "ready"), "both shards are ready")
        standby = start("standby", "--role", "engine", "--shard", "0/2", "--standby")
        until(lambda: len(shown_fills(server, SHARDS[0])) > 10, "fills are shown")
        until(lambda: "watching" in (tmp_path / "standby.txt").read_text(), "the stand-in watches")
        snapshots = folders[SHARDS[0]] / "snapshots"
        until(lambda: any(snapshots.glob("*")), "there is a snapshot")

        before = server.client.get(lease)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        known = shown_fills(server, SHARDS[0])
        took_s = until(lambda: server.client.get(lease) not in (None, before), "the shard has an owner again")
        assert took_s < LEASE_S * 1.5
        server.client.delete(f"papertape:r:{SHARDS[0]}:health")
        until(lambda: health(server, "ready", SHARDS[:1]), "its books are ready again")
        until(lambda: len(shown_fills(server, SHARDS[0]) - known) > 5, "it trades again")

        owners = [server.client.get(f"papertape:r:lease:{shard}") for shard in SHARDS]
        server.stop()
        time.sleep(4.0)
        server.start()
        told = [len(shown_fills(server, shard)) for shard in SHARDS]
        for shard, count in zip(SHARDS, told, strict=True):
            trades_on(server, shard, count)
        assert owners == [server.client.get(f"papertape:r:lease:{shard}") for shard in SHARDS]

        order(server, SHARDS[0], "halt")
        until(lambda: health(server, "halted"), "a halt of one halts both")
        assert server.client.get("papertape:r:halt") == "shard-0-of-2 is halted"
        order(server, SHARDS[1], "resume")
        until(lambda: not server.client.exists("papertape:r:halt"), "a resume of the other lifts it")
        for shard in SHARDS:
            trades_on(server, shard, len(shown_fills(server, shard)))
        server.client.set("papertape:r:halt", "lunch")
        until(lambda: health(server, "halted"), "a person's halt halts both")
        server.client.delete("papertape:r:halt")
        until(lambda: not health(server, "halted", SHARDS[:1]), "and is lifted")

        assert stopped(second) == 0
        assert stopped(standby) == 0  # and with it the process that it started
        assert stopped(feed) == 0
    judge(server, folders[SHARDS[0]], SHARDS[0], sessions=2)
    judge(server, folders[SHARDS[1]], SHARDS[1], sessions=1)
    symbols = {f"sim:{one}" for one in ("BTCUSDT", "ETHUSDT", "XRPUSDT", "DOGEUSDT")}
    mine = {symbol for symbol in symbols if Share(0, 2).owns(symbol)}
    records = facts(folders[SHARDS[0]])
    restarts = [one.fact for one in records if isinstance(one.fact, FeedState) and one.fact.reason == "restart"]
    assert {fact.symbol for fact in restarts} == mine
    assert sent_while_in_doubt(records, mine) == 0


def test_an_owner_that_was_stopped_for_too_long_stops_for_good(server: Server, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path, port=server.port, lease_s=LEASE_S))
    only = Share(0, 1).name
    lease = f"papertape:r:lease:{only}"
    with ExitStack() as stack:
        feed = stack.enter_context(running(tmp_path, "feed", "--role", "feed"))
        owner = stack.enter_context(running(tmp_path, "owner", "--role", "engine", "--shard", "0/1"))
        until(lambda: health(server, "ready", [only]), "the shard is ready")
        until(lambda: len(shown_fills(server, only)) > 10, "fills are shown")
        standby = stack.enter_context(running(tmp_path, "standby", "--role", "engine", "--shard", "0/1", "--standby"))
        until(lambda: "watching" in (tmp_path / "standby.txt").read_text(), "the stand-in watches")
        before = server.client.get(lease)
        owner.send_signal(signal.SIGSTOP)
        until(lambda: server.client.get(lease) not in (None, before), "the shard has another owner")
        time.sleep(1.0)
        owner.send_signal(signal.SIGCONT)
        assert owner.wait(60) == 1
        last = (tmp_path / "owner.txt").read_text().splitlines()[-1]
        assert last.startswith("papertape: ") and "this run is owned by" in last
        server.client.delete(f"papertape:r:{only}:health")
        known = shown_fills(server, only)
        until(lambda: health(server, "ready", [only]), "its books are ready again")
        until(lambda: len(shown_fills(server, only) - known) > 5, "it trades again")

        feed.kill()  # and with it the simulated exchange: the next one is another market
        feed.wait()
        second = stack.enter_context(running(tmp_path, "second", "--role", "feed"))
        log = tmp_path / "r" / "feed" / "log.jsonl"
        until(lambda: log.read_text().count('"feeding"') == 2, "another feed is at work")
        trades_on(server, only, len(shown_fills(server, only)))
        assert stopped(standby) == 0
        assert stopped(second) == 0
    judge(server, tmp_path / "r" / only, only, sessions=2)


def test_a_stale_owner_writes_nothing(server: Server) -> None:
    import asyncio

    from engine.live.shards.lease import Lease, LeaseHeld, LeaseLost
    from engine.live.shards.link import Link, StaleOwner
    from engine.live.shards.names import Keys

    async def live() -> None:
        link, keys = Link(f"redis://127.0.0.1:{server.port}/0"), Keys("p", "r")
        old, new = (Lease(link, keys, "shard-0-of-1", name, 600) for name in ("old", "new"))
        await old.acquire(patience_s=0.0)
        await link.fenced(old, [("SET", "p:r:x", "old"), ("RPUSH", "p:r:y", b"\x00\xff", 7)])
        with pytest.raises(LeaseHeld, match="owned by old"):
            await new.acquire(patience_s=0.0)
        await new.acquire(patience_s=2.0)
        assert new.token > old.token
        with pytest.raises(StaleOwner):
            await link.fenced(old, [("SET", "p:r:x", "stale")])
        with pytest.raises(LeaseLost, match="is owned by new now"):
            await old.keep()
        server.client.delete(new.key)  # as after a partition in which nobody else asked
        keeping = asyncio.create_task(new.keep())
        await asyncio.sleep(0.5)
        assert server.client.get(new.key) == "new"
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await new.release()
        assert server.client.get(new.key) is None
        await link.close()

    asyncio.run(live())
    assert server.client.get("p:r:x") == "old"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--role", "judge"], "expected --role to be one of all, feed, engine, trainer"),
        (["--role", "engine", "--shard", "2/2"], "expected i/n with i from 0 to n-1"),
        (["--role", "feed", "--shard", "0/2"], "with --role engine, found 'feed'"),
        (["--shard", "0/2"], "with --role engine, found 'all'"),
    ],
)
def test_roles_that_do_not_go_together_are_refused(tmp_path: Path, words: list[str], expected: str) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path, port=1, lease_s=LEASE_S))
    done = subprocess.run(
        [*PROGRAM, "run", str(tmp_path / "c.toml"), *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert expected in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_list_of_instruments_is_read_as_it_was_written() -> None:
    from engine.core.types import Instrument
    from engine.live.shards.feed import Listed, listing

    one = Instrument(venue="v", symbol="X", base="B", quote="Q", price_decimals=2, size_decimals=3)
    told = msgspec.json.decode(listing([("v", "plain", {"X": one})]), type=dict[str, Listed])
    assert told == {"v": Listed("plain", {"X": one})}


def test_a_sum_over_all_shards_halts_them(server: Server) -> None:
    import asyncio
    from decimal import Decimal

    from engine.live.build import build_engine
    from engine.live.bus import Bus
    from engine.live.clock import Clock
    from engine.live.runner import Runner
    from engine.live.shards.lease import Lease
    from engine.live.shards.link import Link
    from engine.live.shards.names import Keys
    from engine.live.shards.portfolio import Portfolio, gross
    from tests.recovering import BTC, config

    async def live() -> None:
        link, keys = Link(f"redis://127.0.0.1:{server.port}/0"), Keys("p", "r")
        lease = Lease(link, keys, "shard-0-of-2", "me", 5_000)
        await lease.acquire(patience_s=0.0)
        engine = build_engine(config(), [BTC], inline_training=False).engine
        runner = Runner(engine, Bus(), Clock(), lambda entry: None)
        portfolio = Portfolio(link, lease, keys, Decimal("1000.5"))

        async def turn() -> bool:
            await portfolio.tell(runner)
            runner.drain(10)
            return engine.halted

        assert gross(engine) == {"USDT": "0"}
        server.client.hset("p:r:portfolio", mapping={"shard-1-of-2": 0, "shard-1-of-2 USDT": "1000.5"})
        assert not await turn()
        server.client.hset("p:r:portfolio", "shard-1-of-2 USDT", "1000.6")
        assert await turn()
        assert server.client.get("p:r:halt") == (
            "max_total_notional: expected at most 1000.5 over all shards, found 1000.60 USDT"
        )
        await turn()
        server.client.hset("p:r:portfolio", "shard-1-of-2 USDT", "0")
        assert await turn()  # lifted by a person only
        runner.command("resume")
        runner.drain(10)
        assert not await turn()
        assert server.client.get("p:r:halt") is None
        runner.command("halt")
        runner.drain(10)
        server.client.flushall()  # a Redis that lost its data resumes nobody
        assert await turn()
        assert server.client.get("p:r:halt") == "shard-0-of-2 is halted"
        await link.close()

    asyncio.run(live())
