"""How long a start takes that has much to remember: thousands of resting orders, a gigabyte of journal.

    python -m engine.research.restart --orders 10000 --journal-mib 1024 --tail-frames 60000 --json

A run is made without a network: frames of the plain protocol go through journal and engine as in a daemon, orders rest,
a snapshot is taken, more frames follow, and the process that made it is gone without a word. Then the run is brought
back by a process of its own, as a daemon does at its start; its time is taken there, with and without what Python and
its libraries take to load.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from adapters.entry import Entry, EntryKind
from adapters.plain import Plain
from engine.core.types import Instrument
from engine.live.config import AppConfig, parse_config
from engine.live.recovery.session import open_past
from engine.live.statedir import StateDir
from engine.research.lived import Lived

STEP_NS: Final = 1_000_000
LEVELS: Final = 20
BTC: Final = Instrument(venue="v", symbol="BTC", base="BTC", quote="USDT", price_decimals=1, size_decimals=3)
CASH: Final = {"USDT": "100000000000", "BTC": "1000000"}


class Restart(msgspec.Struct):
    """What a start took: ``recovery_s`` from the first byte read to the state of the last input."""

    orders: int
    journal_mib: float
    snapshot_mib: float
    tail_inputs: int
    facts: int
    freeze_ms: float
    recovery_s: float
    process_s: float


def config(orders: int) -> AppConfig:
    """A run whose strategy rests so many orders and takes none back."""
    strategy = {"use": "engine.research.crash_strategy:Busy", "symbol": "v:BTC", "every_s": 0.002, "orders": 40}
    return parse_config(
        {
            "run": {"name": "restart"},
            "venue": {"v": {"use": "plain", "symbols": ["BTC"]}},
            "paper": {"out": "1ms", "back": "1ms", "cash": CASH, "max_orders": max(64, orders)},
            "risk": {
                "max_orders_per_window": 0,
                "max_open_orders": 0,
                "max_position_notional": "0",
                "max_total_notional": "0",
                "drawdown_fraction": "0",
                "price_collar_bps": 0,
            },
            "strategy": [
                {
                    "name": "busy",
                    **strategy,
                    "rest": orders,
                    "notional": "100",
                    "deep": 2000,
                    "renews": False,
                    "takes": False,
                }
            ],
        },
        "restart",
    )


def frames(seed: int) -> Iterator[bytes]:
    """Books of ``LEVELS`` levels around a mid that does not go away, without an end."""
    chance = np.random.default_rng(seed)
    seq = 0
    while True:
        seq += 1
        sizes = chance.integers(1, 3000, 2 * LEVELS).tolist()
        bids = [[f"{(600_000 - 1 - at) / 10:.1f}", f"{sizes[at] / 1000:.3f}"] for at in range(LEVELS)]
        asks = [[f"{(600_000 + 1 + at) / 10:.1f}", f"{sizes[LEVELS + at] / 1000:.3f}"] for at in range(LEVELS)]
        frame = {"type": "book", "symbol": "BTC", "seq": seq, "time": 0, "bids": bids, "asks": asks}
        yield json.dumps(frame).encode()


def make(folder: Path, orders: int, journal_bytes: int, tail_frames: int) -> dict[str, Any]:
    """Make such a run in a folder; what was measured on the way."""
    lived = Lived(folder / "restart", config(orders), BTC, Plain)
    source = frames(1)

    def take_frame() -> None:
        lived.now_ns += STEP_NS
        lived.take(Entry(EntryKind.RECEIVED, lived.now_ns, "v", "", next(source)))

    while lived.journal.written_bytes < journal_bytes or len(lived.engine.desk.orders) < orders:
        take_frame()
    frozen_s = lived.snapshot()
    for _ in range(tail_frames):
        take_frame()
    return {
        "orders": len(lived.engine.desk.orders),
        "journal_mib": sum(path.stat().st_size for path in lived.state.journal.iterdir()) / 2**20,
        "snapshot_mib": lived.keeper.snapshot_bytes / 2**20,
        "freeze_ms": 1000 * frozen_s,
        "digest": lived.engine.digest,
    }


def bring_back(folder: Path, orders: int) -> dict[str, Any]:
    """Open the run as a daemon does, and say how long that took."""
    settings = config(orders)
    started = time.perf_counter()
    with StateDir(folder / "restart") as state:
        opened = open_past(state, settings, [BTC], {"v": Plain})
        seconds = time.perf_counter() - started
        assert opened.past is not None
        engine = opened.past.kept.engine
        opened.journal.close()
    told = opened.past.told
    return {
        "orders": len(engine.desk.orders),
        "digest": engine.digest,
        "inputs": told.inputs,
        "facts": told.facts,
        "seconds": seconds,
    }


def measure(orders: int, journal_mib: int, tail_frames: int, folder: Path) -> Restart:
    """Make a run and bring it back.

    Raises:
        RuntimeError: what came back is not what was left.
    """
    words = [sys.executable, "-m", "engine.research.restart", "--orders", str(orders), "--folder", str(folder)]
    sizes = ["--journal-mib", str(journal_mib), "--tail-frames", str(tail_frames)]
    made = json.loads(subprocess.run([*words, *sizes, "--only-make"], check=True, capture_output=True).stdout)
    started = time.perf_counter()
    back = json.loads(subprocess.run([*words, "--only-back"], check=True, capture_output=True).stdout.splitlines()[-1])
    process_s = time.perf_counter() - started
    if (made["orders"], made["digest"]) != (back["orders"], back["digest"]):
        raise RuntimeError(f"expected what was left, {made}, found {back}")
    return Restart(
        orders=back["orders"],
        journal_mib=made["journal_mib"],
        snapshot_mib=made["snapshot_mib"],
        tail_inputs=back["inputs"],
        facts=back["facts"],
        freeze_ms=made["freeze_ms"],
        recovery_s=back["seconds"],
        process_s=process_s,
    )


def main(words: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.research.restart", description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--journal-mib", type=int, default=1024)
    parser.add_argument("--tail-frames", type=int, default=60_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only-make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only-back", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.only_make:
        told = make(asked.folder, asked.orders, asked.journal_mib << 20, asked.tail_frames)
    elif asked.only_back:
        told = bring_back(asked.folder, asked.orders)
    else:
        with tempfile.TemporaryDirectory(prefix="papertape-restart-") as place:
            found = measure(asked.orders, asked.journal_mib, asked.tail_frames, asked.folder or Path(place))
        told = msgspec.to_builtins(found)
        if not asked.json:
            sys.stdout.writelines(f"{name:14} {value}\n" for name, value in told.items())
            return 0
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
