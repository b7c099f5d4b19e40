"""The loop around every side stream: payloads in, validated rows out, a pause after a failure; for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

from adapters.side.parse import Parser, RawRow, go_on
from adapters.side.quarantine import Line, Quarantine
from adapters.side.sources.contract import Source, SourceError
from adapters.side.thread import OwnThread, give_way
from adapters.side.validate import Validator
from engine.core.events import Judged, Observed

FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 60.0
HEALTHY_S: Final = 10.0
"""A source that gave payloads for so long begins its pauses anew."""

SMALL_BYTES: Final = 1_024
"""A smaller payload without a text is read on the loop: a thread would take longer."""

ROWS_BEFORE_OTHERS: Final = 32
"""After so many rows in a row the other tasks get a turn."""


class Stream:
    """One side stream. ``room`` waits until the engine can take a row; ``say`` hands it on and must not fail then.

    ``clock`` gives ns UTC: a row is available when it is said, after all waiting. ``aside`` runs a function off the
    loop, by default in a thread of this stream's own; ``disk`` does so for the file of refused rows. ``notice(text)``
    hears what an operator should read. ``is_patient``: rows beyond the rate wait, as a file does not run away; those of
    others are refused.
    """

    def __init__(
        self,
        source: Source,
        parser: Parser,
        validator: Validator,
        quarantine: Quarantine,
        *,
        room: Callable[[], Awaitable[None]],
        say: Callable[[Observed | Judged], None],
        clock: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        aside: Callable[..., Awaitable[Any]] | None = None,
        disk: Callable[..., Awaitable[Any]] = asyncio.to_thread,
        chance: random.Random | None = None,
        notice: Callable[[str], None] = lambda text: None,
        is_patient: bool = False,
    ) -> None:
        self.name = parser.schema.name
        self.validator = validator
        self.payloads = self.failures = self.unstored = 0
        self.failure = ""
        self._source = source
        self._parser = parser
        self._quarantine = quarantine
        self._room = room
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._thread = OwnThread(f"side stream {self.name}")
        self._aside = aside or self._thread
        self._is_patient = is_patient
        self._disk = disk
        self._chance = chance or random.Random(0)
        self._notice = notice
        self._losses = 0

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                after_s = await self._attempt()
                await self._sleep(max(self._backoff(), after_s))
        finally:
            self._thread.close()
            await self._source.close()

    async def _attempt(self) -> float:
        """Take payloads until the source fails; how long it wants to be left alone, seconds."""
        after_s, reason, began_ns = 0.0, "the source ended", self._clock()
        try:
            async with aclosing(self._source.payloads()) as payloads:
                async for payload in payloads:
                    self.failure = ""
                    await self.take(payload)
                    if self._clock() - began_ns >= HEALTHY_S * 1e9:
                        self._losses = 0
        except SourceError as error:
            after_s, reason = error.after_s, str(error)
        self.failures += 1
        if self.failure != reason:
            self._notice(reason)
        self.failure = reason
        return after_s

    async def take(self, payload: bytes) -> None:
        """Read a payload and hand on what is believed of it."""
        self.payloads += 1
        is_small = len(payload) <= SMALL_BYTES and self._parser.schema.text is None
        rows = self._rows(payload, go_on) if is_small else await self._aside(self._rows, payload, give_way)
        for count, (row, is_history) in enumerate(rows, 1):
            await self._room()
            if self._is_patient and (wait_s := self.validator.wait_s(self._clock())) > 0.0:
                await self._sleep(wait_s)
            self._judge(row, is_history)
            if count % ROWS_BEFORE_OTHERS == 0:
                await asyncio.sleep(0)
        if lines := self._quarantine.taken():
            try:
                await self._disk(self._quarantine.store, lines)
            except OSError as error:
                self.unstored += len(lines)
                self._notice(f"refused rows cannot be stored: {error.strerror or error}")

    def _rows(self, payload: bytes, breathe: Callable[[], None]) -> list[tuple[RawRow, bool]]:
        """What a payload holds, in the order of its own times; for any thread."""
        return self.validator.in_order(self._parser.rows(payload, breathe), breathe)

    def _judge(self, row: RawRow, is_history: bool) -> None:
        now_ns = self._clock()
        verdict = self.validator.take(row, now_ns, is_history)
        if verdict.reason and verdict.reason != "duplicate":
            self._quarantine.add(Line(now_ns, self.name, verdict.reason, verdict.found, row.shown))
        for item in verdict.says:
            self._say(item)

    def _backoff(self) -> float:
        """Seconds until the next try: doubling up to a limit, and between half and all of that by chance."""
        self._losses += 1
        longest = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self._losses - 1, 16))
        return longest * self._chance.uniform(0.5, 1.0)

    def plain(self) -> dict[str, Any]:
        """What a person wants to know of it."""
        validator = self.validator
        return {
            "payloads": self.payloads,
            "received": validator.received,
            "accepted": validator.accepted,
            "rejected": dict(sorted(validator.rejected.items())),
            "quality": round(validator.quality.score, 6),
            "failures": self.failures,
            "failure": self.failure,
            "last_refusal": validator.last_refusal,
            "unstored": self.unstored + self._quarantine.left_out,
        }
