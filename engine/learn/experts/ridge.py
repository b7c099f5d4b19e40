"""Ridge regressions over many memories and strengths at once, each pulled towards a prior, followed label by label.

For a memory with decay ``l`` a label and a strength ``r`` the weights solve

    (sum of l^age w z z' + r I) beta  =  sum of l^age w z t + r prior

where ``w`` is how much a label counts that overlaps others. The sums of a memory serve all its strengths. Nothing is
inverted: each label moves the residual ``b - A beta`` of each regression in O(width), and a few coordinates a label are
then solved in turn (Gauss-Seidel; Zakharov, White and Liu, "Low-complexity RLS algorithms using dichotomous coordinate
descent iterations", 2008). Recursive least squares blows up when its inverse has forgotten a direction; here a direction
without data falls back to the prior, because of ``r``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.core.jit import kernel
from engine.features.set import Vector

Array = npt.NDArray[np.float64]

COORDINATES = 8  # solved a label and regression; a full turn of 80 inputs takes ten labels
_SMALL = 1e-60  # of the common factor of a memory's sums: then they are written anew


@kernel
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
def predict(z: Vector, beta: Array, out: Vector) -> None:
    """What each regression says to one input; ``beta`` (memories, strengths, width), ``out`` one number a regression."""
    at = 0
    for m in range(beta.shape[0]):
        for r in range(beta.shape[1]):
            out[at] = dot(z, beta[m, r])
            at += 1


@kernel
def learn(
    z: Vector,
    target: float,
    weight: float,
    decay: Vector,
    strength: Array,
    prior: Vector,
    sums: Array,
    factor: Vector,
    turn: npt.NDArray[np.int64],
    residual: Array,
    beta: Array,
) -> None:
    """Take one label, and solve the next coordinates of each regression.

    ``sums`` (memories, width, width) are the products of inputs and ``residual`` (memories, strengths, width) is
    ``b - A beta``, both to be multiplied by the memory's ``factor``, which is what the decay has become; ``strength``
    (strengths, width) is how many labels the prior of each input counts as much as.
    """
    width = z.shape[0]
    for m in range(sums.shape[0]):
        factor[m] *= decay[m]
        if factor[m] < _SMALL:
            sums[m] *= factor[m]
            residual[m] *= factor[m]
            factor[m] = 1.0
        s = factor[m]
        w = weight / s
        for i in range(width):
            wz = w * z[i]
            row = sums[m, i]
            for j in range(width):
                row[j] += wz * z[j]
        for r in range(beta.shape[1]):
            b, e, rho = beta[m, r], residual[m, r], strength[r]
            error = w * (target - dot(z, b))
            for i in range(width):
                e[i] += error * z[i]
            at = turn[0]
            for _ in range(COORDINATES):
                row = sums[m, at]
                step = (s * e[at] + rho[at] * (prior[at] - b[at])) / (s * row[at] + rho[at])
                b[at] += step
                for i in range(width):
                    e[i] -= step * row[i]
                at = at + 1 if at + 1 < width else 0
    turn[0] = (turn[0] + COORDINATES) % width


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
        self.turn: npt.NDArray[np.int64] = np.zeros(1, np.int64)
        self.residual: Array = np.zeros((len(memories), len(strength), width))
        self.beta: Array = np.zeros_like(self.residual)
        self.reset()

    def __len__(self) -> int:
        return self.beta.shape[0] * self.beta.shape[1]

    def reset(self) -> None:
        """Forget all labels: every regression says what the prior says."""
        self.sums[:] = 0.0
        self.residual[:] = 0.0
        self.factor[:] = 1.0
        self.turn[0] = 0
        self.beta[:] = self.prior

    def predict(self, z: Vector, out: Vector) -> None:
        """Write what each regression says."""
        predict(z, self.beta, out)

    def learn(self, z: Vector, target: float, weight: float) -> None:
        """Take one label."""
        learn(
            z,
            target,
            weight,
            self.decay,
            self.strength,
            self.prior,
            self.sums,
            self.factor,
            self.turn,
            self.residual,
            self.beta,
        )

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        names = ("sums", "factor", "turn", "residual", "beta")
        return {name: getattr(self, name).tobytes() for name in names}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of regressions of the same shape gave."""
        for name in ("sums", "factor", "residual", "beta"):
            mine = getattr(self, name)
            mine[:] = np.frombuffer(state[name]).reshape(mine.shape)
        self.turn[:] = np.frombuffer(state["turn"], np.int64)
