"""A tape with all that a replay needs to know of it: configuration, instruments, one feed a venue, its entries.

A run's own tape carries its configuration and instruments. One that others recorded gets instruments from its own list
or frames, and the configuration of ``--config`` or ``configs/replay.toml``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

import engine
from adapters.entry import Entry
from adapters.feed import Feed
from adapters.registry import venue_class
from adapters.tape import TapeHeader, read_tape, read_tapes
from engine.core.types import Instrument
from engine.live.build_instruments import override
from engine.live.config import AppConfig, load_config, parse_config
from engine.research.scan import VenueScan, scan

PROGRESS_ENTRIES: Final = 20_000


class ReplayError(Exception):
    """The tape and what it needs do not come together; the text says what is missing and what to do."""


class LoadedTape(msgspec.Struct):
    """One recording, opened; ``source`` says whose configuration it is, ``scans`` what others' tapes showed."""

    paths: list[Path]
    header: TapeHeader
    settings: AppConfig
    source: str
    names: dict[str, str]
    scans: Mapping[str, VenueScan]
    instruments: list[Instrument]
    feeds: dict[str, Feed]
    _entries: Iterator[Entry]

    def entries(self, progress: Callable[[int], None] | None = None) -> Iterator[Entry]:
        """The entries in order, once, with the venues' names as configured; ``progress`` hears their number."""
        return _renamed(_counted(self._entries, progress), self.names)


def load_tape(paths: Sequence[Path], config: Path | None = None, allow_torn: bool = False) -> LoadedTape:
    """Open one tape, or the files of one recording; a daemon's folder stands for the tapes of its latest run.

    Raises:
        TapeError: a file that is no whole tape.
        ConfigError: the configuration does not fit the tape.
        ReplayError, ScanError: see there.
    """
    found = [tape for path in paths for tape in _tapes(path)]
    header, entries = read_tapes(found, allow_torn)
    settings, source = _config(header, config)
    names = _venue_names(header, settings)
    scans = {} if header.instruments else scan(*read_tapes(found, allow_torn), names)
    instruments = _instruments(header, scans, settings, names)
    feeds = _feeds(header, instruments, names)
    return LoadedTape(found, header, settings, source, names, scans, instruments, feeds, iter(entries))


def run_tapes(folder: Path) -> list[Path]:
    """The tapes of the latest run in a daemon's folder, one a session; none where it has none.

    Their names are their times, and the header of each tells the session's number.

    Raises:
        TapeError: one of them has no header.
    """
    found: list[Path] = []
    for path in sorted((folder / "tape").glob("*.ptz"), reverse=True):
        found.insert(0, path)
        if read_tape(path, allow_torn=True)[0].session == 1:
            break
    return found


def read_config(paths: Sequence[Path], config: Path | None, allow_torn: bool) -> tuple[AppConfig, list[str]]:
    """The configuration under which ``replay`` would play a tape, and its venues by their names there.

    Raises:
        TapeError, ConfigError, ReplayError: see ``replay``.
    """
    header, _ = read_tapes([tape for path in paths for tape in _tapes(path)], allow_torn)
    settings = _config(header, config)[0]
    return settings, list(_venue_names(header, settings).values())


def _tapes(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = run_tapes(path)
    if not found:
        raise ReplayError(f"{path}: expected a tape, or a daemon's folder with tape/*.ptz, found neither")
    return found


def default_config() -> Path:
    """``configs/replay.toml`` of the source tree.

    Raises:
        ReplayError: the package is installed without it.
    """
    path = Path(engine.__file__).resolve().parent.parent / "configs" / "replay.toml"
    if not path.exists():
        raise ReplayError(f"expected a configuration for a tape without one, found none at {path}: give --config")
    return path


def _config(header: TapeHeader, path: Path | None) -> tuple[AppConfig, str]:
    if path is not None:
        return load_config(path), str(path)
    if header.config:
        return parse_config(header.config, "the tape's own configuration"), "the tape's own"
    path = default_config()
    return load_config(path), str(path)


def _venue_names(header: TapeHeader, config: AppConfig) -> dict[str, str]:
    """The config's name for each venue of the tape: the same name, or the only one that uses the same adapter."""
    names = {}
    for name, venue in header.venues.items():
        alike = [one for one, section in config.venue.items() if section.use == venue.use]
        names[name] = alike[0] if name not in config.venue and len(alike) == 1 and not header.instruments else name
    return names


def _instruments(
    header: TapeHeader, scans: Mapping[str, VenueScan], config: AppConfig, names: Mapping[str, str]
) -> list[Instrument]:
    found = list(header.instruments)
    for name, one in scans.items():
        section = config.venue.get(names[name])
        for symbol, instrument in one.instruments.items():
            where = f"venue.{names[name]}.instruments.{symbol}"
            found.append(override(instrument, section.instruments.get(symbol) if section else None, where))
    return found


def _feeds(header: TapeHeader, instruments: Sequence[Instrument], names: Mapping[str, str]) -> dict[str, Feed]:
    feeds = {}
    for name, venue in header.venues.items():
        called = names[name]
        mine = {one.symbol: (at, one) for at, one in enumerate(instruments) if one.venue == called}
        feeds[called] = Feed(called, venue_class(venue.use), mine)
    return feeds


def _renamed(entries: Iterable[Entry], names: Mapping[str, str]) -> Iterator[Entry]:
    if all(name == called for name, called in names.items()):
        yield from entries
        return
    for entry in entries:
        yield Entry(entry.kind, entry.ns, names.get(entry.source, entry.source), entry.token, entry.data)


def _counted(entries: Iterable[Entry], progress: Callable[[int], None] | None) -> Iterator[Entry]:
    if progress is None:
        yield from entries
        return
    for count, entry in enumerate(entries):
        if count % PROGRESS_ENTRIES == 0:
            progress(count)
        yield entry
