"""Made-up frames for tests of features and models."""

from __future__ import annotations

import numpy as np

from engine.core.events import FRAME, FRAME_BOOK, FRAME_LEVELS, FRAME_READY, FRAME_TRADE, Frames

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
SECOND = 1_000 * MS


def walk(count: int, seed: int = 1, symbol: int = 0, step_ns: int = 10 * MS) -> Frames:
    """A random walk of the mid whose next move leans with the imbalance of the best level, with some trades.

    Frame i is at ``START_NS + i * step_ns`` give or take less than half a step.
    """
    rng = np.random.default_rng(seed)
    frames = np.zeros(count, FRAME)
    frames["symbol"] = symbol
    frames["recv_ns"] = START_NS + np.arange(count) * step_ns + rng.integers(0, step_ns // 2, count)
    frames["flags"] = FRAME_READY | FRAME_BOOK
    levels = np.arange(FRAME_LEVELS)
    deep = np.random.default_rng([seed, 1])
    lean = 0.0
    mid = 1_000_000
    for i in range(count):
        lean = 0.97 * lean + 0.2 * rng.normal()
        mid += int(rng.random() < 0.3) * (1 if rng.random() < 0.5 + 0.45 * np.tanh(lean) else -1) * 5
        frames["bid"][i] = mid - 1 - levels
        frames["ask"][i] = mid + 1 + levels
        # The first five levels come from a stream of their own, so that they do not depend on how many there are.
        for side, way in (("bid_size", 1.0), ("ask_size", -1.0)):
            shown = np.append(rng.integers(50, 150, 5), deep.integers(50, 150, FRAME_LEVELS - 5))
            frames[side][i] = shown * np.exp(way * np.tanh(lean))
        if rng.random() < 0.3:
            frames["flags"][i] |= FRAME_TRADE
            side = "buy" if rng.random() < 0.5 + 0.4 * np.tanh(lean) else "sell"
            frames[f"{side}_size"][i] = rng.integers(1, 60)
            frames[f"{side}s"][i] = 1
            frames["last_price"][i] = mid + (1 if side == "buy" else -1)
    return frames
