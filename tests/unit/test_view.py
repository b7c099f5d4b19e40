"""What people and machines see of a daemon."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest

from engine.core.events import Command
from engine.core.types import ContractKind, Instrument
from engine.live.view import HISTORY
from tests.market import BTC, ETH, LOOSE, MS, S, Script, depth, gap
from tests.watched import ASKS, BIDS, START_NS, Watched, buys

ISSUE_KEYS = {"digest", "venues", "books", "orders", "fills", "profit", "models", "latency_us"}


def test_it_is_ready_when_books_venue_and_loop_are() -> None:
    watched = Watched()
    assert watched.view.ready() == (
        False,
        [f"book {BTC.name}: no snapshot yet", f"book {ETH.name}: no snapshot yet"],
    )
    watched.make_ready()
    assert watched.view.ready() == (True, [])
    watched.connection.is_open = False
    assert watched.view.ready() == (False, ["venue v: not connected"])
    watched.connection.is_open = True
    watched.now_ns += 3 * S
    assert watched.view.ready() == (False, ["loop: the engine has not looked at the bus for 3.0 s"])
    watched.pass_time(0)
    watched.feed_batches(gap(watched.now_ns, symbol=1))
    assert watched.view.ready() == (False, [f"book {ETH.name}: sequence"])


def test_the_summary_has_what_machines_read() -> None:
    watched = Watched(buys(1_000))
    watched.make_ready()
    watched.pass_time(200 * MS)
    summary = json.loads(msgspec.json.encode(watched.view.summary()))
    assert summary.keys() >= ISSUE_KEYS
    assert summary["venues"] == {
        "v": {"frames": 0, "gaps": 0, "reconnects": 0, "malformed": 0, "unknown": 0, "open": True}
    }
    assert (summary["books"]["ready"], summary["books"]["total"]) == (2, 2)
    assert (summary["orders"]["sent"], summary["orders"]["filled"], summary["fills"]) == (1, 1, 1)
    assert Decimal(summary["profit"]["USDT"]) == Decimal("-0.05") - Decimal("0.1001")
    assert {"p50", "p99", "p999", "samples"} == summary["latency_us"]["tick_to_order"].keys()
    assert summary["latency_us"]["tick_to_decision"]["samples"] == 2
    assert summary["missed"] == 0
    assert summary["models"][0]["name"] == "m"
    assert summary["digest"] == watched.engine.digest


def test_the_state_is_everything_the_page_shows() -> None:
    watched = Watched(buys(1_000))
    watched.make_ready()
    watched.pass_time(200 * MS)
    state = json.loads(msgspec.json.encode(watched.view.state()))
    assert (state["run"], state["ready"], state["reasons"], state["halted"]) == ("demo", True, [], False)
    book = state["book_tops"][0]
    assert (book["bid"], book["ask"], book["mid"]) == ("100.00", "100.10", 100.05)
    assert book["levels"] == {
        "bids": [["100.00", "5.000"], ["99.90", "7.000"]],
        "asks": [["100.10", "4.000"], ["100.20", "6.000"]],
    }
    (position,) = state["positions"]
    assert position == {
        "strategy": "s",
        "symbol": BTC.name,
        "size": "1.000",
        "average": "100.1000",
        "mark": "100.05",
        "unrealised": "-0.05",
        "realised": "0",
        "fees": "0.1001",
        "profit": "-0.1501",
        "currency": "USDT",
    }
    (fill,) = state["recent_fills"]
    assert (fill["side"], fill["price"], fill["size"], fill["maker"]) == ("buy", "100.10", "1.000", False)
    assert [fact["what"] for fact in state["notable"]] == ["Commanded", "FeedState", "FeedState"]
    assert state["by_strategy"]["s"]["fills"] == 1
    assert "history" not in state


def test_history_is_sampled_bounded_and_told_from_a_moment_on() -> None:
    watched = Watched()
    watched.view.sample()
    watched.make_ready()
    watched.view.sample()
    first, second = (sample.ms for sample in watched.view.history)
    history = watched.view.state(0)["history"]
    assert history["ms"] == [first, second] == [START_NS // MS, START_NS // MS + 1000]
    assert history["mid"] == {BTC.name: [None, 100.05], ETH.name: [None, 100.05]}
    assert history["profit"] == {"USDT": [0.0, 0.0]}
    assert watched.view.state(first)["history"]["ms"] == [second]
    assert watched.view.state(second)["history"]["ms"] == []
    for _ in range(HISTORY):
        watched.view.sample()
    assert len(watched.view.history) == HISTORY


def test_an_average_price_is_exact_for_an_inverse_contract() -> None:
    perpetual = Instrument(
        venue="v", symbol="X", base="BTC", quote="USD", price_decimals=1, size_decimals=0,
        kind=ContractKind.INVERSE, contract_size=Decimal(100),
    )  # fmt: skip
    watched = Watched()
    ledger = type(watched.engine.ledger)((perpetual,), {})
    watched.engine.instruments = (perpetual,)
    watched.engine.ledger = ledger
    ledger.fill("s", 0, side=-1, price=500_000, size=3, fee_rate=Decimal(0))
    (position,) = watched.view.positions()
    assert (position["size"], position["average"], position["currency"]) == ("-3", "50000.000", "BTC")


class TestWhy:
    """Why there is no trade, in plain sentences."""

    def test_no_book_was_ever_ready(self) -> None:
        watched = Watched()
        reasons = watched.view.why()["reasons"]
        assert f"book {BTC.name} was never ready: no snapshot yet" in reasons
        assert "model m has made no prediction yet" in reasons
        assert reasons[-2:] == ["no order was sent", "strategy s asked for no order"]

    def test_the_venue_is_away(self) -> None:
        watched = Watched()
        watched.connection.is_open = False
        assert watched.view.why()["reasons"][0] == "venue v is not connected and never sent a frame"

    def test_a_gap_took_a_book_that_was_ready(self) -> None:
        watched = Watched()
        watched.make_ready()
        watched.feed_batches(gap(watched.now_ns))
        assert f"book {BTC.name} is not ready: sequence" in watched.view.why()["reasons"]

    def test_risk_refused_everything(self) -> None:
        watched = Watched(buys(1_000), risk=msgspec.structs.replace(LOOSE, max_order_notional=Decimal(50)))
        watched.make_ready()
        why = watched.view.why()
        assert why["strategies"]["s"]["refused"] == {"order_notional": 1}
        assert any(
            one.startswith("risk refused every order of s (order_notional 1); the last:") for one in why["reasons"]
        )

    def test_a_strategy_that_raised_is_named(self) -> None:
        def fail(_: object, __: object) -> None:
            raise ZeroDivisionError("oops")

        watched = Watched(Script({"book": fail}))
        watched.make_ready()
        reasons = watched.view.why()["reasons"]
        assert "strategy s is stopped: on_book raised ZeroDivisionError: oops" in reasons
        assert watched.view.why()["strategies"]["s"]["stopped"] is not None

    def test_a_reload_that_failed_is_told_until_one_works(self, monkeypatch: pytest.MonkeyPatch) -> None:
        watched = Watched()
        watched.make_ready()
        monkeypatch.setattr(watched.engine.roster, "reload", lambda name: "SyntaxError: oops")
        watched.runner.command("reload")
        watched.runner.drain(10)
        told = "strategy s goes on with its old code, the reload failed: SyntaxError: oops"
        assert told in watched.view.why()["reasons"]
        assert watched.view.why()["strategies"]["s"]["reload_failed"] == "SyntaxError: oops"
        monkeypatch.undo()
        watched.runner.command("reload", {"strategy": "s"})
        watched.runner.drain(10)
        assert told not in watched.view.why()["reasons"]

    def test_a_note_of_a_strategy_is_not_taken_for_a_reload_that_failed(self) -> None:
        watched = Watched(Script({"book": lambda _, ctx: ctx.note(reload="mine")}))
        watched.make_ready()
        assert watched.view.why()["strategies"]["s"]["reload_failed"] == ""

    def test_the_kill_switch_comes_first(self) -> None:
        watched = Watched()
        watched.runner.command("halt", {"reason": "test"})
        watched.runner.drain(10)
        assert watched.view.why()["reasons"][0] == "the kill switch is on: resume to trade again"
        assert watched.view.state()["halted"] is True

    def test_orders_that_wait_are_no_mystery(self) -> None:
        def rest(_: object, ctx: object) -> None:
            if len(script.all("book")) == 1:
                getattr(ctx, "order")("BTCUSDT", 1, 1_000, price=9_000)  # noqa: B009 - a Context by duck

        script = Script({"book": rest})
        watched = Watched(script)
        watched.make_ready()
        assert "1 order sent and none filled: 0 cancelled, 1 working" in watched.view.why()["reasons"]
        assert watched.view.state()["working_orders"][0]["price"] == "90.00"

    def test_a_run_that_trades_has_no_reasons(self) -> None:
        watched = Watched(buys(1_000), with_models=False)
        watched.make_ready()
        watched.pass_time(MS)
        assert watched.view.why()["reasons"] == []


def test_notes_and_commands_are_notable_in_the_order_of_time() -> None:
    watched = Watched(Script({"book": lambda _, ctx: ctx.note(seen="book")}))
    watched.make_ready()
    watched.feed_batches(depth(watched.now_ns + MS, BIDS[:1], ASKS[:1]))
    facts = watched.view.notable()
    assert [fact["ns"] for fact in facts] == sorted(fact["ns"] for fact in facts)
    assert {"Commanded", "FeedState", "Note"} == {fact["what"] for fact in facts}


def test_what_is_on_the_tape_is_what_was_commanded() -> None:
    watched = Watched()
    watched.runner.command("flatten", {"strategy": "s"})
    assert watched.taped[-1].token == "flatten"
    item = watched.runner.bus.pop()
    assert item is not None and isinstance(item.payload, Command)


@pytest.mark.parametrize("size", [1, 1_000])
def test_reading_changes_nothing(size: int) -> None:
    seen, unseen = Watched(buys(size)), Watched(buys(size))
    for watched in (seen, unseen):
        watched.make_ready()
    for _ in range(3):
        seen.view.sample()
        seen.view.state(0)
        seen.view.why()
    for watched in (seen, unseen):
        watched.pass_time(S)
    assert seen.engine.digest == unseen.engine.digest
