"""The simulated exchange over real sockets on loopback: the protocol as a client of Binance spot meets it."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import numpy as np
import pytest

from adapters.binance import BinanceSpot
from adapters.connection import Connection
from adapters.feed import Feed
from adapters.market_client import QUEUE_FRAMES
from adapters.market_server import Listening, MarketServer, main, serve_market
from adapters.transport import AiohttpTransport, Transport, WebsocketsTransport
from engine.core.events import GAP, LEVEL, QUOTE, READY, TRADE, Batch

LIMIT_S = 30.0
SECOND = 1_000_000_000


@asynccontextmanager
async def opened(*symbols: str) -> AsyncIterator[tuple[MarketServer, Listening, aiohttp.ClientSession]]:
    server = MarketServer(symbols or ["BTCUSDT"], seed=1, speed=5.0, warm_up_s=5.0)
    async with asyncio.timeout(LIMIT_S), serve_market(server) as listening, aiohttp.ClientSession() as session:
        yield server, listening, session


async def page(session: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with session.get(url) as answer:
        return answer.status, await answer.json()


async def frames(client: aiohttp.ClientWebSocketResponse, count: int) -> list[Any]:
    return [await client.receive_json() for _ in range(count)]


async def test_pages() -> None:
    async with opened("BTCUSDT", "SOLUSDT") as (server, listening, session):
        api = f"{listening.rest_url}/api/v3"
        assert await page(session, f"{api}/ping") == (200, {})
        status, told = await page(session, f"{api}/time")
        assert status == 200 and abs(told["serverTime"] - server.now_ns // 1_000_000) < 60_000
        _, told = await page(session, f"{api}/exchangeInfo")
        assert [each["symbol"] for each in told["symbols"]] == ["BTCUSDT", "SOLUSDT"]
        _, told = await page(session, f"{api}/exchangeInfo?symbol=SOLUSDT")
        assert [each["symbol"] for each in told["symbols"]] == ["SOLUSDT"]
        _, told = await page(session, f'{api}/exchangeInfo?symbols=["SOLUSDT","BTCUSDT"]')
        assert [each["symbol"] for each in told["symbols"]] == ["SOLUSDT", "BTCUSDT"]
        _, told = await page(session, f"{api}/depth?symbol=BTCUSDT&limit=3")
        assert list(told) == ["lastUpdateId", "bids", "asks"]
        assert len(told["bids"]) == len(told["asks"]) == 3
        assert float(told["bids"][1][0]) < float(told["bids"][0][0]) < float(told["asks"][0][0])
        _, told = await page(session, f"{api}/depth?symbol=BTCUSDT&limit=999999")
        assert len(told["bids"]) > 50


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("depth", -1102),
        ("depth?symbol=NOPE", -1121),
        ("depth?symbol=btcusdt", -1121),
        ("depth?symbol=BTCUSDT&limit=x", -1100),
        ("depth?symbol=BTCUSDT&limit=0", -1100),
        ("exchangeInfo?symbol=NOPE", -1121),
        ('exchangeInfo?symbols=["NOPE"]', -1121),
        ("exchangeInfo?symbols=NOPE", -1100),
        ("exchangeInfo?symbols=[]", -1100),
        ('exchangeInfo?symbol=BTCUSDT&symbols=["BTCUSDT"]', -1128),
    ],
)
async def test_refusals_are_binance_s(path: str, code: int) -> None:
    async with opened() as (_, listening, session):
        status, told = await page(session, f"{listening.rest_url}/api/v3/{path}")
        assert status == 400 and told["code"] == code and told["msg"]
        assert list(told) == ["code", "msg"]


async def test_combined_and_raw_streams_say_the_same_with_an_unbroken_chain() -> None:
    async with opened() as (_, listening, session):
        names = "btcusdt@depth@100ms/btcusdt@trade/btcusdt@bookTicker"
        async with (
            session.ws_connect(f"{listening.ws_url}/stream?streams={names}") as combined,
            session.ws_connect(f"{listening.ws_url}/ws/btcusdt@depth@100ms") as raw,
        ):
            wrapped = await frames(combined, 200)
            plain = await frames(raw, 10)
        assert {each["stream"] for each in wrapped} == set(names.split("/"))
        depths = [each["data"] for each in wrapped if each["stream"].endswith("@100ms")]
        for chain in (depths, plain):
            assert [after["U"] for after in chain[1:]] == [before["u"] + 1 for before in chain[:-1]]
        by_id = {each["u"]: each for each in depths}
        shared = [each for each in plain if each["u"] in by_id]
        assert shared and all(each == by_id[each["u"]] for each in shared)
        trades = [each["data"]["t"] for each in wrapped if each["stream"] == "btcusdt@trade"]
        assert trades == list(range(trades[0], trades[0] + len(trades)))


async def test_subscribe_list_and_unsubscribe() -> None:
    async with opened() as (_, listening, session), session.ws_connect(f"{listening.ws_url}/ws") as client:
        await client.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@depth"], "id": 1})
        assert await client.receive_json() == {"result": None, "id": 1}
        first, second = await frames(client, 2)
        assert second["U"] == first["u"] + 1 and second["E"] == first["E"] + 1000
        await client.send_json({"method": "UNSUBSCRIBE", "params": ["btcusdt@depth"], "id": 2})
        await client.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 3})
        answers = [each async for each in _answers(client, 2)]
        assert answers == [{"result": None, "id": 2}, {"result": [], "id": 3}]
        await client.send_str("nonsense")
        assert (await client.receive_json())["error"]["code"] == 3


async def _answers(client: aiohttp.ClientWebSocketResponse, count: int) -> AsyncIterator[Any]:
    while count:
        frame = await client.receive_json()
        if "id" in frame:
            count -= 1
            yield frame


@pytest.mark.parametrize("transport_class", [AiohttpTransport, WebsocketsTransport])
async def test_the_real_adapter_has_its_books_and_they_agree_with_the_best_prices(
    transport_class: type[AiohttpTransport] | type[WebsocketsTransport],
) -> None:
    async with opened("BTCUSDT", "ETHUSDT") as (_, listening, _):
        transport: Transport = transport_class()
        body = await transport.get(BinanceSpot.instruments_url(listening.rest_url), LIMIT_S)
        listed = BinanceSpot.parse_instruments("sim", body)
        numbered = {symbol: (index, each) for index, (symbol, each) in enumerate(listed.items())}
        feed = Feed("sim", BinanceSpot, numbered, listening.rest_url)
        batches: list[Batch] = []
        enough = asyncio.Event()

        def take(batch: Batch, recv_ns: int) -> bool:
            batches.append(batch)
            if len(batches) % 100 == 0:
                rows = np.concatenate(batches)
                kinds = {(int(each["symbol"]), int(each["kind"])) for each in rows}
                if {(index, kind) for index in (0, 1) for kind in (READY, TRADE, QUOTE, LEVEL)} <= kinds:
                    enough.set()
            return True

        connection = Connection(
            feed,
            transport,
            time.time_ns,
            take,
            lambda entry: None,
            ws_url=listening.ws_url,
            chance=random.Random(1),
        )
        task = asyncio.create_task(connection.run())
        try:
            waiting = asyncio.create_task(enough.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            assert enough.is_set()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await transport.close()
        stats = feed.stats
        assert (stats.gaps, stats.malformed, stats.unknown, stats.reconnects) == (0, 0, 0, 0)
        rows = np.concatenate(batches)
        assert not (rows["kind"] == GAP).any()
        assert (rows["size"] >= 0).all()


async def test_a_client_that_does_not_read_is_disconnected() -> None:
    async with opened() as (server, listening, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.port, limit=1024)
        writer.write(
            b"GET /stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade HTTP/1.1\r\nHost: x\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        while not server.clients:
            await asyncio.sleep(0)
        (client,) = server.clients
        while server.clients:
            server.advance(server.now_ns + SECOND)
            await asyncio.sleep(0)
        assert client.is_slow
        assert client._queue.qsize() <= QUEUE_FRAMES
        with suppress(ConnectionError):
            while await reader.read(65_536):
                pass
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_the_end_of_the_server_closes_its_clients() -> None:
    async with aiohttp.ClientSession() as session:
        async with serve_market(MarketServer(["BTCUSDT"], seed=1, warm_up_s=0.0)) as listening:
            client = await session.ws_connect(f"{listening.ws_url}/ws")
            await client.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            assert await client.receive_json() == {"result": [], "id": 1}
            listener = asyncio.create_task(client.receive())
            await asyncio.sleep(0)
        async with asyncio.timeout(LIMIT_S):
            message = await listener
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)


async def test_a_fault_in_the_market_is_seen_at_the_end() -> None:
    server = MarketServer(["BTCUSDT"], seed=1, warm_up_s=0.0)
    server.market.symbols["BTCUSDT"].world.price = float("nan")
    with pytest.raises(ValueError):
        async with asyncio.timeout(LIMIT_S), serve_market(server) as listening:
            await asyncio.wait({listening.pace})


async def child(*words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "adapters.market_server", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("ending", ["stdin", "SIGTERM", "SIGINT"])
async def test_process_tells_its_addresses_and_ends_when_told(ending: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        process = await child("--json", "--until-stdin-closes", "--symbols", "BTCUSDT")
        assert process.stdout and process.stdin
        told = json.loads(await process.stdout.readline())
        assert (
            told["rest_url"] == f"http://127.0.0.1:{told['port']}"
            and told["ws_url"] == f"ws://127.0.0.1:{told['port']}"
        )
        if ending == "stdin":
            process.stdin.close()
        else:
            process.send_signal(getattr(signal, ending))
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")


def test_a_taken_port_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port), "--symbols", "BTCUSDT"]) == 1
    told = capsys.readouterr()
    assert told.out == "" and told.err.splitlines() == [f"cannot listen on 127.0.0.1:{port}: Address already in use"]


@pytest.mark.parametrize("words", [["--symbols", "btc"], ["--symbols", ","], ["--speed", "0"], ["--port", "70000"]])
def test_wrong_usage_is_one_clear_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1
