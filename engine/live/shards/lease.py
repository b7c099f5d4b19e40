"""Who owns a part of a run: a key that expires, renewed as long as its owner lives, and a token that only grows.

The key says who; it is there only while its owner says so at least every ``ttl_ms``. The token says which owner is the
newest, and guards what is written (link.py). Time is Redis' own. A Redis that lost its data gives the part back to the
owner that asks first; tokens grow with Redis' clock, so that they grow then too.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final, Protocol, cast

import structlog
from redis import Redis

from engine.live.shards.link import AWAY, Link
from engine.live.shards.names import Keys

log = structlog.get_logger("papertape.lease")

ACQUIRE: Final = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  local now = redis.call('TIME')
  local token = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, now[1] * 1000 + math.floor(now[2] / 1000))
  redis.call('SET', KEYS[2], string.format('%.0f', token))
  return {1, string.format('%.0f', token)}
end
return {0, redis.call('GET', KEYS[1])}
"""

RENEW: Final = """
local owner = redis.call('GET', KEYS[1])
local newest = tonumber(redis.call('GET', KEYS[2]) or '0')
if newest > tonumber(ARGV[3]) or (owner and owner ~= ARGV[1]) then return owner or newest end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3])
return ''
"""

RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

MOST_S: Final = 900.0
"""A start that takes longer than this is not held any more."""


class LeaseHeld(Exception):
    """Another process owns this part of the run; one line says which."""


class LeaseLost(Exception):
    """This process owned a part of the run and does not any more: it must stop at once."""


class Lease:
    """The ownership of ``what``; ``owner`` is this process as nobody else is called."""

    def __init__(self, link: Link, keys: Keys, what: str, owner: str, ttl_ms: int, token: int = 0) -> None:
        self.what = what
        self.key = keys.lease(what)
        self.fence = keys.fence(what)
        self.token = token
        self.ttl_ms = ttl_ms
        self.owner = owner
        self.is_lost = False
        self.renewed_s = time.monotonic()
        """When Redis last said that it is ours; by the clock of ``time.monotonic``, which measures spans."""
        self._link = link

    async def acquire(self, patience_s: float) -> None:
        """Become the owner; wait for the one before at most so long. While Redis is away this waits for ever.

        Raises:
            LeaseHeld: another process owns it and goes on to.
            Refused: Redis will not have us.
        """
        waited_from: float | None = None
        while True:
            try:
                taken, word = await self._link.script(ACQUIRE, [self.key, self.fence], self.owner, self.ttl_ms)
            except AWAY as error:
                self._link.heed(error)
                log.warning("redis is away", url=self._link.shown_url, error=str(error), waiting_for=self.what)
                await asyncio.sleep(1.0)
                continue
            if taken:
                self.token = int(word)
                log.info("owner", of=self.what, token=self.token)
                return
            now = time.monotonic()
            waited_from = now if waited_from is None else waited_from
            if now - waited_from >= patience_s:
                raise LeaseHeld(
                    f"expected {self.what} of this run to be free, found it owned by {(word or b'?').decode()}; "
                    "stop that one first, or use --standby to take over when it is gone"
                )
            await asyncio.sleep(min(0.1, self.ttl_ms / 20_000))

    async def keep(self, on_contact: Callable[[bool], None] = lambda is_there: None) -> None:
        """Renew it until cancelled; ``on_contact`` hears after each try whether Redis answered.

        Raises:
            LeaseLost: another process owns it now.
        """
        while True:
            await asyncio.sleep(self.ttl_ms / 3000)
            try:
                words = await self._link.script(
                    *(RENEW, [self.key, self.fence], self.owner, self.ttl_ms, self.token),
                    timeout_s=self.ttl_ms / 3000,
                )
            except AWAY:
                on_contact(False)
                continue
            if words:
                self.is_lost = True
                newer = words.decode() if isinstance(words, bytes) else str(words)
                raise LeaseLost(f"{self.what} of this run is owned by {newer} now; this process stops")
            self.renewed_s = time.monotonic()
            on_contact(True)

    async def release(self) -> None:
        """Give it back, so that the next owner need not wait; while Redis is away it expires."""
        try:
            await self._link.script(RELEASE, [self.key], self.owner)
        except AWAY as error:
            log.warning("lease not given back; it expires", of=self.what, error=str(error))


class _Client(Protocol):
    """The part of ``redis.Redis`` used here, typed."""

    def execute_command(self, *words: Any) -> Any: ...

    def close(self) -> None: ...


class Holding:
    """Keeps a lease from a thread of its own, while a start recovers and compiles and the loop cannot.

    It holds for at most ``MOST_S``; what it cannot renew is seen when the loop keeps the lease again.
    """

    def __init__(self, url: str, lease: Lease) -> None:
        self._url = url
        self._lease = lease
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._hold, name="lease", daemon=True)

    def start(self) -> Holding:
        """Begin to hold."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """The loop keeps the lease from here on; returns when the thread has ended."""
        self._end.set()
        self._thread.join(self._lease.ttl_ms / 1000)

    def _hold(self) -> None:
        lease = self._lease
        until = time.monotonic() + MOST_S
        every_s = lease.ttl_ms / 3000
        client = cast(
            "_Client",
            Redis.from_url(self._url, protocol=2, socket_timeout=every_s, socket_connect_timeout=every_s),
        )
        with closing(client):
            while not self._end.wait(every_s) and time.monotonic() < until:
                try:
                    words = (lease.key, lease.fence, lease.owner, lease.ttl_ms, lease.token)
                    if client.execute_command("EVAL", RENEW, 2, *words):
                        return  # lost: the loop stops the process when it asks
                except AWAY as error:
                    log.warning("lease not renewed while starting", of=lease.what, error=str(error))
