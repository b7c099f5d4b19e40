"""The loop around every venue, naming none: open, stamp, tape, parse, hand on; and after a loss, open again.

All that changes state becomes a tape entry first and is applied second, so a replay of the tape repeats it. Time,
sleep, chance and the network come in from outside.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from adapters.contract import Fetch, Recovery, Send
from adapters.entry import Entry, EntryKind
from adapters.feed import Feed
from adapters.lag import FeedLag
from adapters.transport import Socket, Transport, TransportError
from engine.core.events import Batch

OPEN_TIMEOUT_S = 10.0
FETCH_TIMEOUT_S = 10.0
TICK_S = 1.0
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 60.0
HEALTHY_S = 10.0
"""A session of this length in which data flowed resets the backoff."""
PING_S = 5.0
"""How often the round trip is measured. Binance takes five messages a second from a client, pings included."""
PING_TIMEOUT_S = 20.0
FETCHES_PER_S = 5.0
FETCHES_AT_ONCE = 4
FRAMES_BEFORE_OTHERS = 64
TURN_NS = 1_000_000
"""After so many frames in a row, or so long, the other tasks get a turn, even when more frames wait."""


class Connection:
    """One venue's connection, for ever: ``run`` returns only by cancellation or with the error that no retry can help.

    ``clock`` gives ns UTC, ``sleep`` waits seconds, ``chance`` is the seeded source of the backoff's jitter. ``tape``
    is called before the feed sees an entry; ``take(batch, recv_ns)`` hands a batch on and says False when it had no
    room; ``notice(kind, text)`` hears what an operator should read; ``measured(rtt_ns,
    delay_ns)`` hears how long a websocket ping took there and back, our own wait to read the answer included, and how
    much later than at best market data came since the last one.
    """

    def __init__(
        self,
        feed: Feed,
        transport: Transport,
        clock: Callable[[], int],
        take: Callable[[Batch, int], bool],
        tape: Callable[[Entry], None],
        *,
        ws_url: str = "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: random.Random | None = None,
        notice: Callable[[str, str], None] = lambda kind, text: None,
        measured: Callable[[int, int], None] = lambda rtt_ns, delay_ns: None,
    ) -> None:
        self.feed = feed
        self.is_open = False
        self._url = feed.venue_class.websocket_url(ws_url, list(feed.instruments))
        self._spec = feed.venue_class.spec
        self._transport = transport
        self._clock = clock
        self._take = take
        self._tape = tape
        self._sleep = sleep
        self._chance = chance or random.Random(0)
        self._notice = notice
        self._measured = measured
        self._lag = FeedLag()
        self._losses = 0
        self._heard_ns = 0
        self._frames = 0
        self._blocked_until_ns = 0
        self._next_fetch_ns = 0
        self._fetching = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._to_send: asyncio.Queue[bytes] = asyncio.Queue(maxsize=256)
        self._lost: asyncio.Future[str] | None = None

    async def run(self) -> None:
        """Keep the connection.

        Raises:
            AdapterError: the venue refuses for good (``Recovery.STOP``); the text says what.
        """
        while True:
            try:
                socket = await self._transport.open(self._url, OPEN_TIMEOUT_S)
            except TransportError as error:
                self._notice("open failed", str(error))
            else:
                opened_ns = self._clock()
                reason = await self._session(socket, opened_ns)
                fault = self.feed.fault
                self._notice("lost", f"{reason}: {fault}" if fault else reason)
                self._apply(Entry(EntryKind.LOST, self._clock(), self.feed.name, reason))
                if fault is not None and fault.recovery is Recovery.STOP:
                    raise fault
                if self._frames and self._clock() - opened_ns >= HEALTHY_S * 1e9:
                    self._losses = 0
            await self._sleep(self._backoff())

    def doubt(self, symbol: int) -> None:
        """The engine found the book of this instrument index wrong: have the venue bring it in step again."""
        if self.is_open:
            self._apply(Entry(EntryKind.DOUBTED, self._clock(), self.feed.name, str(symbol)))

    def _backoff(self) -> float:
        """Seconds until the next try: doubling up to a limit, and between half and all of that by chance."""
        self._losses += 1
        longest = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self._losses - 1, 16))
        return longest * self._chance.uniform(0.5, 1.0)

    async def _session(self, socket: Socket, opened_ns: int) -> str:
        """One open socket until it is lost; the reason word."""
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._lost = lost
        self._to_send = asyncio.Queue(maxsize=256)
        self._heard_ns = opened_ns
        self._frames = 0
        self._lag = FeedLag()
        self.is_open = True
        self._apply(Entry(EntryKind.OPENED, opened_ns, self.feed.name))
        parts = (self._read(socket), self._write(socket), self._tick(opened_ns), self._ping(socket))
        tasks = [asyncio.create_task(work) for work in parts]
        try:
            waited: list[asyncio.Future[Any]] = [lost, *tasks]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # these end by an error only: a fault of ours that must be seen
            return lost.result()
        finally:
            self.is_open = False
            tasks.extend(self._fetches.values())
            self._fetches.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await socket.close()

    def _lose(self, reason: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)

    def _apply(self, entry: Entry) -> None:
        """Tape, parse, hand on: without a wait between, so that the order on the tape is the order of things.

        Once the connection is lost, only LOST may follow: a frame may have been dropped, and nothing mends that.
        """
        if self._lost is not None and self._lost.done() and entry.kind is not EntryKind.LOST:
            return
        self._tape(entry)
        has_room = True
        for output in self.feed.apply(entry):
            if isinstance(output, Fetch):
                self._ask(output)
            elif isinstance(output, Send):
                if self._to_send.full():
                    self._lose("overflow")
                else:
                    self._to_send.put_nowait(output.frame)
            else:
                if entry.kind is EntryKind.RECEIVED:
                    self._lag.seen(int(output["venue_ns"][-1]), entry.ns)
                has_room = self._take(output, entry.ns) and has_room
        if not has_room:
            self._lose("overflow")
        if self.feed.fault is not None:
            self._lose("connection")

    async def _read(self, socket: Socket) -> None:
        turned_ns = self._clock()
        try:
            while self._lost is not None and not self._lost.done():
                frame = await socket.receive()
                self._heard_ns = recv_ns = self._clock()
                self._frames += 1
                self._apply(Entry(EntryKind.RECEIVED, recv_ns, self.feed.name, "", frame))
                if self._frames % FRAMES_BEFORE_OTHERS == 0 or self._clock() - turned_ns >= TURN_NS:
                    await asyncio.sleep(0)
                    turned_ns = self._clock()
        except TransportError as error:
            self._notice("closed", str(error))
            self._lose("connection")
        await asyncio.Event().wait()

    async def _write(self, socket: Socket) -> None:
        try:
            while True:
                await socket.send(await self._to_send.get())
        except TransportError as error:
            self._notice("closed", str(error))
            self._lose("connection")
        await asyncio.Event().wait()

    async def _ping(self, socket: Socket) -> None:
        """Measure the round trip; a venue that answers no ping is not measured, and no worse a venue for it."""
        try:
            while True:
                started_ns = self._clock()
                try:
                    async with asyncio.timeout(PING_TIMEOUT_S):
                        await socket.ping()
                except TimeoutError:
                    self._notice("no pong", f"expected an answer to a ping within {PING_TIMEOUT_S:g} s, found none")
                    break
                self._measured(self._clock() - started_ns, self._lag.take())
                await self._sleep(PING_S)
        except TransportError as error:
            self._notice("closed", str(error))
            self._lose("connection")
        await asyncio.Event().wait()

    async def _tick(self, opened_ns: int) -> None:
        while True:
            await self._sleep(TICK_S)
            now_ns = self._clock()
            if now_ns - self._heard_ns > self._spec.silence_s * 1e9:
                self._lose("silence")
            elif now_ns - opened_ns > 0.98 * self._spec.max_age_s * 1e9:
                self._lose("connection")  # before the venue closes it in the middle of something
            else:
                self._apply(Entry(EntryKind.TICKED, now_ns, self.feed.name))

    def _ask(self, fetch: Fetch) -> None:
        """Fetch beside the frames; a newer request of the same token takes the place of the older."""
        if not self.is_open:
            return
        older = self._fetches.pop(fetch.token, None)
        if older is not None:
            older.cancel()
        task = asyncio.create_task(self._fetch(fetch))
        task.add_done_callback(self._fetched)
        self._fetches[fetch.token] = task

    def _fetched(self, task: asyncio.Task[None]) -> None:
        """An error that is no network's is a fault of ours: it ends the session where it can be seen."""
        error = None if task.cancelled() else task.exception()
        if error is not None and self._lost is not None and not self._lost.done():
            self._lost.set_exception(error)

    async def _fetch(self, fetch: Fetch) -> None:
        while (now_ns := self._clock()) < (start_ns := max(fetch.not_before_ns, self._blocked_until_ns)):
            await self._sleep((start_ns - now_ns) / 1e9)
        async with self._fetching:
            slot_ns = max(self._clock(), self._next_fetch_ns)
            self._next_fetch_ns = slot_ns + int(1e9 / FETCHES_PER_S)
            if slot_ns > self._clock():
                await self._sleep((slot_ns - self._clock()) / 1e9)
            try:
                body = await self._transport.get(fetch.url, FETCH_TIMEOUT_S)
            except TransportError as error:
                self._notice("fetch failed", str(error))
                self._blocked_until_ns = self._clock() + int(error.retry_after_s * 1e9)
                body = b""
        if self._fetches.get(fetch.token) is asyncio.current_task():
            del self._fetches[fetch.token]
            self._apply(Entry(EntryKind.REPLIED, self._clock(), self.feed.name, fetch.token, body))
