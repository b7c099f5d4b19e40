"""A seeded walk of one market: enough life for strategies, models, tables and reports to have something to show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine.core.events import Batch
from tests.market import depth, snapshot, trade

DEPTH = 12


def walk(
    frames: int, seed: int = 1, start_ns: int = 1_700_000_000_000_000_000, step_ns: int = 50_000_000
) -> Iterator[Batch]:
    """A snapshot, then depth frames around a drifting mid, with trades on either side between them."""
    rng = np.random.default_rng(seed)
    mid, ns, flow = 6_000_000, start_ns, 0.0
    yield snapshot(ns, _side(mid, -1, rng), _side(mid, 1, rng))
    for number in range(2, frames + 2):
        ns += step_ns
        flow = 0.95 * flow + float(rng.normal()) * 0.6 + float(np.sin(number / 90)) * 0.12
        moved = mid + round(flow * 60 + float(rng.normal()) * 60)
        is_sell = float(rng.normal()) + flow < 0
        if rng.random() < 0.7:
            price = mid - 100 if is_sell else mid + 100
            yield trade(ns, price, int(rng.integers(1, 400)), sell=is_sell, id=number)
        gone_bids = [(price, 0) for price, _ in _side(mid, -1, rng)]
        gone_asks = [(price, 0) for price, _ in _side(mid, 1, rng)]
        bids, asks = _side(moved, -1, rng), _side(moved, 1, rng)
        yield depth(ns + 1_000_000, gone_bids + bids, gone_asks + asks, id=number)
        mid = moved


def _side(mid: int, sign: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    return [(mid + sign * 100 * (level + 1), int(rng.integers(50, 3_000))) for level in range(DEPTH)]
