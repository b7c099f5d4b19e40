"""An order tape whose truth is known by hand becomes the right tape and the right ghosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.research.bitstamp_log import read_bitstamp_log
from engine.research.fill_files import FillFileError
from engine.research.level3 import ORDER_SCHEMA, Haunted, haunted
from engine.research.market_orders import market_orders


def orders_of(*rows: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame([(*row, None, False) for row in rows], schema=ORDER_SCHEMA, orient="row")


def fates(found: Haunted) -> dict[str, dict[str, Any]]:
    return {row["order_id"]: row for row in found.probes.iter_rows(named=True)}


START = [(1, "add", "bid", "bid", 100, 10), (1, "add", "ask", "ask", 103, 10)]


def test_a_queue_of_three_by_hand() -> None:
    found = haunted(
        orders_of(
            *START,
            (2, "add", "r", "bid", 100, 4),  # ten ahead
            (3, "add", "better", "bid", 101, 5),  # improves by one
            (4, "add", "behind", "bid", 100, 3),  # fourteen ahead
            (5, "trade", "better", None, 101, 5),
            (5, "delete", "better", None, None, None),
            (6, "change", "bid", None, None, 2),  # eight cancelled in front of r
            (7, "trade", "bid", None, 100, 2),
            (7, "delete", "bid", None, None, None),
            (7, "trade", "r", None, 100, 1),
            (7, "change", "r", None, None, 3),
            (8, "change", "r", None, None, 2),  # its owner takes one back
            (9, "delete", "r", None, None, None),
        )
    )
    said = fates(found)
    assert found.notes == {}
    assert {name: (one["dist_ticks"], one["spread_ticks"], one["queue_ahead_at_t0"]) for name, one in said.items()} == {
        "r": (0, 3, 10),
        "better": (-1, 3, 0),
        "behind": (1, 2, 14),
    }
    r, better, behind = said["r"], said["better"], said["behind"]
    assert (better["t_first_fill_ns"], better["t_full_fill_ns"], better["t_end_ns"]) == (5, 5, None)
    assert (better["filled_size"], better["end_row"]) == (5, found.tape.height)
    assert (r["filled_size"], r["reduced_size"], r["t_first_fill_ns"], r["t_full_fill_ns"]) == (1, 1, 7, None)
    assert (r["t_end_ns"], r["censored"], r["oracle_filled"], r["oracle_t_first_ns"]) == (9, False, 1, 7)
    assert (behind["filled_size"], behind["t_end_ns"], behind["censored"]) == (0, None, True)
    rows = found.tape.select("ts_ns", "kind", "side", "price_ticks", "size", "aggressor").rows()
    assert rows[r["start_row"]] == (2, "level", "bid", 100, 14, None)
    assert rows[r["end_row"]] == (9, "level", "bid", 100, 3, None)
    assert rows[5:8] == [
        (5, "trade", None, 101, 5, "sell"),
        (5, "level", "bid", 101, 0, None),
        (6, "level", "bid", 100, 9, None),
    ]


def test_a_moved_or_grown_order_is_another_one() -> None:
    found = haunted(
        orders_of(
            *START,
            (2, "add", "r", "bid", 100, 4),
            (3, "change", "r", None, 101, 4),
            (4, "change", "r", None, None, 6),
        )
    )
    said = fates(found)
    assert [(name, one["price_ticks"], one["size"], one["t_end_ns"]) for name, one in said.items()] == [
        ("r", 100, 4, 3),
        ("r.2", 101, 4, 4),
        ("r.3", 101, 6, None),
    ]


def test_far_orders_and_those_of_an_unknown_book_are_no_ghosts() -> None:
    rows = [*START, (2, "add", "far", "bid", 90, 1), (3, "add", "crossing", "bid", 103, 1)]
    assert haunted(orders_of(*rows)).probes.height == 0
    near = orders_of(*START, (2, "add", "early", "bid", 100, 1), (50, "add", "late", "bid", 100, 1))
    assert list(fates(haunted(near, warm_up_ns=40))) == ["late"]
    many = orders_of(*START, *((2 + at, "add", str(at), "bid", 100, 1) for at in range(10)))
    thinned = haunted(many, most=4)
    assert thinned.probes["order_id"].to_list() == ["0", "3", "6", "9"]
    assert thinned.notes == {"ghosts found, every 3th is kept": 10}


def test_a_clear_ends_what_is_known_of_every_order() -> None:
    said = fates(haunted(orders_of(*START, (2, "add", "r", "bid", 100, 4), (3, "clear", None, None, None, None))))
    assert (said["r"]["t_end_ns"], said["r"]["end_row"], said["r"]["censored"]) == (3, 3, True)


def test_what_contradicts_the_book_is_left_out_and_said() -> None:
    found = haunted(
        orders_of(
            *START,
            (2, "add", "bad", "bid", 100, -1),
            (2, "add", "bid", "bid", 100, 7),
            (2, "change", "nobody", None, None, 1),
            (2, "change", "bid", None, None, -3),
            (2, "trade", "bid", None, 100, 99),
            (2, "trade", None, None, 100, 0),
            (1, "delete", "bid", None, None, None),
        )
    )
    assert found.notes == {
        "times that went back, held": 1,
        "orders with an impossible side, price or size, left out": 1,
        "orders added twice: the first one ends there": 1,
        "changes of orders that do not rest, left out": 1,
        "changes to an impossible size, left out": 1,
        "trades larger than the order that they hit, cut": 1,
        "trades with an impossible price or size, left out": 1,
    }
    assert found.tape.filter(pl.col("kind") == "trade")["size"].to_list() == [7]


def test_no_order_tape_is_refused() -> None:
    with pytest.raises(FillFileError, match="found no row"):
        haunted(orders_of())
    with pytest.raises(FillFileError, match="found 'quote'"):
        haunted(orders_of((1, "quote", "a", "bid", 1, 1)))
    with pytest.raises(FillFileError, match="a time in every row"):
        haunted(orders_of((None, "add", "a", "bid", 1, 1)))


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 1000))
def test_on_the_simulated_market_every_fate_is_what_first_in_first_out_says(seed: int) -> None:
    found = haunted(market_orders(seed, seconds=20))
    assert found.notes == {}
    assert found.probes.height > 200
    whole = found.probes.filter(pl.col("filled_size") > 0)
    assert whole.height > 10
    wrong = found.probes.filter((pl.col("filled_size") > 0) != (pl.col("oracle_filled") > 0))
    assert wrong.height == 0
    assert whole["t_first_fill_ns"].equals(whole["oracle_t_first_ns"])
    ends = found.probes.filter(pl.col("t_full_fill_ns").is_not_null())
    assert ends["filled_size"].equals(ends["size"])


LOG = """\
1000 order_created {"price": "10.00", "amount": "2.00000000", "id": 5, "order_type": 0}
2000 order_created {"price": "10.02", "amount": "1.00000000", "id": 6, "order_type": 1}
3000 order_created {"price": "10.00", "amount": "3.00000000", "id": 7, "order_type": 1}
3010 order_deleted {"price": "10.00", "amount": "0.00000000", "id": 5, "order_type": 0}
3011 order_changed {"price": "10.00", "amount": "1.00000000", "id": 7, "order_type": 1}
3012 trade {"price": 10.0, "amount": 2.0, "id": 1}
4000 order_changed {"price": "10.01", "amount": "1.00000000", "id": 7, "order_type": 1}
5000 order_deleted {"price": "9.90", "amount": "4.00000000", "id": 2, "order_type": 0}
5001 order_book {"bids": [], "asks": []}
6000 order_deleted {"price": "10.01", "amount": "1.00000000", "id": 7, "order_type": 1}
"""


def test_a_bitstamp_log_tells_who_rested_who_took_and_who_stood_there_before(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(LOG)
    rows = read_bitstamp_log(path).select("ts_ns", "kind", "order_id", "side", "price_ticks", "size").rows()
    ms, one = 1_000_000, 10**8
    assert rows == [
        (1000 * ms, "add", "2", "bid", 990, 4 * one),
        (1000 * ms, "add", "5", "bid", 1000, 2 * one),
        (2000 * ms, "add", "6", "ask", 1002, one),
        (3010 * ms, "trade", "5", None, 1000, 2 * one),
        (3010 * ms, "delete", "5", None, None, None),
        (3011 * ms, "add", "7", "ask", 1000, one),
        (4000 * ms, "delete", "7", None, None, None),
        (4000 * ms, "add", "7", "ask", 1001, one),
        (5000 * ms, "delete", "2", None, None, None),
        (6000 * ms, "delete", "7", None, None, None),
    ]


@pytest.mark.parametrize("bad", ["x order_created {}", "1000 order_lost {}", '1000 order_created {"id": 1', "1000"])
def test_a_line_that_is_none_is_named(bad: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(LOG + bad + "\n")
    with pytest.raises(FillFileError, match="line 11: expected"):
        read_bitstamp_log(path)
