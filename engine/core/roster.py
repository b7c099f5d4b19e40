"""The strategies of a run: who listens to what, and the wall that keeps one's failure from the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.core.context import Host, Saying, StrategyContext, Symbols
from engine.core.strategy import Config, Strategy

Factory = Callable[[], Strategy[Any]]

HANDLERS = (
    "on_start",
    "on_book",
    "on_trade",
    "on_signal",
    "on_fill",
    "on_order",
    "on_gap",
    "on_timer",
    "on_stop",
)
"""All that a strategy may override."""


REMOVED = "removed from the configuration"


class Removed(Strategy[Config]):
    """Stands where a strategy was that is not in the configuration any more, or could not be built."""


class Slot:
    """One strategy's place in the run."""

    __slots__ = ("context", "hears", "name", "strategy", "symbols")

    def __init__(self, name: str, strategy: Strategy[Any], context: StrategyContext, symbols: frozenset[int]) -> None:
        self.name = name
        self.strategy = strategy
        self.context = context
        self.symbols = symbols
        self.hears = {
            handler: getattr(strategy, handler)
            for handler in HANDLERS
            if getattr(type(strategy), handler) is not getattr(Strategy, handler)
        }


class Roster:
    """Builds the strategies, calls their handlers, and collects what they say.

    A strategy hears of the instruments that its config names in ``symbol`` or ``symbols``, of all when it names none.
    """

    def __init__(self, factories: Mapping[str, Factory], host: Host, symbols: Symbols) -> None:
        self._factories = dict(factories)
        self._host = host
        self._symbols = symbols
        self.slots: dict[str, Slot] = {}
        self.stopped: dict[str, str] = {}
        self.removed: set[str] = set()
        self.failed: list[tuple[str, str]] = []
        for name, factory in self._factories.items():
            self.slots[name] = self._slot(name, factory())
        self._tables: dict[str, tuple[tuple[tuple[Slot, Callable[..., None]], ...], ...]] = {}
        self._rebuild()

    def _slot(self, name: str, strategy: Strategy[Any]) -> Slot:
        config = strategy.config
        named: list[str] = list(getattr(config, "symbols", ()))
        if isinstance(one := getattr(config, "symbol", None), str):
            named.append(one)
        indexes = [self._symbols.index(symbol) for symbol in named] or range(len(self._symbols.names))
        return Slot(name, strategy, StrategyContext(self._host, name, self._symbols), frozenset(indexes))

    def _rebuild(self) -> None:
        active = [slot for name, slot in self.slots.items() if name not in self.stopped]
        self._tables = {
            handler: tuple(
                tuple(
                    (slot, slot.hears[handler]) for slot in active if handler in slot.hears and symbol in slot.symbols
                )
                for symbol in range(len(self._symbols.names))
            )
            for handler in HANDLERS
        }

    def listeners(self, handler: str) -> tuple[tuple[tuple[Slot, Callable[..., None]], ...], ...]:
        """By symbol index: the slots that listen, each with its bound handler."""
        return self._tables[handler]

    def active(self) -> Sequence[Slot]:
        return [slot for name, slot in self.slots.items() if name not in self.stopped]

    def call(self, slot: Slot, handler: Callable[..., None], *args: object) -> None:
        """Run one handler. What raises there stops that strategy and nothing else; ``failed`` says which and why."""
        try:
            handler(*args, slot.context)
        except Exception as error:  # noqa: BLE001 - the wall to users' code: recorded, and that strategy is stopped
            self.fail(slot, handler.__name__, error)

    def fail(self, slot: Slot, handler: str, error: Exception) -> None:
        """Note that a handler raised; what it had said is void."""
        slot.context.said.clear()
        self.failed.append((slot.name, f"{handler} raised {type(error).__name__}: {error}"))

    def stop(self, name: str, reason: str) -> None:
        """Never call this strategy again."""
        self.stopped[name] = reason
        self._rebuild()

    def said(self, slot: Slot) -> list[Saying]:
        """Take what the strategy said since the last call."""
        said, slot.context.said = slot.context.said, []
        return said

    def reload(self, name: str) -> str | None:
        """Build the strategy anew and hand it the old one's saved state; the answer says why that failed.

        On failure the old strategy goes on.
        """
        if name in self.removed:
            return f"expected a strategy of the configuration, found one {REMOVED}"
        before = self.slots[name].strategy
        try:
            fresh = self._slot(name, self._factories[name]())
            if not isinstance(before, Removed):
                fresh.strategy.load(before.save())
        except Exception as error:  # noqa: BLE001 - the wall to users' code: told to the user, the old one goes on
            return f"{type(error).__name__}: {error}"
        self.slots[name] = fresh
        self.stopped.pop(name, None)
        self._rebuild()
        return None

    def put(self, name: str, factory: Factory, *, takes_over: bool) -> str | None:
        """Have another strategy decide under a name from here on; as ``reload``, but its caller stops what fails."""
        self._factories[name] = factory
        self.removed.discard(name)
        self.stopped.pop(name, None)
        if not takes_over:
            self.slots[name] = self._slot(name, Removed(Config()))
        return self.reload(name)

    def remove(self, name: str) -> None:
        """Have nobody decide under a name any more; what it holds stays booked there."""
        del self._factories[name]
        self.slots[name] = self._slot(name, Removed(Config()))
        self.removed.add(name)
        self.stop(name, REMOVED)
