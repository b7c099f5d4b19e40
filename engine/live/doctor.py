"""Looks at the machine before the daemon does: what is missing, what will be slow, what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import msgspec

Verdict = Literal["ok", "warning", "failed"]

PACKAGES: Final = (
    *(
        "aiohttp",
        "google-crc32c",
        "msgspec",
        "numba",
        "numpy",
        "onnxruntime",
        "polars",
        "prometheus-client",
        "pydantic",
        "redis",
    ),
    *("river", "structlog", "torch", "typer", "websockets"),
)
OPTIONAL_PROGRAMS: Final = {
    "redis-server": "only for [redis] on this machine and its tests",
    "promtool": "only to check deploy/ and its tests",
}
DISK_FAILS: Final = 1 << 30
DISK_WARNS: Final = 10 << 30
"""Free bytes: a day of a busy symbol's tape is about a gigabyte."""


class Check(msgspec.Struct, frozen=True):
    """One finding; ``advice`` says what to do and is empty where nothing need be done."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine(state_dir: Path = Path("var"), port: int = 8600, data: Path | None = None) -> list[Check]:
    """All checks, in the order in which they are shown; none of them changes anything."""
    looks: Sequence[Callable[[], Check]] = (
        python,
        packages,
        fast_loop,
        cores,
        threads,
        lambda: folder("state directory", state_dir),
        lambda: folder("kernel cache", kernel_cache()),
        lambda: disk(state_dir),
        lambda: free_port("127.0.0.1", port),
        wall_clock,
        timer,
        *(lambda name=name, why=why: program(name, why) for name, why in OPTIONAL_PROGRAMS.items()),
        lambda: recordings(data),
    )
    return [look() for look in looks]


def python() -> Check:
    """The interpreter: CPython with its lock (pip already refused anything older than 3.11)."""
    found = f"{platform.python_implementation()} {platform.python_version()}"
    if platform.python_implementation() != "CPython":
        return Check("python", "failed", found, "install CPython: numba runs on nothing else")
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return Check("python", "warning", f"{found} without its lock", "nobody has run Papertape on it yet")
    return Check("python", "ok", found)


def packages() -> Check:
    """Every package that the daemon imports."""
    missing = []
    for name in PACKAGES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("packages", "failed", f"missing: {', '.join(missing)}", "run: pip install papertape")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numba", "torch", "onnxruntime", "polars"))
    return Check("packages", "ok", versions)


def fast_loop() -> Check:
    """The faster event loop, where the platform has it."""
    try:
        return Check("event loop", "ok", f"uvloop {metadata.version('uvloop')}")
    except metadata.PackageNotFoundError:
        return Check("event loop", "warning", "asyncio's own", "pip install 'papertape[fast]' for uvloop")


def cores() -> Check:
    """One core for the engine, one for everything else."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count < 2:
        return Check("cores", "warning", f"{count}", "training will share the engine's core: expect slower ticks")
    return Check("cores", "ok", f"{count}")


def threads() -> Check:
    """Thread pools that would compete with the engine."""
    set_to = os.environ.get("OMP_NUM_THREADS", "")
    if set_to == "1" or not set_to:
        return Check("torch threads", "ok", f"OMP_NUM_THREADS={set_to or 'unset'}; the trainer uses one thread")
    return Check("torch threads", "warning", f"OMP_NUM_THREADS={set_to}", "set it to 1: more only adds jitter")


def kernel_cache() -> Path:
    """Where numba keeps compiled kernels: beside the source, in NUMBA_CACHE_DIR, or in the user's cache folder."""
    configured = os.environ.get("NUMBA_CACHE_DIR")
    if configured:
        return Path(configured)
    beside = Path(__file__).resolve().parent.parent / "core" / "__pycache__"
    if os.access(beside if beside.exists() else beside.parent, os.W_OK):
        return beside
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "numba"


def folder(name: str, path: Path) -> Check:
    """A folder that must be writable; if it is missing, its nearest parent must be."""
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return Check(name, "ok", f"{path}" if place == path else f"{path} (to be made)")
    kind = "is no folder" if not place.is_dir() else "is not writable"
    return Check(name, "failed", f"{path}: {place} {kind}", f"make {place} a folder that this user may write to")


def disk(path: Path) -> Check:
    """Room for the tape."""
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free / (1 << 30):.1f} GiB free"
    if free < DISK_FAILS:
        return Check("disk", "failed", found, "free at least 1 GiB, or set [record] enabled = false")
    if free < DISK_WARNS:
        return Check("disk", "warning", found, "a busy symbol's tape grows by about 1 GiB a day")
    return Check("disk", "ok", found)


def free_port(host: str, port: int) -> Check:
    """The page's port is not taken."""
    name = "port"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            advice = "a daemon may be running (papertape status); else set another [http] port"
            return Check(name, "warning", f"{host}:{port}: {error.strerror}", advice)
    return Check(name, "ok", f"{host}:{port} is free")


def wall_clock() -> Check:
    """The wall clock must be set: all receive times come from it."""
    now_s = time.time()
    built_s = Path(os.__file__).stat().st_mtime
    if now_s < built_s:
        shown = time.strftime("%Y-%m-%d", time.gmtime(now_s))
        return Check("clock", "failed", f"{shown}, before Python was installed", "set the clock, run an NTP client")
    return Check("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s)))


def timer() -> Check:
    """The steps of the nanosecond clock: ten are looked at, the smallest counts."""
    steps = []
    for _ in range(10):
        start = time.time_ns()
        later = time.time_ns()
        while later == start:
            later = time.time_ns()
        steps.append(later - start)
    smallest = min(steps)
    if smallest > 1_000_000:
        return Check("clock steps", "warning", f"{smallest / 1e6:.1f} ms", "latencies below that cannot be seen")
    return Check("clock steps", "ok", f"{smallest} ns")


def program(name: str, why: str) -> Check:
    """A program that some features use."""
    path = shutil.which(name)
    return Check(name, "ok", path) if path else Check(name, "ok", f"not installed ({why})")


def recordings(data: Path | None) -> Check:
    """The recorded market data that the golden tests use."""
    place = data or Path(os.environ.get("PAPERTAPE_DATA", "../shared/data"))
    if place.is_dir():
        return Check("recordings", "ok", f"{place}")
    return Check("recordings", "ok", f"{place} is absent: the tests that need it are skipped")


def passed(checks: Sequence[Check]) -> bool:
    """Nothing stands in the way of a run.

    >>> passed([Check("a", "ok", ""), Check("b", "warning", "")]), passed([Check("a", "failed", "")])
    (True, False)
    """
    return all(check.verdict != "failed" for check in checks)
