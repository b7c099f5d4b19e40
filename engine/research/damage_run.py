"""The runs whose journals are damaged: what is on disk when they end, and what the account was after each input.

Frames of the plain protocol lead to resting orders, fills and scored predictions. Some frames come while the one
before still waits, so that the inputs of a turn stand before its facts. The last input of all was written down and its
facts were not, as after a kill at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from adapters.entry import Entry, EntryKind
from adapters.plain import Plain
from adapters.tape import encode_entry
from engine.core.types import Instrument
from engine.live.config import AppConfig, parse_config
from engine.live.config_journal import size_text
from engine.live.journal import Kind, Position, read
from engine.live.journal.frames import PREAMBLE_BYTES
from engine.live.recovery.snapshots import newest, unpack
from engine.live.recovery.state import Kept
from engine.research.lived import Lived, market

BTC: Final = Instrument(venue="v", symbol="BTC", base="BTC", quote="USDT", price_decimals=1, size_decimals=3)
LEVELS: Final = 32
STEP_NS: Final = 20_000_000
WARM: Final = 30
"""Frames before the first snapshot: orders rest, some have traded, the model has learned."""

ONE_SEGMENT: Final = 64 << 20
SMALLEST_SEGMENT: Final = 64 << 10


class Noted(msgspec.Struct, frozen=True):
    """A run after an input: ``account`` is all that it has, exact, as JSON."""

    digest: str
    seq: int
    account: bytes


class Span(msgspec.Struct, frozen=True):
    """Where a frame lies in its segment; of the preamble, which is none, ``kind`` is empty."""

    segment: int
    begin: int
    end: int
    kind: str


class Stretch(msgspec.Struct, frozen=True):
    """Bytes of one segment, from ``begin`` to before ``end``."""

    segment: int
    begin: int
    end: int


class Made(msgspec.Struct, frozen=True):
    """A run that ended, and what is to be done to it.

    ``files``: all of its folder by path. ``noted``: by the number of inputs, from 1. ``sessions``: how many inputs came
    before each. ``snapshot``: the newest, None where there is none. ``cuts`` and ``flips``: where.
    """

    name: str
    segment_bytes: int
    files: dict[str, bytes]
    noted: list[Noted]
    sessions: list[int]
    spans: list[Span]
    snapshot: Position | None
    cuts: list[Stretch]
    flips: list[Stretch]


def config(segment_bytes: int) -> AppConfig:
    """A busy strategy and a model that learns. All parts by their modules, which spares a start a search for them."""
    busy = {"use": "engine.research.crash_strategy:Busy", "symbol": "v:BTC", "orders": 1, "rest": 8}
    model = {"use": "engine.learn.online:RiverLinear", "symbol": "v:BTC", "horizon": "100ms", "every": "20ms"}
    model |= {"warm_up": "200ms"}
    cash = {"USDT": "1000000", "BTC": "10"}
    return parse_config(
        {
            "run": {"name": "damage"},
            "venue": {"v": {"use": "adapters.plain:Plain", "symbols": ["BTC"]}},
            "paper": {"out": "5ms", "back": "5ms", "feed": "1ms", "cash": cash, "max_orders": 64},
            "risk": {"max_orders_per_window": 0, "allow_short": True, "allow_debt": True, "drawdown_fraction": "0"},
            "journal": {"fsync": "off", "segment": size_text(segment_bytes)},
            "strategy": [{"name": "busy", **busy}],
            "model": [{"name": "linear", **model}],
        },
        "damage",
    )


def account(kept: Kept) -> bytes:
    """All that a run has, exact: money, positions, orders with their places in the queues, what was counted, models."""
    desk, ledger = kept.engine.desk, kept.engine.ledger
    resting = desk.venue.resting
    orders = [
        {
            "id": order.intent.order,
            "side": order.intent.side,
            "state": order.state,
            "owner": [order.price, order.size, order.filled],
            "venue": [order.intent.price, order.intent.size, order.venue_left],
            "ahead": resting.queue_ahead(order.intent.order),
            "may be ahead": desk.queues_before(order) if order.at_venue else None,
        }
        for order in desk.orders.values()
    ]
    counts = [desk.sent, desk.fills, desk.filled, desk.cancelled, desk.expired, desk.rejected]
    return msgspec.json.encode(
        {
            "ledger": ledger.snapshot(),
            "orders": orders,
            "counts": counts,
            "other queues": kept.engine.honesty.twins.band(ledger),
            "models": kept.models.summary(),
            "now_ns": kept.engine.now_ns,
        }
    )


class _Watched(Lived):
    """Notes the account after each input."""

    def __init__(self, path: Path, segment_bytes: int, noted: list[Noted]) -> None:
        self.noted = noted
        super().__init__(path, config(segment_bytes), BTC, Plain)

    def apply(self, entry: Entry) -> None:
        super().apply(entry)
        self.note()

    def note(self) -> None:
        self.noted.append(Noted(self.engine.digest, self.engine.seq, account(self.kept)))

    def live(self, source: Iterator[bytes], is_over: Callable[[], bool]) -> None:
        """Take frames until ``is_over``; every fourth turn of the loop has two."""
        turn = 0
        while not is_over():
            turn += 1
            self.take(*(self.received(source) for _ in range(1 + (turn % 4 == 0))))

    def received(self, source: Iterator[bytes]) -> Entry:
        self.now_ns += STEP_NS
        return Entry(EntryKind.RECEIVED, self.now_ns, "v", "", next(source))

    def die(self, source: Iterator[bytes]) -> None:
        """End between the write of an input, a trade, and that of its facts."""
        while (entry := self.received(source)) and b'"trade"' not in entry.data:
            self.take(entry)
        self.keeper.entry(encode_entry(entry)[:-1])
        self.keeper.commit()
        for batch in self.kept.feeds["v"].apply(entry):
            if isinstance(batch, np.ndarray):
                self.engine.process(batch)
        self.note()
        self.close()


def make_tail(folder: Path, cut_bytes: int, flip_bytes: int) -> Made:
    """One segment whose last ``cut_bytes`` lie behind a snapshot and hold another one and the begin of a session."""
    noted: list[Noted] = []
    source = market(1, LEVELS)
    lived = _Watched(folder / "damage", ONE_SEGMENT, noted)
    lived.live(source, lambda: len(noted) >= WARM)
    lived.snapshot()
    begin = lived.journal.position.offset
    lived.live(source, lambda: lived.journal.position.offset >= begin + cut_bytes // 4)
    lived.close()
    sessions = [0, len(noted)]
    lived = _Watched(folder / "damage", ONE_SEGMENT, noted)
    lived.live(source, lambda: lived.journal.position.offset >= begin + cut_bytes // 2)
    lived.snapshot()
    lived.live(source, lambda: lived.journal.position.offset >= begin + cut_bytes)
    lived.die(source)
    end = lived.journal.position.offset
    cuts, flips = Stretch(1, end - cut_bytes, end), Stretch(1, end - flip_bytes, end)
    return _made("tail", folder, ONE_SEGMENT, noted, sessions, [cuts], [flips])


def make_segments(folder: Path, around_bytes: int) -> Made:
    """``around_bytes`` hold the end of a sealed segment, with a snapshot, and the begin of the next."""
    noted: list[Noted] = []
    source = market(2, LEVELS)
    half = around_bytes // 2
    lived = _Watched(folder / "damage", SMALLEST_SEGMENT, noted)
    lived.live(source, lambda: lived.journal.position.offset >= SMALLEST_SEGMENT - 12 * half)
    lived.snapshot()
    lived.live(source, lambda: lived.journal.position.offset >= SMALLEST_SEGMENT - half)
    snapshot = lived.journal.position.offset
    lived.snapshot()
    lived.live(source, lambda: lived.journal.position >= Position(2, 2 * half))
    lived.die(source)
    end = (lived.state.journal / "00000001.ptj").stat().st_size
    before = end - snapshot + half // 4
    around = [Stretch(1, end - before, end), Stretch(2, 0, around_bytes - before)]
    return _made("segments", folder, SMALLEST_SEGMENT, noted, [0], around, around)


def make_unsaved(folder: Path, cut_bytes: int) -> Made:
    """A short run without a snapshot: every start tells it again from the first input."""
    noted: list[Noted] = []
    source = market(3, LEVELS)
    lived = _Watched(folder / "damage", ONE_SEGMENT, noted)
    lived.live(source, lambda: len(noted) >= WARM and lived.journal.position.offset > 2 * cut_bytes)
    lived.die(source)
    end = lived.journal.position.offset
    return _made("unsaved", folder, ONE_SEGMENT, noted, [0], [Stretch(1, end - cut_bytes, end)], [])


def _made(
    name: str,
    folder: Path,
    segment_bytes: int,
    noted: list[Noted],
    sessions: list[int],
    cuts: list[Stretch],
    flips: list[Stretch],
) -> Made:
    run = folder / "damage"
    spans = list(_spans(run / "journal"))
    snapshots = [unpack(path)[0].position for path in newest(run / "snapshots")]
    made = Made(
        name=name,
        segment_bytes=segment_bytes,
        files={str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*.pt?")},
        noted=noted,
        sessions=sessions,
        spans=spans,
        snapshot=snapshots[0] if snapshots else None,
        cuts=cuts,
        flips=flips,
    )
    _check(made)
    return made


def _spans(journal: Path) -> Iterator[Span]:
    for frame in read(journal):
        if frame.kind is Kind.HEADER:
            yield Span(frame.position.segment, 0, PREAMBLE_BYTES, "")
        yield Span(frame.position.segment, frame.position.offset, frame.end.offset, frame.kind.value)


def _check(made: Made) -> None:
    """A run in which nothing happens would prove nothing.

    Raises:
        RuntimeError: it is one.
    """
    last: dict[str, Any] = msgspec.json.decode(made.noted[-1].account)
    inputs = sum(span.kind == Kind.INPUT for span in made.spans)
    cut = {
        span.kind
        for span in made.spans
        for stretch in made.cuts
        if span.segment == stretch.segment and stretch.begin <= span.begin < stretch.end
    }
    wanted = {Kind.INPUT.value, Kind.FACT.value} | ({Kind.MARK.value} if made.snapshot is not None else set())
    fills, resting, learned = last["counts"][1], len(last["orders"]), last["models"][0]["learned"]
    is_busy = fills >= 5 and resting >= 3 and learned >= 3
    if not (inputs == len(made.noted) and cut >= wanted and is_busy and all(one.end > one.begin for one in made.cuts)):
        raise RuntimeError(
            f"{made.name}: expected {inputs} inputs noted, {sorted(wanted)} in {made.cuts} and a busy run, "
            f"found {len(made.noted)} noted, {sorted(cut)}, {fills} fills, {resting} orders, {learned} labels learned"
        )
