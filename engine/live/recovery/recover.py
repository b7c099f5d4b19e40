"""The start of a run that has a past: its newest sound snapshot, and then again all that the journal says came after.

Every fact that follows from the inputs must be the one in the journal; the first that is not stops the start. Facts at
the end that the journal does not have any more were never shown to anybody, and are written down now.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from adapters.contract import Venue
from adapters.entry import Entry
from adapters.feed import Feed
from engine.core.engine import Engine
from engine.core.records import Record, encode
from engine.core.types import Instrument
from engine.live.build import ConfigReader, build_engine, strategy_factories
from engine.live.config import AppConfig, ConfigError, parse_config
from engine.live.journal import Journal, Kind, Position, decode_header, decode_mark, decode_record, read
from engine.live.recovery.code_print import module_print, modules_of, packages_of
from engine.live.recovery.codec import StateError, thaw
from engine.live.recovery.inputs import SESSION, SessionMark, journal_inputs, tape_inputs
from engine.live.recovery.snapshots import SnapshotUnusable, newest, unpack
from engine.live.recovery.state import FRESH, Kept, Recovered, RecoveryError, Told, differences, refused
from engine.live.statedir import StateDir
from engine.research.player import Player
from engine.research.replay import ModelStore

BLOCK: Final = 4096
"""Frames that the engine sees at a time."""

RECENT: Final = 4096
"""Facts of the replay that the page is told of."""


class Begin(NamedTuple):
    """Where the replay begins: a state, its place in the journal (None: the start) and on the session's tape."""

    kept: Kept
    position: Position | None
    session: int
    tape: str
    tape_entries: int
    source: str


class Past(NamedTuple):
    """What a run that wants to go on is now, to be held against what it was."""

    config: AppConfig
    instruments: Sequence[Instrument]
    venues: Mapping[str, type[Venue]]
    code: Mapping[str, str]


def recover(state: StateDir, journal: Journal, now: Past) -> Recovered | None:
    """The run of a folder as it was at its last input; None where there is none yet.

    Raises:
        RecoveryError: it cannot go on: another configuration, other code that decides otherwise, inputs that are gone.
        JournalDamaged: some of it is not what was written.
    """
    if not journal.entries:
        return None
    started = time.perf_counter()
    remarks = [f"cut off {journal.cut}"] if journal.cut is not None else []
    begin = _from_snapshot(state, journal, now, remarks)
    sessions = _Sessions()
    if begin is None:
        first = _sessions(journal.folder)
        if not first:
            return None  # killed before its first session began
        begin = from_start(now, first[0], "; ".join(remarks))
        entries = (
            tape_inputs(state.tape, first, journal.folder)
            if _is_compacted(journal.folder)
            else journal_inputs(journal.folder, None, sessions.hear)
        )
        if _is_compacted(journal.folder):
            sessions.last = first[-1]
    else:
        entries = journal_inputs(journal.folder, begin.position, sessions.hear)
    engine = begin.kept.engine
    _check_instruments(engine.instruments, now.instruments)
    seq = engine.seq
    check = _Check(journal.folder, begin.position)
    player = Player(
        engine,
        begin.kept.feeds,
        block=BLOCK,
        obeys=True,
        load_model=ModelStore(state.tape / "any.ptz").load,
        on_records=check.hear,
    )
    player.play(sessions.counted(entries))
    check.end(engine.seq)
    strategy_factories(now.config, engine.instruments)  # what goes on must be there
    told = Told(
        snapshot=begin.source,
        inputs=player.entries,
        facts=engine.seq - seq,
        completed=len(check.missing),
        seconds=time.perf_counter() - started,
        remarks=remarks,
        changed=differences(json.loads(in_force(engine)), now.config),
    )
    last, count = sessions.last, sessions.count
    return Recovered(
        begin.kept,
        session=last.number if last is not None else begin.session,
        tape=last.tape if last is not None else begin.tape,
        tape_entries=count if last is not None else begin.tape_entries + count,
        last_ns=max(engine.now_ns, player.last_ns),
        missing=check.missing,
        recent=list(check.recent),
        told=told,
        changes=told.changed,
    )


class _Sessions:
    """Hears of sessions that began behind the snapshot, and counts the inputs of the last one."""

    def __init__(self) -> None:
        self.last: SessionMark | None = None
        self.count = 0

    def hear(self, fields: dict[str, Any]) -> None:
        if fields.get("kind") == SESSION:
            self.last, self.count = msgspec.convert(fields, SessionMark), 0

    def counted(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            self.count += 1
            yield entry


class _Check:
    """Holds the facts that follow against those that were written down."""

    def __init__(self, folder: Path, position: Position | None) -> None:
        self.missing: list[Record] = []
        self.recent: deque[Record] = deque(maxlen=RECENT)
        self._folder = folder
        self._written = (frame.payload for frame in read(folder, position) if frame.kind is Kind.FACT)

    def hear(self, records: Sequence[Record]) -> None:
        self.recent.extend(records)
        for record in records:
            written = next(self._written, None) if not self.missing else None
            if written is None:
                self.missing.append(record)
            elif written != encode(record):
                was = decode_record(written)
                raise RecoveryError(
                    f"{self._folder}: expected fact {was.seq:,} to be {was.fact}, found that today's program says "
                    f"{record.fact}: its code or libraries decide otherwise; run the version that wrote it, {FRESH}"
                )

    def end(self, seq: int) -> None:
        written = next(self._written, None)
        if written is not None:
            was = decode_record(written)
            raise RecoveryError(
                f"{self._folder}: expected inputs that lead to fact {was.seq:,} ({was.fact}), found that they end at "
                f"{seq:,}: inputs are missing; bring them back from a copy, {FRESH}"
            )


def _from_snapshot(state: StateDir, journal: Journal, now: Past, remarks: list[str]) -> Begin | None:
    """The newest snapshot that can be used; what is wrong with others is a remark."""
    for path in newest(state.snapshots):
        try:
            head, body = unpack(path)
            if head.position > journal.position:
                raise SnapshotUnusable(
                    f"{path}: expected a journal that reaches {head.position}, found that it ends at {journal.position}"
                )
            then = earlier(head.config)
            _refuse(then, now.config)
            code, packages = made_of(then, now)
            if other := [part for part in sorted({*head.code, *code}) if head.code.get(part) != code.get(part)]:
                raise SnapshotUnusable(
                    f"{path}: expected the state of today's program, found changes in {', '.join(other)}"
                )
            kept = Kept(*thaw(body, packages))
        except (SnapshotUnusable, StateError) as error:
            remarks.append(str(error))
            continue
        return Begin(kept, head.position, head.session, head.tape, head.tape_entries, path.name)
    return None


def from_start(now: Past, first: SessionMark, why: str) -> Begin:
    """An engine that knows nothing yet, to be told everything again."""
    config = earlier(first.config)
    _refuse(config, now.config)
    instruments = msgspec.json.decode(first.instruments, type=list[Instrument])
    try:
        built = build_engine(config, instruments, inline_training=False, venues=now.venues)
    except ConfigError as error:
        raise RecoveryError(
            f"expected the parts that this run began with, found: {error}; bring them back, {FRESH}"
        ) from error
    feeds = {}
    for name, venue in now.venues.items():
        mine = {one.symbol: (at, one) for at, one in enumerate(instruments) if one.venue == name}
        feeds[name] = Feed(name, venue, mine)
    return Begin(Kept(built.engine, built.models, feeds, ([], [])), None, first.number, first.tape, 0, "")


def made_of(then: AppConfig, now: Past) -> tuple[dict[str, str], tuple[str, ...]]:
    """Today's print of the code that a state under an earlier configuration is made of, and its packages."""
    modules = modules_of(then)
    others = {*modules_of(now.config)} - {*modules}
    code = {part: value for part, value in now.code.items() if part not in others}
    return code | {one: module_print(one) for one in modules if one not in code}, packages_of(modules)


def in_force(engine: Engine) -> str:
    """The configuration that an engine of ours decides by, plain, as JSON."""
    reader = engine.changes
    assert isinstance(reader, ConfigReader)
    return reader.config


def earlier(plain: str) -> AppConfig:
    """The configuration of an earlier session, as it was written down.

    Raises:
        RecoveryError: today's program does not understand it.
    """
    try:
        return parse_config(json.loads(plain), "the configuration of an earlier session")
    except ConfigError as error:
        raise RecoveryError(f"{error}: run the version that wrote it, {FRESH}") from error


def _refuse(then: AppConfig, now: AppConfig) -> None:
    if changed := refused(then.plain(), now):
        raise RecoveryError(
            f"expected these as the run began, found other values; set them back, give the other run another run.name, "
            f"{FRESH}:\n" + "\n".join(changed)
        )


def _sessions(folder: Path) -> list[SessionMark]:
    marks = (decode_mark(frame.payload) for frame in read(folder) if frame.kind is Kind.MARK)
    return [msgspec.convert(fields, SessionMark) for fields in marks if fields.get("kind") == SESSION]


def _is_compacted(folder: Path) -> bool:
    """Whether the oldest segment has lost its inputs; the oldest is the first to lose them."""
    for frame in read(folder):
        return frame.kind is Kind.HEADER and decode_header(frame.payload).compacted
    return False


UNITS: Final = ("name", "kind", "base", "quote", "price_decimals", "size_decimals", "tick", "lot", "contract_size")


def _check_instruments(then: Sequence[Instrument], now: Sequence[Instrument]) -> None:
    """Prices and sizes in the state are numbers of units: these must be the same."""
    was = {one.name: [getattr(one, field) for field in UNITS] for one in then}
    found = {one.name: [getattr(one, field) for field in UNITS] for one in now}
    for name in sorted({*was, *found}):
        if was.get(name) != found.get(name):
            raise RecoveryError(
                f"{name}: expected the instrument as it was, {was.get(name, 'none')} ({', '.join(UNITS)}), "
                f"found {found.get(name, 'none')}: the venue changed it; {FRESH}"
            )
