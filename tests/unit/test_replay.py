"""A replay gives the same digest at every block size, says what it could not do, and leaves nothing half."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from adapters.entry import Entry, EntryKind
from adapters.tape import TapeError, TapeHeader, TapeWriter, VenueHeader
from engine.core.types import Instrument
from engine.live.commands_research import register
from engine.live.config import ConfigError
from engine.research.bench_data import SYMBOL, depth_frames, snapshot_frame
from engine.research.loading import ReplayError
from engine.research.replay import ModelStore, replay
from engine.research.report_run import report_run

NS = 1_723_161_254_000_000_000
MS = 1_000_000
SIM = Instrument(venue="sim", symbol=SYMBOL, base="BTC", quote="USDT", price_decimals=2, size_decimals=5)

CONFIG: dict[str, Any] = {
    "run": {"name": "t", "seed": 3},
    "venue": {"sim": {"use": "binance-spot", "symbols": [SYMBOL]}},
    "paper": {"cash": {"USDT": "100000"}},
    "strategy": [
        {"name": "lean", "use": "lean", "symbol": "*", "enter": 0.1},
        {"name": "maker", "use": "maker", "symbol": f"sim:{SYMBOL}"},
    ],
    "model": [{"name": "linear", "symbol": "*", "every": "100ms", "warm_up": "1s"}],
}

TOML = f"""
[run]
name = "t"
[venue.sim]
use = "binance-spot"
symbols = ["{SYMBOL}"]
[[strategy]]
use = "lean"
name = "lean"
symbol = "sim:{SYMBOL}"
enter = 0.1
[[model]]
name = "linear"
warm_up = "1s"
"""


def market(count: int = 400, seed: int = 5) -> Iterator[tuple[int, bytes]]:
    """Depth frames and trades, 50 ms apart."""
    rng = np.random.default_rng(seed)
    for at, frame in enumerate(depth_frames(rng, 3.4, count)):
        ns = NS + at * 50 * MS
        yield ns, frame
        price, maker_bought = f"{61837.5 + rng.normal():.2f}", "true" if rng.random() < 0.4 else "false"
        trade = (
            f'"e":"trade","E":{ns // MS},"s":"{SYMBOL}","t":{at},"p":"{price}000000","q":"0.01000000","T":{ns // MS}'
        )
        yield ns + 10 * MS, f'{{"stream":"btcusdt@trade","data":{{{trade},"m":{maker_bought},"M":true}}}}'.encode()


def foreign_tape(path: Path, snapshot: bool = True) -> Path:
    """As others record: a receive time and a frame a line, the snapshot among them."""
    lines = [b"%d %s" % one for one in market()]
    if snapshot:
        lines.insert(3, b"%d %s" % (NS + 60 * MS, snapshot_frame(np.random.default_rng(5))))
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def own_entries(model: bytes = b"") -> Iterator[Entry]:
    """What a live run tapes: openings, frames, answers, ticks, the clock, commands, a model, and doubt."""
    yield Entry(EntryKind.COMMAND, NS, "", "start", b"{}")
    yield Entry(EntryKind.OPENED, NS, "sim")
    for at, (ns, frame) in enumerate(market()):
        yield Entry(EntryKind.RECEIVED, ns, "sim", "", frame)
        if at == 3:
            page = snapshot_frame(np.random.default_rng(5))
            yield Entry(EntryKind.REPLIED, ns, "sim", f"depth:{SYMBOL}", page)
        if at % 40 == 7:
            yield Entry(EntryKind.CLOCK, ns + MS, "")
            yield Entry(EntryKind.TICKED, ns + MS, "sim")
        if at == 300 and model:
            version = hashlib.sha256(model).hexdigest().encode()
            yield Entry(EntryKind.MODEL, ns, "", f"linear@sim:{SYMBOL}", version)
        if at == 500:
            yield Entry(EntryKind.COMMAND, ns, "", "halt", b'{"reason":"test"}')
        if at == 600:
            yield Entry(EntryKind.COMMAND, ns, "", "resume", b"{}")
        if at == 700:
            yield Entry(EntryKind.DOUBTED, ns, "sim", "0")
    yield Entry(EntryKind.COMMAND, NS + 30_000 * MS, "", "stop", b"{}")


def own_tape(folder: Path, model: bytes = b"", entries: Iterator[Entry] | None = None, paper: Any = None) -> Path:
    path = folder / "tape" / "20240808T235414.ptz"
    path.parent.mkdir(parents=True)
    header = TapeHeader(
        started_ns=NS,
        venues={"sim": VenueHeader("binance-spot", [SYMBOL])},
        config={**CONFIG, "paper": {**CONFIG["paper"], **(paper or {})}},
        instruments=[SIM],
        papertape="0.1.0",
    )
    with TapeWriter(path, header) as tape:
        for entry in entries or own_entries(model):
            tape.write(entry)
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(TOML)
    return path


def test_a_foreign_tape_at_any_block_size_gives_one_digest(tmp_path: Path, config: Path) -> None:
    tape = foreign_tape(tmp_path / "foreign.txt")
    results = [replay([tape], config=config, block=block) for block in (1, 64, 65_536)]
    assert len({result.digest for result in results}) == 1
    summary = results[0].summary
    assert summary["books"] == {"ready": 1, "total": 1, "doubts": 0}
    assert summary["fills"] > 0
    assert summary["models"][0]["learned"] > 0
    assert summary["venues"]["sim"]["frames"] == 800
    assert "inferred" in summary["why"][0]


@pytest.mark.parametrize("block", [1, 7, 64, 65_536])
def test_an_own_tape_at_any_block_size_gives_one_digest(tmp_path: Path, block: int) -> None:
    tape = own_tape(tmp_path / "t")
    result = replay([tape], block=block)
    assert result.digest == replay([tape]).digest
    assert result.config == "the tape's own"
    assert result.summary["fills"] > 0
    assert result.summary["books"]["total"] == 1


def pinged() -> Iterator[Entry]:
    """The entries of an own tape, with a round trip measured twice a second."""
    for at, entry in enumerate(own_entries()):
        yield entry
        if at % 20 == 5:
            yield Entry(EntryKind.PINGED, entry.ns, "sim", "", b"%d %d" % (at * MS % (90 * MS) + MS, at * MS % 7))


def test_measured_latencies_of_an_own_tape_count_at_their_place_at_any_block_size(tmp_path: Path) -> None:
    tape = own_tape(tmp_path / "t", entries=pinged(), paper={"latency": {"kind": "measured", "draw": "sample"}})
    digests = {replay([tape], block=block).digest for block in (1, 7, 65_536)}
    assert len(digests) == 1
    constant = own_tape(tmp_path / "constant", entries=pinged())
    assert replay([constant]).digest == replay([own_tape(tmp_path / "plain")]).digest  # they change nothing there
    assert digests != {replay([constant]).digest}


def test_commands_of_an_own_tape_are_obeyed_and_not_under_another_config(tmp_path: Path, config: Path) -> None:
    tape = own_tape(tmp_path / "t")
    own = tmp_path / "own"
    replay([tape], out=own)
    halted = pl.read_parquet(own / "orders.parquet").filter(pl.col("reason") == "halt")
    assert halted.height > 0
    other = replay([tape], config=config, out=tmp_path / "other")
    assert other.config == str(config)
    orders = pl.read_parquet(tmp_path / "other" / "orders.parquet")
    assert orders.filter(pl.col("reason") == "halt").is_empty()
    assert set(orders["strategy"]) == {"lean"}


def test_the_models_of_an_own_tape_come_from_beside_it_by_their_hash(tmp_path: Path) -> None:
    payload = b"not a model, so the engine refuses it: on the record"
    version = hashlib.sha256(payload).hexdigest()
    tape = own_tape(tmp_path / "t", payload)
    with pytest.raises(ReplayError, match=f"expected {version}.ptm in .*models, found none"):
        replay([tape])
    stored = tmp_path / "t" / "models" / f"{version}.ptm"
    stored.parent.mkdir()
    stored.write_bytes(payload + b"!")
    with pytest.raises(ReplayError, match="it was damaged"):
        replay([tape])
    stored.write_bytes(payload)
    assert replay([tape]).digest != replay([own_tape(tmp_path / "plain")]).digest


def test_without_a_snapshot_no_book_is_ready_and_the_summary_says_why(tmp_path: Path, config: Path) -> None:
    tape = foreign_tape(tmp_path / "foreign.txt", snapshot=False)
    summary = replay([tape], config=config).summary
    assert summary["books"]["ready"] == 0
    assert summary["orders"]["sent"] == 0
    assert f"sim:{SYMBOL}: its book never became ready (the tape holds no depth snapshot)" in summary["why"][0]


def test_the_tables_do_not_depend_on_the_block(tmp_path: Path, config: Path) -> None:
    tape = foreign_tape(tmp_path / "foreign.txt")
    for block in (1, 64, 65_536):
        replay([tape], config=config, out=tmp_path / str(block), block=block)
    for path in (tmp_path / "1").glob("*.parquet"):
        first = pl.read_parquet(path)
        for block in (64, 65_536):
            assert first.equals(pl.read_parquet(tmp_path / str(block) / path.name)), path.name
    assert pl.read_parquet(tmp_path / "1" / "bbo.parquet").height > 300


def test_a_malformed_frame_is_counted_and_harms_nothing(tmp_path: Path, config: Path) -> None:
    tape = foreign_tape(tmp_path / "foreign.txt")
    lines = tape.read_bytes().splitlines()
    clean = replay([tape], config=config).summary
    broken = b"%d %s" % (NS + 5_000 * MS + 1, b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","s":1}}')
    at = next(index for index, line in enumerate(lines) if int(line.split(b" ", 1)[0]) > NS + 5_000 * MS)
    tape.write_bytes(b"\n".join([*lines[:at], broken, *lines[at:]]) + b"\n")
    dirty = replay([tape], config=config).summary
    assert dirty["venues"]["sim"]["malformed"] == 1
    assert dirty["digest"] == clean["digest"]
    assert any("malformed frames were skipped" in why for why in dirty["why"])


def test_a_config_that_trades_what_the_tape_does_not_hold_is_refused(tmp_path: Path, config: Path) -> None:
    config.write_text(TOML.replace(f"sim:{SYMBOL}", "sim:ETHUSDT"))
    with pytest.raises(ConfigError, match=r"strategy\.0"):
        replay([foreign_tape(tmp_path / "foreign.txt")], config=config)


def test_the_report_of_a_daemons_folder_replays_its_latest_tape(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    own_tape(folder)
    live = {"latency_us": {"tick_to_decision": {"p50": 12.5, "p99": 40.0, "p999": 90.0}}, "digest": "0" * 32}
    (folder / "run.json").write_text(json.dumps(live))
    page = report_run(folder).read_text(encoding="utf-8")
    assert "12.5" in page
    assert "this page shows the tape" in page
    assert not list(folder.glob(".*"))


Invoke = Callable[..., Any]


@pytest.fixture
def invoke() -> Invoke:
    app = typer.Typer()
    register(app)

    def run(*args: object) -> Any:
        return CliRunner().invoke(app, [str(arg) for arg in args])

    return run


def test_replay_json_is_one_line_with_the_keys_of_a_live_run(tmp_path: Path, config: Path, invoke: Invoke) -> None:
    result = invoke("replay", foreign_tape(tmp_path / "foreign.txt"), "--config", config, "--json")
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    summary = msgspec.json.decode(line)
    assert {"digest", "venues", "books", "orders", "fills", "profit", "models", "latency_us"} <= summary.keys()
    assert {"frames", "gaps", "reconnects"} <= summary["venues"]["sim"].keys()
    assert {"sent", "refused", "filled", "cancelled"} <= summary["orders"].keys()
    model = {"name", "predictions", "learned", "retrains", "swaps", "drift_alarms", "ic"}
    assert model <= summary["models"][0].keys()
    for latency in ("tick_to_decision", "tick_to_order"):
        assert {"p50", "p99", "p999"} <= summary["latency_us"][latency].keys()


def test_replay_prints_a_report_and_the_digest(tmp_path: Path, config: Path, invoke: Invoke) -> None:
    tape = foreign_tape(tmp_path / "foreign.txt")
    result = invoke("replay", tape, "--config", config, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"digest {replay([tape], config=config).digest}" in result.stdout
    assert invoke("report", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" * 100)


@pytest.mark.parametrize("damage", [torn, empty, foreign, Path.unlink])
def test_a_bad_tape_is_one_clear_line_and_nothing_is_written(
    tmp_path: Path, invoke: Invoke, damage: Callable[[Path], None]
) -> None:
    tape = own_tape(tmp_path / "t")
    damage(tape)
    result = invoke("replay", tape, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert str(tape) in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t"]


def test_a_torn_tape_can_be_accepted_on_demand(tmp_path: Path) -> None:
    tape = own_tape(tmp_path / "t")
    torn(tape)
    with pytest.raises(TapeError, match="torn"):
        replay([tape])
    assert replay([tape], allow_torn=True).entries < 850


def test_wrong_usage_is_exit_code_2(tmp_path: Path, config: Path, invoke: Invoke) -> None:
    tape = foreign_tape(tmp_path / "foreign.txt")
    config.write_text("[run]\nnmae = 1\n")
    wrong = invoke("replay", tape, "--config", config)
    assert wrong.exit_code == 2
    assert "run.nmae" in wrong.stderr
    assert invoke("replay", tape, "--block", 0).exit_code == 2
    assert invoke("bench", "nothing").exit_code == 2
    nothing = invoke("report", tmp_path / "missing")
    assert nothing.exit_code == 1
    assert "expected what replay --out wrote" in nothing.stderr


def test_doctor_json_lists_every_check(tmp_path: Path, invoke: Invoke) -> None:
    result = invoke("doctor", "--state-dir", tmp_path, "--port", 0, "--json")
    assert result.exit_code == 0, result.output
    answer = msgspec.json.decode(result.stdout)
    assert answer["passed"] is True
    assert {"name", "verdict", "found", "advice"} == answer["checks"][0].keys()


def test_a_tape_named_from_within_its_folder_finds_its_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tape").mkdir()
    (tmp_path / "models").mkdir()
    version = hashlib.sha256(b"x").hexdigest()
    (tmp_path / "models" / f"{version}.ptm").write_bytes(b"x")
    monkeypatch.chdir(tmp_path / "tape")
    assert ModelStore(Path("a.ptz")).load("net", version) == b"x"
    assert ModelStore(Path("a.ptz")).load("net", hashlib.sha256(b"").hexdigest()) == b"", "a training that failed"


def test_a_daemons_folder_stands_for_its_latest_tape(tmp_path: Path) -> None:
    tape = own_tape(tmp_path / "t")
    (tape.parent / "20240101T000000.ptz").write_bytes(b"an older one")
    assert replay([tmp_path / "t"]).digest == replay([tape]).digest
    with pytest.raises(ReplayError, match="expected a tape, or a daemon's folder"):
        replay([tmp_path])


def test_two_runs_are_not_one(tmp_path: Path, config: Path) -> None:
    tapes = [own_tape(tmp_path / "a"), own_tape(tmp_path / "b")]
    with pytest.raises(ReplayError, match="expected the tape of session 2 of one run, found that of session 1"):
        replay(tapes)


def test_a_reload_on_the_tape_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.ptz"
    header = TapeHeader(started_ns=NS, venues={}, config={"run": {"name": "t"}}, instruments=[SIM], papertape="0")
    with TapeWriter(path, header) as tape:
        for at, name in enumerate(("start", "reload", "stop")):
            tape.write(Entry(EntryKind.COMMAND, NS + at, "", name, b"{}"))
    why = replay([path]).summary["why"]
    assert any("names no strategy" in one for one in why)
    assert any("during the run: 1;" in one for one in why)


def test_a_mistake_in_the_config_of_a_replay_names_the_file(tmp_path: Path, config: Path, invoke: Invoke) -> None:
    config.write_text(TOML.replace("enter = 0.1", "entre = 0.1"))
    wrong = invoke("replay", foreign_tape(tmp_path / "foreign.txt"), "--config", config)
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith(f"papertape: {config}: strategy.0")


def test_what_is_piped_is_neither_folded_nor_cut(tmp_path: Path, config: Path, invoke: Invoke) -> None:
    result = invoke("replay", foreign_tape(tmp_path / "foreign.txt"), "--config", config)
    (line,) = [one for one in result.stdout.splitlines() if one.startswith("model linear")]
    assert line.rstrip().endswith("bps")


def test_a_report_of_damaged_tables_is_one_line(tmp_path: Path, invoke: Invoke) -> None:
    replay([own_tape(tmp_path / "t")], out=tmp_path / "out")
    unwritable = invoke("report", tmp_path / "out", "--out", tmp_path / "missing" / "a.html")
    assert (unwritable.exit_code, unwritable.stderr.count("\n")) == (1, 1)
    assert "a.html: expected a place to write to, found: No such file or directory" in unwritable.stderr
    (tmp_path / "out" / "fills.parquet").write_bytes(b"junk")
    damaged = invoke("report", tmp_path / "out")
    assert (damaged.exit_code, damaged.stderr.count("\n")) == (1, 1)
    assert "fills.parquet: expected a table, found: " in damaged.stderr
