"""A two-sided cumulative sum (Page, 1954) of a bounded score against the stream's own first values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.core.jit import entry_point, kernel
from engine.learn.drift.contract import DriftError, Floats, Ranked, expect
from engine.learn.drift.scores import score, settle, shape_code

Ints = npt.NDArray[np.int64]

WARM: Final = 2000

# settled: centre, scale, mean and deviation of the score, the sum upwards, the sum downwards, slack


@kernel
def _push(value: float, shape: int, counts: Ints, settled: Floats, first: Floats) -> float:
    """Take one value; the greater of the two sums."""
    if value - value != 0.0:
        return 0.0
    seen, warm = counts[0], first.shape[0]
    if seen < warm:
        first[seen] = value
        counts[0] = seen + 1
        if seen + 1 == warm:
            settle(first, shape, settled)
            total = squares = 0.0
            for at in range(warm):
                one = score(first[at], shape, settled[0], settled[1])
                total += one
                squares += one * one
            settled[2] = total / warm
            settled[3] = math.sqrt(max(squares / warm - settled[2] * settled[2], 1e-12))
        return 0.0
    z = (score(value, shape, settled[0], settled[1]) - settled[2]) / settled[3]
    settled[4] = max(0.0, settled[4] + z - settled[6])
    settled[5] = max(0.0, settled[5] - z - settled[6])
    return float(max(settled[4], settled[5]))


@kernel
def _run(values: Floats, shape: int, counts: Ints, settled: Floats, first: Floats, threshold: float) -> int:
    for at in range(values.shape[0]):
        if _push(values[at], shape, counts, settled, first) > threshold:
            return at
    return -1


@kernel
def _peak(values: Floats, shape: int, counts: Ints, settled: Floats, first: Floats) -> float:
    top = 0.0
    for at in range(values.shape[0]):
        top = max(top, _push(values[at], shape, counts, settled, first))
    return top


class Cusum(Ranked):
    """Notices a lasting change of the mean of a score by more than about twice ``slack`` deviations of it.

    ``shape`` as in ``Scan``; ``threshold`` in deviations of the score. It compares with the
    first ``warm`` values.

    >>> chance = np.random.default_rng(1)
    >>> cusum = Cusum("spread", threshold=60.0)
    >>> cusum.run(chance.normal(size=6000) * np.repeat((1.0, 2.0), 3000))
    3053
    """

    name = "cusum"
    least, most = 1.0, 1e5
    floor = 5.0

    def __init__(self, shape: str = "location", threshold: float = 60.0, slack: float = 0.25, warm: int = WARM) -> None:
        if warm < 2 or slack < 0.0:
            raise DriftError(f"cusum: expected warm of at least 2 and slack of at least 0, found {warm} and {slack}")
        self._shape = shape_code(shape)
        self._counts = np.zeros(1, np.int64)
        self._settled = np.zeros(7)
        self._settled[6] = slack
        self._first = np.zeros(warm)
        self._enter = entry_point(_push, 0.0, 0, self._counts, self._settled, self._first)
        self.threshold = threshold

    def update(self, value: float) -> bool:
        told = self._enter(float(value), self._shape, self._counts, self._settled, self._first)
        if told > self.threshold:
            self.level = float(told)
            self.reset()
            return True
        return False

    def run(self, values: Floats) -> int:
        flat = np.ascontiguousarray(values, np.float64)
        at = _run(flat, self._shape, self._counts, self._settled, self._first, self.threshold)
        if at >= 0:
            self.reset()
        return at

    @property
    def silent(self) -> int:
        return len(self._first)

    def peaks(self, values: Floats) -> Floats:
        self.reset()
        flat = np.ascontiguousarray(values, np.float64)
        top = _peak(flat, self._shape, self._counts, self._settled, self._first)
        self.reset()
        return np.array([top])

    def reset(self) -> None:
        self._counts[:] = 0
        self._settled[:6] = 0.0

    def save(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "threshold": self.threshold,
            "seen": int(self._counts[0]),
            "settled": self._settled[:6].tolist(),
            "first": self._first[: int(self._counts[0])].tolist(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        expect(state, self.name)
        if len(state["first"]) > len(self._first):
            raise DriftError(
                f"cusum: expected at most {len(self._first)} first values, found {len(state['first'])}: another warm"
            )
        self.reset()
        self.threshold = state["threshold"]
        self._counts[0] = state["seen"]
        self._settled[:6] = state["settled"]
        self._first[: len(state["first"])] = state["first"]
