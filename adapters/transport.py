"""The seam to the network: two ways to hold a websocket, one to get a page, all behind the same protocol.

Nothing above this file knows a library by name. Tests put a scripted transport in its place.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import aiohttp
import websockets
from websockets.asyncio.client import ClientConnection, connect

MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_PAGE_BYTES = 64 * 1024 * 1024


class TransportError(Exception):
    """The network or the far side failed; ``retry_after_s`` is how long the far side asks us to stay away."""

    def __init__(self, text: str, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Socket(Protocol):
    """An open websocket."""

    async def receive(self) -> bytes:
        """The next text or binary frame.

        Raises:
            TransportError: the socket is closed or broken.
        """

    async def send(self, frame: bytes) -> None:
        """Send a text frame.

        Raises:
            TransportError: the socket is closed or broken.
        """

    async def ping(self) -> None:
        """Ask the far side for a sign of life and wait for it; somebody must be receiving meanwhile.

        Raises:
            TransportError: the socket is closed or broken.
        """

    async def close(self) -> None:
        """Close it; never raises."""


class Transport(Protocol):
    """How to reach a venue."""

    async def open(self, url: str, timeout_s: float) -> Socket:
        """Open a websocket.

        Raises:
            TransportError: it could not be opened in time.
        """

    async def get(self, url: str, timeout_s: float) -> bytes:
        """The body of a page. A refusal of the request itself (400, 404) gives its body too: it says why.

        Raises:
            TransportError: no answer in time, or the far side is busy or broken.
        """

    async def close(self) -> None:
        """Release what is held; never raises."""


class _Pages:
    """GET through one aiohttp session, made when it is first needed."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return self._session

    async def get(self, url: str, timeout_s: float) -> bytes:
        try:
            async with self.session.get(url, timeout=aiohttp.ClientTimeout(total=timeout_s)) as answer:
                if answer.status in (200, 400, 404):
                    body = bytearray()
                    async for piece in answer.content.iter_any():
                        body += piece
                        if len(body) > MAX_PAGE_BYTES:
                            raise TransportError(f"{url}: expected at most {MAX_PAGE_BYTES} bytes, found more")
                    return bytes(body)
                raise TransportError(f"{url}: HTTP {answer.status}", _seconds(answer.headers.get("Retry-After", "")))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TransportError(f"{url}: {_words(error)}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class AiohttpTransport:
    """Websockets through aiohttp: the default, and the quicker one."""

    def __init__(self) -> None:
        self._pages = _Pages()
        self.get = self._pages.get
        self.close = self._pages.close

    async def open(self, url: str, timeout_s: float) -> Socket:
        try:
            async with asyncio.timeout(timeout_s):
                socket = await self._pages.session.ws_connect(
                    url,
                    max_msg_size=MAX_FRAME_BYTES,
                    compress=0,
                    autoping=False,  # it would keep the answers to our own pings to itself
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TransportError(f"{url}: {_words(error)}") from error
        return _AiohttpSocket(socket)


class _AiohttpSocket:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._pings: dict[bytes, asyncio.Future[None]] = {}
        self._pinged = 0

    async def receive(self) -> bytes:
        while (message := await self._socket.receive()).type in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG):
            if message.type is aiohttp.WSMsgType.PING:
                await self._pong(message.data)
            elif (waiting := self._pings.pop(bytes(message.data), None)) is not None and not waiting.done():
                waiting.set_result(None)
        if message.type is aiohttp.WSMsgType.TEXT:
            text: str = message.data
            return text.encode()
        if message.type is aiohttp.WSMsgType.BINARY:
            return bytes(message.data)
        raise TransportError(f"closed by the far side: {message.type.name.lower()} {self._socket.close_code or ''}")

    async def send(self, frame: bytes) -> None:
        try:
            await self._socket.send_str(frame.decode())
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise TransportError(f"not sent: {_words(error)}") from error

    async def ping(self) -> None:
        self._pinged += 1
        words = b"papertape %d" % self._pinged
        self._pings[words] = answered = asyncio.get_running_loop().create_future()
        try:
            await self._socket.ping(words)
            await answered
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise TransportError(f"no ping sent: {_words(error)}") from error
        finally:
            self._pings.pop(words, None)

    async def _pong(self, words: bytes) -> None:
        try:
            await self._socket.pong(words)
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise TransportError(f"no answer to a ping sent: {_words(error)}") from error

    async def close(self) -> None:
        try:
            async with asyncio.timeout(2.0):
                await self._socket.close()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return


class WebsocketsTransport:
    """Websockets through the websockets library; pages through aiohttp."""

    def __init__(self) -> None:
        self._pages = _Pages()
        self.get = self._pages.get
        self.close = self._pages.close

    async def open(self, url: str, timeout_s: float) -> Socket:
        try:
            socket = await connect(
                url, open_timeout=timeout_s, close_timeout=2.0, max_size=MAX_FRAME_BYTES, compression=None, proxy=None
            )
        except (websockets.WebSocketException, TimeoutError, OSError, ValueError) as error:
            raise TransportError(f"{url}: {_words(error)}") from error
        return _WebsocketsSocket(socket)


class _WebsocketsSocket:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def receive(self) -> bytes:
        try:
            return await self._socket.recv(decode=False)
        except websockets.ConnectionClosed as error:
            raise TransportError(f"closed by the far side: {error}") from error

    async def send(self, frame: bytes) -> None:
        try:
            await self._socket.send(frame, text=True)
        except websockets.ConnectionClosed as error:
            raise TransportError(f"not sent: {error}") from error

    async def ping(self) -> None:
        try:
            await (await self._socket.ping())
        except websockets.ConnectionClosed as error:
            raise TransportError(f"no answer to a ping: {error}") from error

    async def close(self) -> None:
        await self._socket.close()


def _seconds(text: str) -> float:
    """The seconds of a Retry-After header; 0 where there is none, or a date.

    >>> _seconds("30"), _seconds("Wed, 21 Oct 2015 07:28:00 GMT")
    (30.0, 0.0)
    """
    return float(text) if text.isdecimal() else 0.0


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
