"""What a side stream is: where its values stand in a payload, what they mean, and which rows are believed."""

from __future__ import annotations

import hashlib
import json
from typing import Literal, NamedTuple, TypeAlias

import jsonpath
import msgspec

from engine.core.side import SideStream

Format: TypeAlias = Literal["json", "jsonl", "csv", "parquet"]
Unit: TypeAlias = Literal["ns", "us", "ms", "s", "iso"]

REASONS = (
    "payload",  # it could not be read at all
    "schema",  # a value is missing, or not of its type
    "range",  # a value outside of its bounds
    "future",  # the source's time is ahead of ours
    "late",  # older than is worth knowing when it came
    "order",  # older than what was accepted before
    "duplicate",  # seen before
    "rate",  # more rows a second than are taken
    "scorer",  # the scorer of the text raised
    "quarantined",  # good, but the stream is out of use
)
"""Why a row is not used: a fixed set of words."""

_PATHS = jsonpath.JSONPathEnvironment(strict=True)
_EACH = "[*]"


class SchemaError(ValueError):
    """A schema that cannot be used; ``place`` is the key below the stream's section."""

    def __init__(self, place: str, text: str) -> None:
        super().__init__(text)
        self.place = place


class FieldSpec(msgspec.Struct, frozen=True):
    """A number: its path or column, its unit, what to multiply it by, and its bounds after that."""

    name: str
    path: str
    unit: str = ""
    low: float = float("-inf")
    high: float = float("inf")
    scale: float = 1.0
    required: bool = True


class TimeSpec(msgspec.Struct, frozen=True):
    """Where the source's own time stands, and in what unit; ``iso`` is a text such as ``2026-11-27T14:00:00Z``."""

    path: str
    unit: Unit = "ms"


class TextSpec(msgspec.Struct, frozen=True):
    """A text whose score becomes the field ``field``; ``keep`` puts the text itself on the tape."""

    path: str
    scorer: str
    field: str = "sentiment"
    keep: bool = False


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """All of one stream. Times in ns; a limit of 0 is off.

    ``rows``: the path of the rows, within which the other paths begin; without it rows are what the last ``[*]`` of
    the paths goes through, and one payload is one row where there is none. ``key``: what tells rows apart, in place of
    event time and content. ``stale_ns``: silence after which values are missing. ``oldest_ns``: how old by its own time
    a row may be when it comes; ``ahead_ns``: how far its time may be ahead of ours. ``most_rows`` a payload and
    ``most_per_s`` are taken. A stream whose quality falls below ``least_quality``, or with ``most_rejected`` bad rows
    in a row, is quarantined until ``good_rows`` good ones came in a row.
    """

    name: str
    format: Format = "json"
    rows: str = ""
    fields: tuple[FieldSpec, ...] = ()
    event: TimeSpec | None = None
    key: str = ""
    text: TextSpec | None = None
    stale_ns: int = 0
    oldest_ns: int = 0
    ahead_ns: int = 2_000_000_000
    most_rows: int = 1_000
    most_bytes: int = 1 << 20
    most_per_s: float = 100.0
    remember: int = 4_096
    least_quality: float = 0.5
    most_rejected: int = 10
    good_rows: int = 10

    @property
    def columns(self) -> dict[str, str]:
        """Every path or column by the key under which it stands in the config."""
        found = {f"fields.{one.name}.path": one.path for one in self.fields}
        if self.event is not None:
            found["time.event"] = self.event.path
        if self.key:
            found["key"] = self.key
        if self.text is not None:
            found["text.path"] = self.text.path
        return found

    @property
    def digest(self) -> str:
        """SHA-256 over what decides what the values mean and which are believed."""
        plain = msgspec.to_builtins(self)
        told = {name: plain[name] for name in ("format", "rows", "fields", "event", "key", "text", "oldest_ns")}
        for field in told["fields"]:
            field["low"], field["high"] = repr(field["low"]), repr(field["high"])
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def stream(self) -> SideStream:
        """What the engine knows of it.

        >>> Schema(name="funding", fields=(FieldSpec("rate", "$.rate", "bps"),)).stream().fields
        (('rate', 'bps'),)
        """
        fields = [(one.name, one.unit) for one in self.fields]
        if self.text is not None:
            fields.append((self.text.field, "[-1, 1]"))
        return SideStream(self.name, tuple(fields), self.stale_ns, self.digest)


class Paths(NamedTuple):
    """Compiled: that of the rows (None: the payload is the row), and each path with whether it begins at the row."""

    rows: jsonpath.JSONPath | None
    each: dict[str, tuple[jsonpath.JSONPath, bool]]


def compile_paths(schema: Schema) -> Paths:
    """The paths of a JSON schema.

    Raises:
        SchemaError: no JSON path, or paths that go through different rows.

    >>> rate, when = FieldSpec("rate", "$.data[*].rate"), TimeSpec("$.ts")
    >>> found = compile_paths(Schema(name="x", fields=(rate,), event=when))
    >>> str(found.rows), {key: (str(path), is_of_row) for key, (path, is_of_row) in found.each.items()}
    ("$['data'][*]", {'fields.rate.path': ("$['rate']", True), 'time.event': ("$['ts']", False)})
    """
    if schema.rows:
        each = {place: (_compile(place, path), True) for place, path in schema.columns.items()}
        return Paths(_compile("rows", schema.rows), each)
    each, through = {}, ""
    for place, path in schema.columns.items():
        head, star, rest = path.rpartition(_EACH)
        compiled = _compile(place, f"${rest}" if star else path)
        each[place] = (compiled, bool(star))
        if star and through not in ("", head + star):
            raise SchemaError(place, f"expected rows at {through} as the paths before, found them at {head + star}")
        through = head + star or through
    return Paths(_compile("rows", through) if through else None, each)


def _compile(place: str, path: str) -> jsonpath.JSONPath:
    try:
        found = _PATHS.compile(path)
    except jsonpath.JSONPathError as error:
        found_in = error.args[0] if error.args else type(error).__name__
        raise SchemaError(place, f"expected a JSON path such as $.data[*].rate, found {path!r}: {found_in}") from error
    if not isinstance(found, jsonpath.JSONPath):
        raise SchemaError(place, f"expected one JSON path, found several in {path!r}")
    return found
