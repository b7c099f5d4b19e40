"""Seeded input for the benchmarks: wire frames of Binance spot, and a tape of single level changes."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.core import events as ev
from engine.core.events import Batch
from engine.core.types import Instrument, decimal_text

SYMBOL: Final = "BTCUSDT"
MID: Final = 6_183_763
START_NS: Final = 1_723_161_254_000_000_000
STEP_NS: Final = 2_500_000
"""Between two frames of the tape: 400 level changes a second."""

BTC: Final = Instrument(
    venue="bench", symbol=SYMBOL, base="BTC", quote="USDT", price_decimals=2, size_decimals=5, lot=1, tick=1
)


def snapshot_frame(rng: np.random.Generator, levels: int = 1000) -> bytes:
    """A REST depth answer of so many levels a side, with update id 0."""
    sides = []
    for sign in (-1, 1):
        steps = np.sort(rng.choice(np.arange(1, 20 * levels), levels, replace=False))
        sides.append(",".join(_level(MID + sign * int(step), int(rng.integers(1, 500_000))) for step in steps))
    return f'{{"lastUpdateId":0,"bids":[{sides[0]}],"asks":[{sides[1]}]}}'.encode()


def depth_frames(rng: np.random.Generator, changes: float, count: int) -> list[bytes]:
    """Depth differences with that many changes each on average (at least one), most of them near the touch."""
    frames = []
    for number, size in enumerate(1 + rng.poisson(changes - 1.0, count), 1):
        sides: tuple[list[str], list[str]] = ([], [])
        for _ in range(int(size)):
            side = int(rng.integers(0, 2))
            price = MID + (2 * side - 1) * (1 + int(rng.exponential(60.0)))
            sides[side].append(_level(price, 0 if rng.random() < 0.35 else int(rng.integers(1, 500_000))))
        frames.append(
            f'{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{START_NS // 1_000_000 + number * 100},'
            f'"s":"{SYMBOL}","U":{number},"u":{number},"b":[{",".join(sides[0])}],"a":[{",".join(sides[1])}]}}}}'.encode()
        )
    return frames


def change_tape(rng: np.random.Generator, count: int, levels: int = 100) -> tuple[Batch, Batch]:
    """A snapshot, and that many frames of one level change each, every 2.5 ms; the book is never empty or crossed."""
    snapshot = ev.rows(2 * levels + 2)
    snapshot["recv_ns"], snapshot["flags"] = START_NS, ev.SNAPSHOT
    snapshot["kind"][0], snapshot["kind"][1:-1], snapshot["kind"][-1] = ev.CLEAR, ev.LEVEL, ev.READY
    steps = np.arange(1, levels + 1)
    snapshot["price"][1 : levels + 1], snapshot["price"][levels + 1 : -1] = MID - steps, MID + steps
    snapshot["size"][1:-1] = rng.integers(1, 500_000, 2 * levels)
    snapshot["flags"][levels + 1 : -1] |= ev.ASK
    snapshot["flags"][-1] |= ev.LAST
    tape = ev.rows(count)
    is_ask = rng.integers(0, 2, count)
    distance = 1 + np.minimum(rng.exponential(6.0, count).astype(np.int64), levels - 1)
    tape["kind"], tape["flags"] = ev.LEVEL, ev.LAST | np.where(is_ask, ev.ASK, 0)
    tape["price"] = MID + np.where(is_ask, distance, -distance)
    tape["size"] = np.where((rng.random(count) < 0.3) & (distance > 1), 0, rng.integers(1, 500_000, count))
    tape["recv_ns"] = START_NS + STEP_NS * np.arange(1, count + 1)
    tape["id"] = np.arange(1, count + 1)
    return snapshot, tape


def _level(price: int, size: int) -> str:
    """As Binance spot writes it, always eight decimals."""
    return f'["{decimal_text(price * 10**6, 8)}","{decimal_text(size * 10**3, 8)}"]'
