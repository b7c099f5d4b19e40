"""Queues taken apart into orders hold together whatever the feed says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import events as ev
from engine.core.queues.implied import (
    GRID,
    HOURS,
    I_COUNT,
    I_FELL,
    I_SIDE,
    I_TOTAL,
    I_TRADED,
    LEVEL_FIELDS,
    LEVELS,
    ROOM,
    S_CANCELS,
    S_MATCHED,
    S_TOLD,
    SEEN_FIELDS,
    follow,
)
from engine.core.state import START_SHARE

row = st.tuples(
    st.sampled_from([ev.LEVEL, ev.LEVEL, ev.LEVEL, ev.TRADE, ev.CLEAR, ev.GAP, ev.MARK]),
    st.sampled_from([100, 100, 101, 102, 0, -1, 2**53]),
    st.sampled_from([0, 0, 1, 2, 3, 5, 8, -4, 2**53]),
    st.integers(0, 3),
    st.integers(0, 400_000_000),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(row, max_size=150), st.integers(1, 150))
def test_sizes_add_up_and_blocks_change_nothing(rows: list[tuple[int, int, int, int, int]], cut: int) -> None:
    batch = ev.rows(len(rows) + 1)
    batch[0]["kind"], batch[0]["price"], batch[0]["size"] = ev.TRADE, 101, 1
    ns = 0
    for at, (kind, price, size, flags, wait) in zip(batch[1:], rows, strict=True):
        ns += wait
        at["kind"], at["price"], at["size"], at["flags"], at["recv_ns"] = kind, price, size, flags, ns
    answers = []
    for borders in ((0, len(batch)), (0, min(cut, len(batch)), len(batch))):
        followed = np.zeros((1, LEVELS, LEVEL_FIELDS), np.int64)
        sizes = np.zeros((1, LEVELS, ROOM), np.int64)
        seen = np.zeros((1, SEEN_FIELDS), np.int64)
        likelihood = np.zeros((1, HOURS, GRID + 1))
        for first, end in pairwise(borders):
            follow(batch, first, end, followed, sizes, seen, likelihood, np.full(1, START_SHARE), 200_000_000)
        for level, orders in zip(followed[0], sizes[0], strict=True):
            if level[I_SIDE]:
                here = orders[: level[I_COUNT]]
                assert (here > 0).all() and here.sum() == level[I_TOTAL]
                assert 0 <= level[I_FELL] <= level[I_TOTAL] and level[I_TRADED] >= 0
        assert seen[0, S_TOLD] <= seen[0, S_MATCHED] <= seen[0, S_CANCELS]
        assert np.isfinite(likelihood).all() and (likelihood[:, :, :GRID] <= 1e-9).all()
        assert likelihood[..., GRID].sum() == seen[0, S_TOLD]
        answers.append((followed.tobytes(), sizes.tobytes(), seen.tobytes(), likelihood.tobytes()))
    assert answers[0] == answers[1]
