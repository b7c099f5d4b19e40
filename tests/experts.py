"""Worlds for the model ``primary``: vectors with the names that it reads, and labels that overlap as live ones do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.features.families import select
from engine.learn.contract import SECOND_NS, ModelSettings
from engine.learn.experts.primary import Primary

Floats = npt.NDArray[np.float64]
NAMES = [name for family in select("alpha").families for name in family.names]
SECOND_ROWS = 10  # a row each 100 ms


def at(name: str) -> int:
    return NAMES.index(name)


def made(horizon_s: int = 1, **changes: Any) -> Primary:
    return Primary(ModelSettings(name="m", symbol="v:X", horizon_ns=horizon_s * SECOND_NS, **changes), NAMES)


def inputs(seed: int, rows: int, keep: float = 0.0) -> Floats:
    """Independent features of mean 0 and deviation 1 that keep so much of themselves from row to row."""
    x = np.random.default_rng(seed).normal(size=(rows, len(NAMES)))
    for i in range(1, rows):
        x[i] = keep * x[i - 1] + np.sqrt(1.0 - keep * keep) * x[i]
    return x


def labels(seed: int, drift: Floats, horizon_s: int) -> Floats:
    """What a walk with steps of deviation 1 and this drift a row does over the horizon that follows each row."""
    rows, ahead = len(drift), horizon_s * SECOND_ROWS
    steps = np.random.default_rng([seed, 1]).normal(size=rows + ahead)
    steps[:rows] += drift
    path = np.append(0.0, np.cumsum(steps))
    return np.asarray(path[ahead : rows + ahead] - path[:rows], np.float64)


def play(model: Primary, x: Floats, y: Floats, horizon_s: int) -> Floats:
    """Predict and observe each row, and learn each label when it is known; 0 where the model says nothing."""
    ahead, said = horizon_s * SECOND_ROWS, np.zeros(len(x))
    for i, row in enumerate(x):
        if i >= ahead:
            model.learn_one(x[i - ahead], float(y[i - ahead]))
        said[i] = model.predict_one(row) or 0.0
        model.observe_one(row)
    return said


def r2_pct(said: Floats, y: Floats) -> float:
    """Against always saying 0, as scores have it."""
    return float(100.0 * (1.0 - ((y - said) ** 2).sum() / (y**2).sum()))
