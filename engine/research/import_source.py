"""What every importer shares: the recording it hands out, the counts it keeps, and how a bad source is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.entry import Entry, EntryKind
from adapters.feed import INSTRUMENTS
from adapters.plain_instruments import page
from engine.core.types import Instrument


class SourceError(Exception):
    """A source that is not what its format says; one line with the file, the place in it, and what was found.

    >>> print(SourceError("a.csv", "line 3", "a price", "'x'"))
    a.csv: line 3: expected a price, found 'x'
    """

    def __init__(self, path: Path | str, where: str, expected: str, found: str) -> None:
        super().__init__(f"{path}: {where}: expected {expected}, found {found}")


@dataclass(slots=True)
class Tally:
    """What an import has handed out and left out so far; ``left_out`` by its reason."""

    books: int = 0
    trades: int = 0
    locked_or_crossed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Recording:
    """A foreign recording as tape entries in the order of time.

    ``venue`` is its name on the tape, ``use`` the adapter that reads its frames. ``instruments`` is empty where the
    replay shall find them in the frames. ``tally`` is complete when ``entries`` ended.
    """

    venue: str
    use: str
    symbols: list[str]
    instruments: list[Instrument]
    entries: Iterator[Entry]
    tally: Tally


def opening(venue: str, instruments: Sequence[Instrument], ns: int) -> list[Entry]:
    """A connection opens, after the list of what is traded there."""
    return [
        Entry(EntryKind.REPLIED, ns, venue, INSTRUMENTS, page(instruments)),
        Entry(EntryKind.OPENED, ns, venue),
    ]


def files_of(sources: Sequence[Path]) -> list[Path]:
    """The files that are meant: those named, and those in the folders named, by name.

    Raises:
        SourceError: there is no such file or folder.
    """
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            found.extend(sorted(path for path in source.iterdir() if path.is_file()))
        elif source.is_file():
            found.append(source)
        else:
            raise SourceError(source, "the source", "a file or a folder", "neither")
    return found
