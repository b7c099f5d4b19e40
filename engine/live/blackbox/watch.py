"""Sees to it that an incident of a running daemon is packed, beside the loop, and each kind once a minute at most."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from engine.core.money_facts import Liquidated
from engine.core.records import Record, RiskAction, StrategyStopped
from engine.live.beside import BesideError, beside
from engine.live.blackbox.index import BoxError
from engine.live.blackbox.pack import Order, Packed, boxes, pack, recently, slug
from engine.live.blackbox.pieces import told
from engine.live.config import AppConfig
from engine.live.journal import JournalDamaged, JournalNotWritten
from engine.live.recovery.keeper import Keeper
from engine.live.statedir import StateDir

log = structlog.get_logger("papertape.blackbox")

MODULE: Final = "engine.live.blackbox.pack"
RULES: Final = ("drawdown",)
"""Limits that close all positions by themselves."""

PAUSE_S: Final = 60.0
"""A reason is packed once in so much time."""

LIMIT_S: Final = 300.0
"""Packing takes no longer: meanwhile no snapshot is taken."""


class Watch:
    """A sink of the runner; ``versions`` gives the models' versions in use.

    ``packed`` counts the boxes, ``failed`` those that could not be written, ``last`` is the newest.
    """

    def __init__(self, state: StateDir, config: AppConfig, keeper: Keeper, versions: Callable[[], list[str]]) -> None:
        self.packed = 0
        self.failed = 0
        self.last = ""
        self._state = state
        self._config = config
        self._keeper = keeper
        self._versions = versions
        self._next: dict[str, float] = {}
        self._tasks: set[asyncio.Task[str]] = set()

    def __call__(self, records: Sequence[Record]) -> None:
        """Look at facts that are in the journal; called on the loop, costs nothing but for an incident."""
        for record in records:
            fact = record.fact
            if isinstance(fact, StrategyStopped):
                self._hear("strategy_stopped", f"{fact.strategy}: {fact.reason}", record)
            elif isinstance(fact, RiskAction) and fact.rule in RULES:
                self._hear(fact.rule, f"{fact.scope}: {fact.detail}", record)
            elif isinstance(fact, Liquidated):
                self._hear("liquidated", told(record), record)

    def failure(self, error: BaseException) -> None:
        """The engine itself raised: its last input is still to be written, and its state is of no use any more."""
        self._keeper.is_torn = True
        with suppress(JournalNotWritten):  # then the box ends with what was written
            self._keeper.commit()
        self._hear("failed", f"{type(error).__name__}: {error}", None)

    async def ask(self, detail: str) -> str:
        """A user wants one now; its path.

        Raises:
            BoxError: it cannot be written.
        """
        if not (task := self._start("asked", detail, None)):
            raise BoxError("expected at most one black box a minute of this kind, found one that was just asked for")
        return await task

    async def close(self) -> None:
        """Wait for those under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hear(self, reason: str, detail: str, record: Record | None) -> None:
        if self._config.blackbox.enabled:
            self._start(reason, detail, record)

    def _start(self, reason: str, detail: str, record: Record | None) -> asyncio.Task[str] | None:
        now = time.monotonic()
        if now < self._next.get(reason, 0.0):
            return None
        self._next[reason] = now + PAUSE_S
        section = self._config.blackbox
        position = self._keeper.journal.position
        order = Order(
            folder=str(self._state.path),
            reason=reason,
            detail=detail,
            ns=record.ns if record is not None else self._keeper.now_ns(),
            seq=record.seq if record is not None else 0,
            fact=told(record) if record is not None else "",
            end=(position.segment, position.offset),
            versions=self._versions(),
            window_ns=section.window,
            most_bytes=section.most,
            keep=section.keep,
        )
        task = asyncio.get_running_loop().create_task(self._pack(order), name=f"black box {reason}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def _pack(self, order: Order) -> str:
        with self._keeper.held():  # or the journal could lose its inputs while they are read
            try:
                async with asyncio.timeout(LIMIT_S):
                    packed = msgspec.json.decode(await beside(MODULE, msgspec.json.encode(order)), type=Packed)
            except BesideError as error:
                packed = Packed(error=str(error))
            except TimeoutError:
                packed = Packed(error=f"expected a black box within {LIMIT_S:g} s, found it unfinished: given up")
        if packed.error:
            self.failed += 1
            log.warning("no black box", reason=order.reason, error=packed.error)
            raise BoxError(packed.error)
        self.packed += 1
        self.last = packed.path
        log.warning("black box", reason=order.reason, path=packed.path, next=f"papertape replay {packed.path}")
        return packed.path

    def _done(self, task: asyncio.Task[str]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it was said in the log


def pack_refused(folder: Path, config: AppConfig, error: Exception) -> Path | None:
    """Pack what a start was refused for; None where that was done already, or cannot be.

    The same refusal again, as when a service starts a daemon anew, makes no second box.
    """
    section = config.blackbox
    place = folder / "blackbox"
    reason = "damaged" if isinstance(error, JournalDamaged) else "refused"
    alike = [path for path in boxes(place) if f"-{slug(reason)}" in path.name]
    if not section.enabled or recently(place, reason, time.time_ns()) or (alike and _tells(alike[-1], str(error))):
        return None
    order = Order(
        folder=str(folder),
        reason=reason,
        detail=str(error),
        config=config.plain(),
        damaged=(error.path, error.offset) if isinstance(error, JournalDamaged) else None,
        window_ns=section.window,
        most_bytes=section.most,
        keep=section.keep,
    )
    try:
        return pack(order)
    except BoxError as refusal:
        log.warning("no black box", reason=reason, error=str(refusal))
        return None


def _tells(path: Path, detail: str) -> bool:
    from engine.live.blackbox.index import read_index

    try:
        return read_index(path).detail == detail
    except BoxError:
        return False
