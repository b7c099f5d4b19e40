"""A page that is fetched again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Final

import aiohttp

from adapters.side.sources.contract import SourceError

TIMEOUT_S: Final = 10.0
LONGEST_PAUSE_S: Final = 3_600.0
"""Of what ``Retry-After`` may ask for."""


class Poll:
    """GETs ``url`` every ``every_s`` seconds; a page of more than ``most_bytes``, unpacked, is not read to its end.

    A redirect is a failure: the headers may hold a key, which is for this host alone.
    """

    def __init__(
        self,
        url: str,
        every_s: float,
        *,
        headers: Mapping[str, str] | None = None,
        most_bytes: int = 1 << 20,
        timeout_s: float = TIMEOUT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url = url
        self._every_s = every_s
        self._headers = dict(headers or {})
        self._most_bytes = most_bytes
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None

    async def payloads(self) -> AsyncGenerator[bytes, None]:
        while True:
            yield await self._fetch()
            await self._sleep(self._every_s)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _fetch(self) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        try:
            async with self._session.get(self._url, allow_redirects=False) as response:
                if response.status != 200:
                    raise SourceError(f"expected status 200, found {response.status}", _pause_s(response.headers))
                body = bytearray()
                async for piece in response.content.iter_chunked(65_536):
                    body += piece
                    if len(body) > self._most_bytes:
                        raise SourceError(f"expected at most {self._most_bytes} bytes, found more")
                return bytes(body)
        except TimeoutError as error:
            raise SourceError(f"expected an answer within {self._timeout.total:g} s, found none") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # the text of an error may name the address, and with it a key
            raise SourceError(f"expected an answer, found {type(error).__name__}") from error


def _pause_s(headers: Mapping[str, str]) -> float:
    """Seconds of ``Retry-After``; a date there is not obeyed.

    >>> _pause_s({"Retry-After": "7"}), _pause_s({"Retry-After": "Fri, 27 Nov 2026"}), _pause_s({})
    (7.0, 0.0, 0.0)
    """
    text = headers.get("Retry-After", "")
    return min(float(text), LONGEST_PAUSE_S) if text.isdecimal() and len(text) < 10 else 0.0
