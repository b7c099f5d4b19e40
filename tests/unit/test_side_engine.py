"""Side streams in the engine: records of their state, features by name, the tape, a restart, a replay."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.entry import Entry
from adapters.side.taped import from_entry, to_entry
from engine.core.events import Judged, Observed
from engine.core.records import Record
from engine.core.side_facts import SideChanged
from engine.features.families import UnknownFeature, select
from engine.features.set import FeatureSet
from engine.live.config import AppConfig, parse_config
from engine.live.recovery.codec import freeze, thaw
from engine.live.recovery.state import RecoveryError
from engine.live.side import before
from engine.live.why import reasons
from engine.research.replay import replay
from tests.market import BTC
from tests.recovering import CONFIG, Life
from tests.sides import FUNDING, NS, STREAM, S
from tests.watched import START_NS, Watched

SIDE: dict[str, Any] = {
    "name": "funding",
    "source": "file",
    "path": "funding.jsonl",
    "format": "jsonl",
    "stale": "1s",
    "fields": {"rate": {"path": "$.rate", "unit": "bps"}},
    "time": {"event": "$.ts"},
}
MODEL = {**CONFIG["model"][0], "features": ["standard", "side:funding"]}


def settings(**changes: Any) -> AppConfig:
    return parse_config({**CONFIG, "model": [MODEL], "side": [{**SIDE, **changes}]}, "test")


def test_features_by_name_and_a_hash_that_covers_the_schema() -> None:
    names = ("side_funding_rate", "side_funding_rate_change", "side_funding_age_log", "side_funding_quality")
    assert FeatureSet([1], features="side:funding", streams=[STREAM]).names == names
    assert FeatureSet([1], features="side", streams=[STREAM]).names == names
    one = FeatureSet([1], features=["spread_bps", "side_funding_rate"], streams=[STREAM])
    assert one.names == ("spread_bps", "side_funding_rate") and one.may_be_missing == ("side_funding_rate",)
    assert one.units[1] == "bps"
    with pytest.raises(UnknownFeature, match="side:funding"):
        select("side:news", [STREAM])
    with pytest.raises(UnknownFeature):
        select("side")
    with pytest.raises(ValueError, match="side_funding_rate_change twice"):
        select("side", [msgspec.structs.replace(STREAM, fields=(("rate", ""), ("rate_change", "")))])
    other = msgspec.structs.replace(FUNDING, fields=(msgspec.structs.replace(FUNDING.fields[0], scale=2.0),)).stream()
    hashes = {FeatureSet([1], features="side:funding", streams=[each]).hash for each in (STREAM, other)}
    assert len(hashes) == 2
    assert FeatureSet([1], streams=[STREAM]).hash == FeatureSet([1]).hash, "those that do not read it are as they were"


def test_a_set_with_side_features_is_in_a_snapshot_to_the_bit() -> None:
    one = FeatureSet.of([BTC], 0, ["standard", "side:funding"], streams=[STREAM])
    one.hear(Observed(NS, "funding", 0, {"rate": 3.0}))
    other = thaw(freeze(one))
    assert other.state.tobytes() == one.state.tobytes() and other.hash == one.hash
    other.hear(Observed(NS + 1, "funding", 0, {"rate": 4.0}))
    assert other.state.tobytes() != one.state.tobytes()


def rows(life: Life, count: int, seed: int) -> Iterator[Entry]:
    """Frames with what a side stream says between them, a judgement and a silence among it."""
    chance = np.random.default_rng(seed)
    for at in range(count):
        life.live(1)
        if at % 7 == 3 and not 100 < at < 170:
            event_ns = life.now_ns - int(chance.integers(0, S))
            values = {"rate": float(chance.normal())} if chance.random() < 0.9 else {}
            yield to_entry(Observed(life.now_ns, "funding", event_ns, values, float(chance.random()), f"{at:016x}"))
        if at in (60, 80):
            yield to_entry(Judged(life.now_ns, "funding", at == 80, "test", 0.5))


def lived(life: Life, count: int, seed: int = 1) -> None:
    for entry in rows(life, count, seed):
        life.apply(entry)


def test_a_replay_of_the_tape_gives_the_digest_of_the_run(tmp_path: Path) -> None:
    life = Life(tmp_path, settings())
    lived(life, 400)
    digest = life.stop()
    (tape,) = (tmp_path / "r" / "tape").glob("*.ptz")
    results = [replay([tape], block=block) for block in (1, 7, 65_536)]
    assert {result.digest for result in results} == {digest}
    assert results[0].summary["models"][0]["predictions"] > 0
    states = [state for state, _ in facts_of(tape)]
    assert states == ["quarantined", "good", "stale", "good"]


def facts_of(tape: Path, config: Path | None = None) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def take(records: Sequence[Record]) -> None:
        facts = [record.fact for record in records if isinstance(record.fact, SideChanged)]
        found.extend((fact.state, fact.reason) for fact in facts)

    replay([tape], config=config, on_records=take)
    return found


def test_another_configuration_that_has_the_stream_reads_its_rows_too(tmp_path: Path) -> None:
    life = Life(tmp_path / "run", settings())
    lived(life, 200)
    life.stop()
    (tape,) = (tmp_path / "run" / "r" / "tape").glob("*.ptz")
    toml = """
    [venue.v]
    use = "plain"
    symbols = ["BTC"]
    [[side]]
    name = "funding"
    source = "file"
    path = "gone.jsonl"
    format = "jsonl"
    [side.fields.rate]
    path = "$.rate"
    [[model]]
    name = "other"
    symbol = "v:BTC"
    every = "100ms"
    warm_up = "0s"
    features = ["side:funding"]
    """
    for name, text in (("with", toml), ("without", toml.replace('["side:funding"]', '"standard"'))):
        (tmp_path / f"{name}.toml").write_text(text)
        result = replay([tape], config=tmp_path / f"{name}.toml")
        assert [one["name"] for one in result.summary["models"]] == ["other"]
    assert facts_of(tape, tmp_path / "with.toml") == [("quarantined", "test"), ("good", "test")]


def test_the_rows_decide_what_the_model_says(tmp_path: Path) -> None:
    digests = set()
    for seed in (1, 2):
        life = Life(tmp_path / str(seed), settings())
        lived(life, 400, seed)
        digests.add(life.stop())
    assert len(digests) == 2, "the same frames, other rows"


def memory_of(life: Life) -> list[bytes]:
    """What the features know of the stream."""
    return [one.state["side:funding"].tobytes() for one in life.kept.models._features.values()]


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_killed_run_goes_on_exactly(tmp_path: Path, snapshot: bool) -> None:
    life = Life(tmp_path / "first", settings(stale="1h"))
    lived(life, 150)
    if snapshot:
        life.snapshot()
    lived(life, 30, seed=5)
    seen = copy.deepcopy(life.engine.side.seen["funding"])
    memory = memory_of(life)
    life.killed(tmp_path / "second")
    again = Life(tmp_path / "second", settings(stale="1h"))
    now = again.engine.side.seen["funding"]
    assert vars(now) == vars(seen) and now.state == "good"
    assert before(now).prints == tuple(seen.prints) and before(now).event_ns == seen.event_ns
    assert memory_of(again) == memory
    lived(again, 50, seed=6)
    digest = again.stop()
    assert replay([tmp_path / "second" / "r"]).digest == digest


def test_a_run_goes_on_with_other_limits_and_not_with_another_meaning(tmp_path: Path) -> None:
    life = Life(tmp_path, settings())
    lived(life, 30)
    life.stop()
    Life(tmp_path, settings(max_rejected=3, path="elsewhere.jsonl", quota="1MiB")).stop()
    with pytest.raises(RecoveryError, match=r"side\.funding\.fields\.rate\.path"):
        Life(tmp_path, settings(fields={"rate": {"path": "$.other"}}))


def test_the_runner_tapes_a_row_before_the_engine_sees_it() -> None:
    watched = Watched()
    watched.runner.side(Observed(START_NS, "funding", 0, {"rate": 1.0}))
    assert from_entry(watched.taped[-1]) == Observed(START_NS, "funding", 0, {"rate": 1.0})
    assert len(watched.runner.bus) == 1


def test_ages_are_exact_at_the_scale_of_epochs() -> None:
    one = FeatureSet.of([BTC], 0, "side:funding", streams=[STREAM])
    one.hear(Observed(NS + 123_456_789, "funding", 0, {"rate": 1.0}))
    x = one.vector()
    one._reads[0](0, NS + 123_456_790)
    assert one._found[2] == math.log1p(1e-9) and x.shape == (4,)


def test_why_says_which_stream_is_out_of_use_and_why() -> None:
    watched = Watched()
    usual = {"observations": 3, "state": "good", "reason": "", "failure": "", "last_refusal": ""}
    streams = [
        {**usual, "stream": "a"},
        {**usual, "stream": "b", "observations": 0, "state": "", "failure": "no answer"},
        {**usual, "stream": "c", "observations": 0, "state": "", "last_refusal": "range: rate"},
        {**usual, "stream": "d", "state": "stale", "reason": "silent for more than 10 s", "failure": "gone"},
        {**usual, "stream": "e", "observations": 0, "state": "quarantined", "reason": "3 bad rows in a row"},
    ]
    watched.view.side = lambda: streams
    told = [one for one in reasons(watched.view) if one.startswith("side stream")]
    assert told == [
        "side stream b has given no row yet: no answer",
        "side stream c has given no row yet: range: rate",
        "side stream d is stale, so its values are missing: silent for more than 10 s (gone)",
        "side stream e is quarantined, so its values are missing: 3 bad rows in a row",
    ]
    assert watched.view.state()["side"] == streams
