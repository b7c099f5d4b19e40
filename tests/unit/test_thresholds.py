"""The kernel wakes Python at the prices that somebody waits for, after the frame that reached them."""

from __future__ import annotations

import numpy as np
import pytest

from engine.core import events as ev
from engine.core.events import Batch
from engine.core.kernel import advance
from engine.core.state import RING_ON, WAKE, WAKE_STATE, WAKE_TRIGGER, State
from engine.core.thresholds import BY_ASK, BY_BID, BY_LAST, BY_MARK, BY_MID2, watch
from tests.market import BTC, S, depth, snapshot, trade


def woken(
    frames: list[Batch], rises: dict[int, int], falls: dict[int, int], *, moves: bool = False
) -> list[tuple[int, int]]:
    """After how many frames the kernel stopped, and why."""
    state = State([BTC], 64, max_orders=4, explain_ns=1, taken_room=4, ring_room=4)
    state.control[RING_ON] = 0
    assert advance(state.flat, snapshot(S, [(100, 5)], [(104, 5)]), 0) > 0
    assert state.control[WAKE] == WAKE_STATE
    watch(state.books.top, 0, rises, falls, moves=moves)
    batch = np.concatenate(frames)
    stops, row = [], 0
    while row < len(batch):
        row = advance(state.flat, batch, row)
        if state.control[WAKE]:
            stops.append((int((batch["flags"][:row] & ev.LAST != 0).sum()), int(state.control[WAKE])))
    return stops


FRAMES = [
    trade(S + 1, 101, 1, sell=True),
    depth(S + 2, bids=[(101, 3)]),
    trade(S + 3, 104, 1, sell=False),
    depth(S + 4, asks=[(104, 0), (106, 2)]),
    depth(S + 5, bids=[(101, 2)]),
    trade(S + 6, 99, 1, sell=True),
    depth(S + 7, bids=[(101, 0), (100, 0), (98, 2)]),
    ev.row(ev.FUNDING, symbol=0, recv_ns=S + 8, price=97, size=0),
]


@pytest.mark.parametrize(
    ("rises", "falls", "moves", "expected"),
    [
        ({BY_LAST: 104}, {BY_LAST: 99}, False, [3, 6]),
        ({BY_BID: 101}, {}, False, [2, 4, 5]),
        ({}, {BY_BID: 98}, False, [7]),
        ({BY_ASK: 106}, {}, False, [4, 5, 7]),
        ({BY_MID2: 207}, {BY_MID2: 204}, False, [4, 5, 7]),
        ({}, {BY_MARK: 97}, False, [8]),
        ({}, {}, True, [2, 4, 7]),
        ({}, {}, False, []),
    ],
)
def test_python_wakes_where_somebody_waits(
    rises: dict[int, int], falls: dict[int, int], moves: bool, expected: list[int]
) -> None:
    stops = woken(FRAMES, rises, falls, moves=moves)
    assert [frame for frame, why in stops if why & WAKE_TRIGGER] == expected
