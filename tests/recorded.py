"""Frames of real recordings, for tests that compare streaming features with their slow definitions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from adapters.feed import Feed
from adapters.tape import read_tapes
from engine.core.engine import Engine
from engine.core.events import FRAME, Frames
from engine.core.settings import EngineSettings
from engine.research.scan import scan
from tests.data import recordings

FUTURES = ("binance/usdm-btcusdt_20240718.gz", "binance/usdm-btcusdt_20240719.gz")
SPOT = ("binance/spot-btcusdt_20240808.gz", "binance/spot-btcusdt_20240809.gz")


@lru_cache(maxsize=4)
def recorded(files: tuple[str, ...], skip: int, count: int) -> Frames:
    """``count`` frames of a recording of one symbol, after the first ``skip``, as the engine's tap gives them."""
    paths = [recordings() / one for one in files]
    ((name, found),) = scan(*read_tapes(paths), {}).items()
    indexed = {symbol: (index, one) for index, (symbol, one) in enumerate(found.instruments.items())}
    feed = Feed(name, found.venue, indexed)
    kept: list[Frames] = []
    tap = kept.append
    engine = Engine(list(found.instruments.values()), {}, EngineSettings(), frames_tap=lambda one: tap(one.copy()))
    for entry in read_tapes(paths)[1]:
        for output in feed.apply(entry):
            if isinstance(output, np.ndarray):
                engine.process(output)
        engine.signals.flush()
        if len(kept) >= skip + count:
            break
    return np.concatenate(kept)[skip : skip + count] if kept else np.zeros(0, FRAME)
