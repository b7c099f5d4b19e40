"""Ghost orders: how often does the paper venue's queue rule say what really happened to a real order?

A recording of single orders tells the true fate of each; a *ghost* of the same side, price and size stands in its place
in the queue, and the kernel's own functions say what they would have made of it, from level sizes and trades alone.

    papertape ghosts es.tape.parquet es.probes.parquet --out predictions.parquet

The predictions are then scored against the true fates (``papertape fidelity`` does both).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from engine.core.book import ASK, ASK_COUNT, BID, BID_COUNT, IS_READY, TOP_FIELDS, Int64s, set_level
from engine.core.jit import kernel
from engine.core.kernel import is_crossed, refresh_top
from engine.core.matching import match_crossed, refresh_taken
from engine.core.paper_settings import PaperSettings
from engine.core.queue import level_changed, traded
from engine.core.state import (
    CONTROL_FIELDS,
    EXPLAIN_NS,
    F_SIZE,
    FILL_COUNT,
    FILL_FIELDS,
    NOW,
    R_AHEAD,
    R_FIRST_AHEAD,
    R_LEFT,
    R_ORDER,
    R_PRICE,
    R_SIDE,
    RESTING_COUNT,
    RESTING_FIELDS,
    TAKEN_COUNT,
    TAKEN_FIELDS,
    TAKEN_HERE,
    TAKEN_ROOM,
)
from engine.research.fill_files import PREDICTION_SCHEMA

NOTHING, LEVEL, TRADE, CLEAR = range(4)
# Columns of the tape as the loop reads it; ``side`` is 1 for bids and -1 for asks, of a trade the side that was hit.
TS, KIND, SIDE, PRICE, SIZE, ENDS = range(6)
# Columns of the probes as the loop reads them.
P_SIDE, P_PRICE, P_SIZE, P_AHEAD, P_START, P_END = range(6)

TAKEN_LEVELS = 8
"""Opposite levels that one ghost remembers to have taken."""

MODELS = ("risk_averse",)
"""The queue models that the kernel has, by the names that people type."""
DEFAULT_MODEL = MODELS[0]


class UnknownModel(Exception):
    """A name that is no queue model; the text names those that are."""


@kernel
def haunt(tape: Int64s, probes: Int64s, explain_ns: int, depth: int) -> Int64s:
    """Filled size and time of the first fill (-1: none) of each ghost; ``probes`` in the order of their first row.

    Ghosts know nothing of each other, as the real orders' fates belong to one order each: every ghost is alone in a
    resting table, a memory of what it took and a list of fills of its own. The book is the same for all.
    """
    count = len(probes)
    answer = np.zeros((count, 2), np.int64)
    answer[:, 1] = -1
    control = np.zeros(CONTROL_FIELDS, np.int64)
    control[EXPLAIN_NS] = explain_ns
    control[RESTING_COUNT] = 1
    control[TAKEN_ROOM] = TAKEN_LEVELS
    top = np.zeros((1, TOP_FIELDS), np.int64)
    top[0, IS_READY] = 1
    levels = np.zeros((1, 2, 2, depth), np.int64)
    resting = np.zeros((count, 1, RESTING_FIELDS), np.int64)
    taken = np.zeros((count, TAKEN_LEVELS, TAKEN_FIELDS), np.int64)
    taken_count = np.zeros(count, np.int64)
    fills = np.zeros((4 * depth, FILL_FIELDS), np.int64)
    active = np.zeros(count, np.int64)
    haunting = 0
    entered = 0
    changed = False
    for row in range(len(tape)):
        while entered < count and probes[entered, P_START] <= row:
            ghost = resting[entered, 0]
            ghost[R_ORDER] = entered + 1
            ghost[R_SIDE] = probes[entered, P_SIDE]
            ghost[R_PRICE] = probes[entered, P_PRICE]
            ghost[R_LEFT] = probes[entered, P_SIZE]
            ghost[R_AHEAD] = probes[entered, P_AHEAD]
            ghost[R_FIRST_AHEAD] = probes[entered, P_AHEAD]
            active[haunting] = entered
            haunting += 1
            entered += 1
        kept = 0
        for i in range(haunting):
            one = active[i]
            if probes[one, P_END] > row and resting[one, 0, R_LEFT] > 0:
                active[kept] = one
                kept += 1
        haunting = kept

        control[NOW] = tape[row, TS]
        kind = tape[row, KIND]
        side = tape[row, SIDE]
        price = tape[row, PRICE]
        size = tape[row, SIZE]
        which = 0 if side > 0 else 1
        if kind == LEVEL:
            column = ASK_COUNT if which else BID_COUNT
            key = -price if which else price
            top[0, column] = set_level(levels[0, which, 0], levels[0, which, 1], top[0, column], key, size)
        elif kind == CLEAR:
            top[0, BID_COUNT] = 0
            top[0, ASK_COUNT] = 0
        refresh_top(top, levels, 0)
        # As the kernel: once a frame that changed the book, here all rows of an instant, and never a crossed book.
        changed = changed or kind == LEVEL
        looks = changed and tape[row, ENDS] and not is_crossed(top, 0)
        if tape[row, ENDS]:
            changed = False
        for i in range(haunting):
            one = active[i]
            control[FILL_COUNT] = 0
            control[TAKEN_COUNT] = taken_count[one]
            top[0, TAKEN_HERE] = taken_count[one]
            if kind == LEVEL:
                level_changed(control, resting[one], 0, side, price, size)
                if taken_count[one] > 0:
                    refresh_taken(control, top, taken[one], 0, which, price)
            elif kind == TRADE:
                traded(control, resting[one], fills, 0, side, price, size)
            if looks and resting[one, 0, R_LEFT] > 0:
                opposite = top[0, ASK if resting[one, 0, R_SIDE] > 0 else BID]
                if opposite != 0 and (resting[one, 0, R_PRICE] - opposite) * resting[one, 0, R_SIDE] >= 0:
                    match_crossed(control, top, levels, resting[one], taken[one], fills, 0)
            taken_count[one] = control[TAKEN_COUNT]
            for at in range(control[FILL_COUNT]):
                if answer[one, 0] == 0:
                    answer[one, 1] = tape[row, TS]
                answer[one, 0] += fills[at, F_SIZE]
    return answer


def tape_rows(tape: pl.DataFrame) -> Int64s:
    """The tape as integers. A hidden order stands behind all displayed ones: what traded against it met no queue."""
    is_trade = (pl.col("kind") == "trade").fill_null(value=False)
    is_bid = pl.when(is_trade).then(pl.col("aggressor") == "sell").otherwise(pl.col("side") == "bid")
    names = {"level": LEVEL, "trade": TRADE, "clear": CLEAR}
    kind = pl.col("kind").replace_strict(names, default=NOTHING, return_dtype=pl.Int64)
    columns = tape.select(
        "ts_ns",
        kind=pl.when(is_trade & pl.col("hidden")).then(pl.lit(NOTHING)).otherwise(kind),
        side=pl.when(is_bid).then(pl.lit(1)).otherwise(pl.lit(-1)),
        price=pl.col("price_ticks").fill_null(0),
        size=pl.col("size").fill_null(0),
        ends=pl.col("ts_ns").ne_missing(pl.col("ts_ns").shift(-1)),
    )
    return np.ascontiguousarray(columns.cast(pl.Int64).to_numpy())


def predict(
    tape: pl.DataFrame, probes: pl.DataFrame, model: str = DEFAULT_MODEL, explain_ns: int | None = None
) -> pl.DataFrame:
    """What the paper venue would have told each probe's owner, in the order of the probes: ``PREDICTION_SCHEMA``.

    ``tape`` and ``probes`` as :mod:`engine.research.fill_files` reads them; ``explain_ns`` as in the paper venue's
    settings. A rule without probabilities says 1 or 0 as ``p_fill``.

    Raises:
        UnknownModel: not one of ``MODELS``.
    """
    if model not in MODELS:
        raise UnknownModel(f"expected a model among {', '.join(MODELS)}; found {model!r}")
    order = np.argsort(probes["start_row"].to_numpy(), kind="stable")
    entered = probes[order]
    ghosts = entered.select(
        pl.when(pl.col("side") == "bid").then(pl.lit(1)).otherwise(pl.lit(-1)).alias("sign"),
        "price_ticks",
        "size",
        "queue_ahead_at_t0",
        "start_row",
        "end_row",
    )
    wait_ns = PaperSettings().explain_ns if explain_ns is None else explain_ns
    depth = tape["price_ticks"].n_unique() + 1
    found = haunt(tape_rows(tape), np.ascontiguousarray(ghosts.cast(pl.Int64).to_numpy()), wait_ns, depth)
    found = found[np.argsort(order)]
    first = [None if ns < 0 else ns for ns in found[:, 1].tolist()]
    columns = {
        "order_id": probes["order_id"],
        "filled_size": found[:, 0],
        "t_first_fill_ns": first,
        "p_fill": (found[:, 0] > 0).astype(np.float64),
        "grade": pl.repeat(None, len(found), dtype=pl.String, eager=True),
        "model": pl.repeat(model, len(found), dtype=pl.String, eager=True),
    }
    return pl.DataFrame(columns, schema=PREDICTION_SCHEMA)
