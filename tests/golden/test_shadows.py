"""Shadow accounts on a simulated market, in virtual time: equal for equals, different for others, exact everywhere."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from engine.core.engine import Engine
from engine.core.events import CLOCK, Batch, Command, row
from engine.core.records import Promoted, Record, Sent, ShadowAccount
from engine.learn.models import Models
from engine.learn.shadows import ShadowedEngine
from engine.live.build import build_engine
from engine.live.config import AppConfig, parse_config
from engine.live.recovery.codec import freeze, thaw
from engine.research.regime_play import START_NS, batches

SECOND = 10**9
MODEL = {"symbol": "sim:BTCUSDT", "horizon": "200ms", "every": "20ms"}
NOISE = {"name": "noise", "use": "tests.speakers:Loud"} | MODEL
TWIN = NOISE | {"name": "twin"}
SKILL = {"name": "skill", "use": "primary"} | MODEL
CONTEST = {"name": "best", "symbol": "sim:BTCUSDT", "champion": "noise", "by": "account", "accounts": True}

Input = Batch | Command


def config(challenger: dict[str, Any], **changes: Any) -> AppConfig:
    plain = tomllib.loads((Path(__file__).parents[2] / "configs/regime.toml").read_text())
    plain["venue"]["sim"]["market"] = {"seed": 3, "speed": 5.0}
    plain["model"] = [NOISE, challenger]
    plain["contest"] = [CONTEST | {"challengers": [challenger["name"]]} | changes]
    return parse_config(plain, "test")


def inputs(one: AppConfig, seconds: int) -> tuple[list[Any], list[Input]]:
    """The instruments, and what a run hears."""
    feed, brought = batches(one, seconds * SECOND)
    return [feed.instrument], [Command(START_NS, "start"), *brought]


class Lived(NamedTuple):
    engine: ShadowedEngine
    models: Models
    records: list[Record]
    instruments: list[Any]
    inputs: list[Input]
    frozen: bytes  # the state before the half of the inputs

    def told(self, kind: type[Any]) -> list[Any]:
        return [one.fact for one in self.records if isinstance(one.fact, kind)]


def live(one: AppConfig, seconds: int) -> Lived:
    instruments, heard = inputs(one, seconds)
    engine, models = build_engine(one, instruments, inline_training=False)
    assert isinstance(engine, ShadowedEngine)
    records: list[Record] = []
    frozen = b""
    for at, each in enumerate(heard):
        if at == len(heard) // 2:
            frozen = freeze((engine, models))
        records += engine.process(each)
    return Lived(engine, models, records, instruments, heard, frozen)


@pytest.fixture(scope="module")
def alike() -> Lived:
    """Champion and challenger say the same."""
    return live(config(TWIN), 30)


@pytest.fixture(scope="module")
def unlike() -> Lived:
    """The challenger learns what the market does; the champion says noise."""
    return live(config(SKILL), 75)


def accounts(engine: ShadowedEngine) -> dict[str, tuple[str, Decimal]]:
    return {one.relay.model: (one.engine.digest, one.engine.ledger.profit()["USDT"]) for one in engine.shadows}


def test_equals_have_equal_accounts_in_every_period_and_nobody_is_promoted(alike: Lived) -> None:
    told = alike.told(ShadowAccount)
    assert len(told) > 100
    for mine, theirs in zip(told[::2], told[1::2], strict=True):
        assert (mine.model, theirs.model, mine.gained) == ("noise", "twin", theirs.gained)
    noise, twin = accounts(alike.engine).values()
    assert noise == twin, "to the last byte of the last record"
    assert alike.told(Promoted) == []
    (contest,) = (one.summary() for one in alike.models.contests.values())
    assert contest["periods"] == 150 and contest["challengers"][0]["wealth"] == 1.0


def test_the_champions_shadow_earns_what_the_run_earns(alike: Lived) -> None:
    profit = alike.engine.ledger.profit()["USDT"]
    assert profit != 0 and accounts(alike.engine)["noise"][1] == profit
    orders = [one.fact for one in alike.records if isinstance(one.fact, Sent)]
    shadow = alike.engine.shadows[0].engine
    assert len(orders) == shadow.summary()["orders"]["sent"] > 5


def test_who_earns_more_is_promoted_and_the_decision_says_both_figures(unlike: Lived) -> None:
    ((at_ns, fact),) = [(one.ns, one.fact) for one in unlike.records if isinstance(one.fact, Promoted)]
    assert (fact.model, fact.over, fact.cause, fact.by) == ("skill", "noise", "evidence", "account")
    assert fact.wealth >= fact.needed == 20.0
    assert at_ns - START_NS < 70 * SECOND and at_ns % (SECOND // 5) == 0, "within 350 periods, at the end of one"
    assert Decimal(fact.gained) > 0 > Decimal(fact.over_gained) and fact.currency == "USDT"
    before = [one.fact for one in unlike.records if isinstance(one.fact, ShadowAccount) and one.ns <= at_ns]
    assert {one.model: one.gained for one in before} == {"skill": fact.gained, "noise": fact.over_gained}


@pytest.mark.parametrize("size", [7, 100, 100_000])
def test_a_replay_in_other_batches_decides_alike(unlike: Lived, size: int) -> None:
    engine, _ = build_engine(config(SKILL), unlike.instruments, inline_training=False)
    assert isinstance(engine, ShadowedEngine)
    engine.process(unlike.inputs[0])
    frames = [one for one in unlike.inputs if isinstance(one, np.ndarray)]
    for at in range(0, len(frames), size):
        engine.process(np.concatenate(frames[at : at + size]))
    assert engine.digest == unlike.engine.digest
    assert accounts(engine) == accounts(unlike.engine)


def test_a_run_stored_in_the_middle_of_a_contest_goes_on_the_same(unlike: Lived) -> None:
    engine, _ = thaw(unlike.frozen, ("tests",))
    for one in unlike.inputs[len(unlike.inputs) // 2 :]:
        engine.process(one)
    assert engine.digest == unlike.engine.digest
    assert accounts(engine) == accounts(unlike.engine)


def test_without_accounts_the_run_trades_the_same_and_has_no_shadows(alike: Lived) -> None:
    plain = config(TWIN, by="loss", accounts=False)
    engine, _ = build_engine(plain, alike.instruments, inline_training=False)
    assert type(engine) is Engine
    records = [record for one in alike.inputs for record in engine.process(one)]
    with_accounts = [one.fact for one in alike.records if not isinstance(one.fact, ShadowAccount)]
    assert [one.fact for one in records] == with_accounts


def sent(engine: ShadowedEngine) -> list[int]:
    return [one.engine.summary()["orders"]["sent"] for one in engine.shadows]


def play(engine: Engine, heard: Sequence[Input]) -> None:
    for one in heard:
        engine.process(one)


def test_commands_hold_for_the_shadows_too(alike: Lived) -> None:
    engine, models = build_engine(config(TWIN), alike.instruments, inline_training=False)
    assert isinstance(engine, ShadowedEngine)
    third = len(alike.inputs) // 3
    play(engine, alike.inputs[:third])
    engine.process(Command(engine.now_ns, "halt", {"reason": "test"}))
    before = sent(engine)
    play(engine, alike.inputs[third : 2 * third])
    assert sent(engine) == before and min(before) > 0
    assert [one.engine.halted for one in engine.shadows] == [True, True]
    (contest,) = models.contests.values()
    assert contest.out == {"noise": "halted", "twin": "halted"}
    engine.process(Command(engine.now_ns, "resume"))
    play(engine, alike.inputs[2 * third :])
    assert all(now > then for now, then in zip(sent(engine), before, strict=True))
    engine.process(Command(engine.now_ns, "halt"))
    engine.process(Command(engine.now_ns, "flatten"))
    engine.process(row(CLOCK, symbol=0, recv_ns=engine.now_ns + SECOND))
    assert [one.engine.ledger.position(0) for one in engine.shadows] == [0, 0]


def test_a_persons_word_changes_who_is_followed_and_no_account(alike: Lived) -> None:
    engine, models = build_engine(config(TWIN), alike.instruments, inline_training=False)
    half = len(alike.inputs) // 2
    play(engine, alike.inputs[:half])
    (fact,) = [
        one.fact
        for one in engine.process(Command(engine.now_ns, "promote", {"contest": "best", "model": "twin"}))
        if isinstance(one.fact, Promoted)
    ]
    play(engine, alike.inputs[half:])
    assert fact.gained == fact.over_gained != ""
    assert isinstance(engine, ShadowedEngine)
    assert models.contests["best"].champion == "twin"
    assert accounts(engine)["noise"][1] == accounts(engine)["twin"][1] == accounts(alike.engine)["twin"][1]
