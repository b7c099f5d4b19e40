"""``[journal]``: the log of a run on disk, by which it is recovered: how safe, how large, how often a snapshot."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from engine.live.config_section import Section
from engine.live.durations import Duration, parse_duration
from engine.live.journal.writer import JournalSettings

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def parse_size(text: object) -> int:
    """Bytes of a size text.

    >>> parse_size("64MiB"), parse_size("0B")
    (67108864, 0)

    Raises:
        ValueError: not a whole number with a unit.
    """
    match = re.fullmatch(r"(\d{1,12})\s*(B|KiB|MiB|GiB|TiB)", text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError('expected a size with a unit such as "512KiB", "64MiB" or "4GiB"')
    return int(match[1]) * UNITS[match[2]]


def size_text(size: int) -> str:
    """The shortest exact text of a size.

    >>> size_text(67108864), size_text(1000)
    ('64MiB', '1000B')
    """
    unit = next(unit for unit in reversed(UNITS) if size % UNITS[unit] == 0) if size else "B"
    return f"{size // UNITS[unit]}{unit}"


def _sync(text: object) -> str:
    """When the journal is made durable.

    >>> _sync("always"), _sync("250ms")
    ('always', '250ms')

    Raises:
        ValueError: another word, or no duration.
    """
    if text in ("always", "off"):
        return str(text)
    try:
        if parse_duration(text) <= 0:
            raise ValueError
    except ValueError as error:
        raise ValueError('expected "always", "off" or a duration above zero such as "1s"') from error
    return str(text)


def _segment(size: int) -> int:
    if not 1 << 16 <= size <= 1 << 32:
        raise ValueError(f"a size between 64KiB and 4GiB, found {size_text(size)!r}")
    return size


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(size_text),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,12}\s*(B|KiB|MiB|GiB|TiB)$"}),
]
"""A config field in bytes, written as text with a unit."""

Sync = Annotated[str, BeforeValidator(_sync)]


class JournalSection(Section):
    """What is told is in the journal first. A killed process loses none; ``fsync`` bounds what a loss of power takes.

    ``fsync``: how often, ``always`` after every commit, or ``off`` (only when a segment is full and at the stop).
    ``segment``: a file of the journal is closed when it is so large. ``quota``: of all of it, 0B for none; what stands
    before the last snapshot loses its inputs and is compressed, and with ``keep = "quota"`` the oldest facts go where
    that is not enough. ``snapshot_every``: how far apart the places are from which a start can go on.
    """

    enabled: bool = True
    fsync: Sync = "1s"
    segment: Annotated[Size, AfterValidator(_segment)] = Field(default=64 << 20, json_schema_extra={"default": "64MiB"})
    quota: Size = Field(default=4 << 30, json_schema_extra={"default": "4GiB"})
    keep: Literal["all", "quota"] = "all"
    snapshot_every: Duration = Field(
        default=60 * 10**9, ge=10**9, json_schema_extra={"type": "string", "default": "60s"}
    )

    def settings(self) -> JournalSettings:
        """The section in the journal's words."""
        words = {"always": 0, "off": None}
        every = words[self.fsync] if self.fsync in words else parse_duration(self.fsync)
        return JournalSettings(sync_every_ns=every, segment_bytes=self.segment, quota_bytes=self.quota, keep=self.keep)
