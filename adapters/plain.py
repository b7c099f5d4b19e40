"""Plain: Papertape's own small protocol for books, quotes and trades from anywhere; what ``papertape import`` writes.

JSON as in https://www.rfc-editor.org/rfc/rfc8259, one object a frame. Whoever has market data in another form writes
these frames to a tape, or serves them by websocket; the list of instruments is the page ``/instruments``::

    {"type":"instruments","instruments":[{"symbol":"ETHUSD","base":"ETH","quote":"USD","kind":"spot",
      "price_decimals":2,"size_decimals":8,"tick":"0.01","lot":"0.00000001"}]}
    {"type":"book","symbol":"ETHUSD","seq":1,"time":1625097600000000000,"bids":[["2271.58","1.6477"]],
      "asks":[["2279.63","28.479526"],["2279.86","11.74342"]]}
    {"type":"trade","symbol":"ETHUSD","seq":2,"time":1625097621647000000,"id":0,"price":"2278.15","size":"0.0409",
      "side":"sell"}
    {"type":"heartbeat"}
    {"type":"error","symbol":"ETHUSD","message":"no such symbol"}

Prices and sizes are plain decimals as text, exact to the instrument's decimals. ``time`` is the venue's own, ns UTC, 0
where there is none. ``seq`` counts the frames of a symbol, books and trades alike, from 1 on and without a hole, as
long as the connection lasts. ``side`` is the aggressor's, ``none`` where nobody knows it; ``id`` is 0 where there is
none. Of an instrument ``kind``, ``tick``, ``lot``, ``min_size``, ``max_size``, ``min_notional``, ``contract_size`` and
``settle`` may be missing. Unknown fields are passed over, unknown types counted.

The local book; the steps are marked in the code:

1. Each ``book`` is all that its source shows: levels best first, each price once, no size 0. What is not in the frame
   is gone. A side without a level is an empty array.
2. A frame whose ``seq`` is not above the last one was seen before.
3. After a hole in ``seq`` the book is in doubt; the next ``book`` makes it ready again.
4. A book whose best bid is not below its best ask is not taken. National best quotes lock and cross for some
   milliseconds thousands of times a day, as the two sides come from feeds that race: the book before stands on for a
   second. After that it is in doubt until the next ``book`` that is none; nothing is asked for, as that one is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated
from urllib.parse import quote

import msgspec

from adapters import plain_instruments
from adapters.contract import MalformedFrame, Output, SubscriptionRefused, Venue, VenueSpec
from adapters.plain_book import PlainBook, scratch
from adapters.wire import Scale, Scanner
from engine.core.events import CROSSED, GAP, SELL, SEQUENCE, UNSIDED, UP, Batch, row
from engine.core.types import Instrument

NOTHING: tuple[Output, ...] = ()
CROSSED_FOR_NS = 1_000_000_000
"""How long a locked or crossed book is taken for a race of two feeds."""
SIDES = {"buy": 0, "sell": SELL, "none": UNSIDED}
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # the last: brackets nested without end
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 2)]
Nanos = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 2)]


class _Frame(msgspec.Struct, gc=False):
    type: str
    symbol: str = ""
    seq: Count = 0
    time: Nanos | None = None
    bids: msgspec.Raw = msgspec.Raw()
    asks: msgspec.Raw = msgspec.Raw()
    id: Count | None = None
    price: msgspec.Raw = msgspec.Raw()
    size: msgspec.Raw = msgspec.Raw()
    side: str = ""
    message: str = ""


class _Other(msgspec.Struct, gc=False):
    type: str


_decode = msgspec.json.Decoder(_Frame).decode
_decode_other = msgspec.json.Decoder(_Other).decode
_KNOWN = ("book", "trade", "heartbeat", "error")


class Plain(Venue):
    """One connection's memory of a source that speaks the plain protocol."""

    spec = VenueSpec(
        name="plain",
        docs_url="https://www.rfc-editor.org/rfc/rfc8259",
        ws_url="ws://127.0.0.1:8700",
        rest_url="http://127.0.0.1:8700",
        silence_s=30.0,
        max_symbols=1000,
    )

    def __init__(self, instruments: Mapping[str, tuple[int, Instrument]], rest_url: str = "") -> None:
        super().__init__(instruments, rest_url)
        self._scanner = Scanner()
        self._found = scratch()
        self._scales = {symbol: Scale(instrument, index) for symbol, (index, instrument) in self.instruments.items()}
        self._books = {
            symbol: PlainBook(index, instrument, self._scales[symbol].packed)
            for symbol, (index, instrument) in self.instruments.items()
        }

    @classmethod
    def websocket_url(cls, ws_url: str, symbols: Sequence[str]) -> str:
        base = (ws_url or cls.spec.ws_url).rstrip("/")
        return f"{base}/stream?symbols=" + ",".join(quote(symbol, safe="") for symbol in symbols)

    @classmethod
    def instruments_url(cls, rest_url: str) -> str:
        return f"{(rest_url or cls.spec.rest_url).rstrip('/')}/instruments"

    @classmethod
    def parse_instruments(cls, venue: str, body: bytes) -> dict[str, Instrument]:
        return plain_instruments.parse(venue, body)

    @classmethod
    def sniff(cls, frame: bytes) -> bool:
        return (
            frame.startswith((b'{"type":"book","symbol":', b'{"type":"trade","symbol":')) and b',"seq":' in frame[:200]
        )

    @classmethod
    def infer_instruments(cls, venue: str, frames: Iterable[bytes]) -> dict[str, Instrument]:
        return plain_instruments.infer(venue, frames)

    @classmethod
    def token_of(cls, url: str) -> str | None:
        del url  # nothing is fetched but the list of instruments
        return None

    def opened(self, now_ns: int) -> Sequence[Output]:
        return [row(UP, symbol=book.index, recv_ns=now_ns) for book in self._books.values()]

    def received(self, frame: bytes, recv_ns: int) -> Sequence[Output]:
        try:
            message = _decode(frame)
        except DECODE_ERRORS as error:
            return self._other(frame, error)
        kind = message.type
        if kind == "heartbeat":
            return NOTHING
        book = self._books.get(message.symbol)
        if kind == "error":
            raise SubscriptionRefused(f"{message.symbol}: the source refused it: {message.message}")
        if book is None or kind not in _KNOWN:
            if not message.symbol and kind in _KNOWN:
                raise MalformedFrame(f"expected a symbol in a {kind}, found none")
            self.unknown += 1
            return NOTHING
        if message.seq == 0 or message.time is None:
            raise MalformedFrame(f"{message.symbol}: expected seq from 1 on and time in ns, found others")
        if kind == "book":
            return self._book(book, message, message.time, recv_ns)
        return self._trade(book, message, message.time, recv_ns)

    def _book(self, book: PlainBook, message: _Frame, time_ns: int, recv_ns: int) -> Sequence[Output]:
        seq = message.seq
        if seq <= book.seq:  # step 2
            return NOTHING
        is_hole = 0 < book.seq < seq - 1  # step 3
        bids, asks = bytes(message.bids), bytes(message.asks)
        batch = book.replace(self._scanner, self._found, bids, asks, seq, time_ns, recv_ns, is_hole)  # step 1
        book.seq = seq
        if is_hole:
            if batch is None:
                book.doubt()
            gap = self._gap(book, SEQUENCE, recv_ns)
            return (gap,) if batch is None else (gap, batch)
        if batch is None:  # step 4
            book.crossed_ns = book.crossed_ns or recv_ns
            return self._late(book, recv_ns)
        book.crossed_ns = 0
        return (batch,)

    def _late(self, book: PlainBook, now_ns: int) -> Sequence[Output]:
        """Doubt a book that has been locked or crossed for too long."""
        if not book.crossed_ns or not book.is_ready or now_ns - book.crossed_ns < CROSSED_FOR_NS:
            return NOTHING
        book.doubt()
        return (self._gap(book, CROSSED, now_ns),)

    def _trade(self, book: PlainBook, message: _Frame, time_ns: int, recv_ns: int) -> Sequence[Output]:
        side, seq = SIDES.get(message.side), message.seq
        if side is None or message.id is None:
            raise MalformedFrame(f"{message.symbol}: expected a side of buy, sell or none and an id, found others")
        price, size = bytes(message.price), bytes(message.size)
        batch = self._scanner.trade(self._scales[message.symbol], price, size, side, message.id, time_ns, recv_ns)
        if seq <= book.seq:  # step 2
            return NOTHING
        is_hole = 0 < book.seq < seq - 1
        book.seq = seq
        if not is_hole:
            return (batch,)
        book.doubt()  # step 3
        return (self._gap(book, SEQUENCE, recv_ns), batch)

    def _gap(self, book: PlainBook, reason: int, recv_ns: int) -> Batch:
        return row(GAP, symbol=book.index, recv_ns=recv_ns, reason=reason)

    def _other(self, frame: bytes, error: Exception) -> Sequence[Output]:
        """A type that nobody knows is tolerated and counted; anything else is malformed."""
        try:
            kind = _decode_other(frame).type
        except DECODE_ERRORS:
            kind = "book"
        if kind in _KNOWN:
            raise MalformedFrame(f"expected a frame of the plain protocol, found {error}") from error
        self.unknown += 1
        return NOTHING

    def replied(self, token: str, body: bytes, recv_ns: int) -> Sequence[Output]:
        del token, body, recv_ns
        self.unknown += 1  # nothing is fetched
        return NOTHING

    def ticked(self, now_ns: int) -> Sequence[Output]:
        return [output for book in self._books.values() for output in self._late(book, now_ns)]

    def doubted(self, symbol: int, now_ns: int) -> Sequence[Output]:
        del now_ns
        for book in self._books.values():
            if book.index == symbol:
                book.doubt()  # the next frame is whole
        return NOTHING
