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
from engine.learn.experts import belief, ridge, turning
from engine.learn.experts.basis import ABSURD, BOUND, INPUTS, RARE, SCALES, Indices, expand, scale
from engine.learn.experts.basis import learn as learn_scales
from engine.learn.experts.interval import follow

SPEAKS_AFTER: Final = 30  # labels
TARGET_BOUND: Final = 4.0  # root mean squares of the label
SCALE_MEMORY: Final = 20_000.0  # labels
SCALE_REACH: Final = 5.0  # root mean squares: how far one label can pull their scale

# Places of single numbers: labels taken and how many were not 0; their mean square; the ring's oldest sample and how
# many wait; the interval's half-width, and what it held; next coordinates; what the factor has learned, and its prior;
# options; what had to be contained; then those of the belief and of the turning.
(LEARNED, MOVED, SQUARE, HEAD, WAITING, WIDTH, WEIGHED, INSIDE, TURN, MIX_TURN) = range(10)
(FACTOR_SQUARE, FACTOR_PRODUCT, FACTOR_STRENGTH, FACTOR_DECAY, WEIGHT, COVERAGE) = range(10, 16)
(MISSING, CLIPPED, REFUSED, LABELS_CLIPPED) = range(16, 20)
BELIEF: Final = 20
TURNING: Final = BELIEF + belief.SINGLES
SINGLES: Final = TURNING + turning.SINGLES
SIGN: Final = TURNING + turning.SIGN

# Parts of the array, one after the other, as the layout says; the experts and their mixture have parts of their own.
(BASIS, EXPERTS) = range(2)
MIX: Final = EXPERTS + ridge.PARTS
RING: Final = MIX + ridge.PARTS
LINE: Final = RING + 1
END: Final = LINE + 1
BETA: Final = EXPERTS + ridge.BETA
MIX_BETA: Final = MIX + ridge.BETA

# The draft: whether it is one, the inputs, and what becomes a row of the ring: what the mixture says, what of it is
# deserved, and what of that is believed, with the sign of now, which is the model's word; from ``SAID`` on what the
# experts say, then the features.
VALID, DRAWN = 0, 1
ROW: Final = DRAWN + INPUTS
MIXED, DESERVED, WORD, SAID = range(4)


def layout(memories: int, strengths: int, features: int, room: int, second: int) -> Indices:
    """Where each part of the array begins, of which the ring has ``room`` rows and the line those of a second.

    At ``END`` is how long it is.
    """
    experts = memories * strengths
    sizes = [SCALES, *ridge.sizes(memories, strengths, INPUTS), *ridge.sizes(1, 1, experts)]
    sizes += [room * (SAID + experts + features), second]
    return np.array(list(accumulate(sizes, initial=SINGLES)), np.int64)


def draft_size(memories: int, strengths: int, features: int) -> int:
    """How many numbers a draft takes."""
    return ROW + SAID + memories * strengths + features


# Kernels copy arrays in loops: an assignment to a slice compiles its error messages too, for five seconds.


@inlined
def _copy(source: Vector, target: Vector) -> None:
    for i in range(source.shape[0]):
        target[i] = source[i]


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
    slope = (own[FACTOR_PRODUCT] + strength) / (own[FACTOR_SQUARE] + strength)
    return float(min(max(slope, 0.0), 1.0))


@kernel
def speak(x: Vector, columns: Indices, at: Indices, state: Vector, draft: Vector) -> float:
    """Predict in the label's unit, and write down how as a draft; nan until enough was learned."""
    own, drawn = borrowed(state), borrowed(draft)
    z, row = drawn[DRAWN:ROW], drawn[ROW:]
    said = row[SAID : row.shape[0] - x.shape[0]]
    scales = own[at[BASIS] : at[EXPERTS]]
    expand(x, columns, scales, z)
    scale(scales, z)
    ridge.predict(z, own[at[BETA] : at[MIX]], said)
    mixed = ridge.dot(said, own[at[MIX_BETA] : at[RING]])
    mixed = min(max(mixed, -TARGET_BOUND), TARGET_BOUND)
    row[MIXED], row[DESERVED] = mixed, mixed * _factor(own)
    row[WORD] = row[DESERVED] * belief.belief(own[BELIEF:TURNING]) * own[SIGN]
    _copy(x, row[row.shape[0] - x.shape[0] :])
    drawn[VALID] = 1.0
    return row[WORD] * math.sqrt(own[SQUARE]) if own[LEARNED] >= SPEAKS_AFTER else math.nan


@kernel
def keep(x: Vector, columns: Indices, at: Indices, state: Vector, draft: Vector) -> None:
    """Take a sample whose label will come: what was said to it goes into the ring. The oldest makes room.

    What it shows of the second before it is evidence for the next one.
    """
    own, row = borrowed(state), borrowed(draft)[ROW:]
    if draft[VALID] == 0.0 or not _same(row[row.shape[0] - x.shape[0] :], x):
        speak(x, columns, at, state, draft)
    ring = own[at[RING] : at[LINE]]
    size = row.shape[0]
    room = ring.shape[0] // size
    slot = int(own[HEAD] + own[WAITING]) % room
    _copy(row, ring[slot * size : (slot + 1) * size])
    if own[WAITING] == room:
        own[HEAD] = (own[HEAD] + 1.0) % room
    else:
        own[WAITING] += 1.0
    move = x[columns[belief.MOVE]] * own[SIGN]
    belief.witness(x[columns[0]], move, own[BELIEF:TURNING], own[at[LINE] : at[END]])


@inlined
def _take_label(y: float, own: Vector) -> float:
    """The label in its running root mean squares, bounded; nan while all labels were 0."""
    own[LEARNED] += 1.0
    square = y * y
    # Most labels of a quiet market are 0: the bound grows where few are not, or it would press the scale down to 0, and
    # it waits until some have been.
    if own[MOVED] >= SPEAKS_AFTER:
        square = min(square, SCALE_REACH * SCALE_REACH * own[SQUARE] * max(1.0, RARE * own[LEARNED] / own[MOVED]))
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
        begin = int((int(own[HEAD]) + back) % room * size)
        if _same(ring[begin + size - x.shape[0] : begin + size], x):
            own[HEAD] = (own[HEAD] + back + 1.0) % room
            own[WAITING] -= back + 1.0
            return begin
    return -1


@inlined
def _judge(row: Vector, target: float, own: Vector) -> None:
    """Let interval, belief and factor take a label by what was said to its sample; ``target`` has the sign of now."""
    weight, mixed = own[WEIGHT], row[MIXED]
    own[WIDTH], outside = follow(own[WIDTH], abs(target * own[SIGN] - row[WORD]), own[COVERAGE], weight)
    belief.judge(row[DESERVED], target, weight, own[BELIEF:TURNING])
    own[WEIGHED] += weight
    own[INSIDE] += 0.0 if outside else weight
    own[FACTOR_SQUARE] = own[FACTOR_SQUARE] * own[FACTOR_DECAY] + weight * mixed * mixed
    own[FACTOR_PRODUCT] = own[FACTOR_PRODUCT] * own[FACTOR_DECAY] + weight * mixed * target
    turning.heed(row[DESERVED], target, weight, own[TURNING:SINGLES])


@kernel
def study(x: Vector, y: float, columns: Indices, at: Indices, state: Vector, draft: Vector) -> None:
    """Take a label: scales first, then interval, belief, factor, mixture and experts, each by what it said."""
    own, z = borrowed(state), borrowed(draft)[DRAWN:ROW]
    if not abs(y) < LABEL_LIMIT:
        own[REFUSED] += 1.0
        return
    draft[VALID] = 0.0
    for i in range(columns.shape[0]):
        own[MISSING] += not abs(x[columns[i]]) < ABSURD
    learn_scales(x, columns, own[at[BASIS] : at[EXPERTS]], z)
    for i in range(INPUTS):
        own[CLIPPED] += abs(z[i]) == BOUND
    target = _take_label(y, own)
    if target != target:
        return
    target *= own[SIGN]
    ring, size = own[at[RING] : at[LINE]], draft.shape[0] - ROW
    begin = _recall(x, own, ring, size)
    if begin >= 0:
        row = ring[begin : begin + size]
        _judge(row, target, own)
        said = row[SAID : size - x.shape[0]]
        own[MIX_TURN] = ridge.learn(said, target, own[WEIGHT], at[MIX:], own, int(own[MIX_TURN]))
    own[TURN] = ridge.learn(z, target, own[WEIGHT], at[EXPERTS:], own, int(own[TURN]))
