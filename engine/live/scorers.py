"""Scorers of side streams' texts, by name."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.side.scorer import SCORERS, Scorer
from engine.live.config_side import SideSection
from engine.live.plugins import PluginError, names, resolve


def scorer_of(name: str) -> Scorer:
    """A scorer by its name, one that ships or was registered, or ``module:Class``.

    Raises:
        PluginError: there is none, or it is none.

    >>> scorer_of("lexicon").score("a strong rally")
    1.0
    """
    if name in SCORERS:
        return SCORERS[name]()
    if ":" not in name and name not in names("scorers"):
        known = ", ".join(sorted({*SCORERS, *names("scorers")}))
        raise PluginError(f"expected module:Class or one of {known}, found {name!r}")
    kind = resolve("scorers", name)
    try:
        found = kind()
    except Exception as error:  # the user's class may raise anything; all of it means the same to the caller
        raise PluginError(f"expected a scorer built without arguments at {name!r}, found {error}") from error
    if not isinstance(found, Scorer):
        raise PluginError(f"expected a class with score(text) at {name!r}, found {kind!r}")
    return found


def scorer_problems(sections: Sequence[SideSection]) -> list[str]:
    """Scorers that cannot be had; a replay needs none of them."""
    problems = []
    for number, section in enumerate(sections):
        if section.text is not None:
            try:
                scorer_of(section.text.scorer)
            except PluginError as error:
                problems.append(f"side.{number}.text.scorer: {error}")
    return problems
