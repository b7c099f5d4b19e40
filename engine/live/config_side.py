"""``[[side]]``: a stream of data beside the markets, where it comes from, what it means and which rows are believed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field

from adapters.side.schema import FieldSpec, Schema, SchemaError, TextSpec, TimeSpec, Unit, compile_paths
from engine.features.side import stream_families
from engine.live.config_journal import Size
from engine.live.config_section import Section
from engine.live.durations import Duration

S = 10**9
WORD = r"^[a-z][a-z0-9_]*$"

WHERE = frozenset(
    {
        *("url", "path", "mode", "begin", "every", "timeout", "silence", "hello", "headers", "secret_headers"),
        *("redis_key", "redis_field", "secret", "quota"),
    }
)
"""Keys that say where a stream is and how it is reached: the data are the same from there, and none is on a tape."""

SCHEMES = {"poll": ("http", "https"), "websocket": ("ws", "wss"), "redis": ("redis", "rediss", "unix")}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class SideFieldSection(Section):
    """A number of each row: ``path`` is a JSON path or a column; ``scale`` multiplies before the bounds are held."""

    path: str = Field(min_length=1)
    unit: str = ""
    low: float | None = None
    high: float | None = None
    scale: float = 1.0
    required: bool = True


class SideTimeSection(Section):
    """The source's own time of a row: data and freshness only, never what rows are joined by."""

    event: str = Field(min_length=1)
    unit: Unit = "ms"


class SideTextSection(Section):
    """A text whose score becomes a field: ``scorer`` by registered name or ``module:Class``."""

    path: str = Field(min_length=1)
    scorer: str = "lexicon"
    field: str = Field(default="sentiment", pattern=WORD)
    keep: bool = False


class SideSection(Section):
    """One stream; its features are ``side_NAME_FIELD``. Secrets stand in the environment, and only their names here.

    ``url``: ``${NAME}`` in it is an environment variable, as are the values of ``secret_headers`` and ``secret`` (of a
    webhook, which is POST /side/NAME). ``mode``: a file grows by lines (``append``) or is replaced; ``begin``: whether
    lines that are there already count. ``stale``: silence after which values are missing; ``oldest``, ``ahead``: how
    far a row's own time may be from ours. Below ``least_quality``, or after ``max_rejected`` bad rows in a row, the
    stream is out of use until ``good_rows`` good ones came. ``quota``: of its file of refused rows.
    """

    name: str = Field(pattern=WORD)
    source: Literal["poll", "websocket", "file", "redis", "webhook"]
    url: str = ""
    path: str = ""
    mode: Literal["append", "replace"] = "append"
    begin: Literal["start", "end"] = "end"
    every: Duration = Field(default=30 * S, ge=10_000_000)
    timeout: Duration = Field(default=10 * S, ge=10_000_000)
    silence: Duration = 0
    hello: list[str] = Field(default=[], max_length=64)
    headers: dict[str, str] = Field(default={})
    secret_headers: dict[str, str] = Field(default={})
    redis_key: str = ""
    redis_field: str = "data"
    secret: str = ""
    format: Literal["json", "jsonl", "csv", "parquet"] = "json"
    rows: str = ""
    fields: dict[str, SideFieldSection] = Field(default={})
    time: SideTimeSection | None = None
    text: SideTextSection | None = None
    key: str = ""
    stale: Duration = 0
    oldest: Duration = 0
    ahead: Duration = 2 * S
    max_rows: int = Field(default=1_000, ge=1, le=100_000)
    max_bytes: Size = Field(default=1 << 20, ge=64, le=64 << 20, json_schema_extra={"default": "1MiB"})
    max_per_second: float = Field(default=100.0, gt=0, le=10_000)
    remember: int = Field(default=4_096, ge=1, le=1_000_000)
    least_quality: float = Field(default=0.5, ge=0, le=0.9)
    max_rejected: int = Field(default=10, ge=1)
    good_rows: int = Field(default=10, ge=1)
    quota: Size = Field(default=8 << 20, ge=1 << 10, json_schema_extra={"default": "8MiB"})

    def schema_of(self) -> Schema:
        """The section in the adapter's words."""
        fields = tuple(
            FieldSpec(
                name,
                one.path,
                one.unit,
                float("-inf") if one.low is None else one.low,
                float("inf") if one.high is None else one.high,
                one.scale,
                one.required,
            )
            for name, one in self.fields.items()
        )
        text = self.text
        return Schema(
            name=self.name,
            format=self.format,
            rows=self.rows,
            fields=fields,
            event=TimeSpec(self.time.event, self.time.unit) if self.time is not None else None,
            key=self.key,
            text=TextSpec(text.path, text.scorer, text.field, text.keep) if text is not None else None,
            stale_ns=self.stale,
            oldest_ns=self.oldest,
            ahead_ns=self.ahead,
            most_rows=self.max_rows,
            most_bytes=self.max_bytes,
            most_per_s=self.max_per_second,
            remember=self.remember,
            least_quality=self.least_quality,
            most_rejected=self.max_rejected,
            good_rows=self.good_rows,
        )


def schema_problems(sections: Sequence[SideSection]) -> list[str]:
    """What is wrong with what the streams mean, which a replay needs too."""
    problems = []
    names = [section.name for section in sections]
    for number, section in enumerate(sections):
        where = f"side.{number}"
        if names.count(section.name) > 1 and names.index(section.name) < number:
            problems.append(f"{where}.name: expected a name used once, found {section.name!r} twice")
        problems += [f"{where}.{problem}" for problem in _of_schema(section)]
    if not problems:
        try:
            stream_families([section.schema_of().stream() for section in sections])
        except ValueError as error:
            problems.append(str(error))
    return problems


def _of_schema(section: SideSection) -> Iterator[str]:
    if not section.fields and section.text is None:
        yield f"fields: expected at least one [side.fields.NAME] or [side.text] of {section.name}, found none"
    for name, field in section.fields.items():
        if re.fullmatch(WORD, name) is None:
            yield f"fields.{name}: expected a name of small letters, digits and _ that starts with a letter"
        if field.low is not None and field.high is not None and field.low > field.high:
            yield f"fields.{name}.high: expected at least low = {field.low:g}, found {field.high:g}"
    if section.text is not None and section.text.field in section.fields:
        yield f"text.field: expected a name that no field has, found {section.text.field!r}"
    if section.rows and section.format in ("csv", "parquet"):
        yield f"rows: expected none for {section.format}, whose rows are its lines, found {section.rows!r}"
    if section.format in ("json", "jsonl"):
        try:
            compile_paths(section.schema_of())
        except SchemaError as error:
            yield f"{error.place}: {error}"


def source_problems(sections: Sequence[SideSection], *, redis: str = "", has_http: bool = True) -> list[str]:
    """What is wrong with where the streams come from; ``redis``: the address of ``[redis]``."""
    return [
        f"side.{number}.{problem}"
        for number, section in enumerate(sections)
        for problem in _of_source(section, redis, has_http)
    ]


def _of_source(section: SideSection, redis: str, has_http: bool) -> Iterator[str]:
    source = section.source
    if source in SCHEMES and not (source == "redis" and not section.url and redis):
        schemes = SCHEMES[source]
        if section.url.partition("://")[0] not in schemes:
            found = "an address of another kind" if section.url else "none"
            yield f"url: expected an address with {' or '.join(f'{one}://' for one in schemes)}, found {found}"
    if source == "redis" and not section.redis_key:
        yield "redis_key: expected the key of a stream of Redis, found none"
    if source == "file":
        if not section.path:
            yield "path: expected the path of a file, found none"
        if section.mode == "append" and section.format not in ("jsonl", "csv"):
            yield f'format: expected "jsonl" or "csv" for a file that grows by lines, found {section.format!r}'
    if source == "webhook" and not section.secret:
        yield "secret: expected the name of an environment variable with the secret of both sides, found none"
    if source == "webhook" and not has_http:
        yield "source: expected [http] to be enabled for a webhook, found it off"


def expanded(text: str, environ: Mapping[str, str], place: str) -> str:
    """A text with its ``${NAME}`` from the environment.

    Raises:
        LookupError: one of them is not set; the text says which and where.

    >>> expanded("https://x.example/?key=${KEY}", {"KEY": "s3"}, "side.0.url")
    'https://x.example/?key=s3'
    """

    def value(match: re.Match[str]) -> str:
        return variable(match[1], environ, place)

    return _VARIABLE.sub(value, text)


def variable(name: str, environ: Mapping[str, str], place: str) -> str:
    """An environment variable that must be set.

    Raises:
        LookupError: it is not.
    """
    if not environ.get(name):
        raise LookupError(f"{place}: expected the environment variable {name} to be set, found none")
    return environ[name]
