"""``[paper.gate.NAME]``: what a venue's door refuses: its limits, its bad moments, its maintenance."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from engine.core.venue.gateway import Gate, Outage
from engine.core.venue.rate_limits import DAY_NS, RateLimit, UnknownLimits, limits_of
from engine.live.config_section import Money, Section
from engine.live.durations import Duration, parse_duration

MILLION = 1_000_000


def _rate(text: object) -> str:
    """``100/10s``: so many orders in so long a window.

    >>> _rate("100/10s")
    '100/10s'

    Raises:
        ValueError: another text.
    """
    match = re.fullmatch(r"([1-9]\d{0,6})/(.+)", text) if isinstance(text, str) else None
    if match is None or not 0 < parse_duration(match[2]) <= DAY_NS:
        raise ValueError('expected orders in a window of at most a day such as "100/10s"')
    return str(text)


Rate = Annotated[str, BeforeValidator(_rate)]


class OutageSection(Section):
    """``at`` is a time of day in UTC (``03:00``), daily, or one moment (``2026-11-21T03:00:00Z``)."""

    at: str
    lasts: Duration = Field(gt=0)

    @model_validator(mode="after")
    def _is_a_time(self) -> OutageSection:
        outage(self)
        return self


class GateSection(Section):
    """``limits`` and ``tier`` name a table of engine/core/venue/rate_limits.py; ``orders`` gives an account's own.

    ``reject_rate``: the share of orders and amends that the venue refuses by chance, drawn from ``seed``.
    """

    limits: str = ""
    tier: str = ""
    orders: list[Rate] = Field(default=[], max_length=8)
    reject_rate: Money = Field(default=Decimal(0), ge=0, le=1)
    seed: int = Field(default=1, ge=0)
    outages: list[OutageSection] = Field(default=[], max_length=64)

    @model_validator(mode="after")
    def _names_exist(self) -> GateSection:
        try:
            if self.limits:
                limits_of(self.limits).decay(self.tier)
        except UnknownLimits as error:
            raise ValueError(str(error)) from error
        if self.tier and not self.limits:
            raise ValueError(f"limits beside the tier, found tier {self.tier!r} alone")
        return self


def outage(section: OutageSection) -> Outage:
    """An outage in the core's words.

    Raises:
        ValueError: not a time of day, nor a moment with its zone.
    """
    try:
        if "T" in section.at:
            moment = datetime.fromisoformat(section.at)
            if moment.tzinfo is None:
                raise ValueError("no zone")
            since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
            start_ns = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
            return Outage(start_ns, section.lasts)
        clock = time.fromisoformat(section.at)
        if clock.tzinfo is not None or clock.microsecond:
            raise ValueError("a zone or parts of a second")
        if section.lasts >= DAY_NS:
            raise ValueError("a day or more")
        seconds = (clock.hour * 60 + clock.minute) * 60 + clock.second
        return Outage(seconds * 10**9, section.lasts, daily=True)
    except ValueError as error:
        expected = '"HH:MM" (UTC, daily, less than a day long) or a moment such as "2026-11-21T03:00:00Z"'
        raise ValueError(f"{expected}, found {section.at!r}: {error}") from error


def unknown_gates(gates: Iterable[str], venues: Iterable[str]) -> list[str]:
    """One line for each door of a venue that the run does not have.

    >>> unknown_gates(["sim", "*", "binnance"], ["sim"])
    ["paper.gate.binnance: expected a venue of this run (sim) or '*', found none of that name"]
    """
    known = list(dict.fromkeys(venues))
    return [
        f"paper.gate.{name}: expected a venue of this run ({', '.join(known)}) or '*', found none of that name"
        for name in gates
        if name not in known and name != "*"
    ]


def gate_settings(gates: dict[str, GateSection]) -> dict[str, Gate]:
    """The sections in the core's words."""
    made = {}
    for name, section in gates.items():
        own = []
        for rate in section.orders:
            limit, _, window = rate.partition("/")
            words = f"rate limit of {limit} orders in {window} reached"
            own.append(RateLimit(int(limit), parse_duration(window), is_rolling=True, words=words))
        made[name] = Gate(
            limits=section.limits,
            tier=section.tier,
            own=tuple(own),
            reject_ppm=int(section.reject_rate * MILLION),
            seed=section.seed,
            outages=tuple(outage(one) for one in section.outages),
        )
    return made
