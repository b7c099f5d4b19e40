"""The daemon's clock: wall time read once, carried on by the monotonic clock, so that it never jumps or runs back."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Nanoseconds UTC, never decreasing, and later than ``after_ns``: a clock that was set back stands still no run.

    >>> ticks = iter([5, 5, 9])
    >>> clock = Clock(wall=lambda: 1_000, monotonic=lambda: next(ticks))
    >>> clock.now_ns(), clock.now_ns()
    (1000, 1004)
    """

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.perf_counter_ns,
        after_ns: int = 0,
    ) -> None:
        now_ns = wall()
        self.behind_ns = max(0, after_ns - now_ns)
        self._monotonic = monotonic
        self._offset = max(now_ns, after_ns) - monotonic()

    def now_ns(self) -> int:
        return self._offset + self._monotonic()
