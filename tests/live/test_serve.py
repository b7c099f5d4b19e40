"""A tape through the server, real sockets and the real adapter: what comes out is what is on the tape."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
import time
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from adapters.connection import Connection
from adapters.entry import Entry, EntryKind
from adapters.feed import INSTRUMENTS, Feed
from adapters.registry import venue_class
from adapters.serve import ServeError, TapeServer, main
from adapters.tape import TapeHeader, TapeWriter, VenueHeader, read_tapes
from adapters.transport import AiohttpTransport, Transport, TransportError, WebsocketsTransport
from engine.core.events import READY, Batch
from engine.core.types import Instrument
from tests.data import recordings

MARKET_KINDS = {EntryKind.RECEIVED, EntryKind.REPLIED}
BTC = Instrument(venue="sim", symbol="BTCUSDT", base="BTC", quote="USDT", price_decimals=2, size_decimals=5)


def depth(first: int, last: int, price: str = "99.50") -> bytes:
    return (
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1700000000100,"s":"BTCUSDT",'
        b'"U":%d,"u":%d,"b":[["%b","2.0"]],"a":[]}}' % (first, last, price.encode())
    )


def snapshot(last: int) -> bytes:
    return b'{"lastUpdateId":%d,"bids":[["99.00","1.0"]],"asks":[["101.00","1.0"]]}' % last


def untimed(batches: list[Batch]) -> list[Batch]:
    copies = [batch.copy() for batch in batches]
    for batch in copies:
        batch["recv_ns"] = 0
    return copies


class Client:
    """The real connection against a server; ends when the server closes or ``until`` entries have come."""

    def __init__(self, server: TapeServer, transport: Transport, instruments: dict[str, Instrument]) -> None:
        venue = venue_class(server.shown.use)
        numbered = {symbol: (index, one) for index, (symbol, one) in enumerate(sorted(instruments.items()))}
        self.feed = Feed("v", venue, numbered, server.rest_url)
        self.entries: list[Entry] = []
        self.batches: list[Batch] = []
        self.lost = 0
        self.finished = asyncio.Event()
        self.losses_wanted = 1
        self.connection = Connection(self.feed, transport, time.time_ns, self._take, self._tape, ws_url=server.ws_url)

    def _take(self, batch: Batch, recv_ns: int) -> bool:
        self.batches.append(batch)
        return True

    def _tape(self, entry: Entry) -> None:
        if entry.kind is EntryKind.LOST:
            self.lost += 1
            if self.lost >= self.losses_wanted:
                self.finished.set()
        self.entries.append(entry)

    def market(self) -> list[tuple[EntryKind, str, bytes]]:
        return [(entry.kind, entry.token, entry.data) for entry in self.entries if entry.kind in MARKET_KINDS]


async def played(paths: list[Path], transport: Transport, *, losses: int = 1) -> Client:
    server = TapeServer(paths, speed=math.inf)
    await server.start()
    venue = venue_class(server.shown.use)
    listing = await transport.get(venue.instruments_url(server.rest_url), 10.0)
    wanted = set(read_tapes(paths)[0].venues[server.shown.name].symbols)
    instruments = {symbol: one for symbol, one in venue.parse_instruments("v", listing).items() if symbol in wanted}
    client = Client(server, transport, instruments)
    client.losses_wanted = losses
    running = asyncio.create_task(client.connection.run())
    try:
        async with asyncio.timeout(120):
            await client.finished.wait()
            await server.done.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await transport.close()
        await server.stop()
    return client


def replayed(paths: list[Path], client: Client) -> tuple[list[tuple[EntryKind, str, bytes]], list[Batch]]:
    feed = Feed("v", client.feed.venue_class, client.feed.instruments)
    market: list[tuple[EntryKind, str, bytes]] = []
    batches: list[Batch] = []
    for entry in read_tapes(paths)[1]:
        if entry.kind in MARKET_KINDS and entry.token != INSTRUMENTS:
            market.append((entry.kind, entry.token, entry.data))
        batches.extend(output for output in feed.apply(entry) if isinstance(output, np.ndarray))
    return market, batches


@pytest.mark.parametrize(
    ("files", "use"),
    [
        (["spot-btcusdt_20240808.gz"], "binance-spot"),
        (["usdm-btcusdt_20240718.gz"], "binance-usdm"),
        (["cm-btcusd_perp_20240808.gz"], "binance-coinm"),
    ],
)
async def test_a_recording_served_is_the_recording_replayed(files: list[str], use: str) -> None:
    paths = [recordings() / "binance" / name for name in files]
    client = await played(paths, AiohttpTransport())
    market, batches = replayed(paths, client)
    assert client.feed.venue_class.spec.name == use
    assert client.market() == market
    live = untimed(client.batches)[: len(batches)]
    assert all(np.array_equal(one, other) for one, other in zip(live, untimed(batches), strict=True))
    assert any(batch["kind"][-1] == READY for batch in batches)
    assert client.feed.stats.gaps == 0 and client.feed.stats.malformed == 0


def own_tape(path: Path, entries: list[Entry]) -> Path:
    header = TapeHeader(
        started_ns=1,
        venues={"sim": VenueHeader("binance-spot", ["BTCUSDT"])},
        instruments=[BTC],
        papertape="0.1.0",
        config={"run": {}},
    )
    with TapeWriter(path, header) as writer:
        for entry in entries:
            writer.write(entry)
    return path


def received(ns: int, frame: bytes) -> Entry:
    return Entry(EntryKind.RECEIVED, ns, "sim", "", frame)


def conversation(start: int) -> list[Entry]:
    return [
        Entry(EntryKind.OPENED, start, "sim"),
        received(start + 1, depth(8, 9)),
        Entry(EntryKind.CLOCK, start + 2, ""),
        received(start + 3, depth(10, 11)),
        Entry(EntryKind.REPLIED, start + 4, "sim", "depth:BTCUSDT", snapshot(10)),
        Entry(EntryKind.TICKED, start + 5, "sim"),
        received(start + 6, depth(12, 13, "98.50")),
        received(start + 7, b"\xff\xfe not text"),
    ]


@pytest.mark.parametrize("make", [AiohttpTransport, WebsocketsTransport])
async def test_our_own_tape_with_a_reconnect(tmp_path: Path, make: type[Transport]) -> None:
    entries = [*conversation(10), Entry(EntryKind.LOST, 30, "sim", "silence"), *conversation(40)]
    path = own_tape(tmp_path / "own.ptz", entries)
    client = await played([path], make(), losses=2)
    assert client.feed.instruments["BTCUSDT"][1].price_decimals == BTC.price_decimals
    assert client.market() == [(e.kind, e.token, e.data) for e in entries if e.kind in MARKET_KINDS]
    assert sum(batch["kind"][-1] == READY for batch in client.batches) == 2
    assert client.feed.stats.reconnects == 1


async def test_a_snapshot_that_nobody_asks_for_does_not_stop_the_stream(tmp_path: Path) -> None:
    early = Entry(EntryKind.REPLIED, 2, "sim", "depth:BTCUSDT", snapshot(10))
    path = own_tape(tmp_path / "own.ptz", [Entry(EntryKind.OPENED, 1, "sim"), early, received(3, depth(8, 12))])
    server = TapeServer([path], speed=math.inf, patience_s=0.0)
    await server.start()
    async with aiohttp.ClientSession() as session, session.ws_connect(server.ws_url + "/stream") as socket:
        assert (await socket.receive()).data == depth(8, 12).decode()
        async with session.get(server.rest_url + "/api/v3/depth?symbol=BTCUSDT") as answer:
            assert await answer.read() == snapshot(10)  # kept until it is asked for
        reading = asyncio.create_task(socket.receive())
        await server.done.wait()
        await reading
    await server.stop()


async def test_a_client_that_leaves_lets_the_next_one_begin_anew(tmp_path: Path) -> None:
    frames = [depth(number, number) for number in range(1, 20_000)]
    path = own_tape(tmp_path / "own.ptz", [received(number, frame) for number, frame in enumerate(frames)])
    server = TapeServer([path], speed=math.inf)
    await server.start()
    async with aiohttp.ClientSession() as session:
        for reads in (3, 3):
            async with session.ws_connect(server.ws_url + "/ws") as socket:
                assert [(await socket.receive()).data for _ in range(reads)] == [f.decode() for f in frames[:reads]]
                async with session.ws_connect(server.ws_url + "/ws") as other:
                    assert (await other.receive()).data == 1013  # one client at a time
            while server.is_playing:
                await asyncio.sleep(0)
    assert not server.done.is_set()
    await server.stop()


async def test_pages_that_the_tape_does_not_hold_are_refused(tmp_path: Path) -> None:
    path = own_tape(tmp_path / "own.ptz", [Entry(EntryKind.OPENED, 1, "sim"), received(3, depth(8, 12))])
    server = TapeServer([path])
    await server.start()
    transport = AiohttpTransport()
    body = json.loads(await transport.get(server.rest_url + "/nothing", 5.0))
    assert body["code"] == -404
    with pytest.raises(TransportError, match="HTTP 503"):
        await transport.get(server.rest_url + "/api/v3/depth?symbol=BTCUSDT&limit=5", 5.0)
    await transport.close()
    await server.stop()


async def test_the_pace_of_the_tape_is_kept(tmp_path: Path) -> None:
    entries = [received(10**9 * second, depth(second, second)) for second in (1, 2, 4)]
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    server = TapeServer([own_tape(tmp_path / "own.ptz", entries)], speed=2.0, sleep=sleep)
    await server.start()
    async with aiohttp.ClientSession() as session, session.ws_connect(server.ws_url + "/ws") as socket:
        frames = [(await socket.receive()).data for _ in entries]
        assert frames == [entry.data.decode() for entry in entries]
        reading = asyncio.create_task(socket.receive())
        await server.done.wait()
        await reading
    await server.stop()
    assert waits[:2] == [pytest.approx(0.5, abs=0.2), pytest.approx(1.5, abs=0.2)]


def test_what_cannot_be_played_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = tmp_path / "x.gz"
    foreign.write_bytes(b'1700000000000000000 {"channel":"l2Book"}\n')
    with pytest.raises(ServeError, match="expected frames that an adapter understands"):
        TapeServer([foreign])
    assert main([foreign], host="127.0.0.1", port=0, speed="1", as_json=True) == 1
    assert main([foreign], host="127.0.0.1", port=0, speed="-1", as_json=True) == 2
    assert main([tmp_path / "none"], host="127.0.0.1", port=0, speed="max", as_json=True) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and "No such file" in lines[2]


async def test_the_command_says_where_it_listens_and_ends_on_a_signal(tmp_path: Path) -> None:
    path = own_tape(tmp_path / "own.ptz", conversation(1))
    call = "main(sys.argv[1:], host='127.0.0.1', port=0, speed='max', as_json=True)"
    code = f"import sys; from adapters.serve import main; sys.exit({call})"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(path), stdout=asyncio.subprocess.PIPE, env={**os.environ}
    )
    assert process.stdout is not None
    told = json.loads(await process.stdout.readline())
    assert told["frames"] == 4 and told["rest_url"] == f"http://127.0.0.1:{told['port']}"
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
