"""A daemon's memory without its loop: entries go to tape, journal and engine, and it dies whenever a test wants."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from adapters.entry import Entry, EntryKind
from adapters.feed import Feed
from adapters.plain import Plain
from adapters.tape import TapeWriter, encode_entry
from adapters.tape_types import TapeHeader, VenueHeader
from engine.core.types import Instrument
from engine.live.build import build_engine
from engine.live.config import AppConfig, parse_config
from engine.live.journal import Journal
from engine.live.recovery.keeper import Keeper
from engine.live.recovery.session import Opened, farewells, heal, open_past, set_aside_unbegun
from engine.live.recovery.state import Kept, Recovered
from engine.live.statedir import StateDir
from engine.research.lived import START_NS, market
from engine.research.player import Player

STEP_NS = 20_000_000
BTC = Instrument(
    venue="v", symbol="BTC", base="BTC", quote="USDT", price_decimals=1, size_decimals=3, min_notional=Decimal(1)
)

CONFIG: dict[str, Any] = {
    "run": {"name": "r"},
    "venue": {"v": {"use": "plain", "symbols": ["BTC"]}},
    "paper": {"out": "5ms", "back": "5ms", "feed": "1ms", "cash": {"USDT": "1000000", "BTC": "10"}, "max_orders": 64},
    "risk": {"max_orders_per_window": 0, "allow_short": True, "allow_debt": True, "drawdown_fraction": "0"},
    "strategy": [
        {"name": "busy", "use": "engine.research.crash_strategy:Busy", "symbol": "v:BTC", "orders": 1, "rest": 8}
    ],
    "model": [{"name": "linear", "use": "river-linear", "symbol": "v:BTC", "horizon": "100ms", "every": "20ms"}],
}


def config(**changes: Any) -> AppConfig:
    return parse_config({**CONFIG, **changes}, "test")


def frames(count: int, seed: int = 1) -> Iterator[bytes]:
    """What a venue of the plain protocol sends: books around a walking mid, and trades between them."""
    return islice(market(seed, levels=12), count)


class Life:
    """One session of a run in a folder."""

    def __init__(self, folder: Path, settings: AppConfig | None = None, seed: int = 1) -> None:
        self.config = settings or config()
        self.state = StateDir(folder / "r")
        venues = {"v": Plain}
        try:
            self.opened: Opened = open_past(self.state, self.config, [BTC], venues)
        except BaseException:
            self.state.close()
            raise
        past = self.past
        if past is None:
            built = build_engine(self.config, [BTC], inline_training=False, venues=venues)
            kept = Kept(built.engine, built.models, {"v": Feed("v", Plain, {"BTC": (0, BTC)})}, ([], []))
            self.now_ns = START_NS
        else:
            kept, self.now_ns = past.kept, past.last_ns + 1_000_000_000
        self.kept = kept
        header = TapeHeader(
            started_ns=self.now_ns,
            venues={"v": VenueHeader("plain", ["BTC"])},
            config=self.config.plain(),
            instruments=[BTC],
            papertape="test",
            session=self.opened.number,
        )
        if past is not None:
            set_aside_unbegun(self.state, self.opened.number)
        self.tape = TapeWriter(self.state.tape / f"{self.opened.number:04d}.ptz", header, flush_s=0.05)
        self.keeper = Keeper(
            self.state,
            self.opened.journal,
            self.config,
            self.opened.code,
            lambda: self.kept,
            lambda: self.now_ns,
            session=self.opened.mark(self.config, [BTC], self.tape.path),
            stored=lambda: self.tape.stored,
        )
        self.player = Player(kept.engine, kept.feeds, block=1, obeys=True, on_records=self.keeper.facts)
        self._frames = frames(100_000, seed)
        self.digests: list[str] = []
        """Of the run after each input of this session."""
        if past is not None:
            for entry in farewells(past, self.config, self.now_ns):
                self.apply(entry)
            heal(self.state, past)
            self.keeper.is_healed = True
        if not self.engine.commands.is_running:
            self.apply(Entry(EntryKind.COMMAND, self.now_ns, "", "start", b"{}"))
        self.apply(Entry(EntryKind.OPENED, self.now_ns, "v"))

    @property
    def past(self) -> Recovered | None:
        return self.opened.past

    @property
    def engine(self) -> Any:
        return self.kept.engine

    @property
    def journal(self) -> Journal:
        return self.opened.journal

    def apply(self, entry: Entry) -> None:
        line = encode_entry(entry)
        self.tape.write_line(line)
        self.keeper.entry(line[:-1])
        self.player.apply(entry)
        self.player.flush()
        self.digests.append(self.engine.digest)

    def live(self, count: int) -> None:
        """Take so many frames, committing after each."""
        for _ in range(count):
            self.now_ns += STEP_NS
            self.apply(Entry(EntryKind.RECEIVED, self.now_ns, "v", "", next(self._frames)))
            self.keeper.commit()

    def snapshot(self) -> None:
        """As the runner takes one, and stored when this returns."""

        async def take() -> None:
            storing = self.keeper.snapshot()
            assert storing is not None
            await storing

        asyncio.run(take())

    def wait_for_tape(self) -> None:
        """Until the tape's thread has stored all that it was given, which it does by itself, now and then."""
        deadline = time.monotonic() + 30.0
        while self.tape.stored < self.tape.entries and time.monotonic() < deadline:
            time.sleep(0.01)

    def killed(self, into: Path) -> str:
        """What a kill at this moment leaves is copied to another folder; this life ends. The digest at that moment."""
        digest = str(self.engine.digest)
        shutil.copytree(self.state.path, into / "r")
        self.tape.close()
        self.journal.close()
        self.state.close()
        return digest

    def stop(self) -> str:
        """Stop in order; the digest."""
        self.apply(Entry(EntryKind.COMMAND, self.now_ns, "", "stop", b"{}"))
        self.tape.close()
        asyncio.run(self.keeper.close())
        self.state.close()
        return str(self.engine.digest)
