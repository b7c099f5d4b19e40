"""``papertape serve``: a tape played as a local venue, byte for byte, so that the real adapters connect to it.

The client sees the frames of the tape in their order and at their pace. What is hard is the depth snapshot, which
travels beside the websocket: on the tape it stands at one place among the frames, and only a client that applies it at
that place gets the same book at the same frame. So the stream is held there: until the client has read every frame
before it (a ping came back), has asked for the page, and has read the page whole (it closed that connection).
"""

from __future__ import annotations

import asyncio
import math
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from adapters.contract import Venue
from adapters.entry import Entry, EntryKind
from adapters.feed import INSTRUMENTS
from adapters.registry import UnknownVenue, venue_class
from adapters.serve_listing import exchange_info
from adapters.tape import TapeError, TapeHeader, read_tapes
from engine.core.types import Instrument

CONTROL = {EntryKind.OPENED, EntryKind.LOST, EntryKind.RECEIVED, EntryKind.REPLIED}
CLOSE_WAIT_S = 5.0
"""How long a client may take to close the connection over which it read a page."""


class ServeError(Exception):
    """The tape cannot be played; the text says what was expected and found."""


class Shown(msgspec.Struct):
    """What a tape holds, found by one reading: its venue, the list of instruments, and how many answers a token."""

    name: str
    use: str
    listing: bytes
    answers: Counter[str]
    frames: int


def look(paths: Sequence[Path | str]) -> Shown:
    """Read tapes once through.

    Raises:
        TapeError: they are not whole tapes of one recording.
        ServeError: no adapter understands them, or they hold several venues.
    """
    header, entries = read_tapes(paths)
    if len(header.venues) != 1:
        raise ServeError(f"{paths[0]}: expected a tape of one venue, found {', '.join(header.venues) or 'none'}")
    ((name, venue),) = header.venues.items()
    if not venue.use:
        raise ServeError(f"{paths[0]}: expected frames that an adapter understands, found those of {name}")
    try:
        adapter = venue_class(venue.use)
    except UnknownVenue as error:
        raise ServeError(f"{paths[0]}: {error}") from error
    shown = Shown(name, venue.use, b"", Counter(), 0)
    left = _frames(entries, shown)
    seen = adapter.infer_instruments(name, left)
    for _ in left:
        pass  # the counts need the rest, whatever the venue needed of it
    if not shown.listing:
        shown.listing = exchange_info(_instruments(header, seen))
    return shown


def _frames(entries: Iterable[Entry], shown: Shown) -> Iterator[bytes]:
    for entry in entries:
        if entry.kind is EntryKind.RECEIVED:
            shown.frames += 1
            yield entry.data
        elif entry.kind is EntryKind.REPLIED and entry.token == INSTRUMENTS:
            shown.listing = shown.listing or entry.data
        elif entry.kind is EntryKind.REPLIED and entry.data:
            shown.answers[entry.token] += 1


def _instruments(header: TapeHeader, seen: dict[str, Instrument]) -> list[Instrument]:
    return header.instruments or list(seen.values())


class TapeServer:
    """Plays tapes to one client at a time, each from the beginning; ``done`` is set when one has got them whole.

    ``speed`` is seconds of the tape a second of ours, infinite for as fast as the client reads. ``patience_s`` is how
    long the stream is held for a snapshot that the client does not ask for; it is then kept until it does.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        *,
        speed: float = 1.0,
        patience_s: float = 2.0,
        linger_s: float = 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.shown = look(paths)
        self.done = asyncio.Event()
        self.port = 0
        self._paths = list(paths)
        self._speed = speed
        self._patience_s = patience_s
        self._linger_s = linger_s
        self._sleep = sleep
        self._adapter: type[Venue] = venue_class(self.shown.use)
        self._listing_path = urlsplit(self._adapter.instruments_url("http://localhost")).path
        self._host = ""
        self._answers: Counter[str] = Counter()
        self._playing: _Playing | None = None
        self._entries: Iterator[Entry] | None = None
        self._runner: web.AppRunner | None = None

    @property
    def rest_url(self) -> str:
        return f"http://{self._host}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self._host}:{self.port}"

    @property
    def is_playing(self) -> bool:
        """Whether a client is being played to."""
        return self._playing is not None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one.

        Raises:
            OSError: the address cannot be had.
        """
        self._host = host
        app = web.Application()
        app.router.add_get("/{path:.*}", self._get)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection and stop to listen."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._play(request)
        url = str(request.url)
        if request.path == self._listing_path:
            return web.Response(body=self.shown.listing, content_type="application/json")
        token = self._adapter.token_of(url)
        if token is None:
            return _refusal(404, f"the tape holds nothing for {request.path}")
        playing = self._playing
        if playing is None or not playing.owes(token):
            return _refusal(503, f"the tape holds no more answers for {token}")
        return await playing.answer(request, token)

    async def _play(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1 << 20)
        await socket.prepare(request)
        if self._playing is not None:
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"the tape plays to another client")
            return socket
        if self._entries is None:
            self._entries = (entry for entry in read_tapes(self._paths)[1] if entry.kind in CONTROL)
            self._answers = Counter(self.shown.answers)
        playing = self._playing = _Playing(socket, self._answers, self._patience_s, self._sleep)
        reading = asyncio.create_task(playing.read())
        sending = asyncio.create_task(playing.send(self._entries, self._speed))
        try:
            await asyncio.wait((reading, sending), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done() or isinstance(sending.exception(), ConnectionError):
                self._entries = None  # the client left: the next one begins anew
            elif sending.result():
                self._entries = None
                await self._sleep(self._linger_s)
                self.done.set()
        finally:
            self._playing = None
            playing.end()
            for task in (reading, sending):
                task.cancel()
            await asyncio.gather(reading, sending, return_exceptions=True)
            await socket.close()
        return socket


class _Playing:
    """One client's websocket, and the pages that it waits for."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        answers: Counter[str],
        patience_s: float,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._socket = socket
        self._answers = answers
        self._patience_s = patience_s
        self._sleep = sleep
        self._asked: dict[str, asyncio.Future[tuple[bytes, asyncio.Event]]] = {}
        self._has_asked = asyncio.Condition()
        self._kept: dict[str, bytes] = {}
        self._pings = 0
        self._ponged = asyncio.Condition()
        self._last_pong = 0

    def owes(self, token: str) -> bool:
        """Whether the rest of the tape, or what was kept, holds an answer."""
        return self._answers[token] > 0 or token in self._kept

    def end(self) -> None:
        """Refuse the pages that still wait: the stream that they belong to is over."""
        for waiting in self._asked.values():
            waiting.cancel()

    async def read(self) -> None:
        """Take what the client sends: its pongs count, its words are heard and nothing is done (the tape is fixed)."""
        async for message in self._socket:
            if message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                async with self._ponged:
                    self._last_pong = int(bytes(message.data) or b"0")
                    self._ponged.notify_all()

    async def send(self, entries: Iterator[Entry], speed: float) -> bool:
        """Play until the tape ends (True) or loses its connection (False: the next client goes on from there)."""
        loop = asyncio.get_running_loop()
        began_s, began_ns = 0.0, -1
        for entry in entries:
            if not math.isinf(speed):
                if began_ns < 0:
                    began_s, began_ns = loop.time(), entry.ns
                wait_s = (entry.ns - began_ns) / 1e9 / speed - (loop.time() - began_s)
                if wait_s > 0:
                    await self._sleep(wait_s)
            if entry.kind is EntryKind.RECEIVED:
                await self._send_frame(entry.data)
            elif entry.kind is EntryKind.REPLIED and entry.token != INSTRUMENTS and entry.data:
                held_s = loop.time()
                await self._hold(entry.token, entry.data)
                began_s += loop.time() - held_s
            elif entry.kind is EntryKind.LOST:
                await self._caught_up()
                return False
        await self._caught_up()
        return True

    async def answer(self, request: web.Request, token: str) -> web.StreamResponse:
        """Answer with the tape's page when the stream has come to it."""
        if token in self._kept:
            body, read = self._kept.pop(token), asyncio.Event()
        else:
            waiting = asyncio.get_running_loop().create_future()
            async with self._has_asked:
                older = self._asked.pop(token, None)
                if older is not None:
                    older.cancel()
                self._asked[token] = waiting
                self._has_asked.notify_all()
            try:
                body, read = await waiting
            except asyncio.CancelledError:
                if not waiting.cancelled():
                    raise
                return _refusal(503, "a newer request took the place of this one")
            finally:
                if self._asked.get(token) is waiting:
                    del self._asked[token]
        try:
            # The client is told to close and we are not: that it closes is the sign that it has read the page whole.
            response = web.Response(body=body, content_type="application/json", headers={"Connection": "close"})
            await response.prepare(request)
            await response.write_eof()
            await self._closed(request)
        finally:
            read.set()
        return response

    async def _closed(self, request: web.Request) -> None:
        until_s = asyncio.get_running_loop().time() + CLOSE_WAIT_S
        while request.transport is not None and not request.transport.is_closing():
            if asyncio.get_running_loop().time() > until_s:
                return
            await asyncio.sleep(0.0005)

    async def _send_frame(self, frame: bytes) -> None:
        await self._socket.send_frame(frame, WSMsgType.TEXT if _is_text(frame) else WSMsgType.BINARY)

    async def _hold(self, token: str, body: bytes) -> None:
        """Hold the stream at a page of the tape until the client has it, or has shown that it does not want it."""
        await self._caught_up()
        try:
            async with asyncio.timeout(self._patience_s), self._has_asked:
                await self._has_asked.wait_for(lambda: token in self._asked)
        except TimeoutError:
            self._kept[token] = body
            return
        finally:
            self._answers[token] -= 1
        self._kept.pop(token, None)
        read = asyncio.Event()
        self._asked.pop(token).set_result((body, read))
        await read.wait()
        await self._caught_up()

    async def _caught_up(self) -> None:
        """Wait until the client has taken in all that it was sent: it answers a ping only after what came before."""
        for _ in range(2):
            self._pings += 1
            wanted = self._pings
            await self._socket.ping(b"%d" % wanted)
            async with self._ponged:
                await self._ponged.wait_for(lambda: self._last_pong >= wanted)  # noqa: B023 - awaited right here


def _refusal(status: int, text: str) -> web.Response:
    return web.json_response({"code": -status, "msg": text}, status=status, headers={"Retry-After": "1"})


def _is_text(frame: bytes) -> bool:
    try:
        frame.decode()
    except UnicodeDecodeError:
        return False
    return True


async def _serve(server: TapeServer, host: str, port: int, as_json: bool) -> int:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        await server.start(host, port)
    except OSError as error:
        sys.stderr.write(f"serve: cannot listen on {host}:{port}: {error.strerror or error}\n")
        return 1
    told = {
        "port": server.port,
        "rest_url": server.rest_url,
        "ws_url": server.ws_url,
        "use": server.shown.use,
        "frames": server.shown.frames,
    }
    what = f"{server.shown.frames} frames of {server.shown.use}"
    words = f"serving {what}: ws_url {server.ws_url}, rest_url {server.rest_url}"
    sys.stdout.write((msgspec.json.encode(told).decode() if as_json else words) + "\n")
    sys.stdout.flush()
    waits = [asyncio.create_task(event.wait()) for event in (server.done, stopped)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    await server.stop()
    return 0


def main(tapes: Sequence[Path | str], *, host: str, port: int, speed: str, as_json: bool) -> int:
    """Serve tapes until a client has got them whole, or a signal comes; the exit code."""
    try:
        factor = math.inf if speed in ("max", "inf") else float(speed)
        if not factor > 0:
            raise ValueError
    except ValueError:
        sys.stderr.write(f"serve: --speed: expected a number above 0 or 'max', found {speed!r}\n")
        return 2
    try:
        server = TapeServer(tapes, speed=factor, linger_s=1.0)
    except (TapeError, ServeError) as error:
        sys.stderr.write(f"serve: {error}\n")
        return 1
    return asyncio.run(_serve(server, host, port, as_json))
