"""A shard's end of the market streams: a transport whose frames are a feed's, read through a consumer group.

An entry is acknowledged when the journal has it, not before: what a killed engine had read and not written down is
given to the next owner again, and what it had written down is dropped by its number (``adapters/redis_batches.py``).
While Redis is away a socket stays open and silent; it goes on where it was. If that lasts, the connection's own
watchdog puts the books in doubt, as with any silent venue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from redis.exceptions import ResponseError

from adapters.contract import MalformedFrame
from adapters.redis_batches import BEAT, ROWS, Asked, unpack
from adapters.transport import Socket, TransportError
from engine.live.latency import Latency
from engine.live.redis_fence import Words
from engine.live.shards.lease import Lease
from engine.live.shards.link import AWAY, Link, StaleOwner
from engine.live.shards.names import FIELD, Keys

log = structlog.get_logger("papertape.market")

READ: Final = 5_000
"""Entries of all streams in one answer, about, and at most. Reading one keeps the loop for about 12 µs an entry, and
meanwhile nobody renews the lease."""

LEAST: Final = 16
"""Entries of a stream in one answer, at least."""

CLAIMED: Final = 1_000
"""Entries of a stream that are claimed at once."""

MOST_WAITING: Final = 20_000
"""Frames that wait for the engine; beyond them nothing more is read for a while."""

BLOCK_MS: Final = 1_000
ACKED_EVERY_S: Final = 0.02
ACKED_AT_ONCE: Final = 500
AGAIN_S: Final = 0.2

Measured = Callable[[str, int, int], None]
"""Takes a venue's name, the round trip to it and its delay, ns."""


class Reader:
    """Reads the streams of one venue's symbols and acknowledges what was written down.

    ``committed`` is to be called when all frames that were taken are in the journal, and what it returns when that is
    safe. ``hop`` are the times from the feed's receipt of a frame to here, by the two machines' clocks.
    """

    def __init__(
        self, link: Link, lease: Lease, keys: Keys, venue: str, symbols: list[str], clock: Callable[[], int]
    ) -> None:
        self.venue = venue
        self.hop = Latency()
        self.waiting: deque[tuple[str, bytes, bytes]] = deque()  # stream, entry's id, frame
        self.claims = 0
        """Frames given out before, to us or an owner before us, and claimed."""
        self.unacknowledged = 0
        """Frames taken that Redis was not told of yet."""
        self.measured: Measured | None = None
        self._link = link
        self._lease = lease
        self._keys = keys
        self._clock = clock
        self._streams = {keys.market(venue, symbol).encode(): symbol for symbol in symbols}
        self._popped: tuple[str, bytes] | None = None
        self._taken: dict[str, list[bytes]] = {}
        self._written: dict[str, list[bytes]] = {}
        self._filled = asyncio.Event()
        self._measured_at = 0

    async def prepare(self) -> None:
        """Make the groups, and take over what the owner before had read and not acknowledged."""
        for stream in self._names():
            try:
                await self._link.do("XGROUP", "CREATE", stream, self._lease.what, "0", "MKSTREAM")
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
            start: bytes = b"0-0"
            while True:
                answer = await self._link.do(
                    *("XAUTOCLAIM", stream, self._lease.what, self._me, 0, start, "COUNT", CLAIMED, "JUSTID")
                )
                start = answer[0]
                self.claims += len(answer[1])
                if start == b"0-0":
                    break
            for consumer in await self._link.do("XINFO", "CONSUMERS", stream, self._lease.what):
                found = dict(zip(consumer[::2], consumer[1::2], strict=True))
                if found[b"name"] != self._me.encode() and not found[b"pending"]:
                    await self._link.do("XGROUP", "DELCONSUMER", stream, self._lease.what, found[b"name"])

    async def ping(self, timeout_s: float) -> None:
        """Whether Redis answers; raises one of ``AWAY`` where it does not."""
        await self._link.do("PING", timeout_s=timeout_s)

    async def read(self) -> None:
        """Fill ``waiting`` until cancelled; first with what was given out before, then with what is new."""
        start, is_new = "0", True
        count = max(LEAST, READ // len(self._streams))
        after = dict.fromkeys(self._streams, b"0")
        while True:
            while len(self.waiting) > MOST_WAITING:
                await asyncio.sleep(ACKED_EVERY_S)
            try:
                if is_new:
                    await self.prepare()
                    is_new = False
                ids = list(after.values()) if start == "0" else [start] * len(after)
                answer = await self._link.do(
                    *("XREADGROUP", "GROUP", self._lease.what, self._me, "COUNT", count, "BLOCK", BLOCK_MS),
                    *("STREAMS", *self._streams, *ids),
                    timeout_s=self._link.timeout_s + BLOCK_MS / 1000,
                )
            except AWAY as error:
                # Also where Redis lost its groups (NOGROUP): they are made again, and all that is there is read.
                log.warning("market stream", venue=self.venue, error=str(error))
                start, is_new, after = "0", True, dict.fromkeys(self._streams, b"0")
                await asyncio.sleep(AGAIN_S)
                continue
            found = False
            for stream, entries in answer or ():
                for number, fields in entries:
                    found = True
                    after[stream] = number
                    if fields:
                        self.waiting.append((stream.decode(), number, fields[fields.index(FIELD) + 1]))
            if found:
                self._filled.set()
            elif start == "0":
                start = ">"

    async def filled(self) -> None:
        """Wait until a frame waits."""
        while not self.waiting:
            self._filled.clear()
            await self._filled.wait()

    def pop(self) -> bytes:
        """The next frame; ``taken`` is to be called when it is on its way into the journal."""
        stream, number, frame = self.waiting.popleft()
        self._popped = stream, number
        self._look(frame)
        return frame

    def taken(self) -> None:
        """The frame of the last ``pop`` was written down, though not yet for good."""
        if self._popped is not None:
            self._taken.setdefault(self._popped[0], []).append(self._popped[1])
            self.unacknowledged += 1
            self._popped = None

    def committed(self) -> Callable[[], None]:
        """All that was taken is in the journal; it is acknowledged once what is returned was called."""
        taken, self._taken = self._taken, {}

        def safe() -> None:
            for stream, numbers in taken.items():
                self._written.setdefault(stream, []).extend(numbers)

        return safe

    async def acknowledge(self) -> None:
        """Tell Redis what is written down, until cancelled.

        Raises:
            StaleOwner: another process owns the shard now.
        """
        while True:
            await asyncio.sleep(ACKED_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Acknowledge what is written down by now; what Redis does not take is told the next time.

        Raises:
            StaleOwner: another process owns the shard now.
        """
        written, self._written = self._written, {}
        commands: list[Words] = [
            ("XACK", stream, self._lease.what, *numbers[at : at + ACKED_AT_ONCE])
            for stream, numbers in written.items()
            for at in range(0, len(numbers), ACKED_AT_ONCE)
        ]
        if not commands:
            return
        try:
            await self._link.fenced(self._lease, commands)
            self.unacknowledged -= sum(len(numbers) for numbers in written.values())
        except AWAY:
            for stream, numbers in self._written.items():
                written.setdefault(stream, []).extend(numbers)
            self._written = written

    async def ask(self, frame: bytes) -> None:
        """Hand a request of the venue's part on to the feed."""
        asked = msgspec.json.decode(frame, type=Asked)
        words = ("venue", self.venue, "number", asked.number, "symbols", msgspec.json.encode(asked.symbols))
        await self._link.fenced(self._lease, [("XADD", self._keys.doubts, "MAXLEN", "~", 1000, "*", *words)])

    @property
    def _me(self) -> str:
        return f"{self._lease.what}.{self._lease.token}"

    def _names(self) -> list[str]:
        return [name.decode() for name in self._streams]

    def _look(self, frame: bytes) -> None:
        try:
            told = unpack(frame)
        except MalformedFrame:
            return  # the venue's part counts it
        if told.kind == ROWS:
            self.hop.observe(max(0, self._clock() - told.sent_ns))
        elif told.kind == BEAT and told.one and told.sent_ns > self._measured_at and self.measured is not None:
            self._measured_at = told.sent_ns
            self.measured(self.venue, told.one, told.two)


class RedisTransport:
    """How an engine reaches a venue through Redis."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    async def open(self, url: str, timeout_s: float) -> Socket:
        """Redis answers: a socket."""
        del url
        try:
            await self.reader.ping(timeout_s)
        except AWAY as error:
            raise TransportError(f"redis: {type(error).__name__}: {error}") from error
        return _RedisSocket(self.reader)

    async def get(self, url: str, timeout_s: float) -> bytes:
        """There are no pages here: the feed fetches."""
        del timeout_s
        raise TransportError(f"expected the feed to fetch, found an engine that asks for {url}")

    async def close(self) -> None:
        """Nothing is held here: the shard's link is closed by the shard."""


class _RedisSocket:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._reading = asyncio.create_task(reader.read(), name=f"market {reader.venue}")

    async def receive(self) -> bytes:
        reader = self._reader
        if not reader.waiting:
            filled = asyncio.ensure_future(reader.filled())
            try:
                await asyncio.wait([filled, self._reading], return_when=asyncio.FIRST_COMPLETED)
            finally:
                filled.cancel()
            if self._reading.done():
                self._reading.result()  # it ends by an error only: a fault of ours that must be seen
                raise TransportError("the market streams are not read any more")
        return reader.pop()

    async def send(self, frame: bytes) -> None:
        try:
            await self._reader.ask(frame)
        except StaleOwner as error:
            raise TransportError(str(error)) from error
        except AWAY as error:
            log.warning("request not sent; it is made again", venue=self._reader.venue, error=str(error))

    async def ping(self) -> None:
        """Redis is not the venue: what the feed measured comes with its beats, and nothing is measured here."""

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
