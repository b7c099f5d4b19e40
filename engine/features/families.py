"""Every family by name, and what the name of a feature set stands for."""

from __future__ import annotations

import copyreg
import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from engine.core.side import SideStream
from engine.features import (
    bars,
    book,
    calendar,
    flow,
    impact,
    leaders,
    levels,
    order_flow,
    queue,
    returns,
    spectral,
    staleness,
    statistics,
    touch,
    trades,
    wavelet,
)
from engine.features.family import Family
from engine.features.side import GROUP, stream_families

_MODULES = {
    "book": book,
    "flow": flow,
    "returns": returns,
    "levels": levels,
    "order_flow": order_flow,
    "queue": queue,
    "trades": trades,
    "impact": impact,
    "statistics": statistics,
    "staleness": staleness,
    "calendar": calendar,
    "leaders": leaders,
    "touch": touch,
    "bars": bars,
    "spectral": spectral,
    "wavelet": wavelet,
}
FAMILIES: Mapping[str, Family] = MappingProxyType({name: Family(name, module) for name, module in _MODULES.items()})
"""All that there are; the order is that of the set ``wide``."""


def family(name: str) -> Family:
    """The family of a name that is one of ``FAMILIES``."""
    return FAMILIES[name]


# There is one of each, with its machine code: what is taken from a snapshot means that one.
copyreg.pickle(Family, lambda one: (family, (one.name,)))

STANDARD = ("book", "flow", "returns")
"""The families of the default set: 23 features that are never nan once the set's warm-up is over."""

ALPHA = (*STANDARD, "touch")
"""What the model ``primary`` reads."""

NEVER_MISSING = (*ALPHA, "order_flow", "staleness", "calendar")
"""Families whose features are never nan once their warm-up is over; those of all others may be undefined later too."""

SETS: Mapping[str, tuple[str, ...]] = MappingProxyType({"standard": STANDARD, "alpha": ALPHA, "wide": tuple(FAMILIES)})
"""Names that stand for several families."""

OWNERS: Mapping[str, str] = MappingProxyType({each: name for name, one in FAMILIES.items() for each in one.names})
"""The family of each feature."""


class UnknownFeature(ValueError):
    """A name that is no set, family or feature, or a feature named twice; the text says which there are."""


class Selection(msgspec.Struct, frozen=True):
    """Families to be computed, and which of their features to show: indices into all of theirs, one after the other."""

    families: tuple[Family, ...]
    columns: tuple[int, ...]


def select(features: str | Sequence[str], streams: Sequence[SideStream] = ()) -> Selection:
    """What a name, or a list of names of sets, families and features, stands for; columns in the order of the list.

    ``streams``: side streams; ``side`` names all of them, ``side:NAME`` one.

    Raises:
        UnknownFeature: a name that is none of them, or a feature that is named twice.

    >>> [one.name for one in select("standard").families]
    ['book', 'flow', 'returns']
    >>> chosen = select(["volatility_5s", "spread_bps"])
    >>> [one.name for one in chosen.families], chosen.columns
    (['book', 'returns'], (13, 0))
    >>> select(["volatility"])
    Traceback (most recent call last):
    engine.features.families.UnknownFeature: features: expected a set (standard, alpha, wide), a family (...)...
    """
    side = stream_families(streams)
    families: dict[str, Family] = {**FAMILIES, **side}
    owners = {**OWNERS, **{each: name for name, one in side.items() for each in one.names}}
    names: list[str] = []
    for name in [features] if isinstance(features, str) else features:
        if name in SETS:
            names += [each for family in SETS[name] for each in FAMILIES[family].names]
        elif name == GROUP and side:
            names += [each for one in side.values() for each in one.names]
        elif name in families:
            names += families[name].names
        elif name in owners:
            names.append(name)
        else:
            close = difflib.get_close_matches(name, owners, n=3)
            near = f" (close to it: {', '.join(close)})" if close else ""
            raise UnknownFeature(
                f"features: expected a set ({', '.join(SETS)}), a family ({', '.join(families)}) "
                f"or a feature of one{near}, found {name!r}"
            )
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice or not names:
        found = f"{', '.join(twice)} twice" if twice else "none"
        raise UnknownFeature(f"features: expected at least one, each once, found {found}")
    wanted = {owners[name] for name in names}
    chosen = tuple(one for name, one in families.items() if name in wanted)
    every = [name for one in chosen for name in one.names]
    return Selection(chosen, tuple(every.index(name) for name in names))
