"""Damage a run's journal in every way that a torn write or a flipped bit can, and start the run from each.

    python -m engine.research.damage --json

The claim: the journal cut at each byte of its last 64 KiB, and with every single bit of 4 KiB flipped, always starts
with at most the torn record missing, or refuses with the exact place, and never has a wrong balance. Each case is a
whole start, as a daemon has it: the journal opened, the newest usable snapshot thawed, all behind it told again. What
came is held against what was noted after each input while the run lived. Three runs are damaged:

* ``tail``: the claim itself; the cut stretch has inputs, facts, a snapshot's mark and the begin of a second session;
* ``segments``: as many bytes as are flipped, around the end of a sealed segment and the begin of the next, cut too;
* ``unsaved``: a run without a snapshot, cut at each of so many bytes at its end, told again from its first input.

Exit code 1: in some case it does not hold. A case takes about 7 ms, all 139,265 some eight minutes on two cores.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.research.damage_case import Bench, Case, Tally, cases
from engine.research.damage_run import Made, make_segments, make_tail, make_unsaved
from engine.research.quiet import be_quiet

IN_MEMORY: Final = Path("/dev/shm")
"""Where files are in memory on Linux. A start makes its journal durable, which costs a disk's time and shows nothing
of what is to be shown here."""

SHARE: Final = 256
"""Cases that a process takes at a time."""

QUIET: Final = logging.CRITICAL
"""Each start has warnings to say of the tail that it cut off."""

NAMES: Final = ("tail", "segments", "unsaved")

Progress = Callable[[str], None]


class Found(msgspec.Struct):
    """All cases together and those of each run; ``seconds`` are of the wall, ``case_ms`` of a process's time a case."""

    all: Tally
    runs: dict[str, Tally]
    seconds: float
    case_ms: float

    @property
    def holds(self) -> bool:
        """Whether it does for each run, and both ways out were seen."""
        return all(one.holds for one in self.runs.values()) and self.all.started > 0 < self.all.refused


def make(name: str, folder: Path, cut_bytes: int, flip_bytes: int) -> Made:
    """Make a run by its name."""
    match name:
        case "tail":
            return make_tail(folder, cut_bytes, flip_bytes)
        case "segments":
            return make_segments(folder, flip_bytes)
    return make_unsaved(folder, flip_bytes)


def campaign(
    folder: Path,
    names: Sequence[str] = NAMES,
    *,
    cut_kib: int = 64,
    flip_kib: int = 4,
    cut_step: int = 1,
    flip_step: int = 1,
    processes: int = 1,
    progress: Progress = lambda text: None,
) -> Found:
    """Damage these runs in ``folder``: at every byte and bit, or each ``cut_step``-th and ``flip_step``-th."""
    begun = time.perf_counter()
    shares: list[tuple[Path, list[Case]]] = []
    for name in names:
        place = folder / name
        made = make(name, place / "made", cut_kib << 10, flip_kib << 10)
        (place / "made.msgpack").write_bytes(msgspec.msgpack.encode(made))
        some = cases(made, cut_step, flip_step)
        shares += [(place, some[at : at + SHARE]) for at in range(0, len(some), SHARE)]
    found = Found(Tally(), {name: Tally() for name in names}, 0.0, 0.0)
    left = count = sum(len(some) for _, some in shares)
    worked_s = 0.0
    for number, (name, tally, seconds) in enumerate(_judged(shares, processes), 1):
        found.runs[name].add(tally)
        found.all.add(tally)
        worked_s += seconds
        left -= tally.cuts + tally.flips
        if number % 16 == 0:
            progress(f"{count - left:,} of {count:,} cases, {time.perf_counter() - begun:.0f} s")
    found.seconds = round(time.perf_counter() - begun, 1)
    found.case_ms = round(1e3 * worked_s / count, 2)
    return found


def _judged(shares: list[tuple[Path, list[Case]]], processes: int) -> Iterator[tuple[str, Tally, float]]:
    if processes == 1:
        for share in shares:
            yield judge(*share)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_begin) as pool:
        futures = [pool.submit(judge, *share) for share in shares]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_benches: dict[Path, Bench] = {}
"""Of this process, by the run."""


def judge(place: Path, some: list[Case]) -> tuple[str, Tally, float]:
    """The cases of a share, in a folder of this process's own: whose they were, how they came out, how long it took."""
    if place not in _benches:
        made = msgspec.msgpack.decode((place / "made.msgpack").read_bytes(), type=Made)
        _benches[place] = Bench(made, place / str(os.getpid()))
    tally, begun = Tally(), time.perf_counter()
    for case in some:
        _benches[place].judge(case, tally)
    return place.name, tally, time.perf_counter() - begun


def _begin() -> None:
    """Of a process of its own: what its libraries have made is not looked through for garbage after every few cases."""
    be_quiet(QUIET)
    gc.freeze()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main(words: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.research.damage", description=__doc__)
    parser.add_argument("--cut-kib", type=int, default=64, help="of the journal's end, cut at each byte")
    parser.add_argument("--flip-kib", type=int, default=4, help="of which each bit is flipped; at least 4")
    parser.add_argument("--cut-step", type=int, default=1, help="only one cut in so many")
    parser.add_argument("--flip-step", type=int, default=1, help="only one bit in so many")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, help="keep the runs here; a temporary folder in memory without it")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)
    be_quiet(QUIET)
    with tempfile.TemporaryDirectory(
        prefix="papertape-damage-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None
    ) as place:
        folder = asked.folder or Path(place)
        found = campaign(
            folder,
            cut_kib=asked.cut_kib,
            flip_kib=asked.flip_kib,
            cut_step=asked.cut_step,
            flip_step=asked.flip_step,
            processes=asked.processes,
            progress=_say,
        )
    plain: dict[str, Any] = msgspec.to_builtins(found.all) | {"seconds": found.seconds, "case_ms": found.case_ms}
    plain["holds"] = found.holds
    if asked.json:
        sys.stdout.write(json.dumps(plain | {"runs": msgspec.to_builtins(found.runs)}) + "\n")
    else:
        sys.stdout.writelines(f"{name:20} {value}\n" for name, value in plain.items())
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
