"""Papertape beside hftbacktest: the same tape, queue model, latency and maker; the same fills, order by order?

    python -m engine.research.parity TAPE [--python PYTHON]        # a recording of one symbol
    python -m engine.research.parity --market 7 --seconds 600      # the simulated market of seed 7

hftbacktest (``pip install 'papertape[parity]'``) may live in another Python: ``--python`` names it. The answer is one
JSON line: how many orders filled alike, and every difference with its class. Code 1: a difference without a class.

How the two conventions meet. Our stream is stamped when we receive it; an order sent at t takes effect in it at
t + out + feed. hftbacktest keeps two clocks, the exchange's and ours: each row goes over with ``local_ts`` = received
and ``exch_ts`` = received - feed, the order's entry latency is ``out`` and its response ``back``: its order then meets
what happened at the exchange up to t + out, which is what we receive up to t + out + feed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from adapters.feed import Feed
from adapters.market import SymbolMarket, spec_of
from adapters.registry import venue_class
from adapters.tape import read_tapes
from engine.core import events as ev
from engine.core.engine import Engine
from engine.core.events import BATCH, Batch, Command
from engine.core.queues.queue_settings import QueueSettings
from engine.core.records import Accepted, Fill, Record, Rejected
from engine.core.settings import EngineSettings
from engine.core.strategy import Config, Context, Strategy
from engine.core.types import Instrument, Side
from engine.core.venue.paper_settings import PaperSettings
from engine.research.hftbacktest_maker import ORDER_FIELDS
from engine.research.parity_tape import Look, explain
from engine.research.scan import scan
from engine.research.virtual_market import NO_LIMITS, VirtualFeed, joined

EVENT: Final = np.dtype(
    [("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"), ("order_id", "u8"),
     ("ival", "i8"), ("fval", "f8")], align=True,
)  # fmt: skip
"""hftbacktest's own event row."""

DEPTH_EVENT, TRADE_EVENT, CLEAR_EVENT = 1, 2, 3
BOTH_CLOCKS, BUY_EVENT, SELL_EVENT = (1 << 31) | (1 << 30), 1 << 29, 1 << 28

FINER: Final = 10
"""Sizes are told in tenths of a lot: an order of half a lot more than a whole number can never be filled exactly by one
print. hftbacktest 2.4.4 keeps an order whose last fill was exact in its book (its test is ``>``), and the next print
at that price ends the run with an error."""

OFFSETS: Final = (0, 1, 0, 2, 0, 5)
"""Ticks behind the best price, step by step."""


class ParityError(Exception):
    """The two cannot be compared; the text says what is missing and what to do."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What both sides are given. Times in ns; ``size`` in tenths of a lot; latencies as in the paper venue."""

    first_ns: int
    step_ns: int
    steps: int
    size: int
    out_ns: int
    back_ns: int
    feed_ns: int


class Quote(msgspec.Struct):
    """One order as one side had it: fills by received time, in tenths of a lot."""

    step: int
    side: int
    price: int
    best: int
    fills: dict[int, int]
    rejected: bool = False


class MakerConfig(Config, frozen=True):
    """The rule is in ``OFFSETS``; ``setup`` says when."""

    setup: Setup


class StepMaker(Strategy[MakerConfig]):
    """At each step takes back what works and quotes both sides, post-only: a rule of time and best prices alone."""

    def __init__(self, config: MakerConfig) -> None:
        super().__init__(config)
        self.step = 0
        self.asked: dict[int, Quote] = {}

    def on_start(self, ctx: Context) -> None:
        ctx.timer("step", (self.config.setup.first_ns - ctx.now_ns) / 1e9)

    def on_timer(self, name: str, ctx: Context) -> None:
        setup, (symbol,) = self.config.setup, ctx.symbols
        if ctx.now_ns != setup.first_ns + self.step * setup.step_ns:
            raise RuntimeError(f"expected step {self.step} at its time, found {ctx.now_ns}")
        for order in ctx.orders(symbol):
            ctx.cancel(order.id)
        book = ctx.book(symbol)
        offset = OFFSETS[self.step % len(OFFSETS)] * book.instrument.tick
        for side, best in ((Side.BUY, book.bid), (Side.SELL, book.ask)):
            price = best - int(side) * offset
            number = ctx.order(symbol, side, setup.size, price, post_only=True)
            self.asked[number] = Quote(self.step, int(side), price, best, {})
        self.step += 1
        if self.step < setup.steps:
            ctx.timer("step", setup.step_ns / 1e9)


def run_ours(instrument: Instrument, batch: Batch, setup: Setup) -> list[Quote]:
    """The maker's orders and fills through the whole engine: desk, latency, paper venue."""
    maker = StepMaker(MakerConfig(setup=setup))
    paper = PaperSettings(
        out_ns=setup.out_ns, back_ns=setup.back_ns, feed_ns=setup.feed_ns,
        # Less than no time: a level change explains no later trade, as in hftbacktest.
        explain_ns=-1, queue=QueueSettings(model="risk_averse"),
    )  # fmt: skip
    settings = EngineSettings(paper=paper, risk=NO_LIMITS, cash={instrument.quote: Decimal(10) ** 12})
    engine = Engine([instrument], {"maker": lambda: maker}, settings)
    records: list[Record] = engine.process(Command(int(batch["recv_ns"][0]), "start"))
    ends = np.flatnonzero(batch["flags"] & ev.LAST) + 1
    start = 0
    for end in [*ends[::65536].tolist(), len(batch)]:
        if end > start:
            records += engine.process(batch[start:end])
            start = end
    end_ns = setup.first_ns + setup.steps * setup.step_ns
    accepted = {record.fact.order for record in records if isinstance(record.fact, Accepted)}
    for record in records:
        fact = record.fact
        if isinstance(fact, Fill) and fact.matched_ns < end_ns:
            fills = maker.asked[fact.order].fills
            fills[fact.matched_ns] = fills.get(fact.matched_ns, 0) + fact.size
        elif isinstance(fact, Rejected):
            maker.asked[fact.order].rejected = True
    if not accepted or maker.step < setup.steps:
        raise ParityError(f"expected {setup.steps} steps of quotes, found {maker.step} with {len(accepted)} accepted")
    return list(maker.asked.values())


def exported(instrument: Instrument, batch: Batch, feed_ns: int) -> npt.NDArray[np.void]:
    """The tape as hftbacktest's events: received time is the local clock, less the feed latency the exchange's."""
    first = int(np.argmax(batch["kind"] == ev.LEVEL))
    rows = batch[first:]
    rows = rows[np.isin(rows["kind"], (ev.LEVEL, ev.TRADE, ev.CLEAR))]
    events = np.zeros(len(rows), EVENT)
    second = (rows["flags"] & 1) != 0
    depth, trade = rows["kind"] == ev.LEVEL, rows["kind"] == ev.TRADE
    side = np.where(second, SELL_EVENT, BUY_EVENT)
    events["ev"] = BOTH_CLOCKS | np.where(depth, DEPTH_EVENT | side, np.where(trade, TRADE_EVENT | side, CLEAR_EVENT))
    events["local_ts"] = np.maximum.accumulate(rows["recv_ns"])
    events["exch_ts"] = events["local_ts"] - feed_ns
    events["px"] = rows["price"] / 10.0**instrument.price_decimals
    events["qty"] = rows["size"] / 10.0**instrument.size_decimals
    return events


def run_theirs(instrument: Instrument, batch: Batch, setup: Setup, python: str) -> tuple[list[Quote], str]:
    """The same through hftbacktest in the Python named; its orders, fills and version.

    Raises:
        ParityError: that Python has no hftbacktest, or the run ended early.
    """
    script = Path(__file__).with_name("hftbacktest_maker.py")
    unit = 10.0**-instrument.size_decimals
    given = {
        "events": exported(instrument, batch, setup.feed_ns),
        "offsets": np.array([OFFSETS[step % len(OFFSETS)] for step in range(setup.steps)], np.int64),
        "tick": np.array([instrument.tick * 10.0**-instrument.price_decimals]),
        "lot": np.array([FINER * unit]),
        "size": np.array([setup.size * unit]),
        **{name: np.array([getattr(setup, name)]) for name in ("first_ns", "step_ns", "steps", "out_ns", "back_ns")},
    }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, allow_pickle=False, **given)
        done = subprocess.run([python, str(script), source, target], capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["nothing"]
            raise ParityError(f"expected hftbacktest in {python}, found: {last[0]}; pip install 'papertape[parity]'")
        answer = dict(np.load(target))
    if answer["code"][0]:
        raise ParityError(f"expected hftbacktest to reach the last step, found its code {answer['code'][0]}")
    orders = answer["orders"].reshape(-1, ORDER_FIELDS).tolist()
    quotes = [
        Quote(number // 2, side, price * instrument.tick, best * instrument.tick, {})
        for number, (_, side, price, _, best) in enumerate(orders)
    ]
    for number, exchange_ns, nanos in answer["fills"].tolist():
        size = round(nanos / 1e9 / unit)
        at = exchange_ns + setup.feed_ns
        if at < setup.first_ns + setup.steps * setup.step_ns:
            quotes[number].fills[at] = quotes[number].fills.get(at, 0) + size
    return quotes, str(answer["version"][0])


def compare(instrument: Instrument, batch: Batch, setup: Setup, python: str) -> dict[str, Any]:
    """Run both and set them side by side, order by order."""
    ours = run_ours(instrument, batch, setup)
    theirs, version = run_theirs(instrument, batch, setup, python)
    sent = [(one.step, one.side, one.price, one.best) for one in ours]
    if sent != [(one.step, one.side, one.price, one.best) for one in theirs]:
        first = next(a for a, b in zip(ours, theirs, strict=True) if (a.price, a.best) != (b.price, b.best))
        raise ParityError(f"expected the same quotes from the same books, found the first difference at {first}")
    differ = [(one, two) for one, two in zip(ours, theirs, strict=True) if one.fills != two.fills]
    looks = [Look(one.side, one.price, setup.size, one.fills, two.fills) for one, two in differ]
    classes, examples = Counter[str](), defaultdict[str, list[str]](list)
    for look, word in zip(looks, explain(batch, looks), strict=True):
        classes[word] += 1
        if len(examples[word]) < 3:
            examples[word].append(f"side {look.side} at {look.price}: ours {look.ours}, theirs {look.theirs}")
    stamps = np.unique(batch["recv_ns"])
    instants = setup.first_ns + setup.step_ns * np.arange(setup.steps)
    return {
        "hftbacktest": version,
        "rows": len(batch),
        "trades": int(np.count_nonzero(batch["kind"] == ev.TRADE)),
        "steps": setup.steps,
        "orders": len(ours),
        "rejected": sum(one.rejected for one in ours),
        "filled_ours": sum(bool(one.fills) for one in ours),
        "filled_theirs": sum(bool(one.fills) for one in theirs),
        "fills_ours": sum(len(one.fills) for one in ours),
        "same_orders": len(ours) - len(differ),
        "same_filled_orders": sum(bool(a.fills) and a.fills == b.fills for a, b in zip(ours, theirs, strict=True)),
        "differences": dict(classes),
        "examples": dict(examples),
        "ties": int(np.isin(np.concatenate([instants, instants + setup.out_ns + setup.feed_ns]), stamps).sum()),
    }  # fmt: skip


def finer(instrument: Instrument, batch: Batch) -> tuple[Instrument, Batch]:
    """The same tape with sizes in tenths of a lot; see ``FINER``."""
    batch = batch.copy()
    sized = np.isin(batch["kind"], (ev.LEVEL, ev.TRADE, ev.QUOTE))
    batch["size"][sized] *= FINER
    return msgspec.structs.replace(instrument, size_decimals=instrument.size_decimals + 1, lot=1, min_size=0), batch


def recorded(paths: Sequence[Path]) -> tuple[Instrument, Batch]:
    """A recording of one venue and one symbol, in one or several files, as one batch.

    Raises:
        TapeError, ScanError: see there.
        ParityError: more than one symbol.
    """
    header, entries = read_tapes(paths)
    shown = [(name, one) for name, found in scan(*read_tapes(paths), {}).items() for one in found.instruments.values()]
    if len(shown) != 1:
        raise ParityError(f"{paths[0]}: expected one symbol, found {len(shown)}")
    ((name, instrument),) = shown
    feed = Feed(name, venue_class(header.venues[name].use), {instrument.symbol: (0, instrument)})
    batches = [out for entry in entries for out in feed.apply(entry) if isinstance(out, np.ndarray)]
    return instrument, np.frombuffer(b"".join(one.tobytes() for one in batches), BATCH)


def simulated(
    seed: int, seconds: int, feed_ns: int, symbol: str = "BTCUSDT", warm_s: int = 30
) -> tuple[Instrument, Batch]:
    """That long of the simulated market, tick by tick, after ``warm_s`` seconds of its own."""
    second = 1_000_000_000
    market = SymbolMarket(spec_of(symbol), seed, start_ns=1_700_000_000 * second)
    market.advance(market.now_ns + warm_s * second)
    feed = VirtualFeed(market, feed_ns=feed_ns)
    opening = feed.opening()
    return feed.instrument, joined([opening, feed.advance(market.now_ns + seconds * second)])


def setup_for(
    instrument: Instrument, batch: Batch, *, step_ns: int, lots: int, out_ns: int, back_ns: int, feed_ns: int
) -> Setup:
    """Steps from a second after the book is ready, off all round instants, to a second and a step before the end."""
    ready = int(batch["recv_ns"][np.argmax(batch["kind"] == ev.READY)])
    last = int(batch["recv_ns"].max())
    first = (ready + 1_000_000_000) // 1000 * 1000 + 777
    steps = (last - 1_000_000_000 - first) // step_ns - 1
    if steps < 1:
        raise ParityError(f"expected a tape longer than two seconds and a step, found {(last - ready) / 1e9:.1f} s")
    size = lots * FINER + FINER // 2
    return Setup(
        first_ns=first, step_ns=step_ns, steps=steps, size=size, out_ns=out_ns, back_ns=back_ns, feed_ns=feed_ns
    )


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON line; 0 alike or all explained, 1 something unexplained, 2 cannot be compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tape", type=Path, nargs="*", help="a recording of one symbol, in one or several files")
    parser.add_argument("--market", type=int, metavar="SEED", help="the simulated market instead of a recording")
    parser.add_argument("--seconds", type=int, default=600, help="of the simulated market")
    parser.add_argument("--python", default=os.environ.get("PAPERTAPE_HFTBACKTEST", sys.executable))
    parser.add_argument("--step-ms", type=int, default=500, help="between two rounds of quotes")
    parser.add_argument("--lots", type=int, default=10, help="size of a quote, and half a lot more")
    parser.add_argument("--out-ms", type=float, default=4.0)
    parser.add_argument("--back-ms", type=float, default=6.0)
    parser.add_argument("--feed-ms", type=float, default=3.0)
    asked = parser.parse_args(arguments)
    if bool(asked.tape) == (asked.market is not None):
        parser.error("expected a tape or --market, found both or neither")
    out_ns, back_ns, feed_ns = (round(ms * 1e6) for ms in (asked.out_ms, asked.back_ms, asked.feed_ms))
    try:
        found = recorded(asked.tape) if asked.tape else simulated(asked.market, asked.seconds, feed_ns)
        instrument, batch = finer(*found)
        setup = setup_for(
            instrument, batch, step_ns=asked.step_ms * 1_000_000, lots=asked.lots, out_ns=out_ns, back_ns=back_ns,
            feed_ns=feed_ns,
        )  # fmt: skip
        result = compare(instrument, batch, setup, asked.python)
    except ParityError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    return 1 if result["differences"].get("unexplained") else 0


if __name__ == "__main__":
    sys.exit(main())
