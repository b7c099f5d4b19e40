"""How a ``[[model]]`` is watched for drift, in words that the models understand."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field

from engine.learn.drift.settings import DriftSettings
from engine.live.config_section import Section
from engine.live.durations import NS, parse_duration


class DriftSection(Section):
    """``[model.drift_options]``: lengths in labels; see ``DriftSettings`` in engine/learn/drift/settings.py."""

    past: int | None = Field(default=None, ge=500)
    warm: int | None = Field(default=None, ge=100)
    settle: int | None = Field(default=None, ge=0)
    grade: int | None = Field(default=None, ge=200)
    late: int | None = Field(default=None, ge=0)
    aside: int | None = Field(default=None, ge=1)
    size: float | None = Field(default=None, ge=0, le=1)
    threshold: float | None = Field(default=None, ge=0)


WORDS = {"second": "s", "minute": "m", "hour": "h", "day": "d"}


def parse_budget(text: str) -> tuple[float, int]:
    """Alarms, and the span in ns in which there may be so many.

    >>> parse_budget("1 per day"), parse_budget("2 per 6h")
    ((1.0, 86400000000000), (2.0, 21600000000000))

    Raises:
        ValueError: not a budget.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) per (\S+)", text.strip())
    if match is None:
        raise ValueError(f'expected alarms in a span such as "1 per day" or "2 per 6h", found {text!r}')
    span = match[2]
    return float(match[1]), NS[WORDS[span]] if span in WORDS else parse_duration(span)


def drift_settings(
    detector: str | None,
    budget: str | None,
    also: tuple[str, ...] | None,
    answers: tuple[str, ...] | None,
    options: DriftSection,
) -> DriftSettings:
    """The settings of the keys that were given.

    Raises:
        ValueError: not a budget.

    >>> drift_settings("cusums", "1 per hour", None, ("shrink",), DriftSection(grade=500)).span_ns
    3600000000000
    """
    told: dict[str, Any] = {"detector": detector, "also": also, "answers": answers}
    if budget is not None:
        told["alarms"], told["span_ns"] = parse_budget(budget)
    told |= options.model_dump()
    return DriftSettings(**{key: value for key, value in told.items() if value is not None})
