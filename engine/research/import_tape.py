"""``papertape import``: a recording of others, in its own format, to one Papertape tape.

The tape is written under another name beside its place and gets its name when it is whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any, Final

import engine
from adapters.entry import Entry
from adapters.tape import TapeHeader, TapeWriter, VenueHeader
from engine.research.import_ccapi import open_ccapi
from engine.research.import_deep_orderbook import open_deep_orderbook
from engine.research.import_lean import Hours, open_lean
from engine.research.import_source import Recording, SourceError

PROGRESS_ENTRIES: Final = 20_000


class Format(StrEnum):
    """What can be imported."""

    CCAPI = "ccapi"
    LEAN = "lean"
    DEEP_ORDERBOOK = "deep-orderbook"


def open_source(
    form: Format, sources: Sequence[Path], hours: Hours = Hours.REGULAR, off_exchange: bool = False
) -> Recording:
    """The recording as tape entries; ``hours`` and ``off_exchange`` are of ``lean`` alone.

    Raises:
        SourceError: the source is not what its format says.
    """
    match form:
        case Format.CCAPI:
            return open_ccapi(sources)
        case Format.LEAN:
            return open_lean(sources, hours, off_exchange)
        case Format.DEEP_ORDERBOOK:
            return open_deep_orderbook(sources)


def import_tape(
    form: Format,
    sources: Sequence[Path],
    out: Path,
    *,
    hours: Hours = Hours.REGULAR,
    off_exchange: bool = False,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write a tape and return the summary; ``progress`` hears the number of entries written.

    Raises:
        SourceError: the source is not what its format says, or the tape is there already.
        TapeNotWritten, OSError: the disk refuses.
    """
    if out.exists():
        raise SourceError(out, "the tape", "a name that is free (a tape is never overwritten)", "a file")
    if not out.parent.is_dir():
        raise SourceError(out, "the tape", "a folder that exists", f"no {out.parent}")
    found = open_source(form, sources, hours, off_exchange)
    entries = iter(found.entries)
    first = next(entries)
    header = TapeHeader(
        started_ns=first.ns,
        venues={found.venue: VenueHeader(found.use, found.symbols)},
        instruments=found.instruments,
        papertape=engine.__version__,
    )
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with TapeWriter(part, header, flush_s=None) as writer:
            last_ns = first.ns
            for entry in _counted(chain([first], entries), progress):
                writer.write(entry)
                last_ns = entry.ns
        part.rename(out)
    finally:
        part.unlink(missing_ok=True)
    tally = found.tally
    return {
        "format": form.value,
        "tape": str(out),
        "venue": found.venue,
        "symbols": found.symbols,
        "entries": writer.entries,
        "books": tally.books,
        "trades": tally.trades,
        "locked_or_crossed": tally.locked_or_crossed,
        "left_out": {reason: count for reason, count in sorted(tally.left_out.items()) if count},
        "first_ns": first.ns,
        "last_ns": last_ns,
        **tally.notes,
    }


def _counted(entries: Iterator[Entry], progress: Callable[[int], None] | None) -> Iterator[Entry]:
    for count, entry in enumerate(entries):
        if progress is not None and count % PROGRESS_ENTRIES == 0:
            progress(count)
        yield entry
