"""Signals: when the models are asked, what they and the strategies last said, and who hears it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from engine.core.events import Frames, Judged, ModelReady, Observed
from engine.core.learning import Learning
from engine.core.records import AnyFact, Signal
from engine.core.state import RING_USED, State
from engine.core.types import NEVER_NS

if TYPE_CHECKING:
    from engine.core.engine import Engine

MAX_SIGNALS = 4096
"""Latest signals remembered, by symbol and name; the oldest name goes."""


class Signals:
    """Stands between the engine and its models.

    Frames wait in the kernel's ring until a model needs them, the ring is full, or a book's state changed.
    """

    def __init__(self, engine: Engine, learning: Learning, state: State, tap: Callable[[Frames], None] | None) -> None:
        self._engine = engine
        self._learning = learning
        self._state = state
        self._tap = tap
        self._latest: dict[tuple[int, str], Signal] = {}
        self._armed_ns = NEVER_NS

    def latest(self, symbol: int, name: str) -> Signal | None:
        return self._latest.get((symbol, name))

    def flush(self) -> None:
        """Hand the frames since the last time to the models and the tap."""
        used = int(self._state.control[RING_USED])
        if used:
            frames = self._state.ring[:used]
            if self._tap is not None:
                self._tap(frames)
            self._learning.absorb(frames)
            self._state.control[RING_USED] = 0

    def arm(self) -> None:
        """Have the models asked when they want to be."""
        ns = self._learning.next_due_ns()
        if ns not in (self._armed_ns, NEVER_NS):
            self._engine.schedule(ns, "learn")
        self._armed_ns = ns

    def due(self, _: object, ns: int) -> None:
        """The models' time, unless it was moved since."""
        if ns == self._armed_ns:
            self.flush()
            self._armed_ns = NEVER_NS
            self._learned(self._learning.due(self._engine.now_ns))

    def swap(self, ready: ModelReady) -> None:
        """A model was trained: it is taken or refused."""
        self.flush()
        self._learned(self._learning.swap(ready))

    def hear(self, item: Observed | Judged) -> None:
        """A side stream said something."""
        self.flush()
        self._learning.hear(item)

    def promote(self, contest: str, model: str | None) -> None:
        """A person's word on who is champion; raises ``ValueError`` for what cannot be."""
        self.flush()
        self._learned(self._learning.promote(contest, model))

    def retrain(self, model: str) -> None:
        """A person's word that a model be trained now; raises ``ValueError`` for what cannot be."""
        self.flush()
        self._learning.retrain(model)
        self.arm()

    def _learned(self, facts: Sequence[AnyFact]) -> None:
        for fact in facts:
            if isinstance(fact, Signal):
                self.say(fact)
            else:
                self._engine.emit(fact)
        self.arm()

    def say(self, signal: Signal) -> None:
        """Record a signal, remember it, and tell the strategies that listen to its symbol."""
        engine = self._engine
        engine.emit(signal)
        symbol = engine.symbols.index(signal.symbol)
        key = (symbol, signal.name)
        if key not in self._latest and len(self._latest) == MAX_SIGNALS:
            del self._latest[next(iter(self._latest))]
        self._latest[key] = signal
        for slot, handler in engine.roster.listeners("on_signal")[symbol]:
            engine.call(slot, handler, signal)
