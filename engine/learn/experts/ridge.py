"""Ridge regressions over many memories and strengths at once, each pulled towards a prior, followed label by label.

For a memory with decay ``l`` a label and a strength ``r`` the weights solve

    (sum of l^age w z z' + r I) beta  =  sum of l^age w z t + r prior

where ``w`` is how much a label counts that overlaps others. The sums of a memory serve all its strengths. Nothing is
inverted: each label moves the residual ``b - A beta`` of each regression in O(width), and a few coordinates a label are
then solved in turn (Gauss-Seidel; Zakharov, White and Liu, "Low-complexity RLS algorithms using dichotomous coordinate
descent iterations", 2008). Recursive least squares blows up when its inverse has forgotten a direction; here a
direction without data falls back to the prior, because of ``r``.

The kernels take flat arrays, one regression after the other: (memories, strengths, width) in the order of C.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.core.jit import inlined, kernel
from engine.features.set import Vector
from engine.learn.contract import ModelError

Array = npt.NDArray[np.float64]

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


@kernel
def _write_anew(memory: int, factor: Vector, sums: Vector, residual: Vector) -> None:
    """Give the numbers of a memory the size that they stand for."""
    memories, s = factor.shape[0], factor[memory]
    for part in (sums, residual):
        size = part.shape[0] // memories
        for i in range(memory * size, (memory + 1) * size):
            part[i] *= s
    factor[memory] = 1.0


@kernel
def learn(
    z: Vector,
    target: float,
    weight: float,
    decay: Vector,
    strength: Vector,
    prior: Vector,
    sums: Vector,
    factor: Vector,
    residual: Vector,
    beta: Vector,
    turn: int,
) -> int:
    """Take one label, solve the next coordinates of each regression, and say which coordinate is next.

    ``sums`` (memories, width, width) are the products of inputs and ``residual`` (memories, strengths, width) is
    ``b - A beta``, both to be multiplied by the memory's ``factor``, which is what the decay has become; ``strength``
    (strengths, width) is how many labels the prior of each input counts as much as. ``turn`` is what the last label's
    call said.
    """
    width, memories = z.shape[0], decay.shape[0]
    strengths = strength.shape[0] // width
    for m in range(memories):
        factor[m] *= decay[m]
        if factor[m] < _SMALL:
            _write_anew(m, factor, sums, residual)
        s = factor[m]
        w = weight / s
        square = sums[m * width * width : (m + 1) * width * width]
        for i in range(width):
            wz = w * z[i]
            row = square[i * width : (i + 1) * width]
            for j in range(width):
                row[j] += wz * z[j]
        for r in range(strengths):
            begin = (m * strengths + r) * width
            b, e = beta[begin : begin + width], residual[begin : begin + width]
            rho = strength[r * width : (r + 1) * width]
            error = w * (target - dot(z, b))
            for i in range(width):
                e[i] += error * z[i]
            at = turn
            for _ in range(COORDINATES):
                row = square[at * width : (at + 1) * width]
                step = (s * e[at] + rho[at] * (prior[at] - b[at])) / (s * row[at] + rho[at])
                b[at] += step
                for i in range(width):
                    e[i] -= step * row[i]
                at = at + 1 if at + 1 < width else 0
    return (turn + COORDINATES) % width


class Ridges:
    """One ridge regression for each of ``memories`` (labels; half of the weight is older than 0.7 of it) and strengths.

    ``strength`` (strengths, width) and ``prior`` (width,) as above.

    >>> ridges = Ridges(memories=[1e6], strength=np.full((1, 2), 1.0), prior=np.zeros(2))
    >>> rng = np.random.default_rng(1)
    >>> for z in rng.normal(size=(500, 2)):
    ...     ridges.learn(z, 2.0 * z[0] - z[1], 1.0)
    >>> [round(float(beta), 1) for beta in ridges.beta[0, 0]]
    [2.0, -1.0]
    """

    def __init__(self, memories: list[float], strength: Array, prior: Vector) -> None:
        width = len(prior)
        self.decay: Vector = np.array([1.0 - 1.0 / memory for memory in memories])
        self.strength: Array = np.ascontiguousarray(strength, dtype=np.float64)
        self.prior: Vector = np.ascontiguousarray(prior, dtype=np.float64)
        self.sums: Array = np.zeros((len(memories), width, width))
        self.factor: Vector = np.ones(len(memories))
        self.turn = 0
        self.residual: Array = np.zeros((len(memories), len(strength), width))
        self.beta: Array = np.zeros_like(self.residual)
        # The kernels' view of the same memory.
        self._told = (self.decay, self.strength.reshape(-1), self.prior)
        self._own = (self.sums.reshape(-1), self.factor, self.residual.reshape(-1), self.beta.reshape(-1))
        self.reset()

    def __len__(self) -> int:
        return self.beta.shape[0] * self.beta.shape[1]

    def reset(self) -> None:
        """Forget all labels: every regression says what the prior says."""
        self.sums[:] = 0.0
        self.residual[:] = 0.0
        self.factor[:] = 1.0
        self.turn = 0
        self.beta[:] = self.prior

    def predict(self, z: Vector, out: Vector) -> None:
        """Write what each regression says."""
        predict(z, self._own[3], out)

    def learn(self, z: Vector, target: float, weight: float) -> None:
        """Take one label."""
        self.turn = learn(z, target, weight, *self._told, *self._own, self.turn)

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"turn": self.turn} | {name: getattr(self, name).tobytes() for name in _KEPT}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of regressions of the same shape gave; raises ``ModelError`` for another shape."""
        for name in _KEPT:
            if (found := len(state[name])) != (wanted := getattr(self, name).nbytes):
                raise ModelError(
                    f"saved regressions: {name}: expected {wanted} bytes, found {found}: saved with other features or "
                    "options; start without it"
                )
        for name in _KEPT:
            mine = getattr(self, name)
            mine[:] = np.frombuffer(state[name]).reshape(mine.shape)
        self.turn = int(state["turn"])


_KEPT: Final = ("sums", "factor", "residual", "beta")
