"""What a source of payloads is: something that gives them out until it fails, and is asked again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol


class SourceError(Exception):
    """The source cannot go on: no connection, no answer, no file. It is tried again after a pause.

    ``after_s``: the source itself asks for a pause of so many seconds.
    """

    def __init__(self, text: str, after_s: float = 0.0) -> None:
        super().__init__(text)
        self.after_s = after_s


class Source(Protocol):
    """One attempt at a time. A payload is handed out when the one before was dealt with, so nothing piles up.

    What is larger than allowed is never held: the source fails, or hands out its begin, which validation refuses.
    """

    def payloads(self) -> AsyncGenerator[bytes, None]:
        """Payloads in their order.

        Raises:
            SourceError: this attempt is over.
        """
        ...

    async def close(self) -> None:
        """Let go of what is open; may be called twice."""
        ...
