"""What a network that is trained on the newest window forgets, and what keeps it from that.

    python -m engine.research.forgetting --streams 3 --json TAPE…

The features and labels of a tape are drawn as in ``drift_adapting``. For a while labels are as they were (regime one);
then, for longer than a window, the labels of other rows stand in their place, so that nothing can be learned (two);
then the first regime comes back. The network is retrained each 500 rows. Scores of the first thousand rows after the
first regime came back tell what was kept: until the next training or two the model answers from what it knew.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from engine.features.set import WARM_UP_NS
from engine.learn.contract import ModelError, ModelSettings, model_class
from engine.learn.drift.budget import bootstrap_rows
from engine.learn.estimates import Floats, pearson
from engine.learn.jobs import TrainJob
from engine.learn.window import Window
from engine.research.leak_check import frames_of, mids_at
from engine.research.leak_streams import live_features

FIRST: Final = 4000
SECOND: Final = 3000
BACK: Final = 1000
EACH: Final = 500
WINDOW: Final = 2000
MEMORY: Final = 2048
AHEAD: Final = 10
EVERY_NS: Final = 100_000_000
HORIZON_NS: Final = AHEAD * EVERY_NS

WAYS: Final[dict[str, dict[str, Any]]] = {
    "anew": {},
    "warm": {"options": {"warm_start": True}},
    "anchored": {"options": {"warm_start": True, "anchor": 30.0}},
    "memory": {"memory_rows": MEMORY},
    "memory, warm": {"memory_rows": MEMORY, "options": {"warm_start": True}},
}
"""What differs in the settings of ``mlp``."""


class Kept(msgspec.Struct, frozen=True):
    """One way, over all streams: R² in percent and correlation, before the regime ended and after it came back."""

    symbol: str
    way: str
    r2_before_pct: float
    r2_back_pct: float
    ic_before: float
    ic_back: float


def measure(tapes: Sequence[Path], streams: int, epochs: int) -> list[Kept]:
    """Score every way on every symbol of a tape.

    Raises:
        As ``load_tape``.
    """
    instruments, frames = frames_of(tapes)
    found = []
    for symbol, instrument in enumerate(instruments):
        mine = frames[frames["symbol"] == symbol].copy()
        mine["symbol"] = 0
        built = live_features([instrument.tick], 0, EVERY_NS, WARM_UP_NS, "standard")(mine)
        count = len(built.times_ns) - AHEAD
        path, _ = mids_at(mine, built.times_ns)
        x, y = np.nan_to_num(built.x[:count]), path[AHEAD : AHEAD + count] - path[:count]
        for way, changes in WAYS.items():
            settings = ModelSettings(
                name=way.replace(", ", "-"),
                symbol=instrument.name,
                use="mlp",
                horizon_ns=HORIZON_NS,
                every_ns=EVERY_NS,
                epochs=epochs,
                window_rows=WINDOW,
                **changes,
            )
            pairs = []
            for number in range(streams):
                rows = bootstrap_rows(count, FIRST + SECOND + BACK, seed=900_000 + number)
                label = y[rows].copy()
                other = bootstrap_rows(count, SECOND, seed=950_000 + number)
                label[FIRST : FIRST + SECOND] = y[other]
                pairs.append((walk(settings, built.names, x[rows], label), label))
            found.append(_scored(instrument.name, way, pairs))
            sys.stderr.write(f"{found[-1]}\n")
    return found


def walk(settings: ModelSettings, names: Sequence[str], x: Floats, y: Floats) -> Floats:
    """What the network says of each row, trained each ``EACH`` rows on those whose labels are known."""
    model = model_class(settings.use)(settings, names)
    window = Window(settings.window_rows, len(names), memory_rows=settings.memory_rows)
    said = np.full(len(y), np.nan)
    for at in range(len(y)):
        known = at - AHEAD
        if known >= 0:
            end_ns = (known + AHEAD) * EVERY_NS
            window.add(known * EVERY_NS, x[known], float(y[known]), end_ns, 1.0 / AHEAD)
            if known % EACH == EACH - 1:
                rows = window.rows()
                parts = rows.times_ns, rows.x, rows.y
                job = TrainJob(
                    settings, "f", tuple(names), *parts, known, rows.ends_ns, rows.weights, rows.kept, model.parent()
                )
                model.swap(type(model).fit(job), "f")
        told = model.predict_one(x[at])
        if told is not None:
            said[at] = told
    return said


def _scored(symbol: str, way: str, pairs: Sequence[tuple[Floats, Floats]]) -> Kept:
    def part(begin: int, end: int) -> tuple[float, float]:
        said = np.concatenate([one[begin:end] for one, _ in pairs])
        label = np.concatenate([one[begin:end] for _, one in pairs])
        if not np.isfinite(said).all():
            raise ModelError(f"{way}: expected a model that answers by row {begin}, found none")
        return 100.0 - 100.0 * float(np.sum((label - said) ** 2) / np.sum(label**2)), pearson(said, label)

    before, back = part(FIRST - BACK, FIRST), part(FIRST + SECOND + AHEAD, FIRST + SECOND + BACK)
    return Kept(symbol, way, round(before[0], 2), round(back[0], 2), round(before[1], 3), round(back[1], 3))


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a network that is trained on the newest window forgets.")
    parser.add_argument("tapes", nargs="+", type=Path)
    parser.add_argument("--streams", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="one line for machines")
    args = parser.parse_args(words)
    found = measure(args.tapes, args.streams, args.epochs)
    if args.json:
        sys.stdout.write(json.dumps({"rows": msgspec.to_builtins(found)}) + "\n")
    else:
        sys.stdout.writelines(f"{one}\n" for one in found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
