"""Every rule of risk, from both sides of its limit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.core.account.ledger import Ledger
from engine.core.book import ASK, BID, CHANGED_NS, IS_READY, Books
from engine.core.desk.risk import RULES, Action, Approved, Intent, Refused, Risk, RiskSettings
from engine.core.types import ContractKind, Instrument, OrderKind, TimeInForce

SPOT = Instrument(
    venue="v",
    symbol="SPOT",
    base="BTC",
    quote="USDT",
    price_decimals=2,
    size_decimals=3,
    tick=5,
    lot=2,
    min_size=4,
    max_size=100_000,
    min_notional=Decimal(5),
)
LINEAR = Instrument(
    venue="v", symbol="LINEAR", base="BTC", quote="USDT", price_decimals=2, size_decimals=3, kind=ContractKind.LINEAR
)
INVERSE = Instrument(
    venue="v",
    symbol="INVERSE",
    base="BTC",
    quote="USD",
    price_decimals=2,
    size_decimals=0,
    kind=ContractKind.INVERSE,
    contract_size=Decimal(100),
)
NOW = 1_000_000_000_000
OPEN = {
    "max_order_notional": Decimal(0),
    "max_position_notional": Decimal(0),
    "price_collar_bps": 0,
    "stale_book_ns": 0,
    "max_orders_per_window": 0,
    "max_open_orders": 0,
    "drawdown_fraction": Decimal(0),
    "allow_short": True,
    "allow_debt": True,
}


class Desk:
    """Risk over three books at 100.00 / 100.10, everything off but what a test asks for."""

    def __init__(self, **settings: Any) -> None:
        self.books = Books((SPOT, LINEAR, INVERSE))
        self.books.top[:, BID], self.books.top[:, ASK] = 10_000, 10_010
        self.books.top[:, IS_READY], self.books.top[:, CHANGED_NS] = 1, NOW
        self.ledger = Ledger(self.books.instruments, {"USDT": Decimal(1000), "BTC": Decimal(2)})
        self.working = {0: (0, 0), 1: (0, 0), 2: (0, 0)}
        self.risk = Risk(
            msgspec.convert(OPEN | settings, RiskSettings), self.books, self.ledger, self.working.__getitem__
        )

    def ask(self, symbol: int = 1, side: int = 1, size: int = 1000, price: int = 0, **more: Any) -> str:
        """The rule that refuses, or nothing."""
        intent = Intent(
            order=1,
            strategy=more.pop("strategy", "s"),
            symbol=symbol,
            side=side,
            kind=OrderKind.LIMIT if price else OrderKind.MARKET,
            time_in_force=TimeInForce.GTC,
            price=price,
            size=size,
            post_only=False,
            flattening=more.pop("flattening", False),
        )
        buying, selling = self.working.get(symbol, (0, 0))
        decision = self.risk.check(intent, more.pop("now_ns", NOW), buying, selling, **more)
        assert decision.intent is intent
        if isinstance(decision, Approved):
            return ""
        assert isinstance(decision, Refused) and decision.rule in RULES and decision.detail
        return decision.rule

    def trade(self, side: int, size: int, price: int, symbol: int = 1, strategy: str = "s") -> None:
        self.ledger.fill(strategy, symbol, side, price, size, Decimal(0))

    def mark(self, price2: int, symbol: int = 1) -> list[Action]:
        self.ledger.mark(symbol, price2)
        return self.risk.watch(NOW)


def test_unknown_symbol() -> None:
    assert Desk().ask(symbol=3) == Desk().ask(symbol=-1) == "unknown_symbol"


def test_lot_when_size_is_not_what_the_venue_takes_then_refused() -> None:
    desk = Desk()
    assert desk.ask(symbol=0, size=1000) == ""
    for size in (0, -2, 2, 1001, 100_002):
        assert desk.ask(symbol=0, size=size) == "lot"
    assert desk.ask(symbol=1, size=2**60) == "lot"


def test_tick_when_price_is_not_what_the_venue_takes_then_refused() -> None:
    desk = Desk()
    assert desk.ask(symbol=0, price=10_005) == ""
    for price in (10_001, -5, 2**60 * 5):
        assert desk.ask(symbol=0, price=price) == "tick"
    intent = Intent(1, "s", 0, 1, OrderKind.LIMIT, TimeInForce.GTC, 0, 1000, False)
    decision = desk.risk.check(intent, NOW, 0, 0)
    assert isinstance(decision, Refused) and decision.rule == "tick"
    decision = desk.risk.check(msgspec.structs.replace(intent, kind=OrderKind.MARKET, price=5), NOW, 0, 0)
    assert isinstance(decision, Refused) and decision.rule == "tick"


def test_book_when_in_doubt_or_one_sided_then_refused() -> None:
    desk = Desk()
    desk.books.top[1, IS_READY] = 0
    assert desk.ask() == "book_not_ready"
    desk.books.top[1, IS_READY], desk.books.top[1, ASK] = 1, 0
    assert desk.ask() == desk.ask(price=10_000) == "book_not_ready"


def test_stale_book() -> None:
    desk = Desk(stale_book_ns=10)
    assert desk.ask(now_ns=NOW + 10) == ""
    assert desk.ask(now_ns=NOW + 11) == "stale_book"


def test_price_collar_when_far_from_the_mid_then_refused() -> None:
    desk = Desk(price_collar_bps=100)
    assert desk.ask(price=10_105) == desk.ask(price=9_905, side=-1) == desk.ask() == ""
    assert desk.ask(price=10_106) == desk.ask(price=9_904) == "price_collar"
    desk.books.top[1, ASK] = 12_000
    assert desk.ask() == "price_collar"


def test_min_notional() -> None:
    desk = Desk()
    assert desk.ask(symbol=0, size=50, price=10_000) == ""
    assert desk.ask(symbol=0, size=48, price=10_000) == "min_notional"
    assert desk.ask(symbol=0, size=48) == "min_notional"


def test_order_size() -> None:
    desk = Desk(max_order_size=Decimal("1.5"))
    assert desk.ask(size=1500) == ""
    assert desk.ask(size=1501) == "order_size"


def test_order_notional_when_inverse_then_it_is_contracts_of_the_quote_currency() -> None:
    desk = Desk(max_order_notional=Decimal(200))
    assert desk.ask(size=2000, price=10_000) == desk.ask(symbol=2, size=2) == ""
    assert desk.ask(size=2001, price=10_000) == desk.ask(symbol=2, size=3) == "order_notional"
    assert desk.ask(size=1999) == "order_notional"  # at the ask


def test_position_when_working_orders_would_exceed_it_then_refused() -> None:
    desk = Desk(max_position_notional=Decimal("100.05"))
    assert desk.ask(size=1000) == ""
    assert desk.ask(size=1001) == "position"
    desk.working[1] = (400, 0)
    assert desk.ask(size=600) == ""
    assert desk.ask(size=601) == "position"
    assert desk.ask(size=1000, side=-1) == ""
    desk.trade(1, 1000, 10_000)
    assert desk.ask(size=1) == "position"
    assert desk.ask(size=2000, side=-1) == ""
    assert desk.ask(size=2001, side=-1) == "position"


def test_position_when_beyond_the_limit_then_reducing_is_allowed() -> None:
    desk = Desk(max_position_notional=Decimal("100.05"))
    desk.trade(-1, 5000, 10_000)
    assert desk.ask(size=4000) == desk.ask(size=5000) == ""
    assert desk.ask(size=2, side=-1) == "position"


def test_total_notional_counts_all_symbols_of_the_quote_currency() -> None:
    desk = Desk(max_total_notional=Decimal("300.15"))
    assert desk.ask(size=3000) == ""
    assert desk.ask(size=3001) == "notional"
    desk.trade(1, 1000, 10_000, symbol=0)
    assert desk.ask(size=2000) == ""
    assert desk.ask(size=2001) == "notional"
    desk.working[0] = (500, 0)
    assert desk.ask(size=1501) == "notional"
    desk.working[1] = (0, 1501)
    assert desk.ask(size=1) == "notional"
    desk.working[1] = (0, 0)
    assert desk.ask(symbol=2, size=3) == ""
    desk.books.top[0, ASK] = 0
    desk.ledger.mark(0, 20_010)
    assert desk.ask(size=1500) == "" and desk.ask(size=1501) == "notional"


def test_total_notional_when_nobody_tells_what_works_then_positions_count() -> None:
    desk = Desk()
    risk = Risk(msgspec.convert(OPEN | {"max_total_notional": Decimal(1)}, RiskSettings), desk.books, desk.ledger)
    intent = Intent(1, "s", 1, 1, OrderKind.MARKET, TimeInForce.GTC, 0, 9, False)
    assert isinstance(risk.check(intent, NOW, 0, 0), Approved)
    desk.trade(1, 1, 10_000, symbol=0)
    assert isinstance(risk.check(intent, NOW, 0, 0), Refused)


def test_spot_when_the_account_lacks_it_then_refused() -> None:
    desk = Desk(allow_short=False, allow_debt=False)
    assert desk.ask(symbol=0, side=-1, size=2000) == ""
    assert desk.ask(symbol=0, side=-1, size=2002) == "position"
    assert desk.ask(symbol=0, size=9980, price=10_010) == ""
    assert desk.ask(symbol=0, size=10_000) == "notional"
    desk.working[0] = (9000, 1500)
    assert desk.ask(symbol=0, side=-1, size=502) == "position"
    assert desk.ask(symbol=0, size=1000) == "notional"
    desk.working[0] = (0, 0)
    desk.trade(-1, 2000, 10_000, symbol=0)
    assert desk.ask(symbol=0, side=-1, size=500) == "position"
    assert desk.ask(symbol=1, side=-1, size=500) == ""


def test_spot_when_another_market_spent_the_base_then_it_cannot_be_sold() -> None:
    desk = Desk(allow_short=False)
    desk.trade(1, 100, 10_000, symbol=2)
    desk.trade(-1, 100, 9_900, symbol=2)
    assert desk.ask(symbol=0, side=-1, size=988) == ""
    assert desk.ask(symbol=0, side=-1, size=990) == "position"


def test_stop_loss_when_a_reducing_order_works_then_another_may_not_reduce_beyond_it() -> None:
    desk = Desk(stop_loss_bps=100)
    desk.trade(1, 1000, 10_000)
    assert len(desk.mark(2 * 9_900)) == 1
    desk.working[1] = (0, 500)
    assert (desk.ask(side=-1, size=500), desk.ask(side=-1, size=501)) == ("", "stop_loss")


def test_open_orders() -> None:
    desk = Desk(max_open_orders=2)
    assert desk.ask(open_orders=1) == ""
    assert desk.ask(open_orders=2) == "open_orders"


def test_order_rate_counts_approved_orders_within_the_window() -> None:
    desk = Desk(max_orders_per_window=2, order_window_ns=100)
    assert [desk.ask(now_ns=NOW + ns) for ns in (0, 50, 99, 100, 149, 150)] == [
        "",
        "",
        "order_rate",
        "",
        "order_rate",
        "",
    ]
    assert desk.ask(now_ns=NOW + 160, flattening=True) == ""


def test_kill_switch_when_on_then_only_flattening_passes_until_resumed() -> None:
    desk = Desk()
    desk.risk.halt("storm")
    assert (desk.ask(), desk.risk.halted) == ("kill_switch", True)
    assert desk.ask(flattening=True) == ""
    assert desk.ask(flattening=True, size=0) == "lot"
    desk.risk.resume()
    assert not desk.risk.halted
    assert desk.ask() == ""


@pytest.mark.parametrize("limit", [{"stop_loss_bps": 100}, {"stop_loss": {"USDT": "1"}}])
def test_stop_loss_when_reached_then_the_strategy_may_only_reduce_there(limit: dict[str, Any]) -> None:
    desk = Desk(**limit)
    desk.trade(1, 1000, 10_000)
    desk.trade(-1, 500, 10_000, strategy="other")
    assert desk.mark(2 * 9_901) == desk.mark(2 * 10_050) == []
    (action,) = desk.mark(2 * 9_900)
    assert (action.rule, action.strategy, action.symbol) == ("stop_loss", "s", 1)
    assert desk.mark(2 * 9_900) == []
    assert desk.risk.blocks == {("s", 1): "stop_loss"}
    assert desk.ask() == desk.ask(side=-1, size=1001) == "stop_loss"
    assert desk.ask(side=-1) == desk.ask(strategy="other") == desk.ask(symbol=2) == ""
    desk.risk.resume()
    assert desk.ask() == ""


def test_stop_loss_when_only_another_currency_is_limited_then_nothing_happens() -> None:
    desk = Desk(stop_loss={"BTC": "1"})
    desk.trade(1, 1000, 10_000)
    assert desk.mark(2 * 9_900) == []


def test_stop_loss_when_the_pause_is_over_then_it_may_trade_and_stop_again() -> None:
    desk = Desk(stop_loss_bps=100, stop_loss_pause_ns=10)
    desk.trade(1, 1000, 10_000)
    assert len(desk.mark(2 * 9_900)) == 1
    assert desk.ask(now_ns=NOW + 9) == "stop_loss"
    assert desk.risk.watch(NOW + 9) == []
    assert len(desk.risk.watch(NOW + 10)) == 1
    assert desk.ask(now_ns=NOW + 19) == "stop_loss"
    assert desk.ask(now_ns=NOW + 20) == ""
    assert desk.risk.blocks == {}


@pytest.mark.parametrize("limit", [{"drawdown": {"USDT": "50"}}, {"drawdown_fraction": "0.05"}])
def test_drawdown_when_the_account_fell_from_its_peak_then_all_may_only_reduce(limit: dict[str, Any]) -> None:
    desk = Desk(**limit)
    assert desk.risk.watch(NOW) == []
    desk.trade(1, 10_000, 10_000)
    assert desk.mark(2 * 9_501) == []
    (action,) = desk.mark(2 * 9_500)
    assert (action.rule, action.strategy, action.symbol) == ("drawdown", None, None)
    assert desk.mark(2 * 9_400) == []
    assert desk.ask(strategy="other") == "drawdown"
    assert desk.ask(side=-1) == ""
    desk.risk.resume()
    assert desk.mark(2 * 9_390) == []
    assert desk.ask() == ""
    assert len(desk.mark(2 * 8_800)) == 1


@pytest.mark.parametrize("limit", [{"strategy_drawdown": {"USDT": "50"}}, {"strategy_drawdown_fraction": "0.05"}])
def test_drawdown_when_one_strategy_fell_then_the_others_go_on(limit: dict[str, Any]) -> None:
    desk = Desk(**limit)
    desk.trade(1, 10_000, 10_000)
    desk.trade(-1, 10_000, 10_000, strategy="other")
    assert desk.mark(2 * 10_200) == []
    (action,) = desk.mark(2 * 9_690)
    assert (action.rule, action.strategy) == ("drawdown", "s")
    assert desk.ask(symbol=2, size=1) == "drawdown"
    assert desk.ask(strategy="other") == ""


def test_drawdown_when_the_account_never_had_the_currency_then_no_fraction_of_it_is_lost() -> None:
    desk = Desk(drawdown_fraction="0.01")
    bare = Risk(desk.risk.settings, desk.books, ledger := Ledger(desk.books.instruments, {}))
    ledger.fill("s", 1, 1, 10_000, 1000, Decimal("0.5"))
    assert bare.watch(NOW) == []


def test_watch_when_nothing_is_limited_then_it_does_nothing() -> None:
    desk = Desk()
    desk.trade(1, 10_000, 10_000)
    assert desk.mark(2) == []
