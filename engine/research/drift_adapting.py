"""What adapting buys: models that never learn again, learn by the clock, on an alarm, or always, after a drift.

Streams of features and labels are drawn from the second half of a tape; from one row on the labels drift: all are
turned, or twice as large, or nothing changes, which is what the other two are compared with. Each way to adapt is
scored over the 5,000 samples after that, on labels it has not seen: a label is known a horizon later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from engine.features.set import WARM_UP_NS
from engine.learn.contract import Model, ModelSettings, model_class
from engine.learn.drift.budget import Budget, bootstrap_rows
from engine.learn.drift.together import SIGNALS, Together, signals_of
from engine.learn.estimates import Floats, pearson
from engine.learn.experts.primary import Primary
from engine.research.drift_line_up import three_scans
from engine.research.drift_score import columns
from engine.research.leak_check import frames_of, mids_at
from engine.research.leak_streams import live_features
from engine.research.loading import ReplayError

BEFORE: Final = 8000
AFTER: Final = 5000
FIRST: Final = 3000
"""Rows on which the ridge regressions are fitted first, and on the newest of which they are fitted by the clock."""

EACH: Final = 1000
AGAIN: Final = (500, 1000, 2000, 4000)
"""Labels after an alarm at which the model is fitted anew, on nothing older than it; until the first it says 0."""

SETTLING: Final = 1000
"""Labels after an alarm that are not watched: a model that begins to know something would itself look like drift."""

PENALTY: Final = 0.03
"""Of the rows, and ``PENALTY_ROWS`` on top: few rows must not be believed."""

PENALTY_ROWS: Final = 300
WAYS: Final = ("frozen", "periodic", "drift-triggered", "clipped-linear", "primary", "primary-anew")
LEAST_ROWS: Final = 400

DRIFTS: Final = {"none": 1.0, "flip": -1.0, "volatility": 2.0}
"""By what all labels are multiplied from the row of the drift on."""


class Adapted(msgspec.Struct, frozen=True):
    """One way to adapt, over all streams: correlation and R² against always saying 0, before and after the drift.

    ``kept_pct`` is the R² after in that of the same way and rows where nothing drifts; None where that is not above 0.
    """

    symbol: str
    way: str
    drift: str
    ic_before: float
    ic_after: float
    r2_before_pct: float
    r2_after_pct: float
    kept_pct: float | None


def adapt(
    tapes: Sequence[Path],
    *,
    horizon_ns: int,
    every_ns: int,
    streams: int,
    judged: int,
    told: Callable[[str], None] | None = None,
) -> list[Adapted]:
    """Score every way to adapt on every symbol of a tape.

    Raises:
        As ``load_tape``; ReplayError: too few rows.
    """
    tell = told or (lambda _: None)
    instruments, frames = frames_of(tapes)
    ahead = max(1, horizon_ns // every_ns)
    found = []
    for symbol, instrument in enumerate(instruments):
        mine = frames[frames["symbol"] == symbol].copy()
        mine["symbol"] = 0
        built = live_features([instrument.tick], 0, every_ns, WARM_UP_NS, Primary.features)(mine)
        count = len(built.times_ns) - ahead
        if count < LEAST_ROWS:
            raise ReplayError(f"{instrument.name}: expected at least {LEAST_ROWS} rows, found {max(0, count)}")
        path, _ = mids_at(mine, built.times_ns)
        x, y = built.x[:count], path[ahead : ahead + count] - path[:count]
        settings = ModelSettings(name="m", symbol=instrument.name, horizon_ns=horizon_ns, every_ns=every_ns)
        watcher = _watcher(x[: count // 2], y[: count // 2], judged)
        said: dict[tuple[str, str], list[Floats]] = {(drift, way): [] for drift in DRIFTS for way in WAYS}
        labels: dict[str, list[Floats]] = {drift: [] for drift in DRIFTS}
        for number in range(streams):
            tell(f"{instrument.name}: adapting, stream {number + 1} of {streams}")
            drawn = count // 2 + bootstrap_rows(count - count // 2, BEFORE + AFTER, seed=800_000 + number)
            for drift, factor in DRIFTS.items():
                label = y[drawn].copy()
                label[BEFORE:] *= factor
                labels[drift].append(label)
                for way in WAYS:
                    told_so = _walk(way, x[drawn], label, ahead, settings, built.names, watcher)
                    said[drift, way].append(told_so)
        for way in WAYS:
            still = _scored(instrument.name, way, "none", said["none", way], labels["none"], None)
            found.append(still)
            others = (drift for drift in DRIFTS if drift != "none")
            found += [_scored(instrument.name, way, one, said[one, way], labels[one], still) for one in others]
    return found


def _watcher(x: Floats, y: Floats, judged: int) -> Together:
    """Three scans with a budget found on the past, where each half is predicted by a ridge fitted on the other."""
    half = len(y) // 2
    ahead = np.concatenate(
        [
            _predictions(_ridge(x[half:], y[half:]), x[:half]),
            _predictions(_ridge(x[:half], y[:half]), x[half:]),
        ]
    )
    found = signals_of(ahead, y)
    watcher = three_scans()
    past = columns(np.column_stack([found[name] for name in SIGNALS]), watcher.signals)
    Budget(streams=max(1, judged // 20_000)).tune_together(watcher, past)
    return watcher


def _walk(
    way: str, x: Floats, y: Floats, ahead: int, settings: ModelSettings, names: Sequence[str], watcher: Together
) -> Floats:
    """What a model that adapts so would have said of each row; nan before it says anything."""
    if way not in WAYS[:3]:
        use = way.removesuffix("-anew")
        return _online(lambda: model_class(use)(settings, names), x, y, ahead, watcher if way != use else None)
    said = np.full(len(y), np.nan)
    weights = _ridge(x[:FIRST], y[:FIRST])
    begin = FIRST + ahead
    if way == "frozen":
        said[begin:] = _predictions(weights, x[begin:])
    elif way == "periodic":
        for at in range(begin, len(y), EACH):
            said[at : at + EACH] = _predictions(weights, x[at : at + EACH])
            known = at + EACH - ahead
            weights = _ridge(x[known - FIRST : known], y[known - FIRST : known])
    else:
        watcher.reset()
        alarm, plan = -1, iter(AGAIN)
        due = len(y)
        silent = (weights[0], weights[1], np.zeros(len(weights[2])))
        for at in range(begin, len(y)):
            known = at - ahead
            if known >= begin and (alarm < 0 or known >= alarm + SETTLING):
                error = y[known] - said[known]
                if watcher.update((error, error, said[known] * y[known])):
                    weights, alarm, plan = silent, known, iter(AGAIN)
                    due = _next(plan, alarm, len(y))
            if known >= due:
                weights = _ridge(x[alarm:known], y[alarm:known])
                due = _next(plan, alarm, len(y))
            said[at] = _predictions(weights, x[at : at + 1])[0]
    return said


def _next(plan: Iterator[int], alarm: int, never: int) -> int:
    step = next(plan, None)
    return never if step is None else alarm + step


def _online(make: Callable[[], Model], x: Floats, y: Floats, ahead: int, watcher: Together | None) -> Floats:
    """A model that learns from each label; with a watcher it is replaced by a new one on each alarm."""
    said = np.full(len(y), np.nan)
    model = make()
    watched_from = SETTLING
    if watcher is not None:
        watcher.reset()
    for at in range(len(y)):
        known = at - ahead
        if known >= 0:
            error = y[known] - said[known]
            word = (error, error, said[known] * y[known])
            if watcher is not None and known >= watched_from and watcher.update(word):
                model, watched_from = make(), known + SETTLING
            model.learn_one(x[known], float(y[known]))
        told = model.predict_one(x[at])
        model.observe_one(x[at])
        if told is not None:
            said[at] = told
    return said


def _ridge(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Centre, scale and weights of a ridge regression; what is missing counts as the centre."""
    known = np.where(np.isfinite(x), x, np.nan)
    centre = np.nan_to_num(np.nanmean(known, axis=0))
    scale = np.nan_to_num(np.nanstd(known, axis=0))
    scale = np.where(scale > 1e-9, scale, 1.0)
    z = _scaled(x, centre, scale)
    inner = z.T @ z + (PENALTY * len(y) + PENALTY_ROWS) * np.eye(z.shape[1])
    return centre, scale, np.asarray(np.linalg.solve(inner, z.T @ y), np.float64)


def _scaled(x: Floats, centre: Floats, scale: Floats) -> Floats:
    return np.clip(np.nan_to_num((x - centre) / scale, nan=0.0, posinf=0.0, neginf=0.0), -4.0, 4.0)


def _predictions(fitted: tuple[Floats, Floats, Floats], x: Floats) -> Floats:
    centre, scale, weights = fitted
    return np.asarray(_scaled(x, centre, scale) @ weights, np.float64)


def _scored(
    symbol: str, way: str, drift: str, said: Sequence[Floats], labels: Sequence[Floats], still: Adapted | None
) -> Adapted:
    def part(begin: int, end: int) -> tuple[float, float]:
        p = np.concatenate([one[begin:end] for one in said])
        y = np.concatenate([one[begin:end] for one in labels])
        whole = np.isfinite(p)
        p, y = p[whole], y[whole]
        return round(pearson(p, y), 4), round(100.0 - 100.0 * float(np.sum((y - p) ** 2) / np.sum(y * y)), 2)

    before, after = part(BEFORE - AFTER + 100, BEFORE), part(BEFORE, BEFORE + AFTER)
    base = still.r2_after_pct if still is not None else after[1]
    kept = round(100.0 * after[1] / base, 1) if base > 0.0 else None
    return Adapted(symbol, way, drift, before[0], after[0], before[1], after[1], kept)
