"""Ghost orders: how often does the paper venue's queue rule say what really happened to a real order?

A recording of single orders tells the true fate of each; a *ghost* of the same side, price and size stands in its place
in the queue, and the kernel's own functions say what they would have made of it, from level sizes and trades alone.

    papertape ghosts es.tape.parquet es.probes.parquet --out predictions.parquet

The predictions are then scored against the true fates (``papertape fidelity`` does both).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from engine.core.book import ASK_COUNT, BID_COUNT, IS_READY, Int64s
from engine.core.jit import kernel
from engine.core.kernel import apply_level, is_crossed, refresh_top
from engine.core.matching import match_crossed
from engine.core.paper_settings import PaperSettings
from engine.core.queue import traded
from engine.core.queue_models import MODELS as MODELS
from engine.core.queue_models import RULES
from engine.core.queue_settings import QueueSettings
from engine.core.slots import join_queue, leave_queue
from engine.core.state import (
    ALONE,
    CLAMPED,
    F_ORDER,
    F_SIZE,
    FILL_COUNT,
    NOW,
    TWIN_COUNT,
    State,
    memory_of,
)
from engine.core.types import Instrument
from engine.research.fill_files import PREDICTION_SCHEMA

NOTHING, LEVEL, TRADE, CLEAR = range(4)
# Columns of the tape as the loop reads it; ``side`` is 1 for bids and -1 for asks, of a trade the side that was hit.
TS, KIND, SIDE, PRICE, SIZE, ENDS = range(6)
# Columns of the probes as the loop reads them.
P_SIDE, P_PRICE, P_SIZE, P_AHEAD, P_START, P_END = range(6)

DEFAULT_MODEL = QueueSettings().model


class UnknownModel(Exception):
    """A name that is no queue model; the text names those that are."""


@kernel
def haunt(flat: Int64s, tape: Int64s, probes: Int64s, ends: Int64s, rule: int) -> Int64s:
    """Filled size and time of the first fill (-1: none) of each ghost; ``probes`` in the order of their first row.

    ``ends``: the same ghosts in the order of their last. ``flat`` is the kernel's own memory with room for all of them,
    set so that they know nothing of each other, as the real orders' fates belong to one order each.
    """
    m = memory_of(flat)
    count = len(probes)
    answer = np.zeros((count, 2), np.int64)
    answer[:, 1] = -1
    slots = np.full(count, -1, np.int64)
    m.top[0, IS_READY] = 1
    entered = 0
    gone = 0
    changed = False
    for row in range(len(tape)):
        m.control[NOW] = tape[row, TS]
        while entered < count and probes[entered, P_START] <= row:
            one = probes[entered]
            side = one[P_SIDE]
            slots[entered] = join_queue(m, 0, side, one[P_PRICE], one[P_SIZE], entered + 1, rule, one[P_AHEAD], 0)
            entered += 1
        while gone < count and probes[ends[gone], P_END] <= row:
            leaver = ends[gone]
            gone += 1
            if slots[leaver] >= 0:
                leave_queue(m, slots[leaver])
                slots[leaver] = -1
        kind = tape[row, KIND]
        side = tape[row, SIDE]
        price = tape[row, PRICE]
        size = tape[row, SIZE]
        m.control[FILL_COUNT] = 0
        m.control[TWIN_COUNT] = 0
        if kind == LEVEL:
            apply_level(m, 0, 0 if side > 0 else 1, price, size)
        elif kind == TRADE:
            traded(m, 0, side, price, size)
        elif kind == CLEAR:
            m.top[0, BID_COUNT] = 0
            m.top[0, ASK_COUNT] = 0
        # As the kernel: once a frame that changed the book, here all rows of an instant, and never a crossed book.
        changed = changed or kind == LEVEL
        if tape[row, ENDS]:
            refresh_top(m.top, m.levels, 0)
            if changed and not is_crossed(m.top, 0):
                match_crossed(m, 0)
            changed = False
        for at in range(m.control[FILL_COUNT]):
            one_filled = m.fills[at, F_ORDER] - 1
            if answer[one_filled, 0] == 0:
                answer[one_filled, 1] = tape[row, TS]
            answer[one_filled, 0] += m.fills[at, F_SIZE]
            if answer[one_filled, 0] == probes[one_filled, P_SIZE]:
                leave_queue(m, slots[one_filled])
                slots[one_filled] = -1
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
    rows = np.ascontiguousarray(ghosts.cast(pl.Int64).to_numpy())
    state = State(
        (Instrument(venue="ghosts", symbol="GHOST", base="GHOST", quote="TICK", price_decimals=0, size_decimals=0),),
        tape["price_ticks"].n_unique() + 1,
        max_orders=max(1, len(rows)),
        explain_ns=PaperSettings().explain_ns if explain_ns is None else explain_ns,
        taken_room=1 + 8 * len(rows),
        ring_room=1,
        queue=QueueSettings(model=model, twins=()),
    )
    state.control[ALONE], state.control[CLAMPED] = 1, 0
    ends = np.argsort(rows[:, P_END], kind="stable")
    found = haunt(state.flat, tape_rows(tape), rows, ends, RULES.index(model))
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
