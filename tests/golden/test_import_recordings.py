"""Whole recordings of others, imported: every row against an independent reader, and books that stay up."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from adapters.binance import BinanceSpot
from adapters.entry import EntryKind
from adapters.feed import Feed
from adapters.registry import venue_class
from adapters.tape import read_tape
from engine.core.engine import Engine
from engine.core.events import FRAME_BOOK, FRAME_READY, TRADE, Batch, Frames
from engine.core.types import Instrument
from engine.research.import_tape import Format, import_tape
from engine.research.player import Player
from tests.data import recordings
from tests.market import Rig

DAYS = ("20131007", "20131008", "20131009")


class Played:
    """A tape through its adapter and the engine: the book after each book frame that left it ready, and every trade.

    A book is (ns, bid, size, ask, size).
    """

    def __init__(self, tape: Path, instruments: Sequence[Instrument] = ()) -> None:
        header, entries = read_tape(tape)
        ((name, venue),) = header.venues.items()
        self.instrument = (*header.instruments, *instruments)[0]
        self._books: list[npt.NDArray[np.int64]] = []
        self.trades: list[tuple[int, int, int]] = []
        rig = Rig(instruments=(self.instrument,), depth=6000, frames_tap=self._frames)
        self.engine: Engine = rig.engine
        feed = Feed(name, venue_class(venue.use), {self.instrument.symbol: (0, self.instrument)})
        player = Player(self.engine, {name: feed}, on_batch=self._batch)
        last_ns = 0
        for entry in entries:
            assert entry.ns >= last_ns
            last_ns = entry.ns
            player.apply(entry)
        player.finish()
        self.stats = feed.stats
        self.books = np.concatenate(self._books)

    def _frames(self, frames: Frames) -> None:
        wanted = FRAME_READY | FRAME_BOOK
        found = frames[frames["flags"] & wanted == wanted]
        best = [found[key][:, 0] for key in ("bid", "bid_size", "ask", "ask_size")]
        self._books.append(np.stack([found["recv_ns"], *best], axis=1))

    def _batch(self, batch: Batch) -> None:
        found = batch[batch["kind"] == TRADE]
        self.trades += list(zip(*(found[key].tolist() for key in ("recv_ns", "price", "size")), strict=True))


def test_every_second_of_a_day_of_gemini_is_the_csvs(tmp_path: Path) -> None:
    folder = recordings() / "long"
    summary = import_tape(Format.CCAPI, [folder], tmp_path / "a.ptz")
    assert (summary["books"], summary["trades"], summary["locked_or_crossed"]) == (72_180, 25_222, 0)
    assert summary["left_out"] == {}
    played = Played(tmp_path / "a.ptz")
    with (folder / "gemini__eth-usd__2021-07-01__market-depth.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    one = played.instrument
    theirs = []
    for second, bid, ask in rows:
        (bid_price, bid_size), (ask_price, ask_size) = bid.split("_"), ask.split("_")
        prices = (int(Decimal(price).scaleb(one.price_decimals)) for price in (bid_price, ask_price))
        sizes = (int(Decimal(size).scaleb(one.size_decimals)) for size in (bid_size, ask_size))
        (bid_units, ask_units), (bid_lots, ask_lots) = prices, sizes
        theirs.append((int(second) * 10**9, bid_units, bid_lots, ask_units, ask_lots))
    told = set(theirs)
    books = [tuple(row) for row in played.books.tolist()]
    assert [row for row in books if row in told] == theirs
    again = [at for at, row in enumerate(books) if row not in told]  # a second that traded and left the book as it was
    assert len(again) == 38 and all(books[at][1:] == books[at - 1][1:] for at in again)
    with (folder / "gemini__eth-usd__2021-07-01__trade.csv").open() as file:
        trades = [
            (int(Decimal(time).scaleb(9)), int(Decimal(price).scaleb(2)), int(Decimal(size).scaleb(8)))
            for time, price, size, _ in list(csv.reader(file))[1:]
        ]
    assert played.trades == trades
    assert (played.stats.gaps, played.stats.malformed) == (0, 0)


def ticks(day: str, kind: str, names: Sequence[str]) -> pl.DataFrame:
    with zipfile.ZipFile(recordings() / f"equities/aig_{day}_{kind}.zip") as archive:
        content = archive.read(archive.namelist()[0])
    rows = pl.read_csv(io.BytesIO(content), has_header=False, new_columns=list(names), infer_schema_length=None)
    return rows.filter(pl.col("ms").is_between(34_200_000, 57_599_999))


FACTS = {
    "20131007": (539_683, 19_011, 13),
    "20131008": (558_796, 33_608, 18),
    "20131009": (711_328, 39_557, 24),
}
"""Frames (a bid and an ask of one moment), trades on exchanges, spells of a locked or crossed best from a second on."""


@pytest.mark.slow
@pytest.mark.parametrize("day", DAYS)
def test_every_national_best_of_a_day_is_the_zips(day: str, tmp_path: Path) -> None:
    out = tmp_path / "a.ptz"
    summary = import_tape(Format.LEAN, [recordings() / f"equities/aig_{day}_quote.zip"], out)
    assert (summary["books"], summary["trades"]) == FACTS[day][:2]
    quotes = ticks(day, "quote", ("ms", "bid", "bid_size", "ask", "ask_size", "exchange", "condition", "suspicious"))
    # The rows alternate, bid then ask, so the state after each ask is the national best at that moment.
    pairs = quotes.filter(pl.col("ask") > 0).with_columns(
        quotes.select(
            pl.when(pl.col("bid") > 0).then("bid").forward_fill().alias("best"),
            pl.when(pl.col("bid") > 0).then("bid_size").forward_fill().alias("best_size"),
            keep=pl.col("ask") > 0,
        ).filter("keep").drop("keep")
    )  # fmt: skip
    good = pairs.filter(pl.col("best") < pl.col("ask"))
    midnight_ns = int(datetime.strptime(f"{day}-0400", "%Y%m%d%z").timestamp()) * 10**9  # summer time in October
    theirs = good.select(pl.col("ms") * 10**6 + midnight_ns, "best", "best_size", "ask", "ask_size").to_numpy()
    played = Played(out)
    assert np.array_equal(played.books, theirs)  # ready exactly where the national best is not locked
    assert summary["locked_or_crossed"] == pairs.height - good.height
    assert (played.stats.gaps, played.stats.malformed) == (FACTS[day][2], 0)
    assert len(played.trades) == FACTS[day][1]


def test_two_hours_of_ethbtc_stay_ready_and_meet_the_later_snapshot(tmp_path: Path) -> None:
    folder = recordings() / "long/binance_ethbtc_2h"
    out = tmp_path / "a.ptz"
    summary = import_tape(Format.DEEP_ORDERBOOK, [folder], out)
    assert (summary["books"], summary["trades"], summary["gaps"], summary["left_out"]) == (7199, 3501, 0, {})
    assert summary["snapshots"] == [
        {"file": "2020-11-01T10-00-00_snapshot.json", "equal": 1985, "under_way": 7, "never_told": 9, "different": 0}
    ]
    frames = [entry.data for entry in read_tape(out)[1] if entry.kind is EntryKind.RECEIVED]
    (instrument,) = BinanceSpot.infer_instruments("binance-spot", frames).values()
    played = Played(out, [instrument])
    assert (played.stats.frames, played.stats.gaps, played.stats.malformed) == (10_700, 0, 0)
    assert len(played.trades) == 3501
    states = [fact for fact in played.engine.status()["book_tops"] if fact["ready"]]
    assert len(states) == 1
    # The engine's own book at the end, against all payloads applied by hand.
    sides = by_hand(folder)
    view = played.engine.books.views[0]
    for side, name in zip(sides, ("bid", "ask"), strict=True):
        best = sorted(side.items(), reverse=name == "bid")[:500]
        assert view.levels(name, 500) == [(instrument.price_units(p), instrument.size_units(s)) for p, s in best]


def by_hand(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Both sides after two hours; prices have one width, so their texts sort as they do."""
    first = json.loads((folder / "2020-11-01T09-00-00_snapshot.json").read_text())
    sides: tuple[dict[str, str], dict[str, str]] = (dict(first["bids"]), dict(first["asks"]))
    for update in updates(folder):
        if update["u"] > first["lastUpdateId"]:
            for side, changes in zip(sides, (update["b"], update["a"]), strict=True):
                for price, size in changes:
                    side[price] = size
    return ({p: s for p, s in sides[0].items() if float(s)}, {p: s for p, s in sides[1].items() if float(s)})


def updates(folder: Path) -> Iterator[dict[str, Any]]:
    for hour in ("09", "10"):
        yield from json.loads((folder / f"2020-11-01T{hour}-00-00_update.json").read_text())
