"""Side streams in the engine alone: what changes is a record, what is not of the run changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.engine import Engine
from engine.core.events import CLOCK, Command, Judged, Observed, row
from engine.core.side import UnknownStream
from engine.core.side_facts import SideChanged
from tests.market import Script
from tests.sides import MS, NS, S, bare_engine


def changes(engine: Engine, *items: Any) -> list[tuple[str, str]]:
    facts = [record.fact for item in items for record in engine.process(item)]
    return [(fact.state, fact.reason) for fact in facts if isinstance(fact, SideChanged)]


def clock(ns: int) -> Any:
    return row(CLOCK, symbol=0, recv_ns=ns)


def test_each_change_of_a_stream_is_a_record_with_its_reason() -> None:
    engine = bare_engine()
    assert changes(engine, Observed(NS, "funding", NS, {"rate": 1.0}), clock(NS + 10 * S)) == []
    assert changes(engine, clock(NS + 10 * S + 1)) == [("stale", "silent for more than 10 s")]
    assert engine.side.value("funding", "rate") is None
    assert changes(engine, clock(NS + 90 * S)) == [], "said once"
    assert changes(engine, Observed(NS + 99 * S, "funding", 0, {"rate": 2.0})) == [("good", "spoke again")]
    assert engine.side.value("funding", "rate") == 2.0
    out = Judged(NS + 100 * S, "funding", False, "3 bad rows", 0.2)
    assert changes(engine, out, out) == [("quarantined", "3 bad rows")]
    assert engine.side.value("funding", "rate") is None and engine.side.plain()[0]["state"] == "quarantined"
    assert changes(engine, Judged(NS + 101 * S, "funding", True, "2 good rows", 0.6)) == [("good", "2 good rows")]
    assert engine.side.value("funding", "rate") == 2.0
    assert changes(engine, clock(NS + 109 * S + 1)) == [("stale", "silent for more than 10 s")]
    assert engine.side.plain()[0]["state"] == "stale"


def test_many_rows_wait_once() -> None:
    engine = bare_engine()
    for at in range(1_000):
        engine.process(Observed(NS + at * MS, "funding", 0, {"rate": 1.0}))
    assert len(engine._due) == 1


def test_what_the_run_does_not_have_changes_nothing() -> None:
    engine = bare_engine()
    digest = engine.digest
    assert changes(engine, Observed(NS, "other", NS, {"rate": 1.0}), Judged(NS, "other", False, "x", 0.0)) == []
    engine.process(Observed(NS, "funding", NS, {"more": 1.0}))
    assert engine.digest == digest and engine.side.seen["funding"].values == {}
    with pytest.raises(UnknownStream, match=r"expected one of funding\.rate, found funding\.more"):
        engine.side.value("funding", "more")


def test_a_strategy_reads_the_latest_value() -> None:
    seen: list[float | None] = []
    script = Script({"timer": lambda name, ctx: seen.append(ctx.side("funding", "rate"))})
    script.on["start"] = lambda _, ctx: ctx.timer("t", 1.0)
    engine = bare_engine(script)
    engine.process(Command(NS, "start"))
    engine.process(Observed(NS + 1, "funding", 0, {"rate": 4.5}))
    engine.process(clock(NS + 2 * S))
    assert seen == [4.5]
