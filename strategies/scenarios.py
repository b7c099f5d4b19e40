"""Small synthetic markets, the same on every run, to try a strategy in: a walk, a gap, a side that empties, thin books.

No file, clock or chance is needed: the walk comes from a counter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from engine.core import events as ev
from engine.core.desk.risk import RiskSettings
from engine.core.engine import Engine
from engine.core.events import Batch, Command, Frames, Judged, ModelReady, Observed
from engine.core.records import AnyFact, Record, Signal
from engine.core.settings import EngineSettings
from engine.core.strategy import Strategy
from engine.core.types import ContractKind, Instrument
from engine.core.venue.paper_settings import PaperSettings

SYMBOL = "test:BTCUSDT"
START_NS = 1_700_000_000_000_000_000
FRAME_NS = 10_000_000
FRAMES = 1_000
"""Ten seconds of engine time."""
GAP_FRAMES = range(400, 500)
EMPTY_FRAMES = range(600, 700)

LOOSE = RiskSettings(
    max_order_notional=Decimal(0),
    max_position_notional=Decimal(0),
    price_collar_bps=0,
    max_orders_per_window=0,
    max_open_orders=0,
    drawdown_fraction=Decimal(0),
    allow_short=True,
    allow_debt=True,
)


def instrument(kind: ContractKind) -> Instrument:
    """What the synthetic market trades: about 10,000 of the quote currency a unit of base, tick 0.10."""
    is_inverse = kind is ContractKind.INVERSE
    return Instrument(
        venue="test",
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        price_decimals=2,
        size_decimals=0 if is_inverse else 3,
        kind=kind,
        tick=10,
        contract_size=Decimal(10) if is_inverse else Decimal(1),
        settle_in="ETH" if kind is ContractKind.QUANTO else "",
    )


def walk(*, has_snapshot: bool = True, gap: bool = False, one_sided: bool = False, thin: bool = False) -> list[Batch]:
    """One batch a frame: a book of five levels a side around a moving mid, and a trade in every second frame.

    ``thin`` displays so little that an order of any size fills in part. With ``gap`` the book is in doubt for a second
    in the middle, with ``one_sided`` it has no asks for another.
    """
    batches: list[Batch] = [ev.row(ev.UP, symbol=0, recv_ns=START_NS)]
    known: dict[tuple[int, int], int] = {}
    state = 1
    for number in range(FRAMES):
        ns = START_NS + (number + 1) * FRAME_NS
        state = (state * 1_103_515_245 + 12_345) % 2**31
        in_gap = gap and number in GAP_FRAMES
        if in_gap and number == GAP_FRAMES[0]:
            batches.append(ev.row(ev.GAP, symbol=0, recv_ns=ns, reason=ev.SEQUENCE))
        wave = abs(number % 200 - 100) - 50 + (state >> 16) % 7 - 3
        bid = 1_000_000 + 10 * wave
        scale = 1 if thin else 200
        heavy = 0 if number % 200 >= 100 else ev.ASK  # the book leans the way the price goes
        wanted = {
            (flag, bid + (10 + 10 * level if flag else -10 * level)): scale
            * (1 + (state >> (level + 8 + 6 * flag)) % 5 + (4 if flag == heavy else 0))
            for flag in (0, ev.ASK)
            for level in range(5)
            if not (flag and one_sided and number in EMPTY_FRAMES)
        }
        if has_snapshot and not in_gap:
            is_first = not known or (gap and number == GAP_FRAMES[-1] + 1)
            batches.append(_depth(ns, {} if is_first else known, wanted, number, is_snapshot=is_first))
            known = wanted
        if number % 2:
            is_sell = (number // 50) % 2
            price = bid if is_sell else bid + 10
            flags = ev.LAST | (ev.SELL if is_sell else 0)
            batches.append(
                ev.row(ev.TRADE, symbol=0, recv_ns=ns, flags=flags, price=price, size=4 * scale, id=number, venue_ns=ns)
            )
    return batches


def _depth(
    ns: int, known: dict[tuple[int, int], int], wanted: dict[tuple[int, int], int], number: int, *, is_snapshot: bool
) -> Batch:
    changes = [(flag, price, 0) for flag, price in known if (flag, price) not in wanted]
    changes += [(flag, price, size) for (flag, price), size in wanted.items()]
    batch = ev.rows(len(changes))
    for row, (flag, price, size) in zip(batch, changes, strict=True):
        row["kind"], row["flags"], row["price"], row["size"] = ev.LEVEL, flag, price, size
    batch["recv_ns"] = batch["venue_ns"] = ns
    batch["id"] = number
    if not is_snapshot:
        batch["flags"][-1] |= ev.LAST
        return batch
    batch["flags"] |= ev.SNAPSHOT
    clear = ev.row(ev.CLEAR, symbol=0, recv_ns=ns, flags=ev.SNAPSHOT)
    ready = ev.row(ev.READY, symbol=0, recv_ns=ns, flags=ev.LAST | ev.SNAPSHOT, id=number)
    return np.concatenate([clear, batch, ready])


class Prophet:
    """A model that is asked four times a second of engine time and swings between -60 and 60 basis points.

    It says that it may be wrong by 20, or by ``width``; none: it does not say. With ``size`` it asks for less.
    """

    def __init__(self, source: str, width: float | None = 20.0, size: float | None = None) -> None:
        self._source = source
        self._width = width
        self._size = size
        self._asked = 0
        self._next_ns = START_NS

    def next_due_ns(self) -> int:
        return self._next_ns

    def absorb(self, frames: Frames) -> None:
        del frames

    def due(self, now_ns: int) -> Sequence[AnyFact]:
        self._asked += 1
        self._next_ns = max(self._next_ns, now_ns) + 250_000_000
        value = float(abs(self._asked % 16 - 8) * 15 - 60)
        told = {} if self._size is None else {f"{self._source}/size": self._size}
        told |= {self._source: value} | ({} if self._width is None else {f"{self._source}/width": self._width})
        return [Signal(SYMBOL, self._source, name, each, self._asked, 1_000_000_000) for name, each in told.items()]

    def hear(self, item: Observed | Judged) -> None:
        del item

    def promote(self, contest: str, model: str | None) -> Sequence[AnyFact]:
        del contest, model
        return ()

    def retrain(self, model: str) -> None:
        raise ValueError(f"model: expected a run with models, found none for {model!r}")

    def swap(self, ready: ModelReady) -> Sequence[AnyFact]:
        del ready
        return ()


class Outcome(msgspec.Struct):
    """What a run of a strategy over a scenario came to; ``stopped`` says why the engine stopped it, if it did."""

    records: list[Record]
    digest: str
    strategy: Strategy[Any]
    stopped: str | None


def play(
    make: Callable[[], Strategy[Any]],
    batches: Sequence[Batch],
    *,
    kind: ContractKind = ContractKind.LINEAR,
    model: str = "model",
    width: float | None = 20.0,
    size: float | None = None,
    is_halted: bool = False,
    reload_at: int | None = None,
) -> Outcome:
    """Run a strategy, named ``s``, over batches with 5 ms of latency each way, beside a ``Prophet``.

    With ``reload_at`` it is saved, thrown away, made again and loaded before that batch.
    """
    settings = EngineSettings(
        paper=PaperSettings(), risk=LOOSE, cash={"USDT": Decimal(100_000), "BTC": Decimal(10)}, book_depth=64
    )
    engine = Engine((instrument(kind),), {"s": make}, settings, learning=Prophet(model, width, size))
    records = engine.process(Command(START_NS, "start"))
    if is_halted:
        records += engine.process(Command(START_NS, "halt"))
    for number, batch in enumerate(batches):
        if number == reload_at and "s" not in engine.roster.stopped:
            problem = engine.roster.reload("s")
            if problem is not None:
                engine.stop_strategy("s", f"save and load: {problem}")
            engine.subscribe()
        records += engine.process(batch)
    records += engine.process(Command(engine.now_ns, "stop"))
    return Outcome(records, engine.digest, engine.roster.slots["s"].strategy, engine.roster.stopped.get("s"))
