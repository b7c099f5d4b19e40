"""The begin of a session: the journal opened, the past of the run brought back, and what happened meanwhile said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog

from adapters.contract import Venue
from adapters.entry import Entry, EntryKind
from adapters.feed import Feed
from adapters.tape import has_end, read_tape
from adapters.tape_heal import heal_tape
from adapters.tape_types import TapeError
from engine.core.types import Instrument
from engine.live.config import AppConfig
from engine.live.journal import Journal, JournalDamaged
from engine.live.plugins import PluginError, look_beside, target
from engine.live.recovery.code_print import code_print
from engine.live.recovery.inputs import SessionMark, count_inputs, lines_after
from engine.live.recovery.recover import Past, recover
from engine.live.recovery.state import Recovered, RecoveryError
from engine.live.registry.store import NO_MODEL
from engine.live.statedir import StateDir

log = structlog.get_logger("papertape.recovery")


class Opened(NamedTuple):
    """A journal at work, the run that it belongs to (None: a new one), and the print of today's code."""

    journal: Journal
    past: Recovered | None
    code: dict[str, str]

    @property
    def number(self) -> int:
        """Of the session that begins, from 1."""
        return self.past.session + 1 if self.past is not None else 1

    def mark(self, config: AppConfig, instruments: Sequence[Instrument], tape: Path | None) -> SessionMark:
        """What the journal says of the session."""
        name = tape.name if tape is not None else ""
        return SessionMark(
            number=self.number,
            tape=name,
            config=json.dumps(config.plain()),
            instruments=msgspec.json.encode(instruments).decode(),
        )


def open_past(
    state: StateDir, config: AppConfig, instruments: list[Instrument], venues: Mapping[str, type[Venue]]
) -> Opened:
    """Open a folder's journal and bring its run back.

    Raises:
        JournalDamaged, JournalNotWritten: see there.
        RecoveryError: the run cannot go on as it is; the text says what to do.
    """
    modules = modules_of(config)
    code = code_print(modules)
    now = Past(config, instruments, venues, code, tuple({module.partition(".")[0] for module in modules}))
    journal = Journal.open(state.journal, config.journal.settings(), run=config.run.name)
    try:
        past = recover(state, journal, now)
    except (RecoveryError, JournalDamaged):
        journal.close()
        raise
    if past is not None:
        journal.facts(past.missing)
        journal.commit()
        _tell(past)
    return Opened(journal, past, code)


def modules_of(config: AppConfig) -> list[str]:
    """The modules of the strategies, venues and models that the config names; those beside the config too."""
    look_beside()
    found = []
    for group, sections in (
        ("strategies", [section.use for section in config.strategy]),
        ("venues", [section.use for section in config.venue.values()]),
        ("models", [section.use for section in config.model]),
    ):
        for use in sections:
            try:
                found.append(target(group, use).partition(":")[0])
            except PluginError:
                continue  # not a plug-in by this name: a kind of our own
    return [module for module in found if module not in ("river", "sklearn")]


def _tell(past: Recovered) -> None:
    told = past.told
    for remark in told.remarks:
        log.warning("recovery", found=remark)
    orders = past.kept.engine.desk.orders
    log.info(
        "recovered",
        snapshot=told.snapshot or "none: from the start",
        inputs=told.inputs,
        facts=told.facts,
        completed=told.completed,
        seconds=round(told.seconds, 3),
        session=past.session + 1,
        working_orders=len(orders),
    )


def farewells(past: Recovered, now_ns: int, missed: Sequence[Mapping[str, Any]] = ()) -> Iterator[Entry]:
    """What goes on the tape first: every connection ended with the process, and nobody was here until ``now_ns``.

    ``missed``: what the venues tell of the time in between, see ``ask_missed``.
    """
    for name, feed in past.kept.feeds.items():
        if feed.is_open:
            yield Entry(EntryKind.LOST, past.last_ns, name, "restart")
    for told in missed:
        yield Entry(EntryKind.COMMAND, past.last_ns, "", "missed", json.dumps(told).encode())
    yield Entry(EntryKind.COMMAND, past.last_ns, "", "away", b'{"until_ns":%d}' % now_ns)


def lost_trainings(past: Recovered) -> list[tuple[str, str, bytes]]:
    """What the models wait for and nobody will bring: told as failed trainings."""
    return [(name, NO_MODEL, b"") for name in past.kept.models.in_flight()]


def reconnected(feeds: Mapping[str, Feed], rest_urls: Mapping[str, str]) -> dict[str, Feed]:
    """The feeds of before, at the venues' addresses of today."""
    for name, feed in feeds.items():
        feed.rest_url = rest_urls[name]
    return dict(feeds)


def set_aside_unbegun(state: StateDir, number: int) -> None:
    """Rename tapes of this session or later ones: killed before their journal said that they had begun.

    Nothing on them was ever applied as far as anybody knows, and this session's tape takes their number.
    """
    for path in sorted(state.tape.glob("*.ptz"), reverse=True):
        try:
            if read_tape(path, allow_torn=True)[0].session < number:
                return
        except TapeError:
            pass  # not even its header was stored
        path.rename(path.with_name(f"{path.name}.unbegun"))
        log.warning("a tape of a session that never began is set aside", tape=str(path))


def heal(state: StateDir, past: Recovered) -> None:
    """Bring the tapes of earlier sessions in step with the journal; for a thread of its own.

    Not only that of the last one: it may have been killed before it had done this for the one before it.
    """
    for path in sorted(state.tape.glob("*.ptz")):
        try:
            session = read_tape(path, allow_torn=True)[0].session
            if session < past.session and not has_end(str(path)):
                _heal(state, path, session, count_inputs(state.journal, session))
            elif session == past.session:
                _heal(state, path, session, past.tape_entries)
        except (OSError, ValueError, TapeError, RecoveryError, JournalDamaged) as error:
            log.warning("the tape of an earlier session stays torn", tape=str(path), error=str(error))


def _heal(state: StateDir, path: Path, session: int, most: int) -> None:
    lines: Callable[[int], Iterator[bytes]] = partial(lines_after, state.journal, session)
    healed = heal_tape(path, most, lines)
    if any(healed):
        log.info("tape brought in step with the journal", tape=str(path), added=healed.added, cut=healed.cut)
