"""One websocket client of the simulated exchange: what it listens to, and a bounded queue of what it is owed.

Docs: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#live-subscribingunsubscribing-to-streams
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import web

QUEUE_FRAMES = 2_000
STREAM_FRAMES = 100
"""A client is disconnected that is more than so many frames behind, or than so many for each stream that it listens to.
A symbol tells about 70 frames a second by three streams, so that is some four seconds, and more than a stalled market
makes up for at once."""
MOST_STREAMS = 1024
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class Client:
    """A client; ``is_combined`` wraps a payload into ``{"stream":…,"data":…}``, ``cut`` ends its connection at once."""

    def __init__(self, names: Sequence[str], is_combined: bool, cut: Callable[[], None] = lambda: None) -> None:
        self.names = dict.fromkeys(names[:MOST_STREAMS])
        self.is_combined = is_combined
        self.is_slow = False
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._cut = cut

    def tell(self, frames: Iterable[tuple[str, str]]) -> None:
        """Queue those (stream, payload) that it listens to."""
        names = self.names
        for name, payload in frames:
            if name in names:
                self._put(f'{{"stream":"{name}","data":{payload}}}' if self.is_combined else payload)

    def _put(self, frame: str) -> None:
        if self.is_slow:
            return
        if self._queue.qsize() >= max(QUEUE_FRAMES, STREAM_FRAMES * len(self.names)):
            self.is_slow = True
            while not self._queue.empty():
                self._queue.get_nowait()
            self._cut()  # the writer waits on a socket that takes nothing: only the connection's end frees it
            return
        self._queue.put_nowait(frame)

    async def write(self, socket: web.WebSocketResponse) -> None:
        """Send what is owed until it is gone; its reader sees the end."""
        with suppress(ConnectionError):
            while True:
                await socket.send_str(await self._queue.get())

    def asked(self, text: str) -> None:
        """A message of the client: queue the answer."""
        self._put(json.dumps(self._answer(text), separators=(",", ":")))

    def _answer(self, text: str) -> dict[str, Any]:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return _error(3, "Invalid JSON: expected value at line 1 column 1", None)
        if not isinstance(message, dict):
            return _error(2, "Invalid request: expected an object", None)
        number, method, words = message.get("id"), message.get("method"), message.get("params", [])
        if not (number is None or isinstance(number, str) or (type(number) is int and number >= 0)):
            return _error(2, "Invalid request: request ID must be an unsigned integer", None)
        if method is None:
            return _error(2, "Invalid request: missing field `method`", number)
        if method not in METHODS:
            expected = ", ".join(f"`{each}`" for each in METHODS)
            return _error(2, f"Invalid request: unknown variant `{method}`, expected one of {expected}", number)
        if not isinstance(words, list):
            return _error(2, "Invalid request: expected a list of parameters", number)
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(self.names), "id": number}
        if method.endswith("_PROPERTY"):
            return self._property(method, words, number)
        if not words or not all(isinstance(each, str) for each in words):
            return _error(2, "Invalid request: expected names of streams", number)
        if method == "SUBSCRIBE":
            if len(self.names) + len(words) > MOST_STREAMS:
                return _error(2, "Invalid request: too many parameters", number)
            self.names.update(dict.fromkeys(words))
        else:
            for each in words:
                self.names.pop(each, None)
        return {"result": None, "id": number}

    def _property(self, method: str, words: list[Any], number: int | str | None) -> dict[str, Any]:
        if not words or words[0] != "combined":
            return _error(0, "Unknown property", number)
        if method == "GET_PROPERTY":
            return {"result": self.is_combined, "id": number}
        if len(words) != 2 or not isinstance(words[1], bool):
            return _error(1, "Invalid value type: expected Boolean", number)
        self.is_combined = words[1]
        return {"result": None, "id": number}


def _error(code: int, text: str, number: int | str | None) -> dict[str, Any]:
    return {"error": {"code": code, "msg": text}, "id": number}
