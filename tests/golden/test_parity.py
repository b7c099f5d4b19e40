"""hftbacktest on the same tape with the same queue, latency and maker: the same fills, order by order, or a reason.

Skipped where hftbacktest is not installed; ``PAPERTAPE_HFTBACKTEST`` may name another Python that has it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.core import events as ev
from engine.research import parity
from engine.research.parity import finer, run_ours, setup_for, simulated
from engine.research.parity_tape import CROSSED, FLEETING, THROUGH, UNEXPLAINED, Look, explain
from tests.data import recordings
from tests.market import depth, snapshot, trade


@pytest.fixture(scope="session")
def python() -> str:
    """A Python that has hftbacktest."""
    named = os.environ.get("PAPERTAPE_HFTBACKTEST", "")
    if named:
        done = subprocess.run([named, "-c", "import hftbacktest"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"PAPERTAPE_HFTBACKTEST names a Python without hftbacktest: {done.stderr}"
        return named
    if importlib.util.find_spec("hftbacktest") is None:
        pytest.skip("hftbacktest is not installed: pip install '.[parity]', or set PAPERTAPE_HFTBACKTEST to its Python")
    return sys.executable


def compared(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code = parity.main([*arguments])
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == 0 and result["ties"] == 0
    return result


def test_orders_smaller_than_any_print_fill_alike_on_the_simulated_market(
    python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = compared(capsys, "--market", "7", "--seconds", "120", "--lots", "0", "--python", python)
    assert result["differences"] == {} and result["same_orders"] == result["orders"]
    assert result["filled_ours"] > 90


def test_larger_orders_differ_only_in_size_that_never_traded(python: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = compared(capsys, "--market", "7", "--seconds", "120", "--lots", "8000", "--python", python)
    assert set(result["differences"]) <= {THROUGH, CROSSED}
    assert result["filled_ours"] == result["filled_theirs"]


@pytest.mark.slow
def test_a_recording_fills_alike(python: str, capsys: pytest.CaptureFixture[str]) -> None:
    tape = recordings() / "binance" / "usdm-btcusdt_20240718.gz"
    result = compared(capsys, str(tape), "--step-ms", "200", "--lots", "0", "--python", python)
    assert result["differences"] == {} and result["filled_ours"] > 5


def test_our_side_alone_quotes_both_sides_at_every_step() -> None:
    instrument, batch = finer(*simulated(3, 20, 3_000_000))
    setup = setup_for(
        instrument, batch, step_ns=500_000_000, lots=10, out_ns=4_000_000, back_ns=6_000_000, feed_ns=3_000_000
    )
    quotes = run_ours(instrument, batch, setup)
    assert [one.side for one in quotes] == [1, -1] * setup.steps
    assert all((one.price - one.best) * one.side <= 0 for one in quotes)
    assert any(one.fills for one in quotes) and all(sum(one.fills.values()) <= setup.size for one in quotes)


def test_each_class_of_difference_is_read_off_the_tape() -> None:
    tape = np.concatenate(
        [
            snapshot(1, [(100, 50)], [(102, 5)]),
            trade(10, 99, 3, sell=True),
            depth(20, bids=[(100, 0)], asks=[(100, 4)]),
            depth(30, asks=[(101, 2), (101, 0)]),
            depth(40, asks=[(110, 1)]),
        ]
    )
    assert tape["kind"][-1] == ev.LEVEL

    def look(at: int, ours: int, *, price: int = 101) -> Look:
        return Look(1, price, 10, {at: ours} if ours else {}, {at: 10})

    words = explain(tape, [look(10, 3), look(20, 4), look(30, 0), look(40, 0, price=99), look(10, 5)])
    assert words == [THROUGH, CROSSED, CROSSED, UNEXPLAINED, UNEXPLAINED]
    fleeting = explain(tape[:-1][tape["price"][:-1] != 100], [look(30, 0)])
    assert fleeting == [FLEETING]


def test_without_hftbacktest_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    assert parity.main(["--market", "7", "--seconds", "5", "--python", str(bare)]) == 2
    assert "papertape[parity]" in capsys.readouterr().err
