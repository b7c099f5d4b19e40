"""One daemon in turns: the same run with and without something, so that their ratio tells that and not the machine.

The daemon of the demo runs in this process, its simulated exchange in another. A heartbeat each millisecond tells how
long the loop was held up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.live.app import App
from engine.live.config import AppConfig
from engine.live.latency import Latency
from engine.live.runner import Runner
from engine.live.statedir import StateDir

BEAT_S: Final = 0.001
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")


class Counted(msgspec.Struct):
    """What was counted in one turn: latencies from tick to order in microseconds, pauses in milliseconds."""

    seconds: float
    messages: int
    orders: int
    p50_us: float
    p99_us: float
    pause_p99_ms: float
    longest_pause_ms: float


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


class Daemon:
    """A daemon that is ready, and its heartbeat."""

    def __init__(self, runner: Runner, heart: Heartbeat) -> None:
        self.runner = runner
        self._heart = heart

    async def count(self, seconds: float) -> Counted:
        """What happens from now on for so long."""
        runner, heart = self.runner, self._heart
        heart.reset()
        runner.order = Latency()
        batches = runner.batches_processed
        await asyncio.sleep(seconds)
        return Counted(
            seconds=seconds,
            messages=runner.batches_processed - batches,
            orders=runner.order.count,
            p50_us=runner.order.quantile_us(0.5),
            p99_us=runner.order.quantile_us(0.99),
            pause_p99_ms=heart.pauses.quantile_us(0.99) / 1e3,
            longest_pause_ms=round(heart.longest_s * 1e3, 2),
        )


@asynccontextmanager
async def daemon(settings: AppConfig, folder: Path) -> AsyncIterator[Daemon]:
    """Run it in a folder while the block lasts.

    Raises:
        RuntimeError: it ended before its books were ready.
    """
    app = App(settings, StateDir(folder))
    running = asyncio.create_task(app.run(None))
    heart = Heartbeat()
    beating = asyncio.create_task(heart.beat())
    try:
        yield Daemon(await _ready(app, running), heart)
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


def demo(name: str, folder: Path, speed: float, seed: int) -> dict[str, Any]:
    """The plain configuration of two symbols of a simulated exchange at so many times its speed, a maker on each."""
    maker = {"use": "maker", "notional": "500", "max_notional": "3000", "half_spread_bps": 0.05, "requote_bps": 0.1}
    return {
        "run": {"name": name, "state_dir": str(folder), "seed": seed},
        "venue": {"sim": {"use": "binance-spot", "symbols": list(SYMBOLS), "market": {"seed": seed, "speed": speed}}},
        "paper": {
            "out": "5ms",
            "back": "5ms",
            "feed": "1ms",
            "cash": {"USDT": "1000000", "BTC": "10", "ETH": "100"},
        },
        "risk": {"max_orders_per_window": 0, "max_open_orders": 2000, "drawdown_fraction": "0"},
        "http": {"port": 0},
        "strategy": [{"name": f"maker-{one}", "symbol": f"sim:{one}", **maker} for one in SYMBOLS],
    }
