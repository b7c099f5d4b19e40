"""Every registered strategy against every card, and every card against a strategy that breaks it."""

from __future__ import annotations

import time
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

import pytest

from engine.core.book import Book
from engine.core.events import ModelReady
from engine.core.records import Signal
from engine.core.strategy import Config, Context, Gap, Order, Strategy
from engine.core.types import Side
from strategies.conformance import CARDS, Subject, check_strategy
from strategies.scenarios import Prophet, play, walk

ENTRIES = sorted(entry_points(group="papertape.strategies"), key=lambda entry: entry.name)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_registered_strategy_when_checked_then_every_card_passes(entry: EntryPoint) -> None:
    results = check_strategy(entry.load())
    assert [result.card for result in results] == [card for card, _, _ in CARDS]
    assert [result.line() for result in results if not result.passed] == []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_registered_strategy_when_the_market_moves_then_it_trades(entry: EntryPoint) -> None:
    kinds = {type(record.fact).__name__ for record in Subject(entry.load()).play(walk()).records}
    assert {"Request", "Sent", "Accepted", "Fill"} <= kinds


class Named(Config, frozen=True):
    symbol: str  # instrument to trade


class Undocumented(Config, frozen=True):
    symbol: str


class Lenient(Config, frozen=True, forbid_unknown_fields=False):
    symbol: str  # instrument to trade


class NeedsWords(Config, frozen=True):
    symbol: str  # instrument to trade
    sizes: list[int]  # size units


class Silent(Strategy[Named]):
    pass


class Clocked(Strategy[Named]):
    "Reads our clock, so the same tape gives another answer."

    def on_book(self, book: Book, ctx: Context) -> None:
        ctx.emit(book.symbol, "clock", float(time.perf_counter_ns()))


class Loose(Strategy[Undocumented]):
    "Says nothing of its config."


class Sloppy(Strategy[Lenient]):
    "Takes a misspelt key for none."


class Raising(Strategy[Named]):
    "Raises on everything that can go wrong."

    def on_book(self, book: Book, ctx: Context) -> None:
        ctx.emit(book.symbol, "spread", 1 / book.spread)

    def on_gap(self, gap: Gap, ctx: Context) -> None:
        raise RuntimeError("no gaps please")

    def on_order(self, order: Order, ctx: Context) -> None:
        if order.left and not order.is_working:
            raise RuntimeError("no refusals and no parts please")

    def on_timer(self, name: str, ctx: Context) -> None:
        ctx.order(self.config.symbol, Side.BUY, 10_000)

    def on_start(self, ctx: Context) -> None:
        ctx.timer("buy", 1.0)


class Hasty(Strategy[Named]):
    "Asks at every moment, whatever the book and the answer."

    def on_signal(self, signal: Signal, ctx: Context) -> None:
        ctx.order(self.config.symbol, Side.BUY, 100)

    def on_book(self, book: Book, ctx: Context) -> None:
        ctx.order(self.config.symbol, Side.BUY, 100)


class Fidgety(Strategy[Named]):
    "Changes its order at every trade, though nothing changed."

    def on_start(self, ctx: Context) -> None:
        ctx.timer("buy", 1.0)

    def on_timer(self, name: str, ctx: Context) -> None:
        if ctx.book(self.config.symbol).is_ready:
            ctx.order(self.config.symbol, Side.BUY, 100, 500_000)

    def on_book(self, book: Book, ctx: Context) -> None:
        for order in ctx.orders():
            ctx.amend(order.id, size=order.size)
            ctx.amend(order.id, price=order.price)


class Remembering(Strategy[Named]):
    "Keeps its state where nobody saves it."

    seen: ClassVar[list[int]] = []

    def __init__(self, config: Named) -> None:
        super().__init__(config)
        self.count = 0

    def on_book(self, book: Book, ctx: Context) -> None:
        self.count += 1
        if self.count % 100 == 0:
            ctx.emit(book.symbol, "count", self.count)

    def save(self) -> dict[str, Any]:
        return {"count": self.count}


class Blocky(Strategy[Named]):
    "Depends on how often it was made in this process."

    made: ClassVar[list[int]] = []

    def on_start(self, ctx: Context) -> None:
        self.made.append(1)
        ctx.note(made=len(self.made))


@pytest.mark.parametrize(
    ("cls", "broken"),
    [
        (Silent, {"S10"}),
        (Clocked, {"S100", "S110", "S120"}),
        (Loose, {"S30"}),
        (Sloppy, {"S40"}),
        (Raising, {"S50", "S60", "S70", "S80", "S90", "S120"}),
        (Hasty, {"S60", "S70", "S90"}),
        (Fidgety, {"S95"}),
        (Remembering, {"S120"}),
        (Blocky, {"S100", "S110", "S120"}),
    ],
)
def test_card_when_a_strategy_breaks_it_then_it_fails_with_words(cls: type[Strategy[Any]], broken: set[str]) -> None:
    results = {result.card: result for result in check_strategy(cls)}
    # This module imports a clock, and is the module of every class here.
    assert {card for card, result in results.items() if not result.passed} == broken | {"S20"}
    assert all(len(results[card].detail) > 20 for card in broken)
    assert "imports time" in results["S20"].detail


def test_config_when_a_field_has_no_example_then_the_card_says_so_and_values_help() -> None:
    class Listed(Strategy[NeedsWords]):
        "Takes a list."

    results = {result.card: result for result in check_strategy(Listed)}
    assert "sizes" in results["S40"].detail
    assert all(result.passed for result in check_strategy(Listed, {"sizes": [1]}) if result.card != "S20")


def test_call_when_a_strategy_prints_then_the_card_names_the_line(tmp_path: Any, monkeypatch: Any) -> None:
    source = (
        '"""Talks."""\n'
        "from engine.core.strategy import Config, Context, Strategy\n\n\n"
        "class Talker(Strategy[Config]):\n"
        '    """Talks."""\n\n'
        "    def on_start(self, ctx: Context) -> None:\n"
        '        print("hello")\n'
    )
    (tmp_path / "talker_strategy.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    results = {result.card: result for result in check_strategy(import_module("talker_strategy").Talker)}
    assert results["S20"].detail.startswith("line 9 calls print")


def test_play_when_the_new_one_cannot_load_then_it_is_stopped() -> None:
    class Forgetful(Strategy[Named]):
        "Cannot take back what it gave."

        def load(self, state: dict[str, Any]) -> None:
            raise KeyError("state")

    outcome = play(lambda: Forgetful(Named("test:BTCUSDT")), walk(), reload_at=5)
    assert outcome.stopped == "save and load: KeyError: 'state'"


def test_prophet_knows_no_training() -> None:
    assert Prophet("m").swap(ModelReady(0, "m", "v", b"")) == ()
