"""Ridge regressions over many memories and strengths at once, each pulled towards a prior, followed label by label.

For a memory with decay ``l`` a label and a strength ``r`` the weights solve

    (sum of l^age w z z' + r I) beta  =  sum of l^age w z t + r prior

where ``w`` is how much a label counts that overlaps others. The sums of a memory serve all its strengths. Nothing is
inverted: each label moves the residual ``b - A beta`` of each regression in O(width), and a few coordinates a label are
then solved in turn (Gauss-Seidel; Zakharov, White and Liu, "Low-complexity RLS algorithms using dichotomous coordinate
descent iterations", 2008). Recursive least squares blows up when its inverse has forgotten a direction; here a
direction without data falls back to the prior, because of ``r``.

All numbers of the regressions are parts of one array: decays (memories), strengths (strengths, width), prior (width),
sums of products of inputs (memories, width, width), their common factor (memories), which is what the decay has become,
residuals ``b - A beta`` to be multiplied by it too (memories, strengths, width), and weights, shaped as those.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.core.jit import inlined, kernel
from engine.features.set import Vector
from engine.learn.contract import ModelError

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

(DECAY, STRENGTH, PRIOR, SUMS, FACTOR, RESIDUAL, BETA, PARTS) = range(8)
"""The parts, and how many there are."""

COORDINATES: Final = 8  # solved a label and regression; a full turn of 80 inputs takes ten labels
_SMALL: Final = 1e-60  # of the common factor of a memory's sums: then they are written anew


@inlined
def dot(a: Vector, b: Vector) -> float:
    """The scalar product, in four partial sums of a fixed order: quick, and the same on every machine."""
    s0 = s1 = s2 = s3 = 0.0
    n = a.shape[0]
    whole = n - n % 4
    for i in range(0, whole, 4):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
    for i in range(whole, n):
        s0 += a[i] * b[i]
    return (s0 + s1) + (s2 + s3)


@kernel
def predict(z: Vector, beta: Vector, out: Vector) -> None:
    """What each regression says to one input: ``out`` has one number a regression."""
    width = z.shape[0]
    for each in range(out.shape[0]):
        out[each] = dot(z, beta[each * width : (each + 1) * width])


def sizes(memories: int, strengths: int, width: int) -> list[int]:
    """How many numbers each part has."""
    one = memories * strengths * width
    return [memories, strengths * width, width, memories * width * width, memories, one, one]


def begin(own: Vector, at: Places, memories: Sequence[float], strength: Array, prior: Vector) -> None:
    """Know nothing but the prior; ``at`` is where the parts of ``own`` begin and the last ends.

    ``memories`` are in labels (half of the weight is older than 0.7 of it), at least 2; ``strength`` (strengths, width)
    is how many labels the prior of each input counts as much as, more than 0.
    """
    own[at[DECAY] : at[STRENGTH]] = [1.0 - 1.0 / max(2.0, memory) for memory in memories]
    own[at[STRENGTH] : at[PRIOR]] = strength.reshape(-1)
    own[at[PRIOR] : at[SUMS]] = prior
    own[at[SUMS] : at[FACTOR]] = 0.0
    own[at[FACTOR] : at[RESIDUAL]] = 1.0
    own[at[RESIDUAL] : at[BETA]] = 0.0
    own[at[BETA] : at[PARTS]] = np.tile(prior, len(memories) * len(strength))


@kernel
def _write_anew(part: Vector, factor: float) -> None:
    """Give numbers the size that they stand for."""
    for i in range(part.shape[0]):
        part[i] *= factor


@kernel
def learn(z: Vector, target: float, weight: float, at: Places, own: Vector, turn: int) -> int:
    """Take one label, solve the next coordinates of each regression, and say which coordinate is next.

    ``weight`` is how much the label counts, ``turn`` what the last label's call said, ``at`` as in ``begin``.
    """
    width = z.shape[0]
    decay, strength = own[at[DECAY] : at[STRENGTH]], own[at[STRENGTH] : at[PRIOR]]
    prior, sums, factor = own[at[PRIOR] : at[SUMS]], own[at[SUMS] : at[FACTOR]], own[at[FACTOR] : at[RESIDUAL]]
    residual, beta = own[at[RESIDUAL] : at[BETA]], own[at[BETA] : at[PARTS]]
    strengths = strength.shape[0] // width
    for m in range(decay.shape[0]):
        square = sums[m * width * width : (m + 1) * width * width]
        factor[m] *= decay[m]
        if factor[m] < _SMALL:
            _write_anew(square, factor[m])
            _write_anew(residual[m * strengths * width : (m + 1) * strengths * width], factor[m])
            factor[m] = 1.0
        s = factor[m]
        w = weight / s
        for i in range(width):
            wz = w * z[i]
            row = square[i * width : (i + 1) * width]
            for j in range(width):
                row[j] += wz * z[j]
        for r in range(strengths):
            first = (m * strengths + r) * width
            b, e = beta[first : first + width], residual[first : first + width]
            rho = strength[r * width : (r + 1) * width]
            error = w * (target - dot(z, b))
            for i in range(width):
                e[i] += error * z[i]
            k = turn
            for _ in range(COORDINATES):
                row = square[k * width : (k + 1) * width]
                step = (s * e[k] + rho[k] * (prior[k] - b[k])) / (s * row[k] + rho[k])
                b[k] += step
                for i in range(width):
                    e[i] -= step * row[i]
                k = k + 1 if k + 1 < width else 0
    return int((turn + COORDINATES) % width)


class Ridges:
    """One ridge regression for each of ``memories`` and each row of ``strength``; see ``begin``.

    Raises:
        ModelError: a strength is not more than 0: nothing would hold a direction without data.

    >>> ridges = Ridges(memories=[1e6], strength=np.full((1, 2), 1.0), prior=np.zeros(2))
    >>> rng = np.random.default_rng(1)
    >>> for z in rng.normal(size=(500, 2)):
    ...     ridges.learn(z, 2.0 * z[0] - z[1], 1.0)
    >>> [round(float(beta), 1) for beta in ridges.beta[0, 0]]
    [2.0, -1.0]
    """

    def __init__(self, memories: Sequence[float], strength: Array, prior: Vector) -> None:
        if not (strength > 0.0).all():
            raise ModelError(f"ridge regressions: expected strengths of more than 0, found {strength.min()}")
        shape = len(memories), len(strength), len(prior)
        self._told = memories, np.asarray(strength, np.float64), np.asarray(prior, np.float64)
        self._at: Places = np.array(list(accumulate(sizes(*shape), initial=0)), np.int64)
        self._own: Vector = np.zeros(int(self._at[PARTS]))
        self._beta: Vector = self._own[self._at[BETA] :]
        self.beta: Array = self._beta.reshape(shape)
        self.factor: Vector = self._own[self._at[FACTOR] : self._at[RESIDUAL]]
        self.turn = 0
        self.reset()

    def __len__(self) -> int:
        return int(self.beta.shape[0] * self.beta.shape[1])

    def reset(self) -> None:
        """Forget all labels: every regression says what the prior says."""
        begin(self._own, self._at, *self._told)
        self.turn = 0

    def predict(self, z: Vector, out: Vector) -> None:
        """Write what each regression says."""
        predict(z, self._beta, out)

    def learn(self, z: Vector, target: float, weight: float) -> None:
        """Take one label that counts as ``weight`` of one that overlaps no other."""
        self.turn = learn(z, target, weight, self._at, self._own, self.turn)

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"own": self._own.tobytes(), "turn": self.turn}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of regressions of the same shape gave; raises ``ModelError`` for another shape."""
        if len(state["own"]) != self._own.nbytes:
            raise ModelError(
                f"saved regressions: expected {self._own.nbytes} bytes, found {len(state['own'])}: saved with other "
                "features or options; start without it"
            )
        self._own[:] = np.frombuffer(state["own"])
        self.turn = int(state["turn"])
