"""Durations as people write them: ``60s``, ``1.5ms``, ``2h``; nanoseconds inside."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}


def parse_duration(text: object) -> int:
    """Nanoseconds of a duration text.

    >>> parse_duration("1.5ms"), parse_duration("2h")
    (1500000, 7200000000000)

    Raises:
        ValueError: not a number with a unit.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h|d)", text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError('expected a duration with a unit such as "500ms", "60s" or "2h"')
    return int(Decimal(match[1]) * NS[match[2]])


def duration_text(ns: int) -> str:
    """The shortest exact text of a duration.

    >>> duration_text(1_500_000), duration_text(7_200 * 10**9), duration_text(0)
    ('1500us', '2h', '0s')
    """
    if ns == 0:
        return "0s"
    unit = next(unit for unit in ("d", "h", "m", "s", "ms", "us", "ns") if ns % NS[unit] == 0)
    return f"{ns // NS[unit]}{unit}"


Duration = Annotated[int, BeforeValidator(parse_duration), PlainSerializer(duration_text)]
"""A config field in nanoseconds, written as text with a unit."""
