"""The files of ghost orders: the tape that a paper venue would see, the probes, the predictions; read with care.

A file with wrong columns is refused. A row that no market can have said (a size below nothing, a level without a side)
is left out and counted, so that a damaged row never becomes a fill.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from engine.core.book import ASK_COUNT, BID_COUNT, TOP_FIELDS, Int64s, set_level
from engine.core.jit import kernel

MOST: Final = 2**53
"""Sizes and prices above this are no market's: beyond it a binary float no longer tells neighbours apart."""
MOST_LEVELS: Final = 1 << 20
"""Different prices of one tape; each side of the book has room for all of them."""

TAPE_SCHEMA: Final[Mapping[str, Any]] = {
    "ts_ns": pl.Int64,
    "kind": pl.String,
    "side": pl.String,
    "price_ticks": pl.Int64,
    "size": pl.Int64,
    "aggressor": pl.String,
    "hidden": pl.Boolean,
}
"""A tape as it is read. Its row order is authoritative; a trade stands before the level change that it causes."""

GHOST_SCHEMA: Final[Mapping[str, Any]] = {
    "order_id": pl.String,
    "side": pl.String,
    "price_ticks": pl.Int64,
    "size": pl.Int64,
    "queue_ahead_at_t0": pl.Int64,
    "start_row": pl.Int64,
    "end_row": pl.Int64,
}
"""What a model may know of a probe: nothing of its fate."""

FATE_SCHEMA: Final[Mapping[str, Any]] = {
    "order_id": pl.String,
    "side": pl.String,
    "price_ticks": pl.Int64,
    "size": pl.Int64,
    "t0_ns": pl.Int64,
    "dist_ticks": pl.Int64,
    "t_first_fill_ns": pl.Int64,
    "t_full_fill_ns": pl.Int64,
    "t_end_ns": pl.Int64,
    "filled_size": pl.Int64,
}
"""What the scorer reads of a probe: where it stood and what became of the real order."""

PREDICTION_SCHEMA: Final[Mapping[str, Any]] = {
    "order_id": pl.String,
    "filled_size": pl.Int64,
    "t_first_fill_ns": pl.Int64,
    "p_fill": pl.Float64,
    "grade": pl.String,
    "model": pl.String,
}
"""What ``papertape ghosts`` writes: one row for each probe, in the order of the probes."""

OPTIONAL: Final = ("hidden", "p_fill", "grade", "model")
KINDS: Final = ("level", "trade", "clear")


class FillFileError(Exception):
    """A file of ghost orders cannot be used; the text says what was expected, what was found and what to do."""


def read_table(path: Path, schema: Mapping[str, Any], what: str) -> pl.DataFrame:
    """The columns of ``schema`` of a parquet file, in its types; ``what`` names the table in an error.

    Raises:
        FillFileError: no parquet file, a column is missing or holds something else.
    """
    if not path.is_file():
        raise FillFileError(f"{path}: expected {what} as a parquet file, found no such file")
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        found = str(error).splitlines()[0][:120]
        raise FillFileError(f"{path}: expected {what} as a parquet file, found one that cannot be read: {found}") from (
            error
        )
    return checked(frame, schema, str(path), what)


def checked(frame: pl.DataFrame, schema: Mapping[str, Any], name: str, what: str) -> pl.DataFrame:
    """The columns of ``schema`` in its types; optional ones that are missing come as null.

    Raises:
        FillFileError: a column is missing or holds something else.
    """
    missing = [column for column in schema if column not in frame.columns and column not in OPTIONAL]
    if missing:
        raise FillFileError(
            f"{name}: expected {what} with {', '.join(schema)}; found no {', '.join(missing)} among "
            f"{', '.join(frame.columns[:20]) or 'no columns'}: engine/research/FIDELITY.md has the formats"
        )
    columns = []
    for column, kind in schema.items():
        if column not in frame.columns:
            columns.append(pl.Series(column, [None] * frame.height, dtype=kind))
            continue
        found = frame[column]
        is_text, wants_text = found.dtype == pl.String, kind == pl.String
        is_id = column == "order_id" and found.dtype.is_integer()
        if found.dtype != pl.Null and is_text != wants_text and not is_id:
            raise FillFileError(f"{name}: expected {column} as {kind}, found {found.dtype}: convert the column")
        try:
            columns.append(found.cast(kind))
        except pl.exceptions.InvalidOperationError as error:
            raise FillFileError(
                f"{name}: expected {column} as {kind}, found {found.dtype} values that do not fit: convert the column"
            ) from error
    return pl.DataFrame(columns)


def read_tape(path: Path) -> tuple[pl.DataFrame, dict[str, int]]:
    """A tape without the rows that no market can have said, and how many of which kind were changed.

    Rows that are left out become ``null`` kinds rather than vanish, because probes name rows by their number.

    Raises:
        FillFileError: no tape.
    """
    return clean_tape(read_table(path, TAPE_SCHEMA, "a tape"), str(path))


def clean_tape(tape: pl.DataFrame, name: str) -> tuple[pl.DataFrame, dict[str, int]]:
    """As :func:`read_tape`, of a frame. Time never goes back, and a trade that has no side gets that of the book.

    >>> rows = {"ts_ns": [1, 2, 3], "kind": ["level", "level", "trade"], "side": ["bid", "bid", None],
    ...         "price_ticks": [10, 11, 10], "size": [5, -3, 1], "aggressor": [None, None, None], "hidden": [False] * 3}
    >>> tape, found = clean_tape(pl.DataFrame(rows, schema=TAPE_SCHEMA), "example")
    >>> tape["kind"].to_list(), tape["aggressor"].to_list()
    (['level', None, 'trade'], [None, None, 'sell'])
    >>> found
    {'rows left out, with an impossible price or size': 1, 'trades without a side, told by the book': 1}
    """
    kinds = [kind for kind in tape["kind"].unique().to_list() if kind is not None and kind not in KINDS]
    if kinds:
        raise FillFileError(f"{name}: expected the kinds {', '.join(KINDS)}, found {kinds[0]!r}: is this a tape?")
    if not tape.height:
        raise FillFileError(f"{name}: expected a tape, found no row")
    if tape["ts_ns"].null_count():
        raise FillFileError(f"{name}: expected a time in every row, found {tape['ts_ns'].null_count()} without")
    found: dict[str, int] = {}

    def leave_out(reason: str, is_bad: pl.Expr) -> None:
        nonlocal tape
        bad = tape.select(is_bad.fill_null(value=True)).to_series()
        if bad.any():
            found[f"rows left out, {reason}"] = int(bad.sum())
            kind = pl.when(bad).then(pl.lit(None, pl.String)).otherwise(pl.col("kind"))
            tape = tape.with_columns(kind=kind)

    is_level, is_trade = pl.col("kind") == "level", pl.col("kind") == "trade"
    leave_out("without a kind", pl.col("kind").is_null())
    known = pl.col("kind").is_not_null()
    smallest = pl.when(is_trade).then(1).otherwise(0)
    odd = ~(pl.col("price_ticks").is_between(1, MOST) & pl.col("size").is_between(smallest, MOST))
    leave_out("with an impossible price or size", known & (is_level | is_trade) & odd.fill_null(value=True))
    no_side = ~pl.col("side").is_in(["bid", "ask"]).fill_null(value=False)
    leave_out("levels without a side", (pl.col("kind") == "level").fill_null(value=False) & no_side)
    late = int((tape["ts_ns"] < tape["ts_ns"].cum_max()).sum())
    if late:
        found["times that went back, held"] = late
        tape = tape.with_columns(pl.col("ts_ns").cum_max())
    tape = tape.with_columns(pl.col("hidden").fill_null(value=False))
    prices = tape["price_ticks"].n_unique()
    if prices > MOST_LEVELS:
        raise FillFileError(f"{name}: expected at most {MOST_LEVELS:,} prices, found {prices:,}: cut the tape")
    sided = tape["aggressor"].is_in(["buy", "sell"]).fill_null(value=False)
    asked = (tape["kind"] == "trade").fill_null(value=False) & ~sided
    if asked.any():
        told = _told_by_book(tape, asked)
        words = pl.Series(told).replace_strict({1: "sell", -1: "buy", 0: None}, return_dtype=pl.String)
        tape = tape.with_columns(aggressor=pl.when(asked).then(words).otherwise(pl.col("aggressor")))
        clear = int((told[asked.to_numpy()] != 0).sum())
        if clear:
            found["trades without a side, told by the book"] = clear
        leave_out("trades without a side inside the spread", asked & pl.col("aggressor").is_null())
    return tape, found


def _told_by_book(tape: pl.DataFrame, asked: pl.Series) -> Int64s:
    """Of each trade without a side the side that it hit: 1 bids, -1 asks, 0 neither, by the book of that moment."""
    rows = tape.select(
        kind=pl.col("kind").replace_strict({"level": 1, "clear": 3}, default=0, return_dtype=pl.Int64),
        side=pl.when(pl.col("side") == "bid").then(1).otherwise(-1).cast(pl.Int64),
        price="price_ticks",
        size="size",
        asked=asked.cast(pl.Int64),
    ).fill_null(0)
    return hit_sides(np.ascontiguousarray(rows.to_numpy()), tape["price_ticks"].n_unique() + 1)


@kernel
def hit_sides(rows: Int64s, depth: int) -> Int64s:
    """``rows``: kind (1 level, 3 clear), side, price, size, whether the side is asked for."""
    answer = np.zeros(len(rows), np.int64)
    count = np.zeros(TOP_FIELDS, np.int64)
    levels = np.zeros((2, 2, depth), np.int64)
    for row in range(len(rows)):
        kind, side, price, size, asked = rows[row]
        if kind == 3:
            count[:] = 0
        elif kind == 1:
            which = 0 if side > 0 else 1
            column = ASK_COUNT if which else BID_COUNT
            key = -price if which else price
            count[column] = set_level(levels[which, 0], levels[which, 1], count[column], key, size)
        elif asked:
            has_bid, has_ask = count[BID_COUNT] > 0, count[ASK_COUNT] > 0
            hits_bid = has_bid and price <= levels[0, 0, count[BID_COUNT] - 1]
            hits_ask = has_ask and price >= -levels[1, 0, count[ASK_COUNT] - 1]
            if hits_bid != hits_ask:
                answer[row] = 1 if hits_bid else -1
    return answer


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a parquet file whole or not at all: beside its target first.

    Raises:
        FillFileError: the place cannot be written to.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(partial, compression="zstd")
        partial.replace(path)
    except OSError as error:
        found = error.strerror or str(error)
        raise FillFileError(f"{path}: expected a place to write to, found: {found}: choose another --out") from error


def clean_ghosts(probes: pl.DataFrame, name: str, rows: int) -> tuple[pl.DataFrame, dict[str, int]]:
    """Probes that a model can run over a tape of so many rows; one that cannot rest keeps its row and never rests.

    Raises:
        FillFileError: an id stands twice, or a side is none.
    """
    doubles = probes.height - probes["order_id"].n_unique()
    if doubles:
        raise FillFileError(f"{name}: expected each order_id once, found {doubles} again: give each probe its own")
    bad_side = ~probes["side"].is_in(["bid", "ask"]).fill_null(value=False)
    if bad_side.any():
        found = probes["side"].filter(bad_side)[0]
        raise FillFileError(f"{name}: expected side bid or ask, found {found!r} in {int(bad_side.sum())} probes")
    whole = pl.all_horizontal(
        pl.col("price_ticks").is_between(1, MOST),
        pl.col("size").is_between(1, MOST),
        pl.col("queue_ahead_at_t0").is_between(0, MOST),
        pl.col("start_row").is_between(0, rows),
        pl.col("end_row").is_not_null(),
    ).fill_null(value=False)
    good = probes.select(whole).to_series()
    if good.all():
        return probes, {}
    # Size 1 with no time on the tape: a row of the answer that cannot be filled.
    never = {"price_ticks": 1, "size": 1, "queue_ahead_at_t0": 0, "start_row": rows, "end_row": 0}
    columns = [pl.when(good).then(pl.col(column)).otherwise(pl.lit(value)) for column, value in never.items()]
    return probes.with_columns(columns), {"probes that cannot rest": int((~good).sum())}
