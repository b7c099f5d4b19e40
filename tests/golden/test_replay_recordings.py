"""Recordings of real venues, replayed: one digest at every block size, the venue's own best prices in the tables."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path

import msgspec
import polars as pl
import pytest

from engine.research.replay import replay
from tests.data import recordings

TOML = """
[run]
name = "golden"
[[strategy]]
name = "lean"
use = "lean"
symbol = "*"
[[strategy]]
name = "maker"
use = "maker"
symbol = "*"
[[model]]
name = "linear"
"""

SPOT = ("binance/spot-btcusdt_20240808.gz", "binance/spot-btcusdt_20240809.gz")
PAIRS = {
    "spot": SPOT[0],
    "usdm": "binance/usdm-btcusdt_20240718.gz",
    "coinm": "binance/cm-btcusd_perp_20240808.gz",
}
LINES = 15_000


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "golden.toml"
    path.write_text(TOML)
    return path


def beginning(path: Path, target: Path, lines: int = LINES) -> Path:
    """The first lines of a recording, in a folder that is gone after the test."""
    with gzip.open(path, "rb") as whole, target.open("wb") as part:
        part.writelines(islice(whole, lines))
    return target


@pytest.mark.parametrize("name", PAIRS)
def test_a_recording_at_any_block_size_gives_one_digest(name: str, tmp_path: Path, config: Path) -> None:
    tape = beginning(recordings() / PAIRS[name], tmp_path / name)
    results = [replay([tape], config=config, block=block) for block in (1, 64, 65_536)]
    assert len({result.digest for result in results}) == 1
    summary = results[0].summary
    assert summary["books"]["ready"] == 1
    assert sum(venue["gaps"] + venue["malformed"] for venue in summary["venues"].values()) == 0
    assert summary["models"][0]["learned"] > 100


def test_the_bbo_table_is_the_venues_own_best_price(tmp_path: Path, config: Path) -> None:
    paths = [recordings() / name for name in SPOT]
    replay(paths, config=config, out=tmp_path / "out")
    bbo = pl.read_parquet(tmp_path / "out" / "bbo.parquet").filter("ready")
    assert bbo["recv_ns"].is_sorted()
    ours = {row[0]: row[1:] for row in bbo.select("update_id", "bid", "bid_size", "ask", "ask_size").iter_rows()}
    compared = [(ours[update_id], theirs) for update_id, theirs in quotes(paths) if update_id in ours]
    assert len(compared) == 1072
    assert all(one == other for one, other in compared)


def quotes(paths: Sequence[Path]) -> list[tuple[int, tuple[Decimal, ...]]]:
    """Every bookTicker of a recording: its update id, and best bid, size, ask, size."""
    found = []
    for path in paths:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                if b"@bookTicker" in line[:60]:
                    data = msgspec.json.decode(line.partition(b" ")[2])["data"]
                    found.append((data["u"], tuple(Decimal(data[key]) for key in ("b", "B", "a", "A"))))
    return found


def test_a_recording_without_a_snapshot_trades_nothing_and_says_why(config: Path) -> None:
    summary = replay([recordings() / "binance/spot-btcusdt_20230405.dat.gz"], config=config).summary
    assert summary["books"]["ready"] == 0
    assert summary["orders"]["sent"] == summary["fills"] == 0
    assert "never became ready (the tape holds no depth snapshot)" in summary["why"][0]


@pytest.mark.parametrize("name", ["BINANCE", "BINANCE_FUTURES", "BINANCE_DELIVERY"])
def test_a_cryptofeed_recording_replays_without_a_gap(name: str, config: Path) -> None:
    summary = replay([recordings() / f"venues/{name}.jsonl.zst"], config=config).summary
    assert summary["books"]["ready"] == summary["books"]["total"] > 0
    (venue,) = summary["venues"].values()
    assert venue["gaps"] == venue["malformed"] == 0
