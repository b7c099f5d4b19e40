"""One reporting currency: what can be converted is, and what cannot is said."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from engine.core.money_facts import Dividend, Funding, Interest, Liquidated, ShortFee, Split
from engine.core.records import AnyFact, Record
from engine.core.types import ContractKind, Instrument, Side
from engine.live.config import parse_config
from engine.live.config_paper import paper_settings
from engine.live.status import _tail
from engine.research.outputs import Outputs
from engine.research.report import _tiles
from engine.research.report_data import Run, load_run
from tests.market import BTC, MS, NO_LATENCY, Rig, Script, snapshot

COIN = Instrument(
    venue="v",
    symbol="COIN",
    base="XRP",
    quote="USD",
    price_decimals=1,
    size_decimals=0,
    kind=ContractKind.INVERSE,
    contract_size=Decimal(10),
)
EUR = Instrument(venue="v", symbol="EURUSDT", base="EUR", quote="USDT", price_decimals=4, size_decimals=2)


def rig(currency: str, *instruments: Instrument) -> Rig:
    def go(_: Any, ctx: Any) -> None:
        ctx.order("BTCUSDT", Side.BUY, 1000)
        ctx.order("COIN", Side.SELL, 50)

    script = Script({"start": lambda _, ctx: ctx.timer("go", 0.005), "timer": go})
    paper = msgspec.structs.replace(NO_LATENCY, reporting_currency=currency, taker_fee=Decimal(0))
    cash = {"USDT": Decimal(100_000), "XRP": Decimal(1000)}
    made = Rig(script, paper=paper, instruments=(BTC, COIN, *instruments), cash=cash)
    made.feed(snapshot(MS, [(5_000_000, 5000)], [(5_000_000 + 2, 5000)]))
    made.feed(snapshot(2 * MS, [(20, 5000)], [(21, 5000)], symbol=1))
    if instruments:
        made.feed(snapshot(3 * MS, [(12_499, 5000)], [(12_501, 5000)], symbol=2))
    made.feed(snapshot(6 * MS, [(5_099_999, 5000)], [(5_100_001, 5000)]))
    made.feed(snapshot(7 * MS, [(10, 5000)], [(10 + 2, 5000)], symbol=1))
    made.say("stop", 8 * MS)
    return made


def test_reporting_when_marks_lead_there_then_profit_is_one_number() -> None:
    told = rig("EUR", EUR).engine.summary()
    # 1 BTC from 50,000.02 to 51,000 at 1.25 dollars a euro; XRP cannot get there: no market trades it for dollars.
    assert told["reporting"]["profit"] == "799.984"
    assert told["reporting"]["profit_left_out"] == {"XRP": told["profit"]["XRP"]}
    assert told["profit"]["XRP"] == "204.545454545454545454545454545455"
    assert told["reporting"]["strategies"]["s"]["profit"] == "799.984"
    assert told["reporting"]["equity"] == "80799.984"
    assert set(told["reporting"]["equity_left_out"]) == {"XRP"}


def test_reporting_when_none_is_set_then_nothing_is_said() -> None:
    assert rig("").engine.summary()["reporting"] is None


def test_reporting_when_no_mark_leads_there_then_all_is_left_out() -> None:
    told = rig("GBP").engine.summary()["reporting"]
    assert told["profit"] == "0"
    assert set(told["profit_left_out"]) == {"USDT", "XRP"}


def test_config_when_it_names_one_then_the_core_gets_it() -> None:
    config = parse_config({"paper": {"reporting_currency": "EUR"}}, "test")
    assert paper_settings(config.paper).reporting_currency == "EUR"


def test_tearsheet_and_terminal_say_what_is_missing() -> None:
    told = rig("EUR", EUR).engine.summary()
    tail = _tail({**told, "latency_us": {"tick_to_decision": {"p50": 1.0, "p99": 2.0}}}).plain
    assert "all in EUR 799.98" in tail and "without 204.55 XRP, which no mark converts" in tail
    times = {"recv_ns": pl.Series([], dtype=pl.Int64)}
    ledger = {"ns": pl.Int64, "strategy": pl.Utf8, "currency": pl.Utf8, "equity": pl.Utf8}
    tables = {
        "fills": pl.DataFrame({"maker": [True]}),
        "orders": pl.DataFrame({"filled": [1]}),
        "bbo": pl.DataFrame(times),
        "trades": pl.DataFrame(times),
        "ledger": pl.DataFrame(schema=ledger),
    }
    tiles = _tiles(Run(told, tables))
    assert "all in EUR at the last marks" in tiles and "XRP: no mark converts it" in tiles


def test_tables_have_every_payment_without_a_fill(tmp_path: Path) -> None:
    facts: tuple[AnyFact, ...] = (
        Funding("v:P", "s", "0.0001", "60000", "-3", "USDT"),
        Interest("s", "BTC", "0.0001", "2", "-0.0002"),
        Dividend("v:A", "s", "0.25", "10", "USD", 7),
        Split("v:A", "s", "0.1", 47, 4, "1400.35", "USD"),
        ShortFee("v:A", "s", "0.036", "20005", "-2.0005", "USD"),
        Liquidated("v:P", "s", 1, "60000", "-10001", "300", "5301.1", "55000", "USDT"),
    )
    with Outputs(tmp_path / "out", [BTC]) as outputs:
        outputs.records([Record(number, number, fact) for number, fact in enumerate(facts, 1)])
        outputs.finish({})
    table = load_run(tmp_path / "out").tables["carry"]
    assert table["kind"].to_list() == ["funding", "interest", "dividend", "cash in lieu", "short fee", "liquidation"]
    assert table["amount"].to_list() == ["-3", "-0.0002", "10", "1400.35", "-2.0005", "-4999.9"]
