"""The parts of a black box that come from the journal: where it begins, its frames, what is around damage."""

from __future__ import annotations

import json
import time
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

import engine
from adapters.entry import EntryKind
from adapters.tape import NoEntry, decode_entry
from engine.core.records import ModelSwapped, Record, encode
from engine.live.journal import Frame, JournalDamaged, Kind, Position, decode_header, decode_mark, decode_record, read
from engine.live.journal.frames import Header, frame, header_payload, preamble, seq_of
from engine.live.journal.words import words
from engine.live.recovery.inputs import SESSION, SessionMark
from engine.live.recovery.snapshots import Head, SnapshotUnusable, newest, unpack
from engine.live.registry.store import NO_MODEL

JOURNAL: Final = "journal/00000001.ptj"
SALT: Final = b"\0\0\0\0"
INCIDENTS: Final = (b"StrategyStopped", b"Liquidated", b"drawdown")
"""Words that only facts have which a person would call an incident, or speak of one."""

TAIL_FACTS: Final = 20_000
"""So many facts are kept where the journal as a whole has no place."""

AROUND: Final = 1 << 16
"""Bytes kept on each side of a damaged one."""


class Begin(NamedTuple):
    """Where a box begins: a snapshot with its file's name and bytes, or, without, the start of the journal."""

    head: Head | None
    name: str
    data: bytes


class Piece(msgspec.Struct):
    """What of the journal is in the box; see ``Index``. ``session`` is the last that began in it, 0: none.

    ``about``: the last fact that is an incident, or else the last. ``config``: of the first session, where the piece
    begins with it. ``is_whole``: every input from its begin on is there. ``damage``: why it ends early.
    """

    inputs: int = 0
    facts: int = 0
    last_seq: int = 0
    about: bytes = b""
    is_incident: bool = False
    session: int = 0
    config: dict[str, Any] = {}
    versions: set[str] = set()
    is_whole: bool = True
    damage: str = ""


class TooLarge(Exception):
    """The journal from here on has no place in the box."""


def choose(folder: Path, ns: int, end: Position | None, window_ns: int) -> list[Begin]:
    """Where the box of an incident at ``ns`` may begin, the best first.

    That is the newest snapshot that is older by ``window_ns``, or else the oldest; then those that make smaller boxes.
    Without a usable one it is the start.
    """
    found: list[Begin] = []
    for path in newest(folder / "snapshots"):
        try:
            data = path.read_bytes()  # first: a live run may remove it
            head, _ = unpack(path)
        except (OSError, SnapshotUnusable):
            continue
        if end is None or head.position <= end:
            found.append(Begin(head, path.name, data))
    for at, begin in enumerate(found):
        if begin.head is not None and (begin.head.now_ns <= ns - window_ns or at + 1 == len(found)):
            return [begin, *reversed(found[:at])]
    return [Begin(None, "", b"")]


def write_piece(
    archive: zipfile.ZipFile, folder: Path, begin: Begin, end: Position | None, limit: int, size: Callable[[], int]
) -> Piece:
    """Write the journal from a place on as a segment of its own; damage in it ends the piece and is told.

    Raises:
        TooLarge: the archive, whose ``size`` in bytes is asked, has grown beyond ``limit``.
        OSError: the disk refuses.
    """
    piece = Piece()
    head = begin.head
    with archive.open(JOURNAL, "w", force_zip64=True) as member:
        member.write(preamble(SALT) + _header(head.seq if head is not None else 0, head))
        for one in _frames(folder, head.position if head is not None else None, end, piece):
            _note(one, piece)
            if one.kind in (Kind.HEADER, Kind.END):
                continue
            member.write(frame(one.kind.value.encode() + one.payload, 0))
            if size() > limit:
                raise TooLarge
    return piece


def write_tail(archive: zipfile.ZipFile, folder: Path, begin: Begin, end: Position | None) -> Piece:
    """Write only the last facts of the journal: nothing can be played from them, but they can be read."""
    piece = Piece(is_whole=False)
    last: deque[bytes] = deque(maxlen=TAIL_FACTS)
    for one in _frames(folder, begin.head.position if begin.head is not None else None, end, piece):
        _note(one, piece)
        if one.kind is Kind.FACT:
            last.append(one.payload)
    piece.facts, piece.inputs = len(last), 0
    with archive.open(JOURNAL, "w", force_zip64=True) as member:
        member.write(preamble(SALT) + _header(seq_of(last[0]) - 1 if last else 0, None))
        for payload in last:
            member.write(frame(b"f" + payload, 0))
    return piece


def told(record: Record) -> str:
    """A fact in words that are the same when it comes out of the journal: maps are written in another order there."""
    return words(decode_record(encode(record)))


def models_named(versions: Iterable[str]) -> list[str]:
    """The versions that have a file: a failed training has none."""
    return sorted(version for version in set(versions) if version not in ("", NO_MODEL))


def surroundings(path: Path, offset: int) -> Iterator[tuple[str, bytes]]:
    """The bytes around a damaged one, by a name that says where they are from."""
    with path.open("rb") as file:
        start = max(0, offset - AROUND)
        file.seek(start)
        yield f"damage/{path.name}.from-{start}", file.read(2 * AROUND)


def _header(last_seq: int, head: Head | None) -> bytes:
    header = Header(
        segment=1,
        first=0,
        last_seq=last_seq,
        opened_ns=time.time_ns(),
        digest=head.digest if head is not None else None,
        papertape=engine.__version__,
    )
    return frame(header_payload(header), 0)


def _frames(folder: Path, position: Position | None, end: Position | None, piece: Piece) -> Iterator[Frame]:
    try:
        for one in read(folder / "journal", position):
            if end is not None and one.end > end:
                return
            yield one
    except FileNotFoundError:
        piece.damage, piece.is_whole = f"{folder / 'journal'}: expected a journal, found none", False
    except JournalDamaged as error:
        piece.damage = str(error)


def _note(one: Frame, piece: Piece) -> None:
    match one.kind:
        case Kind.HEADER:
            piece.is_whole &= not decode_header(one.payload).compacted
        case Kind.INPUT:
            piece.inputs += 1
            with_kind = one.payload.split(b" ", 2)[1:2]
            if with_kind == [EntryKind.MODEL.value.encode()]:
                piece.versions.update(_version(one.payload))
        case Kind.FACT:
            piece.facts += 1
            piece.last_seq = seq_of(one.payload)
            if (is_incident := any(name in one.payload for name in INCIDENTS)) or not piece.is_incident:
                piece.about, piece.is_incident = one.payload, is_incident or piece.is_incident
            if b"ModelSwapped" in one.payload and isinstance(fact := decode_record(one.payload).fact, ModelSwapped):
                piece.versions.add(fact.version)
        case Kind.MARK:
            fields = decode_mark(one.payload)
            if fields.get("kind") == SESSION:
                mark = msgspec.convert(fields, SessionMark)
                piece.session = mark.number
                piece.config = piece.config or json.loads(mark.config)
        case _:
            pass


def _version(line: bytes) -> list[str]:
    try:
        return [decode_entry(line).data.decode()]
    except NoEntry:
        return []  # the replay will say so
