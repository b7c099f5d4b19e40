"""Facts that wait for the disk: written down, but not yet safe from a loss of power, and so not yet told outside."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog

from engine.core.records import Record
from engine.live.journal import Position

log = structlog.get_logger("papertape.journal")

MOST: Final = 65_536
"""Facts and commits that wait at most; a busy run makes as many in minutes, a disk answers in milliseconds."""

PLAIN, LOUD, NEEDED = 0, 1, 2
"""What may be left untold first; what a person must hear of; what the run itself waits for."""


class Commit(NamedTuple):
    """Facts that are safe when the journal is, up to a position; ``then`` are told of that."""

    position: Position
    facts: list[Sequence[Record]]
    then: list[Callable[[], None]]


class Held:
    """Bounded: beyond ``most`` the plain facts are left untold (they are in the journal), if need be the loud ones too.

    ``rank`` says what a fact is. ``then`` of what was left is not called: who waits for it asks again when it starts.
    ``dropped`` counts the facts, and one line a time says it.
    """

    def __init__(self, rank: Callable[[Record], int], most: int = MOST) -> None:
        self.dropped = 0
        self._rank = rank
        self._most = most
        self._commits: deque[Commit] = deque()
        self._facts = 0
        self._is_over = False

    def __len__(self) -> int:
        """Facts that wait."""
        return self._facts

    @property
    def oldest(self) -> Position | None:
        """Up to where the journal must be durable before anything is told; None: nothing waits."""
        return self._commits[0].position if self._commits else None

    def put(self, position: Position, facts: list[Sequence[Record]], then: list[Callable[[], None]]) -> None:
        """What one commit wrote down."""
        self._commits.append(Commit(position, facts, then))
        self._facts += sum(len(records) for records in facts)
        if self._facts + len(self._commits) > self._most:
            self._thin()

    def take(self, durable: Position) -> list[Commit]:
        """What rests on nothing but what is durable, in order."""
        found = []
        while self._commits and self._commits[0].position <= durable:
            found.append(self._commits.popleft())
            self._facts -= sum(len(records) for records in found[-1].facts)
        if self._is_over and not self._commits:
            self._is_over = False
            log.info("the disk caught up", untold=self.dropped)
        return found

    def _thin(self) -> None:
        """Make one commit of all that waits, with what is worth it."""
        kept = [record for commit in self._commits for records in commit.facts for record in records]
        for least in (LOUD, NEEDED):
            kept = [record for record in kept if self._rank(record) >= least]
            if len(kept) <= self._most // 2:
                break
        self.dropped += self._facts - len(kept)
        last = self._commits[-1].position
        self._commits.clear()
        self._commits.append(Commit(last, [kept], []))
        self._facts = len(kept)
        if not self._is_over:
            self._is_over = True
            log.error(
                "the disk is so far behind that facts are left untold",
                expected=f"an fsync before {self._most:,} facts and commits wait for it",
                untold=self.dropped,
                next='they are in the journal; a faster disk, or [journal] fsync = "1s"',
            )
