"""Drifts put into streams that had none, at a known row: what a detector of drift is measured against."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from engine.learn.drift.contract import Floats
from engine.learn.drift.together import SIGNALS, signals_of

DRIFTS: Final = ("flip", "mean", "variance", "gradual", "recurring")
"""Over these the macro-F1 is the mean."""

OTHERS: Final = ("gradual-mean", "feature")
"""Told beside them."""

GRADUAL_ROWS: Final = 5000
RECURRING_ROWS: Final = 1000
WINDOW: Final = 2000
"""Rows after the drift's begin in which an alarm is true; of gradual drifts ``GRADUAL_WINDOW``."""

GRADUAL_WINDOW: Final = 7000
SHIFT: Final = 0.5
"""Deviations of the residual."""


def window_of(drift: str) -> int:
    """Rows in which an alarm about this drift is true."""
    return GRADUAL_WINDOW if drift.startswith("gradual") else WINDOW


def inject(drift: str, prediction: Floats, label: Floats, at: int, deviation: float, seed: int) -> Floats:
    """The signals of a stream (a column each, as ``SIGNALS``) in which a drift begins at row ``at``.

    - ``flip``: what the model says has become wrong: labels turn.
    - ``mean``: the label, and so the residual, moves by half of ``deviation``.
    - ``variance``: the residual's variance doubles. Its two signals only: multiplied residuals would also give each
      label of exactly 0 a sign, against the prediction, which no market does and any count of misses sees at once.
    - ``gradual``: a flip of ever more rows, all after 5,000. ``gradual-mean``: the shift grows over as many.
    - ``recurring``: a flip for 1,000 rows, none for 1,000, and again.
    - ``feature``: the model's input is broken: it says what it said at another time.

    Raises:
        ValueError: there is no such drift.
    """
    p, y = prediction.copy(), label.copy()
    since = np.arange(len(y)) - at
    after = since >= 0
    chance = np.random.default_rng(seed)
    if drift == "flip":
        y[after] *= -1.0
    elif drift == "mean":
        y[after] += SHIFT * deviation
    elif drift == "gradual":
        y[chance.random(len(y)) < since / GRADUAL_ROWS] *= -1.0
    elif drift == "gradual-mean":
        y += SHIFT * deviation * np.clip(since / GRADUAL_ROWS, 0.0, 1.0)
    elif drift == "recurring":
        y[after & (since // RECURRING_ROWS % 2 == 0)] *= -1.0
    elif drift == "feature":
        p[after] = prediction[chance.permutation(len(p))[after]]
    elif drift != "variance":
        raise ValueError(f"expected a drift of {', '.join((*DRIFTS, *OTHERS))}, found {drift!r}")
    found = signals_of(p, y)
    if drift == "variance":
        residual = found["residual"]
        mean = float(residual.mean())
        louder = np.where(after, mean + math.sqrt(2.0) * (residual - mean), residual)
        found["residual"] = louder
        found["log_abs"] = np.log(np.abs(louder) + 1e-9)
    return np.column_stack([found[name] for name in SIGNALS])
