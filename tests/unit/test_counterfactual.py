"""The same tape under other assumptions: what is run, what differs, what is said of it."""

from __future__ import annotations

import json
import re
import shlex
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from adapters.entry import Entry, EntryKind
from adapters.tape import TapeHeader, TapeWriter, VenueHeader
from engine.live.commands_research import register
from engine.live.config import ConfigError
from engine.research.counterfactual import (
    BASE,
    CounterfactualError,
    Row,
    counterfactual,
    fee_changes,
    latency_changes,
    table,
)
from engine.research.counterfactual_page import PAGE, ROWS, frame, page, write
from engine.research.edge import rests_on
from engine.research.outputs import OutputError
from engine.research.replay import replay
from tests.data import ROOT
from tests.unit.test_replay import MS, NS, SIM, foreign_tape, own_tape


def test_base_singles_and_products_run_in_a_fixed_order_and_only_once(tmp_path: Path) -> None:
    tape = own_tape(tmp_path / "t")
    told: list[tuple[int, int]] = []
    made = counterfactual(
        [tape],
        latency="5ms,300ms",
        fees="0:0",
        processes=1,
        progress=lambda done, total: told.append((done, total)),
    )
    names = [row.assumption for row in made.rows]
    assert names == [
        BASE, "latency 5ms", "latency 300ms", "fees 0:0", "latency 5ms, fees 0:0", "latency 300ms, fees 0:0",
    ]  # fmt: skip
    assert told == [(done, 6) for done in range(1, 7)]
    base, same, late, free, *_ = made.rows
    assert base.digest == replay([tape]).digest  # commands, models and all else are the tape's
    assert same.digest == base.digest and same.difference == {"USDT": "0"}
    assert late.digest != base.digest
    assert free.profit["USDT"] != base.profit["USDT"] and Decimal(free.fees.get("USDT", "0")) == 0
    assert Decimal(free.difference["USDT"]) == Decimal(free.profit["USDT"]) - Decimal(base.profit["USDT"])
    assert (free.orders, free.fills, free.maker_share) == (base.orders, base.fills, base.maker_share)
    assert made.currency == "USDT" and made.sentence


def still_market(path: Path) -> Path:
    """A tape of one's own on which nothing moves but small sales at the bid, behind one coin."""
    frame = (
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1700000000100,"s":"BTCUSDT",'
        b'"U":%d,"u":%d,"b":[["100.00","1.00000"]],"a":[]}}'
    )
    sale = (
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1700000000100,"s":"BTCUSDT","t":%d,"p":"100.00000000",'
        b'"q":"0.05000000","T":1700000000100,"m":true,"M":true}}'
    )
    page = b'{"lastUpdateId":10,"bids":[["100.00","1.00000"],["99.00","9.00000"]],"asks":[["100.02","1.00000"]]}'
    config = {
        "run": {"name": "t"},
        "venue": {"sim": {"use": "binance-spot", "symbols": ["BTCUSDT"]}},
        "paper": {"maker_fee": "0", "cash": {"USDT": "100000", "BTC": "1"}},
        "risk": {"allow_short": True},
        "strategy": [
            {"name": "maker", "use": "maker", "symbol": "sim:BTCUSDT", "notional": 10, "half_spread_bps": 0.5}
        ],
    }
    header = TapeHeader(
        started_ns=NS, venues={"sim": VenueHeader("binance-spot", ["BTCUSDT"])}, config=config, instruments=[SIM]
    )
    with TapeWriter(path, header) as tape:
        tape.write(Entry(EntryKind.COMMAND, NS, "", "start", b"{}"))
        tape.write(Entry(EntryKind.OPENED, NS, "sim"))
        tape.write(Entry(EntryKind.RECEIVED, NS + MS, "sim", "", frame % (9, 12)))
        tape.write(Entry(EntryKind.REPLIED, NS + 2 * MS, "sim", "depth:BTCUSDT", page))
        for at in range(30):
            ns = NS + (at + 1) * 100 * MS
            tape.write(Entry(EntryKind.RECEIVED, ns, "sim", "", sale % at))
            tape.write(Entry(EntryKind.RECEIVED, ns + 1, "sim", "", frame % (13 + at, 13 + at)))
        tape.write(Entry(EntryKind.COMMAND, NS + 9_000 * MS, "", "stop", b"{}"))
    return path


def test_fill_models_decide_how_soon_an_order_trades(tmp_path: Path) -> None:
    made = counterfactual([still_market(tmp_path / "t.ptz")], fill_model="auto,print", processes=1)
    assert [row.assumption for row in made.rows] == [BASE, "fill model print"]
    base, hopeful = made.rows
    assert base.fills == 2 and base.maker_share == 1.0  # once the coin in front was sold
    assert hopeful.fills > 10 * base.fills  # as if nobody stood there
    with pytest.raises(ConfigError, match=r"paper.queue.model: expected a queue model among .*, found 'luck'"):
        counterfactual([tmp_path / "t.ptz"], fill_model="luck", processes=1)


def test_processes_change_nothing(tmp_path: Path) -> None:
    tape = own_tape(tmp_path / "t")
    alone = counterfactual([tape], latency="100ms", fees="2bps:5bps", processes=1)
    assert counterfactual([tape], latency="100ms", fees="2bps:5bps", processes=2) == alone


def test_a_tape_of_others_takes_its_fees_from_a_schedule_by_its_venue(tmp_path: Path) -> None:
    tape = foreign_tape(tmp_path / "foreign.txt")
    made = counterfactual([tape], fees="binance-spot,1:1", processes=1)
    dear = made.rows[2]
    assert Decimal(dear.profit["USDT"]) < Decimal(made.rows[1].profit["USDT"])
    assert made.rows[1].fees != made.rows[0].fees


def test_a_failure_in_a_process_is_told_with_its_assumption(tmp_path: Path) -> None:
    tape = own_tape(tmp_path / "t", b"a model that is not beside the tape")
    for processes in (1, 2):
        with pytest.raises(CounterfactualError, match=r"as it was: .*\.ptm in .*models, found none") as raised:
            counterfactual([tape], latency="1ms", processes=processes)
        assert raised.value.code == 1


@pytest.mark.parametrize(
    ("latency", "fees", "said"),
    [
        ("fast", "", "--latency: expected a duration with a unit .* or measured; found 'fast'"),
        ("1ms~wide", "", "--latency: expected a spread such as .* found '1ms~wide'"),
        ("1ms:2ms", "", "expected one duration or three"),
        (",", "", "expected values between commas"),
        ("", "a:b", "expected MAKER:TAKER"),
        (",".join(f"{ms}ms" for ms in range(300)), "", "expected at most 200 runs, found 301"),
    ],
)
def test_an_assumption_that_cannot_be_used_is_refused_before_any_run(
    tmp_path: Path, latency: str, fees: str, said: str
) -> None:
    with pytest.raises(CounterfactualError, match=said) as raised:
        counterfactual([own_tape(tmp_path / "t")], latency=latency, fees=fees, processes=1)
    assert raised.value.code == 2


def test_a_schedule_that_there_is_not_is_a_mistake_of_the_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fees no-such-venue"):
        counterfactual([own_tape(tmp_path / "t")], fees="no-such-venue", processes=1)


def test_the_words_of_the_options() -> None:
    assert latency_changes("5ms:7ms:1ms")[0] == (
        "5ms:7ms:1ms", {"latency": {"kind": "constant", "out": "5ms", "back": "7ms", "feed": "1ms"}},
    )  # fmt: skip
    assert latency_changes("measured,measured") == [("measured", {"latency": {"kind": "measured"}})]
    assert fee_changes("kraken/pro", ["a", "b"])[0][1] == {
        "fees": {"a": {"schedule": "kraken", "tier": "pro"}, "b": {"schedule": "kraken", "tier": "pro"}}
    }


def row(assumption: str, profit: str, **changes: str) -> Row:
    return Row(assumption, changes, "d", 10, 4, 0.5, {"USDT": profit}, {"USDT": "1"}, None)


def test_the_table_names_the_assumption_that_takes_most() -> None:
    made = table(
        [row(BASE, "50"), row("latency 1s", "45", latency="1s"), row("fees x", "-5", fees="x"),
         row("latency 1s, fees x", "-20", latency="1s", fees="x")]
    )  # fmt: skip
    assert [one.difference["USDT"] for one in made.rows] == ["0", "-5", "-55", "-70"]
    assert made.sentence == (
        "The edge of 50.00 USDT rests on fees: fees x turns it into -5.00 USDT (-110 %); "
        "with latency at least 90 % stays."
    )


PROFITS = st.integers(-1000, 1000).map(Decimal)


@given(base=PROFITS, latency=st.lists(PROFITS, max_size=3), fees=st.lists(PROFITS, max_size=3), both=PROFITS)
def test_the_sentence_names_a_worst_single_change(
    base: Decimal, latency: list[Decimal], fees: list[Decimal], both: Decimal
) -> None:
    outcomes: list[tuple[str, dict[str, str], Decimal]] = [("as it was", {}, base)]
    outcomes += [(f"latency {at}", {"latency": str(at)}, profit) for at, profit in enumerate(latency)]
    outcomes += [(f"fees {at}", {"fees": str(at)}, profit) for at, profit in enumerate(fees)]
    outcomes.append(("latency 0, fees 0", {"latency": "0", "fees": "0"}, both))
    said = rests_on(outcomes, "U")
    assert said.endswith(".")
    singles = [one for one in outcomes[1:] if len(one[1]) == 1]
    assert ("There is no edge" in said) == (base <= 0)
    if base > 0 and singles and min(one[2] for one in singles) < Decimal("0.9") * base:
        worst = min(one[2] for one in singles)
        assert any(f"rests on {next(iter(one[1]))}: {one[0]} " in said for one in singles if one[2] == worst)
        assert ("turns it into" in said) == (worst <= 0)


def test_the_files_are_whole_and_replace_only_their_own(tmp_path: Path) -> None:
    made = table([row(BASE, "50"), row("fill model <b>", "-5", **{"fill model": "<b>"})])
    target = tmp_path / "out"
    write(made, "a tape", target)
    read = pl.read_parquet(target / ROWS)
    assert read["profit"].to_list() == ["50", "-5"] and read["fill_model"].to_list() == [None, "<b>"]
    assert frame(made).equals(read)
    html = (target / PAGE).read_text()
    assert html == page(made, "a tape") and "&lt;b&gt;" in html and "<b>" not in html and "http" not in html
    write(made, "again", target)
    assert sorted(path.name for path in target.iterdir()) == [PAGE, ROWS]
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="found other files"):
        write(made, "t", tmp_path / "else")


def run(*words: str) -> Any:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["replay", *words])


def test_the_command_prints_one_table_and_the_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.research.counterfactual.os.cpu_count", lambda: 1)
    tape = own_tape(tmp_path / "t")
    done = run(str(tape), "--latency", "300ms", "--out", str(tmp_path / "cf"))
    assert done.exit_code == 0, done.output
    assert "as it was" in done.output and "latency 300ms" in done.output and "edge" in done.output
    assert (tmp_path / "cf" / PAGE).exists()
    told = json.loads(run(str(tape), "--latency", "300ms", "--json").output)
    assert [one["assumption"] for one in told["rows"]] == ["as it was", "latency 300ms"]
    assert run(str(tape), "--latency", "soon").exit_code == 2


def test_the_command_that_the_readme_shows_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.research.counterfactual.os.cpu_count", lambda: 1)
    monkeypatch.chdir(tmp_path)
    own_tape(tmp_path / "var" / "demo")
    readme = (ROOT / "engine" / "research" / "README.md").read_text()
    (shown,) = re.findall(r"^papertape replay (var/demo .*)$", readme, flags=re.MULTILINE)
    done = run(*shlex.split(shown))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "var" / "counterfactual" / PAGE).exists()
