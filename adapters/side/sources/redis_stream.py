"""A stream of Redis: each entry's field ``data`` is a payload."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

from redis import asyncio as aioredis
from redis.exceptions import RedisError

from adapters.side.sources.contract import SourceError

BLOCK_MS: Final = 1_000
COUNT: Final = 32
"""Entries asked for at a time."""

TIMEOUT_S: Final = 10.0


class RedisStream:
    """Reads ``key`` with XREAD, from what comes after the start on; after a loss it goes on behind the last entry."""

    def __init__(self, url: str, key: str, *, field: str = "data", most_bytes: int = 1 << 20) -> None:
        self._url = url
        self._key = key
        self._field = field.encode()
        self._most_bytes = most_bytes
        self._last: bytes | str = "$"
        self._client: Any = None

    async def payloads(self) -> AsyncGenerator[bytes, None]:
        try:
            self._client = aioredis.from_url(
                self._url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, protocol=2
            )
            if self._last == "$":  # fixed now, so that what comes between two reads is not missed
                newest = await self._client.xrevrange(self._key, count=1)
                self._last = newest[0][0] if newest else "0-0"
            while True:
                answer = await self._client.xread({self._key: self._last}, count=COUNT, block=BLOCK_MS)
                for _, entries in answer or ():
                    for number, fields in entries:
                        self._last = number
                        yield fields.get(self._field, b"")[: self._most_bytes + 1]
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            raise SourceError(f"expected Redis with a stream {self._key!r}, found {type(error).__name__}") from error
        finally:
            await self.close()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
