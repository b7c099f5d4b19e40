"""The real recordings through feed and engine: the book must be the venue's own, whenever the venue says what it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from adapters.entry import Entry, EntryKind
from adapters.feed import INSTRUMENTS, Feed, FeedStats
from adapters.registry import venue_class
from adapters.tape import read_tapes
from engine.core.book import ASK, ASK_SIZE, BID, BID_SIZE, IS_READY, UPDATE_ID
from engine.core.engine import Engine
from engine.core.events import LAST, LEVEL, MARK, QUOTE, READY, TRADE
from engine.core.settings import EngineSettings
from engine.core.types import Instrument
from tests.data import recordings


class Played:
    """A recording played through feed and engine.

    ``comparable``: book frames and bookTickers of one symbol with the same update id, while the book is ready; the two
    come in either order. ``equal``: those where price and size of both best levels are the same.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        header, entries = read_tapes(paths)
        taped = list(entries)
        name, venue = next(iter(header.venues.items()))
        self.instruments = self._instruments(name, venue.use, venue.symbols, taped)
        feed = Feed(name, venue_class(venue.use), {each.symbol: (i, each) for i, each in enumerate(self.instruments)})
        engine = Engine(self.instruments, {}, EngineSettings())
        self.top = engine.books.top
        self.trades = 0
        self.doubted = 0
        self.was_ever_ready = False
        frames: dict[tuple[int, int], tuple[int, ...]] = {}
        quotes: dict[tuple[int, int], list[tuple[int, ...]]] = defaultdict(list)
        for entry in taped:
            for batch in feed.apply(entry):
                if not isinstance(batch, np.ndarray):
                    continue
                engine.process(batch)
                self.doubted += len(engine.doubted)
                last = batch[-1]
                symbol, kind = int(last["symbol"]), int(last["kind"])
                assert last["flags"] & LAST
                if kind in (LEVEL, MARK, READY) and self.top[symbol, IS_READY]:
                    self.was_ever_ready = True
                    best = tuple(int(self.top[symbol, column]) for column in (BID, BID_SIZE, ASK, ASK_SIZE))
                    frames[symbol, int(self.top[symbol, UPDATE_ID])] = best
                elif kind == QUOTE:
                    bid, ask = batch.tolist()
                    quotes[symbol, bid[8]].append((bid[4], bid[5], ask[4], ask[5]))
                self.trades += int((batch["kind"] == TRADE).sum())
        pairs = [(best, quote) for key, best in frames.items() for quote in quotes.get(key, ())]
        self.stats: FeedStats = feed.stats
        self.comparable = len(pairs)
        self.equal = sum(best == quote for best, quote in pairs)

    @property
    def ready(self) -> int:
        return int(self.top[:, IS_READY].sum())

    @staticmethod
    def _instruments(name: str, use: str, symbols: list[str], taped: list[Entry]) -> list[Instrument]:
        venue = venue_class(use)
        listings = [entry.data for entry in taped if entry.token == INSTRUMENTS]
        bodies = [entry.data for entry in taped if entry.kind in (EntryKind.RECEIVED, EntryKind.REPLIED)]
        found = venue.parse_instruments(name, listings[0]) if listings else venue.infer_instruments(name, bodies)
        return [found[symbol] for symbol in symbols]


@pytest.mark.parametrize(
    ("pattern", "comparable", "trades"),
    [("spot-btcusdt_2024*", 1072, 19_904), ("usdm-*", 625, 10_701), ("cm-*", 1885, 5_235)],
    ids=["spot", "usdm", "coinm"],
)
def test_a_recording_when_played_then_every_comparable_best_bid_and_ask_is_the_venues_own(
    pattern: str, comparable: int, trades: int
) -> None:
    played = Played(sorted((recordings() / "binance").glob(f"{pattern}.gz")))
    assert (played.comparable, played.equal) == (comparable, comparable)
    assert (played.ready, played.stats.gaps, played.stats.malformed, played.doubted) == (1, 0, 0, 0)
    assert played.trades == trades


def test_a_recording_when_it_holds_no_snapshot_then_the_book_never_becomes_ready() -> None:
    played = Played([recordings() / "binance" / "spot-btcusdt_20230405.dat.gz"])
    assert not played.was_ever_ready and played.ready == 0
    assert played.stats.frames > 15_000 and played.stats.malformed == 0


@pytest.mark.parametrize(
    ("file", "symbols"), [("BINANCE", 4), ("BINANCE_FUTURES", 4), ("BINANCE_DELIVERY", 10)], ids=str
)
def test_a_cryptofeed_recording_when_played_then_all_books_are_ready_without_a_gap(file: str, symbols: int) -> None:
    played = Played([recordings() / "venues" / f"{file}.jsonl.zst"])
    assert (played.ready, len(played.instruments)) == (symbols, symbols)
    assert (played.stats.gaps, played.stats.malformed, played.doubted) == (0, 0, 0)
    assert played.comparable == played.equal > 20
