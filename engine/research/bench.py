"""Measures what the engine costs on this machine: ``papertape bench [NAME]``.

A row is a distribution over many samples, not a best case. What the figures do not show: the network, the event loop,
the disk. They are of one process that does nothing else.
"""

from __future__ import annotations

import gc
import os
import platform
from pathlib import Path
from typing import Any

import msgspec

from engine.research.bench_cases import BENCHES
from engine.research.bench_row import Row


class Result(msgspec.Struct, frozen=True):
    """One benchmark on one machine."""

    bench: str
    rows: list[Row]
    machine: dict[str, Any]


class UnknownBench(LookupError):
    """There is no such benchmark; the text names those that there are."""


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def run_bench(name: str, data: Path | None = None, scale: float = 1.0) -> Result:
    """Run one benchmark. ``scale`` below 1 measures less, for tests; ``data`` is the folder of recordings.

    Raises:
        UnknownBench: with the names that there are.
    """
    bench = BENCHES.get(name)
    if bench is None:
        raise UnknownBench(f"expected one of {', '.join(BENCHES)}, found {name!r}")
    gc.collect()
    return Result(name, list(bench(data, scale)), machine())


def recordings_folder() -> Path | None:
    """Where the recorded market data is, if it is there."""
    place = Path(os.environ.get("PAPERTAPE_DATA", "../shared/data"))
    return place if place.is_dir() else None
