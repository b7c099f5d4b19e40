"""The role feed: the connections to the venues and no engine; what they parse goes to a stream a symbol.

Batches wait in memory while Redis is away, up to a number; beyond it the oldest go, and engines see the hole in the
numbers. What was on its way when Redis went is sent again: engines drop what they have seen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
import structlog

from adapters.connection import Connection
from adapters.redis_batches import BEAT, MARKER, ROWS, pack
from engine.core.events import LAST, Batch
from engine.core.types import Instrument
from engine.live.redis_fence import Words
from engine.live.shards.lease import Lease
from engine.live.shards.link import AWAY, Link
from engine.live.shards.names import FIELD, Keys

log = structlog.get_logger("papertape.feed")

ONE_TURN: Final = 2_000
"""Entries that go to Redis in one script."""

AGAIN_S: Final = 0.1
BEAT_S: Final = 1.0
BLOCK_MS: Final = 500


class Publisher:
    """Numbers batches by symbol and sends them in order; ``put`` never waits."""

    def __init__(
        self,
        link: Link,
        lease: Lease,
        keys: Keys,
        instruments: Sequence[Instrument],
        clock: Callable[[], int],
        *,
        length: int,
        waiting: int,
    ) -> None:
        self.sent = 0
        self.dropped = 0
        self._link = link
        self._lease = lease
        self._clock = clock
        self._length = length
        self._most = waiting
        self._instruments = list(instruments)
        self._streams = [keys.market(one.venue, one.symbol) for one in instruments]
        self._numbers = [0] * len(self._instruments)
        self._measured = {one.venue: (0, 0) for one in instruments}
        self._outbox: deque[tuple[str, bytes]] = deque()
        self._filled = asyncio.Event()

    def put(self, batch: Batch, recv_ns: int) -> bool:
        """Take a batch of a connection."""
        symbols = batch["symbol"]
        if (symbols == symbols[0]).all():
            self._put(ROWS, int(symbols[0]), recv_ns, rows=batch.tobytes())
        else:
            for symbol in dict.fromkeys(symbols.tolist()):
                part = batch[symbols == symbol]
                part["flags"][-1] |= LAST
                self._put(ROWS, symbol, recv_ns, rows=part.tobytes())
        return True

    def mark(self, symbol: int, number: int) -> None:
        """What comes after this is younger than a request."""
        self._put(MARKER, symbol, self._clock(), one=number)

    def measured(self, venue: str, rtt_ns: int, delay_ns: int) -> None:
        """A round trip to a venue was measured."""
        self._measured[venue] = rtt_ns, delay_ns

    def beat(self) -> None:
        """Say of every symbol that we are there."""
        for symbol, instrument in enumerate(self._instruments):
            rtt_ns, delay_ns = self._measured[instrument.venue]
            self._put(BEAT, symbol, self._clock(), rtt_ns, delay_ns)

    @property
    def waiting(self) -> int:
        """Entries that Redis has not taken yet, those on their way left out."""
        return len(self._outbox)

    async def drained(self) -> None:
        """Wait until all is taken."""
        while self._outbox:
            await asyncio.sleep(0.01)

    async def run(self) -> None:
        """Send what waits, until cancelled.

        Raises:
            StaleOwner: another process is the feed now.
        """
        is_away = False
        while True:
            if not self._outbox:
                self._filled.clear()
                await self._filled.wait()
            turn = [self._outbox.popleft() for _ in range(min(ONE_TURN, len(self._outbox)))]
            commands: list[Words] = [
                ("XADD", stream, "MAXLEN", "~", self._length, "*", FIELD, frame) for stream, frame in turn
            ]
            try:
                await self._link.fenced(self._lease, commands)
            except AWAY as error:
                self._outbox.extendleft(reversed(turn))
                if not is_away:
                    log.warning("redis is away; batches wait", error=str(error), waiting=len(self._outbox))
                is_away = True
                await asyncio.sleep(AGAIN_S)
                continue
            self.sent += len(turn)
            if is_away:
                log.info("redis is back", waiting=len(self._outbox), dropped=self.dropped)
            is_away = False

    def _put(self, kind: int, symbol: int, sent_ns: int, one: int = 0, two: int = 0, rows: bytes = b"") -> None:
        self._numbers[symbol] += kind != BEAT
        name, number = self._instruments[symbol].symbol, self._numbers[symbol]
        frame = pack(kind, name, self._lease.token, number, sent_ns, one, two, rows)
        self._outbox.append((self._streams[symbol], frame))
        if len(self._outbox) > self._most:
            self._outbox.popleft()
            self.dropped += 1
        self._filled.set()


class Doubts:
    """Hears what engines ask for: a marker, and the book brought in step again behind it."""

    def __init__(
        self,
        link: Link,
        keys: Keys,
        instruments: Sequence[Instrument],
        mark: Callable[[int, int], None],
        doubt: Callable[[int], None],
    ) -> None:
        self._link = link
        self._key = keys.doubts
        self._places = {(one.venue, one.symbol): index for index, one in enumerate(instruments)}
        self._mark = mark
        self._doubt = doubt
        self._answered: dict[int, int] = {}

    async def run(self) -> None:
        """Listen until cancelled."""
        last: str | bytes = "$"
        while True:
            try:
                answer = await self._link.do(
                    "XREAD", "COUNT", 100, "BLOCK", BLOCK_MS, "STREAMS", self._key, last, timeout_s=5.0
                )
            except AWAY:
                await asyncio.sleep(AGAIN_S)
                last = "0"  # a Redis that lost its data numbers anew; an answer given twice does no harm
                continue
            for _, entries in answer or ():
                for number, fields in entries:
                    last = number
                    self._hear(dict(zip(fields[::2], fields[1::2], strict=True)))

    def _hear(self, fields: dict[bytes, bytes]) -> None:
        try:
            venue, number = fields[b"venue"].decode(), int(fields[b"number"])
            symbols = msgspec.json.decode(fields[b"symbols"], type=list[str])
        except (KeyError, ValueError, msgspec.DecodeError) as error:
            log.warning("expected a request with venue, number and symbols, found another", error=str(error))
            return
        for symbol in symbols:
            index = self._places.get((venue, symbol))
            if index is None:
                log.warning("expected a symbol of this run in a request, found another", venue=venue, symbol=symbol)
                continue
            self._mark(index, number)
            if self._answered.get(index) != number:  # asked again: the venue is at it already
                self._answered[index] = number
                log.info("resynchronised for an engine", venue=venue, symbol=symbol)
                self._doubt(index)


def listing(venues: Iterable[tuple[str, str, dict[str, Instrument]]]) -> bytes:
    """What engines must know to start without a venue: name, rules and instruments of each."""
    told = {name: {"rules": rules, "instruments": instruments} for name, rules, instruments in venues}
    return msgspec.json.encode(told)


class Listed(msgspec.Struct):
    """One venue of ``listing``."""

    rules: str
    instruments: dict[str, Instrument]


async def beat(publisher: Publisher, seconds: float = BEAT_S) -> None:
    """Say that the feed lives, until cancelled."""
    while True:
        publisher.beat()
        await asyncio.sleep(seconds)


async def tell(link: Link, lease: Lease, keys: Keys, text: bytes) -> None:
    """Put the list of instruments where engines look, and there again if Redis lost it; until cancelled."""
    while True:
        try:
            await link.fenced(lease, [("SET", keys.instruments, text)])
        except AWAY as error:
            log.warning("instruments not told", error=str(error))
        await asyncio.sleep(BEAT_S)


def doubter(connections: dict[str, Connection], instruments: Sequence[Instrument]) -> Callable[[int], None]:
    """Has a venue bring a book in step again."""

    def doubt(symbol: int) -> None:
        connections[instruments[symbol].venue].doubt(symbol)

    return doubt
