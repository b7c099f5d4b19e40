"""All scores of one label of one model: prequential, running, in constant memory."""

from __future__ import annotations

import math
from typing import Any, Final

from engine.learn.blocks import BlockSums
from engine.learn.estimates import Interval
from engine.learn.labels import Matured
from engine.learn.recent import Recent
from engine.learn.scoring import Scores
from engine.learn.targets import Target
from engine.learn.value import Value

REGIMES: Final = 8
"""Regimes that are scored apart; pairs of others count in the whole only."""

SPAN: Final = 4
"""Horizons that the shortest block of the intervals holds."""

LEAST_CHANCE: Final = 1e-6
"""A probability is held off 0 and 1 by so much in the log loss."""


class Scorebook:
    """Takes each matured label before it is learned; ``every_ns`` between samples, ``fee_bps`` of a taker.

    >>> import numpy as np
    >>> book = Scorebook(Target("return", 10**9), every_ns=10**9, fee_bps=0.0)
    >>> rng = np.random.default_rng(5)
    >>> for at, (p, noise) in enumerate(rng.normal(size=(2000, 2)).tolist()):
    ...     book.update(Matured(at, at, p, p + noise, np.zeros(1), last=0.5, move_bps=p + noise, unit_bps=1.0))
    >>> told = book.summary()
    >>> told["ic_low"] < 0.7071 < told["ic_high"], told["ic"], told["spearman"], told["slope"], told["r2_pct"]
    (True, 0.71, 0.70, 0.99, 50.39)
    >>> told["gross_bps"], told["net_bps"], told["r2_last_pct"]
    (0.80, 0.80, 54.66)
    """

    def __init__(self, target: Target, every_ns: int, fee_bps: float) -> None:
        self.target, self.fee_bps = target, fee_bps
        overlap = max(1, -(-target.horizon_ns // every_ns))
        self._rows = SPAN * overlap
        self.scores = Scores()
        self.blocks = BlockSums(self._rows)
        stride = max(1, overlap // 2)
        self.recent = Recent(stride, -(-self._rows // stride))
        self.value = Value()
        self.regimes: dict[int, tuple[Scores, BlockSums]] = {}
        self.regimes_left_out = 0
        # Squared errors of the prediction and of the label before it, over pairs that have one.
        self._against_last = [0.0, 0.0]
        self._log_loss, self._calls = 0.0, 0

    def update(self, one: Matured) -> None:
        """Take a label; one that was not predicted says nothing."""
        prediction, label = one.prediction, one.label
        if prediction is None:
            return
        self.scores.update(prediction, label)
        self.blocks.add(prediction, label)
        self.recent.add(prediction, label)
        if one.last is not None:
            self._against_last[0] += (label - prediction) ** 2
            self._against_last[1] += (label - one.last) ** 2
        if self.target.about.is_direction:
            self.value.update(
                prediction,
                unit_bps=one.unit_bps,
                move_bps=one.move_bps,
                spread_bps=one.spread_bps,
                fee_bps=self.fee_bps,
            )
        if self.target.kind == "direction" and label != 0.0:
            chance = (1.0 + math.copysign(1.0, label) * prediction) / 2.0
            self._log_loss -= math.log(min(1.0 - LEAST_CHANCE, max(LEAST_CHANCE, chance)))
            self._calls += 1
        if one.regime >= 0:
            self._in_regime(one.regime, prediction, label)

    def _in_regime(self, regime: int, prediction: float, label: float) -> None:
        if regime not in self.regimes:
            if len(self.regimes) >= REGIMES:
                self.regimes_left_out += 1
                return
            self.regimes[regime] = Scores(), BlockSums(self._rows)
        scores, blocks = self.regimes[regime]
        scores.update(prediction, label)
        blocks.add(prediction, label)

    @property
    def log_loss(self) -> float | None:
        """Of up against down where the mid moved, nats; 0.693 is a coin. The chance of up is (1 + prediction) / 2."""
        return self._log_loss / self._calls if self._calls else None

    @property
    def r2_last(self) -> float | None:
        """1 - squared error / that of saying the last label again; None before two labels."""
        return 1.0 - self._against_last[0] / self._against_last[1] if self._against_last[1] > 0.0 else None

    def summary(self) -> dict[str, Any]:
        """All scores as plain values, None where nothing can be told yet; R² in percent."""
        scores = self.scores
        spearman, around = self.recent.spearman()
        return {
            "label": str(self.target),
            "unit": self.target.about.unit,
            "pairs": scores.count,
            "ic": round(scores.ic, 6),
            **_edges("ic", self.blocks.interval()),
            "spearman": _rounded(spearman),
            **_edges("spearman", around),
            "rmse": round(scores.rmse, 6),
            "mae": round(scores.mae, 6),
            "hit_rate": round(scores.hit_rate, 6),
            "r2_pct": round(scores.r2 * 100.0, 6),
            "r2_last_pct": None if self.r2_last is None else round(self.r2_last * 100.0, 6),
            "slope": round(scores.slope, 6),
            "intercept": round(scores.intercept, 6),
            "log_loss": _rounded(self.log_loss),
            "signals": self.value.signals,
            "gross_bps": _rounded(self.value.gross_bps),
            "trades": self.value.trades,
            "net_bps": _rounded(self.value.net_bps),
            "reliability": [[round(p, 6), round(y, 6), count] for p, y, count in self.recent.reliability()],
            "regimes": {
                str(regime): {
                    "pairs": one.count,
                    "ic": round(one.ic, 6),
                    **_edges("ic", blocks.interval()),
                    "rmse": round(one.rmse, 6),
                    "hit_rate": round(one.hit_rate, 6),
                }
                for regime, (one, blocks) in sorted(self.regimes.items())
            },
        }

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "scores": self.scores.save(),
            "blocks": self.blocks.save(),
            "recent": self.recent.save(),
            "value": self.value.save(),
            "regimes": [[key, scores.save(), blocks.save()] for key, (scores, blocks) in self.regimes.items()],
            "sums": [self.regimes_left_out, *self._against_last, self._log_loss, self._calls],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` of a book of the same label gave."""
        for part in ("scores", "blocks", "recent", "value"):
            getattr(self, part).load(state[part])
        self.regimes = {}
        for key, scores, blocks in state["regimes"]:
            self.regimes[key] = Scores(), BlockSums(self._rows)
            self.regimes[key][0].load(scores)
            self.regimes[key][1].load(blocks)
        self.regimes_left_out, *self._against_last, self._log_loss, self._calls = state["sums"]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _edges(name: str, interval: Interval | None) -> dict[str, float | None]:
    low, high = interval if interval is not None else (None, None)
    return {f"{name}_low": _rounded(low), f"{name}_high": _rounded(high)}
