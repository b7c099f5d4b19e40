"""Redis for real: a server of our own on a free port, that dies and comes back."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from engine.core.records import Note, Record, Signal
from engine.live.bus import BusFull
from engine.live.redis_bus import RedisPublisher, RedisSettings, RedisStatus
from engine.research.shards_rig import free_port
from tests.services import require

PASSWORD = "correct-horse"
STATUS = RedisStatus(
    books={"sim:BTCUSDT": {"bid": "61837.63", "ask": "61837.64", "ready": "1"}},
    positions={"sim:BTCUSDT": "0.00100"},
    health={"state": "ready"},
)


class Server:
    """A redis-server without persistence, which can be killed and started again on the same port."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self._command += ["--requirepass", PASSWORD, "--daemonize", "no"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                with self.client() as client:
                    client.execute_command("PING")
                    return
            except NoConnection:
                time.sleep(0.01)
        raise AssertionError("redis-server did not answer within 10 s")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def client(self) -> Any:
        return Redis.from_url(self.url, decode_responses=True, protocol=2)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(require("redis-server"), tmp_path)
    made.start()
    yield made
    made.kill()


def settings(server: Server, **changes: Any) -> RedisSettings:
    return msgspec.structs.replace(RedisSettings(url=server.url, run="t", retry_max_s=0.2, timeout_s=2.0), **changes)


def note(seq: int) -> Record:
    return Record(seq, seq * 10, Note("s", {"n": seq}))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a fact, not for a time; ten seconds without it is a failure."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(publisher: RedisPublisher) -> AsyncIterator[None]:
    task = asyncio.create_task(publisher.run())
    try:
        yield
    finally:
        publisher.stop()
        async with asyncio.timeout(10):
            await task


def ignore(name: str, args: dict[str, Any]) -> None:
    del name, args


def sequences(client: Any) -> list[int]:
    return [int(fields["seq"]) for _, fields in client.xrange("papertape:t:records")]


async def test_records_and_status_reach_streams_and_hashes(server: Server) -> None:
    publisher = RedisPublisher(settings(server), ignore)
    async with running(publisher):
        publisher.publish([note(1), note(2)], STATUS)
        await until(lambda: publisher.stats.published == 2)
        with server.client() as client:
            entries = client.xrange("papertape:t:records")
            assert [fields["seq"] for _, fields in entries] == ["1", "2"]
            assert entries[0][1]["type"] == "Note"
            assert msgspec.json.decode(entries[0][1]["fact"])["fields"] == {"n": 1}
            assert client.hgetall("papertape:t:book:sim:BTCUSDT") == STATUS.books["sim:BTCUSDT"]
            assert client.hgetall("papertape:t:positions") == STATUS.positions
            assert client.hgetall("papertape:t:health") == {"state": "ready", "redis_dropped": "0"}
            assert 0 < client.pttl("papertape:t:health") <= 15_000
    with server.client() as client:
        assert client.hget("papertape:t:health", "state") == "stopped"


async def test_a_command_is_answered_when_it_is_written_down(server: Server) -> None:
    written, taken = asyncio.Event(), asyncio.Event()

    async def settled() -> None:
        taken.set()
        await written.wait()

    publisher = RedisPublisher(settings(server), ignore, settled=settled)
    with server.client() as client:
        async with running(publisher):
            await until(lambda: publisher.stats.connected)
            client.xadd("papertape:t:commands", {"name": "halt"})
            await taken.wait()
            assert client.xlen("papertape:t:replies") == 0 and publisher.stats.commands == 0
            written.set()
            await until(lambda: publisher.stats.commands == 1)
            await until(lambda: client.xlen("papertape:t:replies") == 1)


async def test_who_subscribes_hears_what_changed_once(server: Server) -> None:
    with server.client() as client, client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.psubscribe("papertape:t:changed:*")
        assert heard.get_message(timeout=10) is None, "the word that it subscribed"

        def told() -> tuple[str, dict[str, Any]]:
            while (message := heard.get_message(timeout=10)) is None:
                pass
            return message["channel"].removeprefix("papertape:t:changed:"), msgspec.json.decode(message["data"])

        publisher = RedisPublisher(settings(server), ignore)
        async with running(publisher):
            publisher.publish([Record(1, 10, Signal("v:X", "m", "m", 0.5))], STATUS)
            first = dict([await asyncio.to_thread(told) for _ in range(4)])
            assert first == {
                "book:sim:BTCUSDT": STATUS.books["sim:BTCUSDT"],
                "positions": STATUS.positions,
                "signals": {"v:X m": "0.5"},
                "health": {"state": "ready", "redis_dropped": "0"},
            }
            publisher.publish([note(2)], msgspec.structs.replace(STATUS, positions={}, orders={"4": '{"id":4}'}))
            second = dict([await asyncio.to_thread(told) for _ in range(2)])
            assert second == {"positions": {"sim:BTCUSDT": None}, "orders": {"4": '{"id":4}'}}
            server.kill()
            server.start()
            publisher.publish([note(3)], msgspec.structs.replace(STATUS, orders={"4": '{"id":4}'}))
            await until(lambda: publisher.stats.published == 3)
            with server.client() as again:
                assert again.hgetall("papertape:t:positions") == STATUS.positions


async def test_a_position_that_is_closed_leaves_the_hash(server: Server) -> None:
    publisher = RedisPublisher(settings(server), ignore)
    async with running(publisher):
        publisher.publish([note(1)], STATUS)
        await until(lambda: publisher.stats.published == 1)
        publisher.publish([note(2)], RedisStatus(health={"ready": "true"}))
        await until(lambda: publisher.stats.published == 2)
        with server.client() as client:
            assert client.hgetall("papertape:t:positions") == {}
            assert client.hget("papertape:t:health", "state") == "running"


async def test_orders_and_signals_are_there_as_long_as_they_are(server: Server) -> None:
    publisher = RedisPublisher(settings(server), ignore)
    async with running(publisher):
        signals = [Record(n, n, Signal("v:X", "m", "m", n / 8)) for n in (1, 2)]
        publisher.publish(signals, RedisStatus(orders={"4": '{"id":4}'}))
        await until(lambda: publisher.stats.published == 2)
        with server.client() as client:
            assert client.hgetall("papertape:t:signals") == {"v:X m": "0.25"}
            assert client.hgetall("papertape:t:orders") == {"4": '{"id":4}'}
        publisher.publish([note(3)], RedisStatus())
        await until(lambda: publisher.stats.published == 3)
        with server.client() as client:
            assert client.hgetall("papertape:t:orders") == {}
            assert client.hgetall("papertape:t:signals") == {"v:X m": "0.25"}


async def test_the_stream_is_trimmed(server: Server) -> None:
    publisher = RedisPublisher(settings(server, stream_length=100), ignore)
    async with running(publisher):
        publisher.publish([note(n) for n in range(3000)])
        await until(lambda: publisher.stats.published == 3000)
    with server.client() as client:
        # "~" lets Redis keep whole nodes of 100 entries.
        assert 100 <= client.xlen("papertape:t:records") <= 300


async def test_commands_are_taken_answered_and_wrong_ones_refused(server: Server) -> None:
    taken: list[tuple[str, dict[str, Any]]] = []

    def take(name: str, args: dict[str, Any]) -> None:
        if args.get("strategy") == "nobody":
            raise ValueError("expected a strategy of this run, found 'nobody'")
        if args.get("reason") == "too busy":
            raise BusFull("expected room for a command")
        taken.append((name, args))

    publisher = RedisPublisher(settings(server), take)
    async with running(publisher):
        await until(lambda: publisher.stats.connected)
        with server.client() as client:
            for name, args in [
                ("halt", '{"reason":"lunch"}'),
                ("resume", "{}"),
                ("reload", '{"strategy":"nobody"}'),
                ("sell_everything", "{}"),
                ("flatten", "not json"),
                ("halt", '{"reason":"too busy"}'),
            ]:
                client.xadd("papertape:t:commands", {"name": name, "args": args})
            client.xadd("papertape:t:commands", {"odd": "fields"})
            await until(lambda: client.xlen("papertape:t:replies") == 7)
            replies = [fields for _, fields in client.xrange("papertape:t:replies")]
            pending = client.xpending("papertape:t:commands", "papertape")
    assert taken == [("halt", {"reason": "lunch"}), ("resume", {})]
    assert [reply["ok"] for reply in replies] == ["1", "1", "0", "0", "0", "0", "0"]
    assert "found 'nobody'" in replies[2]["detail"]
    assert "found 'sell_everything'" in replies[3]["detail"]
    assert replies[4]["detail"].startswith("args:")
    assert pending["pending"] == 0
    assert (publisher.stats.commands, publisher.stats.refused) == (2, 5)


async def test_a_command_from_long_ago_is_refused(server: Server) -> None:
    taken: list[str] = []
    first = RedisPublisher(settings(server), ignore)
    async with running(first):
        await until(lambda: first.stats.connected)
    with server.client() as client:
        seconds, _ = client.time()
        client.execute_command("XADD", "papertape:t:commands", f"{(seconds - 31) * 1000}-0", "name", "flatten")
    second = RedisPublisher(settings(server), lambda name, args: taken.append(name))
    async with running(second):
        await until(lambda: second.stats.refused == 1)
    assert taken == []


async def test_a_command_handed_out_twice_is_obeyed_once(server: Server) -> None:
    taken: list[str] = []
    publisher = RedisPublisher(settings(server), lambda name, args: taken.append(name))
    async with running(publisher):
        await until(lambda: publisher.stats.connected)
        with server.client() as client:
            entry = client.xadd("papertape:t:commands", {"name": "halt"})
            await until(lambda: taken == ["halt"])
            await until(lambda: client.xlen("papertape:t:replies") == 1)
            # As if the connection had broken between the deed and its acknowledgement.
            client.execute_command("XGROUP", "SETID", "papertape:t:commands", "papertape", "0")
            await until(lambda: client.xlen("papertape:t:replies") == 2)
            assert entry == client.xrange("papertape:t:replies")[1][1]["id"]
    assert taken == ["halt"]


async def test_redis_dies_and_comes_back(server: Server) -> None:
    taken: list[str] = []
    publisher = RedisPublisher(settings(server), lambda name, args: taken.append(name))
    async with running(publisher):
        publisher.publish([note(1)])
        await until(lambda: publisher.stats.published == 1)
        server.kill()
        publisher.publish([note(2), note(3)], STATUS)
        await until(lambda: publisher.stats.reconnects >= 2)
        assert not publisher.stats.connected
        server.start()
        await until(lambda: publisher.stats.published == 3)
        with server.client() as client:
            assert sequences(client) == [2, 3]  # the new server never saw the first
            assert client.hget("papertape:t:health", "state") == "ready"
            client.xadd("papertape:t:commands", {"name": "halt"})
            await until(lambda: taken == ["halt"])


async def test_the_outbox_is_bounded_and_drops_the_oldest(server: Server) -> None:
    server.kill()
    publisher = RedisPublisher(settings(server, outbox=10), ignore)
    for n in range(1, 26):
        publisher.publish([note(n)])
    assert publisher.stats.dropped == 15
    async with running(publisher):
        await until(lambda: publisher.stats.reconnects >= 1)
        server.start()
        await until(lambda: publisher.stats.published == 10)
    with server.client() as client:
        assert sequences(client) == list(range(16, 26))


async def test_stop_returns_while_redis_is_away(server: Server) -> None:
    server.kill()
    publisher = RedisPublisher(settings(server), ignore)
    async with running(publisher):
        publisher.publish([note(1)])
        await until(lambda: publisher.stats.reconnects >= 1)
    assert publisher.stats.published == 0


async def test_the_password_is_in_no_log_line(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    wrong = RedisSettings(url=server.url.replace(PASSWORD, "battery-staple"), run="t", retry_max_s=0.1)
    publisher = RedisPublisher(wrong, ignore)
    with structlog.testing.capture_logs() as lines, caplog.at_level(logging.DEBUG):
        async with running(publisher):
            await until(lambda: publisher.stats.reconnects >= 2)
    assert lines
    assert "AuthenticationError" in lines[0]["reason"]
    assert "battery-staple" not in repr(lines) + caplog.text + repr(wrong)


@pytest.mark.parametrize("url", ["http://cache:1", "cache:6379", ""])
def test_a_wrong_address_is_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected redis://, rediss:// or unix:// in redis\.url"):
        RedisSettings(url=url)
