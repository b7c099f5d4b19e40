"""Finds out, before a replay starts, what is traded on a tape that does not say so itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from adapters.contract import AdapterError, Venue
from adapters.entry import Entry, EntryKind
from adapters.feed import INSTRUMENTS
from adapters.registry import venue_class
from adapters.tape import TapeHeader
from engine.core.types import Instrument


class ScanError(Exception):
    """Nobody knows what is traded on the tape; the text says what is missing and what to do."""


class VenueScan(msgspec.Struct):
    """What one venue's entries show: instruments by the venue's own symbol, and counts that explain a silent book."""

    venue: type[Venue]
    instruments: dict[str, Instrument] = {}
    frames: int = 0
    replies: int = 0


def scan(header: TapeHeader, entries: Iterable[Entry], names: Mapping[str, str]) -> dict[str, VenueScan]:
    """Read a tape once: the venue's own list of instruments if it is there, else what the frames show.

    ``names`` gives the venue's name in the config for its name on the tape.

    Raises:
        ScanError: no adapter understands a venue, or no instrument could be made out.
    """
    found = {}
    for name, venue in header.venues.items():
        if not venue.use:
            raise ScanError(
                f"venue {name} of the tape: expected frames that an adapter understands, found none: "
                "install its adapter, or write one (`papertape new venue`)"
            )
        found[name] = VenueScan(venue_class(venue.use))
    listings: dict[str, bytes] = {}

    def frames(name: str) -> Iterator[bytes]:
        one = found[name]
        for entry in entries:
            if entry.kind is EntryKind.RECEIVED and entry.source == name:
                one.frames += 1
                yield entry.data
            elif entry.kind is EntryKind.REPLIED and entry.token == INSTRUMENTS:
                listings[entry.source] = entry.data
            elif entry.kind is EntryKind.REPLIED:
                found[entry.source].replies += 1

    if len(found) != 1:
        raise ScanError(f"expected one venue on a foreign tape, found {', '.join(found)}")
    (name,) = found
    one = found[name]
    called = names.get(name, name)
    left = frames(name)
    shown = one.venue.infer_instruments(called, left)
    for _ in left:
        pass  # the counts and the list need the rest of the tape, whatever the venue needed of it
    wanted = set(header.venues[name].symbols) or set(shown)
    if name in listings:
        listed = _listed(one.venue, called, listings[name])
        shown |= {symbol: instrument for symbol, instrument in listed.items() if symbol in wanted}
    one.instruments = {symbol: shown[symbol] for symbol in sorted(wanted) if symbol in shown}
    if not one.instruments:
        raise ScanError(
            f"venue {name} of the tape: expected frames or a list that tell its instruments, found neither: "
            "give them in the config under [venue.NAME.instruments.SYMBOL]"
        )
    return found


def _listed(venue: type[Venue], name: str, body: bytes) -> dict[str, Instrument]:
    try:
        return venue.parse_instruments(name, body)
    except AdapterError:
        return {}  # a list that cannot be read leaves what the frames show
