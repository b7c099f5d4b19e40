"""The loop of a live run: take from the bus, let the engine decide, hand the facts on."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog

from adapters.connection import Connection
from adapters.entry import Entry, EntryKind
from adapters.side.taped import to_entry
from engine.core.engine import Engine
from engine.core.events import CLOCK, Batch, Command, Judged, Measured, ModelReady, Observed, row
from engine.core.records import (
    Commanded,
    Fill,
    Note,
    Record,
    Regraded,
    RetrainRequested,
    Sent,
)
from engine.live.bus import Bus, BusFull, Item
from engine.live.clock import Clock
from engine.live.held import Held
from engine.live.importance import LOGGED, LOUD, is_loss, rank
from engine.live.journal import Journal, JournalNotWritten
from engine.live.latency import Latency
from engine.live.recovery.keeper import Keeper
from engine.live.training import Training

log = structlog.get_logger("papertape.run")

QUIET_S = 0.05
"""When nothing came for so long, the engine is told what time it is."""

TURN = 256
TURN_NS = 1_000_000
"""Inputs in a row, and how long they may take, before the other tasks get a turn."""

KEPT = 500
"""Recent fills and notable facts kept for the page."""

Sink = Callable[[Sequence[Record]], None]


class Runner:
    """Owns the order of inputs: whatever the engine sees goes to the tape and the journal first, at the same place.

    With a ``keeper`` nobody outside hears of a fact before it is in the journal, and with ``fsync = "always"`` not
    before that fsync is over, while the engine goes on; without one at once. ``sinks`` tell facts to the outside,
    ``inside`` are parts of the picture that ``settled`` guards. ``committed`` are called at each commit, and what they
    return when all inputs until then are as safe as facts that are shown.
    """

    def __init__(
        self,
        engine: Engine,
        bus: Bus,
        clock: Clock,
        tape: Callable[[Entry], None],
        keeper: Keeper | None = None,
    ) -> None:
        self.engine = engine
        self.bus = bus
        self.clock = clock
        self.training: Training | None = None
        self.connections: Mapping[str, Connection] = {}
        self.sinks: list[Sink] = []
        self.inside: list[Sink] = []
        self.committed: list[Callable[[], Callable[[], None]]] = []
        self.held = Held(rank)
        self.processed = 0
        self.batches_taken = 0
        self.batches_processed = 0
        self.longest_turn_ns = 0
        self.decision = Latency()
        self.order = Latency()
        self.round_trip = Latency()
        self.recent_fills: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.notable: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.turned_ns = clock.now_ns()
        self.is_serving = False
        self._is_busy = False
        self._tape = tape
        self._keeper = keeper
        self._untold: list[Sequence[Record]] = []
        self._failure: JournalNotWritten | None = None
        self._is_waiting = False

    def take(self, batch: Batch, recv_ns: int) -> bool:
        """Market data from a connection; False when the engine fell behind.

        When nothing waits the engine sees it at once: a hop through the queue would cost more than the decision. While
        the engine is at work (it may doubt a book, and the venue answers with a gap) it goes to the bus.
        """
        self.batches_taken += 1
        if self._is_busy or not self.is_serving or len(self.bus):
            return self.bus.put_market(batch, recv_ns)
        self._process(Item(batch, recv_ns))
        return True

    def command(self, name: str, args: Mapping[str, Any] | None = None) -> None:
        """Put a user's word on the tape and on the bus.

        Raises:
            BusFull: the engine is far behind; nothing was done.
        """
        command = Command(self.clock.now_ns(), name, dict(args or {}))
        if not self.bus.has_room():
            self.bus.refused += 1
            raise BusFull("expected room for a command, found the engine far behind; try again")
        data = json.dumps(command.args, sort_keys=True).encode()
        self._tape(Entry(EntryKind.COMMAND, command.recv_ns, "", name, data))
        self.bus.put_command(command)

    def model_ready(self, model: str, version: str, payload: bytes) -> None:
        """A training came back; its payload is on disk already."""
        ready = ModelReady(self.clock.now_ns(), model, version, payload)
        self._tape(Entry(EntryKind.MODEL, ready.recv_ns, "", model, version.encode()))
        self.bus.put_model(ready)

    def measured(self, venue: str, rtt_ns: int, delay_ns: int = 0) -> None:
        """A round trip to a venue was measured; the engine's latencies may follow it, so it is on the tape."""
        self.round_trip.observe(rtt_ns)
        if self.bus.has_room():
            measured = Measured(self.clock.now_ns(), venue, rtt_ns, delay_ns)
            self._tape(Entry(EntryKind.PINGED, measured.recv_ns, venue, "", b"%d %d" % (rtt_ns, delay_ns)))
            self.bus.put_measured(measured)

    def side(self, item: Observed | Judged) -> None:
        """A side stream says something that passed its validation; the caller waited for room on the bus."""
        self._tape(to_entry(item))
        self.bus.put_side(item)

    async def run(self) -> None:
        """Serve the bus until cancelled.

        Raises:
            JournalNotWritten: the disk refuses; what was shown so far is safe.
        """
        self.is_serving = True
        while True:
            if not await self.bus.wait(QUIET_S):
                self.tell_time()
            self.drain(TURN, TURN_NS)
            self.commit()
            if self._keeper is not None and len(self.bus) == 0 and self._keeper.is_due():
                self._keeper.snapshot()
            await asyncio.sleep(0)

    def tell_time(self) -> None:
        """The market is quiet: time passes all the same."""
        now_ns = self.clock.now_ns()
        if len(self.bus) == 0:
            self._tape(Entry(EntryKind.CLOCK, now_ns, ""))
            self.bus.put_clock(row(CLOCK, symbol=0, recv_ns=now_ns))

    def drain(self, most: int, longest_ns: int | None = None) -> None:
        """Let the engine see what waits: at most so many inputs, and none more after so long."""
        started_ns = self.clock.now_ns()
        for _ in range(most):
            item = self.bus.pop()
            if item is None:
                break
            self._process(item)
            if longest_ns is not None and self.clock.now_ns() - started_ns >= longest_ns:
                break
        self.turned_ns = self.clock.now_ns()
        self.longest_turn_ns = max(self.longest_turn_ns, self.turned_ns - started_ns)

    @property
    def missed(self) -> int:
        """Batches that connections handed on and the engine has not seen, less those still waiting."""
        waiting = sum(1 for item in self.bus.waiting() if item.stamp_ns)
        return self.batches_taken - self.batches_processed - waiting

    def _process(self, item: Item) -> None:
        self._is_busy = True
        try:
            records = self.engine.process(item.payload)
        finally:
            self._is_busy = False
        self.processed += 1
        if item.stamp_ns:
            took_ns = self.clock.now_ns() - item.stamp_ns
            self.batches_processed += 1
            self.decision.observe(took_ns)
            if any(type(record.fact) is Sent for record in records):
                self.order.observe(took_ns)
        for symbol in self.engine.doubted:
            connection = self.connections.get(self.engine.instruments[symbol].venue)
            if connection is not None:
                connection.doubt(symbol)
        if records:
            if self._keeper is None:
                self._hear(records)
                self._tell(records)
                return
            self._keeper.facts(records)
            if not self._untold and self.is_serving:
                asyncio.get_running_loop().call_soon(self._commit_soon)
            self._untold.append(records)

    def commit(self) -> None:
        """Write down all that happened, then tell it, or hold it back until the disk has it: see ``settled``.

        Raises:
            JournalNotWritten: the disk refuses.
        """
        keeper = self._keeper
        if keeper is None:
            return
        if self._failure is not None:
            raise self._failure
        try:
            keeper.commit()
        except JournalNotWritten as error:
            self._failure = error
            raise
        then = [hear() for hear in self.committed]
        untold, self._untold = self._untold, []
        for records in untold:
            self._hear(records)
        if not keeper.waits_for_disk and self.held.oldest is None:
            self._tell_all(untold, then)
        elif untold or then:
            self.held.put(keeper.journal.position, untold, then)
            self._wait_for_disk()

    @property
    def waits_for_disk(self) -> bool:
        """Whether ``settled`` may take as long as the disk does."""
        return self._keeper is not None and self._keeper.waits_for_disk

    async def settled(self) -> None:
        """Wait until what happened so far may be shown. Whoever shows the engine's state takes the picture, awaits
        this, and then shows it: what comes meanwhile is not in the picture.

        Raises:
            JournalNotWritten: the disk refuses: it must not be shown.
        """
        self.commit()
        if self._keeper is not None and self._keeper.waits_for_disk:
            await self._keeper.journal.wait_durable()
            self._release()

    @property
    def journal(self) -> Journal | None:
        """Where inputs and facts are written down; None without one."""
        return self._keeper.journal if self._keeper is not None else None

    def _wait_for_disk(self) -> None:
        """Have the oldest of what is held back told when the disk has it; one question at a time."""
        assert self._keeper is not None
        if not self._is_waiting and (oldest := self.held.oldest) is not None:
            self._is_waiting = True
            self._keeper.journal.when_durable(oldest, self._durable)

    def _durable(self) -> None:
        self._is_waiting = False
        self._release()

    def _release(self) -> None:
        """Tell what is safe by now; after a refusal nothing more ever is, and the next commit says so."""
        assert self._keeper is not None
        if self._keeper.journal.failure is None:
            for commit in self.held.take(self._keeper.journal.durable):
                self._tell_all(commit.facts, commit.then)
            self._wait_for_disk()

    def _tell_all(self, facts: Sequence[Sequence[Record]], then: Sequence[Callable[[], None]]) -> None:
        for call in then:
            call()
        for records in facts:
            self._tell(records)

    def _commit_soon(self) -> None:
        """All facts of one turn of the loop in one write; ``run`` ends with what the disk refuses."""
        with suppress(JournalNotWritten):
            self.commit()

    def _hear(self, records: Sequence[Record]) -> None:
        """What the daemon itself does with facts that are written down; nobody outside sees it."""
        for record in records:
            fact = record.fact
            if isinstance(fact, Commanded) and fact.name == "reload" and self._keeper is not None:
                failed = {one.fact.strategy for one in records if isinstance(one.fact, Note)}
                only = fact.args.get("strategy")
                named = self.engine.roster.slots if only is None else [str(only)]
                self._keeper.reloaded(name for name in named if name not in failed)
        self.remember(records)
        for hear in self.inside:
            hear(records)

    def _tell(self, records: Sequence[Record]) -> None:
        """Tell the outside."""
        for record in records:
            fact = record.fact
            if isinstance(fact, RetrainRequested):
                log.info("RetrainRequested", model=fact.model, cause=fact.cause, rows=fact.rows)
                if self.training is not None:
                    self.training.start(fact.model)
            elif isinstance(fact, LOGGED):
                words = {name: getattr(fact, name) for name in fact.__struct_fields__}
                level = "warning" if is_loss(fact) else LOUD.get(type(fact), "info")
                getattr(log, level)(type(fact).__name__, **words)
            elif isinstance(fact, Commanded):
                log.info("Commanded", name=fact.name, args=fact.args)
        for sink in self.sinks:
            sink(records)

    def remember(self, records: Sequence[Record]) -> None:
        """Keep what the page shows of facts."""
        for record in records:
            fact = record.fact
            if isinstance(fact, Fill):
                self.recent_fills.append(self._fill(record.ns, fact))
            elif isinstance(fact, Regraded):
                self._regraded(fact)
            elif isinstance(fact, LOGGED):
                words = {name: getattr(fact, name) for name in fact.__struct_fields__}
                self.notable.append({"ns": record.ns, "what": type(fact).__name__, **words})

    def _fill(self, ns: int, fill: Fill) -> dict[str, Any]:
        instrument = self.engine.instruments[self.engine.symbols.index(fill.symbol)]
        return {
            "ns": ns,
            "order": fill.order,
            "strategy": fill.strategy,
            "symbol": fill.symbol,
            "side": "buy" if fill.side > 0 else "sell",
            "price": instrument.price_text(fill.price),
            "size": instrument.size_text(fill.size),
            "maker": fill.maker,
            "fee": fill.fee,
            "fee_currency": fill.fee_currency,
            "queue_ahead": instrument.size_text(fill.queue_ahead),
            "ahead_now": instrument.size_text(fill.ahead_now),
            "number": fill.number,
            "model": fill.model,
            "cause": fill.cause,
            "grade": fill.grade,
            "graded": "",
            "chance": fill.chance / 1000,
            "latency_ms": fill.latency_ns / 1e6,
        }

    def _regraded(self, fact: Regraded) -> None:
        """What settled a fill is shown with it as long as it is shown."""
        for fill in reversed(self.recent_fills):
            if (fill["order"], fill["number"]) == (fact.order, fact.number):
                fill["grade"], fill["graded"] = fact.grade, fact.reason
                return
