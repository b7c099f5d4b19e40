"""The engine around the book and the paper venue: strategies, timers, signals, commands, limits, determinism."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.core import events as ev
from engine.core.agenda import MAX_CASCADE
from engine.core.commands import UnknownCommand
from engine.core.context import UnknownSymbol
from engine.core.desk.orders import IllegalTransition, Working
from engine.core.desk.risk import Intent, RiskSettings
from engine.core.engine import Engine
from engine.core.events import Command, Frames, ModelReady
from engine.core.learning import NoLearning
from engine.core.records import (
    Account,
    AnyFact,
    Cancelled,
    CancelRejected,
    Commanded,
    ModelRefused,
    Note,
    Refusal,
    Request,
    RiskAction,
    Sent,
    Signal,
    StrategyStopped,
)
from engine.core.settings import EngineSettings
from engine.core.signals import MAX_SIGNALS
from engine.core.strategy import Config, Context, Strategy
from engine.core.timers import MAX_TIMERS
from engine.core.types import NEVER_NS, OrderKind, Side, TimeInForce
from engine.core.venue.paper_settings import PaperSettings
from tests.market import BTC, ETH, LOOSE, MS, NO_LATENCY, Rig, S, Script, clock, depth, gap, snapshot, trade

BOOK = snapshot(1, [(100, 50), (99, 50)], [(101, 50), (102, 50)])


def on_timer(act: Callable[[Context], Any], after_s: float = 1.0) -> Script:
    return Script({"start": lambda _, ctx: ctx.timer("go", after_s), "timer": lambda _, ctx: act(ctx)})


def test_a_strategy_that_raises_is_stopped_alone() -> None:
    def explode(_: object, ctx: Context) -> None:
        ctx.order("BTCUSDT", Side.BUY, 1)
        raise ValueError("no")

    bad, good = Script({"trade": explode}), Script()
    rig = Rig(bad, good)
    rig.feed(BOOK, trade(2, 100, 1, sell=True), trade(3, 100, 1, sell=True))
    assert rig.facts(StrategyStopped) == [StrategyStopped("s0", "on_trade raised ValueError: no")]
    assert rig.facts(Request) == []
    assert len(bad.all("trade")) == 1 and len(good.all("trade")) == 2
    assert rig.engine.summary()["strategies"]["s0"]["stopped"] == "on_trade raised ValueError: no"


def test_a_strategy_that_raises_on_the_fast_path_is_stopped_and_loses_its_orders() -> None:
    def explode(value: tuple[int, int], ctx: Context) -> None:
        if ctx.now_ns == 1:
            ctx.order("BTCUSDT", Side.BUY, 1, 90)
        if ctx.now_ns == 3:
            raise RuntimeError("boom")

    rig = Rig(Script({"book": explode}), Script())
    rig.feed(BOOK, depth(2, [(99, 1)]), depth(3, [(99, 2)]), depth(4, [(99, 3)]))
    assert [fact.strategy for fact in rig.facts(StrategyStopped)] == ["s0"]
    assert rig.facts(Cancelled) == [Cancelled(1, 1, "strategy_stopped")]


def test_signals_cascade_first_in_first_out_and_are_bounded() -> None:
    echo = Script({"signal": lambda signal, ctx: ctx.emit("BTCUSDT", "echo", signal.value + 1)})
    rig = Rig(on_timer(lambda ctx: ctx.emit("v:BTCUSDT", "first", 1.0)), echo)
    rig.feed(clock(2 * S))
    assert [fact.strategy for fact in rig.facts(StrategyStopped)] == ["s1"]
    values = [signal.value for signal in rig.facts(Signal)]
    assert values == [float(i + 1) for i in range(MAX_CASCADE + 1)]


def test_the_latest_signal_can_be_read() -> None:
    seen: list[Signal | None] = []
    script = Script({"timer": lambda name, ctx: seen.append(ctx.signal("BTCUSDT", "x"))})
    script.on["start"] = lambda _, ctx: (ctx.emit("BTCUSDT", "x", 2.0), ctx.timer("t", 1.0))
    Rig(script).feed(clock(2 * S))
    assert seen == [Signal("v:BTCUSDT", "s", "x", 2.0)]


def test_old_signal_names_make_room() -> None:
    def many(name: str, ctx: Context) -> None:
        batch = int(name)
        for i in range(200):
            ctx.emit("BTCUSDT", f"{batch}-{i}", 1.0)
        if batch < MAX_SIGNALS // 200 + 1:
            ctx.timer(str(batch + 1), 0.001)

    rig = Rig(Script({"start": lambda _, ctx: ctx.timer("0", 0.001), "timer": many}))
    rig.feed(clock(10 * S))
    assert rig.engine.latest_signal(0, "0-0") is None
    assert rig.engine.latest_signal(0, "9-1") is not None


def test_timers_come_in_order_of_their_time() -> None:
    script = Script()
    script.on["start"] = lambda _, ctx: [ctx.timer("b", 2.0), ctx.timer("a", 1.0), ctx.timer("c", 1.0)]
    rig = Rig(script)
    rig.feed(clock(1 * S))
    assert script.all("timer") == ["a", "c"]
    rig.feed(clock(9 * S))
    assert script.all("timer") == ["a", "c", "b"]


def test_a_timer_asked_again_is_moved() -> None:
    script = Script()
    asked = [("a", 1.0), ("a", 3.0), ("b", 3.0), ("b", 1.0)]
    script.on["start"] = lambda _, ctx: [ctx.timer(name, after_s) for name, after_s in asked]
    rig = Rig(script)
    rig.feed(clock(2 * S))
    assert script.all("timer") == ["b"]
    rig.feed(clock(9 * S))
    assert script.all("timer") == ["b", "a"]


def test_timers_are_bounded() -> None:
    rig = Rig(Script({"book": lambda _, ctx: [ctx.timer(f"{ctx.now_ns}-{i}", 99.0) for i in range(250)]}))
    rig.feed(BOOK, *(depth(i, [(99, i)]) for i in range(2, MAX_TIMERS // 250 + 4)))
    assert "timers" in rig.facts(StrategyStopped)[0].reason


def test_target_counts_what_is_working_and_what_was_just_said() -> None:
    paper = PaperSettings(out_ns=50 * MS, back_ns=0, feed_ns=0)
    rig = Rig(Script({"book": lambda _, ctx: [ctx.target("BTCUSDT", 3), ctx.target("BTCUSDT", 3)]}), paper=paper)
    rig.feed(BOOK, depth(2, [(99, 1)]), depth(3, [(99, 2)]), clock(1 * S), depth(1 * S + 1, [(99, 3)]))
    assert [request.size for request in rig.facts(Request)] == [3]
    assert rig.engine.ledger.position(0, "s") == 3


def test_target_sells_what_is_too_much() -> None:
    script = Script({"book": lambda value, ctx: ctx.target("BTCUSDT", 5 if ctx.now_ns < 2 else -2)})
    rig = Rig(script)
    rig.feed(BOOK, depth(2, [(99, 1)]), depth(3, [(99, 2)]))
    assert rig.engine.ledger.position(0) == -2


def test_the_context_reads_what_belongs_to_the_strategy() -> None:
    seen: dict[str, Any] = {}

    def look(ctx: Context) -> None:
        ctx.order("BTCUSDT", Side.BUY, 1, 90)
        seen.update(
            now=ctx.now_ns,
            symbols=list(ctx.symbols),
            instrument=ctx.instrument("v:ETHUSDT").name,
            book=ctx.book("BTCUSDT").bid,
            cash=ctx.cash["USDT"],
            position=ctx.position("BTCUSDT"),
        )
        ctx.note(hello=1)

    def count(order: Any, ctx: Context) -> None:
        seen["orders"] = [len(ctx.orders()), len(ctx.orders("BTCUSDT")), len(ctx.orders("ETHUSDT"))]

    script = on_timer(look)
    script.on["order"] = count
    rig = Rig(script, Script(), instruments=(BTC, ETH))
    rig.feed(BOOK, clock(1 * S), clock(1 * S + 1))
    assert seen == {
        "now": 1 * S,
        "symbols": ["v:BTCUSDT", "v:ETHUSDT"],
        "instrument": "v:ETHUSDT",
        "book": 100,
        "cash": Decimal(1_000_000),
        "position": 0,
        "orders": [1, 1, 0],
    }
    assert rig.facts(Note) == [Note("s0", {"hello": 1})]
    assert rig.engine.status()["working_orders"][0]["price"] == "0.90"


def test_an_unknown_symbol_stops_the_strategy_in_words() -> None:
    rig = Rig(on_timer(lambda ctx: ctx.book("DOGE")))
    rig.feed(clock(2 * S))
    assert "expected one of v:BTCUSDT, found 'DOGE'" in rig.facts(StrategyStopped)[0].reason


class OnlyEth(Config, frozen=True):
    symbol: str = "ETHUSDT"
    symbols: tuple[str, ...] = ()


class HearsEth(Strategy[OnlyEth]):
    def __init__(self, config: OnlyEth) -> None:
        super().__init__(config)
        self.heard: list[str] = []

    def on_book(self, book: Any, ctx: Context) -> None:
        self.heard.append(book.symbol)


def test_a_strategy_hears_only_of_the_symbols_its_config_names() -> None:
    strategy = HearsEth(OnlyEth())
    rig = Rig(strategy, instruments=(BTC, ETH))
    rig.feed(BOOK, snapshot(2, [(10, 1)], [(11, 1)], symbol=1), depth(3, [(100, 1)]))
    assert strategy.heard == ["v:ETHUSDT"]
    with pytest.raises(UnknownSymbol):
        Rig(HearsEth(OnlyEth(symbol="X")), instruments=(BTC, ETH))


def test_cancelling_what_is_unknown_or_anothers_answers_that_it_is_too_late() -> None:
    rig = Rig(on_timer(lambda ctx: ctx.cancel(77)), on_timer(lambda ctx: ctx.order("BTCUSDT", Side.BUY, 1, 90)))
    rig.feed(BOOK, clock(1 * S))
    assert rig.facts(CancelRejected) == [CancelRejected(77)]


def buys(size: int = 3) -> Script:
    return on_timer(lambda ctx: ctx.order("BTCUSDT", Side.BUY, size))


def test_halt_takes_orders_back_and_refuses_new_ones_until_resume() -> None:
    script = Script({"timer": lambda _, ctx: [ctx.order("BTCUSDT", Side.BUY, 1, 90), ctx.timer("t", 1.0)]})
    script.on["start"] = lambda _, ctx: ctx.timer("t", 1.0)
    rig = Rig(script)
    rig.feed(BOOK, clock(1 * S), clock(1 * S + 1))
    rig.say("halt", 1 * S + 2, reason="lunch")
    assert rig.engine.halted
    rig.feed(clock(2 * S))
    assert [fact.reason for fact in rig.facts(Cancelled)] == ["halt"]
    assert [fact.rule for fact in rig.facts(Refusal)] == ["kill_switch"]
    rig.say("resume", 2 * S + 1)
    rig.feed(clock(3 * S))
    assert len(rig.facts(Sent)) == 2
    assert rig.facts(RiskAction) == [
        RiskAction("kill_switch", "all", "lunch"),
        RiskAction("resume", "all", "command"),
    ]


def test_flatten_closes_positions_after_taking_orders_back() -> None:
    paper = PaperSettings(out_ns=2 * MS, back_ns=2 * MS, feed_ns=1 * MS)
    script = on_timer(lambda ctx: [ctx.order("BTCUSDT", Side.BUY, 3), ctx.order("BTCUSDT", Side.BUY, 2, 90)])
    rig = Rig(script, Script(), paper=paper)
    rig.feed(BOOK, clock(1 * S), clock(1 * S + 10 * MS))
    assert rig.engine.status()["positions"] == [{"strategy": "s0", "symbol": "v:BTCUSDT", "size": "0.003"}]
    rig.say("flatten", 2 * S, strategy="s0")
    rig.feed(clock(3 * S))
    assert rig.engine.ledger.position(0) == 0
    assert rig.engine.working("s0") == []


def test_flatten_waits_for_a_book_it_can_use() -> None:
    rig = Rig(buys())
    rig.feed(BOOK, clock(1 * S), clock(1 * S + 1), gap(2 * S))
    rig.say("flatten", 2 * S + 1)
    rig.feed(clock(3 * S))
    assert rig.engine.ledger.position(0) == 3
    rig.feed(snapshot(3 * S + 1, [(100, 9)], [(101, 9)]), clock(4 * S))
    assert rig.engine.ledger.position(0) == 0


def test_a_stop_loss_flattens_and_blocks() -> None:
    risk = RiskSettings(
        stop_loss_bps=100, allow_short=True, price_collar_bps=0, drawdown_fraction=Decimal(0), stale_book_ns=0
    )
    rig = Rig(buys(), risk=risk)
    rig.feed(snapshot(1, [(10000, 50)], [(10001, 50)]), clock(1 * S), clock(1 * S + 1))
    rig.feed(depth(2 * S, [(10000, 0), (9800, 50)], [(10001, 0), (9801, 50)]), clock(3 * S), clock(3 * S + 1))
    assert [action.rule for action in rig.facts(RiskAction)] == ["stop_loss"]
    assert rig.engine.ledger.position(0) == 0


def test_accounts_are_recorded_each_second_while_there_is_a_position_and_at_the_end() -> None:
    rig = Rig(buys(), cash={"USDT": Decimal(100)})
    rig.feed(BOOK, *(clock(i * S // 2) for i in range(2, 9)))
    accounts = rig.facts(Account)
    assert len(accounts) >= 3
    last = accounts[-1]
    assert Decimal(last.equity) == Decimal(last.realised) + Decimal(last.unrealised) - Decimal(last.fees)
    rig.say("stop", 5 * S)
    assert len(rig.facts(Account)) > len(accounts)
    profit = rig.engine.summary()["profit"]["USDT"]
    assert profit == rig.facts(Account)[-1].equity


def test_stop_lets_the_last_word_leave() -> None:
    rig = Rig(Script({"stop": lambda _, ctx: ctx.order("BTCUSDT", Side.BUY, 1)}))
    rig.feed(BOOK)
    rig.say("stop", 2)
    assert len(rig.facts(Sent)) == 1


class Counting(Strategy[Config]):
    made = 0

    def __init__(self) -> None:
        super().__init__(Config())
        Counting.made += 1
        if Counting.made == 3:
            raise ValueError("broken file")
        self.count = 0

    def on_start(self, ctx: Context) -> None:
        self.count += 1

    def save(self) -> dict[str, Any]:
        return {"count": self.count}

    def load(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


def test_reload_keeps_state_and_survives_a_broken_file() -> None:
    Counting.made = 0
    engine = Engine((BTC,), {"c": Counting, "other": lambda: Script()}, EngineSettings(risk=LOOSE))
    engine.process(Command(1, "start"))
    engine.process(Command(2, "reload", {"strategy": "c"}))
    fresh = engine.roster.slots["c"].strategy
    assert isinstance(fresh, Counting) and fresh.count == 2
    records = engine.process(Command(3, "reload", {"strategy": "c"}))
    assert [record.fact for record in records] == [
        Commanded("reload", {"strategy": "c"}),
        Note("c", {"reload": "ValueError: broken file"}),
    ]
    assert engine.roster.slots["c"].strategy is fresh
    engine.process(Command(4, "reload"))


def test_an_unknown_command_is_refused_in_words() -> None:
    with pytest.raises(UnknownCommand, match="expected one of start, stop"):
        Rig().say("dance", 1)


class Planned(NoLearning):
    """Asks to be called at fixed times and says what it is told to say."""

    def __init__(self, times: Sequence[int]) -> None:
        self.times = list(times)
        self.seen: list[tuple[int, int]] = []
        self.absorbed = 0

    def next_due_ns(self) -> int:
        return self.times[0] if self.times else NEVER_NS

    def absorb(self, frames: Frames) -> None:
        self.absorbed += len(frames)

    def due(self, now_ns: int) -> Sequence[AnyFact]:
        self.times.pop(0)
        self.seen.append((now_ns, self.absorbed))
        return [Signal("v:BTCUSDT", "m", "m", 1.0), Note("m", {})]


def test_models_are_asked_at_their_times_with_all_frames_before() -> None:
    learning = Planned([0, 10, 25])
    script = Script()
    rig = Rig(script, learning=learning)
    rig.feed(snapshot(5, [(100, 1)], [(101, 1)]), depth(9, [(99, 1)]), depth(10, [(98, 1)]), depth(30, [(97, 1)]))
    assert learning.seen == [(0, 0), (10, 2), (25, 3)]
    assert len(script.all("signal")) == 3
    rig.engine.process(ModelReady(40, "m", "abc", b""))
    assert rig.engine._out[-1].fact == ModelRefused("m", "abc", "the run has no such model")


def test_a_full_ring_is_drained() -> None:
    learning = Planned([])
    rig = Rig(learning=learning)
    room = len(rig.engine._state.ring)
    rig.feed(BOOK, np.concatenate([depth(i, [(99, i)]) for i in range(2, room + 50)]))
    assert learning.absorbed == room + 1  # one when the book became ready, the rest when the ring was full


def test_an_illegal_transition_is_a_fault_of_ours() -> None:
    intent = Intent(1, "s", 0, 1, OrderKind.LIMIT, TimeInForce.GTC, 1, 1, False)
    order = Working(intent, "filled", 0)
    with pytest.raises(IllegalTransition, match="order 1: filled cannot become open"):
        order.tell("open")
    assert not order.view("v:BTCUSDT").is_working


def test_latency_settings_say_where_an_order_lands() -> None:
    paper = PaperSettings(out_ns=3, back_ns=2, feed_ns=4)
    assert (paper.effect_ns, paper.tell_ns) == (7, 0)
    assert (NO_LATENCY.effect_ns, ev.REASONS[ev.CROSSED]) == (0, "crossed")
