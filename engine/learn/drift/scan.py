"""Windows of several lengths against all that came before, each in units of how such windows have varied so far.

Of the newest w values the mean is compared with the mean of everything older. The difference is divided by the
deviation of the means of earlier windows, not by what independent values would give: labels overlap, volatility comes
in clusters, and a window's mean varies two to seven times more than that. It is a likelihood ratio test of a change of
the mean, over a grid of times of change, normalised by the stream itself as in Shao and Zhang (2010).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.learn.drift.contract import DriftError, Floats, Ranked, expect
from engine.learn.drift.scores import SHAPES, score, settle, shape_code

Ints = npt.NDArray[np.int64]

WINDOWS: Final = (100, 200, 400, 800, 1600)
WARM: Final = 3000
BLOCK: Final = 50
LONGEST_BATCH: Final = 400
"""Values; the deviation of longer windows follows from that of windows so long, of which there are more."""

MEMORY: Final = 20_000
"""Values; what is older fades from the reference."""

# counts: values, blocks
# settled: centre, scale, sum of the block under way
# reference, a row a window: values, their sum, windows, sum of their means, sum of the squares


@kernel
def _close(
    blocks: int,
    block: int,
    warm: int,
    windows: Ints,
    batches: Ints,
    prefix: Floats,
    reference: Floats,
    units: Floats,
    told: Floats,
) -> float:
    """Take in the sums up to a whole block; the greatest of the windows' differences, in their units."""
    size = prefix.shape[0]
    top = 0.0
    for j in range(windows.shape[0]):
        told[j] = 0.0
        w, batch = windows[j], batches[j]
        end = blocks - w  # the reference ends where the window begins
        if end < 1:
            continue
        kept = reference[j]
        if kept[0] >= MEMORY:
            fade = 1.0 - block / MEMORY
            for i in range(5):
                kept[i] *= fade
        kept[0] += block
        kept[1] += prefix[end % size] - prefix[(end - 1) % size]
        if end >= batch:
            mean = (prefix[end % size] - prefix[(end - batch) % size]) / (batch * block)
            kept[2] += 1.0
            kept[3] += mean
            kept[4] += mean * mean
        if end * block < warm or kept[2] < 2.0:
            continue
        centre = kept[3] / kept[2]
        spread = max(kept[4] / kept[2] - centre * centre, 1e-12)
        error = math.sqrt(spread * (batch / w) * (1.0 + w * block / kept[0]))
        now = (prefix[blocks % size] - prefix[(blocks - w) % size]) / (w * block)
        told[j] = (now - kept[1] / kept[0]) / error
        top = max(top, abs(told[j]) / units[j])
    return top


@kernel
def _push(
    value: float,
    shape: int,
    block: int,
    warm: int,
    counts: Ints,
    settled: Floats,
    first: Floats,
    windows: Ints,
    batches: Ints,
    prefix: Floats,
    reference: Floats,
    units: Floats,
    told: Floats,
) -> float:
    """Take one value; how far the windows differ where it ends a block, else 0."""
    if value - value != 0.0:
        return 0.0
    seen = counts[0]
    counts[0] = seen + 1
    size = prefix.shape[0]
    begin = seen
    if seen < warm:
        first[seen] = value
        if seen + 1 < warm:
            return 0.0
        settle(first, shape, settled)
        begin = 0
    top = 0.0
    for at in range(begin, seen + 1):
        one = first[at] if seen < warm else value
        settled[2] += score(one, shape, settled[0], settled[1])
        if (at + 1) % block == 0:
            counts[1] += 1
            blocks = counts[1]
            prefix[blocks % size] = prefix[(blocks - 1) % size] + settled[2]
            settled[2] = 0.0
            top = _close(blocks, block, warm, windows, batches, prefix, reference, units, told)
    return top


@kernel
def _run(
    values: Floats,
    shape: int,
    block: int,
    warm: int,
    counts: Ints,
    settled: Floats,
    first: Floats,
    windows: Ints,
    batches: Ints,
    prefix: Floats,
    reference: Floats,
    units: Floats,
    told: Floats,
    trace: Floats,
    threshold: float,
) -> int:
    """Take values until the threshold is passed; where that was, or -1. ``trace`` takes what each block's end told."""
    row = 0
    for at in range(values.shape[0]):
        before = counts[1]
        top = _push(
            values[at],
            shape,
            block,
            warm,
            counts,
            settled,
            first,
            windows,
            batches,
            prefix,
            reference,
            units,
            told,
        )
        if trace.shape[0] and counts[1] == before + 1:
            for j in range(told.shape[0]):
                trace[row, j] = told[j]
            row += 1
        if top > threshold:
            return at
    return -1


class Scan(Ranked):
    """Notices that the mean of a score is another one over the newest 100 to 1,600 values than before.

    ``shape`` is the score (``scores.SHAPES``): ``location`` for residuals, ``spread`` for their variance, ``sign`` for
    prediction times outcome. ``threshold`` is in deviations of a window's mean; ``units`` make windows of different
    lengths comparable (``Budget.fit`` finds them). It says nothing for the first ``warm`` values, and judges every
    ``block`` values.

    >>> chance = np.random.default_rng(1)
    >>> scan = Scan("location", threshold=6.0)
    >>> values = chance.normal(size=12_000) + np.repeat((0.0, 0.5), 6000)
    >>> scan.run(values)
    6199
    """

    name = "scan"
    least, most = 0.5, 200.0
    floor = 1.0

    def __init__(
        self,
        shape: str = "location",
        threshold: float = 6.0,
        windows: Sequence[int] = WINDOWS,
        warm: int = WARM,
        block: int = BLOCK,
    ) -> None:
        self._shape = shape_code(shape)
        if block < 1 or not windows or any(one < block or one % block for one in windows):
            raise DriftError(f"scan: expected windows of whole blocks of {block}, found {tuple(windows)}")
        if warm < 2 * block or warm % block:
            raise DriftError(f"scan: warm: expected whole blocks of {block}, at least two, found {warm}")
        self._block, self._warm = block, warm
        self._windows = np.array([one // block for one in windows], np.int64)
        self._batches = np.minimum(self._windows, max(1, LONGEST_BATCH // block))
        self.units: Floats = np.ones(len(windows))
        self._counts = np.zeros(2, np.int64)
        self._settled = np.zeros(3)
        self._first = np.zeros(warm)
        self._prefix = np.zeros(int(self._windows.max() + self._batches.max()) + 2)
        self._reference = np.zeros((len(windows), 5))
        self._told = np.zeros(len(windows))
        self._state = (
            self._counts,
            self._settled,
            self._first,
            self._windows,
            self._batches,
            self._prefix,
            self._reference,
            self.units,
            self._told,
        )
        self._pending: list[float] = []  # of the block under way: the kernel is called once a block
        self._room = block
        self.threshold = threshold

    def update(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        self._pending.append(value)
        return len(self._pending) >= self._room and self._flush()

    def run(self, values: Floats) -> int:
        self._flush()
        return self._heard(self._play(values, np.zeros((0, 1)), self.threshold))

    def _flush(self) -> bool:
        """Hand what waits to the kernel; only what ends a block can be an alarm."""
        if not self._pending:
            return False
        values = np.array(self._pending)
        self._pending.clear()
        return self._heard(self._play(values, np.zeros((0, 1)), self.threshold)) >= 0

    def _heard(self, at: int) -> int:
        if at >= 0:
            told = np.abs(self._told) / self.units
            widest = int(np.argmax(told))
            self.level, self.span = float(told[widest]), int(self._windows[widest]) * self._block
            self.reset()
        self._room = self._block - int(self._counts[0]) % self._block
        return at

    def trace(self, values: Floats) -> Floats:
        """What every window would have told at the end of every block, were there no alarm; a row a block."""
        self.reset()
        told = np.zeros((len(values) // self._block + 1, len(self._windows)))
        self._play(values, told, math.inf)
        self.reset()
        return told

    @property
    def silent(self) -> int:
        return self._warm

    def peaks(self, values: Floats) -> Floats:
        peaks: Floats = np.abs(self.trace(values)).max(axis=0)
        return peaks

    def scale(self, units: Floats) -> None:
        self.units[:] = units

    @property
    def is_of_spread(self) -> bool:
        """Whether it listens to the size of values rather than to the values."""
        return self._shape == SHAPES["spread"]

    @property
    def nearness(self) -> float:
        """What the windows told at the end of the last block, as a share of the threshold; 1 is an alarm."""
        return float(np.max(np.abs(self._told) / self.units)) / self.threshold

    def _play(self, values: Floats, trace: Floats, threshold: float) -> int:
        flat = np.ascontiguousarray(values, np.float64)
        return _run(flat, self._shape, self._block, self._warm, *self._state, trace, threshold)

    def reset(self) -> None:
        self._pending.clear()
        self._room = self._block
        self._counts[:] = 0
        self._settled[:] = 0.0
        self._prefix[:] = 0.0
        self._reference[:] = 0.0
        self._told[:] = 0.0

    def save(self) -> dict[str, Any]:
        self._flush()
        return {
            "name": self.name,
            "threshold": self.threshold,
            "units": self.units.tolist(),
            "counts": self._counts.tolist(),
            "settled": self._settled.tolist(),
            "first": self._first[: min(int(self._counts[0]), self._warm)].tolist(),
            "prefix": self._prefix.tolist(),
            "reference": self._reference.tolist(),
            "told": self._told.tolist(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        expect(state, self.name)
        if len(state["units"]) != len(self.units) or len(state["prefix"]) != len(self._prefix):
            raise DriftError(f"scan: expected the state of {len(self.units)} windows as these, found another")
        self.reset()
        self.threshold = state["threshold"]
        self.units[:] = state["units"]
        self._counts[:] = state["counts"]
        self._settled[:] = state["settled"]
        self._first[: len(state["first"])] = state["first"]
        self._prefix[:] = state["prefix"]
        self._reference[:] = state["reference"]
        self._told[:] = state["told"]
        self._room = self._block - int(self._counts[0]) % self._block
