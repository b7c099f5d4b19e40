"""The benchmarks measure what they say: small runs of each, without a word about how fast."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from adapters.binance import BinanceSpot
from engine.core.engine import Engine
from engine.core.settings import EngineSettings
from engine.live.commands_research import register
from engine.research.bench import UnknownBench, run_bench
from engine.research.bench_cases import BENCHES
from engine.research.bench_data import BTC, START_NS, STEP_NS, SYMBOL, change_tape, depth_frames, snapshot_frame


@pytest.mark.parametrize("name", [name for name in BENCHES if name != "train"])
def test_every_benchmark_gives_rows_in_order(name: str) -> None:
    result = run_bench(name, scale=0.001)
    assert result.rows
    assert all(0 < row.p10 <= row.median <= row.p90 for row in result.rows)
    assert {"cpu", "cores", "python"} <= result.machine.keys()


def test_training_is_measured_on_a_window_of_samples() -> None:
    (row,) = run_bench("train", scale=0.01).rows
    assert row.unit == "ms"
    assert int(row.case.split()[-2]) > 300


def test_an_unknown_benchmark_names_those_that_there_are() -> None:
    with pytest.raises(UnknownBench, match="wire, replay, orders, decide, features, train, journal, shadows"):
        run_bench("speed")


@pytest.mark.parametrize("changes", [3.4, 40.0])
def test_the_frames_hold_as_many_changes_as_they_say(changes: float) -> None:
    frames = depth_frames(np.random.default_rng(1), changes, 2000)
    counted = [len(data["b"]) + len(data["a"]) for data in (msgspec.json.decode(frame)["data"] for frame in frames)]
    assert np.mean(counted) == pytest.approx(changes, rel=0.03)
    assert min(counted) >= 1


def test_the_wire_frames_make_a_ready_book() -> None:
    rng = np.random.default_rng(1)
    venue, engine = BinanceSpot({SYMBOL: (0, BTC)}), Engine((BTC,), {}, EngineSettings())
    page, frames = snapshot_frame(rng), depth_frames(rng, 3.4, 50)
    outputs = [*venue.opened(START_NS), *venue.received(frames[0], START_NS)]
    outputs += venue.replied(f"depth:{SYMBOL}", page, START_NS)
    for frame in frames[1:]:
        outputs += venue.received(frame, START_NS)
    for output in outputs:
        if isinstance(output, np.ndarray):
            engine.process(output)
    book = engine.book_views[0]
    assert book.is_ready
    assert 0 < book.bid < book.ask
    assert book.update_id == 50


def test_the_tape_changes_one_level_a_frame_every_step() -> None:
    snapshot, tape = change_tape(np.random.default_rng(1), 500)
    engine = Engine((BTC,), {}, EngineSettings())
    engine.process(snapshot)
    engine.process(tape)
    assert engine.book_views[0].is_ready
    assert set(np.diff(tape["recv_ns"]).tolist()) == {STEP_NS}
    assert all(flags & 128 for flags in tape["flags"].tolist())


def test_bench_json_ends_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    register(app)
    monkeypatch.setattr("engine.research.bench.BENCHES", {"decide": lambda data, scale: BENCHES["decide"](data, 0.001)})
    result = CliRunner().invoke(app, ["bench", "decide", "--json"])
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    answer = msgspec.json.decode(line)
    assert answer["bench"] == "decide"
    assert {"case", "median", "p10", "p90", "unit"} <= answer["rows"][0].keys()
    assert answer["machine"]["cores"] >= 1
