"""A venue class at play: its conversation, and a player that holds every row it gives against the rules of rows."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

import msgspec

from adapters.contract import AdapterError, Fetch, Output, Send, Venue
from engine.core import events
from engine.core.conformance import CardFailed
from engine.core.events import ASK, BATCH, CLEAR, DOWN, FUNDING, GAP, LAST, LEVEL, MARK, READY, TRADE, Batch

START_NS = 1_700_000_000_000_000_000
STEP_NS = 50_000_000
EARLIEST_NS = 1_230_000_000 * 10**9
LATEST_NS = 2**63 - 1
KINDS = {getattr(events, name): name for name in (
    "CLOCK", "LEVEL", "TRADE", "CLEAR", "QUOTE", "MARK", "READY", "GAP", "DOWN", "UP", "CHECK",
    "FUNDING")}  # fmt: skip


class Line(msgspec.Struct, frozen=True, rename={"kind": "is"}):
    """One line of a conversation."""

    kind: str
    data: msgspec.Raw
    token: str = ""
    rows: list[tuple[str, int, str, str, int, int]] | None = None

    @property
    def body(self) -> bytes:
        return bytes(self.data)


class Subject:
    """A venue class and the conversation it shows."""

    def __init__(self, cls: type[Venue]) -> None:
        self.cls = cls
        text = cls.samples or self._file(cls)
        self.lines = [msgspec.json.decode(line, type=Line) for line in text.splitlines() if line.strip()]
        self.talk = [line for line in self.lines if line.kind in ("frame", "reply")]
        listing = self.only("instruments")
        self.listed = cls.parse_instruments("venue", listing.body)
        if not self.listed:
            raise CardFailed("expected instruments in the sample listing, found none")
        self.symbols = list(self.listed)
        self.instruments = {symbol: (i, self.listed[symbol]) for i, symbol in enumerate(self.symbols)}
        self.by_index = list(self.listed.values())

    @staticmethod
    def _file(cls: type[Venue]) -> str:
        path = Path(inspect.getfile(cls)).parent / "samples" / f"{cls.spec.name}.jsonl"
        if not path.is_file():
            raise CardFailed(f"expected a conversation in samples/{path.name} beside the module, found none")
        return path.read_text("utf-8")

    def only(self, kind: str) -> Line:
        found = [line for line in self.lines if line.kind == kind]
        if len(found) != 1:
            raise CardFailed(f"expected one line of {kind!r} in the sample conversation, found {len(found)}")
        return found[0]

    def open(self) -> Venue:
        venue = self.cls(self.instruments)
        venue.opened(START_NS)
        return venue


class Player:
    """Plays lines into one instance and holds whatever comes out against the rules of rows.

    ``is_true``: the frames are as the venue wrote them, so their times must be possible too.
    """

    def __init__(self, subject: Subject, is_true: bool = True) -> None:
        self.subject = subject
        self.is_true = is_true
        self.venue = subject.open()
        self.now_ns = START_NS
        self.ready: set[int] = set()
        self.books: dict[int, tuple[dict[int, int], dict[int, int]]] = {}
        self.rows: list[tuple[int, ...]] = []
        self.errors = 0

    def play(self, lines: Sequence[Line]) -> list[list[tuple[int, ...]]]:
        return [self.step(line.kind == "reply", line.token, line.body) for line in lines]

    def step(self, is_reply: bool, token: str, body: bytes) -> list[tuple[int, ...]]:
        """One input; the rows it gave. Anything but an ``AdapterError`` goes through to the card."""
        self.now_ns += STEP_NS
        try:
            if is_reply:
                outputs = self.venue.replied(token, body, self.now_ns)
            else:
                outputs = self.venue.received(body, self.now_ns)
        except AdapterError as error:
            self.errors += 1
            if not str(error):
                raise CardFailed(f"expected an error with words, found an empty {type(error).__name__}") from error
            return []
        return self.take(outputs)

    def take(self, outputs: Sequence[Output]) -> list[tuple[int, ...]]:
        given: list[tuple[int, ...]] = []
        for output in outputs:
            if isinstance(output, Send | Fetch):
                continue
            self._whole(output)
            for row in output.tolist():
                self._row(*row)
                given.append(row)
        self.rows.extend(given)
        return given

    def _whole(self, batch: Batch) -> None:
        if batch.dtype != BATCH or batch.ndim != 1 or not len(batch):
            raise CardFailed(f"expected rows of BATCH, found {batch.dtype} of shape {batch.shape}")
        if not batch["flags"][-1] & LAST:
            raise CardFailed("expected LAST on the last row of a batch, found none")

    def _row(
        self, kind: int, flags: int, symbol: int, reason: int, price: int, size: int, venue_ns: int, recv_ns: int,
        id_: int,
    ) -> None:  # fmt: skip
        name = KINDS.get(kind, str(kind))
        if kind not in KINDS or symbol >= len(self.subject.by_index):
            raise CardFailed(f"expected a known kind and symbol, found {name} of symbol {symbol}")
        if recv_ns != self.now_ns:
            raise CardFailed(f"expected recv_ns {self.now_ns} as given, found {recv_ns} in {name}")
        since_ns = EARLIEST_NS if self.is_true else 0
        if venue_ns and not since_ns < venue_ns < LATEST_NS:
            raise CardFailed(f"expected venue_ns in ns UTC or 0, found {venue_ns} in {name}")
        if price < 0 or id_ < 0 or (size < 0 and kind != FUNDING):
            raise CardFailed(f"expected price, size and id of at least 0, found {price}, {size}, {id_} in {name}")
        if (kind == LEVEL and price == 0) or (kind == TRADE and 0 in (price, size)) or (kind == FUNDING and price == 0):
            raise CardFailed(f"expected a price (and a trade's size) above 0, found {price}, {size} in {name}")
        if kind in (GAP, DOWN) and not 0 < reason < len(events.REASONS):
            raise CardFailed(f"expected a reason in {name}, found {reason}")
        book = self.books.setdefault(symbol, ({}, {}))
        if kind in (CLEAR, GAP, DOWN):
            self.ready.discard(symbol)
            book[0].clear()
            book[1].clear()
            if kind == CLEAR:
                self.ready.add(~symbol)  # a snapshot is being laid out
        elif kind == READY:
            if ~symbol not in self.ready:
                raise CardFailed("expected CLEAR before READY, found none")
            self.ready = self.ready - {~symbol} | {symbol}
        elif kind in (LEVEL, MARK) and not {symbol, ~symbol} & self.ready:
            raise CardFailed(f"expected no {name} while the book is not ready, found one")
        if kind == LEVEL:
            side = book[flags & ASK]
            if size:
                side[price] = size
            else:
                side.pop(price, None)
