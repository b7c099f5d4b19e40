"""Every feature of the families of one symbol against its slow definition, on made-up and on recorded streams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine.core.events import FRAME_BOOK, FRAME_TRADE, Frames
from engine.features.families import FAMILIES
from engine.features.set import FeatureSet
from tests import slow_book, slow_trades
from tests.frames import MS, SECOND, START_NS, walk
from tests.recorded import FUTURES, SPOT, recorded

SLOW: dict[str, Callable[[Frames, int, float], dict[str, float]]] = {
    "levels": slow_book.levels,
    "order_flow": slow_book.order_flow,
    "queue": slow_book.queue,
    "touch": slow_book.touch,
    "trades": slow_trades.trades,
    "impact": slow_trades.impact,
    "statistics": slow_trades.statistics,
    "staleness": slow_trades.staleness,
    "calendar": slow_trades.calendar,
}


def ragged(count: int, seed: int) -> Frames:
    """A walk with pauses from none to a quarter of a minute, frames of trades only, and levels far apart or missing."""
    frames = walk(count, seed=seed)
    rng = np.random.default_rng(seed)
    for i in range(count):  # up to 30 bps from the best
        for side, way in (("bid", -1), ("ask", 1)):
            frames[side][i] = frames[side][i, 0] + way * np.append(0, np.cumsum(rng.integers(1, 700, 9)))
    pauses = rng.choice([0, 3 * MS, 40 * MS, 700 * MS, 15 * SECOND], count, p=[0.1, 0.5, 0.3, 0.09, 0.01])
    frames["recv_ns"] = START_NS + np.cumsum(pauses)
    for i in np.flatnonzero(rng.random(count) < 0.3).tolist()[1:]:
        for field in ("bid", "bid_size", "ask", "ask_size"):
            frames[field][i] = frames[field][i - 1]
        frames["flags"][i] = frames["flags"][i] & ~FRAME_BOOK
        if frames["flags"][i] & FRAME_TRADE and rng.random() < 0.2:
            frames["buy_size"][i], frames["sell_size"][i], frames["buys"][i], frames["sells"][i] = 7, 5, 2, 1
    for side in ("bid", "ask"):
        for i in np.flatnonzero(rng.random(count) < 0.1).tolist():
            gone = int(rng.integers(2, 10))
            frames[side][i, gone:] = frames[f"{side}_size"][i, gone:] = 0
    return frames


STREAMS: dict[str, Callable[[], Frames]] = {
    "walk": lambda: walk(2500, seed=4, step_ns=50 * MS),
    "ragged": lambda: ragged(2500, seed=8),
    "recorded futures": lambda: recorded(FUTURES, 4000, 3000),
    "recorded spot": lambda: recorded(SPOT, 4000, 3000),
}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("family", SLOW)
def test_a_family_is_its_slow_definition(family: str, stream: str) -> None:
    frames = STREAMS[stream]()
    features = FeatureSet(ticks=[2], features=[family], warm_up_ns=0)
    now_ns = int(frames["recv_ns"][-1]) + 130 * MS
    cut = len(frames) * 2 // 3
    features.update(frames[:cut])
    resumed = FeatureSet(ticks=[2], features=[family], warm_up_ns=0)
    resumed.restore(features.state.tobytes())
    resumed.update(frames[cut:])
    out = resumed.vector()
    assert resumed.read(0, now_ns, out)
    warm = FAMILIES[family].warm_up_ns <= now_ns - int(frames["recv_ns"][0])
    expected = SLOW[family](frames, now_ns, 2.0)
    assert set(expected) == set(features.names)
    for name, found, is_warm in zip(features.names, out.tolist(), warm.tolist(), strict=True):
        wanted = expected[name] if is_warm else float("nan")
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-11, nan_ok=True), name
