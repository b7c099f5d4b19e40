"""The engine: one synchronous function from what happened to what follows from it.

``process`` takes an input (a batch of market data, a command, a new model …) and returns the records. It
reads no clock, no file and no chance, so live, replay and recovery are the same code and the same input gives the same
records, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from engine.core.account.charges import Charges
from engine.core.account.ledger import Ledger
from engine.core.account.treasury import Treasury
from engine.core.agenda import Agenda
from engine.core.book import DOUBT, IS_READY, Book
from engine.core.changes import Reader, unreadable
from engine.core.checksums import Checksum, Checksums
from engine.core.commands import Commands
from engine.core.context import Symbols
from engine.core.desk.desk import Desk
from engine.core.desk.exposure import Exposure
from engine.core.desk.orders import Working
from engine.core.desk.risk import Risk
from engine.core.due import Due, DueQueue, Handler
from engine.core.events import (
    ABSURD,
    BATCH,
    CHECKSUM,
    CROSSED,
    NEGATIVE,
    REASONS,
    ROW_STRIDES,
    TRADE,
    Batch,
    Command,
    Frames,
    Input,
    Judged,
    Measured,
    Observed,
)
from engine.core.honesty.honesty import Honesty
from engine.core.kernel import fast_advance
from engine.core.learning import Learning, NoLearning
from engine.core.prints import aggressor
from engine.core.queues.calibration import Calibration
from engine.core.records import AnyFact, Digest, FeedState, Fill, Record, Signal, StrategyStopped
from engine.core.report import status, summary
from engine.core.roster import Factory, Roster, Slot
from engine.core.settings import EngineSettings
from engine.core.side import SideStream, SideStreams
from engine.core.signals import Signals
from engine.core.state import (
    FRAME_FIRST,
    HEARS_BOOK,
    HEARS_TRADE,
    NEXT_DUE,
    NOW,
    RING_ON,
    TWIN_COUNT,
    WAKE,
    WAKE_BOOK,
    WAKE_CHECK,
    WAKE_DUE,
    WAKE_FILL,
    WAKE_FUNDING,
    WAKE_RING,
    WAKE_STATE,
    WAKE_SYMBOL,
    WAKE_TRADE,
    WAKE_TRIGGER,
    WAKE_TWIN,
    State,
)
from engine.core.strategy import Gap, Trade
from engine.core.timers import MAX_INSTANT, Instant, Timers, owner_of
from engine.core.types import NEVER_NS, Instrument


class Engine:
    """All state of a run.

    ``frames_tap`` sees every frame (the array is written again afterwards: copy what you keep), ``changes`` reads what
    a ``configure`` command brings. ``doubted`` lists the symbols whose book the last ``process`` found wrong by itself.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        strategies: Mapping[str, Factory],
        settings: EngineSettings,
        learning: Learning | None = None,
        frames_tap: Callable[[Frames], None] | None = None,
        checksums: Mapping[int, Checksum] | None = None,
        streams: Sequence[SideStream] = (),
        changes: Reader = unreadable,
    ) -> None:
        self.instruments = tuple(instruments)
        self.settings = settings
        self.changes = changes
        self.now_ns = self.seq = 0
        self.doubted: list[int] = []
        self._state = State(
            self.instruments,
            settings.book_depth,
            max_orders=settings.paper.max_orders,
            taken_room=settings.paper.max_taken,
            explain_ns=settings.paper.explain_ns,
            queue=settings.paper.queue,
            ghosts=settings.paper.ghosts * len(self.instruments),
        )
        self.books = self._state.books
        self.book_views: tuple[Book, ...] = self.books.views
        self.ledger = Ledger(self.instruments, settings.cash)
        exposure = Exposure(self.instruments, self.ledger)
        self.risk = Risk(settings.risk, self.books, self.ledger, exposure.working, exposure.promised)
        self._control = self._state.control.data
        self._checksums = Checksums(self._state, checksums or {})
        self._flat = self._state.flat
        self._control[RING_ON] = int(learning is not None or frames_tap is not None)
        self._due = DueQueue()
        self._instant = Instant()
        self._orders_made = 0
        self.handlers: dict[str, Handler] = {"timer": self._timer_due}
        self.treasury = Treasury(self.instruments, settings.paper, self.books, self.ledger)
        self.honesty = Honesty(self.instruments, settings.paper, self._state, self.treasury, self.emit, self.schedule)
        self.charges = Charges(self, settings.paper, self.emit)
        self.agenda = Agenda(self)
        self.timers = Timers(self.schedule, self._due.sweep)
        self._was_ready = [False] * len(self.instruments)
        self._out: list[Record] = []
        self._digest = Digest()
        self.symbols = Symbols(self.instruments)
        self.calibration = Calibration(self.instruments, settings.paper, self._state, self.emit, self.schedule)
        self._advance = self.calibration.watched(fast_advance())
        self.desk: Desk = Desk(
            self.instruments,
            settings.paper,
            self._state,
            self.ledger,
            self.treasury.fees,
            self.risk,
            exposure,
            self.honesty,
            emit=self.emit,
            schedule=self.schedule,
            on_order=self._tell_order,
            on_fill=self._tell_fill,
        )
        self.handlers |= self.desk.handlers | self.honesty.handlers | self.calibration.handlers
        self.roster = Roster(strategies, self, self.symbols)
        self.signals: Signals = Signals(self, learning or NoLearning(), self._state, frames_tap)
        self.commands: Commands = Commands(self)
        self.side = SideStreams(self, streams)
        self.handlers |= {"learn": self.signals.due, "watch": self.commands.watch, "side": self.side.due}
        self.subscribe()

    @property
    def digest(self) -> str:
        """BLAKE2b over all records so far, as hexadecimal text."""
        return self._digest.hex()

    @property
    def halted(self) -> bool:
        """The kill switch is on: no new order leaves."""
        return self.risk.halted

    def process(self, item: Input) -> list[Record]:
        """Take what happened, in order of receipt, and return the facts that follow.

        A batch ends with a frame's last row. Engine time is the receive time, never decreasing; whatever is due at or
        before an input is handled before it.
        """
        out: list[Record] = []
        self._out = out
        if self.doubted:
            self.doubted = []
        if isinstance(item, np.ndarray):
            if item.dtype is not BATCH or item.strides != ROW_STRIDES:
                item = np.ascontiguousarray(item, BATCH)  # the kernel does not check its arguments
            row = self._advance(self._flat, item, 0)
            wake = self._control[WAKE]
            if wake:
                self._market(item, row, wake)
            self.now_ns = self._control[NOW]
        else:
            self._run_due(max(item.recv_ns, self._control[NOW]))
            self._set_now(item.recv_ns)
            if isinstance(item, Command):
                self.commands.obey(item)
            elif isinstance(item, Measured):
                self.desk.lines.measured(item)
            elif isinstance(item, Observed | Judged):
                self.side.hear(item)
            else:
                self.signals.swap(item)
            self.settle()
        if out:
            self._digest.update(out)
        return out

    def summary(self) -> dict[str, Any]:
        """Books, orders, fills and profit of the run so far, as plain values."""
        return summary(self)

    def status(self) -> dict[str, Any]:
        """What a person wants to see now: books, positions, orders, strategies, as plain values."""
        return status(self)

    # The host of the strategies' contexts.

    def working(self, strategy: str) -> Sequence[Working]:
        return self.desk.of(strategy)

    def latest_signal(self, symbol: int, name: str) -> Signal | None:
        return self.signals.latest(symbol, name)

    def next_order_id(self) -> int:
        self._orders_made += 1
        return self._orders_made

    # What the parts of the engine say to it.

    def emit(self, fact: AnyFact) -> None:
        """Record a fact."""
        self.seq += 1
        self._out.append(Record(self.seq, self.now_ns, fact))

    def schedule(self, ns: int, what: str, subject: object = None) -> None:
        """Have something done at an engine time; ``handlers`` knows the words."""
        self._due.push(ns, what, subject)
        if ns < self._control[NEXT_DUE]:
            self._control[NEXT_DUE] = ns

    def call(self, slot: Slot, handler: Callable[..., None], *args: object) -> None:
        """Run a handler behind the wall and take down what it said."""
        self.roster.call(slot, handler, *args)
        self.take_down(slot)

    def take_down(self, slot: Slot) -> None:
        if slot.context.said:
            self.agenda.said.extend((slot, saying) for saying in self.roster.said(slot))

    # Market data.

    def _market(self, batch: Batch, row: int, wake: int) -> None:
        """Go on from the kernel's first return at ``row`` to the end of the batch."""
        flat, control, advance = self._flat, self._control, self._advance
        rows, said = len(batch), self.agenda.said
        on_book = self.roster.listeners("on_book")
        while wake:
            if wake == WAKE_BOOK:
                self.now_ns = control[NOW]
                symbol = control[WAKE_SYMBOL]
                book = self.book_views[symbol]
                for slot, handler in on_book[symbol]:
                    try:
                        handler(book, slot.context)
                    except Exception as error:  # noqa: BLE001 - the wall to users' code, as in Roster.call
                        self.roster.fail(slot, "on_book", error)
                    if slot.context.said:
                        self.take_down(slot)
                if said or self.roster.failed:
                    self.settle()
                    on_book = self.roster.listeners("on_book")
            elif wake == WAKE_CHECK:
                self._checksums.answer()
            elif wake & WAKE_DUE:
                self._run_due(max(int(batch[row]["recv_ns"]), control[NOW]))
                on_book = self.roster.listeners("on_book")
            else:
                self.now_ns = control[NOW]
                self._look(wake, batch, control[FRAME_FIRST], row)
                on_book = self.roster.listeners("on_book")
            if row >= rows:
                return
            row = advance(flat, batch, row)
            wake = control[WAKE]

    def _look(self, wake: int, batch: Batch, first: int, end: int) -> None:
        """A frame left something that Python must see: state first, then fills, trades and the book."""
        symbol = self._control[WAKE_SYMBOL]
        if wake & WAKE_RING:
            self.signals.flush()
            self.signals.arm()
        if wake & WAKE_STATE:
            self._state_changed(symbol)
        if wake & (WAKE_FILL | WAKE_TWIN):
            self.desk.matched(self.now_ns)
        if wake & WAKE_FUNDING:
            self.charges.funding.named(symbol)
        if wake & (WAKE_TRIGGER | WAKE_STATE) and self.desk.watches(symbol):
            frame = batch[first:end]
            self.desk.looked(symbol, frame["price"][frame["kind"] == TRADE].tolist(), self.now_ns)
        if wake & WAKE_TRADE:
            self._hear_trades(symbol, batch[first:end])
        if wake & WAKE_BOOK:
            book = self.book_views[symbol]
            for slot, handler in self.roster.listeners("on_book")[symbol]:
                self.call(slot, handler, book)
        self.settle()

    def _state_changed(self, symbol: int) -> None:
        row = self.books.top[symbol]
        is_ready, reason = bool(row[IS_READY]), int(row[DOUBT])
        name = self.instruments[symbol].name
        if self._was_ready[symbol]:
            # Also when the same frame made it ready again: in between the book was not to be trusted.
            self.emit(FeedState(name, ready=False, reason=REASONS[reason]))
            self.honesty.doubted(symbol)
            for slot, handler in self.roster.listeners("on_gap")[symbol]:
                self.call(slot, handler, Gap(name, REASONS[reason]))
        if is_ready:
            self.emit(FeedState(name, ready=True, reason=""))
            self.calibration.ready(symbol, self.now_ns)
        elif reason in (ABSURD, CHECKSUM, CROSSED, NEGATIVE):
            self.doubted.append(symbol)
        self._was_ready[symbol] = is_ready
        self.signals.flush()
        self.signals.arm()

    def _hear_trades(self, symbol: int, frame: Batch) -> None:
        name = self.symbols.names[symbol]
        for kind, flags, _, _, price, size, venue_ns, recv_ns, number in frame.tolist():
            if kind == TRADE:
                trade = Trade(
                    name, aggressor(flags, price, self.book_views[symbol]), price, size, recv_ns, venue_ns, number
                )
                for slot, handler in self.roster.listeners("on_trade")[symbol]:
                    self.call(slot, handler, trade)

    # What is due.

    def _run_due(self, until_ns: int) -> None:
        """Do all that is due at or before ``until_ns``, by due time, then in the order it was scheduled."""
        queue, control, agenda = self._due, self._control, self.agenda
        while queue.next_ns(NEVER_NS) <= until_ns:
            due = queue.pop()
            self._set_now(due.ns)
            if control[TWIN_COUNT]:
                self.desk.hear_twins()
            if self._instant.is_too_long(self.now_ns):
                self._blame(due)
            self.handlers[due.what](due.subject, due.ns)
            if agenda.said or self.roster.failed:
                agenda.settle()
        control[NEXT_DUE] = queue.next_ns(NEVER_NS)

    def _blame(self, due: Due) -> None:
        """Time does not go on: stop whose order or timer this is."""
        name = owner_of(due)
        if name in self.roster.slots:
            self.stop_strategy(name, f"kept the engine busy at one instant more than {MAX_INSTANT} times")

    def _set_now(self, ns: int) -> None:
        self.now_ns = self._control[NOW] = max(self.now_ns, self._control[NOW], ns)

    def _timer_due(self, key: tuple[str, str], ns: int) -> None:
        strategy, name = key
        if not self.timers.fires(key, ns):
            return
        slot = self.roster.slots[strategy]
        if strategy not in self.roster.stopped and "on_timer" in slot.hears:
            self.call(slot, slot.hears["on_timer"], name)

    def settle(self) -> None:
        """Carry out what strategies said, until nobody says more."""
        self.agenda.settle()

    def stop_strategy(self, name: str, reason: str) -> None:
        """Never call it again, and take its working orders back."""
        if name in self.roster.stopped:
            return
        self.roster.stop(name, reason)
        self.emit(StrategyStopped(name, reason))
        self.desk.cancel_all(name, self.now_ns, "strategy_stopped")
        self.subscribe()

    def subscribe(self) -> None:
        """Tell the kernel which books and trades somebody listens to."""
        for symbol in range(len(self.instruments)):
            self.books.top[symbol, HEARS_BOOK] = bool(self.roster.listeners("on_book")[symbol])
            self.books.top[symbol, HEARS_TRADE] = bool(self.roster.listeners("on_trade")[symbol])

    def _tell_order(self, order: Working, reason: str) -> None:
        slot = self.roster.slots.get(order.intent.strategy)
        if slot is not None and slot.name not in self.roster.stopped and "on_order" in slot.hears:
            self.call(slot, slot.hears["on_order"], order.view(self.symbols.names[order.intent.symbol], reason))
        self.commands.progress(order.intent.strategy, order.intent.symbol)

    def _tell_fill(self, fill: Fill, symbol: int) -> None:
        self.charges.filled(symbol, fill)
        self.commands.start_watching()
        slot = self.roster.slots.get(fill.strategy)
        if slot is not None and slot.name not in self.roster.stopped and "on_fill" in slot.hears:
            self.call(slot, slot.hears["on_fill"], fill)
