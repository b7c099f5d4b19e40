"""One daemon in turns: how often its journal is made durable is what differs between them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from engine.research.group_commit import GOAL, KINDS, file_system, fsync_takes_ms
from tests.data import ROOT


def test_each_turn_has_its_own_fsyncs_and_misses_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "engine.research.group_commit", "--rounds", "1", "--seconds", "2", "--json"]
    done = subprocess.run(
        [*words, "--folder", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode in (0, 1), done.stderr  # how long it took is not asked here
    told = json.loads(done.stdout)
    assert told["holds"] == (max(told["ratio"].values()) <= GOAL) == (done.returncode == 0)
    turns = {turn["fsync"]: turn for turn in told["turns"]}
    assert list(turns) == list(KINDS)
    assert turns["off"]["fsyncs"] == 0 < turns["1s"]["fsyncs"] < turns["always"]["fsyncs"]
    assert all(turn["orders"] > 5 and turn["messages"] > 100 for turn in turns.values()), told
    assert told["missed"] == 0
    assert list(tmp_path.iterdir()) == []


def test_the_disk_is_told_of(tmp_path: Path) -> None:
    assert fsync_takes_ms(tmp_path) > 0.0
    assert list(tmp_path.iterdir()) == []
    assert file_system(Path("/proc")) in ("proc", "")
