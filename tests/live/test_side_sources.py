"""Each source over its real transport: local servers that misbehave, a redis-server, files that grow and turn."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from redis import Redis

from adapters.side.sources.contract import Source, SourceError
from adapters.side.sources.file import Lines, Whole
from adapters.side.sources.poll import Poll
from adapters.side.sources.redis_stream import RedisStream
from adapters.side.sources.socket import Websocket
from adapters.side.sources.webhook import SIGNATURE, WAITING, Webhook, signature
from engine.live.http import HttpServer
from tests.live.test_redis import Server
from tests.services import require
from tests.watched import Watched

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def taken(source: Source, count: int) -> list[bytes]:
    """So many payloads; the source is then let go of."""
    found: list[bytes] = []
    payloads = source.payloads()
    try:
        async with asyncio.timeout(20):
            async for payload in payloads:
                found.append(payload)
                if len(found) == count:
                    break
    finally:
        await payloads.aclose()
        await source.close()
    return found


async def failure(source: Source) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await taken(source, 1)
    return caught.value


def at_once(_: float) -> Awaitable[None]:
    return asyncio.sleep(0)


async def test_a_page_is_polled_with_its_headers() -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["X-Key"])
        return web.Response(body=b"%d" % len(seen))

    async with served(answer) as address:
        source = Poll(f"http://{address}/", 60.0, headers={"X-Key": "s3"}, sleep=at_once)
        assert await taken(source, 3) == [b"1", b"2", b"3"] and seen == ["s3"] * 3


@pytest.mark.parametrize(
    ("status", "headers", "after_s"),
    [(429, {"Retry-After": "7"}, 7.0), (500, {}, 0.0), (301, {}, 0.0), (503, {"Retry-After": "9" * 30}, 0.0)],
)
async def test_a_page_that_is_refused_is_a_failure(status: int, headers: dict[str, str], after_s: float) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    async with served(answer) as address:
        error = await failure(Poll(f"http://{address}/?key=s3", 1.0))
    assert error.after_s == after_s and str(status) in str(error) and "s3" not in str(error)


async def test_a_page_that_is_too_large_is_not_read_to_its_end() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)
            sent += 65_536

    async with served(endless) as address:
        error = await failure(Poll(f"http://{address}/", 1.0, most_bytes=100_000))
    assert str(error) == "expected at most 100000 bytes, found more"
    assert sent < 1 << 26


async def test_a_page_that_unpacks_to_too_much_is_not_kept() -> None:
    async def bomb(_: web.Request) -> web.Response:
        body = gzip.compress(b"\0" * (64 << 20))
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async with served(bomb) as address:
        assert "at most" in str(await failure(Poll(f"http://{address}/", 1.0, most_bytes=1 << 20)))


async def test_a_page_that_does_not_come_ends_in_time() -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with served(never) as address:
        assert "within 0.2 s" in str(await failure(Poll(f"http://{address}/", 1.0, timeout_s=0.2)))
    assert "expected an answer" in str(await failure(Poll(f"http://{address}/", 1.0)))


async def test_messages_of_a_websocket_are_payloads_and_its_end_a_failure() -> None:
    heard: list[str] = []

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        heard.append(await socket.receive_str())
        await socket.send_str('{"rate": 1}')
        await socket.send_bytes(b"2")
        await socket.close()
        return socket

    async with served(talk) as address:
        source = Websocket(f"ws://{address}/", hello=['{"subscribe": "rates"}'])
        payloads = source.payloads()
        assert [await anext(payloads), await anext(payloads)] == [b'{"rate": 1}', b"2"]
        with pytest.raises(SourceError, match="lost"):
            await anext(payloads)
        assert heard == ['{"subscribe": "rates"}']
        await source.close()


@pytest.mark.parametrize("what", ["large", "silent", "page"])
async def test_a_websocket_that_misbehaves_is_lost(what: str) -> None:
    async def talk(request: web.Request) -> web.StreamResponse:
        if what == "page":
            return web.Response(text="no websocket")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if what == "large":
            await socket.send_str("x" * 10_000)
        await socket.receive()
        return socket

    async with served(talk) as address:
        error = await failure(Websocket(f"ws://{address}/", most_bytes=1_000, silence_s=0.2))
    assert {"large": "lost", "silent": "silence", "page": "expected a websocket"}[what] in str(error)


async def test_entries_of_a_redis_stream_are_payloads_also_after_it_was_away(tmp_path: Path) -> None:
    server = Server(require("redis-server"), tmp_path)
    server.start()
    try:
        with server.client() as client:
            client.xadd("rates", {"data": "before"})
        source = RedisStream(server.url, "rates")
        payloads = source.payloads()
        first = asyncio.ensure_future(anext(payloads))
        await until_read(server)
        with server.client() as client:
            client.xadd("rates", {"data": b'{"rate": 1}'})
            client.xadd("rates", {"other": "x"})
        async with asyncio.timeout(20):
            assert [await first, await anext(payloads)] == [b'{"rate": 1}', b""]
        waiting = asyncio.ensure_future(anext(payloads))
        await until_read(server)
        server.kill()
        with pytest.raises(SourceError, match="expected Redis with a stream 'rates'"):
            await waiting
        with pytest.raises(SourceError):
            await anext(source.payloads())
        server.start()
        with server.client() as client:
            client.xadd("rates", {"data": "after"}, id="99999999999999-0")
        assert await taken(source, 1) == [b"after"]
    finally:
        server.kill()


async def until_read(server: Server) -> None:
    """The source waits in XREAD: what is added from now on comes to it."""

    def waits(client: Redis) -> bool:
        return any("xread" in str(one["cmd"]) for one in client.client_list())

    async with asyncio.timeout(20):
        with server.client() as client:
            while not waits(client):
                await asyncio.sleep(0.01)


class Pause:
    """Stands for the sleep of a source that looks at a file: it does the test's next step."""

    def __init__(self, *steps: Callable[[], Any]) -> None:
        self.steps = list(steps)

    async def __call__(self, _: float) -> None:
        if not self.steps:
            raise StopLooking
        self.steps.pop(0)()


class StopLooking(Exception):
    """The test has no more steps."""


async def looked(source: Source) -> list[bytes]:
    found: list[bytes] = []

    async def look() -> None:
        async for payload in source.payloads():
            found.append(payload)  # noqa: PERF401 - what came before the end counts

    with pytest.raises(StopLooking):
        await look()
    return found


def append(path: Path, text: str) -> Callable[[], Any]:
    def write() -> None:
        with path.open("a") as file:
            file.write(text)

    return write


async def test_only_whole_lines_that_are_appended_come(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("old\n")
    steps = (append(path, "1\n2"), append(path, "2\n"), lambda: None, append(path, "3\n4\n"))
    assert await looked(Lines(path, 1.0, sleep=Pause(*steps))) == [b"1\n", b"22\n", b"3\n4\n"]
    assert await looked(Lines(path, 1.0, from_start=True, sleep=Pause())) == [b"old\n1\n22\n3\n4\n"]


async def test_a_file_that_turns_is_read_from_its_start_with_its_header(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("ts,rate\n1,1\n")

    def turn() -> None:
        path.rename(tmp_path / "x.csv.1")
        path.write_text("rate,ts\n5,2\n")

    def cut() -> None:
        path.write_text("a\n6\n")

    steps = (append(path, "2,2\n"), turn, append(path, "7,3\n"), cut)
    found = await looked(Lines(path, 1.0, has_header=True, sleep=Pause(*steps)))
    assert found == [b"ts,rate\n2,2\n", b"rate,ts\n5,2\n", b"rate,ts\n7,3\n", b"a\n6\n"]


async def test_no_more_lines_come_at_a_time_than_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a\n" + "".join(f"{number}\n" for number in range(25)))
    found = await looked(Lines(path, 1.0, has_header=True, from_start=True, most_lines=10, sleep=Pause()))
    assert [payload.count(b"\n") for payload in found] == [11, 11, 6]
    assert b"".join(payload[2:] for payload in found) == path.read_bytes()[2:]


async def test_a_line_beyond_all_bounds_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("")
    huge = "x" * 100_000
    steps = (append(path, f"1\n{huge}"), append(path, huge), append(path, f"{huge}\n2\n"), lambda: None)
    found = await looked(Lines(path, 1.0, from_start=True, most_bytes=1_000, sleep=Pause(*steps)))
    assert (found[0], found[-1]) == (b"1\n", b"2\n")
    assert [len(one) for one in found[1:-1]] == [1_001], "its begin, which validation refuses"


async def test_a_file_that_is_replaced_comes_whole_and_once(tmp_path: Path) -> None:
    path = tmp_path / "x.json"

    def replace(text: str) -> Callable[[], Any]:
        def write() -> None:
            part = tmp_path / "part"
            part.write_text(text)
            part.replace(path)

        return write

    replace("[1]")()
    steps = (lambda: None, replace("[2]"), lambda: None, replace("x" * 5_000))
    found = await looked(Whole(path, 1.0, most_bytes=1_000, sleep=Pause(*steps)))
    assert found[:2] == [b"[1]", b"[2]"] and len(found[2]) == 1_001
    os.mkfifo(tmp_path / "pipe")
    bad = [tmp_path / "none", tmp_path, tmp_path / "pipe"]
    sources: list[Source] = [Whole(one, 1.0) for one in bad]
    for source in [*sources, *(Lines(one, 1.0) for one in bad)]:
        assert "expected a file that can be read" in str(await failure(source))


async def test_a_webhook_takes_what_is_signed_from_any_host_and_nothing_else() -> None:
    door = Webhook(b"secret", most_bytes=1_000)
    watched = Watched()
    server = HttpServer(watched.view, watched.runner.command, port=0, webhooks={"funding": door})
    url = await server.start()

    async def post(body: bytes, signed: str, name: str = "funding") -> int:
        headers = {SIGNATURE: signed, "Host": "hooks.example", "Origin": "https://sender.example"}
        async with client.post(f"{url}/side/{name}", data=body, headers=headers) as answer:
            await answer.json()
            return answer.status

    async with aiohttp.ClientSession() as client:
        good = json.dumps({"rate": 1}).encode()
        assert await post(good, signature(b"secret", good)) == 202
        for wrong in ("", "sha256=", signature(b"other", good), signature(b"secret", good + b" "), "sha256=\u00e9"):
            assert await post(good, wrong) == 401
        assert await post(good, signature(b"secret", good), "other") == 401, "which streams there are is not told"
        large = b"x" * 2_000
        assert await post(large, signature(b"secret", large)) == 413
        assert await post(b"y" * 70_000, "") == 413
        for _ in range(WAITING - 1):
            assert await post(good, signature(b"secret", good)) == 202
        assert await post(good, signature(b"secret", good)) == 503
        async with client.get(f"{url}/side/funding", headers={"Host": "hooks.example"}) as answer:
            assert answer.status == 403
        async with client.post(f"{url}/command/halt", data=b"{}", headers={"Host": "hooks.example"}) as answer:
            assert answer.status == 403, "the door is open for itself alone"
    assert (door.forged, door.refused) == (5, 2)
    assert await anext(door.payloads()) == good
    await server.stop()


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.live.http.BODY_S", 0.1)
    watched = Watched()
    server = HttpServer(watched.view, watched.runner.command, port=0, webhooks={"x": Webhook(b"secret")})
    url = await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"POST /side/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
    async with asyncio.timeout(20):
        assert b" 408 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
    await server.stop()
