"""How one detector does on streams with a drift at a known row, and on streams without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from engine.learn.drift.budget import Budget, alarms_in, bootstrap_rows
from engine.learn.drift.contract import Floats, Watcher
from engine.learn.drift.together import SIGNALS
from engine.research.drift_inject import inject, window_of


class Row(msgspec.Struct, frozen=True):
    """One detector on one drift. ``median_delay``: rows, over the streams where it was found; None: nowhere."""

    symbol: str
    detector: str
    signal: str
    tuned: bool
    drift: str
    false_alarms_per_100k: float
    missed_pct: float
    median_delay: float | None
    f1: float


class Found(NamedTuple):
    """Of the streams of one drift: those where it was found in time, and how many rows it took."""

    delays: tuple[int, ...]
    early: int
    missed: int

    @property
    def f1(self) -> float:
        """An alarm in time is true, each one before is false, a drift without one in time is missed."""
        hits = len(self.delays)
        return 2.0 * hits / max(1, 2 * hits + self.early + self.missed)


class Streams:
    """Bootstrapped streams of predictions and labels, each with every drift put into its middle."""

    def __init__(
        self, prediction: Floats, label: Floats, drifts: Sequence[str], *, streams: int, rows: int, seed: int
    ) -> None:
        self.at = rows // 2
        deviation = float(np.std(label - prediction))
        self.before: list[Floats] = []
        self.after: dict[str, list[Floats]] = {drift: [] for drift in drifts}
        for one in range(streams):
            drawn = bootstrap_rows(len(label), rows, seed=seed + one)
            p, y = prediction[drawn], label[drawn]
            for drift in drifts:
                table = inject(drift, p, y, self.at, deviation, seed + one)
                if drift == drifts[0]:
                    self.before.append(table[: self.at])
                self.after[drift].append(table[self.at : self.at + window_of(drift)].copy())


def columns(table: Floats, signals: Sequence[str]) -> Floats:
    """The columns a detector listens to; of one signal a flat array."""
    at = [SIGNALS.index(name) for name in signals]
    return np.ascontiguousarray(table[:, at[0]] if len(at) == 1 else table[:, at])


def find(watcher: Watcher, signals: Sequence[str], streams: Streams) -> dict[str, Found]:
    """Let a detector loose on every stream: what comes before the drift is heard once, and shared by all drifts."""
    delays: dict[str, list[int]] = {drift: [] for drift in streams.after}
    early = 0
    for number, before in enumerate(streams.before):
        early += len(alarms_in(watcher, columns(before, signals)))
        state = watcher.save()
        for drift, tables in streams.after.items():
            watcher.load(state)
            at = watcher.run(columns(tables[number], signals))
            if at >= 0:
                delays[drift].append(at + 1)
    count = len(streams.before)
    return {drift: Found(tuple(found), early, count - len(found)) for drift, found in delays.items()}


def macro_f1(found: Mapping[str, Found], drifts: Sequence[str]) -> float:
    """The mean F1 over ``drifts``."""
    return float(np.mean([found[drift].f1 for drift in drifts]))


def false_alarms(watcher: Watcher, signals: Sequence[str], past: Floats, budget: Budget) -> float:
    """In 100,000 values of streams from ``past``, in which nothing drifts."""
    found = sum(len(alarms_in(watcher, one)) for one in budget.drawn(columns(past, signals)))
    return found * 100_000 / (budget.streams * budget.rows)
