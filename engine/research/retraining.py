"""What retraining without pause does to the loop: the same daemon in turns with and without it.

    python -m engine.research.retraining --speed 30 --turns 6 --seconds 20 --json

The daemon of the demo runs in this process, its simulated exchange in another, at thirty times its speed: some 5,000
messages a second. In every second turn a network is trained again as soon as the training before has come back, in the
other turns its requests wait. Both kinds see the same machine within a minute, so that their ratio tells what training
does and not what else went on. A heartbeat each millisecond tells how long the loop was held up.
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

from engine.live.app import App
from engine.live.config import AppConfig, parse_config
from engine.live.latency import Latency
from engine.live.runner import Runner
from engine.live.statedir import StateDir
from engine.live.training import Training

BEAT_S: Final = 0.001
FIRST_TRAININGS: Final = 3
SETTLE_S: Final = 3.0
"""After a turn begins, until what is counted begins: a training of the turn before may still be under way."""


class Turn(msgspec.Struct):
    """One turn: latencies in microseconds, pauses in milliseconds."""

    trains: bool
    seconds: float
    messages: int
    orders: int
    p50_us: float
    p99_us: float
    pause_p99_ms: float
    longest_pause_ms: float
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


class Heartbeat:
    """How much later than asked for the loop came back, while it is counted."""

    def __init__(self) -> None:
        self.pauses = Latency()
        self.longest_s = 0.0

    def reset(self) -> None:
        self.pauses, self.longest_s = Latency(), 0.0

    async def beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            late_s = loop.time() - due
            self.pauses.observe(round(late_s * 1e9))
            self.longest_s = max(self.longest_s, late_s)


def config(folder: Path, speed: float, seed: int, snapshot_every: str) -> AppConfig:
    """Two symbols, a maker on each and a network that is trained as soon as it has been."""
    maker = {"use": "maker", "notional": "500", "max_notional": "3000", "half_spread_bps": 0.05, "requote_bps": 0.1}
    symbols = ["BTCUSDT", "ETHUSDT"]
    cash = {"USDT": "1000000", "BTC": "10", "ETH": "100"}
    return parse_config(
        {
            "run": {"name": "retraining", "state_dir": str(folder), "seed": seed},
            "venue": {"sim": {"use": "binance-spot", "symbols": symbols, "market": {"seed": seed, "speed": speed}}},
            "paper": {"out": "5ms", "back": "5ms", "feed": "1ms", "cash": cash},
            "risk": {"max_orders_per_window": 0, "max_open_orders": 2000, "drawdown_fraction": "0"},
            "http": {"port": 0},
            "journal": {"snapshot_every": snapshot_every},
            "strategy": [{"name": f"maker-{one}", "symbol": f"sim:{one}", **maker} for one in symbols],
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
    app = App(settings, StateDir(folder / "retraining"))
    running = asyncio.create_task(app.run(None))
    heart = Heartbeat()
    beating = asyncio.create_task(heart.beat())
    done: list[Turn] = []
    try:
        runner = await _ready(app, running)
        training = runner.training
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
            done.append(await _turn(runner, training, heart, trains, seconds))
            sys.stderr.write(f"{done[-1]}\n")
        return _sum_up(done, runner.missed, training.failed)
    finally:
        beating.cancel()
        app.request_stop("measured")
        await running


async def _ready(app: App, running: asyncio.Task[None]) -> Runner:
    """Wait until the books are there; an end before that is an error."""
    while not running.done():
        await asyncio.sleep(0.1)
        if app.is_started and app.view.ready()[0]:
            return app.view.runner
    running.result()
    raise RuntimeError("expected the daemon to become ready, found that it ended")


async def _turn(runner: Runner, training: Training, heart: Heartbeat, trains: bool, seconds: float) -> Turn:
    heart.reset()
    runner.order = Latency()
    begun, batches = training.started, runner.batches_processed
    await asyncio.sleep(seconds)
    return Turn(
        trains=trains,
        seconds=seconds,
        messages=runner.batches_processed - batches,
        orders=runner.order.count,
        p50_us=runner.order.quantile_us(0.5),
        p99_us=runner.order.quantile_us(0.99),
        pause_p99_ms=heart.pauses.quantile_us(0.99) / 1e3,
        longest_pause_ms=round(heart.longest_s * 1e3, 2),
        trainings=training.started - begun,
    )


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
    with tempfile.TemporaryDirectory() as folder:
        settings = config(Path(folder), args.speed, args.seed, args.snapshot_every)
        found = asyncio.run(measure(settings, Path(folder), max(2, args.turns), args.seconds))
    told: dict[str, Any] = msgspec.to_builtins(found)
    text = json.dumps(told) if args.json else "\n".join(f"{name:>24}  {value}" for name, value in told.items())
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
