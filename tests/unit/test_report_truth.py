"""What the tearsheet says of how true the fills are: the tables of a small run, cell by cell."""

from __future__ import annotations

import re
from decimal import Decimal

import polars as pl
import pytest
from msgspec.structs import replace

from engine.core.queues.queue_settings import QueueSettings
from engine.core.types import Side
from engine.research.outputs import Outputs
from engine.research.report_data import Run, load_run
from engine.research.report_truth import bands, execution_table, grade_table, markout_table, truth
from tests.market import BTC, NO_LATENCY, Rig, S, Script, clock, depth, gap, snapshot, trade

BIDS = [(100, 10), (98, 20)]
ASKS = [(102, 5), (103, 7), (105, 50)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two orders: one takes seven, one rests for four, of which three trade by the queue's word alone."""
    script = Script({"start": lambda _, ctx: ctx.timer("go", 1.0)})

    def go(name: str, ctx: object) -> None:
        order = getattr(ctx, "order")  # noqa: B009 - a Context by duck
        order("BTCUSDT", Side.BUY, 7)
        order("BTCUSDT", Side.BUY, 4, 100)

    script.on["timer"] = go
    made = Rig(script, paper=replace(NO_LATENCY, queue=QueueSettings(model="print", twins=())))
    made.feed(snapshot(1, BIDS, ASKS), clock(1 * S), clock(1 * S + 1))
    made.feed(trade(2 * S, 100, 3, sell=True))  # the rule "print": ours at once; ten stood in front
    made.feed(depth(2 * S + 1, bids=[(101, 4)]), clock(4 * S))  # the market leaves the price behind
    made.feed(gap(5 * S), clock(14 * S), snapshot(15 * S, [(99, 1)], [(101, 1)]), clock(70 * S))
    made.say("stop", 71 * S)
    made.feed(clock(72 * S))
    target = tmp_path_factory.mktemp("truth") / "run"
    with Outputs(target, [BTC]) as outputs:
        outputs.records(made.records)
        outputs.finish(made.engine.summary())
    return load_run(target)


def plain(cells: list[str]) -> list[str]:
    return [re.sub(r"<[^>]*>", "", cell).replace("\u202f", " ").replace("\u2212", "-") for cell in cells]


def test_tables_hold_every_fact(run: Run) -> None:
    fills = run.tables["fills"].select("number", "model", "cause", "grade", "chance", "front_ns", "back_ns")
    assert fills.rows() == [
        (1, "print", "taken", "certain", 1000, S, S),
        (2, "print", "taken", "certain", 1000, S, S),
        (1, "print", "at_price", "ambiguous", 0, 2 * S, None),
    ]
    assert run.tables["regrades"].select("order", "number", "grade", "reason").rows() == [(2, 1, "ambiguous", "left")]
    assert run.tables["markouts"]["place"].to_list() == ["taker", "taker", "near"]
    last = run.tables["markouts"].row(2, named=True)
    assert [None if last[name] is None else str(last[name]) for name in ("mid", "mid_1s", "mid_10s", "mid_60s")] == [
        *("1.010", "1.015"),
        None,
        "1.000",
    ]
    assert run.tables["twin_fills"].select("model", "size").rows() == [
        ("front", pl.Series(["0.003"]).cast(pl.Decimal(38, 3))[0])
    ]
    assert set(run.tables["twins"]["model"]) == {"print", "front", "back"}


def test_the_grade_table(run: Run) -> None:
    head, rows = grade_table(run)
    assert head[:5] == ["Grade", "Fills", "Share", "Chance", "Pessimist had it"]
    assert [plain(row) for row in rows] == [
        ["certain", "2", "66.7 %", "100.0 %", "2", "0", "0", "0", "–"],
        ["ambiguous", "1", "33.3 %", "0.0 %", "0", "0", "1", "0", "0"],
    ]


def test_the_markout_and_execution_tables(run: Run) -> None:
    _, rows = markout_table(run.summary["markouts"])
    assert [plain(row) for row in rows] == [
        ["s", "v:BTCUSDT", "taker", "certain", "2", "-1.50", "-1.50", "-1.50", "–", "-2.50", "–"],
        ["s", "v:BTCUSDT", "near", "ambiguous", "1", "+1.00", "+1.50", "+1.50", "–", "0.00", "–"],
    ]
    _, rows = execution_table(run.summary["execution"])
    assert [plain(row)[:5] for row in rows] == [["s", "v:BTCUSDT", "2", "90.9 %", "30.0 %"]]
    assert plain(rows[0])[9] == "1", "the last unit never traded"


def test_the_band_ends_where_the_summary_does(run: Run) -> None:
    told = run.summary["band"]["USDT"]
    curves = bands(run)["USDT"]
    assert {model: f"{curve.values[-1]:.9f}" for model, curve in curves.items()} == {
        model: f"{float(profit):.9f}" for model, profit in told["hedged"].items()
    }
    assert told["models"]["back"] == told["own"], "what it bought at 1.00 is worth 1.00 at the end"
    assert Decimal(told["own"]) - Decimal(told["hedged"]["back"]) == Decimal("0.000045"), "and was worth 1.015 soon"


def test_the_page_says_it_all(run: Run) -> None:
    page = "".join(truth(run))
    for words in ("How true the fills are", "Profit under every queue model, USDT", "Markouts, ticks", "Execution"):
        assert f"<h2>{words}</h2>" in page
    assert "fill-truth score" in page and "the venue's own" in page
    assert not re.search(r"\bnan\b", page)
    nothing = Run({"truth": {"fills": 0}}, run.tables)
    assert "".join(truth(nothing)) == ""
