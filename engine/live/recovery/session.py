"""The begin of a session: the journal opened, the past of the run brought back, and what happened meanwhile said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from engine.live.config import AppConfig, ConfigError
from engine.live.journal import Journal, JournalDamaged
from engine.live.recovery.code_print import code_print, modules_of
from engine.live.recovery.inputs import Abandoned, SessionMark, Stretch, lines_after, stretches
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
        ConfigError: the configuration names what does not exist.
    """
    return open_as(state, Past(config, instruments, venues, code_print(modules_of(config))))


def open_as(state: StateDir, now: Past) -> Opened:
    """As ``open_past``, for a caller that starts often and knows the print of its code.

    Raises:
        JournalDamaged, JournalNotWritten, RecoveryError, ConfigError: as ``open_past``.
    """
    journal = Journal.open(state.journal, now.config.journal.settings(), run=now.config.run.name)
    try:
        past = recover(state, journal, now)
    except (RecoveryError, JournalDamaged, ConfigError):
        if journal.cut is not None:
            log.warning("recovery", found=f"cut off {journal.cut}")
        journal.close()
        raise
    if past is not None:
        journal.facts(past.missing)
        journal.commit()
        _tell(past)
    return Opened(journal, past, dict(now.code))


def _tell(past: Recovered) -> None:
    told = past.told
    for remark in told.remarks:
        log.warning("recovery", found=remark)
    for change in told.changed:
        log.warning("the configuration changed, and the run goes on with it", key=change)
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


def farewells(
    past: Recovered, config: AppConfig, now_ns: int, missed: Sequence[Mapping[str, Any]] = ()
) -> Iterator[Entry]:
    """What goes on the tape first: every connection ended with the process, and nobody was here until ``now_ns``.

    ``missed``: what the venues tell of the time in between, see ``ask_missed``. A configuration that changed holds from
    then on: what was missed is judged under the old one.
    """
    for name, feed in past.kept.feeds.items():
        if feed.is_open:
            yield Entry(EntryKind.LOST, past.last_ns, name, "restart")
    for told in missed:
        yield Entry(EntryKind.COMMAND, past.last_ns, "", "missed", json.dumps(told).encode())
    yield Entry(EntryKind.COMMAND, past.last_ns, "", "away", b'{"until_ns":%d}' % now_ns)
    if past.changes:
        told = {"config": config.plain(), "changed": "; ".join(past.changes)}
        # A strategy that went is not called any more for what it wanted to be woken for meanwhile.
        yield Entry(EntryKind.COMMAND, max(past.last_ns, now_ns - 1), "", "configure", json.dumps(told).encode())


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


def heal(state: StateDir, past: Recovered, is_over: Callable[[], bool] = lambda: False) -> None:
    """Bring the tapes of earlier sessions in step with the journal; for a thread of its own, until ``is_over`` says so.

    Not only that of the last one: it may have been killed before it had done this for the one before it. However many
    are torn, the journal is read through once, and then each session's part.
    """
    torn: dict[Path, int] = {}
    for path in sorted(state.tape.glob("*.ptz")):
        try:
            session = read_tape(path, allow_torn=True)[0].session
            if session == past.session or (session < past.session and not has_end(str(path))):
                torn[path] = session
        except (OSError, ValueError, TapeError) as error:
            _stays_torn(path, error)
    try:
        parts = stretches(state.journal, is_over) if torn else {}
    except Abandoned:
        return
    except (OSError, RecoveryError, JournalDamaged) as error:
        for path in torn:
            _stays_torn(path, error)
        return
    for path, session in torn.items():
        if is_over():
            return
        try:
            _heal(state, path, session, past, parts.get(session))
        except (OSError, ValueError, TapeError, RecoveryError, JournalDamaged) as error:
            _stays_torn(path, error)


def _stays_torn(path: Path, error: Exception) -> None:
    log.warning("the tape of an earlier session stays torn", tape=str(path), error=str(error))


def _heal(state: StateDir, path: Path, session: int, past: Recovered, part: Stretch | None) -> None:
    if part is None:
        raise RecoveryError(f"{state.journal}: expected the inputs of session {session}, found that they are gone")
    most = past.tape_entries if session == past.session else part.inputs
    healed = heal_tape(path, most, lambda count: lines_after(state.journal, session, count, part.begins))
    if any(healed):
        log.info("tape brought in step with the journal", tape=str(path), added=healed.added, cut=healed.cut)
