"""Redis, optional: facts, best prices, positions and health go out; halt, resume, reload and flatten come in.

The engine never waits for Redis. ``publish`` only appends to a bounded outbox, which drops the oldest records when
Redis cannot keep up or is away; a consumer sees the hole in ``seq``, the daemon counts it. Everything else happens in
``run``, which reconnects with a capped, jittered backoff for as long as the daemon lives.

Keys, all below ``PREFIX:RUN:`` (see ``deploy/README.md``):

===================== ======  ==================================================================================
``records``           stream  one entry a record: ``seq``, ``ns``, ``type``, ``fact`` (JSON), trimmed by length
``book:VENUE:SYMBOL`` hash    the best prices as exact text
``positions``         hash    ``STRATEGY VENUE:SYMBOL`` to exact text
``orders``            hash    the number of a working order to what is known of it (JSON)
``signals``           hash    ``VENUE:SYMBOL NAME`` to the last value
``health``            hash    state of the daemon; expires, so that a dead daemon looks dead
``commands``          stream  in: ``name`` and ``args`` (JSON), read by the consumer group ``papertape``
``replies``           stream  out: ``id`` of the command's entry, ``name``, ``ok``, ``detail``
===================== ======  ==================================================================================
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast
from urllib.parse import urlsplit, urlunsplit

import msgspec
import redis.asyncio as redis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from engine.core.records import Record, Signal
from engine.live.bus import BusFull
from engine.live.redis_channels import Channels
from engine.live.redis_fence import Fence, Words, fenced

COMMANDS: Final = frozenset({"halt", "resume", "reload", "flatten"})
GROUP: Final = "papertape"
CONSUMER: Final = "daemon"
BATCH: Final = 500
"""Records a round trip."""

SIGNALS: Final = 10_000
"""Signals in the hash at most: the last ones."""

WORDS: Final = 4_000
"""Words of one ``HSET``: a script of Redis takes commands of some 8,000."""

TakeCommand: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Takes a command's name and arguments; raises ``ValueError`` or ``BusFull`` to refuse it, the text says why."""


class Pipeline(Protocol):
    """Commands that go in one round trip."""

    def execute_command(self, *words: Any) -> Any: ...

    def execute(self) -> Awaitable[list[Any]]: ...


class Client(Protocol):
    """The part of ``redis.asyncio.Redis`` used here, typed: its own command methods are both sync and async."""

    def execute_command(self, *words: Any) -> Awaitable[Any]: ...

    def pipeline(self, transaction: bool = True) -> Pipeline: ...

    def aclose(self) -> Awaitable[None]: ...


class RedisSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where Redis is and how much is kept there. ``url`` may hold a password; it is never shown.

    >>> RedisSettings(url="redis://:secret@cache:6379/0").shown_url
    'redis://cache:6379/0'
    >>> "secret" in repr(RedisSettings(url="redis://:secret@cache:6379/0"))
    False
    """

    url: str
    prefix: str = "papertape"
    run: str = "demo"
    stream_length: int = 100_000  # records kept in the stream, about
    outbox: int = 20_000  # records waiting for Redis at most
    health_ttl_s: float = 15.0
    command_max_age_s: float = 30.0  # an older command is refused: it was meant for another market
    retry_max_s: float = 10.0
    timeout_s: float = 5.0  # of one round trip

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("redis", "rediss", "unix"):
            raise ValueError(f"expected redis://, rediss:// or unix:// in redis.url, found {self.shown_url!r}")

    @property
    def shown_url(self) -> str:
        """The address without user, password and query."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))

    def key(self, *words: str) -> str:
        """A key of this run.

        >>> RedisSettings(url="redis://cache", run="demo").key("book", "sim:BTCUSDT")
        'papertape:demo:book:sim:BTCUSDT'
        """
        return ":".join((self.prefix, self.run, *words))

    def __repr__(self) -> str:
        return f"RedisSettings(url={self.shown_url!r}, prefix={self.prefix!r}, run={self.run!r})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("url", self.shown_url), ("prefix", self.prefix), ("run", self.run)]


class RedisStatus(msgspec.Struct, frozen=True):
    """The present, as it goes to the hashes: every value is text, decimals exact."""

    books: Mapping[str, Mapping[str, str]] = {}
    positions: Mapping[str, str] = {}
    orders: Mapping[str, str] = {}
    health: Mapping[str, str] = {}


class RedisStats(msgspec.Struct):
    """What became of it: counts since the start."""

    published: int = 0
    dropped: int = 0
    reconnects: int = 0
    commands: int = 0
    refused: int = 0
    connected: bool = False


class RedisPublisher:
    """Publishes a run to Redis and takes commands from it; ``run`` until ``stop``.

    With a ``fence`` nothing of it has an effect any more when another process owns the shard. A command is answered
    when ``settled`` returns: it is written down as safely as a fact that is shown.
    """

    def __init__(
        self,
        settings: RedisSettings,
        take_command: TakeCommand,
        fence: Fence | None = None,
        settled: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.settings = settings
        self._fence = fence
        self._settled = settled
        self.stats = RedisStats()
        self._take_command = take_command
        self._outbox: deque[Record] = deque()
        self._status: RedisStatus | None = None
        self._signals: dict[str, str] = {}
        self._channels = Channels(settings.key)
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._encode = msgspec.json.Encoder().encode
        self._obeyed = (0, 0)  # the last command's entry: one handed out twice is obeyed once
        self._log = structlog.get_logger("papertape.redis").bind(url=settings.shown_url)

    def publish(self, records: Sequence[Record], status: RedisStatus | None = None) -> None:
        """Hand over new records and, now and then, the present. Never waits and never raises."""
        self._outbox.extend(records)
        self._trim()
        for record in records:
            if isinstance(fact := record.fact, Signal):
                self._signals.pop(name := f"{fact.symbol} {fact.name}", None)
                self._signals[name] = repr(fact.value)
                if len(self._signals) > SIGNALS:
                    del self._signals[next(iter(self._signals))]
        if status is not None:
            self._status = status
        self._wake.set()

    def stop(self) -> None:
        """Ask ``run`` to send what is left, for at most one timeout, and to return."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Connect, publish and obey; reconnect for as long as nobody calls ``stop``."""
        retry_s = 0.1
        while not self._stopping.is_set():
            published = self.stats.published
            reason = await self._session()
            self.stats.connected = False
            if self._stopping.is_set():
                return
            if self.stats.published > published:
                retry_s = 0.1
            self.stats.reconnects += 1
            self._log.warning("redis_lost", reason=reason, retry_s=round(retry_s, 2), waiting=len(self._outbox))
            try:
                await asyncio.wait_for(self._stopping.wait(), retry_s * random.uniform(0.7, 1.3))
            except TimeoutError:
                retry_s = min(retry_s * 2, self.settings.retry_max_s)

    def _client(self) -> Client:
        """Retries are ours: a lost connection ends the session and shows in the log."""
        settings = self.settings
        client = redis.Redis.from_url(
            settings.url,
            decode_responses=True,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=settings.timeout_s * 2,
            socket_connect_timeout=settings.timeout_s,
        )
        return cast("Client", client)

    async def _session(self) -> str:
        """One connection from first to last; the reason of its end."""
        client = self._client()
        tasks: set[asyncio.Task[None]] = set()
        try:
            await self._make_group(client)
            self.stats.connected = True
            self._log.info("redis_connected")
            publishing = asyncio.create_task(self._publishing(client), name="redis-publish")
            obeying = asyncio.create_task(self._obeying(client), name="redis-commands")
            tasks = {publishing, obeying}
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (RedisError, OSError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
        else:
            return "stopped"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.aclose()

    async def _publishing(self, client: Client) -> None:
        """Send what waits, and the present at least three times within the life of the health key."""
        beat_s = self.settings.health_ttl_s / 3
        while True:
            self._wake.clear()
            while self._outbox or self._status is not None:
                await self._send(client)
            if self._stopping.is_set():
                await self._farewell(client)
                return
            try:
                await asyncio.wait_for(self._wake.wait(), beat_s)
            except TimeoutError:
                await client.execute_command("PING")

    async def _send(self, client: Client) -> None:
        """One round trip; what Redis did not take goes back to the front of the outbox."""
        batch = [self._outbox.popleft() for _ in range(min(BATCH, len(self._outbox)))]
        status, self._status = self._status, None
        commands: list[Words] = [
            ("XADD", self.settings.key("records"), *self._trimmed(), "*", *self._fields(record)) for record in batch
        ]
        if status is not None:
            commands += self._status_commands(status)
        taken = False
        try:
            await self._do(client, commands, is_whole=status is not None)
            taken = True
        finally:
            if not taken:
                self._outbox.extendleft(reversed(batch))
                self._status = self._status or status
                self._trim()
        self.stats.published += len(batch)
        if status is not None:
            self._channels.taken()

    async def _do(self, client: Client, commands: list[Words], *, is_whole: bool) -> None:
        """Run commands in one round trip; ``is_whole``: all of them or none."""
        pipe = client.pipeline(transaction=is_whole and self._fence is None)
        for command in commands if self._fence is None else fenced(self._fence, commands):
            pipe.execute_command(*command)
        await asyncio.wait_for(pipe.execute(), self.settings.timeout_s)
        heed_cancel()

    def _trimmed(self) -> tuple[str | int, ...]:
        return ("MAXLEN", "~", self.settings.stream_length)

    def _fields(self, record: Record) -> tuple[str | int | bytes, ...]:
        fact = record.fact
        return ("seq", record.seq, "ns", record.ns, "type", type(fact).__name__, "fact", self._encode(fact))

    def _status_commands(self, status: RedisStatus) -> list[Words]:
        key = self.settings.key
        commands: list[Words] = []
        for symbol, best in status.books.items():
            commands.append(("HSET", key("book", symbol), *_flat(best)))
        # What is not there any more must not stay: a hash is made anew, within one transaction.
        commands += [("DEL", key(name)) for name in ("positions", "orders", "signals", "health")]
        hashes = {"positions": status.positions, "orders": status.orders, "signals": self._signals}
        for name, values in hashes.items():
            words = _flat(values)
            commands += [("HSET", key(name), *words[at : at + WORDS]) for at in range(0, len(words), WORDS)]
        health = {"state": "running", **status.health, "redis_dropped": str(self.stats.dropped)}
        books = {f"book:{symbol}": best for symbol, best in status.books.items()}
        commands.append(("HSET", key("health"), *_flat(health)))
        commands.append(("PEXPIRE", key("health"), round(self.settings.health_ttl_s * 1000)))
        return commands + self._channels.commands({**books, **hashes, "health": health})

    async def _farewell(self, client: Client) -> None:
        await self._do(client, [("HSET", self.settings.key("health"), "state", "stopped")], is_whole=False)

    def _trim(self) -> None:
        while len(self._outbox) > self.settings.outbox:
            self._outbox.popleft()
            self.stats.dropped += 1

    async def _make_group(self, client: Client) -> None:
        try:
            await client.execute_command("XGROUP", "CREATE", self.settings.key("commands"), GROUP, "$", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _obeying(self, client: Client) -> None:
        """Take commands, first those handed out but not acknowledged before the connection broke."""
        start = "0"
        while True:
            answer = await client.execute_command(
                *("XREADGROUP", "GROUP", GROUP, CONSUMER, "COUNT", 16, "BLOCK", round(self.settings.timeout_s * 1000)),
                *("STREAMS", self.settings.key("commands"), start),
            )
            heed_cancel()
            entries = [entry for stream in answer or () for entry in stream[1]]
            for entry_id, fields in entries:
                await self._obey(client, entry_id, fields or {})
            if not entries:
                start = ">"

    async def _obey(self, client: Client, entry_id: str, fields: Mapping[str, str]) -> None:
        name = fields.get("name", "")
        millis, _, sequence = entry_id.partition("-")
        refusal = ""
        if (int(millis), int(sequence)) > self._obeyed:
            refusal = await self._too_old(client, int(millis)) or self._take(name, fields.get("args", "{}"))
            self._obeyed = (int(millis), int(sequence))
        if self._settled is not None:
            await self._settled()
        self.stats.refused += bool(refusal)
        self.stats.commands += not refusal
        self._log.info("redis_command", id=entry_id, name=name[:32], refused=refusal)
        reply = ("id", entry_id, "name", name, "ok", int(not refusal), "detail", refusal)
        answer: list[Words] = [
            ("XACK", self.settings.key("commands"), GROUP, entry_id),
            ("XADD", self.settings.key("replies"), "MAXLEN", "~", 1000, "*", *reply),
        ]
        await self._do(client, answer, is_whole=False)

    def _take(self, name: str, args_text: str) -> str:
        """Hand one command to the daemon; the empty text, or why not."""
        if name not in COMMANDS:
            return f"expected one of {', '.join(sorted(COMMANDS))} in the field name, found {name[:32]!r}"
        try:
            args = msgspec.json.decode(args_text, type=dict[str, Any])
            self._take_command(name, args)
        except (msgspec.DecodeError, ValueError, BusFull) as error:
            return f"args: {error}" if isinstance(error, msgspec.DecodeError) else str(error)
        return ""

    async def _too_old(self, client: Client, millis: int) -> str:
        """By Redis' own clock, so that two machines need not agree on the time."""
        seconds, micros = await client.execute_command("TIME")
        age_s = int(seconds) + int(micros) / 1e6 - millis / 1e3
        limit_s = self.settings.command_max_age_s
        return f"expected a command at most {limit_s:g} s old, found {age_s:.1f} s" if age_s > limit_s else ""


def heed_cancel() -> None:
    """End a task that was cancelled: what it waited for, answered at the same moment, may keep that to itself."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _flat(fields: Mapping[str, str]) -> list[str]:
    """``HSET``'s way of saying a mapping.

    >>> _flat({"bid": "1.5", "ask": "1.6"})
    ['bid', '1.5', 'ask', '1.6']
    """
    return [word for pair in fields.items() for word in pair]
