"""Payloads that others send to the daemon's own HTTP server, signed with a secret that both know."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncGenerator
from typing import Final

SIGNATURE: Final = "X-Papertape-Signature"
"""The header: ``sha256=`` and the hexadecimal HMAC-SHA256 of the body."""

WAITING: Final = 64
"""Payloads that may wait; the sender of a further one is told to come later."""


def signature(secret: bytes, body: bytes) -> str:
    """What the header must be.

    >>> signature(b"key", b"{}")[:20]
    'sha256=a777724d943eb'
    """
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


class Webhook:
    """One stream's door. ``take`` answers with an HTTP status; who signs wrongly is counted and told nothing more."""

    def __init__(self, secret: bytes, *, most_bytes: int = 1 << 16) -> None:
        self.most_bytes = most_bytes
        self.forged = 0
        self.refused = 0
        self._secret = secret
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(maxsize=WAITING)

    def take(self, body: bytes, signed: str) -> int:
        """202 when taken, 401 for a wrong signature, 413 for too large a body, 503 when too many wait."""
        if len(body) > self.most_bytes:
            self.refused += 1
            return 413
        if not hmac.compare_digest(signed.encode(), signature(self._secret, body).encode()):
            self.forged += 1
            return 401
        if self._waiting.full():
            self.refused += 1
            return 503
        self._waiting.put_nowait(body)
        return 202

    async def payloads(self) -> AsyncGenerator[bytes, None]:
        while True:
            yield await self._waiting.get()

    async def close(self) -> None:
        return None
