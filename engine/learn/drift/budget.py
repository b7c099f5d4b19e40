"""How loud a detector may be: thresholds from the stream it will watch, not from theory.

What theory promises of false alarms holds for independent values; on labels that overlap and residuals whose size
comes in clusters River's defaults raise hundreds in 100,000 values. So the threshold is found on streams drawn from
the user's own past by the stationary bootstrap (Politis and Romano, 1994): blocks of random length, joined, in which
nothing ever drifts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.learn.drift.contract import DriftError, Floats, Watcher
from engine.learn.drift.scan import Scan
from engine.learn.drift.together import Together

MEAN_BLOCK: Final = 200
"""Values; longer than labels overlap and than volatility clusters are seen to last in minutes of recordings."""

STEPS: Final = 14
"""Of the bisection: the threshold's ratio is then known to a part in 16,000 of the range's."""

FIT_RATE: Final = 2.0
"""Crossings of one window in 100,000 values at which windows are made comparable: enough to be counted."""

Rows = npt.NDArray[np.int64]


@kernel
def _walk(starts: Rows, jumps: npt.NDArray[np.bool_], known: int, drawn: Rows) -> None:
    at = starts[0]
    for i in range(drawn.shape[0]):
        if jumps[i]:
            at = starts[i]
        elif i:
            at = (at + 1) % known
        drawn[i] = at


def bootstrap_rows(known: int, rows: int, mean_block: float = MEAN_BLOCK, seed: int = 0) -> Rows:
    """The row numbers of one stationary bootstrap: ``rows`` of ``known`` rows, in blocks of geometric length.

    Raises:
        DriftError: there is nothing to draw from.

    >>> bootstrap_rows(1000, 6, mean_block=3, seed=2).tolist()
    [837, 838, 839, 298, 413, 814]
    """
    if known < 1 or rows < 1 or mean_block < 1:
        raise DriftError(
            f"bootstrap: expected rows, a length and a mean block of at least 1, found {known}, {rows}, {mean_block}"
        )
    chance = np.random.default_rng(seed)
    starts = chance.integers(0, known, rows)
    jumps = chance.random(rows) < 1.0 / mean_block
    drawn = np.zeros(rows, np.int64)
    _walk(starts, jumps, known, drawn)
    return drawn


class Budget(msgspec.Struct, frozen=True):
    """At most ``alarms`` false alarms in ``per`` values, judged on ``streams`` drawn streams of ``rows`` values each.

    Alarms are few, so their number is mostly chance: a threshold counts as keeping the budget when one that does not
    would have shown so few false alarms in less than ``doubt`` of all cases (Poisson).
    """

    alarms: float = 1.0
    per: int = 100_000
    streams: int = 50
    rows: int = 20_000
    mean_block: int = MEAN_BLOCK
    seed: int = 0
    doubt: float = 0.25

    @property
    def allowed(self) -> float:
        """False alarms over all of the streams that are within the budget on average."""
        return self.alarms * self.streams * self.rows / self.per

    @property
    def convincing(self) -> int:
        """The most false alarms over all of the streams after which the budget counts as kept."""
        chance = total = math.exp(-self.allowed)
        count = 0
        while total < self.doubt:
            count += 1
            chance *= self.allowed / count
            total += chance
        return max(0, count - 1)

    def drawn(self, past: Floats) -> list[Floats]:
        """The streams in which nothing drifts: of one signal, or rows of several that stay together."""
        return [
            np.ascontiguousarray(past[bootstrap_rows(len(past), self.rows, self.mean_block, self.seed + one)])
            for one in range(self.streams)
        ]

    def tune(self, watcher: Watcher, past: Floats) -> float:
        """Set the least threshold at which ``watcher`` keeps the budget on streams drawn from ``past``.

        The detector is left as new. The rate really held on what comes later is as good as the past is like it.

        Raises:
            DriftError: not even the greatest threshold keeps it.
        """
        drawn = self.drawn(past)
        if isinstance(watcher, Scan):
            self._fit(watcher, drawn)
        return self._bisect(watcher, drawn, self.convincing)

    def tune_together(
        self, watcher: Together, past: Floats, shares: Sequence[float] = (), told: Callable[[str], None] | None = None
    ) -> float:
        """Tune each part to its share of the budget, then all by one factor, as some of their alarms coincide.

        ``past`` has the parts' columns; ``shares`` add up to 1, by default equal ones.

        Raises:
            DriftError: as ``tune``, or another number of shares than of parts.
        """
        parts = shares or [1.0 / len(watcher.parts)] * len(watcher.parts)
        if len(parts) != len(watcher.parts) or not math.isclose(sum(parts), 1.0):
            raise DriftError(f"expected {len(watcher.parts)} shares that add up to 1, found {list(parts)}")
        drawn = self.drawn(past)
        for column, ((signal, part), share) in enumerate(zip(watcher.parts, parts, strict=True)):
            if told is not None:
                told(signal)
            own = [np.ascontiguousarray(one[:, column]) for one in drawn]
            if isinstance(part, Scan):
                self._fit(part, own)
            self._bisect(part, own, self.allowed * share)
        watcher.rebase()
        return self._bisect(watcher, drawn, self.convincing)

    def fit(self, scan: Scan, past: Floats) -> None:
        """Make the windows of a scan comparable: each alone would be crossed as often on streams from ``past``."""
        self._fit(scan, self.drawn(past))

    def _fit(self, scan: Scan, drawn: Sequence[Floats]) -> None:
        traces = [np.abs(scan.trace(one)) for one in drawn]
        most = max(1.0, FIT_RATE * self.streams * self.rows / 100_000)
        for window in range(len(scan.units)):
            scan.units[window] = _least_level([trace[:, window] for trace in traces], most)

    def _bisect(self, watcher: Watcher, drawn: Sequence[Floats], allowed: float) -> float:
        low, high = math.log(watcher.least), math.log(watcher.most)
        watcher.threshold = watcher.most
        if _count(watcher, drawn, allowed) > allowed:
            raise DriftError(
                f"expected at most {allowed:g} false alarms over {self.streams * self.rows:,} values at the threshold "
                f"{watcher.most:g}, found more: this detector cannot keep the budget on this stream"
            )
        for _ in range(STEPS):
            middle = (low + high) / 2
            watcher.threshold = math.exp(middle)
            if _count(watcher, drawn, allowed) > allowed:
                low = middle
            else:
                high = middle
        watcher.threshold = math.exp(high)
        watcher.reset()
        return watcher.threshold


def _count(watcher: Watcher, drawn: Sequence[Floats], enough: float) -> int:
    """The false alarms; counting ends where there are too many."""
    found = 0
    for one in drawn:
        found += len(alarms_in(watcher, one, int(enough) + 1 - found))
        if found > enough:
            break
    return found


def alarms_in(watcher: Watcher, values: Floats, most: int | None = None) -> list[int]:
    """Where a detector that begins afresh fires in a stream; at most the first ``most`` alarms.

    >>> from engine.learn.drift.baselines import Always
    >>> alarms_in(Always(4), np.zeros(10))
    [3, 7]
    """
    watcher.reset()
    found: list[int] = []
    begin = 0
    while begin < len(values) and (most is None or len(found) < most):
        at = watcher.run(values[begin:])
        if at < 0:
            break
        found.append(begin + at)
        begin += at + 1
    return found


def _least_level(traces: Sequence[Floats], most: float) -> float:
    """The least level that the traces cross upwards at most so often."""
    low, high = 0.0, max(float(trace.max()) for trace in traces) + 1e-9
    if high < 1e-6:
        return 1.0  # the window was never judged: streams shorter than it needs
    for _ in range(20):
        middle = (low + high) / 2
        crossed = 0
        for trace in traces:
            above = trace > middle
            crossed += int(above[0]) + int(np.count_nonzero(above[1:] & ~above[:-1]))
        if crossed > most:
            low = middle
        else:
            high = middle
    return high
