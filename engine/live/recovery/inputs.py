"""Where the inputs of a run are: in the journal until compaction drops them, and on a tape a session for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.entry import Entry
from adapters.tape import NoEntry, decode_entry, read_tape
from adapters.tape_types import TapeError
from engine.live.journal import Frame, Kind, Position, decode_header, decode_mark, read
from engine.live.recovery.state import FRESH, RecoveryError

SESSION: Final = "session"
PLACE: Final = "place"


class SessionMark(msgspec.Struct, frozen=True, kw_only=True):
    """The mark at the begin of a session: its number from 1, the name of its tape (empty: none), what it runs under.

    ``config`` and ``instruments`` are JSON: some of their numbers are too large for msgpack.
    """

    kind: str = SESSION
    number: int
    tape: str
    config: str
    instruments: str


class PlaceMark(msgspec.Struct, frozen=True, kw_only=True):
    """A mark that says how many entries of its session's tape come before it: behind a snapshot (its file is named),
    and at the begin of a segment, for those before it may lose their inputs.
    """

    kind: str = PLACE
    session: int
    tape_entries: int
    snapshot: str = ""


def journal_inputs(
    folder: Path, position: Position | None, on_mark: Callable[[dict[str, Any]], None] | None = None
) -> Iterator[Entry]:
    """The inputs of a journal from a position on, in order; ``on_mark`` hears the marks between them.

    Raises:
        JournalDamaged: some of it is not what was written.
        RecoveryError: a whole frame that is no entry: written by another program.
    """
    for frame in read(folder, position):
        if frame.kind is Kind.INPUT:
            try:
                yield decode_entry(frame.payload)
            except NoEntry as error:
                raise RecoveryError(f"{folder}: {frame.position}: {error}; {FRESH}") from error
        elif frame.kind is Kind.MARK and on_mark is not None:
            on_mark(decode_mark(frame.payload))


def tape_inputs(tapes: Path, sessions: list[SessionMark], journal: Path) -> Iterator[Entry]:
    """All inputs since the start, from the tapes of all sessions; the end of the last one from the journal.

    Raises:
        RecoveryError: a session was not recorded, or its tape is gone or damaged.
    """
    for number, session in enumerate(sessions):
        is_last = number == len(sessions) - 1
        path = tapes / session.tape
        if not session.tape:
            raise RecoveryError(f"{tapes}: expected a tape of session {session.number}, found it ran without; {FRESH}")
        count = 0
        try:
            for entry in read_tape(path, allow_torn=is_last)[1]:
                count += 1
                yield entry
        except TapeError as error:
            raise RecoveryError(f"{error}; bring the tape back, {FRESH}") from error
        if is_last:
            yield from (decode_entry(line) for line in lines_after(journal, session.number, count))


class Stretch(msgspec.Struct):
    """Where a session's part of the journal begins that has inputs, and how many inputs it had up to its end."""

    begins: Position
    inputs: int


def stretches(journal: Path, is_over: Callable[[], bool] = lambda: False) -> dict[int, Stretch]:
    """The parts of all sessions by their number, in one pass; one whose last inputs the journal has lost is left out.

    Raises:
        Abandoned: ``is_over`` said so in the middle.
    """
    found: dict[int, Stretch] = {}
    for session, known, frame in _frames(journal, None):
        if is_over():
            raise Abandoned(f"{journal}: expected time to read it, found that the run ends")
        if session not in found or found[session].inputs < 0:
            found[session] = Stretch(frame.position, -1)
        found[session].inputs = -1 if known is None else known
    return {session: one for session, one in found.items() if one.inputs >= 0}


class Abandoned(Exception):
    """Work beside the run was given up, as nobody waits for it any more."""


def lines_after(journal: Path, session: int, count: int, begins: Position | None = None) -> Iterator[bytes]:
    """The lines of a session's inputs after its first ``count``, without newlines; ``begins`` is where its part does.

    Raises:
        RecoveryError: the journal has not kept them.
    """
    return (line for number, line in _numbered(journal, session, begins) if number >= count)


def count_inputs(journal: Path, session: int) -> int:
    """How many inputs of a session the journal has, or had before it lost them.

    Raises:
        RecoveryError: it does not say.
    """
    part = stretches(journal).get(session)
    if part is None:
        raise RecoveryError(f"{journal}: expected the inputs of session {session}, found that they are gone")
    return part.inputs


def _numbered(journal: Path, session: int, begins: Position | None = None) -> Iterator[tuple[int, bytes]]:
    """The inputs of a session that the journal still has, each with how many of it come before."""
    for current, known, frame in _frames(journal, begins):
        if current > session:
            return
        if current == session and frame.kind is Kind.INPUT:
            if known is None:
                raise RecoveryError(f"{journal}: {frame.position}: expected a mark before this input, found none")
            yield known - 1, frame.payload


def _frames(journal: Path, begins: Position | None) -> Iterator[tuple[int, int | None, Frame]]:
    """Marks and inputs, each with its session and how many of that one's inputs there are up to it, if it is known."""
    known: int | None = None
    current = 0
    is_compacted = False  # marks are left there, but not the inputs behind them
    for frame in read(journal, begins):
        if frame.kind is Kind.HEADER:
            is_compacted = decode_header(frame.payload).compacted
            known = None if is_compacted else known
            continue
        if frame.kind is Kind.MARK:
            fields = decode_mark(frame.payload)
            if fields.get("kind") == SESSION:
                current, known = int(fields["number"]), 0
            elif fields.get("kind") == PLACE:
                current, known = int(fields["session"]), int(fields["tape_entries"])
            else:
                continue
            known = None if is_compacted else known
        elif frame.kind is Kind.INPUT:
            known = known + 1 if known is not None else None
        else:
            continue
        yield current, known, frame
