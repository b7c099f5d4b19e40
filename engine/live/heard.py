"""What a run's facts say by strategy, counted as they pass: requests, refusals, fills, signals, and who spoke last."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from engine.core.records import Commanded, FeedState, Fill, Note, Record, Refusal, Request, Signal

KEPT = 50


class Heard:
    """A sink of the runner. All maps are bounded by the strategies, symbols and rules of the run.

    >>> heard = Heard()
    >>> heard([Record(1, 7, Refusal(1, "lean", "sim:X", "position", "at most 1, found 2"))])
    >>> heard.refused, heard.refused_of("lean")
    ({('lean', 'position'): 1}, {'position': 1})
    """

    def __init__(self) -> None:
        self.signals = 0
        self.signals_by_source: dict[str, int] = {}
        self.requests: dict[str, int] = {}
        self.refused: dict[tuple[str, str], int] = {}
        self.fills: dict[str, int] = {}
        self.last_refusal: dict[str, str] = {}
        self.once_ready: set[str] = set()
        """Symbols whose book was ready at least once."""
        self.reload_failed: dict[str, str] = {}
        """By strategy, why the last reload left its old code at work."""
        self._reload_ns = -1
        self.words: deque[dict[str, Any]] = deque(maxlen=KEPT)
        """Commands and strategies' own notes."""

    def __call__(self, records: Sequence[Record]) -> None:
        for record in records:
            fact = record.fact
            kind = type(fact)
            if isinstance(fact, Signal):
                self.signals += 1
                self.signals_by_source[fact.source] = self.signals_by_source.get(fact.source, 0) + 1
            elif isinstance(fact, Request):
                self.requests[fact.strategy] = self.requests.get(fact.strategy, 0) + 1
            elif isinstance(fact, Refusal):
                key = (fact.strategy, fact.rule)
                self.refused[key] = self.refused.get(key, 0) + 1
                self.last_refusal[fact.strategy] = f"{fact.rule} on {fact.symbol}: {fact.detail}"
            elif isinstance(fact, Fill):
                self.fills[fact.strategy] = self.fills.get(fact.strategy, 0) + 1
            elif isinstance(fact, FeedState):
                if fact.ready:
                    self.once_ready.add(fact.symbol)
            elif isinstance(fact, Commanded):
                self.words.append({"ns": record.ns, "what": kind.__name__, "name": fact.name, **fact.args})
                if fact.name == "reload":
                    self._reload_ns = record.ns
                    for name in [str(fact.args["strategy"])] if "strategy" in fact.args else list(self.reload_failed):
                        self.reload_failed.pop(name, None)
            elif isinstance(fact, Note):
                self.words.append({"ns": record.ns, "what": kind.__name__, "strategy": fact.strategy, **fact.fields})
                if record.ns == self._reload_ns and "reload" in fact.fields:  # the engine's word, not the strategy's
                    self.reload_failed[fact.strategy] = str(fact.fields["reload"])

    def refused_of(self, strategy: str) -> dict[str, int]:
        """How many of a strategy's requests risk refused, by rule."""
        return {rule: count for (name, rule), count in self.refused.items() if name == strategy}
