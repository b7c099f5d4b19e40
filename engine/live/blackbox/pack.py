"""Packs an incident: the newest snapshot before it, the journal from there, tapes, models, sources, versions.

Works on the files of a run, dead or alive, and changes none of them. In a live run it is a process of its own (see
``engine.live.beside``), as it reads and compresses what may be a hundred megabytes.
"""

from __future__ import annotations

import json
import os
import re
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from adapters.entry import EntryKind
from adapters.tape import read_tape
from adapters.tape_types import TapeError
from engine.live.beside import serve
from engine.live.blackbox.index import INDEX, SUFFIX, BoxError, Index
from engine.live.blackbox.pieces import (
    Begin,
    Piece,
    TooLarge,
    choose,
    models_named,
    surroundings,
    write_piece,
    write_tail,
)
from engine.live.config import parse_config
from engine.live.journal import Position, decode_record
from engine.live.journal.words import words
from engine.live.recovery.code_print import module_file
from engine.live.recovery.session import modules_of
from engine.live.recovery.snapshots import Head
from engine.live.registry.store import model_path

SAME_NS: Final = 60 * 10**9
"""A reason is packed once in so much time."""

PATIENCE_S: Final = 3.0
"""How long a live tape may take to store what the snapshot has seen."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to pack: a daemon's folder up to ``end`` (None: all), why, and within which bounds.

    ``config``: plain values, for a run that has neither snapshot nor session; ``versions``: of the models in use;
    ``damaged``: the file and byte that a refused start names.
    ``out``: the file to write; empty: ``blackbox/STAMP-REASON.ptb`` in the folder.
    """

    folder: str
    reason: str
    detail: str
    ns: int = 0
    seq: int = 0
    fact: str = ""
    end: tuple[int, int] | None = None
    out: str = ""
    config: dict[str, Any] = {}
    versions: list[str] = []
    damaged: tuple[str, int] | None = None
    window_ns: int = 30 * 10**9
    most_bytes: int = 128 << 20
    keep: int = 10


class Packed(msgspec.Struct, frozen=True):
    """The file that was written, or why none was."""

    path: str = ""
    error: str = ""


def pack(order: Order) -> Path:
    """Write the box, whole or not at all, and remove the oldest beyond ``keep``.

    Raises:
        BoxError: the disk refuses, or the folder holds no run.
    """
    folder = Path(order.folder)
    path = Path(order.out) if order.out else _place(folder, order)
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(part, folder, order)
        part.replace(path)
    except (OSError, zipfile.BadZipFile) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise BoxError(f"{path}: expected to write the black box, found: {error}") from error
    if not order.out:
        for older in boxes(path.parent)[: -order.keep]:
            older.unlink(missing_ok=True)
    return path


def boxes(folder: Path) -> list[Path]:
    """The boxes of a folder, the oldest first: their names begin with their times."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def slug(reason: str) -> str:
    """A reason as a part of a file's name.

    >>> slug("Strategy stopped: maker!"), slug("")
    ('strategy-stopped-maker', 'incident')
    """
    return re.sub(r"[^a-z0-9_]+", "-", reason.lower()).strip("-")[:40] or "incident"


def recently(folder: Path, reason: str, now_ns: int) -> bool:
    """Whether this reason was packed within the last minute."""
    for path in boxes(folder):
        if path.stem.partition("-")[2].split(".")[0] == slug(reason):
            with suppress(OSError):
                if now_ns - path.stat().st_mtime_ns < SAME_NS:
                    return True
    return False


def _place(folder: Path, order: Order) -> Path:
    stamp = datetime.fromtimestamp((order.ns or time.time_ns()) / 1e9, UTC).strftime("%Y%m%dT%H%M%S")
    name = f"{stamp}-{slug(order.reason)}"
    place = folder / "blackbox"
    number = 1
    while (place / f"{name}{SUFFIX}").exists():
        number += 1
        name = f"{stamp}-{slug(order.reason)}.{number}"
    return place / f"{name}{SUFFIX}"


class _Archive:
    """A zip that knows how large it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)

    @property
    def size(self) -> int:
        return self._file.tell()

    def copy(self, source: Path, name: str, limit: int) -> None:
        """A file as it is now: it may be growing, and is compressed already."""
        info = zipfile.ZipInfo(name, time.gmtime()[:6])
        with source.open("rb") as file, self.zip.open(info, "w", force_zip64=True) as member:
            while limit > 0 and (data := file.read(min(limit, 1 << 20))):
                member.write(data)
                limit -= len(data)


def _write(part: Path, folder: Path, order: Order) -> None:
    end = Position(*order.end) if order.end is not None else None
    begins = choose(folder, order.ns or time.time_ns(), end, order.window_ns)
    for begin in begins:
        with part.open("wb") as file:
            archive = _Archive(file)
            with archive.zip:
                # the rest is for sources and the index; tapes have what is left, it plays without them
                limit = order.most_bytes * 15 // 16 - len(begin.data)
                try:
                    piece = write_piece(archive.zip, folder, begin, end, limit, file.tell)
                except TooLarge:
                    continue
                _fill(archive, folder, order, begin, piece, [])
        return
    with part.open("wb") as file:
        archive = _Archive(file)
        with archive.zip:
            piece = write_tail(archive.zip, folder, begins[-1], end)
            cut = f"inputs, and facts before the last {piece.facts:,}: the box would be larger than "
            advice = f"{order.most_bytes:,} bytes; raise [blackbox] most, or lower [journal] snapshot_every"
            _fill(archive, folder, order, begins[-1], piece, [cut + advice])


class _Tapes(NamedTuple):
    names: list[str]
    has_start: bool
    versions: set[str]


def _fill(archive: _Archive, folder: Path, order: Order, begin: Begin, piece: Piece, left_out: list[str]) -> None:
    """All that comes with the journal, and the index last."""
    head = begin.head
    snapshot = f"snapshots/{begin.name}" if head is not None and piece.is_whole else ""
    if snapshot:
        archive.zip.writestr(zipfile.ZipInfo(snapshot, time.gmtime()[:6]), begin.data)
    plain: dict[str, Any] = json.loads(head.config) if head is not None else piece.config or order.config
    archive.zip.writestr("config.json", json.dumps(plain, indent=1))
    tapes = _tapes(archive, folder, order, head, left_out)
    named = models_named(piece.versions | tapes.versions | set(order.versions))
    models = []
    for version in named:
        model = model_path(folder / "models", version)
        if not model.exists() or archive.size + model.stat().st_size > order.most_bytes:
            left_out.append(f"the model {version}: {'no place' if model.exists() else 'it is gone'}")
            continue
        archive.copy(model, f"models/{version}.ptm", 1 << 40)
        models.append(version)
    if order.damaged is not None:
        path, offset = Path(order.damaged[0]), order.damaged[1]
        if path.is_file():
            for name, data in surroundings(path, offset):
                archive.zip.writestr(name, data)
    modules = modules_of(parse_config(plain, "the run's own configuration")) if plain else []
    sources = dict(_sources(archive.zip, modules))
    about = decode_record(piece.about) if piece.about and not order.fact else None
    index = Index(
        reason=order.reason,
        detail=order.detail,
        ns=about.ns if about is not None else order.ns,
        seq=about.seq if about is not None else order.seq,
        fact=words(about) if about is not None else order.fact,
        run=str(plain.get("run", {}).get("name", folder.name)),
        session=piece.session or (head.session if head is not None else 0),
        written_ns=time.time_ns(),
        snapshot=snapshot,
        snapshot_seq=head.seq if head is not None else 0,
        digest=head.digest if head is not None else "",
        inputs=piece.inputs,
        facts=piece.facts,
        last_seq=piece.last_seq,
        tapes=tapes.names,
        has_start=tapes.has_start or (head is None and piece.is_whole and bool(piece.config)),
        models=models,
        sources=sources,
        left_out=left_out,
        damage=piece.damage or (order.detail if order.damaged is not None else ""),
        **_versions(modules),
    )
    archive.zip.writestr(INDEX, json.dumps(msgspec.to_builtins(index), indent=1))


def _tapes(archive: _Archive, folder: Path, order: Order, head: Head | None, left_out: list[str]) -> _Tapes:
    """All tapes of the run where they fit, else those from the snapshot's session on, else none."""
    from engine.research.loading import run_tapes

    nothing = _Tapes([], False, set())
    try:
        found = run_tapes(folder)
    except TapeError as error:
        left_out.append(f"tapes: {error}")
        return nothing
    room = max(0, order.most_bytes - archive.size)
    sizes = {path: path.stat().st_size for path in found}
    wanted = found
    if sum(sizes.values()) > room:
        names = [path.name for path in found]
        wanted = found[names.index(head.tape) :] if head is not None and head.tape in names else found[-1:]
        if sum(sizes[path] for path in wanted) > room:
            left_out.append(f"tapes ({', '.join(names)}): larger than the {room:,} bytes left of [blackbox] most")
            return nothing
        left_out.append(f"tapes of sessions before: {', '.join(names[: -len(wanted)])}")
    versions: set[str] = set()
    for path in wanted:
        needed = head.tape_entries if head is not None and path.name == head.tape else 0
        if (count := _look(path, needed, versions)) < needed:
            left_out.append(f"tapes: {path.name} held {count:,} entries where the snapshot had seen {needed:,}")
            return nothing
    for path in wanted:
        archive.copy(path, f"tape/{path.name}", path.stat().st_size)
    return _Tapes([path.name for path in wanted], bool(wanted) and wanted == found, versions)


def _look(path: Path, needed: int, versions: set[str]) -> int:
    """Entries of a tape as it is stored, waiting a little until they are ``needed``; adds the models it names."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        count = 0
        try:
            for entry in read_tape(path, allow_torn=True)[1]:
                count += 1
                if entry.kind is EntryKind.MODEL:
                    versions.add(entry.data.decode())
        except TapeError:
            return count  # what is whole is of use all the same
        if count >= needed or time.monotonic() > deadline:
            return count
        time.sleep(0.2)


def _sources(archive: zipfile.ZipFile, modules: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The modules' own source; what belongs to papertape itself is known by its version and print."""
    for module in sorted(set(modules)):
        path = module_file(module)
        if path is None:
            continue
        name = f"source/{module.replace('.', '/')}.py"
        archive.writestr(name, path.read_bytes())
        yield module, name


def _versions(modules: Sequence[str]) -> dict[str, Any]:
    import platform
    from importlib.metadata import distributions

    import engine
    from engine.live.recovery.code_print import code_print

    return {
        "papertape": engine.__version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "packages": dict(sorted((one.metadata["Name"], one.version) for one in distributions())),
        "code": code_print(modules),
    }


def _served(order: bytes) -> bytes:
    try:
        packed = Packed(path=str(pack(msgspec.json.decode(order, type=Order))))
    except BoxError as error:
        packed = Packed(error=str(error))
    return msgspec.json.encode(packed)


if __name__ == "__main__":
    os.umask(0o077)
    serve(_served)
