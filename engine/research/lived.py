"""A daemon's memory without its loop: inputs go to journal and engine as in a daemon, with no network and no clock."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from adapters.contract import Venue
from adapters.entry import Entry, EntryKind
from adapters.feed import Feed
from adapters.tape import encode_entry
from engine.core.types import Instrument
from engine.live.build import build_engine
from engine.live.config import AppConfig
from engine.live.recovery.keeper import Keeper
from engine.live.recovery.session import farewells, open_past
from engine.live.recovery.state import Kept
from engine.live.statedir import StateDir
from engine.research.player import Player

START_NS: Final = 1_700_000_000_000_000_000
AWAY_NS: Final = 1_000_000_000
"""Between the last input of a session and the first of the next."""


class Lived:
    """One session of a run with one instrument; ``now_ns`` is its clock, which its owner moves.

    It goes on with what an earlier session left in the folder. After ``take`` a killed process would leave what is on
    the disk then.
    """

    def __init__(self, path: Path, settings: AppConfig, instrument: Instrument, venue: type[Venue]) -> None:
        name = instrument.venue
        self.state = StateDir(path)
        self.opened = open_past(self.state, settings, [instrument], {name: venue})
        self.journal = self.opened.journal
        past = self.opened.past
        if past is None:
            built = build_engine(settings, [instrument], inline_training=False, venues={name: venue})
            feeds = {name: Feed(name, venue, {instrument.symbol: (0, instrument)})}
            self.kept, self.now_ns = Kept(built.engine, built.models, feeds, ([], [])), START_NS
        else:
            self.kept, self.now_ns = past.kept, past.last_ns + AWAY_NS
        self.engine = self.kept.engine
        self.keeper = Keeper(
            self.state,
            self.journal,
            settings,
            self.opened.code,
            lambda: self.kept,
            lambda: self.now_ns,
            session=self.opened.mark(settings, [instrument], None),
        )
        self._player = Player(self.engine, self.kept.feeds, block=1, obeys=True, on_records=self.keeper.facts)
        if past is not None:
            self.take(*farewells(past, settings, self.now_ns))
        if not self.engine.commands.is_running:
            self.take(Entry(EntryKind.COMMAND, self.now_ns, "", "start", b"{}"))
        self.take(Entry(EntryKind.OPENED, self.now_ns, name))

    def take(self, *entries: Entry) -> None:
        """One turn of the loop: all are written down as they come, then applied one by one, and committed together."""
        for entry in entries:
            self.keeper.entry(encode_entry(entry)[:-1])
        for entry in entries:
            self.apply(entry)
        self.keeper.commit()

    def apply(self, entry: Entry) -> None:
        """Let the engine see one that is written down, and write what follows."""
        self._player.apply(entry)
        self._player.flush()

    def snapshot(self) -> float:
        """As the runner takes one, and stored when this returns; the seconds for which it would have held a loop up."""

        async def take() -> float:
            started = time.perf_counter()
            storing = self.keeper.snapshot()
            frozen_s = time.perf_counter() - started
            assert storing is not None
            await storing
            return frozen_s

        return asyncio.run(take())

    def close(self) -> None:
        """Let go of the files; a run that is opened again finds what a kill would have left."""
        self.journal.close()
        self.state.close()


def market(seed: int, levels: int) -> Iterator[bytes]:
    """An endless venue of the plain protocol: books around a mid that walks, and each third frame a trade."""
    chance = np.random.default_rng(seed)
    mid, seq = 600_000, 0
    while True:
        seq += 1
        words: dict[str, Any] = {"symbol": "BTC", "seq": seq, "time": 0}
        if seq % 3 == 0:
            is_sell = bool(chance.random() < 0.5)
            price = mid - 5 if is_sell else mid + 5
            trade = {"id": seq, "price": f"{price / 10:.1f}", "size": f"{int(chance.integers(1, 900)) / 1000:.3f}"}
            yield json.dumps({"type": "trade", **words, "side": "sell" if is_sell else "buy", **trade}).encode()
            continue
        mid += int(chance.integers(-8, 9))
        sides = {}
        for name, sign in (("bids", -1), ("asks", 1)):
            prices = [(mid + sign * (5 + level)) / 10 for level in range(levels)]
            sides[name] = [[f"{price:.1f}", f"{int(chance.integers(1, 3000)) / 1000:.3f}"] for price in prices]
        yield json.dumps({"type": "book", **words, **sides}).encode()
