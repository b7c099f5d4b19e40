"""``papertape validate``: what the live path's own learners would have said over a tape, scored before they learned.

A tape is played into an engine without strategies whose models are those to be compared: each predicts on every sample,
waits for the label, is scored, and only then learns, in the order and the code of a live run. An earlier tape may warm
them up: it is played first, and what its models have learned goes on. Nothing is fitted on what is scored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from engine.core.records import LabelScored, ModelRefused, Record
from engine.learn.contract import Model
from engine.learn.models import Models
from engine.live.build import build_engine
from engine.live.config import AppConfig, parse_config
from engine.live.durations import duration_text
from engine.research.intervals import bootstrap_scores
from engine.research.loading import ReplayError, load_tape
from engine.research.player import Player

BASELINES: Final = ("zero", "last", "microprice")
"""Always among the models: what says nothing, what repeats the last label, what every book shows."""

PRIMARY: Final = "primary"
"""The model that would trade."""

DEFAULT_MODELS: Final = (*BASELINES, "momentum", "clipped-linear", "rolling-ridge", "mlp", PRIMARY)
BLOCK_HORIZONS: Final = 10
"""A block of the bootstrap spans so many horizons, and at least ``LEAST_BLOCK_NS``."""

LEAST_BLOCK_NS: Final = 10_000_000_000
RETRAIN_SAMPLES: Final = 600
"""A model that is trained on a window is trained anew after so many samples."""

CLOCK_READINGS: Final = 101
COLD_SAMPLES: Final = 200
"""Before these nothing is timed: kernels compile, caches fill."""


class Row(msgspec.Struct, frozen=True):
    """The scores of one model on one symbol and horizon; ``n`` labels, intervals at 95 %, None for too few blocks.

    ``us_per_sample``: processor time of predicting and learning, without features and labels.
    """

    symbol: str
    horizon: str
    model: str
    n: int
    ic: float | None = None
    ic_lo: float | None = None
    ic_hi: float | None = None
    spearman: float | None = None
    r2_pct: float | None = None
    r2_lo: float | None = None
    r2_hi: float | None = None
    hit: float | None = None
    us_per_sample: float = 0.0
    void: int = 0
    refused: str = ""


class Stopwatch:
    """What a model takes for predicting and learning, once everything is compiled."""

    def __init__(self, model: Model) -> None:
        self.spent_ns = 0
        self.samples = 0
        self._clock_ns = sorted(_clock_costs())[CLOCK_READINGS // 2]
        for name in ("predict_one", "observe_one", "learn_one"):
            setattr(model, name, self._around(getattr(model, name), counts=name == "predict_one"))

    def _around(self, method: Callable[..., Any], *, counts: bool) -> Callable[..., Any]:
        clock = time.perf_counter_ns

        def timed(*args: Any) -> Any:
            self.samples += counts
            began = clock()
            said = method(*args)
            if self.samples > COLD_SAMPLES:
                self.spent_ns += max(0, clock() - began - self._clock_ns)
            return said

        return timed

    @property
    def us(self) -> float:
        """Microseconds a sample; 0 for too few."""
        return self.spent_ns / 1e3 / max(1, self.samples - COLD_SAMPLES)


def _clock_costs() -> list[int]:
    """What it takes to look at the clock twice, ns."""
    clock = time.perf_counter_ns
    return [-clock() + clock() for _ in range(CLOCK_READINGS)]


class _Scored:
    """Predictions and labels by model, in the order of their labels."""

    def __init__(self) -> None:
        self.pairs: dict[str, list[tuple[float, float]]] = {}
        self.refused: dict[str, str] = {}

    def take(self, records: Sequence[Record]) -> None:
        for record in records:
            fact = record.fact
            if isinstance(fact, LabelScored):
                self.pairs.setdefault(fact.model, []).append((fact.prediction, fact.label))
            elif isinstance(fact, ModelRefused):
                self.refused[fact.model] = fact.reason

    def arrays(self, model: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        pairs = np.array(self.pairs.get(model, []), np.float64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]


class Validation(msgspec.Struct, frozen=True):
    """What came of it. ``pairs``: predictions and labels, bps, by (symbol, horizon, model), in the order of time."""

    rows: list[Row]
    digest: str
    seconds: float
    pairs: Mapping[tuple[str, str, str], tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]

    def write(self, path: Path) -> None:
        """Every prediction and its label as parquet, in the order of time within a symbol, horizon and model."""
        parts = [
            pl.DataFrame({"prediction": p, "label": y}).select(
                pl.lit(symbol).alias("symbol"),
                pl.lit(horizon).alias("horizon"),
                pl.lit(model).alias("model"),
                pl.all(),
            )
            for (symbol, horizon, model), (p, y) in self.pairs.items()
        ]
        unfinished = path.with_name(f".{path.name}.part")
        pl.concat(parts).write_parquet(unfinished)
        unfinished.rename(path)


def validate(
    tapes: Sequence[Path],
    *,
    warm: Sequence[Path] = (),
    horizons_ns: Sequence[int] = (1_000_000_000, 5_000_000_000, 30_000_000_000),
    every_ns: int = 100_000_000,
    models: Sequence[str] = DEFAULT_MODELS,
    progress: Callable[[int], None] | None = None,
) -> Validation:
    """Play ``tapes`` (the files of one recording) and score each of ``models`` at each horizon, on each symbol.

    ``models`` are names as in a config (``use``); the baselines are added. ``warm``: an earlier recording.

    Raises:
        TapeError, ConfigError, ScanError, ModelError: as for a replay.
        ReplayError: the warm tape is not earlier, or knows none of the symbols.
    """
    uses = tuple(dict.fromkeys((*BASELINES, *models, PRIMARY)))
    learned: dict[str, dict[str, Any]] = {}
    warm_end_ns = 0
    if warm:
        before = _play(warm, uses, horizons_ns, every_ns, {}, progress)
        warm_end_ns, learned = before.last_ns, before.learned
    played = _play(tapes, uses, horizons_ns, every_ns, learned, progress, warm_end_ns)
    rows, pairs = [], {}
    for symbol in played.symbols:
        for horizon_ns in horizons_ns:
            horizon = duration_text(horizon_ns)
            block = max(BLOCK_HORIZONS * horizon_ns, LEAST_BLOCK_NS) // every_ns
            for use in uses:
                name = model_name(use, horizon_ns, symbol)
                slot = played.models.slot(name)
                p, y = played.scored.arrays(name)
                pairs[symbol, horizon, use] = (p, y)
                us = played.watches[name].us
                why = played.scored.refused.get(name, "")
                rows.append(_score(symbol, horizon, use, p, y, block, us, slot.labels.void, why))
    return Validation(rows, played.digest, played.seconds, pairs)


def predictions(
    tapes: Sequence[Path],
    use: str,
    *,
    horizon_ns: int,
    every_ns: int,
    progress: Callable[[int], None] | None = None,
) -> dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """What one model would have said over a tape, and the labels, by symbol, bps, in the order of the labels.

    Raises:
        As ``validate``.
    """
    played = _play(tapes, (use,), (horizon_ns,), every_ns, {}, progress)
    return {symbol: played.scored.arrays(model_name(use, horizon_ns, symbol)) for symbol in played.symbols}


def model_name(use: str, horizon_ns: int, symbol: str = "") -> str:
    """The name of one model of the run; without ``symbol`` as it stands in the config."""
    plain = "".join(letter if letter.isalnum() or letter in "._-" else "." for letter in use)
    return f"{plain}-{duration_text(horizon_ns)}" + (f"@{symbol}" if symbol else "")


def _score(
    symbol: str,
    horizon: str,
    model: str,
    p: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    block: int,
    us: float = 0.0,
    void: int = 0,
    refused: str = "",
) -> Row:
    if len(p) < 2:
        return Row(symbol, horizon, model, len(p), us_per_sample=round(us, 3), void=void, refused=refused)
    found = bootstrap_scores(p, y, max(1, int(block)))

    def told(value: float, digits: int) -> float | None:
        return round(value, digits) if np.isfinite(value) else None

    return Row(
        symbol,
        horizon,
        model,
        found.n,
        told(found.ic, 5),
        told(found.ic_lo, 5),
        told(found.ic_hi, 5),
        told(found.spearman, 5),
        told(found.r2_pct, 4),
        told(found.r2_lo, 4),
        told(found.r2_hi, 4),
        told(found.hit, 5),
        round(us, 3),
        void,
        refused,
    )


class _Played(msgspec.Struct):
    models: Models
    scored: _Scored
    symbols: list[str]
    digest: str
    last_ns: int
    seconds: float
    learned: dict[str, dict[str, Any]]
    watches: dict[str, Stopwatch]


def _play(
    paths: Sequence[Path],
    uses: Sequence[str],
    horizons_ns: Sequence[int],
    every_ns: int,
    learned: Mapping[str, dict[str, Any]],
    progress: Callable[[int], None] | None,
    after_ns: int = 0,
) -> _Played:
    """One recording through an engine that does nothing but learn."""
    tape = load_tape(paths)
    config = _config(tape.settings, uses, horizons_ns, every_ns)
    built = build_engine(
        config,
        tape.instruments,
        inline_training=True,
        venues={name: feed.venue_class for name, feed in tape.feeds.items()},
    )
    slots = {name: built.models.slot(name) for name in built.models.names}
    for name, slot in slots.items():
        if name in learned:
            slot.learn_on(learned[name])
    if learned and not learned.keys() & slots.keys():
        raise ReplayError(
            f"--warm: expected a tape of {', '.join(one.name for one in tape.instruments)}, "
            f"found one of {', '.join(sorted({name.rpartition('@')[2] for name in learned}))}"
        )
    watches = {name: Stopwatch(slot.model) for name, slot in slots.items()}
    scored = _Scored()
    player = Player(built.engine, tape.feeds, on_records=scored.take)
    began = time.perf_counter()
    entries = tape.entries(progress)
    for entry in entries:
        if not player.entries and entry.ns < after_ns:
            raise ReplayError(
                f"--warm: expected a tape that ends before {paths[0]} begins, found one that ends "
                f"{(after_ns - entry.ns) / 1e9:,.1f} s after its beginning: what is scored would have been seen"
            )
        player.apply(entry)
    player.finish()
    return _Played(
        built.models,
        scored,
        [one.name for one in tape.instruments],
        built.engine.digest,
        player.last_ns,
        time.perf_counter() - began,
        {name: slot.knowledge() for name, slot in slots.items()},
        watches,
    )


def _config(settings: AppConfig, uses: Sequence[str], horizons_ns: Sequence[int], every_ns: int) -> AppConfig:
    """The tape's configuration with no strategies, and the models that are compared."""
    models = [
        {
            "name": model_name(use, horizon_ns),
            "use": use,
            "symbol": "*",
            "horizon": duration_text(horizon_ns),
            "every": duration_text(every_ns),
            "retrain_every": duration_text(RETRAIN_SAMPLES * every_ns),
            "drift": "adwin",  # it decides when nets are retrained, and the figures of VALIDATION.md have it
        }
        for horizon_ns in horizons_ns
        for use in uses
    ]
    plain = settings.plain()
    return parse_config({**plain, "strategy": [], "model": models}, "papertape validate")
