"""A black box as a file: a zip archive with an index that says why, when and which record, and what is in it.

The journal in it is a journal like any other, cut to the time from the snapshot on, so every command reads it.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

FORMAT: Final = 1
SUFFIX: Final = ".ptb"
INDEX: Final = "index.json"


class BoxError(Exception):
    """The box cannot be made, read or played; the text says what was expected and found, and what to do."""


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """What a box says of itself.

    ``reason`` is one word, ``detail`` the words of the incident, ``ns`` its engine time (0: not known), ``seq`` and
    ``fact`` the record that it is about (0 and empty: none). ``snapshot`` is the member with the state (empty: none),
    which stood behind fact ``snapshot_seq`` with ``digest``. ``facts`` counts those in the journal of the box, the
    last is ``last_seq``. ``tapes`` are of the sessions in order; ``has_start``: they or the journal reach back to the
    run's start. ``sources``: member by module. ``left_out`` says what had no place, ``damage`` what could not be read.
    """

    format: int = FORMAT
    reason: str
    detail: str
    ns: int
    seq: int
    fact: str
    run: str
    session: int
    written_ns: int
    papertape: str
    python: str
    packages: dict[str, str]
    code: dict[str, str]
    snapshot: str = ""
    snapshot_seq: int = 0
    digest: str = ""
    inputs: int = 0
    facts: int = 0
    last_seq: int = 0
    tapes: list[str] = []
    has_start: bool = False
    models: list[str] = []
    sources: dict[str, str] = {}
    left_out: list[str] = []
    damage: str = ""


class _Format(msgspec.Struct):
    format: int


def is_box(path: Path) -> bool:
    """Whether a file is a black box, by its content."""
    try:
        with zipfile.ZipFile(path) as archive:
            return INDEX in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def read_index(path: Path) -> Index:
    """What a box says of itself, without unpacking it.

    Raises:
        BoxError: it is none, is damaged, or was made by a later papertape.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            data = archive.read(INDEX)
    except (OSError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise BoxError(f"{path}: expected a black box, found: {error}") from error
    try:
        found = msgspec.json.decode(data, type=_Format).format
        if found != FORMAT:
            raise BoxError(f"{path}: expected format {FORMAT}, found {found}: of another papertape, which may play it")
        return msgspec.json.decode(data, type=Index)
    except msgspec.DecodeError as error:
        raise BoxError(f"{path}: {INDEX}: expected the index of a black box, found: {error}") from error


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[Index, Path]]:
    """The index, and a folder with all members, which goes when the block ends.

    Raises:
        BoxError: it is no whole box; each member is held against its checksum.
    """
    index = read_index(path)
    with TemporaryDirectory(prefix="papertape-box-") as name:
        folder = Path(name)
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise BoxError(f"{path}: expected a whole black box, found: {error}") from error
        yield index, folder
