"""With ``fsync = "always"`` nothing is shown before the disk has it, and nothing waits for that but the showing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from engine.core.records import Record, Signal, StrategyStopped
from engine.live.bus import Bus
from engine.live.clock import Clock
from engine.live.held import LOUD, NEEDED, PLAIN, Held
from engine.live.http import MOST_WAITING, HttpServer
from engine.live.journal import Journal, JournalNotWritten, JournalSettings, Kind, Position, decode_record, read
from engine.live.metrics import Exporter
from engine.live.notify import Notify
from engine.live.recovery.inputs import SessionMark
from engine.live.recovery.keeper import Keeper
from engine.live.runner import Runner
from engine.live.shards.names import Keys
from engine.live.shards.portfolio import Portfolio
from engine.live.statedir import StateDir
from engine.live.view import View
from tests.journals import SlowDisk, fact, facts
from tests.market import snapshot
from tests.recovering import config
from tests.watched import ASKS, BIDS, START_NS, Watched, buys

ALWAYS = JournalSettings(sync_every_ns=0, segment_bytes=1 << 16)


class Slow:
    """A runner whose journal lies on a disk that answers when the test says so."""

    def __init__(self, folder: Path) -> None:
        watched = Watched(buys(1_000))
        self.disk = SlowDisk()
        self.state = StateDir(folder / "r")
        self.journal = Journal.open(self.state.journal, ALWAYS, run="r", disk=self.disk)
        self.keeper = Keeper(
            self.state,
            self.journal,
            config(),
            {},
            lambda: pytest.fail("no snapshot is taken here"),
            lambda: START_NS,
            session=SessionMark(number=1, tape="", config="{}", instruments="[]"),
        )
        clock = Clock(wall=lambda: START_NS, monotonic=lambda: watched.now_ns - START_NS)
        self.engine = watched.engine
        self.journal.last_seq = self.engine.seq  # its first facts were told before there was a journal
        self.runner = Runner(watched.engine, Bus(64), clock, lambda entry: None, self.keeper)
        self.runner.connections = watched.runner.connections
        self.view = View(self.runner, watched.models, {"v": watched.feed}, "demo", START_NS)
        self.told: list[Record] = []
        self.runner.sinks.append(self.told.extend)
        self.at = START_NS

    def hang(self) -> None:
        """The next fsync takes until ``disk.let_go`` is set."""
        self.journal.sync()
        self.disk.let_go.clear()

    def trade(self) -> None:
        """A frame on which the strategy buys, and those after it."""
        self.at += 1_000_000_000
        self.runner.bus.put_market(snapshot(self.at, BIDS, ASKS), 0)
        self.runner.bus.put_market(snapshot(self.at, BIDS, ASKS, symbol=1), 0)
        self.runner.drain(10)
        self.runner.commit()

    async def answer(self) -> None:
        """The disk answers, and the loop has heard of it."""
        self.disk.let_go.set()
        await self.runner.settled()

    def close(self) -> None:
        self.disk.let_go.set()
        self.journal.close()
        self.state.close()


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[Slow]:
    made = Slow(tmp_path)
    yield made
    made.disk.refuses = False
    try:
        made.close()
    except JournalNotWritten:
        made.state.close()


async def test_facts_wait_for_the_disk_and_the_engine_does_not(slow: Slow) -> None:
    slow.hang()
    slow.trade()
    first = slow.engine.seq
    slow.trade()
    assert slow.engine.ledger.position(0, "s") == 1_000, "the engine goes on"
    assert slow.told == [] and len(slow.runner.held) > 5
    written = [decode_record(frame.payload).seq for frame in read(slow.journal.folder) if frame.kind is Kind.FACT]
    assert written[-1] == slow.engine.seq >= first, "and kill -9 would lose nothing"
    await slow.answer()
    assert [record.seq for record in slow.told] == written
    assert len(slow.runner.held) == 0


async def test_what_was_made_durable_in_between_is_told_and_the_rest_waits(slow: Slow) -> None:
    slow.hang()
    slow.trade()
    first = len(slow.runner.held)
    slow.disk.called.wait(30)
    slow.trade()
    held = slow.runner.held
    assert held.oldest is not None and held.oldest < slow.journal.position
    durable = held.oldest
    assert sum(len(one) for commit in held.take(durable) for one in commit.facts) == first
    assert held.oldest is None or held.oldest > durable


async def test_what_waits_is_told_first_when_nothing_has_to_wait_any_more(slow: Slow) -> None:
    slow.hang()
    slow.trade()
    first = slow.engine.seq
    slow.journal.sync_every(None)
    slow.trade()
    assert slow.engine.seq > first and slow.told == [], "or the world would hear of it in another order"
    slow.disk.let_go.set()
    while len(slow.runner.held):
        await slow.journal.wait_durable()
    assert slow.told[-1].seq == slow.engine.seq
    slow.trade()
    numbers = [record.seq for record in slow.told]
    assert numbers == list(range(numbers[0], slow.engine.seq + 1)) and numbers[0] <= first
    slow.journal.sync_every(0)
    slow.hang()
    slow.trade()
    assert slow.told[-1].seq == numbers[-1] < slow.engine.seq
    await slow.answer()
    assert slow.told[-1].seq == slow.engine.seq


async def test_a_failed_fsync_shows_nothing_and_is_the_end(slow: Slow) -> None:
    slow.hang()
    slow.trade()
    picture = asyncio.create_task(slow.runner.settled())
    await asyncio.sleep(0)
    slow.disk.refuses = True
    slow.disk.let_go.set()
    with pytest.raises(JournalNotWritten, match="fsync"):
        await picture
    assert slow.told == []
    with pytest.raises(JournalNotWritten, match="fsync"):
        slow.runner.commit()
    assert slow.told == []


async def test_answers_of_the_page_and_metrics_wait_and_say_what_was_asked_for(slow: Slow) -> None:
    server = HttpServer(slow.view, slow.runner.command, port=0)
    url = await server.start()
    try:
        async with aiohttp.ClientSession() as client:
            slow.trade()
            slow.hang()
            slow.trade()

            async def ask(path: str) -> tuple[int, bytes]:
                async with client.get(f"{url}{path}") as answer:
                    return answer.status, await answer.read()

            assert (await ask("/health"))[0] == (await ask("/"))[0] == 200, "they say nothing of the run's facts"
            waiting = {path: asyncio.create_task(ask(path)) for path in ("/state", "/metrics", "/orders", "/ready")}
            taken = asyncio.create_task(client.post(f"{url}/command/halt", json={}))
            while slow.runner.bus.put == 4:  # until the command, which is the last that was sent, is here
                await asyncio.sleep(0)
            await ask("/health")
            seq, digest = slow.engine.seq, slow.engine.digest
            slow.trade()  # the engine goes on, and obeys
            assert slow.engine.halted and slow.engine.seq > seq
            await ask("/health")
            assert not any(task.done() for task in (*waiting.values(), taken))
            slow.disk.let_go.set()
            told = {path: await task for path, task in waiting.items()}
            assert {status for status, _ in told.values()} == {200}
            assert json.loads(told["/state"][1])["digest"] == digest, "the picture is that of the asking"
            assert (await taken).status == 202
    finally:
        slow.disk.let_go.set()
        await server.stop()


async def test_so_many_answers_may_wait(slow: Slow) -> None:
    server = HttpServer(slow.view, slow.runner.command, port=0)
    url = await server.start()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
            slow.hang()
            slow.trade()
            answers = [asyncio.create_task(client.get(f"{url}/ready")) for _ in range(MOST_WAITING + 3)]
            done: set[asyncio.Task[Any]] = set()
            while len(done) < 3:
                done |= (await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED))[0]
            refused = [task.result() for task in done]
            assert {answer.status for answer in refused} == {503}
            assert "answers that wait for the disk" in (await refused[0].json())["error"]
            slow.disk.let_go.set()
            statuses = sorted([(await task).status for task in answers])
            assert statuses == [200] * MOST_WAITING + [503] * 3
    finally:
        slow.disk.let_go.set()
        await server.stop()


async def test_the_service_manager_hears_of_life_and_not_of_what_is_not_safe(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify, said = Notify("/nowhere", watchdog_s=0.01), asyncio.Queue[str]()

    def say(*words: str) -> None:
        for word in words:
            said.put_nowait(word)

    monkeypatch.setattr(notify, "say", say)
    slow.hang()
    slow.trade()
    task = asyncio.create_task(notify.run(slow.view))
    assert [await said.get() for _ in range(3)] == ["WATCHDOG=1"] * 3
    slow.disk.let_go.set()
    while (word := await said.get()) == "WATCHDOG=1":
        pass
    assert word == "READY=1"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_a_shard_read_is_acknowledged_when_it_is_safe(slow: Slow) -> None:
    safe: list[int] = []
    count = iter(range(1, 100))

    def committed() -> Any:
        number = next(count)
        return lambda: safe.append(number)

    slow.runner.committed.append(committed)
    slow.hang()
    slow.trade()
    slow.trade()
    assert safe == []
    await slow.answer()
    assert safe[:2] == [1, 2]


async def test_shards_hear_of_each_other_while_the_disk_hangs_and_are_told_what_is_safe(slow: Slow) -> None:
    portfolio = Portfolio(cast(Any, None), cast(Any, SimpleNamespace(fence="")), Keys("p", "r"), Decimal(0))
    flat = await portfolio._shown(slow.runner)
    assert flat == (False, {"USDT": "0"})
    slow.hang()
    slow.trade()
    slow.trade()
    for _ in range(3):
        assert await portfolio._shown(slow.runner) == flat, "said again, and the answer is heard"
    slow.disk.let_go.set()
    assert portfolio._settling is not None
    await portfolio._settling
    assert (await portfolio._shown(slow.runner))[1] != flat[1]


async def test_metrics_say_how_much_waits(slow: Slow) -> None:
    from engine.live.measures import measure

    slow.hang()
    slow.trade()
    rendered = Exporter().render(measure(slow.view)).decode()
    assert f"papertape_facts_held {float(len(slow.runner.held))}" in rendered
    assert "papertape_facts_untold_total 0.0" in rendered
    assert slow.view.state()["held"] == {"facts": len(slow.runner.held), "dropped": 0}


def _rank(record: Record) -> int:
    return {"Signal": PLAIN, "StrategyStopped": LOUD, "Note": NEEDED}[type(record.fact).__name__]


def _signal(seq: int) -> Record:
    return Record(seq, seq, Signal("s", "x", "y", 1.0))


def _stop(seq: int) -> Record:
    return Record(seq, seq, StrategyStopped("s", "why"))


def test_a_backlog_is_bounded_says_so_once_and_keeps_what_a_person_must_hear(
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = Held(_rank, most=20)
    for seq in range(1, 61):
        record = _stop(seq) if seq % 20 == 0 else fact(seq, "n") if seq % 20 == 1 else _signal(seq)
        held.put(Position(1, seq), [[record]], [lambda: pytest.fail("it is asked for again at the next start")])
        assert len(held) <= 20
    last = held.take(Position(1, 60))
    kept = [record for commit in last for records in commit.facts for record in records]
    assert {1, 20, 21, 40, 41, 60} <= {record.seq for record in kept}
    assert len(kept) + held.dropped == 60
    told = capsys.readouterr()
    assert (told.out + told.err).count("so far behind") == 1
    assert (told.out + told.err).count("caught up") == 1
    assert len(held) == 0 and held.oldest is None


def test_of_alarms_without_end_only_what_the_run_waits_for_stays() -> None:
    held = Held(_rank, most=8)
    for seq in range(1, 40):
        held.put(Position(1, seq), [[fact(seq, "n") if seq == 2 else _stop(seq)]], [])
        assert len(held) <= 8
    seqs = [record.seq for commit in held.take(Position(1, 99)) for one in commit.facts for record in one]
    assert 2 in seqs and 39 in seqs and seqs == sorted(seqs)


def test_commits_without_facts_are_bounded_too() -> None:
    held = Held(_rank, most=8)
    called: list[int] = []
    for seq in range(1, 12):
        held.put(Position(1, seq), [facts(seq, 0)], [lambda: called.append(1)])
    for commit in held.take(Position(1, 11)):
        for call in commit.then:
            call()
    assert len(called) == 2, "the ones before were let go"
