"""A transport that plays a script, and a clock that stands still until somebody sleeps."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from itertools import count

from adapters.transport import Socket, TransportError


class VirtualTime:
    """A clock and a sleep: time jumps to the next sleeper when nothing else is left to do."""

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self.now_ns = start_ns
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    def clock(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_ns + int(seconds * 1e9), next(self._order), wake))
        await wake

    async def run(self, seconds: float) -> None:
        """Let that much time pass, waking the sleepers in their order."""
        end_ns = self.now_ns + int(seconds * 1e9)
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end_ns:
            due_ns, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                self.now_ns = max(self.now_ns, due_ns)
                wake.set_result(None)
                await settle()
        self.now_ns = end_ns


async def settle() -> None:
    """Give every ready task many turns."""
    for _ in range(20):
        await asyncio.sleep(0)


class ScriptedSocket:
    """Hands out what the test puts in; ``None`` closes it."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.sent: list[bytes] = []
        self.pong: Callable[[], Awaitable[None]] | None = None
        self.is_closed = False

    def feed(self, *frames: bytes | None) -> None:
        for frame in frames:
            self.frames.put_nowait(frame)

    async def receive(self) -> bytes:
        frame = await self.frames.get()
        if frame is None:
            raise TransportError("closed by the script")
        return frame

    async def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    async def ping(self) -> None:
        await (self.pong() if self.pong else asyncio.Event().wait())

    async def close(self) -> None:
        self.is_closed = True


class ScriptedTransport:
    """``refusals`` openings fail first; ``pages`` answers every GET, and may raise."""

    def __init__(self, pages: Callable[[str], bytes], refusals: int = 0, clock: Callable[[], int] = lambda: 0) -> None:
        self.clock = clock
        self.opened_ns: list[int] = []
        self.pages = pages
        self.refusals = refusals
        self.pong: Callable[[], Awaitable[None]] | None = None  # of every socket; None: no ping is answered
        self.sockets: list[ScriptedSocket] = []
        self.opened_urls: list[str] = []
        self.fetched: list[str] = []

    async def open(self, url: str, timeout_s: float) -> Socket:
        self.opened_urls.append(url)
        self.opened_ns.append(self.clock())
        if self.refusals:
            self.refusals -= 1
            raise TransportError("refused by the script")
        self.sockets.append(ScriptedSocket())
        self.sockets[-1].pong = self.pong
        return self.sockets[-1]

    async def get(self, url: str, timeout_s: float) -> bytes:
        self.fetched.append(url)
        return self.pages(url)

    async def close(self) -> None:
        return None
