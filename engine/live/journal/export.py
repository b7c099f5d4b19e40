"""The facts of a journal as parquet tables, one a kind of fact, in bounded memory.

Numbers stay as they are in the journal: prices and sizes integers in the instrument's units, money exact decimal text.
``papertape report`` and ``replay --out`` give tables for people; these are the facts themselves.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from engine.core.records import AnyFact, Record
from engine.live.journal.frames import Kind
from engine.live.journal.reader import decode_record, read

PART_ROWS: Final = 1 << 17
"""Rows of a table in memory before they become a part on disk."""

INDEX: Final = "journal.json"
"""The file that marks a folder as an export: rows by table."""

TYPES: Final[dict[str, Any]] = {"int": pl.Int64, "str": pl.String, "float": pl.Float64, "bool": pl.Boolean}


class ExportError(Exception):
    """The target cannot be used; the text says why and what to do."""


class _Table:
    """Rows of one kind of fact; what is no plain number or text becomes JSON."""

    def __init__(self, folder: Path, kind: type[Any]) -> None:
        self.name = kind.__name__
        self.rows = 0
        self._folder = folder
        self._fields = tuple(field.name for field in msgspec.structs.fields(kind))
        kinds = {field.name: getattr(field.type, "__name__", "") for field in msgspec.structs.fields(kind)}
        self._nested = tuple(name not in TYPES for name in kinds.values())
        self._schema = {"seq": pl.Int64, "ns": pl.Int64} | {
            name: TYPES.get(word, pl.String) for name, word in kinds.items()
        }
        self._waiting: list[tuple[Any, ...]] = []
        self._parts: list[Path] = []

    def add(self, record: Record) -> None:
        fact = record.fact
        values = (getattr(fact, name) for name in self._fields)
        row = (
            msgspec.json.encode(value).decode() if nested else value
            for value, nested in zip(values, self._nested, strict=True)
        )
        self._waiting.append((record.seq, record.ns, *row))
        self.rows += 1
        if len(self._waiting) >= PART_ROWS:
            self._store()

    def close(self) -> None:
        self._store()
        path = self._folder / f"{self.name}.parquet"
        if len(self._parts) == 1:
            self._parts[0].rename(path)
            return
        pl.scan_parquet(self._parts).sink_parquet(path, compression="zstd")
        for part in self._parts:
            part.unlink()

    def _store(self) -> None:
        if self._waiting:
            rows, self._waiting = self._waiting, []
            path = self._folder / f"{self.name}.{len(self._parts):06d}.part"
            pl.DataFrame(rows, schema=self._schema, orient="row").write_parquet(path, compression="zstd")
            self._parts.append(path)


def export(journal: Path, target: Path, progress: Callable[[int], None] | None = None) -> dict[str, int]:
    """Write a table for each kind of fact that occurs, all or none; how many rows each has.

    ``target`` may be missing, an empty folder, or an earlier export, which is replaced.

    Raises:
        ExportError: the target is something else, or cannot be written.
        JournalDamaged: nothing is written.
    """
    _check(target)
    folder = target.parent / f".{target.name}.{os.getpid()}.partial"
    tables: dict[type[Any], _Table] = {}
    count = 0
    try:
        folder.mkdir(parents=True)
        for frame in read(journal):
            if frame.kind is not Kind.FACT:
                continue
            record = decode_record(frame.payload)
            kind = type(record.fact)
            if kind not in tables:
                tables[kind] = _Table(folder, kind)
            tables[kind].add(record)
            count += 1
            if progress is not None and count % PART_ROWS == 0:
                progress(count)
        order = {kind: at for at, kind in enumerate(AnyFact.__args__)}
        rows = {tables[kind].name: tables[kind].rows for kind in sorted(tables, key=order.__getitem__)}
        for table in tables.values():
            table.close()
        (folder / INDEX).write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    except OSError as error:
        raise ExportError(f"{target}: expected a place to write to, found: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def _check(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise ExportError(f"{target}: expected a folder or nothing, found a file: choose another --out")
    if any(target.iterdir()) and not (target / INDEX).exists():
        raise ExportError(
            f"{target}: expected an empty folder or an earlier export, found other files: choose another --out"
        )
