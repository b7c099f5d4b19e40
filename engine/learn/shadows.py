"""Shadow accounts: what each model of a contest would have earned, in a paper account of its own on the same feed.

A *shadow* is a second engine with the instruments, venue, fees, cash and risk rules of the real one, and those of its
strategies that listen to the contest. It hears every input after the real engine. It computes no model: what the
run's models said, it is told at the same engine times, with its own model's words under the contest's name. The
champion has a shadow too: a challenger is compared with what differs from it in nothing but the words, not with an
account in which other strategies trade as well.

At the end of each period of a contest, a multiple of its horizon, all engines have reached the same engine time, the
accounts are valued at the mids of that moment, and the contest decides. Inputs are cut there, so that the size of a
batch changes nothing. Periods that pass between two inputs are one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from engine.core.account.currencies import Conversions
from engine.core.account.ledger import Ledger
from engine.core.changes import Reader, unreadable
from engine.core.checksums import Checksum
from engine.core.engine import Engine
from engine.core.events import BATCH, CLOCK, LAST, Batch, Command, Frames, Judged, Measured, ModelReady, Observed, row
from engine.core.records import AnyFact, Record, Signal
from engine.core.roster import Factory
from engine.core.settings import EngineSettings
from engine.core.side import SideStream
from engine.core.types import NEVER_NS, Instrument
from engine.learn.contest import Contest
from engine.learn.models import Models

Input: TypeAlias = Batch | Command | ModelReady | Measured | Observed | Judged


class Relay:
    """The learning port of a shadow: it hands on what the run's models said, when they said it.

    ``upcoming_ns``: when they speak next. It holds what they say in one input, cut at the end of a period.
    """

    def __init__(self, contest: Contest, model: str) -> None:
        self.contest = contest
        self.model = model
        self.upcoming_ns = NEVER_NS
        self._said: deque[tuple[int, Sequence[AnyFact]]] = deque()

    def overhear(self, now_ns: int, facts: Sequence[AnyFact]) -> None:
        """What all models said at an engine time."""
        name = self.contest.settings.name
        others = [fact for fact in facts if isinstance(fact, Signal) and fact.source != name]
        self._said.append((now_ns, [*others, *self.contest.spoken(others, self.model)]))

    def next_due_ns(self) -> int:
        return self._said[0][0] if self._said else self.upcoming_ns

    def absorb(self, frames: Frames) -> None:
        del frames

    def due(self, now_ns: int) -> Sequence[AnyFact]:
        found: list[AnyFact] = []
        while self._said and self._said[0][0] <= now_ns:
            found += self._said.popleft()[1]
        return found

    def swap(self, ready: ModelReady) -> Sequence[AnyFact]:
        del ready
        return ()

    def promote(self, contest: str, model: str | None) -> Sequence[AnyFact]:
        del contest, model
        return ()

    def retrain(self, model: str) -> None:
        del model

    def hear(self, item: Observed | Judged) -> None:
        del item


class Overheard:
    """The learning port of the real engine: its models, overheard by the relays."""

    def __init__(self, models: Models, relays: Sequence[Relay]) -> None:
        self._models = models
        self._relays = tuple(relays)

    def next_due_ns(self) -> int:
        return self._models.next_due_ns()

    def absorb(self, frames: Frames) -> None:
        self._models.absorb(frames)

    def due(self, now_ns: int) -> Sequence[AnyFact]:
        facts = self._models.due(now_ns)
        for relay in self._relays:
            relay.overhear(now_ns, facts)
        return facts

    def swap(self, ready: ModelReady) -> Sequence[AnyFact]:
        return self._models.swap(ready)

    def promote(self, contest: str, model: str | None) -> Sequence[AnyFact]:
        return self._models.promote(contest, model)

    def retrain(self, model: str) -> None:
        self._models.retrain(model)

    def hear(self, item: Observed | Judged) -> None:
        self._models.hear(item)


class Listeners(NamedTuple):
    """The strategies of one account, new ones, and what reads a changed configuration for them."""

    factories: Mapping[str, Factory]
    changes: Reader = unreadable


class Shadow(NamedTuple):
    """One model's account in one contest."""

    engine: Engine
    relay: Relay


class ShadowedEngine(Engine):
    """The engine of a run whose contests keep accounts; to its driver it is like any other.

    ``listeners`` makes the strategies that listen to a contest, new ones at each call. Records, digest, summary and
    status are the real account's alone; of the shadows they have ``ShadowAccount`` and what follows from it.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        strategies: Mapping[str, Factory],
        settings: EngineSettings,
        models: Models,
        listeners: Callable[[str], Listeners],
        frames_tap: Callable[[Frames], None] | None = None,
        checksums: Mapping[int, Checksum] | None = None,
        streams: Sequence[SideStream] = (),
        changes: Reader = unreadable,
    ) -> None:
        kept = [one for one in models.contests.values() if one.settings.accounts]
        relays = [Relay(contest, model) for contest in kept for model in contest.models]
        learning = Overheard(models, relays)
        super().__init__(instruments, strategies, settings, learning, frames_tap, checksums, streams, changes)
        self._models = models
        self._contests = tuple(kept)
        shadows = []
        for one in relays:
            mine = listeners(one.contest.settings.name)
            engine = Engine(instruments, mine.factories, settings, one, None, checksums, streams, mine.changes)
            shadows.append(Shadow(engine, one))
        self.shadows = tuple(shadows)
        self._mids2 = [0] * len(self.instruments)
        self._conversions = Conversions(self.instruments, self._mid2)
        self._ends_ns: dict[str, int] = {}  # by contest: when the period that runs ends
        self._next_ns = NEVER_NS
        self._upcoming_ns = NEVER_NS  # when the models speak next, as the relays know it
        self._begun = False

    def process(self, item: Input) -> list[Record]:
        """As the real engine's alone, with the shadows behind it, and the ends of the contests' periods in it."""
        records: list[Record] = []
        doubted: list[int] = []
        if not isinstance(item, np.ndarray):
            self._reach(item.recv_ns, records, doubted)
            self._hear(item, records, doubted)
        elif len(item):
            self._hear_batch(np.ascontiguousarray(item, BATCH), records, doubted)
        self.doubted = doubted
        return records

    def _hear_batch(self, batch: Batch, records: list[Record], doubted: list[int]) -> None:
        """Cut a batch before the first frame at or after the end of a period, as often as there is one."""
        times = batch["recv_ns"]
        start, end = 0, len(batch)
        if not self._begun:
            self._begin(int(times[0]))
        if end == 1 and times[0] < self._next_ns:
            self._hear(batch, records, doubted)
            return
        while start < end:
            at = end
            if times[start:].max() >= self._next_ns:
                at = start + int((times[start:] >= self._next_ns).argmax())
                late_ns = int(times[at])
                while at > start and not batch[at - 1]["flags"] & LAST:
                    at -= 1
            if at > start:
                self._hear(batch[start:at], records, doubted)
            if at < end:
                self._reach(late_ns, records, doubted)
            start = at

    def _hear(self, item: Input, records: list[Record], doubted: list[int]) -> None:
        """The real engine, and then each shadow."""
        records += super().process(item)
        doubted += [symbol for symbol in self.doubted if symbol not in doubted]
        upcoming_ns = self._models.next_due_ns()
        if upcoming_ns != self._upcoming_ns:
            self._upcoming_ns = upcoming_ns
            for engine, relay in self.shadows:
                relay.upcoming_ns = upcoming_ns
                engine.signals.arm()
        for engine, _ in self.shadows:
            engine.process(item)

    def _begin(self, now_ns: int) -> None:
        self._begun = True
        for contest in self._contests:
            period_ns = contest.settings.horizon_ns
            self._ends_ns[contest.settings.name] = now_ns - now_ns % period_ns + period_ns
        self._next_ns = min(self._ends_ns.values(), default=NEVER_NS)

    def _reach(self, now_ns: int, records: list[Record], doubted: list[int]) -> None:
        """End the periods that are over at a time, at the last multiple of each one's length, in the order of time."""
        if not self._begun:
            self._begin(now_ns)
        if now_ns < self._next_ns:
            return
        over = [one for one in self._contests if self._ends_ns[one.settings.name] <= now_ns]
        ended = [(now_ns - now_ns % one.settings.horizon_ns, one) for one in over]
        for end_ns in sorted({end_ns for end_ns, _ in ended}):
            self._hear(row(CLOCK, symbol=0, recv_ns=end_ns, flags=LAST), records, doubted)
            for one in [contest for ns, contest in ended if ns == end_ns]:
                self._ends_ns[one.settings.name] = end_ns + one.settings.horizon_ns
                self._tell(self._compare(one), records)
        self._next_ns = min(self._ends_ns.values())

    def _compare(self, contest: Contest) -> list[AnyFact]:
        """Value a contest's accounts as they stand."""
        for symbol, book in enumerate(self.book_views):
            if book.is_ready and book.bid and book.ask:
                self._mids2[symbol] = book.bid + book.ask
        currency = self.instruments[self.symbols.index(contest.settings.symbol)].settle
        mine = [one for one in self.shadows if one.relay.contest is contest]
        worth = {one.relay.model: self._worth(one.engine.ledger, currency) for one in mine}
        stopped = {one.relay.model: _stopped(one.engine) for one in mine}
        return contest.accounted(worth, currency, {model: why for model, why in stopped.items() if why})

    def _worth(self, ledger: Ledger, currency: str) -> int | None:
        """What an account gained since its start at the mids now; None where no mid leads to its currency."""
        gained: dict[str, int] = {}
        for entry in ledger.entries():
            open_ = ledger.unrealised_at(entry, self._mids2[entry.symbol])
            of = ledger.currency_of(entry.symbol)
            gained[of] = gained.get(of, 0) + entry.realised + open_ - entry.fees
        for _, of, _, value in ledger.flows():
            gained[of] = gained.get(of, 0) + value
        total, left_out = self._conversions.total(gained, currency)
        return None if left_out else total

    def _tell(self, facts: Sequence[AnyFact], records: list[Record]) -> None:
        """Record facts that follow from the accounts."""
        out: list[Record] = []
        self._out = out
        for fact in facts:
            self.emit(fact)
        if out:
            self._digest.update(out)
            records += out

    def _mid2(self, symbol: int) -> int:
        return self._mids2[symbol]


def _stopped(engine: Engine) -> str:
    """Why an engine's strategies, or one of them, may not trade; empty where all may."""
    for name, reason in engine.roster.stopped.items():
        return f"{name} stopped: {reason}"
    return "halted" if engine.halted else ""
