"""Venues by name: entry points of the group ``papertape.venues``, or ``module:Class``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from adapters.contract import Venue

GROUP = "papertape.venues"


class UnknownVenue(LookupError):
    """No venue is registered under that name, or what is named is not a venue; the text says what there is."""


@cache
def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def venue_names() -> list[str]:
    """The registered names, sorted.

    >>> "binance-spot" in venue_names()
    True
    """
    return sorted(_registered())


def venue_class(use: str) -> type[Venue]:
    """The class of a registered name or of ``module:Class``.

    Raises:
        UnknownVenue: nothing such, with the names that there are.

    >>> venue_class("adapters.binance:BinanceSpot").spec.name
    'binance-spot'
    """
    entry = _registered().get(use)
    module, colon, name = entry.value.partition(":") if entry else use.partition(":")
    if not colon:
        raise UnknownVenue(f"expected one of {', '.join(venue_names())} or module:Class, found {use!r}")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UnknownVenue(f"expected a venue at {use!r}, found that it cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Venue)):
        raise UnknownVenue(f"expected a subclass of adapters.contract.Venue at {use!r}, found {found!r}")
    return found


def sniff(frames: Iterable[bytes]) -> str | None:
    """The registered name of the venue whose frames these are, by the most votes; None where no venue knows any."""
    venues = {name: venue_class(name) for name in venue_names()}
    votes = Counter(name for frame in frames for name, venue in venues.items() if venue.sniff(frame))
    return votes.most_common(1)[0][0] if votes else None
