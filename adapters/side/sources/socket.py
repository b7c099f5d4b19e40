"""A websocket: each message is a payload; messages may be asked for first."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final

import aiohttp

from adapters.side.sources.contract import SourceError

TIMEOUT_S: Final = 10.0
PING_S: Final = 20.0
"""A connection that does not answer a ping within half of this is lost."""

_PLAIN = (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)


class Websocket:
    """Connects to ``url`` and sends the ``hello`` lines; ``silence_s``: how long nothing may come, 0: for ever."""

    def __init__(
        self,
        url: str,
        *,
        hello: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        most_bytes: int = 1 << 20,
        silence_s: float = 0.0,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._url = url
        self._hello = tuple(hello)
        self._headers = dict(headers or {})
        self._most_bytes = most_bytes
        self._silence_s = silence_s
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def payloads(self) -> AsyncGenerator[bytes, None]:
        timeout = aiohttp.ClientTimeout(total=None, connect=self._timeout_s, sock_connect=self._timeout_s)
        self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        try:
            async with self._session.ws_connect(self._url, max_msg_size=self._most_bytes, heartbeat=PING_S) as socket:
                for line in self._hello:
                    await socket.send_str(line)
                while True:
                    message = await socket.receive(timeout=self._silence_s or None)
                    if message.type not in _PLAIN:
                        raise SourceError(f"lost: {message.type.name.lower()} {socket.close_code or ''}".rstrip())
                    yield message.data.encode() if isinstance(message.data, str) else message.data
        except TimeoutError as error:
            raise SourceError("expected an open connection that speaks, found silence") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SourceError(f"expected a websocket, found {type(error).__name__}") from error
        finally:
            await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
