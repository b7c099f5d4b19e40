"""Shadow accounts in small: what a contest makes of them, when a period ends, and what a configuration must say."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.engine import Engine
from engine.core.events import Batch, Command
from engine.core.records import Promoted, ShadowAccount
from engine.core.settings import EngineSettings
from engine.learn.betting import Bet
from engine.learn.contest import ONE, Contest, ContestSettings
from engine.learn.contract import ModelError, ModelSettings
from engine.learn.labels import Matured
from engine.learn.models import Models
from engine.learn.shadows import Listeners, ShadowedEngine
from engine.live.build import build_engine, offline_problems
from engine.live.config import ConfigError, parse_config
from engine.research.promotion import power
from engine.research.replay import replay
from strategies.learner import Learner, LearnerConfig
from tests.market import BTC, ETH, LOOSE, NO_LATENCY, S, Script, clock, snapshot
from tests.recovering import CONFIG, Life
from tests.recovering import config as living
from tests.watched import ASKS, BIDS, START_NS


def contest(**changes: Any) -> Contest:
    values = {"name": "best", "symbol": BTC.name, "champion": "a", "challengers": ("b",), "horizon_ns": S}
    return Contest(msgspec.convert(values | {"by": "account", "accounts": True} | changes, ContestSettings))


def play(one: Contest, changes: list[tuple[float, float]], out: dict[str, str] | None = None) -> list[Promoted]:
    """Periods in which champion and challenger gained so much."""
    found = []
    for mine, theirs in changes:
        worth = {name: one.worth[name] + int(2 * gain) * ONE // 2 for name, gain in (("a", mine), ("b", theirs))}
        found += [fact for fact in one.accounted(worth, "USDT", out or {}) if isinstance(fact, Promoted)]
    return found


BETTER = [(float(number % 3 - 1), float(number % 3 - 1) + 0.5 + number % 2) for number in range(200)]


def test_who_gains_more_is_promoted_and_a_new_reign_begins_at_nothing() -> None:
    one = contest()
    (fact,) = play(one, BETTER)
    assert (fact.model, fact.by, fact.cause, fact.currency) == ("b", "account", "evidence", "USDT")
    assert Decimal(fact.gained) - Decimal(fact.over_gained) == Decimal(fact.labels)
    summary = one.summary()
    assert (summary["champion"], summary["reign"]) == ("b", 2)
    assert summary["periods"] == 200 - fact.labels
    account = summary["accounts"][1]
    assert Decimal(account["gained"]) == Decimal(str(sum(theirs for _, theirs in BETTER)))
    assert Decimal(account["in_reign"]) == Decimal(account["gained"]) - Decimal(fact.gained)


def test_an_account_that_may_not_trade_proves_nothing() -> None:
    one = contest()
    assert play(one, BETTER, out={"b": "halted"}) == []
    assert one.summary()["accounts"][1]["out"] == "halted"
    assert one.trials("b")[0].labels == 1, "only the period in which it was stopped counts"
    assert len(play(one, BETTER)) == 1


def test_periods_without_a_price_are_one_with_the_next() -> None:
    one = contest()
    assert one.accounted({"a": None, "b": ONE}, "USDT", {}) == [
        ShadowAccount("best", BTC.name, "b", "USDT", "1"),
    ]
    assert one.periods == 0
    one.accounted({"a": 2 * ONE, "b": None}, "USDT", {})
    assert (one.periods, one.trials("b")[0].labels) == (1, 0)


def test_who_is_worse_by_the_loss_is_not_promoted() -> None:
    one = contest()
    for number in range(1, 400):
        for name, prediction in (("a", 1.0), ("b", -1.0)):
            matured = Matured(number * S, number, prediction, 1.0 + number % 2, np.zeros(0), move_bps=1.0, unit_bps=1.0)
            one.judged(name, matured)
        assert one.decide() == [], "labels alone decide nothing here"
    assert play(one, BETTER) == []
    assert one.trials("b")[0].wealth > 20.0


def test_labels_decide_where_accounts_are_only_kept() -> None:
    one = contest(by="loss")
    assert play(one, BETTER) == []
    with pytest.raises(ModelError, match="expected accounts = true, found none kept"):
        contest(accounts=False)


def test_the_predecessor_comes_back_on_its_account() -> None:
    one = contest(rollback_alpha=0.5)
    play(one, BETTER)
    reversed_ = [(theirs, mine) for mine, theirs in BETTER]
    back = play(one, reversed_ * 3)[0]
    assert (back.model, back.over, back.cause, back.needed) == ("a", "b", "rollback", 2.0)


@given(st.lists(st.floats(-1e6, 1e6), max_size=300))
def test_a_bet_that_carries_losses_never_sees_more_than_one_that_does_not(numbers: list[float]) -> None:
    plain, careful = Bet(), Bet(carries=True)
    for number in numbers:
        plain.update(number)
        careful.update(number)
    assert careful.scaled <= plain.scaled + 1e-9 and careful.debt <= 0.0


def test_a_loss_too_large_to_count_is_paid_off_later() -> None:
    numbers = [1.0, -1.0] * 20 + [-40.0] + [1.0] * 9
    bets = Bet(), Bet(carries=True)
    for bet in bets:
        for number in numbers:
            bet.update(number)
    assert bets[0].debt == 0.0 and bets[1].scaled < bets[0].scaled - 1.0


def test_the_campaign_counts_accounts_too() -> None:
    assert power(20, 600, 0.05, "account", 0.0).promoted <= 0.1
    assert power(5, 2500, 0.05, "account", 20.0).promoted == 1.0
    assert 0.0 <= power(20, 600, 0.05, "account", 0.0, shape="rare losses").promoted <= 1.0


# When a period ends.


def rig(*contests: ContestSettings) -> tuple[ShadowedEngine, Models]:
    names = {name for one in contests for name in (one.champion, *one.challengers)}
    models = Models(
        (BTC, ETH),
        [ModelSettings(name=name, use="last", symbol=BTC.name if name in "ab" else ETH.name) for name in sorted(names)],
        contests=contests,
    )

    def listeners(name: str) -> Listeners:
        symbol = next(one.symbol for one in contests if one.name == name)
        return Listeners({name: lambda: Learner(LearnerConfig(symbol=symbol, model=name))})

    cash = {"USDT": Decimal(1_000_000)}
    settings_ = EngineSettings(paper=NO_LATENCY, risk=LOOSE, cash=cash, book_depth=64)
    return ShadowedEngine((BTC, ETH), {}, settings_, models, listeners), models


def test_a_period_ends_before_the_first_input_at_or_after_it_and_quiet_ones_are_one() -> None:
    engine, models = rig(contest().settings)
    one = models.contests["best"]
    engine.process(Command(START_NS + 1, "start"))
    engine.process(snapshot(START_NS + 2, BIDS, ASKS))
    engine.process(clock(START_NS + S - 1))
    assert one.periods == 0
    engine.process(clock(START_NS + S))
    assert (one.periods, engine.now_ns) == (1, START_NS + S)
    engine.process(clock(START_NS + 5 * S + 7))
    assert one.periods == 2
    engine.process(Command(START_NS + 6 * S + 1, "stop"))
    assert one.periods == 3
    assert [shadow.engine.now_ns for shadow in engine.shadows] == [START_NS + 6 * S + 1] * 2


def test_contests_of_other_horizons_end_their_own_periods() -> None:
    other = contest(name="slow", symbol=ETH.name, champion="c", challengers=("d",), horizon_ns=S)
    first = contest().settings
    engine, models = rig(first, msgspec.structs.replace(other.settings, horizon_ns=3 * S))
    engine.process(Command(START_NS, "start"))
    for second in range(1, 10):
        engine.process(clock(START_NS + second * S))
    assert (models.contests["best"].periods, models.contests["slow"].periods) == (9, 3)
    strategies = [list(shadow.engine.roster.slots) for shadow in engine.shadows]
    assert strategies == [["best"], ["best"], ["slow"], ["slow"]]


def walk(count: int) -> list[Batch]:
    """Two symbols' books that move, with snapshots of several rows a frame."""
    chance = np.random.default_rng(5)
    found, ns, middle = [], START_NS, 10_000
    for number in range(count):
        ns += int(chance.integers(1, S // 3))
        middle += int(chance.integers(-3, 4))
        bids = [(middle - level, 50_000) for level in range(1, 4)]
        asks = [(middle + level, 50_000) for level in range(1, 4)]
        found.append(snapshot(ns, bids, asks, symbol=number % 2, id=number + 1))
    return found


FRAMES = walk(150)


def played(cuts: list[int]) -> tuple[str, list[str]]:
    engine, _ = rig(
        contest().settings, contest(name="slow", symbol=ETH.name, champion="c", challengers=("d",)).settings
    )
    engine.process(Command(START_NS, "start"))
    edges = [0, *sorted(set(cuts)), len(FRAMES)]
    for first, last in pairwise(edges):
        if first < last:
            engine.process(np.concatenate(FRAMES[first:last]))
    engine.process(Command(engine.now_ns, "stop"))
    return engine.digest, [one.engine.digest for one in engine.shadows]


WHOLE = played([])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, len(FRAMES) - 1), max_size=60))
def test_how_inputs_are_cut_changes_nothing(cuts: list[int]) -> None:
    assert played(cuts) == WHOLE


def test_books_that_are_found_wrong_are_told_whatever_part_of_the_batch_said_so() -> None:
    engine, _ = rig(contest().settings)
    engine.process(Command(START_NS, "start"))
    crossed = snapshot(START_NS + S // 2, ASKS, BIDS)
    engine.process(np.concatenate([crossed, clock(START_NS + 3 * S)]))
    assert engine.doubted == [0]


# What a configuration must say.

PLAIN: dict[str, Any] = {
    "strategy": [{"name": "follow", "use": "learner", "symbol": BTC.name, "model": "best"}],
    "model": [{"name": name, "use": "zero", "symbol": BTC.name} for name in ("a", "b")],
    "contest": [{"name": "best", "champion": "a", "challengers": ["b"], "symbol": BTC.name, "accounts": True}],
    "venue": {"v": {"use": "plain", "symbols": [BTC.symbol]}},
}


def test_accounts_are_kept_where_the_config_says_so() -> None:
    one = parse_config(PLAIN, "test")
    assert offline_problems(one) == []
    engine, _ = build_engine(one, [BTC], inline_training=False)
    assert isinstance(engine, ShadowedEngine) and len(engine.shadows) == 2
    without = parse_config(PLAIN | {"contest": [PLAIN["contest"][0] | {"accounts": False}]}, "test")
    assert type(build_engine(without, [BTC], inline_training=False).engine) is Engine


def test_accounts_in_which_nobody_would_trade_are_refused() -> None:
    deaf = [PLAIN["strategy"][0] | {"model": "a"}]
    one = parse_config(PLAIN | {"strategy": deaf}, "test")
    words = "contest best: accounts: expected a strategy that listens to it, found none"
    assert offline_problems(one) == [words]
    with pytest.raises(ConfigError, match=words):
        build_engine(one, [BTC], inline_training=False)
    by = [{key: value for key, value in PLAIN["contest"][0].items() if key != "accounts"} | {"by": "account"}]
    assert "expected accounts = true" in offline_problems(parse_config(PLAIN | {"contest": by}, "test"))[0]


# A run that is killed.

CONTESTED: dict[str, Any] = {
    "strategy": [
        *CONFIG["strategy"],
        {"name": "follow", "use": "learner", "symbol": "v:BTC", "model": "best", "cost_bps": 0.0, "notional": 500},
    ],
    "model": [
        {"name": name, "use": use, "symbol": "v:BTC", "horizon": "100ms", "every": "20ms"}
        for name, use in (("linear", "river-linear"), ("last", "last"))
    ],
    "contest": [
        {"name": "best", "symbol": "v:BTC", "champion": "last", "challengers": ["linear"], "accounts": True}
        | {"by": "account"}
    ],
}


@pytest.mark.parametrize("snapshot_at", [None, 150])
def test_a_killed_run_has_its_shadows_again(tmp_path: Path, snapshot_at: int | None) -> None:
    life = Life(tmp_path / "first", living(**CONTESTED))
    life.live(snapshot_at or 0)
    if snapshot_at:
        life.snapshot()
    life.live(300 - (snapshot_at or 0))
    worth = [one.engine.ledger.profit() for one in life.engine.shadows]
    assert all(worth), "each account traded: else the test shows nothing"
    life.killed(tmp_path / "second")
    again = Life(tmp_path / "second", living(**CONTESTED))
    assert again.past is not None and bool(again.past.told.snapshot) == bool(snapshot_at)
    again.live(200)
    digest = again.stop()
    found = replay([tmp_path / "second" / "r"])
    assert found.digest == digest


# What an account is worth.


def test_an_account_is_worth_what_its_ledger_says_at_the_mids_of_the_periods_end() -> None:
    engine, models = rig(contest().settings)
    engine.process(Command(START_NS, "start"))
    engine.process(np.concatenate(FRAMES))
    end_ns = engine.now_ns - engine.now_ns % S + S
    engine.process(clock(end_ns))
    book = engine.book_views[0]
    for one in engine.shadows:
        one.engine.ledger.mark(0, book.bid + book.ask)
        assert one.engine.ledger.fees()["USDT"] > 0
        assert one.engine.ledger.profits()["USDT"] == models.contests["best"].worth[one.relay.model] != 0


EURO = msgspec.structs.replace(ETH, symbol="ETHEUR", quote="EUR")
CHANGE = msgspec.structs.replace(ETH, symbol="EURUSDT", base="EUR", quote="USDT")


def test_what_no_mid_brings_to_the_contests_currency_leaves_the_period_open_until_one_does() -> None:
    def buy(_: object, ctx: Any) -> None:
        if not ctx.position("ETHEUR") and not ctx.orders("ETHEUR"):
            ctx.order("ETHEUR", 1, 1_000)

    models = Models(
        (BTC, EURO, CHANGE),
        [ModelSettings(name=name, use="zero", symbol=BTC.name) for name in "ab"],
        contests=[contest().settings],
    )
    engine = ShadowedEngine(
        (BTC, EURO, CHANGE),
        {},
        EngineSettings(paper=NO_LATENCY, risk=LOOSE, cash={"EUR": Decimal(10_000)}, book_depth=64),
        models,
        lambda _: Listeners({"buys": lambda: Script({"book": buy})}),
    )
    one = models.contests["best"]
    engine.process(Command(START_NS, "start"))
    engine.process(snapshot(START_NS + 1, BIDS, ASKS, symbol=1))
    engine.process(clock(START_NS + S))
    assert [shadow.engine.ledger.position(1) for shadow in engine.shadows] == [1_000, 1_000]
    assert (one.periods, one.worth) == (0, {"a": 0, "b": 0})
    engine.process(snapshot(START_NS + S + 1, BIDS, ASKS, symbol=2))
    engine.process(clock(START_NS + 2 * S))
    assert one.periods == 1 and one.worth["a"] == one.worth["b"] < 0, "spread and fee, now in USDT"
