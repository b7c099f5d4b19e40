"""Frames of a real recording, as the streaming features see them."""

from __future__ import annotations

from functools import cache

import numpy as np

from adapters.feed import Feed
from adapters.registry import venue_class
from adapters.tape import read_tapes
from engine.core.engine import Engine
from engine.core.events import FRAME_READY, Frames
from engine.core.settings import EngineSettings
from engine.research.player import Player
from engine.research.scan import scan
from tests.data import recordings

SPOT = "binance/spot-btcusdt_20240808.gz"
COINM = "binance/cm-btcusd_perp_20240808.gz"


@cache
def recorded(name: str = SPOT) -> Frames:
    """All frames of a recording's first symbol while its book was usable; skips the test where it is absent."""
    path = recordings() / name
    header, entries = read_tapes([path])
    found = scan(*read_tapes([path]), {each: each for each in header.venues})
    venue, one = next(iter(found.items()))
    instruments = list(one.instruments.values())
    kept: list[Frames] = []
    engine = Engine(instruments, {}, EngineSettings(), frames_tap=lambda frames: kept.append(frames.copy()))
    symbols = {each.symbol: (index, each) for index, each in enumerate(instruments)}
    player = Player(engine, {venue: Feed(venue, venue_class(header.venues[venue].use), symbols)})
    player.play(entries)
    player.finish()
    frames = np.concatenate(kept)
    usable = (frames["flags"] & FRAME_READY != 0) & (frames["bid"][:, 0] > 0) & (frames["ask"][:, 0] > 0)
    chosen: Frames = frames[usable & (frames["ask"][:, 0] > frames["bid"][:, 0]) & (frames["symbol"] == 0)]
    return chosen
