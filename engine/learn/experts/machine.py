"""The primary model in two compiled calls over one array: what it says to a sample, and what it learns from a label.

The array is everything the model knows: copy it and put it back, and it goes on to the last bit. It also holds what was
said to the samples whose label is not known yet, in a ring; a label finds its sample by the feature vector, and what
lies before it in the ring never got a label.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from engine.core.jit import borrowed, kernel
from engine.features.set import Vector
from engine.learn.experts import ridge
from engine.learn.experts.basis import Indices, expand, scale
from engine.learn.experts.basis import learn as learn_scales
from engine.learn.experts.interval import follow

SPEAKS_AFTER: Final = 30  # labels
TARGET_BOUND: Final = 4.0  # root mean squares of the label
SCALE_MEMORY: Final = 20_000.0  # labels
SCALE_REACH: Final = 5.0  # root mean squares: how far one label can pull their scale

# Places of single numbers.
LEARNED, MOVED, SQUARE, HEAD, WAITING, WIDTH, WEIGHED, INSIDE, SCALED, TURN, MIXTURE_TURN, FACTOR_TURN = range(12)
SINGLES: Final = 12

# Places of parts in the array, and sizes, in the layout.
(
    ODD,
    PLAIN,
    EVEN,
    MODULATED,
    INPUTS,
    MEMORIES,
    STRENGTHS,
    FEATURES,
    ROOM,
    SIZES,
    EVEN_SIZES,
    EVENS,
    SCALES,
    OUT,
    DECAY,
    STRENGTH,
    PRIOR,
    SUMS,
    FACTOR,
    RESIDUAL,
    BETA,
    SAID,
    MIX,
    DESERVED,
    RING,
    CONSTANTS,
    END,
) = range(27)

WEIGHT, COVERAGE, MIXTURE_STRENGTH, FACTOR_STRENGTH, MIXTURE_DECAY = range(5)
"""Places in the part of constants."""


def small(width: int, strengths: int) -> int:
    """How many numbers a regression over one memory takes: sums, factor, residual, weights, prior, strength, decay."""
    return width * width + 1 + 2 * strengths * width + width + strengths * width + 1


def layout(odd: int, plain: int, even: int, modulated: int, inputs: int, memories: int, strengths: int, features: int,
           room: int) -> Indices:  # fmt: skip
    """Where each part of the array begins; the first nine entries are the sizes themselves."""
    made = np.zeros(END + 1, np.int64)
    experts = memories * strengths
    made[: ROOM + 1] = (odd, plain, even, modulated, inputs, memories, strengths, features, room)
    parts = {
        SIZES: odd,
        EVEN_SIZES: even,
        EVENS: 4 * even,
        SCALES: 4 * inputs,
        OUT: inputs,
        DECAY: memories,
        STRENGTH: strengths * inputs,
        PRIOR: inputs,
        SUMS: memories * inputs * inputs,
        FACTOR: memories,
        RESIDUAL: experts * inputs,
        BETA: experts * inputs,
        SAID: experts,
        MIX: small(experts, 1),
        DESERVED: small(1, 1),
        RING: room * (features + experts + 2),
        CONSTANTS: 5,
    }
    at = SINGLES
    for part, size in parts.items():
        made[part] = at
        at += size
    made[END] = at
    return made


@kernel
def _mix(z: Vector, target: float, weight: float, part: Vector, turn: npt.NDArray[np.int64]) -> None:
    """Let a small regression over one memory take a label; ``part`` as in ``small``."""
    n = z.shape[0]
    at = n * n
    ridge.learn(
        z,
        target,
        weight,
        part[at + 1 + 4 * n : at + 2 + 4 * n],
        part[at + 1 + 3 * n : at + 1 + 4 * n].reshape(1, n),
        part[at + 1 + 2 * n : at + 1 + 3 * n],
        part[:at].reshape(1, n, n),
        part[at : at + 1],
        turn,
        part[at + 1 : at + 1 + n].reshape(1, 1, n),
        part[at + 1 + n : at + 1 + 2 * n].reshape(1, 1, n),
    )


@kernel
def _weights(part: Vector, n: int) -> Vector:
    """The weights of a small regression."""
    return part[n * n + 1 + n : n * n + 1 + 2 * n]


@kernel
def _inputs(x: Vector, where: Indices, at: Indices, own: Vector) -> Vector:
    """The scaled inputs of a feature vector."""
    odd, even, width = at[ODD], at[EVEN], at[INPUTS]
    out = own[at[OUT] : at[OUT] + width]
    expand(
        x,
        where[:odd],
        at[PLAIN],
        where[odd : odd + even],
        where[odd + even : odd + 2 * even],
        where[odd + 2 * even :],
        own[at[SIZES] : at[SIZES] + odd],
        own[at[EVEN_SIZES] : at[EVEN_SIZES] + even],
        own[at[EVENS] : at[EVENS] + 4 * even].reshape(4, even),
        out,
    )
    scale(own[at[SCALES] : at[SCALES] + 4 * width].reshape(4, width), out)
    return out


@kernel
def speak(x: Vector, where: Indices, at: Indices, state: Vector) -> float:
    """Predict, in root mean squares of the label, and remember it as the newest sample's; ``state`` is written to."""
    own = borrowed(state)
    width, memories, strengths, room = at[INPUTS], at[MEMORIES], at[STRENGTHS], at[ROOM]
    experts = memories * strengths
    z = _inputs(x, where, at, own)
    said = own[at[SAID] : at[SAID] + experts]
    ridge.predict(z, own[at[BETA] : at[BETA] + experts * width].reshape(memories, strengths, width), said)
    mixed = ridge.dot(said, _weights(own[at[MIX] : at[DESERVED]], experts))
    mixed = min(max(mixed, -TARGET_BOUND), TARGET_BOUND)
    deserved = min(max(_weights(own[at[DESERVED] : at[RING]], 1)[0], 0.0), 1.0)
    features = x.shape[0]
    row = features + experts + 2
    slot = int(own[HEAD] + own[WAITING]) % room
    ring = own[at[RING] + slot * row : at[RING] + (slot + 1) * row]
    ring[:features] = x
    ring[features : features + experts] = said
    ring[features + experts] = mixed
    ring[features + experts + 1] = mixed * deserved
    return mixed * deserved


@kernel
def keep(at: Indices, state: Vector) -> None:
    """The sample last spoken of is taken: its label will come. The oldest makes room."""
    if state[WAITING] == at[ROOM]:
        state[HEAD] = (state[HEAD] + 1.0) % at[ROOM]
    else:
        state[WAITING] += 1.0


@kernel
def study(x: Vector, y: float, where: Indices, at: Indices, state: Vector) -> None:
    """Take a label of a feature vector: scales first, then interval, factor, mixture and experts, each by what it said."""
    own = borrowed(state)
    odd, even, width = at[ODD], at[EVEN], at[INPUTS]
    memories, strengths, room = at[MEMORIES], at[STRENGTHS], at[ROOM]
    experts = memories * strengths
    constants = own[at[CONSTANTS] : at[CONSTANTS] + 5]
    weight = constants[WEIGHT]
    own[LEARNED] += 1.0
    square = y * y
    # Most labels of a quiet market are 0: a bound before some have moved would hold the scale at 0 for ever.
    if own[MOVED] >= SPEAKS_AFTER:
        square = min(square, SCALE_REACH * SCALE_REACH * own[SQUARE])
    own[MOVED] += y != 0.0
    own[SQUARE] += (square - own[SQUARE]) / min(own[LEARNED], SCALE_MEMORY)
    learn_scales(
        x,
        where[:odd],
        at[PLAIN],
        where[odd : odd + even],
        where[odd + even : odd + 2 * even],
        where[odd + 2 * even :],
        own[at[SIZES] : at[SIZES] + odd],
        own[at[EVEN_SIZES] : at[EVEN_SIZES] + even],
        own[at[EVENS] : at[EVENS] + 4 * even].reshape(4, even),
        own[at[SCALES] : at[SCALES] + 4 * width].reshape(4, width),
        own[SCALED : SCALED + 1],
        own[at[OUT] : at[OUT] + width],
    )
    if own[SQUARE] <= 0.0:
        return
    target = min(max(y / np.sqrt(own[SQUARE]), -TARGET_BOUND), TARGET_BOUND)
    turn = np.zeros(1, np.int64)
    features = x.shape[0]
    row = features + experts + 2
    while own[WAITING] > 0.0:
        head = int(own[HEAD])
        ring = own[at[RING] + head * row : at[RING] + (head + 1) * row]
        own[HEAD] = (head + 1.0) % room
        own[WAITING] -= 1.0
        same = True
        for i in range(features):
            # A missing feature is nan, which equals nothing.
            if ring[i] != x[i] and not (ring[i] != ring[i] and x[i] != x[i]):
                same = False
                break
        if same:
            error = abs(target - ring[features + experts + 1])
            own[WIDTH], outside = follow(own[WIDTH], error, constants[COVERAGE], weight)
            own[WEIGHED] += weight
            own[INSIDE] += 0.0 if outside else weight
            turn[0] = int(own[FACTOR_TURN])
            _mix(ring[features + experts : features + experts + 1], target, weight, own[at[DESERVED] : at[RING]], turn)
            turn[0] = int(own[MIXTURE_TURN])
            _mix(ring[features : features + experts], target, weight, own[at[MIX] : at[DESERVED]], turn)
            own[MIXTURE_TURN] = turn[0]
            break
    turn[0] = int(own[TURN])
    ridge.learn(
        _inputs(x, where, at, own),
        target,
        weight,
        own[at[DECAY] : at[DECAY] + memories],
        own[at[STRENGTH] : at[STRENGTH] + strengths * width].reshape(strengths, width),
        own[at[PRIOR] : at[PRIOR] + width],
        own[at[SUMS] : at[SUMS] + memories * width * width].reshape(memories, width, width),
        own[at[FACTOR] : at[FACTOR] + memories],
        turn,
        own[at[RESIDUAL] : at[RESIDUAL] + experts * width].reshape(memories, strengths, width),
        own[at[BETA] : at[BETA] + experts * width].reshape(memories, strengths, width),
    )
    own[TURN] = turn[0]
