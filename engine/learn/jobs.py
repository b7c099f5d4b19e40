"""What goes to the trainer: a window with all that a training needs, or the place where the window lies."""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np
import numpy.typing as npt

from engine.learn.contract import ModelSettings
from engine.learn.window import Lent, Rows


class Seen(msgspec.Struct, frozen=True):
    """The rows of a training: how many, of which so many of long ago, of when, and the SHA-256 of all they hold."""

    rows: int
    kept: int
    first_ns: int
    last_ns: int
    sha256: str


class TrainJob(msgspec.Struct, frozen=True):
    """All that a trainer needs, as plain picklable values: the rows are oldest first.

    ``x[i]`` are the features at ``times_ns[i]`` and ``y[i]`` the label from there, by default the return over the
    horizon in bps; with several labels a row of them, as ``settings.targets`` names them. ``ends_ns`` says when each
    row's last label was known, ``weights`` how unique it is (1: nothing overlaps); None where that is not told. The
    first ``kept`` rows are of long ago. ``parent`` is the payload that a warm start begins from, empty without one.
    """

    settings: ModelSettings
    features: str
    names: tuple[str, ...]
    times_ns: npt.NDArray[np.int64]
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float64]
    seed: int
    ends_ns: npt.NDArray[np.int64] | None = None
    weights: npt.NDArray[np.float64] | None = None
    kept: int = 0
    parent: bytes = b""

    @property
    def seen(self) -> Seen:
        """What its rows are, in a few words."""
        digest = hashlib.sha256(self.times_ns.tobytes() + self.x.tobytes() + self.y.tobytes())
        first, last = (int(self.times_ns[0]), int(self.times_ns[-1])) if len(self.times_ns) else (0, 0)
        return Seen(len(self.y), self.kept, first, last, digest.hexdigest())

    @property
    def spans_ns(self) -> npt.NDArray[np.int64]:
        """When each row's label ends: as told, else the longest horizon after the row."""
        if self.ends_ns is not None:
            return self.ends_ns
        return self.times_ns + max(one.horizon_ns for one in self.settings.targets)


class LentJob(msgspec.Struct, frozen=True):
    """A ``TrainJob`` whose rows are still where the run keeps them; ``with_rows`` makes one of it."""

    settings: ModelSettings
    features: str
    names: tuple[str, ...]
    seed: int
    lent: Lent
    parent: bytes = b""

    def with_rows(self, rows: Rows) -> TrainJob:
        """The job with copies of its rows."""
        return TrainJob(
            self.settings,
            self.features,
            self.names,
            rows.times_ns,
            rows.x,
            rows.y,
            self.seed,
            rows.ends_ns,
            rows.weights,
            rows.kept,
            self.parent,
        )
