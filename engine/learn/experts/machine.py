"""The primary model in three compiled calls over one array: speak of a sample, keep what was said, learn from a label.

The array is everything the model knows: copy it and put it back, and it goes on to the last bit. It also holds what was
said to the samples whose label is not known yet, in a ring; a label finds its sample by the feature vector, and what
lies before it in the ring never got a label. Speaking changes only a ``draft``, which is kept or forgotten.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Final

import numpy as np

from engine.core.jit import borrowed, inlined, kernel
from engine.features.set import Vector
from engine.learn.contract import LABEL_LIMIT
from engine.learn.experts import ridge
from engine.learn.experts.basis import ABSURD, BOUND, INPUTS, SCALES, Indices, expand, scale
from engine.learn.experts.basis import learn as learn_scales
from engine.learn.experts.interval import follow

SPEAKS_AFTER: Final = 30  # labels
TARGET_BOUND: Final = 4.0  # root mean squares of the label
SCALE_MEMORY: Final = 20_000.0  # labels
SCALE_REACH: Final = 5.0  # root mean squares: how far one label can pull their scale

# Places of single numbers: labels taken and how many were not 0; their mean square; the ring's oldest sample and how
# many wait; the interval's half-width, and what it held; next coordinates; what the factor has learned, and its prior;
# options; what had to be contained.
(LEARNED, MOVED, SQUARE, HEAD, WAITING, WIDTH, WEIGHED, INSIDE, TURN, MIX_TURN) = range(10)
(FACTOR_SQUARE, FACTOR_PRODUCT, FACTOR_STRENGTH, FACTOR_DECAY, WEIGHT, COVERAGE) = range(10, 16)
(MISSING, CLIPPED, REFUSED, LABELS_CLIPPED) = range(16, 20)
SINGLES: Final = 20

# Parts of the array, one after the other, as the layout says. Seven are what the kernel of a regression takes, for the
# experts and (``MIX``) for their mixture.
(BASIS, DECAY, STRENGTH, PRIOR, SUMS, FACTOR, RESIDUAL, BETA) = range(8)
(MIX_DECAY, MIX_STRENGTH, MIX_PRIOR, MIX_SUMS, MIX_FACTOR, MIX_RESIDUAL, MIX_BETA, RING, END) = range(8, 17)

# The draft: whether it is one, the inputs, and what becomes a row of the ring: what the mixture and what the model say,
# from ``SAID`` on what the experts say, then the features.
VALID, DRAWN = 0, 1
ROW: Final = DRAWN + INPUTS
MIXED, WORD, SAID = range(3)


def layout(memories: int, strengths: int, features: int, room: int) -> Indices:
    """Where each part of the array begins; at ``END`` is how long it is."""
    experts = memories * strengths
    sizes = [0] * END
    sizes[BASIS] = SCALES
    sizes[DECAY] = sizes[FACTOR] = memories
    sizes[STRENGTH], sizes[PRIOR] = strengths * INPUTS, INPUTS
    sizes[SUMS] = memories * INPUTS * INPUTS
    sizes[RESIDUAL] = sizes[BETA] = experts * INPUTS
    sizes[MIX_DECAY] = sizes[MIX_FACTOR] = 1
    sizes[MIX_STRENGTH] = sizes[MIX_PRIOR] = sizes[MIX_RESIDUAL] = sizes[MIX_BETA] = experts
    sizes[MIX_SUMS] = experts * experts
    sizes[RING] = room * (SAID + experts + features)
    return np.array(list(accumulate(sizes, initial=SINGLES)), np.int64)


def draft_size(memories: int, strengths: int, features: int) -> int:
    """How many numbers a draft takes."""
    return ROW + SAID + memories * strengths + features


@inlined
def _part(own: Vector, at: Indices, which: int) -> Vector:
    return own[at[which] : at[which + 1]]


@inlined
def _same(one: Vector, other: Vector) -> bool:
    """Whether two feature vectors are equal; a missing feature is nan, which equals nothing, and here another one."""
    for i in range(one.shape[0]):
        if one[i] != other[i] and not (one[i] != one[i] and other[i] != other[i]):
            return False
    return True


@inlined
def _factor(own: Vector) -> float:
    """What the mixture deserves: the ridge regression of the label on what it said, within 0 and 1."""
    strength = own[FACTOR_STRENGTH]
    return min(max((own[FACTOR_PRODUCT] + strength) / (own[FACTOR_SQUARE] + strength), 0.0), 1.0)


@kernel
def speak(x: Vector, columns: Indices, at: Indices, state: Vector, draft: Vector) -> float:
    """Predict in the label's unit, and write down how as a draft; nan until enough was learned."""
    own, drawn = borrowed(state), borrowed(draft)
    z, row = drawn[DRAWN:ROW], drawn[ROW:]
    said = row[SAID : row.shape[0] - x.shape[0]]
    expand(x, columns, _part(own, at, BASIS), z)
    scale(_part(own, at, BASIS), z)
    ridge.predict(z, _part(own, at, BETA), said)
    mixed = ridge.dot(said, _part(own, at, MIX_BETA))
    mixed = min(max(mixed, -TARGET_BOUND), TARGET_BOUND)
    row[MIXED], row[WORD] = mixed, mixed * _factor(own)
    row[row.shape[0] - x.shape[0] :] = x
    drawn[VALID] = 1.0
    return row[WORD] * math.sqrt(own[SQUARE]) if own[LEARNED] >= SPEAKS_AFTER else math.nan


@kernel
def keep(x: Vector, columns: Indices, at: Indices, state: Vector, draft: Vector) -> None:
    """Take a sample whose label will come: what was said to it goes into the ring. The oldest makes room."""
    own, row = borrowed(state), borrowed(draft)[ROW:]
    if draft[VALID] == 0.0 or not _same(row[row.shape[0] - x.shape[0] :], x):
        speak(x, columns, at, state, draft)
    ring = _part(own, at, RING)
    size = row.shape[0]
    room = ring.shape[0] // size
    slot = int(own[HEAD] + own[WAITING]) % room
    ring[slot * size : (slot + 1) * size] = row
    if own[WAITING] == room:
        own[HEAD] = (own[HEAD] + 1.0) % room
    else:
        own[WAITING] += 1.0


@inlined
def _take_label(y: float, own: Vector) -> float:
    """The label in its running root mean squares, bounded; nan while all labels were 0."""
    own[LEARNED] += 1.0
    square = y * y
    # Most labels of a quiet market are 0: a bound before some have moved would hold the scale at 0 for ever.
    if own[MOVED] >= SPEAKS_AFTER:
        square = min(square, SCALE_REACH * SCALE_REACH * own[SQUARE])
    own[MOVED] += y != 0.0
    own[SQUARE] += (square - own[SQUARE]) / min(own[LEARNED], SCALE_MEMORY)
    if own[SQUARE] <= 0.0:
        return math.nan
    target = y / math.sqrt(own[SQUARE])
    own[LABELS_CLIPPED] += abs(target) > TARGET_BOUND
    return min(max(target, -TARGET_BOUND), TARGET_BOUND)


@inlined
def _recall(x: Vector, own: Vector, ring: Vector, size: int) -> int:
    """The sample's place in the ring, or -1; it waits no more, nor do those before it, which never got a label."""
    room = ring.shape[0] // size
    for back in range(int(own[WAITING])):
        begin = (int(own[HEAD]) + back) % room * size
        if _same(ring[begin + size - x.shape[0] : begin + size], x):
            own[HEAD] = (own[HEAD] + back + 1.0) % room
            own[WAITING] -= back + 1.0
            return begin
    return -1


@kernel
def _judge(row: Vector, target: float, at: Indices, own: Vector) -> None:
    """Let interval, factor and mixture take a label by what was said to its sample."""
    weight, mixed = own[WEIGHT], row[MIXED]
    own[WIDTH], outside = follow(own[WIDTH], abs(target - row[WORD]), own[COVERAGE], weight)
    own[WEIGHED] += weight
    own[INSIDE] += 0.0 if outside else weight
    own[FACTOR_SQUARE] = own[FACTOR_SQUARE] * own[FACTOR_DECAY] + weight * mixed * mixed
    own[FACTOR_PRODUCT] = own[FACTOR_PRODUCT] * own[FACTOR_DECAY] + weight * mixed * target
    experts = at[MIX_PRIOR + 1] - at[MIX_PRIOR]
    own[MIX_TURN] = _regress(row[SAID : SAID + experts], target, MIX_DECAY, MIX_TURN, at, own)


@kernel
def _regress(z: Vector, target: float, begin: int, turn: int, at: Indices, own: Vector) -> float:
    """Let the regressions whose parts begin at ``begin`` take a label, and say which coordinate is next."""
    return ridge.learn(
        z,
        target,
        own[WEIGHT],
        _part(own, at, begin),
        _part(own, at, begin + 1),
        _part(own, at, begin + 2),
        _part(own, at, begin + 3),
        _part(own, at, begin + 4),
        _part(own, at, begin + 5),
        _part(own, at, begin + 6),
        int(own[turn]),
    )


@kernel
def study(x: Vector, y: float, columns: Indices, at: Indices, state: Vector, draft: Vector) -> None:
    """Take a label: scales first, then interval, factor, mixture and experts, each by what it said."""
    own, z = borrowed(state), borrowed(draft)[DRAWN:ROW]
    if not abs(y) < LABEL_LIMIT:
        own[REFUSED] += 1.0
        return
    draft[VALID] = 0.0
    for i in range(columns.shape[0]):
        own[MISSING] += not abs(x[columns[i]]) < ABSURD
    learn_scales(x, columns, _part(own, at, BASIS), z)
    for i in range(INPUTS):
        own[CLIPPED] += abs(z[i]) == BOUND
    target = _take_label(y, own)
    if target != target:
        return
    ring, size = _part(own, at, RING), draft.shape[0] - ROW
    begin = _recall(x, own, ring, size)
    if begin >= 0:
        _judge(ring[begin : begin + size], target, at, own)
    own[TURN] = _regress(z, target, DECAY, TURN, at, own)
