"""All that a daemon writes down while it lives, tape, journal and snapshots, and what it begins a session with."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import structlog

import engine
from adapters.contract import Venue
from adapters.entry import Entry, EntryKind
from adapters.feed import Feed
from adapters.tape import TapeWriter, encode_entry
from adapters.tape_types import TapeHeader, VenueHeader
from engine.core.events import Command
from engine.core.types import Instrument
from engine.live.build import Built, build_engine
from engine.live.clock import Clock
from engine.live.config import AppConfig
from engine.live.recovery.keeper import Keeper
from engine.live.recovery.missed import ask_missed
from engine.live.recovery.session import (
    Opened,
    farewells,
    heal,
    lost_trainings,
    open_past,
    reconnected,
    set_aside_unbegun,
)
from engine.live.recovery.state import Kept, Recovered
from engine.live.runner import Runner
from engine.live.statedir import StateDir
from engine.live.venues import Reached

log = structlog.get_logger("papertape.recovery")

HEAL_S = 20.0
"""So long a stop waits for the tapes of earlier sessions."""


class Memory:
    """One session's. ``recover`` comes first, ``open`` before the first input, ``begin`` before the venues connect.

    ``past`` is the run that goes on, None for a new one; ``clock`` never runs back behind its last input.
    """

    def __init__(self, config: AppConfig, state: StateDir) -> None:
        self.clock = Clock()
        self.past: Recovered | None = None
        self.keeper: Keeper | None = None
        self.tape: TapeWriter | None = None
        self._config = config
        self._state = state
        self._opened: Opened | None = None
        self._missed: list[dict[str, Any]] = []

    def recover(
        self, reached: Sequence[Reached], instruments: list[Instrument], venues: Mapping[str, type[Venue]]
    ) -> tuple[Built, dict[str, Feed]]:
        """The engine and feeds of the run in the folder, or new ones.

        Raises:
            ConfigError: the config names what does not exist.
            RecoveryError, JournalDamaged, JournalNotWritten: what is there cannot be gone on with.
        """
        if self._config.journal.enabled:
            self._opened = open_past(self._state, self._config, instruments, venues)
            self.past = self._opened.past
        if self.past is None:
            built = build_engine(self._config, instruments, inline_training=False, venues=venues)
            return built, _new_feeds(reached, instruments)
        self.clock = Clock(after_ns=self.past.last_ns + 1)
        if self.clock.behind_ns:
            log.warning("the machine's clock was set back; time goes on from the last input", ns=self.past.last_ns)
        kept = self.past.kept
        return Built(kept.engine, kept.models), reconnected(kept.feeds, {one.name: one.rest_url for one in reached})

    def open(self, built: Built, feeds: dict[str, Feed], shown: Callable[[], Kept]) -> int:
        """Begin the tape and the session in the journal; ``shown`` gives the state for snapshots. The time, ns UTC.

        Raises:
            TapeNotWritten: the disk refuses.
        """
        started_ns = self.clock.now_ns()
        instruments = list(built.engine.instruments)  # the venue's may have other limits today; units are the same
        if self._config.record.enabled:
            if self._opened is not None and self.past is not None:
                set_aside_unbegun(self._state, self._opened.number)
            self.tape = TapeWriter(*self._tape_of(started_ns, instruments, feeds))
        if self._opened is not None:
            tape = self.tape
            self.keeper = Keeper(
                self._state,
                self._opened.journal,
                self._config,
                self._opened.code,
                shown,
                self.clock.now_ns,
                session=self._opened.mark(self._config, instruments, tape.path if tape is not None else None),
                stored=(lambda: tape.stored) if tape is not None else None,
            )
        return started_ns

    def write(self, entry: Entry) -> None:
        """An input, before it is applied."""
        if self.tape is None and self.keeper is None:
            return
        line = encode_entry(entry)
        if self.tape is not None:
            self.tape.write_line(line)
        if self.keeper is not None:
            self.keeper.entry(line[:-1])

    async def ask_missed(self, reached: Sequence[Reached]) -> None:
        """Ask the venues what traded while nobody was here."""
        if self.past is not None:
            self._missed = await ask_missed(reached, self.past, self.clock.now_ns())

    def begin(self, runner: Runner, feeds: Mapping[str, Feed]) -> None:
        """Put the first inputs on the bus: what became of the session before, and the start."""
        past = self.past
        if past is not None:
            fills, notable = past.kept.shown
            runner.recent_fills.extend(fills)
            runner.notable.extend(notable)
            runner.remember(past.recent)
            for entry in farewells(past, self._config, self.clock.now_ns(), self._missed):
                self.write(entry)
                if entry.kind is EntryKind.LOST:
                    for batch in feeds[entry.source].apply(entry):
                        if isinstance(batch, np.ndarray):
                            runner.bus.put_market(batch, 0)
                else:
                    runner.bus.put_command(Command(entry.ns, entry.token, json.loads(entry.data)))
            for waiting in lost_trainings(past):
                runner.model_ready(*waiting)
        if not runner.engine.commands.is_running:
            runner.command("start")

    async def heal(self) -> None:
        """Complete the tape of the session before, beside the loop."""
        over = threading.Event()
        try:
            if self.past is not None:
                await asyncio.to_thread(heal, self._state, self.past, over.is_set)
        finally:
            over.set()  # a stop does not wait for it: the next session goes on with what is left
        if self.keeper is not None:
            self.keeper.is_healed = True

    async def healed(self, healing: asyncio.Task[None] | None) -> None:
        """Wait a while for ``heal``, as a replay wants whole tapes; what is left then is the next session's."""
        if healing is not None:
            await asyncio.wait({healing}, timeout=HEAL_S)
            healing.cancel()

    def close_tape(self) -> None:
        """The end of the tape; an empty one is removed, for it would pass for a session."""
        if self.tape is not None:
            self.tape.close()
            if not self.tape.entries:
                self.tape.path.unlink(missing_ok=True)

    async def close_journal(self) -> None:
        """A last snapshot, and all of it durable."""
        if self.keeper is not None:
            await self.keeper.close()
        elif self._opened is not None:
            await asyncio.to_thread(self._opened.journal.close)

    def _tape_of(
        self, started_ns: int, instruments: list[Instrument], feeds: Mapping[str, Feed]
    ) -> tuple[Path, TapeHeader]:
        number = self._opened.number if self._opened is not None else 1
        stamp = datetime.fromtimestamp(started_ns / 1e9, UTC).strftime("%Y%m%dT%H%M%S")
        name = stamp if number == 1 else f"{stamp}_{number:04d}"
        header = TapeHeader(
            started_ns=started_ns,
            venues={
                feed.name: VenueHeader(self._config.venue[feed.name].use, list(feed.instruments))
                for feed in feeds.values()
            },
            config=self._config.plain(),
            instruments=instruments,
            papertape=engine.__version__,
            session=number,
        )
        return self._state.tape / f"{name}.ptz", header


def _new_feeds(reached: Sequence[Reached], instruments: Sequence[Instrument]) -> dict[str, Feed]:
    places = {instrument.name: index for index, instrument in enumerate(instruments)}
    return {
        one.name: Feed(
            one.name,
            one.venue,
            {symbol: (places[item.name], item) for symbol, item in one.instruments.items()},
            one.rest_url,
        )
        for one in reached
    }
