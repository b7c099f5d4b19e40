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
from engine.core.honesty.grades import last_grade
from engine.core.jit import kernel
from engine.core.kernel import apply_level, is_crossed, refresh_top
from engine.core.queues.matching import match_crossed
from engine.core.queues.queue_models import MODELS as MODELS
from engine.core.queues.queue_models import RULES
from engine.core.queues.queue_prints import traded
from engine.core.queues.queue_samples import chance_of
from engine.core.queues.queue_settings import QueueSettings
from engine.core.queues.slots import join_queue, leave_queue
from engine.core.state import (
    ALONE,
    CAUSE_AT_PRICE,
    CLAMPED,
    F_CAUSE,
    F_CHANCE,
    F_ORDER,
    F_SIZE,
    FILL_COUNT,
    GRACE_NS,
    NOW,
    OWN,
    PESSIMIST,
    Q_LEFT,
    R_ANSWERED,
    S_REACHED,
    SAMPLES,
    TWIN_COUNT,
    Memory,
    State,
    memory_of,
)
from engine.core.types import Instrument
from engine.core.venue.paper_settings import PaperSettings
from engine.research.fill_files import PREDICTION_SCHEMA

NOTHING, LEVEL, TRADE, CLEAR = range(4)
# Columns of the tape as the loop reads it; ``side`` is 1 for bids and -1 for asks, of a trade the side that was hit.
TS, KIND, SIDE, PRICE, SIZE, ENDS = range(6)
# Columns of the probes as the loop reads them.
P_SIDE, P_PRICE, P_SIZE, P_AHEAD, P_START, P_END = range(6)
# Columns of its answer: filled size, time of the first fill (-1: none), why and how likely that was; then, when the
# ghost left, whether its level had spoken since, the pessimist had it too, and how many of its places were reached.
A_SIZE, A_FIRST_NS, A_CAUSE, A_CHANCE, A_ANSWERED, A_BACK, A_REACHED = range(7)
A_FIELDS = 7

DEFAULT_MODEL = QueueSettings().rule


class UnknownModel(Exception):
    """A name that is no queue model; the text names those that are."""


@kernel
def exorcise(m: Memory, slots: Int64s, ghost: int, answer: Int64s) -> None:
    """A ghost leaves, if it is still there; what its place says last is its answer."""
    slot = slots[ghost]
    if slot < 0:
        return
    answer[ghost, A_ANSWERED] = m.resting[slot, R_ANSWERED]
    answer[ghost, A_BACK] = m.queues[slot, PESSIMIST, Q_LEFT] <= m.queues[slot, OWN, Q_LEFT]
    answer[ghost, A_REACHED] = m.samples[slot, S_REACHED]
    if answer[ghost, A_SIZE] == 0:
        answer[ghost, A_CHANCE] = chance_of(CAUSE_AT_PRICE, False, min(answer[ghost, A_REACHED], SAMPLES // 2 - 1))
    leave_queue(m, slot)
    slots[ghost] = -1


@kernel
def haunt(flat: Int64s, tape: Int64s, probes: Int64s, ends: Int64s, rule: int) -> Int64s:
    """What happened to each ghost, columns ``A_*``; ``probes`` in the order of their first row.

    ``ends``: the same ghosts in the order of their last. ``flat`` is the kernel's own memory with room for all of them,
    set so that they know nothing of each other, as the real orders' fates belong to one order each.
    """
    m = memory_of(flat)
    count = len(probes)
    answer = np.zeros((count, A_FIELDS), np.int64)
    answer[:, A_FIRST_NS] = -1
    # Filled ghosts, which are followed for as long as the twins of a filled order.
    lingering = np.zeros((count, 2), np.int64)
    lingered = 0
    filled = 0
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
            size = one[P_SIZE]
            slots[entered] = join_queue(m, 0, side, one[P_PRICE], size, entered + 1, rule, one[P_AHEAD], 0, size)
            entered += 1
        while gone < count and probes[ends[gone], P_END] <= row:
            leaver = ends[gone]
            gone += 1
            exorcise(m, slots, leaver, answer)
        while lingered < filled and m.control[NOW] - lingering[lingered, 1] > m.control[GRACE_NS]:
            exorcise(m, slots, lingering[lingered, 0], answer)
            lingered += 1
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
            fill = m.fills[at]
            ghost = fill[F_ORDER] - 1
            if answer[ghost, A_SIZE] == 0:
                answer[ghost, A_FIRST_NS] = tape[row, TS]
                answer[ghost, A_CAUSE] = fill[F_CAUSE]
                answer[ghost, A_CHANCE] = fill[F_CHANCE]
            answer[ghost, A_SIZE] += fill[F_SIZE]
            if answer[ghost, A_SIZE] == probes[ghost, P_SIZE]:
                lingering[filled, 0] = ghost
                lingering[filled, 1] = tape[row, TS]
                filled += 1
    for ghost in range(entered):
        exorcise(m, slots, ghost, answer)
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
    settings. ``p_fill`` and ``grade`` are those of the rule in use at the fill, or when the ghost left unfilled.

    Raises:
        UnknownModel: neither one of ``MODELS`` nor a bound.
    """
    if model not in RULES:
        raise UnknownModel(f"expected a model among {', '.join(MODELS)}, front, back; found {model!r}")
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
        queue=QueueSettings(twins=()),
    )
    state.control[ALONE] = 1
    # The rules that ignore prints are measured as others use them, beyond the bounds too.
    state.control[CLAMPED] = 0 if model in ("touch", "through") else 1

    ends = np.argsort(rows[:, P_END], kind="stable")
    found = haunt(state.flat, tape_rows(tape), rows, ends, RULES.index(model))
    found = found[np.argsort(order)]
    first = [None if ns < 0 else ns for ns in found[:, A_FIRST_NS].tolist()]
    grades = [
        last_grade(cause, chance, back != 0, answered != 0, reached) if size else None
        for size, _, cause, chance, answered, back, reached in found.tolist()
    ]
    columns = {
        "order_id": probes["order_id"],
        "filled_size": found[:, A_SIZE],
        "t_first_fill_ns": first,
        "p_fill": found[:, A_CHANCE] / 1000,
        "grade": grades,
        "model": pl.repeat(model, len(found), dtype=pl.String, eager=True),
    }
    return pl.DataFrame(columns, schema=PREDICTION_SCHEMA)
