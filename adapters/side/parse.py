"""From the bytes of a payload to raw rows, by a schema: JSON, lines of JSON, CSV, parquet. No value is judged here.

Reading a big payload takes long: the caller does it off the loop. What cannot be read is a row that says so, and
nothing that a source sends raises.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

import jsonpath
import msgspec
import polars as pl

from adapters.side.schema import Paths, Schema, compile_paths
from adapters.side.scorer import Scorer

TEXT_CHARS: Final = 4_000
"""A longer text is cut before it is scored."""

BREATH_ROWS: Final = 16
"""Rows between two breaths of whoever reads beside others."""

SHOWN_CHARS: Final = 1_000
"""Of a row, in the quarantine's file."""


def go_on() -> None:
    """Breathe not at all."""


class Missing:
    """No value where one may be, or ``count`` where there must be one."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def __repr__(self) -> str:
        return f"{self.count} values" if self.count else "nothing"


class RawRow(msgspec.Struct):
    """A row as it came: its cells by their key in the config. ``failed`` is a reason why it is none, and ``found``."""

    cells: dict[str, Any] = {}
    score: float | None = None
    text: str = ""
    failed: str = ""
    found: str = ""
    shown: str = ""


class Parser:
    """Reads the payloads of one stream; ``scorer`` is for the schema's text.

    Raises:
        SchemaError: the schema's paths cannot be used.

    >>> from adapters.side.schema import FieldSpec
    >>> parser = Parser(Schema(name="x", fields=(FieldSpec("rate", "$.data[*].rate"),)))
    >>> [row.cells for row in parser.rows(b'{"data": [{"rate": 1.5}, {}]}')]
    [{'fields.rate.path': 1.5}, {'fields.rate.path': nothing}]
    """

    def __init__(self, schema: Schema, scorer: Scorer | None = None) -> None:
        self.schema = schema
        self._scorer = scorer
        self._paths: Paths | None = None
        if schema.format in ("json", "jsonl"):
            self._paths = compile_paths(schema)

    def rows(self, payload: bytes, breathe: Callable[[], None] = go_on) -> list[RawRow]:
        """All rows of a payload, in its order; never more than ``most_rows``, or one that says why there is none.

        ``breathe`` is called again and again: in a thread it lets others have the interpreter.
        """
        schema = self.schema
        if len(payload) > schema.most_bytes:
            return [_unread(f"{len(payload)} bytes, more than max_bytes = {schema.most_bytes}", payload[:200])]
        found: list[RawRow] = []
        for row in self._read(payload, breathe):
            if len(found) % BREATH_ROWS == 0:
                breathe()
            if len(found) == schema.most_rows:
                return [_unread(f"more rows than max_rows = {schema.most_rows}", payload[:200])]
            found.append(row)
        if schema.text is not None:
            for row in found:
                self._score(row)
        return found

    def _read(self, payload: bytes, breathe: Callable[[], None]) -> Iterator[RawRow]:
        if self.schema.format == "json":
            yield from self._json(payload, breathe)
        elif self.schema.format == "jsonl":
            for line in payload.splitlines():
                if line.strip():
                    yield from self._json(line, breathe)
        else:
            yield from self._table(payload)

    def _json(self, text: bytes, breathe: Callable[[], None]) -> Iterator[RawRow]:
        assert self._paths is not None
        try:
            value = msgspec.json.decode(text)
            each, most = self._paths.each.items(), self.schema.most_rows + 1
            whole = {place: _cell(path, value) for place, (path, is_of_row) in each if not is_of_row}
            found = (match.obj for match in self._paths.rows.finditer(value)) if self._paths.rows else iter((value,))
            read = []
            for count, row in enumerate(islice(found, most), 1):
                cells = {place: _cell(path, row) if is_of_row else whole[place] for place, (path, is_of_row) in each}
                read.append(RawRow(cells, shown=_shown(row)))
                if count % BREATH_ROWS == 0:
                    breathe()
        except (msgspec.DecodeError, jsonpath.JSONPathError, UnicodeDecodeError, RecursionError) as error:
            yield _unread(f"no JSON that can be read: {type(error).__name__}", text)
            return
        yield from read

    def _table(self, payload: bytes) -> Iterator[RawRow]:
        columns = list(dict.fromkeys(self.schema.columns.values()))
        most = self.schema.most_rows + 1
        try:
            if self.schema.format == "csv":
                table = pl.read_csv(io.BytesIO(payload), columns=columns, infer_schema=False, n_rows=most)
            else:
                table = pl.read_parquet(io.BytesIO(payload), columns=columns, n_rows=most, use_statistics=False)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
            first = str(error).partition("\n")[0]
            yield _unread(f"no {self.schema.format} with the columns {', '.join(columns)}: {first}", payload)
            return
        for row in table.iter_rows(named=True):
            cells = {
                place: Missing() if row[column] is None else row[column]
                for place, column in self.schema.columns.items()
            }
            yield RawRow(cells, shown=_shown(row))

    def _score(self, row: RawRow) -> None:
        """Let the scorer speak; a text that is none is for validation to refuse."""
        text = row.cells.get("text.path")
        if row.failed or not isinstance(text, str) or self._scorer is None:
            return
        row.text = text[:TEXT_CHARS]
        try:
            row.score = self._scorer.score(row.text)
        except Exception as error:  # noqa: BLE001 - the wall to users' code
            row.failed, row.found = "scorer", f"{type(error).__name__}: {error}"


def _cell(path: jsonpath.JSONPath, value: Any) -> Any:
    found = path.findall(value)
    if len(found) != 1:
        return Missing(len(found))
    return Missing() if found[0] is None else found[0]


def _unread(found: str, payload: bytes) -> RawRow:
    return RawRow(failed="payload", found=found, shown=payload[:SHOWN_CHARS].decode(errors="replace"))


def _shown(row: object) -> str:
    try:
        return repr(row)[:SHOWN_CHARS]
    except ValueError:  # an integer of more digits than Python prints
        return "a row that cannot be shown"
