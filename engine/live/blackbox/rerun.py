"""Plays a black box: thaws its snapshot, tells it the inputs that came after, and holds what follows to the journal.

A box holds state that is thawed, and is as much to be trusted as a program: play those whose origin you know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.entry import Entry
from adapters.registry import UnknownVenue, venue_class
from adapters.tape import read_tape
from adapters.tape_heal import heal_tape
from adapters.tape_types import TapeError
from engine.core.records import Digest, Record, encode
from engine.learn.contract import ModelError, model_class
from engine.live.blackbox.index import BoxError, Index, unpacked
from engine.live.blackbox.pieces import told
from engine.live.config import AppConfig, parse_config
from engine.live.journal import JournalDamaged, Kind, decode_mark, decode_record, read
from engine.live.journal.words import words
from engine.live.plugins import PluginError, look_beside, strategy_class
from engine.live.recovery.code_print import code_print, module_file, modules_of
from engine.live.recovery.codec import StateError, thaw
from engine.live.recovery.inputs import SESSION, SessionMark, count_inputs, journal_inputs, lines_after, tape_inputs
from engine.live.recovery.recover import Past, earlier, from_start, made_of
from engine.live.recovery.snapshots import SnapshotUnusable, unpack
from engine.live.recovery.state import Kept, RecoveryError
from engine.research.player import Player
from engine.research.replay import ModelStore, ReplayResult, replay

BLOCK: Final = 4096
TICK: Final = 20_000
"""Inputs between two words of progress."""


class Rerun(msgspec.Struct, frozen=True, kw_only=True):
    """What playing a box found; ``is_same``: all its facts followed again, and so did the incident.

    ``facts`` were compared; ``more`` followed that the journal did not have any more. ``ends`` is the incident as it
    came now, empty where it did not. ``was`` and ``now``: the first fact that differs, in words. ``notes`` is for
    people.
    """

    is_same: bool
    reason: str
    detail: str
    begin: str
    inputs: int
    facts: int
    more: int
    ends: str
    was: str = ""
    now: str = ""
    notes: list[str] = []


def rerun(path: Path, *, trust: bool = False, progress: Callable[[int], None] | None = None) -> Rerun:
    """Play a box under its own configuration, from its snapshot or, with other code, from the run's start.

    ``trust``: modules that are not here are taken from the box, which runs their code.

    Raises:
        BoxError: it cannot be played here; the text says what is needed.
        ConfigError: its configuration is none of this program.
    """
    with unpacked(path) as (index, folder):
        plain = json.loads((folder / "config.json").read_text())
        config = parse_config(plain, f"{path}: config.json")
        notes = _find_modules(index, folder, config, trust)
        check = _Check(folder / "journal", index)
        begin = _Begin(index, folder, config)
        kept, entries = begin.state(notes)
        check.begins(kept.engine.seq)
        player = Player(
            kept.engine,
            kept.feeds,
            block=1 if index.reason == "failed" else BLOCK,  # what raises takes the facts of its block with it
            obeys=True,
            load_model=ModelStore(folder / "tape" / "any.ptz").load,
            on_records=check.hear,
        )
        raised = ""
        try:
            player.play(_counted(entries, progress))
        except _Parted:
            pass
        except (RecoveryError, JournalDamaged, BoxError) as error:
            notes.append(str(error))
            check.is_short = True
        except Exception as error:  # noqa: BLE001 - an engine that raises may be the very incident that is looked for
            raised = f"{type(error).__name__}: {error}"
        check.end()
        if index.damage:
            notes.append(f"the journal was damaged: {index.damage}")
        notes += [f"not in the box: {one}" for one in index.left_out]
        ends = raised or check.ends
        came = not index.fact or check.ends == index.fact
        if index.reason == "failed":
            came = bool(raised) and raised in index.detail
        return Rerun(
            is_same=check.is_same and came,
            reason=index.reason,
            detail=index.detail,
            begin=begin.words,
            inputs=player.entries,
            facts=check.facts,
            more=check.more,
            ends=ends,
            was=check.was,
            now=check.now,
            notes=notes,
        )


def rerun_otherwise(
    path: Path,
    *,
    config: Path | None = None,
    models: Mapping[str, str] | None = None,
    out: Path | None = None,
    block: int = 65_536,
    trust: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ReplayResult:
    """Play the tapes of a box under another configuration, or with other models (``use`` by model's name).

    Raises:
        BoxError: it has no tapes; the text says which are needed.
        As ``engine.research.replay.replay``.
    """
    with unpacked(path) as (index, folder):
        if not index.tapes:
            needed = "; ".join(index.left_out) or "the run recorded none"
            raise BoxError(f"{path}: expected tapes to play otherwise, found none ({needed}): use the run's own tape/")
        _find_modules(index, folder, parse_config(json.loads((folder / "config.json").read_text()), str(path)), trust)
        _heal(folder, index)
        tapes = [folder / "tape" / name for name in index.tapes]
        result = replay(tapes, config=config, models=models, out=out, block=block, allow_torn=True, progress=progress)
        return msgspec.structs.replace(result, config=f"{result.config}, on the tapes of {path.name}")


def _find_modules(index: Index, folder: Path, config: AppConfig, trust: bool) -> list[str]:
    """Import what the run was made of; a remark for each module that is not as it was.

    Raises:
        BoxError: one is not here, and the box's own is not trusted.
    """
    import sys

    look_beside()
    notes = []
    for module in modules_of(config):
        if module_file(module) is not None:
            continue
        if module not in index.sources:
            raise BoxError(f"expected the module {module}, which the run used, found none here or in the box")
        if not trust:
            raise BoxError(
                f"expected the module {module}, which the run used, found none here: start from the folder that has "
                "it, or take the box's own with --trust, which runs code from the box"
            )
        if str(folder / "source") not in sys.path:
            sys.path.append(str(folder / "source"))
        notes.append(f"{module}: the box's own source")
    _check_kinds(config)
    return notes


def _check_kinds(config: AppConfig) -> None:
    """What is named must be of its kind: only then may the snapshot build what is beside it.

    Raises:
        BoxError: it is not, or is not here.
    """
    try:
        for strategy in config.strategy:
            strategy_class(strategy.use)
        for venue in config.venue.values():
            venue_class(venue.use)
        for model in config.model:
            model_class(model.use)
    except (PluginError, UnknownVenue, ModelError) as error:
        raise BoxError(f"config.json: {error}") from error


class _Begin:
    """Finds where the replay can begin; ``words`` say it."""

    def __init__(self, index: Index, folder: Path, config: AppConfig) -> None:
        self.words = ""
        self._index = index
        self._folder = folder
        self._config = config
        self._code = code_print(modules_of(config))

    def state(self, notes: list[str]) -> tuple[Kept, Iterator[Entry]]:
        """A state, and the inputs that came after it.

        Raises:
            BoxError: neither the snapshot nor the start can be used.
        """
        why = self._index.damage or "; ".join(self._index.left_out) or "the journal has lost its inputs"
        if self._index.snapshot:
            try:
                return self._thawed(), journal_inputs(self._folder / "journal", None)
            except (SnapshotUnusable, StateError, RecoveryError) as error:
                why = str(error).replace(f"{self._folder}/", "")
                notes.append(why)
        if self._index.has_start:
            return self._started()
        raise BoxError(
            f"expected a snapshot that can be used or the whole run, found neither: {why}; play it with papertape "
            f"{self._index.papertape} as it was, Python {self._index.python.partition(' ')[0]}, or on the run's folder"
        )

    def _thawed(self) -> Kept:
        path = self._folder / self._index.snapshot
        head, body = unpack(path)
        then = earlier(head.config)  # its session's, which may be one before the box's last
        _check_kinds(then)
        now, packages = made_of(then, Past(self._config, [], {}, self._code))
        if other := [part for part in sorted({*head.code, *now}) if head.code.get(part) != now.get(part)]:
            raise SnapshotUnusable(
                f"{path}: expected the state of today's program, found changes in {', '.join(other)}"
            )
        kept = Kept(*thaw(body, packages))
        self.words = f"the snapshot behind fact {head.seq:,}"
        return kept

    def _started(self) -> tuple[Kept, Iterator[Entry]]:
        self.words = "the start of the run"
        journal, tapes = self._folder / "journal", self._folder / "tape"
        if not self._index.tapes:
            return self._new(_first_session(journal)), journal_inputs(journal, None)
        headers = [read_tape(tapes / name, allow_torn=True)[0] for name in self._index.tapes]
        marks = [
            SessionMark(
                number=header.session,
                tape=name,
                config=json.dumps(header.config),
                instruments=msgspec.json.encode(header.instruments).decode(),
            )
            for name, header in zip(self._index.tapes, headers, strict=True)
        ]
        return self._new(marks[0]), tape_inputs(tapes, marks, journal)

    def _new(self, mark: SessionMark) -> Kept:
        venues = {name: venue_class(section.use) for name, section in self._config.venue.items()}
        now = Past(self._config, [], venues, self._code)
        return from_start(now, mark, "").kept


class _Parted(Exception):
    """A fact is not the one that it was."""


class _Check:
    """Holds the facts that follow against those of the box, as bytes; those before its journal begins are passed."""

    def __init__(self, journal: Path, index: Index) -> None:
        self.facts = 0
        self.more = 0
        self.ends = self.was = self.now = ""
        self.is_short = False
        self._index = index
        self._written = (frame.payload for frame in read(journal) if frame.kind is Kind.FACT)
        self._is_over = False
        self._digest: Digest | None = None

    def begins(self, seq: int) -> None:
        """With facts that the box's journal does not have, a digest stands for them."""
        self._digest = Digest() if seq < self._index.snapshot_seq else None

    @property
    def is_same(self) -> bool:
        return not (self.was or self.is_short)

    def hear(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.seq == self._index.seq:
                self.ends = told(record)
            if record.seq <= self._index.snapshot_seq:
                self._before(record)
                continue
            written = None if self._is_over else next(self._written, None)
            if written is None:
                self._is_over = True
                self.more += 1
            elif written != encode(record):
                self.was, self.now = words(decode_record(written)), told(record)
                raise _Parted
            else:
                self.facts += 1

    def _before(self, record: Record) -> None:
        if self._digest is None:
            return
        self._digest.update([record])
        if record.seq == self._index.snapshot_seq:
            found, self._digest = self._digest.hex(), None
            if found != self._index.digest:
                self._part_before(f"the digest {found}")
                raise _Parted

    def _part_before(self, found: str) -> None:
        self.was = f"{self._index.snapshot_seq:,} facts with the digest {self._index.digest}, before the box's own"
        self.now = f"{found}: today's code or libraries decide otherwise"

    def end(self) -> None:
        """No more inputs: nor may there be more facts."""
        if self.was or self._is_over or self.is_short:
            return
        if self._digest is not None:
            self._part_before("fewer")
            return
        written = next(self._written, None)
        if written is not None:
            self.was, self.now = words(decode_record(written)), "nothing: the inputs end before it"


def _first_session(journal: Path) -> SessionMark:
    for frame in read(journal):
        if frame.kind is Kind.MARK and (fields := decode_mark(frame.payload)).get("kind") == SESSION:
            return msgspec.convert(fields, SessionMark)
    raise BoxError("expected the begin of a session in the journal of the box, found none")


def _heal(folder: Path, index: Index) -> None:
    """Complete the last tape from the journal: the tape's thread stores what it has once a second."""
    path = folder / "tape" / index.tapes[-1]
    with suppress(RecoveryError, JournalDamaged, ValueError, TapeError):  # torn it is played as far as it goes
        session, journal = read_tape(path, allow_torn=True)[0].session, folder / "journal"
        heal_tape(path, count_inputs(journal, session), partial(lines_after, journal, session))


def _counted(entries: Iterator[Entry], progress: Callable[[int], None] | None) -> Iterator[Entry]:
    for count, entry in enumerate(entries):
        if progress is not None and count % TICK == 0:
            progress(count)
        yield entry


def plain(found: Rerun) -> dict[str, Any]:
    """For ``--json``."""
    fields: dict[str, Any] = msgspec.to_builtins(found)
    return fields
