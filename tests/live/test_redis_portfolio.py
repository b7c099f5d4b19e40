"""One kill switch for all shards: whose word is whose, also when words come from both sides at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from engine.core.events import Command
from engine.live.build import build_engine
from engine.live.bus import Bus
from engine.live.clock import Clock
from engine.live.runner import Runner
from engine.live.shards.lease import Lease
from engine.live.shards.link import Link
from engine.live.shards.names import Keys
from engine.live.shards.portfolio import AWAY_REASON, Portfolio, gross
from engine.research.shards_rig import Server
from tests.recovering import BTC, config
from tests.services import require


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(require("redis-server"), tmp_path)
    made.start()
    yield made
    made.stop()


@asynccontextmanager
async def one_shard(server: Server) -> AsyncIterator[tuple[Runner, Portfolio, Callable[[], Awaitable[bool]]]]:
    """An engine of a run of two shards, with no loop of its own; a turn tells, obeys, and says whether it is halted."""
    link, keys = Link(f"redis://127.0.0.1:{server.port}/0"), Keys("p", "r")
    lease = Lease(link, keys, "shard-0-of-2", "me", 5_000)
    await lease.acquire(patience_s=0.0)
    engine = build_engine(config(), [BTC], inline_training=False).engine
    runner = Runner(engine, Bus(), Clock(), lambda entry: None)
    portfolio = Portfolio(link, lease, keys, Decimal("1000.5"))
    portfolio.attach(runner)

    async def turn() -> bool:
        await portfolio.tell(runner)
        runner.drain(10)
        return engine.halted

    yield runner, portfolio, turn
    await link.close()


def obey(runner: Runner, name: str) -> None:
    """A person's word."""
    runner.command(name)
    runner.drain(10)


def test_a_sum_over_all_shards_halts_them(server: Server) -> None:
    async def live() -> None:
        async with one_shard(server) as (runner, _, turn):
            assert gross(runner.engine) == {"USDT": "0"}
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
            obey(runner, "resume")
            assert not await turn()
            assert server.client.get("p:r:halt") is None
            obey(runner, "halt")
            server.client.flushall()  # a Redis that lost its data resumes nobody
            assert await turn()
            assert server.client.get("p:r:halt") == "shard-0-of-2 is halted"

    asyncio.run(live())


def test_a_resume_right_behind_a_halt_of_all_is_a_resume_of_all(server: Server) -> None:
    """Both come between two looks at Redis: the engine stands as it stood, and the word counts all the same."""

    async def live() -> None:
        async with one_shard(server) as (runner, _, turn):
            assert not await turn()
            server.client.set("p:r:halt", "lunch")
            assert await turn()
            obey(runner, "resume")
            assert not await turn()
            assert server.client.get("p:r:halt") is None
            server.client.set("p:r:halt", "lunch")
            assert await turn() and await turn()
            obey(runner, "resume")
            obey(runner, "halt")
            server.client.delete("p:r:halt")  # by another shard, meanwhile
            assert await turn() and await turn()
            assert server.client.get("p:r:halt") == "shard-0-of-2 is halted"

    asyncio.run(live())


def test_a_word_that_comes_while_redis_answers_is_not_undone_by_the_answer(server: Server) -> None:
    async def live() -> None:
        async with one_shard(server) as (runner, portfolio, turn):
            assert not await turn()
            server.client.set("p:r:halt", "lunch")
            assert await turn()
            await turn()
            telling = asyncio.create_task(portfolio.tell(runner))
            await asyncio.sleep(0)  # the script is on its way
            obey(runner, "resume")
            await telling
            runner.drain(10)
            assert not runner.engine.halted
            assert not await turn() and not await turn()
            assert server.client.get("p:r:halt") is None

    asyncio.run(live())


def test_a_halt_that_a_killed_shard_did_not_tell_is_told_by_its_next_life_and_one_for_redis_is_not(
    server: Server,
) -> None:
    async def live() -> None:
        server.client.hset("p:r:portfolio", "shard-0-of-2", 0)
        async with one_shard(server) as (runner, _, turn):
            obey_before = Command(0, "halt", {"reason": "lunch"})
            runner.engine.process(obey_before)  # by the life before: nobody of this one heard it
            assert await turn() and await turn()
            assert server.client.get("p:r:halt") == "shard-0-of-2 is halted"
        server.client.flushall()
        server.client.hset("p:r:portfolio", "shard-0-of-2", 0)
        async with one_shard(server) as (runner, _, turn):
            runner.engine.process(Command(0, "halt", {"reason": AWAY_REASON}))
            assert not await turn()
            assert server.client.get("p:r:halt") is None

    asyncio.run(live())
