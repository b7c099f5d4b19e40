"""The impact law's scale and fading, fitted on a tape: how far do trades move the middle, and for how long?

    python -m engine.research.impact_fit TAPE… [--json]          # a recording of one symbol
    python -m engine.research.impact_fit --market 1 --seconds 1800

The move of the middle in each bin of time is regressed on the signed square-root volumes of this bin and of those
before it (transient impact: Bouchaud, Gefen, Potters and Wyart 2004; Taranto, Bormetti, Bouchaud, Lillo and Tóth
2018). The running sum of the coefficients is what a trade of size 1 still moves after a lag, freed of the trades that
follow it. Its peak in units of volatility over the square root of volume is Y; a power law from there on gives the
fading. It tells what *trades* move: those of people who know something move more, and for longer, than ours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from engine.core import events as ev
from engine.core.engine import Engine
from engine.core.events import FRAME, FRAME_BOOK, FRAME_READY, Batch, Command, Frames
from engine.core.prints import SAMPLE_NS
from engine.core.settings import EngineSettings
from engine.core.types import Instrument
from engine.core.venue.impact import ImpactSettings, faded
from engine.research.parity import ParityError, recorded, simulated

Floats = npt.NDArray[np.float64]

BIN_NS: Final = 100_000_000
GROUPS: Final = ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 32), (32, 64))
"""Lags in bins whose coefficients are one: finer near, coarser far."""

DECAYS_NS: Final = tuple(round(10**exponent) for exponent in (7, 7.5, 8, 8.5, 9, 9.5, 10, 10.5, 11))


class Fit(msgspec.Struct, frozen=True):
    """``kernel`` are pairs of lag in ms and share of the peak; ``r2`` of the regression."""

    scale: float
    decay_ns: int
    decay_quarters: int
    bins: int
    trades: int
    r2: float
    kernel: list[tuple[float, float]]


class FitError(Exception):
    """The tape does not tell impact; the text says what it lacks."""


def frames_of(instrument: Instrument, batch: Batch) -> Frames:
    """What the market looked like after each frame of a tape, through the engine's own books."""
    kept: list[Frames] = []
    engine = Engine([instrument], {}, EngineSettings(), frames_tap=lambda frames: kept.append(frames.copy()))
    engine.process(Command(int(batch["recv_ns"][0]), "start"))
    ends = np.flatnonzero(batch["flags"] & ev.LAST) + 1
    start = 0
    for end in [*ends[::65536].tolist(), len(batch)]:
        if end > start:
            engine.process(batch[start:end])
            start = end
    engine.signals.flush()
    return np.concatenate(kept) if kept else np.zeros(0, FRAME)


def fit(frames: Frames, bin_ns: int = BIN_NS) -> Fit:
    """The law from frames of one symbol.

    Raises:
        FitError: fewer than a thousand bins, or a market that does not trade or move.
    """
    ready = frames[(frames["flags"] & FRAME_READY) != 0]
    ready = ready[(ready["bid"][:, 0] > 0) & (ready["ask"][:, 0] > 0)]
    if not len(ready) or (bins := int((ready["recv_ns"][-1] - ready["recv_ns"][0]) // bin_ns)) < 1000:
        raise FitError("expected a ready book over at least 1,000 bins of time, found less: give a longer tape")
    place = np.minimum((ready["recv_ns"] - ready["recv_ns"][0]) // bin_ns, bins)
    books = ready[(ready["flags"] & FRAME_BOOK) != 0]
    mid = (books["bid"][:, 0] + books["ask"][:, 0]) / 2.0
    edges = ready["recv_ns"][0] + bin_ns * np.arange(bins + 2)
    at = np.searchsorted(books["recv_ns"], edges, side="left") - 1
    sampled = mid[np.maximum(at, 0)]
    moves = np.diff(sampled)
    steps = max(1, SAMPLE_NS // bin_ns)
    variance = float((np.diff(sampled[::steps]) ** 2).mean()) / steps  # a bin, sampled as the engine does
    bought = np.bincount(place, ready["buy_size"], bins + 1)
    sold = np.bincount(place, ready["sell_size"], bins + 1)
    volume = bought + sold
    flow = np.sign(bought - sold) * np.sqrt(np.abs(bought - sold))
    unit = float(np.sqrt(variance / volume.mean())) if volume.any() else 0.0
    if unit == 0:
        raise FitError("expected trades and a middle that moves, found none")
    longest = GROUPS[-1][1]
    summed = np.concatenate([[0.0], np.cumsum(flow)])
    rows = np.arange(longest, len(flow))
    columns = [summed[rows - first + 1] - summed[rows - last + 1] for first, last in GROUPS]
    matrix = np.stack(columns, axis=1)
    found, *_ = np.linalg.lstsq(matrix, moves[rows], rcond=None)
    residual = moves[rows] - matrix @ found
    level = np.cumsum([value * (last - first) for value, (first, last) in zip(found, GROUPS, strict=True)])
    peak = int(np.argmax(level))
    share = level / level[peak]
    decay_ns, quarters = _power_law(share[peak:], [(last - GROUPS[peak][1]) * bin_ns for _, last in GROUPS[peak:]])
    return Fit(
        scale=float(level[peak] / unit),
        decay_ns=decay_ns,
        decay_quarters=quarters,
        bins=len(rows),
        trades=int((ready["buys"] + ready["sells"]).sum()),
        r2=float(1 - residual.var() / moves[rows].var()),
        kernel=[(last * bin_ns / 1e6, float(value)) for value, (_, last) in zip(share, GROUPS, strict=True)],
    )


def _power_law(share: Floats, lags: Sequence[int]) -> tuple[int, int]:
    """The nearest of the laws that the core knows, by squares over the lags."""

    def misses(decay_ns: int, quarters: int) -> float:
        one = ImpactSettings(decay_ns=decay_ns, decay_quarters=quarters)
        return float(sum((faded(lag, one) - value) ** 2 for lag, value in zip(lags, share, strict=True)))

    choices = [(misses(decay_ns, quarters), quarters, decay_ns) for decay_ns in DECAYS_NS for quarters in range(1, 9)]
    _, quarters, decay_ns = min(choices)
    return decay_ns, quarters


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the fit; 0 done, 2 the tape does not tell it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tape", type=Path, nargs="*", help="a recording of one symbol, in one or several files")
    parser.add_argument("--market", type=int, metavar="SEED", help="the simulated market instead")
    parser.add_argument("--seconds", type=int, default=1800, help="of the simulated market")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    if bool(asked.tape) == (asked.market is not None):
        parser.error("expected a tape or --market, found both or neither")
    try:
        instrument, batch = recorded(asked.tape) if asked.tape else simulated(asked.market, asked.seconds, 0)
        found = fit(frames_of(instrument, batch))
    except (FitError, ParityError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    plain: dict[str, Any] = msgspec.structs.asdict(found)
    lines = [f"{key:<15} {value}" for key, value in plain.items()]
    sys.stdout.write((msgspec.json.encode(plain).decode() if asked.json else "\n".join(lines)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
