"""``[paper.rules.VENUE]``: which kind of venue's rules a venue of the run has, and what of them is otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from pydantic import Field, field_validator

from engine.core.desk.order_terms import SelfTrade
from engine.core.venue.venue_families import FAMILIES
from engine.core.venue.venue_rules import VenueRules
from engine.live.config_section import Section
from engine.live.durations import Duration

EVERYWHERE = "*"
"""The section for all venues that have none of their own."""


class RulesSection(Section):
    """``family`` names the rules, by default those that the venue's adapter names; the rest changes single ones.

    See ``VenueRules`` (engine/core/venue/venue_rules.py) for each.
    """

    family: str | None = None
    day_ends: Duration | None = None
    rejects_reached: bool | None = None
    lets_in_parts: bool | None = None
    ends_pair_on_part: bool | None = None
    pegs_follow: bool | None = None
    self_trade: SelfTrade | None = None
    max_orders: int | None = Field(default=None, ge=0)
    max_algo_orders: int | None = Field(default=None, ge=0)
    checks_filters: bool | None = None
    volatility_step: Duration | None = Field(default=None, gt=0)
    volatility_samples: int | None = Field(default=None, ge=1, le=10_000)

    @field_validator("family")
    @classmethod
    def _is_known(cls, family: str | None) -> str | None:
        if family is not None and family not in FAMILIES:
            raise ValueError(f"expected one of {', '.join(FAMILIES)}")
        return family

    @field_validator("day_ends")
    @classmethod
    def _is_in_a_day(cls, day_ends: int | None) -> int | None:
        if day_ends is not None and not 0 <= day_ends < 86_400_000_000_000:
            raise ValueError("expected less than 24h after midnight UTC")
        return day_ends


def venue_rules(
    sections: Mapping[str, RulesSection], venues: Iterable[str], families: Mapping[str, str]
) -> dict[str, VenueRules]:
    """The rules of each venue by its name in the config; ``families``: what their adapters name.

    >>> venue_rules({}, ["a", "b"], {"a": "kraken"})["a"].words["would_take"]
    'EOrder:Post only order'
    >>> venue_rules({"*": RulesSection(self_trade="decrement")}, ["b"], {})["b"].self_trade.value
    'decrement'
    """
    found = {}
    for venue in dict.fromkeys(venues):
        section = sections.get(venue, sections.get(EVERYWHERE, RulesSection()))
        said = {name: getattr(section, name) for name in type(section).model_fields}
        told: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        rules = FAMILIES[told.pop("family", families.get(venue, "plain"))]
        told = {f"{name}_ns" if name in ("day_ends", "volatility_step") else name: told[name] for name in told}
        found[venue] = msgspec.structs.replace(rules, **told)
    return found


def unknown_rules(sections: Iterable[str], venues: Iterable[str]) -> list[str]:
    """Sections of no venue of the run: each a mistake of the config."""
    names = sorted(set(venues))
    return [
        f"paper.rules.{name}: expected a venue of the run ({', '.join(names)}) or {EVERYWHERE!r}, found {name!r}"
        for name in sections
        if name not in names and name != EVERYWHERE
    ]
