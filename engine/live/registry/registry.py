"""The registry of a running daemon: takes trainings in, hears what becomes of them, and writes both beside the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from engine.core.records import Record
from engine.learn.jobs import LentJob, Seen, TrainJob
from engine.learn.models import Models
from engine.live.registry.cards import Lineage, card_of, encode, lineage_of, program
from engine.live.registry.lives import Lives
from engine.live.registry.log import Event
from engine.live.registry.shelf import told
from engine.live.registry.store import Store, card_path, content_name, lineage_path, model_path
from engine.live.statedir import StateDirError

log = structlog.get_logger("papertape.registry")

RETRY_S: Final = 5.0
"""After a disk that refused, the next try is this much later."""

WAITING: Final = 10_000
"""Events that wait for a disk that refuses; older ones are dropped and counted, as the journal has them too."""


class Registry:
    """``models/`` of a daemon. ``enter`` comes before the first training; ``run`` writes until cancelled.

    ``store`` may be called from any thread, ``heard`` (a sink of the runner) on the loop only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dropped = 0
        self._store = Store(folder)
        self._code: dict[str, str] = {}
        self._lineages: dict[str, tuple[str, Lineage]] = {}
        self._lives = Lives({}, self._tell)
        self._waiting: deque[Event] = deque(maxlen=WAITING)
        self._wake = asyncio.Event()
        self._is_refused = False
        self._writing: asyncio.Future[bool] | None = None

    def enter(self, models: Models, recent: Sequence[Record] = ()) -> None:
        """Write the lineages of a run's models and take up where its log ends; ``recent`` are facts since a snapshot.

        Raises:
            StateDirError: the disk refuses.
        """
        try:
            self._enter(models, recent)
        except OSError as error:
            raise StateDirError(
                f"{error.filename or self.folder}: expected room for the registry of models, found: "
                f"{error.strerror or error}"
            ) from error

    def _enter(self, models: Models, recent: Sequence[Record]) -> None:
        events = self._store.open()
        for remark in self._store.remarks:
            log.warning("registry", found=remark)
        self._code = program()
        slots = {name: models.slot(name) for name in models.names}
        entered = {event.model: event.more["lineage"] for event in events if event.what == "entered"}
        for name, slot in slots.items():
            lineage = lineage_of(slot, self._code)
            data = encode(lineage)
            sha256 = content_name(data)
            self._store.put(lineage_path(self.folder, sha256), data)
            self._lineages[name] = sha256, lineage
            if entered.get(name) != sha256:
                self._tell(Event(what="entered", model=name, more={"lineage": sha256}))
        horizons = {name: max(one.horizon_ns for one in slot.targets) for name, slot in slots.items()}
        self._lives = Lives(horizons, self._tell, max((event.seq for event in events), default=0))
        for event in events:
            if event.model in slots:
                life = self._lives.models[event.model]
                if event.what in ("swapped", "found"):
                    life.tally.version = event.version
                if event.what in ("swapped", "scored"):
                    life.seen = max(life.seen, event.seq)
        self._lives(recent)
        for name, slot in slots.items():
            if slot.version != self._lives.version(name):  # facts that were never written here, or a run learned on
                self._lives.models[name].tally.version = slot.version
                self._tell(Event(what="found", model=name, version=slot.version))
        self._store.append(list(self._waiting))
        self._waiting.clear()

    def store(self, job: TrainJob | LentJob, seen: Seen, version: str, payload: bytes, seconds: float) -> None:
        """Keep what a training gave that saw these rows, with its card; nothing of a training that failed.

        Raises:
            OSError: the disk refuses: the payload must not be used, as no replay could have it.
        """
        if not payload:
            return
        name = job.settings.name
        life = self._lives.models.get(name)
        lineage, about = self._lineages.get(name, ("", None))
        card = card_of(
            job,
            seen,
            payload,
            lineage=lineage,
            code=about.code if about is not None else program(),
            trigger=life.trigger if life is not None else "",
            requested_ns=life.requested_ns if life is not None else 0,
            seconds=seconds,
            parent=life.version if life is not None else "",
        )
        path, payload_path = card_path(self.folder, version), model_path(self.folder, version)
        new = [one for one in (path, payload_path) if not one.exists()]
        try:
            if path in new:  # the same content may be made again: its first card stays
                self._store.put(path, encode(card))
            self._store.put(payload_path, payload)
            more: dict[str, Any] = {"card": content_name(path.read_bytes()), "parent": card.parent}
            more |= {"trigger": card.trigger, "seed": card.seed, "seconds": card.seconds}
            self._store.append([Event(what="stored", model=name, version=version, ns=card.requested_ns, more=more)])
        except OSError:
            self._store.forget(new)  # nobody has heard of them, and a full disk has better uses
            raise

    def heard(self, records: Sequence[Record]) -> None:
        """Facts that are in the journal."""
        self._lives(records)

    def card(self, prefix: str) -> Mapping[str, Any]:
        """The card and the life of a version, as plain values; reads files.

        Raises:
            RegistryError: no such version, or several.
        """
        return told(self.folder, prefix)

    async def run(self) -> None:
        """Write what was heard until cancelled; a disk that refuses is said once, and tried again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._writing = asyncio.ensure_future(self._written())
            if not await asyncio.shield(self._writing):
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def close(self) -> None:
        """The scores of the versions at work, and the last of all that was heard."""
        if self._writing is not None:
            await self._writing
        self._lives.close()
        if not await self._written():
            log.warning("registry left behind", events=len(self._waiting), next="the journal has them")

    async def _written(self) -> bool:
        """Whether all that waits is in the log now."""
        events = list(self._waiting)
        self._waiting.clear()
        try:
            await asyncio.to_thread(self._store.append, events)
        except OSError as error:
            if not self._is_refused:
                log.warning(
                    "registry not written",
                    folder=str(self.folder),
                    error=error.strerror or str(error),
                    next=f"tried again each {RETRY_S:g} s; the models at work go on",
                )
            self._is_refused = True
            kept = [*events, *self._waiting]
            self.dropped += max(0, len(kept) - WAITING)
            self._waiting = deque(kept, WAITING)
            return False
        if self._is_refused:
            log.info("registry written again", dropped=self.dropped)
        self._is_refused = False
        return True

    def _tell(self, event: Event) -> None:
        self.dropped += len(self._waiting) == WAITING
        self._waiting.append(event)
        self._wake.set()
