"""What a durable journal costs from tick to order: one daemon in turns without fsync, with one each second, with all.

    python -m engine.research.group_commit --rounds 4 --seconds 20 --json

The kinds take turns, in another order each round. With ``always`` the disk is asked after every commit, and answers for
all commits that came meanwhile at once. The goal is that the 99th percentile of the time from the arrival of a message
to the order that it led to is at most 1.2 times that without fsync; exit code 1: it is not. No part of it are the time
until the order is shown, which has to wait for the disk, and what a message waits before the loop takes it in: that is
what the pauses tell. A write to the file whose fsync is under way can itself be held up by the file system.

On a file system in memory an fsync is free and nothing is shown: the folder must lie on a disk. Its file system and
what an fsync takes there alone are told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

from engine.live.config import AppConfig, parse_config
from engine.research.quiet import be_quiet
from engine.research.turns import SYMBOLS, Counted, Daemon, daemon, demo

GOAL: Final = 1.2
SETTLE_S: Final = 2.0
"""After a turn begins, until what is counted begins."""

KINDS: Final[dict[str, int | None]] = {"off": None, "1s": 1_000_000_000, "always": 0}
"""``[journal] fsync`` by its word, as ``Journal.sync_every`` has it."""

PROBES: Final = 50
PROBE_BYTES: Final = 4096
MOUNTS: Final = Path("/proc/self/mounts")


class Turn(Counted):
    """One turn, and how often the journal was made durable in it."""

    fsync: str
    fsyncs: int


class Found(msgspec.Struct):
    """All turns of a kind together; ``fsync_ms`` is the median of an fsync of 4 KiB in the folder, without a daemon."""

    folder: str
    file_system: str
    fsync_ms: float
    messages_per_s: float
    orders: int
    p99_us: dict[str, float]
    ratio: dict[str, float]
    pause_p99_ms: dict[str, float]
    longest_pause_ms: dict[str, float]
    fsyncs_per_s: dict[str, float]
    longest_fsync_ms: float
    missed: int
    turns: list[Turn]

    @property
    def holds(self) -> bool:
        """Whether no kind is beyond the goal, and nothing was missed."""
        return max(self.ratio.values()) <= GOAL and not self.missed


def config(folder: Path, speed: float, seed: int, *, makes: bool = False) -> AppConfig:
    """Some hundred orders a second, or what two makers send (``makes``).

    One snapshot and one segment: each further one would have fsyncs of its own.
    """
    plain = demo("commit", folder, speed, seed)
    busy = {"use": "engine.research.crash_strategy:Busy", "every_s": 0.01, "orders": 1, "rest": 20}
    risk = {"allow_short": True, "allow_debt": True, "max_position_notional": "0"}
    return parse_config(
        {
            **plain,
            "risk": {**plain["risk"], **risk},
            "journal": {"snapshot_every": "24h", "segment": "4GiB"},
            "strategy": plain["strategy"]
            if makes
            else [{"name": f"busy-{one}", "symbol": f"sim:{one}", **busy} for one in SYMBOLS],
        },
        "group commit",
    )


async def measure(settings: AppConfig, folder: Path, rounds: int, seconds: float) -> Found:
    """Run the daemon and take turns."""
    fsync_ms, done = fsync_takes_ms(folder), list[Turn]()
    words = list(KINDS)
    async with daemon(settings, folder / "commit") as one:
        for number in range(rounds):
            for at in range(len(words)):
                done.append(await _turn(one, words[(at + number) % len(words)], seconds))
                sys.stderr.write(f"{done[-1]}\n")
        journal = one.runner.journal
        assert journal is not None
        return _sum_up(folder, fsync_ms, journal.longest_sync_ns / 1e6, one.runner.missed, done)


async def _turn(one: Daemon, word: str, seconds: float) -> Turn:
    journal = one.runner.journal
    assert journal is not None
    journal.sync_every(KINDS[word])
    await asyncio.sleep(SETTLE_S)
    begun = journal.syncs
    counted = msgspec.structs.asdict(await one.count(seconds))
    return Turn(**counted, fsync=word, fsyncs=journal.syncs - begun)


def _sum_up(folder: Path, fsync_ms: float, longest_ms: float, missed: int, turns: list[Turn]) -> Found:
    """The ratios are of the means over turns of each kind."""
    by = {word: [one for one in turns if one.fsync == word] for word in KINDS}
    p99 = {word: sum(one.p99_us for one in some) / len(some) for word, some in by.items()}
    return Found(
        folder=str(folder),
        file_system=file_system(folder),
        fsync_ms=round(fsync_ms, 3),
        messages_per_s=round(sum(one.messages for one in turns) / sum(one.seconds for one in turns)),
        orders=sum(one.orders for one in turns),
        p99_us={word: round(value, 1) for word, value in p99.items()},
        ratio={word: round(value / p99["off"], 3) for word, value in p99.items() if word != "off"},
        pause_p99_ms={word: round(sum(one.pause_p99_ms for one in some) / len(some), 2) for word, some in by.items()},
        longest_pause_ms={word: max(one.longest_pause_ms for one in some) for word, some in by.items()},
        fsyncs_per_s={
            word: round(sum(one.fsyncs for one in some) / sum(one.seconds for one in some), 1)
            for word, some in by.items()
        },
        longest_fsync_ms=round(longest_ms, 1),
        missed=missed,
        turns=turns,
    )


def fsync_takes_ms(folder: Path) -> float:
    """The median of a few: a small write at a file's end made durable."""
    took = []
    path = folder / "probe"
    with path.open("wb", buffering=0) as file:
        for _ in range(PROBES):
            file.write(b"x" * PROBE_BYTES)
            begun = time.perf_counter()
            os.fsync(file.fileno())
            took.append(1e3 * (time.perf_counter() - begun))
    path.unlink()
    return median(took)


def file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on; empty where the system has no list of its mounts."""
    if not MOUNTS.exists():
        return ""
    here = folder.resolve()
    mounts = [line.split() for line in MOUNTS.read_text().splitlines()]
    around = [(len(words[1]), words[2]) for words in mounts if here.is_relative_to(words[1])]
    return max(around)[1] if around else ""


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m engine.research.group_commit", description=__doc__)
    parser.add_argument("--speed", type=float, default=30.0, help="of the simulated exchange")
    parser.add_argument("--rounds", type=int, default=4, help="of a turn of each kind")
    parser.add_argument("--seconds", type=float, default=20.0, help="that each turn is counted")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--makers", action="store_true", help="trade as the demo's makers do: some twenty orders a second"
    )
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; the current directory without it")
    parser.add_argument("--json", action="store_true", help="one line for machines")
    asked = parser.parse_args(words)
    be_quiet()
    with tempfile.TemporaryDirectory(prefix="papertape-commit-", dir=asked.folder or Path.cwd()) as place:
        folder = Path(place)
        settings = config(folder, asked.speed, asked.seed, makes=asked.makers)
        found = asyncio.run(measure(settings, folder, max(1, asked.rounds), asked.seconds))
    told: dict[str, Any] = msgspec.to_builtins(found) | {"holds": found.holds}
    text = json.dumps(told) if asked.json else "\n".join(f"{name:>18}  {value}" for name, value in told.items())
    sys.stdout.write(f"{text}\n")
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
