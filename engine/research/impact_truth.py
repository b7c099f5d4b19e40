"""The impact law's scale and fading, measured on the simulated market by who moves it: a visitor without a reason.

    python -m engine.research.impact_truth --trials 3000 [--seed 1] [--json]

A tape tells what trades move, and those of people who know something move more, and for longer, than ours. Here the
market is copied, a market order is placed in the copy, and both go on: the difference of their middles is what the
order did. Averaged by the law's own weights that is Y after each lag; a power law through it gives the fading.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from adapters.market import VISITOR, MarketTrade, SymbolMarket, spec_of
from engine.core.types import Side
from engine.core.venue.impact import ImpactSettings, faded
from engine.research.truth_market import copied

MS: Final = 1_000_000
LAGS_NS: Final = tuple(ms * MS for ms in (0, 20, 100, 250, 500, 750, 1000, 1500, 2000))
SIZES: Final = (1, 2, 5, 10)
"""Multiples of the displayed best size, in turn."""

SAMPLE_NS: Final = 1_000 * MS
"""As the engine samples the middle for its volatility."""

DECAYS_NS: Final = tuple(ms * MS for ms in (30, 50, 75, 100, 150, 200, 300, 450, 600, 900, 1500, 3000))


class Response(msgspec.Struct, frozen=True):
    """``scales`` are pairs of lag in ms and Y, ``errors`` their standard errors; then the law that is nearest."""

    trials: int
    scales: list[tuple[float, float]]
    errors: list[float]
    scale: float
    decay_ns: int
    decay_quarters: int


def respond(trials: int, seed: int = 1, symbol: str = "BTCUSDT", warm_s: int = 30) -> Response:
    """Measure it; one trial takes two seconds of the market's time, twice.

    Raises:
        ValueError: fewer than ten trials.
    """
    if trials < 10:
        raise ValueError(f"expected at least 10 trials, found {trials}")
    market = SymbolMarket(spec_of(symbol), seed, 0)
    market.advance(warm_s * 1_000 * MS)
    traded, moved2, samples = 0, 0.0, 0
    rows = []
    for number in range(trials):
        start_ns, mid2 = market.now_ns, market.book.mid2
        side = Side.BUY if number % 2 else Side.SELL
        other = market.book.half(side.opposite)
        size = other.best_size * SIZES[number // 2 % len(SIZES)]
        twin = copied(market)
        twin.place(VISITOR, side, size)
        row = [math.sqrt(size)]
        for lag_ns in LAGS_NS:
            twin.advance(start_ns + lag_ns)
            events = market.advance(start_ns + lag_ns)
            traded += sum(event.size for event in events if isinstance(event, MarketTrade))
            row.append(int(side) * (twin.book.mid2 - market.book.mid2) / 2)
            if lag_ns and lag_ns % SAMPLE_NS == 0:
                moved2, samples, mid2 = moved2 + (market.book.mid2 - mid2) ** 2, samples + 1, market.book.mid2
        rows.append(row)
    volume = traded / (trials * LAGS_NS[-1])
    variance = moved2 / 4 / (samples * SAMPLE_NS)
    found = np.array(rows)
    weight = found[:, :1] * math.sqrt(variance / volume)
    scales = (weight * found[:, 1:]).sum(0) / (weight**2).sum()
    errors = np.sqrt(((weight * (found[:, 1:] - weight * scales)) ** 2).sum(0)) / (weight**2).sum()
    decay_ns, quarters, scale = _nearest(scales.tolist(), errors.tolist())
    lags = [lag_ns / MS for lag_ns in LAGS_NS]
    return Response(trials, list(zip(lags, scales.tolist(), strict=True)), errors.tolist(), scale, decay_ns, quarters)


def _nearest(scales: Sequence[float], errors: Sequence[float]) -> tuple[int, int, float]:
    """Fading and scale by least squares, each lag by its error (at least a hundredth of the first)."""
    weights = np.array([1 / max(error, scales[0] / 100) ** 2 for error in errors])
    best = (math.inf, 0, 0, 0.0)
    for decay_ns in DECAYS_NS:
        for quarters in range(1, 9):
            one = ImpactSettings(decay_ns=decay_ns, decay_quarters=quarters)
            shape = np.array([faded(lag_ns, one) for lag_ns in LAGS_NS])
            scale = float((weights * shape * scales).sum() / (weights * shape**2).sum())
            best = min(best, (float((weights * (scale * shape - scales) ** 2).sum()), decay_ns, quarters, scale))
    return best[1:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the response; 0 done, 2 wrong usage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.trials < 10:
        parser.error("expected --trials of at least 10")
    found = respond(asked.trials, asked.seed, asked.symbol)
    plain: dict[str, Any] = msgspec.structs.asdict(found)
    told = zip(found.scales, found.errors, strict=True)
    lines = [f"{lag:7.0f} ms  Y {scale:6.3f} ± {error:.3f}" for (lag, scale), error in told]
    lines += [f"scale {found.scale:.3f}  decay_ns {found.decay_ns}  decay_quarters {found.decay_quarters}"]
    sys.stdout.write((msgspec.json.encode(plain).decode() if asked.json else "\n".join(lines)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
