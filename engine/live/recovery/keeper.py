"""The memory of a live run: every input and fact goes to the journal, and now and then all of the state to a snapshot.

``entry`` and ``facts`` only append. ``commit`` hands it to the operating system, after which a killed process loses
none of it; the runner shows facts to anybody only after that.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import structlog

import engine
from engine.core.records import Record
from engine.live.beside import BesideError
from engine.live.config import AppConfig
from engine.live.journal import Journal, JournalDamaged
from engine.live.journal.compaction import compact_beside, wants
from engine.live.recovery.code_print import module_print
from engine.live.recovery.codec import StateError, freeze
from engine.live.recovery.inputs import PlaceMark, SessionMark
from engine.live.recovery.snapshots import SCHEMA, Head, SnapshotUnusable, head_name, newest, store, unpack
from engine.live.recovery.state import Kept
from engine.live.statedir import StateDir

log = structlog.get_logger("papertape.journal")

RETRY_NS: Final = 60 * 10**9
"""After a state that cannot be stored, or a disk that refuses, the next try is this much later."""


class Keeper:
    """One session's journal and snapshots; ``now_ns`` is the daemon's clock, ``kept`` gives the state as it stands.

    ``stored`` says how many entries are in the file of the tape; None without a tape. ``is_healed``: the tape of the
    session before is complete, or never will be. Inputs leave the journal only when a tape has them. ``is_torn``: the
    engine raised within an input, so that its state must not be kept.
    """

    def __init__(
        self,
        state: StateDir,
        journal: Journal,
        config: AppConfig,
        code: Mapping[str, str],
        kept: Callable[[], Kept],
        now_ns: Callable[[], int],
        *,
        session: SessionMark,
        stored: Callable[[], int] | None = None,
    ) -> None:
        self.journal = journal
        self.tape_entries = 0
        self.snapshots = 0
        self.longest_freeze_ns = 0
        self.snapshot_ns = 0
        self.snapshot_bytes = 0
        self.failed = 0
        self._state = state
        self._config = config
        self._code = dict(code)
        self._kept = kept
        self.now_ns = now_ns
        self._session = session
        self._may_compact = True
        self._stored = stored
        self._segment = journal.position.segment
        self.is_healed = session.number == 1
        self.is_torn = False
        self._next_ns = 0
        self._storing: asyncio.Task[None] | None = None
        self._is_compacting = False
        self._holders = 0
        journal.mark(msgspec.to_builtins(session))

    def entry(self, line: bytes) -> None:
        """An input, as on the tape, without its newline; before it is applied."""
        self.journal.input(line)
        self.tape_entries += 1

    def facts(self, records: Sequence[Record]) -> None:
        """What followed from it."""
        self.journal.facts(records)

    def commit(self) -> None:
        """All so far survives the process.

        Raises:
            JournalNotWritten: the disk refuses: nothing since the last commit may be shown.
        """
        self.journal.commit()
        if self.journal.position.segment != self._segment:
            self._segment = self.journal.position.segment
            self._mark_place()

    @property
    def waits_for_disk(self) -> bool:
        """Whether a fact may be shown only when it survives a loss of power too: ``fsync = "always"``."""
        return self.journal.settings.sync_every_ns == 0

    def _mark_place(self, snapshot: str = "") -> None:
        place = PlaceMark(session=self._session.number, tape_entries=self.tape_entries, snapshot=snapshot)
        self.journal.mark(msgspec.to_builtins(place))

    def reloaded(self, strategies: Iterable[str]) -> None:
        """The code of these was read anew: what follows depends on it, and a start needs a state that it made."""
        slots = self._kept().engine.roster.slots
        modules = {type(slots[name].strategy).__module__ for name in strategies if name in slots}
        self._code |= {module: module_print(module) for module in modules if module in self._code}
        self._next_ns = 0

    def is_due(self) -> bool:
        """Whether it is time for a snapshot; one at a time, and none while somebody reads the journal."""
        return self._storing is None and not self._holders and self.now_ns() >= self._next_ns

    def snapshot(self) -> asyncio.Task[None] | None:
        """Take the state as it stands and store it beside the loop; to be called between inputs only.

        A state that cannot be stored is said once a minute; the run goes on, and a start replays from the snapshot
        before.

        Raises:
            JournalNotWritten: as ``commit``.
        """
        begun_ns = self.now_ns()
        self.commit()
        self.journal.commit()  # of the mark at the begin of a segment too
        kept = self._kept()
        position = self.journal.position
        head = Head(
            schema=SCHEMA,
            papertape=engine.__version__,
            code=self._code,
            config=json.dumps(self._config.plain()),
            session=self._session.number,
            seq=kept.engine.seq,
            digest=kept.engine.digest,
            now_ns=kept.engine.now_ns,
            position=position,
            tape=self._session.tape,
            tape_entries=self.tape_entries,
        )
        try:
            data = freeze(kept)
        except StateError as error:
            self.failed += 1
            self._next_ns = begun_ns + RETRY_NS
            log.warning("no snapshot", error=str(error), next="in a minute; a start now replays from the one before")
            return None
        self._mark_place(head_name(head))
        self.longest_freeze_ns = max(self.longest_freeze_ns, self.now_ns() - begun_ns)
        self._next_ns = begun_ns + self._config.journal.snapshot_every
        self._storing = asyncio.get_running_loop().create_task(self._store(head, data), name="snapshot")
        return self._storing

    async def _store(self, head: Head, data: bytes) -> None:
        try:
            path = await asyncio.to_thread(store, self._state.snapshots, head, data)
            self.snapshots += 1
            self.snapshot_ns = self.now_ns()
            self.snapshot_bytes = path.stat().st_size
            if self._may_compact and not self._holders:
                await self._compact()
        except (JournalDamaged, SnapshotUnusable) as error:
            self.failed += 1
            self._may_compact = False
            log.error("the journal is not made smaller any more", error=str(error))
        except BesideError as error:
            self.failed += 1
            log.warning(
                "the journal was not made smaller", error=str(error), next="tried again after the next snapshot"
            )
        except OSError as error:
            self.failed += 1
            self._next_ns = self.now_ns() + RETRY_NS
            log.warning("no snapshot", error=str(error), next="in a minute; a start now replays from the one before")
        finally:
            self._storing = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """While it lasts no input and no snapshot goes: somebody reads them."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1

    async def _compact(self) -> None:
        """What stands before the older of the snapshots is needed by no start of this program."""
        paths = list(newest(self._state.snapshots))
        if len(paths) > 1:
            head, _ = await asyncio.to_thread(unpack, paths[-1])
            if self._stored is not None:
                is_ours = head.session == self._session.number
                # Before it stand inputs of earlier sessions too, and until a tape has them they are nowhere else.
                if not self.is_healed or (is_ours and self._stored() < head.tape_entries):
                    return
            section = self._config.journal
            if not wants(self.journal.folder, head.position, section.quota):
                return
            self._is_compacting = True
            try:
                done = await compact_beside(
                    self.journal.folder, head.position, quota_bytes=section.quota, keep=section.keep
                )
            finally:
                self._is_compacting = False
            if done.warning:
                log.warning("journal", found=done.warning)

    async def close(self) -> None:
        """A last snapshot, and the journal made durable.

        Raises:
            JournalNotWritten: the disk refuses.
        """
        if self._storing is not None:
            running = self._storing
            if self._is_compacting:  # at whatever point it ends, the journal is whole
                running.cancel()
            await asyncio.wait({running})
            if not running.cancelled():
                running.result()
        if self.journal.failure is None and not self.is_torn and (storing := self.snapshot()) is not None:
            await storing
        await asyncio.to_thread(self.journal.close)

    def plain(self) -> dict[str, Any]:
        """What a person wants to know of it."""
        journal = self.journal
        return {
            "session": self._session.number,
            "entries": journal.entries,
            "bytes": journal.written_bytes,
            "unsynced_bytes": journal.backlog_bytes,
            "longest_sync_ms": round(journal.longest_sync_ns / 1e6, 3),
            "snapshots": self.snapshots,
            "snapshot_bytes": self.snapshot_bytes,
            "snapshot_age_s": round((self.now_ns() - self.snapshot_ns) / 1e9, 1) if self.snapshot_ns else None,
            "longest_freeze_ms": round(self.longest_freeze_ns / 1e6, 3),
            "failed": self.failed,
        }
