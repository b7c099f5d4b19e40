"""The tables of a run are exact and whole; the report holds what the tables hold."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from engine.core.desk.risk import RiskSettings
from engine.core.engine import Engine
from engine.core.events import Command
from engine.core.settings import EngineSettings
from engine.core.types import ContractKind, Instrument
from engine.learn.contract import ModelSettings
from engine.learn.models import Models
from engine.research.outputs import SUMMARY, OutputError, Outputs
from engine.research.report import render
from engine.research.report_data import ReportError, drawdown, equity, load_run, positions, refusals, strategies
from engine.research.report_run import report_run
from engine.research.tables import LAYOUTS, Scale, Table
from strategies.lean import Lean, LeanConfig
from strategies.maker import Maker, MakerConfig
from tests.market import BTC
from tests.walk import walk


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run of two strategies and a model over a walk of two minutes."""
    target = tmp_path_factory.mktemp("report") / "walk"
    batches = list(walk(2400))
    models = Models([BTC], [ModelSettings(name="linear", symbol=BTC.name)], inline_delay_ns=0)
    with Outputs(target, [BTC]) as outputs:
        engine = Engine(
            [BTC],
            {
                "lean": lambda: Lean(LeanConfig(symbol=BTC.name, notional=Decimal(20_000), enter=0.25)),
                "maker": lambda: Maker(
                    MakerConfig(symbol=BTC.name, notional=Decimal(5_000), max_notional=Decimal(9_000))
                ),
            },
            EngineSettings(risk=RiskSettings(max_order_notional=Decimal(19_995)), cash={"USDT": Decimal(100_000)}),
            learning=models,
            frames_tap=outputs.frames,
        )
        first, last = int(batches[0]["recv_ns"][0]), int(batches[-1]["recv_ns"][0])
        outputs.records(engine.process(Command(first, "start")))
        for batch in batches:
            outputs.batch(batch)
            outputs.records(engine.process(batch))
        outputs.records(engine.process(Command(last, "stop")))
        outputs.finish({**engine.summary(), "models": models.summary(), "why": ["this is <synthetic>"]})
    return target


def summary_of(out: Path) -> dict[str, Any]:
    return msgspec.json.decode((out / SUMMARY).read_bytes(), type=dict[str, Any])


def test_every_table_is_there_with_its_columns_and_no_part_is_left(out: Path) -> None:
    assert {path.name for path in out.iterdir()} == {SUMMARY} | {f"{name}.parquet" for name in LAYOUTS}
    for name, layout in LAYOUTS.items():
        assert pl.read_parquet(out / f"{name}.parquet").columns == list(layout)
    assert [path.name for path in out.parent.iterdir()] == ["walk"]


def test_tables_agree_with_the_summary(out: Path) -> None:
    summary = summary_of(out)
    orders = pl.read_parquet(out / "orders.parquet")
    fills = pl.read_parquet(out / "fills.parquet")
    ledger = pl.read_parquet(out / "ledger.parquet")
    assert fills.height == summary["fills"] > 0
    assert int((orders["state"] == "filled").sum()) == summary["orders"]["filled"] > 0
    assert int((orders["state"] == "refused").sum()) == sum(summary["orders"]["refused"].values()) > 0
    assert int(orders["arrives_ns"].is_not_null().sum()) == summary["orders"]["sent"]
    fees = sum(map(Decimal, fills["fee"]), Decimal(0))
    assert fees == Decimal(summary["fees"]["USDT"])
    last = ledger.group_by("strategy").last()
    assert sum(map(Decimal, last["equity"]), Decimal(0)) == Decimal(summary["profit"]["USDT"])
    filled = orders.group_by("order").agg(pl.sum("filled"))
    told = fills.group_by("order").agg(pl.sum("size"))
    assert filled.join(told, on="order").filter(pl.col("filled") != pl.col("size")).is_empty()


def test_prices_are_exact_decimals(out: Path) -> None:
    bbo = pl.read_parquet(out / "bbo.parquet")
    assert bbo.schema["bid"] == pl.Decimal(38, 2)
    assert bbo.schema["bid_size"] == pl.Decimal(38, 3)
    assert bbo["bid"][0] == Decimal("59999.00")
    assert (bbo["bid"] < bbo["ask"]).all()
    assert bbo["ready"].all()


@pytest.mark.parametrize("decimals", range(0, 19, 3))
def test_sixty_four_bits_are_exact_at_every_pair_of_scales(decimals: int) -> None:
    one = Instrument(venue="v", symbol="A", base="A", quote="Q", price_decimals=decimals, size_decimals=18 - decimals)
    two = Instrument(venue="v", symbol="B", base="B", quote="Q", price_decimals=18, size_decimals=18)
    units = [2**63 - 1, 1, 123_456_789_012_345_678]
    scale = Scale([one, two])
    prices = scale.prices(pl.Series(units), pl.Series([0, 1, 0])).to_list()
    assert prices == [Decimal(units[0]).scaleb(-decimals), Decimal(1).scaleb(-18), Decimal(units[2]).scaleb(-decimals)]
    assert scale.sizes(pl.Series(units[:1]), pl.Series([0])).to_list() == [Decimal(units[0]).scaleb(decimals - 18)]


def test_a_table_of_many_parts_is_one_file_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.research.tables.PART_ROWS", 10)
    table = Table(tmp_path, "ledger", Scale([BTC]))
    for ns in range(95):
        table.add(ns, "s", "USDT", "0.1", "0", "0.1", "0", "0")
    path = table.close()
    assert pl.read_parquet(path)["ns"].to_list() == list(range(95))
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_run_has_empty_tables_with_types(tmp_path: Path) -> None:
    with Outputs(tmp_path / "out", [BTC]) as outputs:
        outputs.finish({})
    run = load_run(tmp_path / "out")
    assert all(table.is_empty() for table in run.tables.values())
    assert run.tables["fills"].schema["price"] == pl.Decimal(38, 2)
    assert "Nothing was traded" in render(run, "empty")


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def fail() -> None:
        with Outputs(target, [BTC]) as outputs:
            outputs.batch(next(walk(1)))
            raise RuntimeError("torn")

    with pytest.raises(RuntimeError, match="torn"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_output_is_replaced_and_other_folders_are_not_touched(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for number in (1, 2):
        with Outputs(target, [BTC]) as outputs:
            outputs.finish({"number": number})
    assert summary_of(target) == {"number": 2}
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    with pytest.raises(OutputError, match="found other files: choose another --out"):
        Outputs(precious, [BTC])
    with pytest.raises(OutputError, match="found a file"):
        Outputs(precious / "thesis.txt", [BTC])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "precious"]


def test_the_report_is_one_file_without_links_and_escapes_what_it_shows(out: Path, tmp_path: Path) -> None:
    page = report_run(out, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b> c" not in render(load_run(out), "a <b> c")
    assert "this is &lt;synthetic&gt;" in page
    assert not re.search(r"(src|href)=|@import|url\(|<script", page)
    assert page.count('<svg class="chart"') >= 6
    for text in ("Strategies", "lean", "maker", "Models", "linear", "Refusals", "order_notional", "v:BTCUSDT"):
        assert text in page
    assert "nan" not in page.replace("nance", "")


def test_the_report_counts_what_the_tables_hold(out: Path) -> None:
    run = load_run(out)
    rows = {row["name"]: row for row in strategies(run)}
    assert sum(row["fills"] for row in rows.values()) == run.summary["fills"]
    assert rows["maker"]["maker_share"] > 0
    assert sum(count for _, count, _ in refusals(run)) == sum(run.summary["orders"]["refused"].values())
    total = equity(run)["USDT"][0]
    assert total.values[-1] == pytest.approx(float(run.summary["profit"]["USDT"]))
    assert (drawdown(total).values <= 0).all()
    held = {curve.name: curve.values for curve in positions(run, BTC.name)}
    assert set(held) == {"lean", "maker"}
    assert all(np.isclose(curve, np.round(curve, 3)).all() for curve in held.values())


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="expected the output of a replay"):
        load_run(tmp_path)


def test_an_inverse_contract_reports_in_its_base(tmp_path: Path) -> None:
    coin = Instrument(
        venue="v",
        symbol="BTCUSD",
        base="BTC",
        quote="USD",
        price_decimals=1,
        size_decimals=0,
        kind=ContractKind.INVERSE,
    )
    with Outputs(tmp_path / "out", [coin]) as outputs:
        outputs.finish({"profit": {"BTC": "0.00000012"}, "fees": {"BTC": "0"}})
    assert "0.00000012" in render(load_run(tmp_path / "out"), "inverse")
