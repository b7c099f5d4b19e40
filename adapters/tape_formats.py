"""Recordings that others made, read as tapes.

Two formats, recognised by content: *lines* (``<receive time> <frame>``; a frame without ``"stream"`` that carries a
``lastUpdateId`` is the REST answer to a depth request) and *JSON lines* of cryptofeed (``header``, ``http``,
``connect``, ``send``, ``recv``). Neither says which adapter understands it: that is sniffed from the frames.
"""

from __future__ import annotations

import base64
import heapq
import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from pathlib import Path

import msgspec

from adapters.entry import Entry, EntryKind
from adapters.tape_bytes import Torn, lines, pieces
from adapters.tape_sniff import replied_token, sniff_use
from adapters.tape_types import TORN_ADVICE, TapeError, TapeHeader, VenueHeader, shown

SNIFFED_FRAMES = 256

_LINE_START = re.compile(rb"\d{13,19} [\[{]")
_JSON_START = re.compile(rb'\s*\{"t":\s*"header"')
_STREAM = re.compile(rb'"stream": ?"([^"@]+)@')
_SYMBOL = re.compile(rb'"symbol": ?"([^"]+)"')
_ADDRESS_STREAM = re.compile(r"[/=]([^/=@]+)@")


def open_foreign(name: str, start: bytes, allow_torn: bool) -> tuple[TapeHeader, Iterator[Entry]]:
    """Open a recording by its first decompressed bytes.

    The whole file is read through once before this returns, so a torn one is refused before anything is made of it.

    Raises:
        TapeError: the format is unknown, or the file is torn.
    """
    if _LINE_START.match(start):
        return _LineTape(name, allow_torn).opened()
    if _JSON_START.match(start):
        return _JsonTape(name, allow_torn).opened()
    raise TapeError(
        name, "line 1", "a tape ('papertape …', '<receive time> <frame>' or '{\"t\":\"header\",…')", shown(start)
    )


def _numbered_lines(name: str, allow_torn: bool) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with Path(name).open("rb") as file:
            for block in lines(pieces(file)):
                for line in block:
                    number += 1
                    yield number, line
    except Torn as torn:
        if not allow_torn:
            raise TapeError(name, f"torn after line {number}", "a whole file", torn.found + TORN_ADVICE) from torn


class _LineTape:
    """``<receive time> <frame>`` a line, the time in ns or µs UTC, told by its magnitude."""

    def __init__(self, name: str, allow_torn: bool) -> None:
        self.name = name
        self.allow_torn = allow_torn
        self.venue = ""
        self.symbols: list[str] = []

    def opened(self) -> tuple[TapeHeader, Iterator[Entry]]:
        started_ns = 0
        streams: set[bytes] = set()
        frames: list[bytes] = []
        for number, line in _numbered_lines(self.name, self.allow_torn):
            ns, frame = self._split(number, line)
            started_ns = started_ns or ns
            match = _STREAM.search(frame, 0, 200)
            if match is not None:
                streams.add(match[1])
            if len(frames) < SNIFFED_FRAMES:
                frames.append(frame)
        self.symbols = sorted(stream.decode().upper() for stream in streams)
        use = sniff_use(frames)
        self.venue = use or "unknown"
        header = TapeHeader(started_ns=started_ns, venues={self.venue: VenueHeader(use, self.symbols)})
        return header, self._entries()

    def _entries(self) -> Iterator[Entry]:
        venue = self.venue
        first = True
        for number, line in _numbered_lines(self.name, self.allow_torn):
            ns, frame = self._split(number, line)
            if first:
                yield Entry(EntryKind.OPENED, ns, venue)
                first = False
            if b'"stream"' not in frame[:40] and b'"lastUpdateId"' in frame[:200]:
                yield Entry(EntryKind.REPLIED, ns, venue, f"depth:{self._symbol(number, frame)}", frame)
            else:
                yield Entry(EntryKind.RECEIVED, ns, venue, "", frame)

    def _split(self, number: int, line: bytes) -> tuple[int, bytes]:
        time, space, frame = line.partition(b" ")
        if not space or not time.isdigit() or not 13 <= len(time) <= 19:
            raise TapeError(self.name, f"line {number}", "'<receive time> <frame>'", shown(line))
        ns = int(time)
        if ns < 10**14:
            ns *= 1_000_000
        elif ns < 10**17:
            ns *= 1_000
        return ns, frame

    def _symbol(self, number: int, frame: bytes) -> str:
        """Whose depth it is: the answer says so, or the file has one symbol only."""
        match = _SYMBOL.search(frame, 0, 400)
        if match is not None:
            return match[1].decode()
        if len(self.symbols) != 1:
            found = f"{len(self.symbols)} symbols and an answer that names none"
            raise TapeError(self.name, f"line {number}", "a depth answer of the file's only symbol", found)
        return self.symbols[0]


class _Line(msgspec.Struct):
    """One line of a cryptofeed recording; ``ts`` is kept as text, so that no digit of it is rounded."""

    t: str
    ts: msgspec.Raw = msgspec.Raw(b"0")
    conn: str = ""
    exchange: str = ""
    url: str = ""
    addr: str = ""
    data: str = ""
    b64: str = ""
    recorded: msgspec.Raw = msgspec.Raw(b"0")


def exact_ns(seconds: bytes) -> int:
    """Nanoseconds of a decimal number of seconds, digit by digit.

    >>> exact_ns(b"1633998511.132921"), exact_ns(b"1.5e9")
    (1633998511132921000, 1500000000000000000)
    """
    return int(Decimal(seconds.decode()).scaleb(9))


class _JsonTape:
    """A cryptofeed recording: one venue, perhaps several connections, each in its own order of time."""

    def __init__(self, name: str, allow_torn: bool) -> None:
        self.name = name
        self.allow_torn = allow_torn
        self.venue = ""
        self.use = ""
        self._decoder = msgspec.json.Decoder(_Line)

    def opened(self) -> tuple[TapeHeader, Iterator[Entry]]:
        connections: dict[str, None] = {}
        symbols: set[str] = set()
        pages: list[_Line] = []
        frames: list[bytes] = []
        exchange, started_ns = "unknown", 0
        for _, line in self._lines():
            if line.t == "header":
                exchange, started_ns = line.exchange or exchange, exact_ns(bytes(line.recorded))
            elif line.t == "http":
                pages.append(line)
            elif line.t == "connect":
                connections[line.conn] = None
                symbols.update(match.upper() for match in _ADDRESS_STREAM.findall(line.addr))
            elif line.t == "recv" and len(frames) < SNIFFED_FRAMES:
                frames.append(_bytes(line))
        self.use = use = sniff_use(frames)
        self.venue = use or exchange.lower()
        header = TapeHeader(started_ns=started_ns, venues={self.venue: VenueHeader(use, sorted(symbols))})
        return header, self._entries(list(connections), pages)

    def _entries(self, connections: list[str], pages: list[_Line]) -> Iterator[Entry]:
        replies = sorted(filter(None, map(self._reply, pages)), key=attrgetter("ns"))
        parts = [iter(replies), *(self._connection(conn, conn == connections[0]) for conn in connections)]
        return heapq.merge(*parts, key=attrgetter("ns"))

    def _connection(self, conn: str, first: bool) -> Iterator[Entry]:
        """One connection's entries; only the first one opens the venue, but each may lose it."""
        connected = False
        for _, line in self._lines():
            if line.conn != conn:
                continue
            if line.t == "recv":
                yield Entry(EntryKind.RECEIVED, exact_ns(bytes(line.ts)), self.venue, "", _bytes(line))
            elif line.t == "connect":
                ns = exact_ns(bytes(line.ts))
                if connected:
                    yield Entry(EntryKind.LOST, ns, self.venue, "connection")
                if connected or first:
                    yield Entry(EntryKind.OPENED, ns, self.venue)
                connected = True

    def _reply(self, line: _Line) -> Entry | None:
        """A page that the adapter would have fetched; every page where no adapter is known."""
        token = replied_token(self.use, line.url)
        if token is None:
            return None
        return Entry(EntryKind.REPLIED, exact_ns(bytes(line.ts)), self.venue, token, _bytes(line))

    def _lines(self) -> Iterator[tuple[int, _Line]]:
        decode: Callable[[bytes], _Line] = self._decoder.decode
        for number, text in _numbered_lines(self.name, self.allow_torn):
            try:
                line = decode(text)
                exact_ns(bytes(line.ts))
            except (msgspec.DecodeError, UnicodeDecodeError, InvalidOperation) as error:
                raise TapeError(self.name, f"line {number}", "a line of a cryptofeed recording", f"{error}") from error
            yield number, line


def _bytes(line: _Line) -> bytes:
    return base64.b64decode(line.b64) if line.b64 else line.data.encode()
