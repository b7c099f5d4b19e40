"""``papertape drift``: how soon detectors find drifts put into a tape, at how many false alarms.

A ridge regression walks forward over the tape; what it said and what came are cut in two halves. Thresholds are found
on streams drawn from the first half, everything told is measured on streams drawn from the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from engine.learn.drift.budget import Budget
from engine.learn.drift.contract import DriftError, Floats, Watcher
from engine.learn.drift.together import SIGNALS, Together, signals_of
from engine.research.drift_inject import DRIFTS, OTHERS
from engine.research.drift_line_up import LINE_UP, Entry
from engine.research.drift_score import Row, Streams, columns, false_alarms, find, macro_f1
from engine.research.loading import ReplayError
from engine.research.validate import predictions

MODEL: Final = "rolling-ridge"
LEAST_PAIRS: Final = 400
JUDGED_ROWS: Final = 1_000_000
"""Values without a drift over which false alarms are counted."""

SLOW_SHARE: Final = 4
"""Detectors in plain Python are tuned on so many times fewer values."""

_TUNING, _CHOOSING, _JUDGING, _MEASURING = 1_000, 200_000, 400_000, 600_000  # seeds that never meet


class Macro(msgspec.Struct, frozen=True):
    """One detector over all drifts. ``choice``: its shares of the budget, chosen on the first half."""

    symbol: str
    detector: str
    signal: str
    tuned: bool
    macro_f1: float
    false_alarms_per_100k: float
    threshold: float
    choice: tuple[float, ...] = ()


class Comparison(msgspec.Struct, frozen=True):
    """What came of it. ``skipped``: detectors that could not keep the budget, and why."""

    rows: list[Row]
    macro: list[Macro]
    skipped: list[str]
    pairs: dict[str, int]


def compare(
    tapes: Sequence[Path],
    *,
    horizon_ns: int = 1_000_000_000,
    every_ns: int = 100_000_000,
    streams: int = 60,
    rows: int = 20_000,
    judged: int = JUDGED_ROWS,
    alarms: float = 1.0,
    line_up: Sequence[Entry] = LINE_UP,
    told: Callable[[str], None] | None = None,
) -> Comparison:
    """Measure every detector of ``line_up`` on every symbol of a tape; ``alarms``: the budget, in 100,000 values.

    Raises:
        TapeError, ConfigError, ScanError, ModelError: as for a replay.
        ReplayError: too few labels.
    """
    tell = told or (lambda _: None)
    tell("playing the tape")
    found = predictions(tapes, MODEL, horizon_ns=horizon_ns, every_ns=every_ns)
    result = Comparison([], [], [], {})
    for symbol, (p, y) in found.items():
        whole = np.isfinite(p) & np.isfinite(y)
        p, y = p[whole], y[whole]
        if len(y) < LEAST_PAIRS:
            raise ReplayError(
                f"{symbol}: expected at least {LEAST_PAIRS} labels, found {len(y)}: give a longer tape, "
                "or a smaller --every"
            )
        result.pairs[symbol] = len(y)
        _Compared(symbol, p, y, streams, rows, judged, alarms, tell).into(result, line_up)
    return result


class _Compared:
    """One symbol: its halves, and the streams drawn from them."""

    def __init__(
        self,
        symbol: str,
        p: Floats,
        y: Floats,
        streams: int,
        rows: int,
        judged: int,
        alarms: float,
        tell: Callable[[str], None],
    ) -> None:
        half = len(y) // 2
        self.symbol, self.tell = symbol, tell
        self.past, self.held = ((p[:half], y[:half]), (p[half:], y[half:]))
        self.tables = [_table(*one) for one in (self.past, self.held)]
        drawn = max(1, judged // rows)
        self.budget = Budget(alarms, streams=drawn, rows=rows, seed=_TUNING)
        self.slow = Budget(alarms, streams=max(1, drawn // SLOW_SHARE), rows=rows, seed=_TUNING)
        self.judged = Budget(alarms, streams=drawn, rows=rows, seed=_JUDGING)
        tell(f"{symbol}: drawing streams")
        self.choosing = Streams(*self.past, DRIFTS, streams=streams, rows=rows, seed=_CHOOSING)
        self.measured = Streams(*self.held, (*DRIFTS, *OTHERS), streams=streams, rows=rows, seed=_MEASURING)

    def into(self, result: Comparison, line_up: Sequence[Entry]) -> None:
        """Add the rows of every detector."""
        for entry in line_up:
            self.tell(f"{self.symbol}: {entry.name} on {entry.signal}{', with a budget' if entry.tuned else ''}")
            try:
                watcher, choice = self._ready(entry)
            except DriftError as error:
                result.skipped.append(f"{self.symbol}: {entry.name} on {entry.signal}: {error}")
                continue
            rate = false_alarms(watcher, entry.signals, self.tables[1], self.judged)
            found = find(watcher, entry.signals, self.measured)
            for drift, one in found.items():
                count = len(one.delays) + one.missed
                result.rows.append(
                    Row(
                        self.symbol,
                        entry.name,
                        entry.signal,
                        entry.tuned,
                        drift,
                        round(rate, 2),
                        round(100.0 * one.missed / count, 1),
                        float(np.median(one.delays)) if one.delays else None,
                        round(one.f1, 4),
                    )
                )
            result.macro.append(
                Macro(
                    self.symbol,
                    entry.name,
                    entry.signal,
                    entry.tuned,
                    round(macro_f1(found, DRIFTS), 4),
                    round(rate, 2),
                    round(watcher.threshold, 6),
                    choice,
                )
            )

    def _ready(self, entry: Entry) -> tuple[Watcher, tuple[float, ...]]:
        """The detector with its threshold, and with which shares of the budget."""
        watcher = entry.make()
        if not entry.tuned:
            return watcher, ()
        past = columns(self.tables[0], entry.signals)
        budget = self.slow if entry.is_slow else self.budget
        if not isinstance(watcher, Together):
            budget.tune(watcher, past)
            return watcher, ()
        if not entry.shares:
            budget.tune_together(watcher, past)
            return watcher, ()
        best: tuple[float, Watcher, tuple[float, ...]] | None = None
        for shares in entry.shares:
            one = entry.make()
            assert isinstance(one, Together)
            budget.tune_together(one, past, shares)
            score = macro_f1(find(one, entry.signals, self.choosing), DRIFTS)
            if best is None or score > best[0]:
                best = (score, one, shares)
        assert best is not None
        return best[1], best[2]


def _table(p: Floats, y: Floats) -> Floats:
    found = signals_of(p, y)
    return np.column_stack([found[name] for name in SIGNALS])
