"""The simulated exchange as a server that speaks the Binance spot protocol over REST and websocket.

``python -m adapters.market_server --port 0 --json`` prints its addresses in one line once it listens. The market runs
by the clock of the loop, ``speed`` seconds of its own in each of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from adapters.market import Market
from adapters.market_client import Client
from adapters.market_wire import MILLISECOND_NS, Streams, exchange_info, refusal
from adapters.market_world import CHANGES, Change

WARM_UP_S = 30.0
"""How much of its own time the market has behind it when it opens its doors."""
PACE_S = 0.01
FLUSH_NS = 100 * MILLISECOND_NS
LONGEST_CATCH_UP_NS = 2_000_000_000
"""After a longer stall of the process the market does not make up for the time that is gone."""
MOST_LEVELS = 5_000
MOST_TRADES = 1_000
MANDATORY = "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."


class Listening(NamedTuple):
    """Where a server listens; ``pace`` runs its market and ends only by a fault."""

    port: int
    rest_url: str
    ws_url: str
    pace: asyncio.Task[None]


class MarketServer:
    """A market, its streams, and everybody who listens to them."""

    def __init__(
        self,
        symbols: Sequence[str],
        seed: int,
        speed: float = 1.0,
        clock: Callable[[], int] = time.time_ns,
        warm_up_s: float = WARM_UP_S,
        change: Change | None = None,
    ) -> None:
        """``change``: counted from the opening."""
        self._speed = speed
        opens_ns = clock() // FLUSH_NS * FLUSH_NS
        warm_up_ns = int(warm_up_s * 1e9)
        if change is not None:
            change = msgspec.structs.replace(change, after_ns=warm_up_ns + change.after_ns)
        self.market = Market(symbols, seed, opens_ns - warm_up_ns, change)
        self.streams = {symbol: Streams(one) for symbol, one in self.market.symbols.items()}
        self.clients: dict[Client, web.WebSocketResponse] = {}
        self.now_ns = opens_ns
        self.market.advance(opens_ns)
        for streams in self.streams.values():
            streams.start()

    def advance(self, until_ns: int) -> None:
        """Step the market and tell everybody; depth differences leave at whole multiples of 100 ms."""
        while self.now_ns < until_ns:
            flush_ns = (self.now_ns // FLUSH_NS + 1) * FLUSH_NS
            stop_ns = min(flush_ns, until_ns)
            for symbol, one in self.market.symbols.items():
                streams = self.streams[symbol]
                self._tell(streams.frames(one.advance(stop_ns)))
                if stop_ns == flush_ns:
                    self._tell(streams.depth_frames(stop_ns))
            self.now_ns = stop_ns

    def _tell(self, frames: Sequence[tuple[str, str]]) -> None:
        if frames:
            for client in list(self.clients):
                client.tell(frames)

    async def pace(self) -> None:
        """Let the market run with the loop's clock, for ever."""
        loop = asyncio.get_running_loop()
        began, began_ns = loop.time(), self.now_ns
        while True:
            await asyncio.sleep(PACE_S)
            target_ns = began_ns + int((loop.time() - began) * 1e9 * self._speed)
            if target_ns - self.now_ns > LONGEST_CATCH_UP_NS * max(1.0, self._speed):
                began, began_ns = loop.time(), self.now_ns
                continue
            while self.now_ns < target_ns:
                self.advance(min(target_ns, self.now_ns + FLUSH_NS))
                await asyncio.sleep(0)  # after a stall too, clients are sent what they are owed

    def app(self) -> web.Application:
        """The pages and sockets."""
        app = web.Application()
        app.router.add_get("/api/v3/ping", self._ping)
        app.router.add_get("/api/v3/time", self._time)
        app.router.add_get("/api/v3/exchangeInfo", self._exchange_info)
        app.router.add_get("/api/v3/depth", self._depth)
        app.router.add_get("/api/v3/aggTrades", self._trades)
        app.router.add_get("/ws", self._raw)
        app.router.add_get("/ws/{streams:.+}", self._raw)
        app.router.add_get("/stream", self._combined)
        app.on_shutdown.append(self._close_clients)
        return app

    async def _ping(self, request: web.Request) -> web.Response:
        return _page(b"{}")

    async def _time(self, request: web.Request) -> web.Response:
        return _page(b'{"serverTime":%d}' % (self.now_ns // MILLISECOND_NS))

    async def _exchange_info(self, request: web.Request) -> web.Response:
        query = request.query
        wanted = list(self.market.symbols)
        if "symbol" in query and "symbols" in query:
            return _refuse(-1128, "Combination of optional parameters invalid.")
        if "symbol" in query:
            wanted = [query["symbol"]]
        elif "symbols" in query:
            try:
                wanted = json.loads(query["symbols"])
            except ValueError:
                wanted = []
            if not (isinstance(wanted, list) and wanted and all(isinstance(each, str) for each in wanted)):
                return _refuse(-1100, "Illegal characters found in parameter 'symbols'; legal range is a JSON array.")
        if not all(each in self.market.symbols for each in wanted):
            return _refuse(-1121, "Invalid symbol.")
        return _page(exchange_info((self.market[each].spec for each in wanted), self.now_ns))

    async def _depth(self, request: web.Request) -> web.Response:
        symbol, limit = request.query.get("symbol", ""), request.query.get("limit", "100")
        if not symbol:
            return _refuse(-1102, MANDATORY)
        if symbol not in self.streams:
            return _refuse(-1121, "Invalid symbol.")
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10 and int(limit) > 0):
            return _refuse(-1100, "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.")
        return _page(self.streams[symbol].snapshot(min(int(limit), MOST_LEVELS)).encode())

    async def _trades(self, request: web.Request) -> web.Response:
        query = request.query
        symbol = query.get("symbol", "")
        if not symbol:
            return _refuse(-1102, MANDATORY)
        if symbol not in self.streams:
            return _refuse(-1121, "Invalid symbol.")
        numbers = []
        for name, default in (("fromId", "0"), ("startTime", "0"), ("endTime", str(10**15)), ("limit", "500")):
            text = query.get(name, default)
            if not (text.isascii() and text.isdigit() and len(text) < 17):
                return _refuse(
                    -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
                )
            numbers.append(int(text))
        first_id, start_ms, end_ms, limit = numbers
        return _page(self.streams[symbol].trades_page(first_id, start_ms, end_ms, min(limit, MOST_TRADES)).encode())

    async def _raw(self, request: web.Request) -> web.WebSocketResponse:
        names = request.match_info.get("streams", "")
        return await self._serve(request, [each for each in names.split("/") if each], False)

    async def _combined(self, request: web.Request) -> web.WebSocketResponse:
        names = request.query.get("streams", "")
        return await self._serve(request, [each for each in names.split("/") if each], True)

    async def _serve(self, request: web.Request, names: Sequence[str], is_combined: bool) -> web.WebSocketResponse:
        """One client from its opening to its end."""
        socket = web.WebSocketResponse(heartbeat=20.0, timeout=1.0, compress=False, max_msg_size=64 * 1024)
        await socket.prepare(request)
        assert request.transport is not None  # it has just been prepared
        client = Client(names, is_combined, request.transport.abort)
        self.clients[client] = socket
        writer = asyncio.create_task(client.write(socket))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    client.asked(message.data)
        finally:
            self.clients.pop(client, None)
            writer.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await writer
        return socket

    async def _close_clients(self, app: web.Application) -> None:
        ends = [each.close(code=WSCloseCode.GOING_AWAY, message=b"the market closes") for each in self.clients.values()]
        await asyncio.gather(*ends, return_exceptions=True)


def _page(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _refuse(code: int, text: str) -> web.Response:
    return web.Response(body=refusal(code, text), status=400, content_type="application/json")


@asynccontextmanager
async def serve_market(server: MarketServer, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Listening]:
    """Serve a market while the block runs; port 0 takes a free one.

    Raises:
        OSError: the address cannot be had.
    """
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    pace: asyncio.Task[None] | None = None
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0][1]
        name = f"[{host}]" if ":" in host else host
        pace = asyncio.create_task(server.pace())
        yield Listening(bound, f"http://{name}:{bound}", f"ws://{name}:{bound}", pace)
    finally:
        try:
            if pace is not None:
                pace.cancel()
                with suppress(asyncio.CancelledError):
                    await pace
        finally:
            await runner.cleanup()


async def _run(arguments: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if arguments.until_stdin_closes:
        threading.Thread(target=_wait_for_parent, args=(loop, stop), daemon=True).start()
    symbols = list(dict.fromkeys(each.strip() for each in arguments.symbols.split(",") if each.strip()))
    try:
        server = MarketServer(symbols, arguments.seed, arguments.speed, change=_change(arguments))
    except ValueError as error:
        sys.stderr.write(f"--symbols: {error}\n")
        return 2
    try:
        async with serve_market(server, arguments.host, arguments.port) as listening:
            told = {"port": listening.port, "rest_url": listening.rest_url, "ws_url": listening.ws_url}
            line = json.dumps(told) if arguments.json else f"simulated exchange on {listening.rest_url}"
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            listening.pace.add_done_callback(lambda _: stop.set())
            await stop.wait()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        sys.stderr.write(f"cannot listen on {arguments.host}:{arguments.port}: {why}\n")
        return 1
    return 0


def _change(arguments: argparse.Namespace) -> Change | None:
    """What becomes of the regimes, as the command line has it."""
    if not arguments.regime_change:
        return None
    return Change(after_ns=int(arguments.regime_change_after * 1e9), kind=arguments.regime_change)


def _wait_for_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Read standard input to its end, which comes at the latest when the parent dies."""
    while os.read(0, 4096):
        pass
    with suppress(RuntimeError):  # the loop is closed already
        loop.call_soon_threadsafe(stop.set)


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; 0 done, 1 the address cannot be had, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="papertape market", description="The simulated exchange as a server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same market")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of the market a second of ours")
    parser.add_argument("--regime-change", default="", choices=["", *CHANGES], help="what becomes of all regimes")
    parser.add_argument("--regime-change-after", type=float, default=0.0, help="seconds of the market after it opened")
    parser.add_argument("--symbols", default="BTCUSDT,ETHUSDT", help="comma-separated")
    parser.add_argument("--json", action="store_true", help="print the addresses as one JSON line")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the parent process")
    arguments = parser.parse_args(argv)
    if arguments.regime_change_after < 0:
        sys.stderr.write("expected --regime-change-after of at least 0\n")
        return 2
    if not 0 < arguments.speed <= 100 or not 0 <= arguments.port < 65536 or not arguments.symbols.strip(", "):
        sys.stderr.write("expected 0 < --speed <= 100, 0 <= --port < 65536 and at least one symbol\n")
        return 2
    return asyncio.run(_run(arguments))


if __name__ == "__main__":
    sys.exit(main())
