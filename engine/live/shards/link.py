"""The way to Redis for the parts of a run: no retries of its own, and writes that a stale owner cannot do.

Each part of a run (the feed, a shard) is owned by one process at a time, which got a *token*, larger than all before
it. ``Link.fenced`` runs commands in one script of Redis that first compares the token with the newest one: what a
process sends that lost its part meanwhile has no effect at all.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Sequence
from typing import Any, Final, Protocol, cast

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from engine.live.redis_bus import RedisSettings, heed_cancel
from engine.live.redis_fence import Fence, Words, fenced

AWAY: Final = (RedisError, OSError, TimeoutError)
"""What a call raises while Redis is away, or refuses."""

TIMEOUT_S: Final = 5.0


class StaleOwner(Exception):
    """Another process owns this part of the run now; nothing of the call was done."""


class Refused(Exception):
    """Redis is there and will not have us, which no waiting mends; one line says why and what to do."""


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

    def heed(self, error: BaseException) -> None:
        """Tell a Redis that is away, and may come back, from one that refuses us: a process that starts need not wait.

        Raises:
            Refused: it does.
        """
        if (why := _refusal(error, is_tls=self.shown_url.startswith("rediss"))) is not None:
            raise Refused(f"{self.shown_url}: {why}") from error

    async def close(self) -> None:
        """Close all connections; never raises."""
        try:
            async with asyncio.timeout(2.0):
                await self._client.aclose()
        except AWAY:
            return


def _refusal(error: BaseException, *, is_tls: bool) -> str | None:
    """What is wrong between Redis and us, and where to mend it; None where it is only away."""
    found = str(error).rstrip(".")
    if isinstance(error, AuthenticationError):
        return f"expected a user and a password that Redis knows, found: {found}: see PAPERTAPE_REDIS_URL"
    if isinstance(error, NoPermissionError):
        return f"expected a user with the rights that deploy/README.md names, found: {found}"
    if isinstance(error, ResponseError) and found.startswith("unknown command"):
        return f"expected Redis 6.2 or newer, found: {found}"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, (ssl.SSLError, FileNotFoundError)):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, FileNotFoundError):  # without TLS it is a socket's, which comes with its Redis
        return "expected the files that the address names (ssl_ca_certs), found one missing" if is_tls else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"expected a certificate that ssl_ca_certs in the address vouches for, found: {cause.verify_message}"
    if cause is not None:
        return f"expected TLS at the address, found: {cause.reason or cause}: rediss:// is for a Redis with tls-port"
    return None
