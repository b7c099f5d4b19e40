"""How old the news is: the age of the last book frame and the last trade, and how often the book speaks."""

from __future__ import annotations

import numpy as np

from engine.core.events import FRAME_BOOK
from engine.core.jit import kernel
from engine.features.decay import LN2
from engine.features.family import Vector

HALF_LIFE_S = 5.0
OLD_BOOK_S = 2.0
OLD_TRADE_S = 10.0

FEATURES: tuple[tuple[str, str], ...] = (
    ("book_age_log", "ln(1 + s)"),
    ("trade_age_log", "ln(1 + s)"),
    ("move_age_log", "ln(1 + s)"),
    ("book_rate_log", "ln(1 + frames/s)"),
    ("is_book_old", "0 or 1"),
    ("is_trade_old", "0 or 1"),
)
"""Name and unit of each output, in order; a trade or a move of the mid that never was is as old as the book's use."""

WARM_UP_S = 0.0

BOOK_AGE, TRADE_AGE, MOVE_AGE, FRAMES_SUM = range(4)
MEMORY = 4

_RATE = LN2 / HALF_LIFE_S


@kernel
def start(now: np.void, memory: Vector) -> None:
    """Begin at the first frame of a usable book."""
    memory[:] = 0.0


@kernel
def update(last: np.void, now: np.void, seconds: float, memory: Vector) -> None:
    """Take one frame; ``seconds`` since the one before."""
    is_book = now["flags"] & FRAME_BOOK != 0
    has_moved = now["bid"][0] + now["ask"][0] != last["bid"][0] + last["ask"][0]
    memory[BOOK_AGE] = 0.0 if is_book else memory[BOOK_AGE] + seconds
    memory[TRADE_AGE] = 0.0 if now["buys"] + now["sells"] > 0 else memory[TRADE_AGE] + seconds
    memory[MOVE_AGE] = 0.0 if has_moved else memory[MOVE_AGE] + seconds
    memory[FRAMES_SUM] *= np.exp(-_RATE * seconds)
    if is_book:
        memory[FRAMES_SUM] += 1.0


@kernel
def read(last: np.void, tick: float, seconds: float, now_ns: int, memory: Vector, out: Vector) -> None:
    """Write the features as they stand ``seconds`` after the last frame."""
    for k in range(3):
        out[k] = np.log1p(memory[BOOK_AGE + k] + seconds)
    out[3] = np.log1p(memory[FRAMES_SUM] * np.exp(-_RATE * seconds) * _RATE)
    out[4] = 1.0 if memory[BOOK_AGE] + seconds > OLD_BOOK_S else 0.0
    out[5] = 1.0 if memory[TRADE_AGE] + seconds > OLD_TRADE_S else 0.0
