"""What strategies said, carried out first in first out once their handlers are over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.core.context import SayAmend, SayCancel, SayCancelAll, SayEmit, Saying, SayList, SayNote, SayTimer
from engine.core.desk.risk import Intent
from engine.core.records import Note
from engine.core.roster import Slot
from engine.core.timers import MAX_TIMERS

if TYPE_CHECKING:
    from engine.core.engine import Engine

MAX_CASCADE = 256
"""What one strategy may say in answer to one event; beyond it the strategy is at fault and stopped."""


class Agenda:
    """Sayings that wait, and what each kind of them does to the engine; other parts may add kinds to ``performers``."""

    def __init__(self, engine: Engine) -> None:
        self.said: deque[tuple[Slot, Saying]] = deque()
        self._engine = engine
        self.performers: dict[type, Callable[[Slot, Any], object]] = {
            Intent: self._order,
            SayCancel: self._cancel,
            SayList: self._list,
            SayCancelAll: self._cancel_all,
            SayAmend: self._amend,
            SayEmit: self._emit,
            SayTimer: self._timer,
            SayNote: self._note,
        }

    def settle(self) -> None:
        """Carry out what was said until nobody says more; who says too much, or failed, is stopped."""
        roster = self._engine.roster
        if not self.said and not roster.failed:
            return
        spent: dict[str, int] = {}
        while self.said or roster.failed:
            while roster.failed:
                self._engine.stop_strategy(*roster.failed.pop(0))
            if not self.said:
                continue
            slot, saying = self.said.popleft()
            if slot.name in roster.stopped:
                continue
            spent[slot.name] = spent.get(slot.name, 0) + 1
            if spent[slot.name] > MAX_CASCADE:
                roster.failed.append((slot.name, f"said more than {MAX_CASCADE} things in answer to one event"))
                continue
            self.performers[type(saying)](slot, saying)

    def _order(self, _: Slot, intent: Intent) -> None:
        self._engine.desk.request(intent, self._engine.now_ns)

    def _cancel(self, slot: Slot, saying: SayCancel) -> None:
        self._engine.desk.cancel(saying.order, slot.name, self._engine.now_ns)

    def _list(self, _: Slot, saying: SayList) -> None:
        self._engine.desk.request_list(saying.intents, self._engine.now_ns)

    def _cancel_all(self, slot: Slot, saying: SayCancelAll) -> None:
        self._engine.desk.cancel_all(slot.name, self._engine.now_ns, "user", saying.symbol)

    def _amend(self, slot: Slot, saying: SayAmend) -> None:
        self._engine.desk.amends.request(saying.order, slot.name, saying.change, self._engine.now_ns)

    def _emit(self, _: Slot, saying: SayEmit) -> None:
        self._engine.signals.say(saying.signal)

    def _note(self, slot: Slot, saying: SayNote) -> None:
        self._engine.emit(Note(slot.name, saying.fields))

    def _timer(self, slot: Slot, saying: SayTimer) -> None:
        if not self._engine.timers.ask((slot.name, saying.name), saying.due_ns):
            self._engine.roster.failed.append((slot.name, f"asked for more than {MAX_TIMERS} timers at once"))
