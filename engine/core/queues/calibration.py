"""The queue model's share, calibrated while the engine runs, without money and without orders of ours.

What each cancel says of the share (``implied.py``) is summed per symbol and hour of the day. The estimate is the mean
of a posterior: a normal prior around the share to begin with, the likelihood of the hour's cancels, and a part of that
of the other hours. It is told as a fact, with its interval, and used by the ``fitted`` model from then on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import numpy as np

from engine.core.book import Int64s
from engine.core.due import Handler
from engine.core.events import Batch
from engine.core.queues.calibration_settings import CalibrationSettings
from engine.core.queues.ghost_orders import DROP, END, GhostOrders
from engine.core.queues.implied import (
    GRID,
    HOURS,
    LEVEL_FIELDS,
    LEVELS,
    LOWEST,
    ROOM,
    S_CANCELS,
    S_TOLD,
    SEEN_FIELDS,
    STEP,
    follow,
)
from engine.core.records import AnyFact, Calibrated
from engine.core.state import EXPLAIN_NS, P_SHARE, START_SHARE, Float64s, State
from engine.core.types import Instrument
from engine.core.venue.paper_settings import PaperSettings

Advance: TypeAlias = Callable[[Int64s, Batch, int], int]

SHARES: Float64s = LOWEST + STEP * np.arange(GRID, dtype=np.float64)
HOUR_NS = 3_600_000_000_000
REPORT = "calibrate"
SURE = 1.959963984540054
"""Standard deviations on each side of an interval that holds 95 % of a normal distribution."""


class Share(msgspec.Struct, frozen=True):
    """An estimate: the logit, and of a cancel what stands in front of the middle of a queue, with 95 % around it."""

    logit: float
    share: float
    low: float
    high: float


def posterior(likelihood: Float64s, settings: CalibrationSettings) -> Share:
    """The estimate from a log likelihood over ``SHARES`` that is weighted already.

    >>> nothing = posterior(np.zeros(GRID), CalibrationSettings(prior_sd=0.5))
    >>> round(nothing.logit, 2), round(nothing.share, 3), round(nothing.low, 2), round(nothing.high, 2)
    (-1.55, 0.175, 0.07, 0.36)
    """
    logs = likelihood - ((SHARES - START_SHARE) / settings.prior_sd) ** 2 / 2
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    mean = float(weights @ SHARES)
    # A posterior narrower than the grid is no narrower than a step of it says.
    spread = SURE * math.sqrt(max(float(weights @ (SHARES - mean) ** 2), STEP * STEP / 12))
    # Rounded, so that the last bits of another machine's sums and exponentials do not change a run.
    logits = (mean, mean - spread, mean + spread)
    return Share(round(mean, 6), *(round(_part(logit), 6) for logit in logits))


def _part(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit))


class Calibration:
    """Ghosts, what cancels say, and the share in use; without settings nothing of it is there.

    ``watched`` wraps the kernel's step, so that all it applied is seen, each row once and in order.
    """

    def __init__(
        self,
        instruments: tuple[Instrument, ...],
        paper: PaperSettings,
        state: State,
        emit: Callable[[AnyFact], None],
        schedule: Callable[[int, str, object], None],
    ) -> None:
        self.settings = settings = paper.calibration
        self._instruments = instruments
        self._emit = emit
        self._schedule = schedule
        self._params = state.params
        self._explain_ns = int(state.control[EXPLAIN_NS])
        symbols = len(instruments) if settings is not None else 0
        self._followed = np.zeros((symbols, LEVELS, LEVEL_FIELDS), np.int64)
        self._sizes = np.zeros((symbols, LEVELS, ROOM), np.int64)
        self._seen = np.zeros((symbols, SEEN_FIELDS), np.int64)
        self.likelihood: Float64s = np.zeros((symbols, HOURS, GRID + 1))
        self._shares = np.full(symbols, START_SHARE)
        self._told = [(-1, -1)] * symbols
        self._is_reporting = False
        self.shares: dict[int, Share] = {}
        self.ghosts = GhostOrders(state, settings or CalibrationSettings(), schedule)
        self.handlers: dict[str, Handler] = {
            DROP: self.ghosts.drop,
            END: self.ghosts.end,
            REPORT: self._report_due,
        }

    def watched(self, advance: Advance) -> Advance:
        """The kernel's step, and after it what it applied."""
        if self.settings is None:
            return advance

        self._advance = advance
        return self._step

    def _step(self, flat: Int64s, batch: Batch, start: int) -> int:
        row = self._advance(flat, batch, start)
        follow(
            *(batch, start, row, self._followed, self._sizes, self._seen),
            *(self.likelihood, self._shares, self._explain_ns),
        )
        return row

    def _report_due(self, _: object, ns: int) -> None:
        self._report(ns)

    def ready(self, symbol: int, now_ns: int) -> None:
        """A book may be used."""
        if self.settings is None:
            return
        self.ghosts.start(symbol, now_ns)
        if not self._is_reporting:
            self._is_reporting = True
            self._schedule(now_ns + self.settings.report_ns, REPORT, None)

    def estimate(self, symbol: int, hour: int) -> Share:
        """The share of a symbol at an hour of the day (UTC), as it is known now."""
        settings = self.settings or CalibrationSettings()
        mine = self.likelihood[symbol, hour]
        others = self.likelihood[symbol].sum(axis=0) - mine
        summed = settings.weight * (mine + settings.pooled * others)
        return posterior(summed[:GRID] * min(1.0, settings.most_told / max(summed[GRID], 1.0)), settings)

    def _report(self, ns: int) -> None:
        """Estimate anew, use it, and tell what changed."""
        if self.settings is None:
            return
        self._schedule(ns + self.settings.report_ns, REPORT, None)
        hour = ns // HOUR_NS % HOURS
        for symbol, instrument in enumerate(self._instruments):
            fates = self.ghosts.fates[symbol]
            now = (int(self._seen[symbol, S_TOLD]), fates.ended)
            if now == self._told[symbol]:
                continue
            self._told[symbol] = now
            share = self.shares[symbol] = self.estimate(symbol, hour)
            self._shares[symbol] = self._params[symbol, P_SHARE] = share.logit
            self._emit(
                Calibrated(
                    symbol=instrument.name,
                    hour=hour,
                    share=share.share,
                    low=share.low,
                    high=share.high,
                    cancels=int(self._seen[symbol, S_CANCELS]),
                    told=now[0],
                    ghosts=fates.ended,
                    surely=fates.surely,
                    surely_not=fates.surely_not,
                )
            )

    def plain(self) -> list[dict[str, Any]]:
        """What is known of each symbol, as plain values; ``unknown``: ghosts whose fate only the venue knows."""
        return [
            {
                "symbol": self._instruments[symbol].name,
                **msgspec.structs.asdict(share),
                "cancels": int(self._seen[symbol, S_CANCELS]),
                "told": int(self._seen[symbol, S_TOLD]),
                "ghosts": fates.ended,
                "surely": fates.surely,
                "surely_not": fates.surely_not,
                "unknown": fates.unknown,
                "said": fates.said,
                "void": fates.void,
            }
            for symbol, share in sorted(self.shares.items())
            for fates in (self.ghosts.fates[symbol],)
        ]
