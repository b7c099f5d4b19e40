"""Market data that another process of the run has parsed: the batches of a feed, one symbol a frame, out of Redis.

A feed (``papertape run --role feed``) reaches the venues; an engine of its own process gets from it, through a stream a
symbol (https://redis.io/docs/latest/develop/data-types/streams/), frames of this form, little-endian::

    4s  magic b"PTB1"        B   kind: 1 rows, 2 marker, 3 beat     B   unused      H   bytes of the symbol
    Q   epoch of the feed    Q   number of the frame of its symbol, from 1, without a hole
    q   sent: the feed's receive time, ns UTC      q   one      q   two      then the symbol, then rows of ``BATCH``

``rows``: one batch. ``marker``: all rows after it are younger than the request whose number is ``one``. ``beat``: once
a second, so that silence can be told from a quiet market; its number is that of the frame before, ``one`` and ``two``
are the round trip to the venue and its delay, as last measured.

How a symbol is followed; the steps are marked in the code:

1. A frame whose number was seen is dropped, also when it was seen by a connection or a process before this one: a
   stream gives again what was not acknowledged, and the effect must be there once.
2. A frame of an older epoch is of a feed that does not know yet that another has taken its place: dropped.
3. A hole in the numbers, or a new epoch: the book is in doubt, and a resynchronisation is asked for.
4. From a request on, rows of the book are dropped until its marker comes: what lies between is old, and a snapshot
   among it too. Trades are told: orders that rest in the market meet them, whenever we hear of them.
5. Rows that come much later than in the best moment are of a backlog: decisions on them would be decisions on the past,
   so the book is in doubt as well. The request is made when a frame comes in time again, for all symbols together: an
   answer within a backlog would be as old as the rows, and each costs the venue a snapshot.
6. A request that no marker answers is made again with its number: within a backlog that is longer than our patience,
   the marker of the first must not be taken for the answer to another.

Rows get the engine's own receive time: two machines need not agree on the time, and engine time never runs back.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from adapters.contract import MalformedFrame, Output, Send, Venue, VenueSpec
from engine.core.events import BATCH, DOWN, FUNDING, GAP, LAST, OVERFLOW, SEQUENCE, TRADE, UP, Batch, row
from engine.core.types import Instrument

ROWS: Final = 1
MARKER: Final = 2
BEAT: Final = 3

LATE_NS: Final = 2_000_000_000
"""So much later than in the best moment is a backlog."""

DRIFT: Final = 20_000
"""Ns of delay are ns of two clocks that drift, one in so many."""

ASK_AGAIN_NS: Final = 5_000_000_000

_MAGIC: Final = b"PTB1"
_HEAD: Final = struct.Struct("<4sBBHQQqqq")
_TOLD: Final = np.isin(np.arange(256), (TRADE, GAP, DOWN, UP, FUNDING))
"""By kind, whether rows are told while the book waits for its marker."""


class Framed(NamedTuple):
    """A frame, read; ``rows`` is a copy that may be written to."""

    kind: int
    symbol: str
    epoch: int
    number: int
    sent_ns: int
    one: int
    two: int
    rows: Batch


def pack(
    kind: int, symbol: str, epoch: int, number: int, sent_ns: int, one: int = 0, two: int = 0, rows: bytes = b""
) -> bytes:
    """A frame as bytes; ``rows`` are whole rows of ``BATCH``.

    >>> unpack(pack(MARKER, "X", 3, 7, 0, one=5))[:6]
    (2, 'X', 3, 7, 0, 5)
    """
    name = symbol.encode()
    return _HEAD.pack(_MAGIC, kind, 0, len(name), epoch, number, sent_ns, one, two) + name + rows


def unpack(frame: bytes) -> Framed:
    """Read a frame.

    Raises:
        MalformedFrame: it is none.
    """
    if len(frame) < _HEAD.size or not frame.startswith(_MAGIC):
        raise MalformedFrame(f"expected a frame that begins with {_MAGIC!r}, found {frame[:8]!r}")
    _, kind, _, length, epoch, number, sent_ns, one, two = _HEAD.unpack_from(frame)
    start = _HEAD.size + length
    if kind not in (ROWS, MARKER, BEAT) or (len(frame) - start) % BATCH.itemsize or start > len(frame):
        raise MalformedFrame(f"expected kind 1, 2 or 3 and whole rows, found kind {kind} in {len(frame)} bytes")
    try:
        symbol = frame[_HEAD.size : start].decode()
    except UnicodeDecodeError as error:
        raise MalformedFrame(f"expected a symbol in UTF-8, found {error}") from error
    rows = np.frombuffer(frame, BATCH, offset=start).copy()
    if (kind == ROWS) != bool(len(rows)):
        raise MalformedFrame(f"expected rows in kind 1 and in no other, found {len(rows)} in kind {kind}")
    if len(rows) and not (rows["kind"].max() <= FUNDING and rows["kind"].min() > 0 and rows["flags"][-1] & LAST):
        raise MalformedFrame("expected rows of market data whose last ends a frame, found others")
    return Framed(kind, symbol, epoch, number, sent_ns, one, two, rows)


class Asked(msgspec.Struct):
    """What goes to the feed: bring these symbols of a venue in step again, and put a marker ``number`` before it."""

    number: int
    symbols: list[str]


class _Followed(msgspec.Struct):
    """One symbol: the last frame that was used, and the request that it waits for (0: none).

    ``is_behind``: its rows are of a backlog. ``is_due``: they were, and the request is still to be made.
    """

    index: int
    epoch: int = 0
    number: int = 0
    wanted: int = 0
    asked_ns: int = 0
    is_behind: bool = False
    is_due: bool = False


class RedisBatches(Venue):
    """One connection's memory of what a feed hands on."""

    spec = VenueSpec(
        name="redis-batches",
        docs_url="https://redis.io/docs/latest/develop/data-types/streams/",
        ws_url="redis:",
        rest_url="redis:",
        silence_s=10.0,
        max_symbols=65_535,
        max_age_s=365 * 86_400.0,
    )

    def __init__(self, instruments: Mapping[str, tuple[int, Instrument]], rest_url: str = "") -> None:
        super().__init__(instruments, rest_url)
        self._followed = {symbol: _Followed(index) for symbol, (index, _) in self.instruments.items()}
        self._least_ns: int | None = None
        self._least_at_ns = 0

    def follows(self, before: Venue) -> None:
        """Step 1: what was used stays used, also behind a lost connection."""
        if isinstance(before, RedisBatches):
            for symbol, was in before._followed.items():
                if symbol in self._followed:
                    now = self._followed[symbol]
                    now.epoch, now.number = was.epoch, was.number

    @classmethod
    def websocket_url(cls, ws_url: str, symbols: Sequence[str]) -> str:
        del symbols
        return ws_url or cls.spec.ws_url

    @classmethod
    def instruments_url(cls, rest_url: str) -> str:
        return f"{rest_url or cls.spec.rest_url}instruments"

    @classmethod
    def parse_instruments(cls, venue: str, body: bytes) -> dict[str, Instrument]:
        del venue
        try:
            return msgspec.json.decode(body, type=dict[str, Instrument])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedFrame(f"expected a feed's list of instruments, found {error}") from error

    @classmethod
    def token_of(cls, url: str) -> str | None:
        del url  # nothing is fetched by a websocket's side
        return None

    def opened(self, now_ns: int) -> Sequence[Output]:
        ups: list[Output] = [row(UP, symbol=one.index, recv_ns=now_ns) for one in self._followed.values()]
        return [*ups, self._ask(list(self._followed), now_ns)]

    def received(self, frame: bytes, recv_ns: int) -> Sequence[Output]:
        told = unpack(frame)
        followed = self._followed.get(told.symbol)
        if followed is None:
            self.unknown += 1
            return ()
        if told.epoch < followed.epoch:  # step 2
            return ()
        is_late = self._is_late(told.sent_ns, recv_ns)
        if followed.is_behind and not is_late:
            followed.is_behind, followed.is_due = False, not followed.wanted
        is_new = told.epoch > followed.epoch
        if not is_new and told.number <= followed.number:  # step 1
            return ()
        outputs: list[Output] = []
        due = followed.number + (told.kind != BEAT)
        if (is_new and followed.epoch) or (not is_new and told.number != due):  # step 3
            outputs += self._doubt(told.symbol, followed, SEQUENCE, recv_ns)
        followed.epoch, followed.number = told.epoch, told.number
        if told.kind == MARKER and told.one == followed.wanted:
            followed.wanted = 0
        if told.kind == ROWS:
            if is_late and not (followed.wanted or followed.is_behind):  # step 5
                outputs += [] if followed.is_due else [self._gap(followed, OVERFLOW, recv_ns)]
                followed.is_behind, followed.is_due = True, False
            batch = told.rows
            if followed.wanted or followed.is_behind or followed.is_due:  # step 4
                batch = batch[_TOLD[batch["kind"]]]
            if len(batch):
                batch["symbol"] = followed.index
                batch["recv_ns"] = recv_ns
                batch["flags"][-1] |= LAST
                outputs.append(batch)
        return outputs

    def replied(self, token: str, body: bytes, recv_ns: int) -> Sequence[Output]:
        del token, body, recv_ns
        self.unknown += 1  # nothing is fetched
        return ()

    def ticked(self, now_ns: int) -> Sequence[Output]:
        due = [symbol for symbol, one in self._followed.items() if one.is_due]  # step 5
        outputs = [self._ask(due, now_ns)] if due else []
        again: dict[int, list[str]] = {}  # step 6
        for symbol, one in self._followed.items():
            if one.wanted and now_ns - one.asked_ns >= ASK_AGAIN_NS:
                one.asked_ns = now_ns
                again.setdefault(one.wanted, []).append(symbol)
        return outputs + [_request(number, symbols) for number, symbols in again.items()]

    def doubted(self, symbol: int, now_ns: int) -> Sequence[Output]:
        named = [name for name, one in self._followed.items() if one.index == symbol]
        return [self._ask(named, now_ns)] if named else ()

    def _doubt(self, symbol: str, followed: _Followed, reason: int, now_ns: int) -> list[Output]:
        return [self._gap(followed, reason, now_ns), self._ask([symbol], now_ns)]

    def _gap(self, followed: _Followed, reason: int, now_ns: int) -> Batch:
        return row(GAP, symbol=followed.index, recv_ns=now_ns, reason=reason)

    def _ask(self, symbols: list[str], now_ns: int) -> Send:
        for symbol in symbols:
            followed = self._followed[symbol]
            followed.wanted = followed.asked_ns = now_ns
            followed.is_due = False
        return _request(now_ns, symbols)

    def _is_late(self, sent_ns: int, recv_ns: int) -> bool:
        lag_ns = recv_ns - sent_ns
        if self._least_ns is None:
            self._least_ns = lag_ns
        least_ns = self._least_ns + (recv_ns - self._least_at_ns) // DRIFT if self._least_at_ns else lag_ns
        self._least_ns, self._least_at_ns = min(lag_ns, least_ns), recv_ns
        return lag_ns - self._least_ns > LATE_NS


def _request(number: int, symbols: list[str]) -> Send:
    return Send(msgspec.json.encode(Asked(number, symbols)))
