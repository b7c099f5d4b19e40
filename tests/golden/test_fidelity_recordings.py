"""Ghosts built from a real log against those that others built from it, and our slower feed against theirs."""

from __future__ import annotations

import lzma
from pathlib import Path

import msgspec
import polars as pl
import pytest

from engine.research.fidelity import open_orders, open_pair
from engine.research.slow_feed import moved, slowed
from tests.data import recordings


def recording(*parts: str) -> Path:
    path = recordings().joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the recording is not at {path}")
    return path


def test_a_slower_feed_is_the_one_that_others_derived_row_by_row() -> None:
    fast = open_pair(recording("fills", "es.tape.parquet"), recording("fills", "es.probes.parquet"))
    slow = open_pair(recording("fills", "es_100ms.tape.parquet"), recording("fills", "es_100ms.probes.parquet"))
    tape, row_map = slowed(fast.tape, 100_000_000)
    assert tape.equals(slow.tape)
    assert moved(fast.probes, row_map).equals(slow.probes)


def test_ghosts_of_the_bitstamp_log_are_those_that_others_found() -> None:
    """The same log, read by different hands: 3 of 1,731 orders are missing and the fates of 5 differ, because we follow
    orders that their owners moved to another price, which ends one ghost and begins another."""
    ours = open_orders(recording("l3", "bitstamp_btcusd_2015-05-01.log.xz"))
    assert ours.notes == {}
    theirs = pl.read_parquet(recording("fills", "bitstamp.probes.parquet"))
    both = theirs.join(ours.probes, on="order_id", suffix="_ours")
    assert (theirs.height, ours.probes.height, both.height) == (1731, 1765, 1728)
    for column, differing in {
        "price_ticks": 3,
        "size": 4,
        "queue_ahead_at_t0": 1,
        "t_first_fill_ns": 5,
        "t_end_ns": 4,
        "filled_size": 5,
    }.items():
        assert int(both[column].ne_missing(both[f"{column}_ours"]).sum()) == differing, column


def test_the_book_of_the_bitstamp_log_is_the_one_that_the_venue_pushed() -> None:
    """The venue's own pushes of its best levels, which the ghosts' builder never reads, agree with the built book."""
    path = recording("l3", "bitstamp_btcusd_2015-05-01.log.xz")
    tape = open_orders(path).tape.rows()
    at = 0
    books: dict[str, dict[int, int]] = {"bid": {}, "ask": {}}
    agree = pushes = 0
    with lzma.open(path, "rb") as file:
        for line in file:
            ms, event, text = line.split(b" ", 2)
            if event != b"order_book":
                continue
            while at < len(tape) and tape[at][0] <= int(ms) * 1_000_000:
                _, kind, side, price, size, _, _ = tape[at]
                at += 1
                if kind == "level":
                    books[side][price] = size
                    if size == 0:
                        del books[side][price]
            pushed = msgspec.json.decode(text)
            best = [round(float(pushed[side][0][0]) * 100) for side in ("bids", "asks")]
            agree += best == [max(books["bid"], default=0), min(books["ask"], default=0)]
            pushes += 1
    assert pushes == 5011
    assert agree / pushes > 0.998
