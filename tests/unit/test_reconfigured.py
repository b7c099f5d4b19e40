"""A configuration that changes between two sessions: what may is carried over by a command, all else is kept."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import Context, Strategy
from engine.core.order_facts import Cancelled
from engine.core.records import AnyFact, Commanded, Note, Refusal, StrategyStopped
from engine.live.config import ConfigError
from engine.live.journal import Kind, decode_record, read
from engine.live.recovery.recover import in_force
from engine.research.crash_strategy import Busy
from engine.research.replay import replay
from tests.recovering import CONFIG, Life, config

BUSY: dict[str, Any] = CONFIG["strategy"][0]
OTHER: dict[str, Any] = {**BUSY, "name": "other", "rest": 3}


class Picky(Busy):
    """Cannot be built for many orders, and does not go on from what was saved with few."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if config.rest > 50:
            raise ValueError("too many")


class Keeps(Strategy[Any]):
    """Another strategy of the same settings, which remembers how often it was started."""

    config_type = Busy.config_type

    def on_start(self, ctx: Context) -> None:
        ctx.note(started=True)


def facts(life: Life, kind: type[AnyFact] | None = None) -> list[Any]:
    life.keeper.commit()
    found = [decode_record(one.payload).fact for one in read(life.state.journal) if one.kind is Kind.FACT]
    return [fact for fact in found if kind is None or isinstance(fact, kind)]


def orders(life: Life, strategy: str) -> list[int]:
    return [number for number, order in life.engine.desk.orders.items() if order.intent.strategy == strategy]


def killed(tmp_path: Path, *strategies: dict[str, Any], is_stored: bool = True, frames: int = 60) -> Path:
    """A session that traded and was killed; the folder of what it left."""
    life = Life(tmp_path / "first", config(strategy=list(strategies or [BUSY])))
    life.live(frames // 2)
    if is_stored:
        life.snapshot()
    life.live(frames - frames // 2)
    life.killed(tmp_path / "second")
    return tmp_path / "second"


def same_again(life: Life) -> None:
    """Stop; a replay of all sessions, and a start from the snapshot and one without, reach the same."""
    digest = life.stop()
    place = life.state.path
    assert replay([place]).digest == digest
    for name in ("thawed", "told"):
        again = place.parent.parent / f"{place.parent.name}-{name}"
        shutil.copytree(place, again / "r")
        if name == "told":
            shutil.rmtree(again / "r" / "snapshots")
        last = Life(again, life.config)
        assert last.past is not None and last.past.changes == []
        assert bool(last.past.told.snapshot) == (name == "thawed")
        last.live(5)
        assert last.stop() == replay([again / "r"]).digest


@pytest.mark.parametrize("is_stored", [True, False])
def test_other_limits_hold_from_the_new_session_on_and_all_else_is_as_it_was(tmp_path: Path, is_stored: bool) -> None:
    place = killed(tmp_path, is_stored=is_stored)
    same = tmp_path / "same"
    shutil.copytree(place, same)
    before, after = Life(same), Life(place, config(risk={**CONFIG["risk"], "max_order_notional": "100"}))
    assert after.past is not None and before.past is not None
    assert after.past.changes == ["risk.max_order_notional: was '100000', is '100'"]
    assert after.past.told.changed == after.past.changes
    assert before.past.changes == []
    assert orders(after, "busy") == orders(before, "busy"), "orders that rest are not held against new limits"
    assert after.engine.ledger.cash() == before.engine.ledger.cash()
    assert after.engine.risk.settings.max_order_notional == 100
    told = [fact for fact in facts(after, Commanded) if fact.name == "configure"]
    assert [fact.args for fact in told] == [{"changed": "risk.max_order_notional: was '100000', is '100'"}]
    after.live(20)
    assert {fact.rule for fact in facts(after, Refusal)} == {"order_notional"}
    before.killed(tmp_path / "unused")
    same_again(after)


def test_a_strategy_that_went_leaves_its_position_and_no_orders(tmp_path: Path) -> None:
    place = killed(tmp_path, BUSY, OTHER, frames=200)
    life = Life(place, config(strategy=[OTHER]))
    assert life.past is not None
    held = life.engine.ledger.position(0, "busy")
    assert held, "it had bought or sold something"
    assert all(line.startswith("strategy.busy.") and line.endswith("is 'absent'") for line in life.past.changes)
    life.live(30)
    assert orders(life, "busy") == [] and orders(life, "other")
    assert {fact.reason for fact in facts(life, Cancelled)} >= {"removed"}
    assert life.engine.ledger.position(0, "busy") == held
    told = life.engine.summary()["strategies"]["busy"]
    assert told["stopped"] == "removed from the configuration"
    assert facts(life, StrategyStopped) == [], "nobody has to act"
    life.killed(tmp_path / "third")
    back = Life(tmp_path / "third", config(strategy=[OTHER, BUSY]))
    back.live(30)
    assert back.engine.roster.stopped == {}
    assert back.engine.roster.slots["busy"].strategy.sent < 60, "it begins anew"
    assert orders(back, "busy")
    same_again(back)


def test_a_reload_does_not_bring_back_who_went(tmp_path: Path) -> None:
    from adapters.entry import Entry, EntryKind

    life = Life(killed(tmp_path, BUSY, OTHER), config(strategy=[OTHER]))
    life.apply(Entry(EntryKind.COMMAND, life.now_ns, "", "reload", b'{"strategy":"busy"}'))
    assert facts(life, Note)[-1].fields["reload"].endswith("found one removed from the configuration")
    assert set(life.engine.roster.stopped) == {"busy"}
    same_again(life)


def test_new_settings_take_over_what_the_strategy_knew_and_a_new_one_starts(tmp_path: Path) -> None:
    place = killed(tmp_path, frames=100)
    life = Life(place, config(strategy=[{**BUSY, "rest": 2}, OTHER]))
    assert life.past is not None
    assert life.past.changes[-1] == "strategy.other.use: was 'absent', is 'engine.research.crash_strategy:Busy'"
    assert "strategy.busy.rest: was 8, is 2" in life.past.changes
    assert life.engine.roster.slots["busy"].strategy.config.rest == 2
    life.live(40)
    assert len([one for one in life.engine.desk.of("busy") if one.state != "closing"]) <= 3
    assert life.engine.roster.slots["other"].strategy.sent > 10
    same_again(life)


def test_another_strategy_under_the_name_takes_over_positions_only(tmp_path: Path) -> None:
    place = killed(tmp_path, frames=100)
    life = Life(place, config(strategy=[{**BUSY, "use": f"{__name__}:Keeps"}]))
    assert life.past is not None
    held = life.past.kept.engine.ledger.position(0, "busy")
    life.live(30)
    assert held and life.engine.ledger.position(0, "busy") == held
    assert orders(life, "busy") == []
    assert {fact.reason for fact in facts(life, Cancelled)} >= {"reconfigured"}
    assert isinstance(life.engine.roster.slots["busy"].strategy, Keeps)
    same_again(life)


def test_what_cannot_be_built_is_stopped_and_does_not_go_on_as_before(tmp_path: Path) -> None:
    picky = {**BUSY, "use": f"{__name__}:Picky"}
    life = Life(killed(tmp_path, picky), config(strategy=[{**picky, "rest": 60}]))
    (told,) = facts(life, StrategyStopped)
    assert told.reason == "configure: ValueError: too many"
    life.live(20)
    assert orders(life, "busy") == []
    life.killed(tmp_path / "third")
    again = Life(tmp_path / "third", config(strategy=[{**picky, "rest": 4}]))
    again.live(20)
    assert orders(again, "busy") and again.engine.roster.stopped == {}
    same_again(again)


def test_a_strategy_that_does_not_exist_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    place = killed(tmp_path)
    written = sum(path.stat().st_size for path in (place / "r" / "journal").iterdir())
    with pytest.raises(ConfigError, match=r"strategy\.0\.use"):
        Life(place, config(strategy=[{**BUSY, "use": "strategies.hold:Nothing"}]))
    assert sum(path.stat().st_size for path in (place / "r" / "journal").iterdir()) == written
    life = Life(place)
    assert life.past is not None and life.past.changes == []
    same_again(life)


@pytest.mark.parametrize("is_written", [False, True])
def test_a_kill_around_the_command_carries_it_over_once(tmp_path: Path, is_written: bool) -> None:
    other = config(risk={**CONFIG["risk"], "max_open_orders": 3})
    life = Life(killed(tmp_path), other)
    assert life.past is not None and life.past.changes == ["risk.max_open_orders: was 200, is 3"]
    if is_written:
        life.keeper.commit()
    life.killed(tmp_path / "third")
    again = Life(tmp_path / "third", other)
    assert again.past is not None
    assert again.past.changes == ([] if is_written else life.past.changes)
    assert json.loads(in_force(again.engine))["risk"]["max_open_orders"] == 3
    assert len([fact for fact in facts(again, Commanded) if fact.name == "configure"]) == 1
    same_again(again)


def test_of_a_changed_drawdown_the_peak_stays(tmp_path: Path) -> None:
    place = killed(tmp_path, frames=150)
    life = Life(place, config(risk={**CONFIG["risk"], "drawdown": {"USDT": "0.000001"}}))
    life.live(60)
    assert any(rule == "drawdown" for rule in life.engine.risk.blocks.values())
    life.killed(tmp_path / "third")
    wide = Life(tmp_path / "third", config(risk={**CONFIG["risk"], "drawdown": {"USDT": "1000000"}}))
    assert any(rule == "drawdown" for rule in wide.engine.risk.blocks.values()), "a person resumes, not a file"
    same_again(wide)


PARTS = st.fixed_dictionaries(
    {
        "strategies": st.lists(st.sampled_from(["busy", "other", "third"]), unique=True),
        "rest": st.integers(1, 6),
        "most": st.sampled_from(["0", "150", "100000"]),
        "rate": st.sampled_from([0, 3, 100]),
        "frames": st.integers(1, 25),
        "is_stored": st.booleans(),
        "is_stopped": st.booleans(),
    }
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PARTS, min_size=2, max_size=4))
def test_whatever_changes_a_replay_of_all_sessions_reaches_the_same(parts: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "0"
        for number, part in enumerate(parts):
            strategies = [{**BUSY, "name": one, "rest": part["rest"]} for one in part["strategies"]]
            risk = {**CONFIG["risk"], "max_order_notional": part["most"], "max_orders_per_window": part["rate"]}
            life = Life(place, config(strategy=strategies, risk=risk), seed=number + 1)
            engine = life.engine
            working = {order.intent.strategy for order in engine.desk.orders.values() if order.state != "closing"}
            assert working <= set(part["strategies"]), "who went has nothing that works"
            assert {*engine.roster.slots} - {*engine.roster.removed} == set(part["strategies"])
            known = msgspec.json.decode(in_force(engine))
            assert [one["name"] for one in known["strategy"]] == part["strategies"]
            life.live(part["frames"])
            if part["is_stored"]:
                life.snapshot()
                life.live(3)
            before = place
            place = Path(name) / str(number + 1)
            if part["is_stopped"] or number == len(parts) - 1:
                digest = life.stop()
                shutil.copytree(before, place)
            else:
                life.killed(place)
        assert replay([place / "r"]).digest == digest
