"""Papertape's own tape, and the one door to every kind of tape.

A tape is a text of lines inside zstd frames: a header line, an entry a line, and ``end <entries>`` last. Each frame
holds whole lines and carries a checksum, so what a damaged or torn tape still gives out is right. ``TAPES.md``
describes the format byte by byte.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes

import msgspec

from adapters.entry import Entry, EntryKind
from adapters.tape_bytes import ZSTD_MAGIC, Torn, compress_frame, lines, pieces
from adapters.tape_formats import open_foreign
from adapters.tape_types import FORMAT_VERSION, TORN_ADVICE, TapeError, TapeHeader, TapeNotWritten, VenueHeader, shown

__all__ = ["TapeError", "TapeHeader", "TapeNotWritten", "TapeWriter", "VenueHeader", "read_tape", "read_tapes"]

MAGIC = b"papertape "
FLUSH_BYTES = 1 << 20
FLUSH_SECONDS = 1.0
PENDING_LIMIT = 1 << 26

_PLAIN = {kind: kind.value.encode() for kind in EntryKind}
_CODED = {kind: kind.value.upper().encode() for kind in EntryKind}
_KINDS = {letter: (kind, False) for kind, letter in _PLAIN.items()} | {
    letter: (kind, True) for kind, letter in _CODED.items()
}


@lru_cache(maxsize=4096)
def _word(text: str) -> bytes:
    """A source or token as one word: ``-`` for the empty text, the rest percent-encoded.

    >>> _word(""), _word("-"), _word("depth:BTCUSDT"), _word("a b")
    (b'-', b'%2D', b'depth:BTCUSDT', b'a%20b')
    """
    if not text:
        return b"-"
    return b"%2D" if text == "-" else quote(text, safe=":/@.,=+").encode()


@lru_cache(maxsize=4096)
def _text(word: bytes) -> str:
    return "" if word == b"-" else unquote_to_bytes(word).decode()


def encode_entry(entry: Entry) -> bytes:
    r"""One line of the tape, with its newline.

    >>> encode_entry(Entry(EntryKind.RECEIVED, 7, "sim", "", b'{"a":1}'))
    b'7 r sim - {"a":1}\n'
    >>> encode_entry(Entry(EntryKind.RECEIVED, 7, "sim", "", b"\xff\n"))
    b'7 R sim - /wo=\n'
    """
    data = entry.data
    letter = _PLAIN[entry.kind]
    if b"\n" in data or not (data.isascii() or _is_utf8(data)):
        letter = _CODED[entry.kind]
        data = base64.b64encode(data)
    return b"%d %b %b %b %b\n" % (entry.ns, letter, _word(entry.source), _word(entry.token), data)


class NoEntry(ValueError):
    """A line that is no entry."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected = expected
        self.found = found


def decode_entry(line: bytes) -> Entry:
    r"""The entry of a line without its newline.

    Raises:
        NoEntry: it is none.

    >>> decode_entry(b'7 r sim - {"a":1}').data
    b'{"a":1}'
    """
    words = line.split(b" ", 4)
    if len(words) != 5:
        raise NoEntry("five words", shown(line))
    kind, coded = _KINDS.get(words[1], (None, False))
    if kind is None:
        raise NoEntry(f"a kind of {_letters()}", shown(words[1]))
    try:
        data = base64.b64decode(words[4], validate=True) if coded else words[4]
        return Entry(kind, int(words[0]), _text(words[2]), _text(words[3]), data)
    except (ValueError, binascii.Error) as error:
        raise NoEntry("a whole entry", f"{shown(line)} ({error})") from error


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class TapeWriter:
    """Writes one new tape; entries are appended on the caller's thread, compressed and stored on another.

    ``write`` costs about a microsecond. It waits only when the disk is 64 MiB behind. What was written more than
    about a second ago is in the file even if the process is killed. With ``flush_s`` None frames are cut by size alone,
    so the same entries make the same bytes.

    Raises:
        FileExistsError: a tape is never overwritten.
        TapeNotWritten: the disk refuses; raised by the next ``write`` or by ``close``.
    """

    def __init__(self, path: Path | str, header: TapeHeader, *, flush_s: float | None = FLUSH_SECONDS) -> None:
        self.path = Path(path)
        self.entries = 0
        self.stored = 0  # of them, those that are in the file
        self._file: BinaryIO = self.path.open("xb")
        self._changed = threading.Condition()
        self._full: list[list[bytes]] = []  # blocks of FLUSH_BYTES
        self._pending: list[bytes] = []  # the block that still fills
        self._filled = 0
        self._pending_bytes = 0  # of all of them
        self._closing = False
        self._failure: OSError | None = None
        self._flush_s = flush_s
        try:
            self._store(MAGIC + b"%d " % FORMAT_VERSION + msgspec.json.encode(header) + b"\n")
        except OSError as error:
            with suppress(OSError):
                self._file.close()
            self.path.unlink(missing_ok=True)
            raise TapeNotWritten(str(self.path), error.strerror or str(error)) from error
        self._thread = threading.Thread(target=self._run, name=f"tape {self.path.name}", daemon=True)
        self._thread.start()

    def write(self, entry: Entry) -> None:
        """Append one entry."""
        self.write_line(encode_entry(entry))

    def write_line(self, line: bytes) -> None:
        """Append one entry as ``encode_entry`` gives it."""
        with self._changed:
            if self._closing:
                raise ValueError(f"{self.path}: expected an open tape, found a closed one")
            while self._pending_bytes > PENDING_LIMIT and self._failure is None:
                self._changed.wait()
            if self._failure is not None:
                raise self._refusal(self._failure)
            self._pending.append(line)
            self._pending_bytes += len(line)
            self._filled += len(line)
            self.entries += 1
            if self._filled >= FLUSH_BYTES:
                self._full.append(self._pending)
                self._pending, self._filled = [], 0
                self._changed.notify_all()

    def close(self) -> None:
        """Store what is pending and the last line, and wait until it is on the disk."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if not self._file.closed:
            try:
                if self._failure is None:
                    self._store(b"end %d\n" % self.entries)
                    os.fsync(self._file.fileno())
            except OSError as error:
                self._failure = error
            with suppress(OSError):  # it flushes what could not be stored
                self._file.close()
        if self._failure is not None:
            raise self._refusal(self._failure)

    def __enter__(self) -> TapeWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                if not self._closing and not self._full:
                    self._changed.wait(self._flush_s)
                closing = self._closing
                taken, self._full = self._full, []
                if self._pending and (closing or not (taken or self._flush_s is None)):
                    taken.append(self._pending)
                    self._pending, self._filled = [], 0
                self._pending_bytes = self._filled
                self._changed.notify_all()
            try:
                for block in taken:
                    self._store(b"".join(block))
                    self.stored += len(block)
            except OSError as error:
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return

    def _refusal(self, error: OSError) -> TapeNotWritten:
        found = error.strerror or str(error)
        return TapeNotWritten(str(self.path), found, "; replay --torn plays what was stored")

    def _store(self, text: bytes) -> None:
        self._file.write(compress_frame(text))
        self._file.flush()


def read_tape(path: Path | str, allow_torn: bool = False) -> tuple[TapeHeader, Iterator[Entry]]:
    """Open a tape of any known format, recognised by content.

    The iterator reads as it goes; memory does not grow with the tape. ``allow_torn`` accepts a tape without an end
    (that of a killed daemon): what is known to be whole is given out.

    Raises:
        TapeError: no tape, an unknown format, or (also while iterating) a torn or damaged one.
    """
    name = str(path)
    try:
        with Path(path).open("rb") as file:
            start = _start(name, file)
    except OSError as error:
        raise TapeError(name, "the file", "a readable tape", str(error.strerror or error)) from error
    if start.startswith(MAGIC):
        blocks = _own_lines(name)
        header, entries = _own_header(name, blocks), _own_entries(name, blocks, allow_torn)
        if not allow_torn and not has_end(name):
            for _ in entries:  # finds where it is torn, before anything is made of it
                pass
        return header, entries
    return open_foreign(name, start, allow_torn)


def read_tapes(paths: Sequence[Path | str], allow_torn: bool = False) -> tuple[TapeHeader, Iterator[Entry]]:
    """Open several files of one recording, in the order of time, as one tape.

    The later files continue the first one's connections. ``allow_torn`` holds for the last file only.

    Raises:
        TapeError: one of them is no whole tape, or they do not belong together.
    """
    if not paths:
        raise TapeError("(no file)", "the command line", "at least one tape", "none")
    first, *_ = headers = [read_tape(path, allow_torn and len(paths) == 1)[0] for path in paths[:1]]
    for path in paths[1:]:
        header = read_tape(path, allow_torn=True)[0]
        if {name: venue.use for name, venue in header.venues.items()} != {
            name: venue.use for name, venue in first.venues.items()
        }:
            raise TapeError(
                str(path), "the venues", f"{sorted(first.venues)} as in {paths[0]}", f"{sorted(header.venues)}"
            )
        headers.append(header)
    venues = {
        name: VenueHeader(venue.use, sorted({symbol for header in headers for symbol in header.venues[name].symbols}))
        for name, venue in first.venues.items()
    }
    return msgspec.structs.replace(first, venues=venues), _chained(paths, allow_torn)


def _chained(paths: Sequence[Path | str], allow_torn: bool) -> Iterator[Entry]:
    opened: set[str] = set()
    last_ns = 0
    for position, path in enumerate(paths):
        header, entries = read_tape(path, allow_torn and position == len(paths) - 1)
        synthesised = not header.papertape
        first = True
        seen: set[str] = set()
        for entry in entries:
            if first and entry.ns < last_ns:
                raise TapeError(str(path), "entry 1", f"a receive time of {last_ns} or later", f"{entry.ns}")
            first = False
            last_ns = entry.ns
            if entry.kind is EntryKind.OPENED and synthesised and entry.source not in seen:
                seen.add(entry.source)
                if entry.source in opened:
                    continue  # a recording in two files is one connection
                opened.add(entry.source)
            yield entry


def _start(name: str, file: BinaryIO) -> bytes:
    """The first decompressed bytes, enough to recognise the format by."""
    start = b""
    try:
        for part in pieces(file):
            start += part
            if len(start) >= 4096:
                break
    except Torn as torn:
        if not start:
            raise TapeError(name, f"byte {torn.offset}", "a tape", torn.found) from torn
    if not start:
        raise TapeError(name, "byte 0", "a tape", "an empty file")
    return start


def has_end(name: str) -> bool:
    """Whether the last compressed frame is that of the end line: cheap, and enough to refuse a torn tape at once."""
    with Path(name).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 64))
        last = file.read()
    try:
        return b"".join(pieces(io.BytesIO(last[last.rindex(ZSTD_MAGIC) :]), verified=True)).startswith(b"end ")
    except (Torn, ValueError):
        return False


def _own_lines(name: str) -> Iterator[list[bytes]]:
    with Path(name).open("rb") as file:
        yield from lines(pieces(file, verified=True))


def _own_header(name: str, blocks: Iterator[list[bytes]]) -> TapeHeader:
    try:
        block = next(blocks, [])
    except Torn as torn:
        raise TapeError(name, f"byte {torn.offset}", "a whole header", torn.found) from torn
    if len(block) != 1:
        raise TapeError(name, "line 1", "the header alone in its frame", f"{len(block)} lines")
    words = block[0].split(b" ", 2)
    if len(words) != 3 or words[0] + b" " != MAGIC:
        raise TapeError(name, "line 1", "'papertape <format> <header>'", shown(block[0]))
    if words[1] != b"%d" % FORMAT_VERSION:
        raise TapeError(
            name, "line 1", f"tape format {FORMAT_VERSION} (a newer papertape may read it)", shown(words[1])
        )
    try:
        return msgspec.json.decode(words[2], type=TapeHeader)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TapeError(name, "line 1", "a tape header", f"{error}") from error


def _own_entries(name: str, blocks: Iterator[list[bytes]], allow_torn: bool) -> Iterator[Entry]:
    count = 0
    ended = False
    try:
        for block in blocks:
            if ended:
                raise TapeError(name, f"after entry {count}", "nothing after the end line", shown(block[0]))
            for line in block:
                try:
                    entry = decode_entry(line)
                except NoEntry as error:
                    if line.count(b" ") < 4:
                        ended = _end(name, line, count, block)
                        continue
                    raise TapeError(name, f"entry {count + 1}", error.expected, error.found) from error
                count += 1
                yield entry
    except Torn as torn:
        if allow_torn:
            return
        where = f"torn at entry {count + 1} (byte {torn.offset})"
        raise TapeError(name, where, "a whole tape", torn.found + TORN_ADVICE) from torn
    if not ended and not allow_torn:
        found = "the end of the file" + TORN_ADVICE
        raise TapeError(name, f"torn at entry {count + 1}", "the line 'end <entries>'", found)


def _end(name: str, line: bytes, count: int, block: list[bytes]) -> bool:
    if line != b"end %d" % count or block[-1] is not line:
        raise TapeError(name, f"entry {count + 1}", f"an entry or the last line 'end {count}'", shown(line))
    return True


def _letters() -> str:
    return ", ".join(kind.value for kind in EntryKind)
