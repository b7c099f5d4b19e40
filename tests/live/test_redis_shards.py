"""A feed and two shards on one Redis: a shard is killed and taken over, Redis stops and comes back, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.core.order_facts import Request, Sent
from engine.core.records import AnyFact, FeedState, Record
from engine.live.shards.names import Share
from engine.research.shards import Campaign
from engine.research.shards_judge import Judged, facts, judge, sent_in_doubt
from engine.research.shards_rig import KEYS, PROGRAM, Plan, Server, Shown, running, stopped, until
from tests.services import require

SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "DOGEUSDT")
PLAN = Plan(SYMBOLS, lease_s=2.0, outage_s=4.0, calm_s=1.0, seed=3, patience_s=90.0)
SHARDS = ("shard-0-of-2", "shard-1-of-2")
HALT = KEYS.key("halt")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(require("redis-server"), tmp_path)
    made.start()
    yield made
    made.stop()


def halted(server: Server, word: str = "true") -> bool:
    """Whether the health of both shards says so."""
    return all(server.client.hget(KEYS.key(shard, "health"), "halted") == word for shard in SHARDS)


def check(judged: Judged, sessions: int) -> None:
    """What a shard's folder must hold after all: every fact once, every shown fill, and a replay that agrees."""
    assert judged.wrong == []
    assert judged.orders > 50 and judged.fills > 10 and judged.shown_fills > 10
    assert judged.sessions == sessions


def test_a_killed_shard_is_taken_over_and_a_stopped_redis_loses_nothing(tmp_path: Path) -> None:
    with Campaign(PLAN, tmp_path, require("redis-server")) as run:
        run.begin()
        run.calm()
        run.kill()
        run.outage()

        server = run.server
        run.order(SHARDS[0], "halt")
        until(lambda: halted(server), "a halt of one halts both")
        assert server.client.get(HALT) == "shard-0-of-2 is halted"
        run.order(SHARDS[1], "resume")
        until(lambda: not server.client.exists(HALT), "a resume of the other lifts it")
        resumed_ns = time.time_ns()
        for shard in SHARDS:
            run.trades(shard, resumed_ns)
        server.client.set(HALT, "lunch")
        until(lambda: halted(server), "a person's halt halts both")
        server.client.delete(HALT)
        until(lambda: halted(server, "false"), "and is lifted")

        run.end()
    assert run.found.wrong == []
    assert set(run.found.codes) == {"shard-1-of-2", "stand-in", "feed"}
    for shard, sessions in zip(SHARDS, (2, 1), strict=True):
        check(run.found.judged[shard], sessions)
    assert run.found.hop_calm.samples > 100
    records = facts(tmp_path / "r" / SHARDS[0])
    restarts = [one.fact for one in records if isinstance(one.fact, FeedState) and one.fact.reason == "restart"]
    assert {fact.symbol for fact in restarts} == {f"sim:{one}" for one in SYMBOLS if Share(0, 2).owns(f"sim:{one}")}


def test_an_owner_that_was_stopped_for_too_long_stops_for_good(server: Server, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(PLAN.config(tmp_path))
    only = Share(0, 1).name
    lease = KEYS.lease(only)
    shown = Shown(server.client, only)
    environment = {**os.environ, "PAPERTAPE_REDIS_URL": server.url}

    def trades(since_ns: int) -> None:
        def does() -> bool:
            shown.look()
            return shown.fills_since(since_ns) > 5

        until(does, "the shard trades")

    with ExitStack() as stack:

        def start(name: str, *words: str) -> subprocess.Popen[bytes]:
            return stack.enter_context(running(tmp_path, environment, name, *words))

        feed = start("feed", "--role", "feed")
        owner = start("owner", "--role", "engine", "--shard", "0/1")
        until(lambda: shown.is_ready(0), "the shard is ready")
        trades(0)
        standby = start("standby", "--role", "engine", "--shard", "0/1", "--standby")
        until(lambda: "watching" in (tmp_path / "standby.txt").read_text(), "the stand-in watches")
        before = server.client.get(lease)
        owner.send_signal(signal.SIGSTOP)
        until(lambda: server.client.get(lease) not in (None, before), "the shard has another owner")
        taken_ns = time.time_ns()
        time.sleep(1.0)
        owner.send_signal(signal.SIGCONT)
        assert owner.wait(60) == 1
        last = (tmp_path / "owner.txt").read_text().splitlines()[-1]
        assert last.startswith("papertape: ") and "this run is owned by" in last
        until(lambda: shown.is_ready(taken_ns), "its books are ready again")
        trades(taken_ns)

        feed.kill()  # and with it the simulated exchange: the next one is another market
        feed.wait()
        second = start("second", "--role", "feed")
        log = tmp_path / "r" / "feed" / "log.jsonl"
        until(lambda: log.read_text().count('"feeding"') == 2, "another feed is at work")
        trades(time.time_ns())
        assert stopped(standby) == 0
        assert stopped(second) == 0
    shown.look()
    check(judge(tmp_path / "r" / only, shown), sessions=2)

    order = next(iter(shown.orders.values()))  # what was never so is found
    shown.orders[order.id] = msgspec.structs.replace(order, size="7")
    shown.fills[10**9, 1] = 0
    shown.records[10**9] = 0, "Note", "{}"
    found = judge(tmp_path / "r" / only, shown)
    assert (found.changed, found.lost_orders, found.lost_records, found.doubled, found.gaps) == (1, 1, 1, 0, 0)


def test_an_order_that_leaves_while_its_own_book_is_in_doubt_is_counted() -> None:
    asked = Request(1, "s", "v:X", 1, "limit", "gtc", 5, 5, False)
    first: list[AnyFact] = [FeedState("v:X", True, ""), FeedState("v:Y", True, ""), asked, Sent(1, 0)]
    then: list[AnyFact] = [FeedState("v:X", False, "gap"), msgspec.structs.replace(asked, order=2), Sent(2, 0)]
    assert sent_in_doubt([Record(seq, 0, fact) for seq, fact in enumerate(first)]) == 0
    assert sent_in_doubt([Record(seq, 0, fact) for seq, fact in enumerate([*first, *then])]) == 1


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
    (tmp_path / "c.toml").write_text(PLAN.config(tmp_path))
    environment = {**os.environ, "PAPERTAPE_REDIS_URL": "redis://127.0.0.1:1/0"}
    told: dict[str, Any] = {"capture_output": True, "text": True, "check": False, "timeout": 60}
    done = subprocess.run([*PROGRAM, "run", str(tmp_path / "c.toml"), *words], env=environment, **told)
    assert done.returncode == 2
    assert expected in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_list_of_instruments_is_read_as_it_was_written() -> None:
    from engine.core.types import Instrument
    from engine.live.shards.feed import Listed, listing

    one = Instrument(venue="v", symbol="X", base="B", quote="Q", price_decimals=2, size_decimals=3)
    told = msgspec.json.decode(listing([("v", "plain", {"X": one})]), type=dict[str, Listed])
    assert told == {"v": Listed("plain", {"X": one})}
