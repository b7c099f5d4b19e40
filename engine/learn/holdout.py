"""The newest rows of a window, kept from training: where they begin, what they bear out, and how they are scored."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.learn.contract import ModelError
from engine.learn.jobs import TrainJob
from engine.learn.purge import overlaps
from engine.learn.scoring import Scores

VALIDATION = 0.2  # the newest share of the window


def split(
    times_ns: npt.NDArray[np.int64], horizon_ns: int, ends_ns: npt.NDArray[np.int64] | None = None, kept: int = 0
) -> tuple[int, int]:
    """Where the training rows end and the validation rows begin; ``ends_ns`` of the labels, else the horizon later.

    The first ``kept`` rows are of long ago: what is kept from training is a share of the others. Between the two, rows
    are purged from the first on whose label looks into the validation's time: they know its answers.

    >>> split(np.arange(0, 100, 10), horizon_ns=30)
    (6, 8)
    """
    spans_ns = times_ns + horizon_ns if ends_ns is None else ends_ns
    begins = len(times_ns) - max(1, round((len(times_ns) - kept) * VALIDATION))
    from_ns, to_ns = int(times_ns[begins]), int(spans_ns[begins:].max())
    looking = np.flatnonzero(overlaps(times_ns[:begins], spans_ns[:begins], from_ns, to_ns))
    return (int(looking[0]) if len(looking) else begins), begins


def check_job(job: TrainJob) -> tuple[int, int]:
    """Where the training rows end and the validation rows begin.

    Raises:
        ModelError: too few rows, or rows that are not finite.
    """
    name, rows = job.settings.name, len(job.y)
    if rows < 2 or not (np.isfinite(job.x).all() and np.isfinite(job.y).all()):
        raise ModelError(f"model {name}: expected at least 2 rows of finite numbers, found {rows} rows or others")
    ends, begins = split(job.times_ns, job.settings.horizon_ns, job.spans_ns, job.kept)
    if ends < 2:
        raise ModelError(
            f"model {name}: expected at least 2 rows before the validation, found {ends} of {rows}: "
            "wait for a longer window"
        )
    return ends, begins


def columns(job: TrainJob) -> npt.NDArray[np.float64]:
    """The labels with one column each."""
    return job.y[:, None] if job.y.ndim == 1 else job.y


def borne_out(said: npt.NDArray[np.float64], true: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> float:
    """The slope of the truth on what was said, through the origin, between 0 and 1."""
    power = float((weight * said) @ said)
    return min(1.0, max(0.0, float((weight * said) @ true) / power)) if power > 0.0 else 1.0


def scored(said: npt.NDArray[np.float64], true: npt.NDArray[np.float64]) -> dict[str, float]:
    """Scores of what was said about the rows kept from training."""
    scores = Scores()
    for prediction, label in zip(said.tolist(), true.tolist(), strict=True):
        scores.update(prediction, label)
    return {"ic": scores.ic, "rmse": scores.rmse, "mae": scores.mae, "hit_rate": scores.hit_rate, "r2": scores.r2}
