"""The same market through a slower feed: levels published on a grid of time, trades at their own time.

As most crypto venues publish: at each step of the grid the last value of every level that changed in the interval, in
the order in which they first changed, after the interval's trades.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from engine.core.book import Int64s
from engine.research.fill_files import TAPE_SCHEMA


def slowed(tape: pl.DataFrame, every_ns: int) -> tuple[pl.DataFrame, Int64s]:
    """The slower tape, and for each row of the old one (and its end) the row of the new one that it stands before.

    A level that changed in an interval and came back is published too, as venues do. What waits to be published when
    the book is cleared never was.

    >>> rows = [(1, "level", "bid", 9, 5), (2, "trade", None, 9, 1), (3, "level", "bid", 9, 4),
    ...         (11, "level", "bid", 8, 1)]
    >>> tape = pl.DataFrame([(*row, None, False) for row in rows], schema=TAPE_SCHEMA, orient="row")
    >>> slow, row_map = slowed(tape, 10)
    >>> slow.select("ts_ns", "kind", "price_ticks", "size").rows()
    [(2, 'trade', 9, 1), (10, 'level', 9, 4), (20, 'level', 8, 1)]
    >>> row_map.tolist()
    [0, 0, 1, 2, 3]
    """
    if every_ns <= 0:
        return tape, np.arange(tape.height + 1, dtype=np.int64)
    rows: list[tuple[Any, ...]] = []
    row_map = np.empty(tape.height + 1, np.int64)
    waiting: dict[tuple[str, int], int] = {}
    due_ns = 0

    def publish() -> None:
        rows.extend((due_ns, "level", side, price, size, None, False) for (side, price), size in waiting.items())
        waiting.clear()

    for at, row in enumerate(tape.iter_rows()):
        ns, kind, side, price, size, _, _ = row
        if waiting and ns > due_ns:
            publish()
        row_map[at] = len(rows)
        if kind == "level":
            waiting[side, price] = size
            due_ns = -(-ns // every_ns) * every_ns
            continue
        if kind == "clear":
            waiting.clear()
        rows.append(row)
    publish()
    row_map[tape.height] = len(rows)
    return pl.DataFrame(rows, schema=TAPE_SCHEMA, orient="row"), row_map


def moved(probes: pl.DataFrame, row_map: Int64s) -> pl.DataFrame:
    """Probes of a tape with their rows where they are on the slower one."""
    last = len(row_map) - 1
    at = {column: row_map[np.clip(probes[column].to_numpy(), 0, last)] for column in ("start_row", "end_row")}
    return probes.with_columns(**{column: pl.Series(rows, dtype=pl.Int64) for column, rows in at.items()})
