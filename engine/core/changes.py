"""What a configuration that changed between two sessions means for a run that goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from engine.core.desk.limits import RiskSettings
from engine.core.roster import Factory


class Changes(NamedTuple):
    """``built``: strategies that are new or have other settings, by name; of these ``anew`` take over nothing of what
    had their name before. ``gone``: names that are not there any more. All others stay as they are.
    """

    risk: RiskSettings
    built: Mapping[str, Factory]
    anew: frozenset[str]
    gone: tuple[str, ...]


Reader: TypeAlias = Callable[[Mapping[str, Any]], Changes]
"""Makes changes of the arguments of a ``configure`` command; remembers what is in force."""


def unreadable(args: Mapping[str, Any]) -> Changes:
    """An engine that was not built from a configuration has none to change."""
    raise ValueError(f"expected an engine built from a configuration, found one without that is told {sorted(args)}")
