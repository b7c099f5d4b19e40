"""The way to Redis for the parts of a run: no retries of its own, and writes that a stale owner cannot do.

Each part of a run (the feed, a shard) is owned by one process at a time, which got a *token*, larger than all before
it. ``Link.fenced`` runs commands in one script of Redis that first compares the token with the newest one: what a
process sends that lost its part meanwhile has no effect at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final, Protocol, cast

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from engine.live.redis_bus import RedisSettings, heed_cancel
from engine.live.redis_fence import Fence, Words, fenced

AWAY: Final = (RedisError, OSError, TimeoutError)
"""What a call raises while Redis is away, or refuses."""

TIMEOUT_S: Final = 5.0


class StaleOwner(Exception):
    """Another process owns this part of the run now; nothing of the call was done."""


class Client(Protocol):
    """The part of ``redis.asyncio.Redis`` used here, typed: its own command methods are both sync and async."""

    def execute_command(self, *words: Any) -> Awaitable[Any]: ...

    def aclose(self) -> Awaitable[None]: ...


def connect(url: str, *, timeout_s: float = TIMEOUT_S) -> Client:
    """A client whose answers are lists, bytes and integers; it connects with the first command."""
    client = redis.Redis.from_url(
        url,
        decode_responses=False,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s * 2,
        socket_connect_timeout=timeout_s,
    )
    client.response_callbacks.clear()  # answers as Redis gives them, the same in every version of the library
    return cast("Client", client)


class Link:
    """One process' connections to one Redis; every call ends within ``timeout_s`` or raises one of ``AWAY``."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self.shown_url = RedisSettings(url=url).shown_url
        self.timeout_s = timeout_s
        self._client = connect(url, timeout_s=timeout_s)

    async def do(self, *words: str | int | bytes, timeout_s: float | None = None) -> Any:
        """One command and its answer."""
        try:
            async with asyncio.timeout(timeout_s or self.timeout_s):
                return await self._client.execute_command(*words)
        finally:
            heed_cancel()

    async def script(
        self, text: str, keys: Sequence[str], *words: str | int | bytes, timeout_s: float | None = None
    ) -> Any:
        """Run a script, whole or not at all."""
        return await self.do("EVAL", text, len(keys), *keys, *words, timeout_s=timeout_s)

    async def fenced(self, owner: Fence, commands: Sequence[Words]) -> list[Any]:
        """Run commands in order if our token is the newest; their answers.

        Raises:
            StaleOwner: it is not; nothing was done.
        """
        answers: list[Any] = []
        try:
            for call in fenced(owner, commands):
                answers += await self.do(*call)
        except ResponseError as error:
            if str(error).startswith("STALE"):
                newer = str(error).removeprefix("STALE ")
                raise StaleOwner(
                    f"{owner.fence}: this part of this run is owned by token {newer} now; this process has token "
                    f"{owner.token} and stops"
                ) from error
            raise
        return answers

    async def close(self) -> None:
        """Close all connections; never raises."""
        try:
            async with asyncio.timeout(2.0):
                await self._client.aclose()
        except AWAY:
            return
