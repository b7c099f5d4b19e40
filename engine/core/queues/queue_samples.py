"""The ``fitted`` rule: not one guess of who stands in front of us, but sixteen, each a possible place in the queue.

A cancel, a fall of the level that no print explains, stood in front of us with a probability whose logit is

    share + SHAPE * ln(ahead / behind)

which is far less than in proportion, as who waits longest leaves least. Both numbers were measured on the ES future
(CME, order by order, 30 minutes; 71,000 pairs of a resting order and a cancel at its level): -1.55 and 0.38, in the
first 15 minutes -1.53 and 0.38, in the second -1.58 and 0.38. They are free of any unit; ``calibration.py`` follows the
share of each symbol. Every place draws for itself whether the cancel was in front of it, with draws spread evenly over
the places. The order trades when half of them were reached, and the share of those reached is its chance.

A cancel that comes with a print's own level change came before it: the level's answer to a print is taken apart into
the cancel first, then the print, and who is reached only then trades then. A fall is taken as two cancels of half its
size, as at 100 ms it is several. Sizes are integers in the instrument's units; the draws come from a counter.
"""

from __future__ import annotations

from math import exp
from typing import Final

import numpy as np

from engine.core.book import Int64s
from engine.core.jit import borrowing
from engine.core.queues.implied import SHAPE
from engine.core.state import (
    CAUSE_AT_PRICE,
    P_REACH,
    P_REACH_SHARE,
    P_SHARE,
    S_AHEAD,
    S_DRAW,
    S_FELL,
    S_FELL_NS,
    S_FROM,
    S_MOST,
    S_REACHED,
    S_SET,
    S_UNANSWERED,
    S_UNANSWERED_NS,
    S_WAS,
    SAMPLES,
    Float64s,
)

DRAWS: Final = 1024
STRIDE: Final = 633
"""Between the draws of neighbours: DRAWS times the golden ratio, an odd number, so that any few spread evenly."""
HALF_STRIDE: Final = 773
AHEAD_OF_PRINT: Final = 10
"""A fall waits for its print this many times shorter than a print for its fall: where levels come at 100 ms, any longer
and most falls would be taken for the prints of the next interval."""
SURE: Final = 988
"""The chance, per mille, of a fill at the price that the pessimist has too."""
MIDDLE: Final = SAMPLES // 2 - 1
"""The place that decides: when it is reached, so is half of all."""

REACH = np.array([round(((DRAWS - i - 0.5) / (i + 0.5)) ** (1 / SHAPE), 9) for i in range(DRAWS)])
"""For each draw the largest size behind us, as a multiple of the size ahead and of ``reach_of`` the share, with which a
cancel still is in front."""


@borrowing
def reach_of(params: Float64s) -> float:
    """Of a symbol's share, a logit, the ratio of ahead to behind at which a cancel is as likely in front, inverted.

    >>> params = np.zeros(16)
    >>> params[P_SHARE] = -1.55
    >>> round(reach_of(params), 3)
    0.017
    """
    if params[P_REACH] == 0.0 or params[P_REACH_SHARE] != params[P_SHARE]:
        params[P_REACH] = exp(params[P_SHARE] / SHAPE)
        params[P_REACH_SHARE] = params[P_SHARE]
    return float(params[P_REACH])


@borrowing
def sort_places(row: Int64s) -> None:
    """Smallest first, which only prints need; mostly they nearly are."""
    for i in range(S_AHEAD + 1, S_AHEAD + SAMPLES):
        place = row[i]
        at = i
        while at > S_AHEAD and row[at - 1] > place:
            row[at] = row[at - 1]
            at -= 1
        row[at] = place


@borrowing
def cancel_places(row: Int64s, cancel: int, level: int, draw: int, reach: float) -> None:
    """Of a level of size ``level`` so much was cancelled: move the places that it was in front of."""
    gone = 0
    if 4 * cancel > level and cancel > 1:
        gone = cancel // 2
        for i in range(SAMPLES):
            ahead = row[S_AHEAD + i]
            is_front = ahead * reach * REACH[(draw + HALF_STRIDE + i * STRIDE) & (DRAWS - 1)] > level - ahead
            row[S_AHEAD + i] = max(0, ahead - gone) if is_front else ahead
    left, size = level - gone, cancel - gone
    for i in range(SAMPLES):
        ahead = row[S_AHEAD + i]
        is_front = ahead * reach * REACH[(draw + i * STRIDE) & (DRAWS - 1)] > left - ahead
        row[S_AHEAD + i] = max(0, ahead - size) if is_front else ahead


@borrowing
def cap_places(row: Int64s, most: int) -> None:
    """Nobody stands behind more than this."""
    for i in range(SAMPLES):
        row[S_AHEAD + i] = min(row[S_AHEAD + i], most)
    row[S_MOST] = most


@borrowing
def reach_places(row: Int64s, printed: int) -> None:
    """Count the places, sorted, that prints of this much have reached."""
    reached = row[S_REACHED]
    while reached < SAMPLES and row[S_AHEAD + reached] < printed:
        reached += 1
    row[S_REACHED] = reached


@borrowing
def answer_places(row: Int64s) -> None:
    """What was printed is now in the level: the places move up by it."""
    printed = row[S_UNANSWERED]
    for i in range(SAMPLES):
        row[S_AHEAD + i] = max(0, row[S_AHEAD + i] - printed)
    row[S_MOST] = max(0, row[S_MOST] - printed)
    row[S_UNANSWERED] = 0


@borrowing
def place_ahead(row: Int64s) -> int:
    """The size in front of the deciding place, all prints counted; sorts them."""
    sort_places(row)
    return int(max(0, row[S_AHEAD + MIDDLE] - row[S_UNANSWERED]))


@borrowing
def join_places(row: Int64s, ahead: int, order: int) -> None:
    """An order joins behind ``ahead``: that is known."""
    row[:] = 0
    row[S_AHEAD : S_AHEAD + SAMPLES] = ahead
    row[S_MOST] = ahead
    row[S_DRAW] = (order & 0xFFFFFF) * 2654435 & 0x7FFFFFFF


@borrowing
def rejoin_places(row: Int64s, shown: int) -> None:
    """The order loses its place: it now stands behind all that the level shows, less the prints not yet in it."""
    row[S_AHEAD : S_AHEAD + SAMPLES] = shown
    row[S_MOST] = shown
    row[S_FELL] = 0
    row[S_REACHED] = 0


@borrowing
def place_level(row: Int64s, now: int, explain_ns: int, before: int, size: int, params: Float64s) -> int:
    """The level went from ``before`` to ``size``; ``params``: the symbol's.

    Returned is the size in front of the deciding place before the prints that the level answers, 0 where it answers
    none. Their own size is still in ``S_UNANSWERED``; ``answer_places`` comes next.
    """
    if row[S_UNANSWERED] > 0 and now - row[S_UNANSWERED_NS] > explain_ns:
        answer_places(row)
    printed = row[S_UNANSWERED]
    cancel = before - size - printed
    row[S_FELL] = 0
    if row[S_MOST] == 0:
        return 0
    if cancel > 0:
        row[S_DRAW] = (row[S_DRAW] * 1103515245 + 12345) & 0x7FFFFFFF
        if printed == 0:
            for i in range(SAMPLES):
                row[S_WAS + i] = row[S_AHEAD + i]
            row[S_FELL] = cancel
            row[S_FELL_NS] = now
            row[S_FROM] = before
            row[S_SET] = 0
        cancel_places(row, cancel, before, row[S_DRAW] >> 8, reach_of(params))
    if row[S_MOST] > size + printed:
        cap_places(row, size + printed)
    if printed == 0:
        return 0
    sort_places(row)
    reach_places(row, printed)
    return int(row[S_AHEAD + MIDDLE])


@borrowing
def place_print(row: Int64s, now: int, explain_ns: int, size: int, params: Float64s) -> int:
    """A trade of ``size`` at our price; the size in front of the deciding place just before it."""
    if row[S_UNANSWERED] > 0 and now - row[S_UNANSWERED_NS] > explain_ns:
        answer_places(row)
    before = 0
    if row[S_FELL] > row[S_SET] and AHEAD_OF_PRINT * (now - row[S_FELL_NS]) <= explain_ns:
        # The level told first what now is printed: so much of its fall was no cancel.
        explained = min(size, row[S_FELL] - row[S_SET])
        before = row[S_SET]
        row[S_SET] += explained
        for i in range(SAMPLES):
            row[S_AHEAD + i] = row[S_WAS + i]
        row[S_MOST] = row[S_FROM]
        if row[S_FELL] > row[S_SET]:
            cancel_places(row, row[S_FELL] - row[S_SET], row[S_FROM], row[S_DRAW] >> 8, reach_of(params))
        sort_places(row)
        front = max(0, row[S_AHEAD + MIDDLE] - before)
        row[S_UNANSWERED] = row[S_SET] + size - explained
        reach_places(row, row[S_UNANSWERED])
        row[S_UNANSWERED] = row[S_SET]
        answer_places(row)
        row[S_UNANSWERED] = size - explained
    else:
        front = place_ahead(row)
        row[S_UNANSWERED] += size
        reach_places(row, row[S_UNANSWERED])
    row[S_UNANSWERED_NS] = now
    return int(front)


@borrowing
def place_through(row: Int64s) -> None:
    """A print went through our price: nobody is left in front."""
    row[S_AHEAD : S_AHEAD + SAMPLES] = 0
    row[S_MOST] = 0
    row[S_UNANSWERED] = 0
    row[S_FELL] = 0
    row[S_REACHED] = SAMPLES


@borrowing
def settle_places(row: Int64s, size: int) -> None:
    """A fresh book shows ``size``: nobody stands behind more, nothing waits for an answer."""
    answer_places(row)
    row[S_FELL] = 0
    cap_places(row, min(row[S_MOST], size))


@borrowing
def chance_of(cause: int, is_sure: bool, reached: int) -> int:
    """Per mille, how likely a real order would have had a fill of ours; ``is_sure``: the pessimist had it too.

    Measured on the ghost orders of ES, tick by tick and at 100 ms, of which fills came true: .988 of 4,600 that the
    pessimist shares, .97 of 190 where prints reached all places, .93 of 870 where they reached at least half of them,
    and of orders whose places were reached in part a quarter of that part (the others' owners were gone in time).

    >>> chance_of(1, True, 16), chance_of(1, False, 16), chance_of(1, False, 8), chance_of(1, False, 4)
    (988, 970, 930, 62)
    """
    if cause != CAUSE_AT_PRICE:
        return 1000
    if is_sure:
        return SURE
    if reached == SAMPLES:
        return 970
    return 930 if 2 * reached >= SAMPLES else 250 * reached // SAMPLES
