"""A fact in words for a person, and as plain values for a program."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from engine.core.records import AnyFact, Record

FACT_NAMES: Final = tuple(kind.__name__ for kind in AnyFact.__args__)
"""What ``--kind`` may name."""


def moment(ns: int) -> str:
    """A time to the microsecond, UTC.

    >>> moment(1_700_000_000_123_456_789)
    '2023-11-14 22:13:20.123456'
    """
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d %H:%M:%S}.{ns // 1000 % 10**6:06d}"


def plain(record: Record) -> dict[str, Any]:
    """A fact as one flat object: ``seq``, ``ns``, ``type``, and its fields."""
    fields = msgspec.to_builtins(record.fact)
    fields.pop("type")
    return {"seq": record.seq, "ns": record.ns, "type": type(record.fact).__name__, "fact": fields}


def words(record: Record) -> str:
    """A fact on one line.

    >>> from engine.core.records import Sent
    >>> words(Record(7, 1_700_000_000_000_000_000, Sent(3, 1_700_000_000_005_000_000)))
    '7  2023-11-14 22:13:20.000000  Sent  order=3 arrives_ns=1700000000005000000'
    """
    fields = " ".join(f"{name}={_value(value)}" for name, value in plain(record)["fact"].items())
    return f"{record.seq}  {moment(record.ns)}  {type(record.fact).__name__}  {fields}"


def _value(value: Any) -> str:
    """Text that is one word as it is, everything else as JSON.

    >>> _value("maker"), _value("two words"), _value(True), _value([1])
    ('maker', '"two words"', 'true', '[1]')
    """
    if isinstance(value, str) and value and value.isprintable() and not set(value) & set(" \"'="):
        return value
    return msgspec.json.encode(value).decode()
