"""Both websocket libraries and the pages against a real server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from adapters.registry import UnknownVenue, venue_class
from adapters.transport import AiohttpTransport, Transport, TransportError, WebsocketsTransport


async def _talk(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str('{"greeting":"grüß"}')
    await socket.send_bytes(b"\x00\x01")
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
            if message.data == "bye":
                await socket.close()
    return socket


async def _page(request: web.Request) -> web.Response:
    status = int(request.match_info["status"])
    return web.Response(status=status, body=b'{"code":1}', headers={"Retry-After": "7"})


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    app.add_routes([web.get("/ws", _talk), web.get("/page/{status}", _page)])
    running = TestServer(app, host="127.0.0.1")
    await running.start_server()
    yield running
    await running.close()


@pytest.fixture(params=[AiohttpTransport, WebsocketsTransport])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    made: Transport = request.param()
    yield made
    await made.close()


async def test_a_socket_when_open_then_frames_go_both_ways_until_it_closes(
    server: TestServer, transport: Transport
) -> None:
    socket = await transport.open(f"ws://127.0.0.1:{server.port}/ws", 5.0)
    assert await socket.receive() == '{"greeting":"grüß"}'.encode()
    assert await socket.receive() == b"\x00\x01"
    reading = asyncio.create_task(socket.receive())
    async with asyncio.timeout(5.0):
        await socket.ping()  # answered while somebody receives
        await socket.send(b"first")
        assert await reading == b"first"
    for frame in (b"hello", b"bye"):
        await socket.send(frame)
        assert await socket.receive() == frame
    with pytest.raises(TransportError, match="closed by the far side"):
        await socket.receive()
    with pytest.raises(TransportError, match="ping"):
        await socket.ping()
    with pytest.raises(TransportError, match="not sent"):
        await socket.send(b"too late")
    await socket.close()


async def test_a_page_when_it_is_fetched_then_its_body_or_why_not(server: TestServer, transport: Transport) -> None:
    base = f"http://127.0.0.1:{server.port}/page"
    assert await transport.get(f"{base}/200", 5.0) == b'{"code":1}'
    assert await transport.get(f"{base}/400", 5.0) == b'{"code":1}'
    with pytest.raises(TransportError, match="HTTP 429") as refused:
        await transport.get(f"{base}/429", 5.0)
    assert refused.value.retry_after_s == 7.0


async def test_a_far_side_when_it_is_not_there_then_transport_error(unused_tcp_port: int, transport: Transport) -> None:
    with pytest.raises(TransportError, match=r"127\.0\.0\.1"):
        await transport.open(f"ws://127.0.0.1:{unused_tcp_port}/ws", 5.0)
    with pytest.raises(TransportError, match=r"127\.0\.0\.1"):
        await transport.get(f"http://127.0.0.1:{unused_tcp_port}/", 5.0)
    with pytest.raises(TransportError):
        await transport.open("nonsense", 5.0)


@pytest.mark.parametrize("use", ["binance", "adapters.binance:Nothing", "no.such:Thing", "adapters.feed:Feed"])
def test_a_venue_when_it_is_not_one_then_unknown_venue_with_words(use: str) -> None:
    with pytest.raises(UnknownVenue, match=r"expected .* found"):
        venue_class(use)
