"""How far the model is believed: between silence and what it would say, by evidence that is there early.

The prior speaks from the first minute on, and where it is wrong a horizon of half a minute needs an hour to say so, as
its labels overlap. So a word is multiplied by the chance that saying it is better than saying nothing: a mixture of
two experts, of whom one is silent, weighted by what they earned (Freund and Schapire, "A decision-theoretic
generalization of on-line learning and an application to boosting", 1997). Evidence is of two kinds, each within bounds,
so that a market which changes is noticed soon:

- what the words earned against silence, label by label;
- whether the leading input told the move of the second after it. That is a part of every horizon's label, it is known
  a second later whatever the horizon is, and where a book says nothing of the next second, the prior is wrong.
"""

from __future__ import annotations

import math
from typing import Final

from engine.core.jit import inlined
from engine.features.set import Vector
from engine.learn.experts.basis import BOUND, HEAVY, PLAIN, tame
from engine.learn.scaler import reach_of

MOVE: Final = (*PLAIN, *HEAVY).index("return_1s_bps")
"""Which of the features that are read tells, a second later, the move that the leading input spoke of."""

LEAST: Final = -3.0  # log odds that each kind of evidence says at least: a twentieth of the word is left
MOST: Final = 10.0
MEMORY: Final = 20_000.0  # samples, of what is usual
SCALES_REACH: Final = 5.0  # root mean squares; how far one value can pull their scale
MOVES_REACH: Final = 2.0  # usual moves
MOVE_BOUND: Final = 4.0  # root mean squares

# Where it keeps: samples taken; mean squares of the leading input and of moves, and their mean size; the evidence of
# the next second and of the labels, as log odds; how much a second's evidence counts a sample, and the slope that the
# prior promises it.
(SEEN, LEADS, MOVES, SIZES, NEXT, EARNED, SHARE, PROMISE) = range(8)
SINGLES: Final = 8


@inlined
def belief(kept: Vector) -> float:
    """The chance that speaking is better than silence."""
    return 1.0 / (1.0 + math.exp(-(kept[NEXT] + kept[EARNED])))


@inlined
def _add(kept: Vector, at: int, gain: float) -> None:
    kept[at] = min(max(kept[at] + gain, LEAST), MOST)


@inlined
def gained(said: float, found: float) -> float:
    """What saying it was worth against silence, in squares of what was found."""
    return said * (2.0 * found - said)


@inlined
def judge(said: float, target: float, weight: float, kept: Vector) -> None:
    """Take a label, in its root mean squares, by what would have been said with full belief."""
    _add(kept, EARNED, weight * gained(said, target))


@inlined
def witness(lead: float, move: float, kept: Vector, line: Vector) -> None:
    """Take a sample: its leading input, within -1 and 1, and the move of the last second, nan where it is not known.

    ``line`` holds the leading inputs of the last second, the oldest at its turn. Without room nothing is learned.
    """
    if line.shape[0] == 0:
        return
    turn = int(kept[SEEN]) % line.shape[0]
    before = line[turn]
    line[turn] = min(max(tame(lead), -1.0), 1.0)
    kept[SEEN] += 1.0
    weight = min(kept[SEEN], MEMORY)
    kept[LEADS] += (line[turn] ** 2 - kept[LEADS]) / weight
    if kept[SEEN] <= line.shape[0] or not abs(move) < math.inf:
        return
    size = abs(move)
    reach = reach_of(kept[MOVES], kept[SIZES], SCALES_REACH, MOVES_REACH)
    if reach > 0.0:
        size = min(size, reach)
    kept[MOVES] += (size * size - kept[MOVES]) / weight
    kept[SIZES] += (size - kept[SIZES]) / weight
    if kept[LEADS] <= 0.0 or kept[MOVES] <= 0.0:
        return
    said = kept[PROMISE] * min(max(before / math.sqrt(kept[LEADS]), -BOUND), BOUND)
    found = min(max(move / math.sqrt(kept[MOVES]), -MOVE_BOUND), MOVE_BOUND)
    _add(kept, NEXT, kept[SHARE] * gained(said, found))
