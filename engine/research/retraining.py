"""What retraining without pause does to the loop: the same daemon in turns with and without it.

    python -m engine.research.retraining --speed 30 --turns 6 --seconds 20 --json

The simulated exchange runs at thirty times its speed: some 5,000 messages a second. In every second turn a network is
trained again as soon as the training before has come back, in the other turns its requests wait. Both kinds see the
same machine within a minute, so that their ratio tells what training does and not what else went on (``turns.py``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.live.config import AppConfig, parse_config
from engine.research.quiet import be_quiet
from engine.research.turns import Counted, daemon, demo

FIRST_TRAININGS: Final = 3
SETTLE_S: Final = 3.0
"""After a turn begins, until what is counted begins: a training of the turn before may still be under way."""


class Turn(Counted):
    """One turn, and how many trainings began in it."""

    trains: bool
    trainings: int


class Found(msgspec.Struct):
    """All turns of a kind together, and what they tell."""

    messages_per_s: float
    orders: int
    p99_none_us: float
    p99_trains_us: float
    ratio: float
    longest_pause_none_ms: float
    longest_pause_trains_ms: float
    trainings: int
    failed: int
    missed: int
    turns: list[Turn]


def config(folder: Path, speed: float, seed: int, snapshot_every: str) -> AppConfig:
    """Two symbols, a maker on each and a network that is trained as soon as it has been."""
    return parse_config(
        {
            **demo("retraining", folder, speed, seed),
            "journal": {"snapshot_every": snapshot_every},
            "model": [
                {
                    "name": "net",
                    "use": "mlp",
                    "symbol": "sim:BTCUSDT",
                    "horizon": "1s",
                    "every": "50ms",
                    "retrain_every": "1ms",
                    "window_rows": 3000,
                    "min_rows": 100,
                }
            ],
        },
        "retraining",
    )


async def measure(settings: AppConfig, folder: Path, turns: int, seconds: float) -> Found:
    """Run the daemon and take turns."""
    done: list[Turn] = []
    async with daemon(settings, folder / "retraining") as one:
        training = one.runner.training
        assert training is not None
        while training.started < FIRST_TRAININGS:  # the trainer has loaded its libraries
            await asyncio.sleep(0.1)
        for number in range(turns):
            trains = number % 2 == 1
            if trains:
                training.release()
            else:
                training.hold()
            await asyncio.sleep(SETTLE_S)
            begun = training.started
            counted = msgspec.structs.asdict(await one.count(seconds))
            done.append(Turn(**counted, trains=trains, trainings=training.started - begun))
            sys.stderr.write(f"{done[-1]}\n")
        return _sum_up(done, one.runner.missed, training.failed)


def _sum_up(turns: list[Turn], missed: int, failed: int) -> Found:
    """The ratio is of the means over turns of each kind."""
    by = {kind: [one for one in turns if one.trains is kind] for kind in (False, True)}
    p99 = {kind: sum(one.p99_us for one in some) / len(some) for kind, some in by.items()}
    longest = {kind: max(one.longest_pause_ms for one in some) for kind, some in by.items()}
    return Found(
        messages_per_s=round(sum(one.messages for one in turns) / sum(one.seconds for one in turns)),
        orders=sum(one.orders for one in turns),
        p99_none_us=round(p99[False], 1),
        p99_trains_us=round(p99[True], 1),
        ratio=round(p99[True] / p99[False], 3),
        longest_pause_none_ms=longest[False],
        longest_pause_trains_ms=longest[True],
        trainings=sum(one.trainings for one in turns),
        failed=failed,
        missed=missed,
        turns=turns,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What retraining without pause does to the loop.")
    parser.add_argument("--speed", type=float, default=30.0, help="of the simulated exchange")
    parser.add_argument("--turns", type=int, default=6, help="of both kinds together, at least 2")
    parser.add_argument("--seconds", type=float, default=20.0, help="that each turn is counted")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--snapshot-every", default="60s", help="of the whole state, which holds the loop up in both")
    parser.add_argument("--json", action="store_true", help="one line for machines")
    args = parser.parse_args(words)
    be_quiet()
    with tempfile.TemporaryDirectory() as folder:
        settings = config(Path(folder), args.speed, args.seed, args.snapshot_every)
        found = asyncio.run(measure(settings, Path(folder), max(2, args.turns), args.seconds))
    told: dict[str, Any] = msgspec.to_builtins(found)
    text = json.dumps(told) if args.json else "\n".join(f"{name:>24}  {value}" for name, value in told.items())
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
