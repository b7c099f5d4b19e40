"""What the streaming features cost: a frame, and a read, of the standard set and of all there are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from engine.core.engine import Engine
from engine.core.events import FRAME_TRADE, Frames
from engine.core.settings import EngineSettings
from engine.features.set import FeatureSet
from engine.research.bench_data import BTC, change_tape
from engine.research.bench_row import Row, row

SEED: Final = 7
BLOCK: Final = 40
"""Frames taken at once: 100 ms of the tape, as between two samples of a model."""
TRADES: Final = 0.3
"""Share of frames with a trade."""
SETS: Final = (("standard", "live"), ("standard", "held"), ("wide", "live"))


def features(data: Path | None, scale: float) -> Iterator[Row]:
    """Frames of a tape of one-change frames into a set of features, and the reads of a model in between."""
    del data
    frames = bench_frames(max(4_000, round(200_000 * scale)))
    for name, trades in SETS:
        updates, reads = _samples(FeatureSet([BTC.tick], features=name, trades=trades), frames)
        yield row(f"{name}, trades {trades}: a frame", updates, "us")
        yield row(f"{name}, trades {trades}: a read", reads, "us")


def bench_frames(count: int) -> Frames:
    """Frames of the change tape as the engine gives them to models, some of them with a trade."""
    rng = np.random.default_rng(SEED)
    snapshot, tape = change_tape(rng, count)
    kept: list[Frames] = []
    engine = Engine((BTC,), {}, EngineSettings(), frames_tap=lambda frames: kept.append(frames.copy()))
    engine.process(snapshot)
    engine.process(tape)
    engine.signals.flush()
    frames: Frames = np.concatenate(kept)
    traded = np.flatnonzero(rng.random(len(frames)) < TRADES)
    for side, chosen in (("buy", traded[::2]), ("sell", traded[1::2])):
        frames["flags"][chosen] |= FRAME_TRADE
        frames[f"{side}s"][chosen] = 1
        frames[f"{side}_size"][chosen] = rng.integers(1, 100_000, len(chosen))
        frames["last_price"][chosen] = frames["ask" if side == "buy" else "bid"][chosen, 0]
    return frames


def _samples(one: FeatureSet, frames: Frames) -> tuple[list[float], list[float]]:
    """Microseconds a frame, block by block, and a read."""
    updates, reads = [], []
    out = one.vector()
    for at in range(0, len(frames) - BLOCK, BLOCK):
        part = frames[at : at + BLOCK]
        now_ns = int(part["recv_ns"][-1])
        begin = time.perf_counter_ns()
        one.update(part)
        updated = time.perf_counter_ns()
        is_warm = one.read(0, now_ns, out)
        done = time.perf_counter_ns()
        updates.append((updated - begin) / BLOCK / 1000)
        if is_warm:
            reads.append((done - updated) / 1000)
    if not reads:
        raise RuntimeError(f"expected a warm feature set after {len(frames)} frames, found none: nothing was measured")
    return updates, reads
