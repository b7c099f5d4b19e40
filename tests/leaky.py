"""Markets and pipelines for the leak detector: honest ones of several kinds, and five planted leaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.learn.estimates import Floats
from engine.learn.purge import walk_forward
from engine.research.leak_streams import Built
from engine.research.leaks import Suspect

HORIZON: Final = 10
NAMES: Final = ["return_1", "mean_5", "mean_20", "zscore_50", "signal"]
EVENT: Final = np.dtype([("event_ns", "i8"), ("available_ns", "i8"), ("value", "f8"), ("signal", "f8")])
TICK_NS: Final = 1_000


def market(kind: str, rows: int, seed: int) -> tuple[Floats, Floats]:
    """Moves from each row to the next, and a signal known at each row; by kind the signal tells nothing, or much."""
    chance = np.random.default_rng(seed)
    noise = chance.normal(size=rows)
    signal = np.zeros(rows)
    for at in range(1, rows):
        signal[at] = 0.9 * signal[at - 1] + chance.normal() * np.sqrt(1 - 0.81)
    if kind == "walk":
        return noise, signal
    if kind == "autoregressive":
        moves = noise.copy()
        for at in range(1, rows):
            moves[at] += 0.6 * moves[at - 1]
        return moves, signal
    if kind == "clustered":
        size = np.ones(rows)
        for at in range(1, rows):
            size[at] = np.sqrt(0.05 + 0.9 * size[at - 1] ** 2 + 0.05 * noise[at - 1] ** 2 * size[at - 1] ** 2)
        return noise * size * chance.standard_t(4, rows), signal
    return noise + 0.9 * signal, signal  # strong: the signal tells 45 % of the next move


MARKETS: Final = ("walk", "autoregressive", "clustered", "strong")


def events_of(moves: Floats, signal: Floats, delay_ns: int = 0) -> npt.NDArray[np.void]:
    """An event a row: the price as of then and the signal, available so much later than they happened."""
    events: npt.NDArray[np.void] = np.zeros(len(moves), EVENT)
    events["event_ns"] = np.arange(len(moves)) * TICK_NS
    events["available_ns"] = events["event_ns"] + delay_ns
    events["value"] = np.concatenate(([0.0], np.cumsum(moves)[:-1]))
    events["signal"] = signal
    return events


def honest(events: npt.NDArray[Any]) -> Built:
    """Trailing returns and means, a trailing z-score, and the signal."""
    price = events["value"]
    count = len(price)
    step = np.diff(price, prepend=price[:1])
    sums = np.concatenate(([0.0], np.cumsum(step)))
    columns = [step]
    for width in (5, 20):
        first = np.maximum(np.arange(count) + 1 - width, 0)
        columns.append((sums[1:] - sums[first]) / width)
    first = np.maximum(np.arange(count) - 49, 0)
    held = np.arange(count) + 1 - first
    totals, squares = (np.concatenate(([0.0], np.cumsum(price**power))) for power in (1, 2))
    mean, square = ((whole[1:] - whole[first]) / held for whole in (totals, squares))
    zscore = (price - mean) / np.sqrt(np.maximum(square - mean**2, 1e-6))
    return Built(events["event_ns"].copy(), np.column_stack((*columns, zscore, events["signal"])), NAMES)


def centred_mean(events: npt.NDArray[Any]) -> Built:
    """A mean of returns that looks five rows ahead."""
    base = honest(events)
    step = np.diff(events["value"], prepend=events["value"][:1])
    base.x[:, 1] = np.convolve(step, np.ones(11) / 11, mode="same") if len(step) >= 11 else step
    return base


def wavelet(events: npt.NDArray[Any]) -> Built:
    """The detail of an à trous wavelet with centred B3-spline filters, at the second scale."""
    base = honest(events)
    step = np.diff(events["value"], prepend=events["value"][:1])
    fine = _spline(step, 1)
    base.x[:, 2] = fine - _spline(fine, 2)
    return base


def _spline(values: Floats, gap: int) -> Floats:
    padded = np.pad(values, 2 * gap, mode="edge")
    count = len(values)
    weights = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
    smooth: Floats = np.zeros(count)
    for k, weight in enumerate(weights):
        smooth += weight * padded[k * gap : k * gap + count]
    return smooth


def whole_sample(events: npt.NDArray[Any]) -> Built:
    """Features with the mean and deviation of all rows taken out."""
    base = honest(events)
    scale = base.x.std(axis=0)
    return base._replace(x=(base.x - base.x.mean(axis=0)) / np.where(scale > 0, scale, 1.0))


def joined(by: str) -> Callable[[npt.NDArray[Any]], Built]:
    """On a grid: the last value whose ``by`` time has come, joined as of ``event_ns`` or ``available_ns``."""

    def build(events: npt.NDArray[Any]) -> Built:
        if not len(events):
            return Built(np.zeros(0, np.int64), np.zeros((0, 1)), ["value"])
        times = np.arange(0, int(events["event_ns"].max()) + 1, 3 * TICK_NS)
        at = np.searchsorted(events[by], times, side="right") - 1
        value = np.where(at >= 0, events["value"][np.maximum(at, 0)], np.nan)
        return Built(times, value[:, None], ["value"])

    return build


def suspect(kind: str, rows: int, seed: int, build: Callable[[npt.NDArray[Any]], Built] = honest) -> Suspect:
    """A whole pipeline on a market: builder, arrays, labels over ten rows, and walk-forward parts with purging."""
    moves, signal = market(kind, rows, seed)
    events = events_of(moves, signal)
    built = build(events)
    path = np.concatenate(([0.0], np.cumsum(moves)))
    count = rows - HORIZON
    starts = built.times_ns[:count]
    ends = starts + HORIZON * TICK_NS
    return Suspect(
        build=build,
        events=events,
        known_ns=events["available_ns"],
        keep=("event_ns", "available_ns"),
        starts_ns=starts,
        x=built.x[:count],
        names=built.names,
        y=path[HORIZON : HORIZON + count] - path[:count],
        ends_ns=ends,
        moves=moves[:count],
        used_ns=events["available_ns"][:count],
        splits=list(walk_forward(starts, ends, 4)),
    )
