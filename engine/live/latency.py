"""How long things took, in buckets fine enough for honest percentiles and bounded in size."""

from __future__ import annotations

SUB_BITS = 4
"""16 buckets a power of two: a percentile is at most 6 % too high."""


class Latency:
    """A histogram of nanoseconds.

    >>> latency = Latency()
    >>> for ns in range(1000, 101_000, 1000):
    ...     latency.observe(ns)
    >>> latency.count, latency.quantile_us(0.5), latency.quantile_us(0.99)
    (100, 51.2, 102.4)
    """

    def __init__(self) -> None:
        self.count = 0
        self.sum_ns = 0
        self._buckets = [0] * (64 << SUB_BITS)

    def observe(self, ns: int) -> None:
        ns = max(ns, 0)
        self.count += 1
        self.sum_ns += ns
        shift = max(ns.bit_length() - SUB_BITS - 1, 0)
        self._buckets[(shift << SUB_BITS) + (ns >> shift)] += 1

    def copy(self) -> Latency:
        """The same counts, for another thread to read while this one goes on."""
        other = Latency()
        other.count, other.sum_ns, other._buckets = self.count, self.sum_ns, self._buckets.copy()
        return other

    def quantile_us(self, share: float) -> float:
        """The upper edge in microseconds of the bucket below which ``share`` of the observations lie; 0 without any."""
        wanted = share * self.count
        seen = 0
        for index, number in enumerate(self._buckets):
            seen += number
            if number and seen >= wanted:
                return round(self._edge_ns(index) / 1000, 1)
        return 0.0

    def summary(self) -> dict[str, float]:
        """Percentiles in microseconds and the number of observations."""
        shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
        return {name: self.quantile_us(share) for name, share in shares.items()} | {"samples": self.count}

    def cumulative(self, bounds_ns: list[int]) -> list[int]:
        """How many observations lie at or below each bound; exact where bounds are powers of two."""
        return [
            sum(number for index, number in enumerate(self._buckets) if self._edge_ns(index) <= bound)
            for bound in bounds_ns
        ]

    @staticmethod
    def _edge_ns(index: int) -> int:
        shift, low = (index >> SUB_BITS) - 1, (index & ((1 << SUB_BITS) - 1)) + (1 << SUB_BITS)
        if shift < 0:
            return index + 1
        return (low + 1) << shift
