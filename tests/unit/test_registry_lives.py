"""What facts say of models: which version a label belongs to, who came over whom, and what was heard already."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st

from engine.core.drift_facts import AlarmGraded, Trial
from engine.core.records import (
    AnyFact,
    Commanded,
    DriftAlarm,
    LabelScored,
    ModelRefused,
    ModelSwapped,
    Promoted,
    Record,
    RetrainRequested,
    Signal,
)
from engine.learn.models import Models
from engine.learn.scoring import Scores
from engine.live.registry import registry as registry_module
from engine.live.registry.lives import Lives, merged
from engine.live.registry.log import Event
from engine.live.registry.registry import Registry
from engine.live.registry.shelf import Shelf, version_told
from engine.live.registry.store import NO_MODEL, Store, content_name
from engine.live.registry.words import _event
from engine.live.statedir import StateDirError
from tests.frames import SECOND
from tests.learning import INSTRUMENTS, settings
from tests.registry import job, models, store

A, B = "a" * 64, "b" * 64


class Heard:
    """Lives of one model with a horizon of a second, and what they told."""

    def __init__(self, seen: int = 0) -> None:
        self.events: list[Event] = []
        self.lives = Lives({"net": SECOND}, self.events.append, seen)
        self.seq = 0

    def hear(self, ns: int, *facts: AnyFact) -> None:
        records = []
        for fact in facts:
            self.seq += 1
            records.append(Record(self.seq, ns, fact))
        self.lives(records)

    def sample(self, ns: int, number: int) -> None:
        self.hear(ns, Signal("v:X", "net", "net", 1.0, number, SECOND))

    def label(self, ns: int, number: int, label: float, name: str = "") -> None:
        self.hear(ns, LabelScored("net", "v:X", number, 1.0, label, name))

    def told(self, what: str) -> list[Event]:
        return [event for event in self.events if event.what == what]


def promoted(model: str, over: str, cause: str, wealth: float = 30.0) -> Promoted:
    return Promoted("best", "v:X", model, over, cause, "loss", 40, wealth, 20.0, 0.5)


def test_a_label_belongs_to_the_version_that_predicted_it() -> None:
    one = Heard()
    one.hear(1, ModelSwapped("net", A))
    for number in (1, 2, 3):
        one.sample(number * SECOND, number)
    one.label(4 * SECOND, 1, 2.0)
    one.hear(4 * SECOND, ModelSwapped("net", B))
    one.sample(4 * SECOND, 4)
    one.label(5 * SECOND, 2, 3.0)
    one.label(5 * SECOND, 4, -9.0, "direction@1s")
    one.label(5 * SECOND, 4, 7.0)
    one.label(5 * SECOND, 3, 4.0)
    assert one.told("scored") == [], "labels of the first may still be out"
    one.label(7 * SECOND, 5, 8.0)
    (first,) = one.told("scored")
    assert (first.version, first.more["sums"]["count"], first.ns) == (A, 3, 5 * SECOND)
    assert first.more["sums"]["squared"] == 1.0 + 4.0 + 9.0
    one.lives.close()
    last = one.told("scored")[-1]
    assert (last.version, last.more["sums"]["squared"]) == (B, 36.0 + 49.0)
    one.lives.close()
    assert len(one.told("scored")) == 2, "what was told is not told again"


def test_scores_are_told_each_ten_minutes_so_that_a_kill_takes_no_more(tmp_path: Path) -> None:
    one = Heard()
    whole = Scores()
    one.hear(1, ModelSwapped("net", A))
    for number in range(1, 1500):
        one.sample(number * SECOND, number)
        one.label((number + 1) * SECOND, number, float(number % 7))
        whole.update(1.0, float(number % 7))
    told = one.told("scored")
    assert [event.more["sums"]["count"] for event in told] == [601, 601]
    assert [event.seq for event in told] == sorted(event.seq for event in told) and told[0].seq > 0
    one.lives.close()
    Store(tmp_path).append(one.events)
    shelf = Shelf(tmp_path)
    version = shelf.version("net", A)
    assert version.live.count == 1499 and version.live.squared == whole.squared
    life = version_told(version)["life"]
    assert [event["what"] for event in life] == ["swapped", "scored"], "parts that follow each other are one"
    assert (life[1]["labels"], life[1]["from_ns"], life[1]["to_ns"]) == (1499, 2 * SECOND, 1500 * SECOND)


def test_the_whole_life_of_a_version() -> None:
    one = Heard()
    one.hear(5, RetrainRequested("net", "drift", 200))
    assert (one.lives.models["net"].trigger, one.lives.models["net"].requested_ns) == ("drift", 5)
    one.hear(6, ModelSwapped("net", A), ModelRefused("net", A, "one expert: too few rows"))
    one.hear(7, DriftAlarm("net", "v:X", "adwin", 0.75, number=2, answers=("alert",)))
    one.hear(8, ModelRefused("net", NO_MODEL, "the training failed"), ModelRefused("net", B, "foreign"))
    one.hear(9, ModelSwapped("net", B))
    assert [(event.what, event.version) for event in one.events] == [
        *(("swapped", A), ("impaired", A), ("drift", A), ("failed", ""), ("refused", B), ("swapped", B)),
    ]
    alarm = one.told("drift")[0].more
    assert (alarm["detector"], alarm["value"], alarm["number"], alarm["answers"]) == ("adwin", 0.75, 2, ("alert",))
    assert one.told("swapped")[1].more == {"replaced": A}


def test_a_judged_alarm_and_a_trial_are_told_of_the_version_that_answers_and_read_as_words() -> None:
    one = Heard()
    one.hear(1, ModelSwapped("net", A))
    one.hear(2, DriftAlarm("net", "v:X", "scans", 2.5, 1, "residual", 2.0, ("alert", "shrink"), "a scan: 2.5"))
    one.hear(3, AlarmGraded("net", "v:X", 1, "scans", "residual", "true", "abrupt", 500, 0.8, 0.9, 1.1, 1.0, "it lost"))
    one.hear(4, Trial("best", "v:X", "net", "old", "refused", "loss", 40, 0.5, 200.0, 100.0, -0.25))
    assert [(event.what, event.version) for event in one.events[1:]] == [("drift", A), ("graded", A), ("trial", A)]
    words = [_event({"what": event.what, **event.more}) for event in one.events[1:]]
    assert words == [
        "alarm 1, alert, shrink: a scan: 2.5",
        "alarm 1 was true (abrupt): it lost",
        "in best against old: refused, 40 labels, wealth 0.5 of 100 needed, worse 200",
    ]


def test_who_was_promoted_over_whom_by_whom_and_why() -> None:
    one = Heard()
    one.hear(1, ModelSwapped("net", A))
    one.hear(2, promoted("net", "line", "evidence"))
    one.hear(3, promoted("line", "net", "rollback", float("inf")))
    one.hear(4, Commanded("promote", {"contest": "best", "model": "net"}), promoted("net", "line", "command"))
    one.hear(5, Commanded("rollback", {"contest": "best"}), promoted("line", "net", "command"))
    came = one.told("promoted")
    assert [(event.model, event.version, event.more["who"]) for event in came] == [
        *(("net", A, "evidence"), ("line", "", "rollback"), ("net", A, "papertape promote")),
        ("line", "", "papertape rollback"),
    ]
    assert came[0].more["over"] == "line" and (came[0].more["wealth"], came[0].more["needed"]) == (30.0, 20.0)
    assert came[1].more["over_version"] == A and came[1].more["wealth"] is None
    went = one.told("deposed")[1]
    assert (went.model, went.version, went.more["by_model"]) == ("net", A, "line")


def test_facts_that_are_in_the_log_are_not_told_again() -> None:
    one = Heard(seen=2)
    one.sample(1, 7)  # fact 1
    one.hear(2, ModelSwapped("net", A))
    assert one.events == [] and one.lives.models["net"].sample == 7
    one.hear(3, ModelSwapped("net", B))
    assert [event.version for event in one.events] == [B]


def test_a_start_scores_again_what_one_model_has_not_told_and_not_what_another_has(tmp_path: Path) -> None:
    """Facts since the snapshot come again: of each model the labels behind its own last word in the log."""
    sums = Scores().save()
    Store(tmp_path).append(
        [
            Event(what="scored", model="line", seq=3, more={"from_ns": 1, "to_ns": 2, "sums": sums}),
            Event(what="scored", model="flat", seq=6, more={"from_ns": 1, "to_ns": 2, "sums": sums}),
        ]
    )
    registry = Registry(tmp_path)
    pairs = [("line", 2), ("line", 4), ("flat", 5), ("line", 6), ("flat", 7), ("line", 8)]
    registry.enter(models(), [Record(seq, seq, LabelScored(name, "sim:X", seq, 1.0, 1.0)) for name, seq in pairs])
    asyncio.run(registry.close())
    shelf = Shelf(tmp_path)
    assert (shelf.version("line", "").live.count, shelf.version("flat", "").live.count) == (3, 1)


PAIRS = st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), max_size=30)


@given(first=PAIRS, second=PAIRS)
def test_scores_in_parts_are_the_scores_of_the_whole(
    first: list[tuple[float, float]], second: list[tuple[float, float]]
) -> None:
    a, b, whole = Scores(), Scores(), Scores()
    for scores, pairs in ((a, first), (b, second), (whole, first + second)):
        for prediction, label in pairs:
            scores.update(prediction, label)
    both = merged(a, b)
    for field in whole.__struct_fields__:
        assert getattr(both, field) == pytest.approx(getattr(whole, field), rel=1e-9, abs=1e-6), field


def full(handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_full_disk_is_said_once_and_nothing_heard_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "RETRY_S", 0.0)
    registry = Registry(tmp_path)
    sync, refusals = os.fsync, 0

    def sometimes(handle: int) -> None:
        nonlocal refusals
        if refusals < 3:
            refusals += 1
            full(handle)
        sync(handle)

    monkeypatch.setattr("engine.live.registry.store.os.fsync", sometimes)
    with structlog.testing.capture_logs() as said:
        writing = asyncio.create_task(registry.run())
        registry.heard([Record(1, 5, ModelSwapped("net", A))])
        registry.heard([Record(2, 6, ModelSwapped("net", B))])
        async with asyncio.timeout(20):
            while said[-1:] == [] or said[-1]["event"] != "registry written again":
                await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await registry.close()
    assert [event.version for event in Shelf(tmp_path).log.events] == [A, B]
    assert [(one["event"], one["log_level"]) for one in said] == [
        *(("registry not written", "warning"), ("registry written again", "info")),
    ]
    assert said[0]["error"] == "No space left on device" and registry.dropped == 0


async def test_what_a_stop_cannot_write_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.live.registry.store.os.fsync", full)
    registry = Registry(tmp_path)
    registry.heard([Record(1, 5, ModelSwapped("net", A))])
    with structlog.testing.capture_logs() as said:
        await registry.close()
    assert said[-1]["event"] == "registry left behind" and said[-1]["events"] == 1
    assert Shelf(tmp_path).log.events == []


async def test_what_waits_for_a_disk_is_bounded_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "WAITING", 3)
    registry = Registry(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("engine.live.registry.store.os.fsync", full)
        registry._waiting = type(registry._waiting)(maxlen=3)
        for seq in range(1, 6):
            registry.heard([Record(seq, seq, ModelSwapped("net", content_name(b"%d" % seq)))])
        assert await registry._written() is False
    assert registry.dropped == 2
    assert await registry._written() is True
    assert [event.seq for event in Shelf(tmp_path).log.events] == [3, 4, 5]


@pytest.mark.parametrize("failing", ["full", "no folder"])
async def test_a_training_that_cannot_be_stored_is_not_used_and_the_last_good_model_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    from engine.live.training import Training

    made = Models(INSTRUMENTS, [settings("tests.learning:Fitted", name="net")])

    async def room() -> None:
        return

    async def trained(asked: Any) -> bytes:
        return b"1.5"

    heard: list[tuple[str, str, bytes]] = []
    folder = tmp_path / "models"
    if failing == "full":
        monkeypatch.setattr("engine.live.registry.store.os.fsync", full)
    else:
        folder.write_text("a file where the folder should be")
    training = Training(made, Registry(folder), room, lambda *told: heard.append(told), trained)
    with structlog.testing.capture_logs() as said:
        training.start("net")
        async with asyncio.timeout(20):
            while not heard:
                await asyncio.sleep(0)
    await training.close()
    assert heard == [("net", NO_MODEL, b"")] and training.failed == 1
    assert [one["event"] for one in said] == ["model cannot be stored"]
    assert folder.is_file() or [path.name for path in folder.iterdir()] in ([], ["lives.log"])


def test_a_start_that_cannot_write_its_registry_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "lives.log").mkdir()
    with pytest.raises(StateDirError, match=r"lives\.log: expected room for the registry of models, found: ") as told:
        Registry(tmp_path).enter(models())
    assert "\n" not in str(told.value)


def test_no_card_is_written_for_a_training_that_failed(tmp_path: Path) -> None:
    store(Registry(tmp_path), job(), NO_MODEL, b"", 0.1)
    assert list(tmp_path.iterdir()) == []


def test_the_same_content_made_again_keeps_its_first_card(tmp_path: Path) -> None:
    registry, version = Registry(tmp_path), content_name(b"1.5")
    store(registry, job("net", seed=1), version, b"1.5", 0.1)
    store(registry, job("other", seed=2), version, b"1.5", 0.2)
    shelf = Shelf(tmp_path)
    assert shelf.cards[version].seed == 1
    assert [(one.model, one.version) for one in shelf.versions()] == [("net", version), ("other", version)]
    assert np.isclose(shelf.log.events[1].more["seconds"], 0.2) and shelf.log.events[1].more["seed"] == 2
