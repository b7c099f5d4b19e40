"""The metrics: one table, and a page that Prometheus reads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from engine.core.queues.calibration import Calibration
from engine.core.queues.calibration_settings import CalibrationSettings
from engine.core.venue.paper_settings import PaperSettings
from engine.learn.labels import Matured
from engine.learn.scorebook import Scorebook
from engine.learn.targets import Target
from engine.live.build import build_engine
from engine.live.bus import Bus
from engine.live.clock import Clock
from engine.live.latency import Latency
from engine.live.measures import measure
from engine.live.metrics import BOUNDS_NS, LABELS, PREFIX, TABLE, Exporter, Snapshot, markdown
from engine.live.recovery.shown import remembered
from engine.live.runner import Runner
from engine.live.side import Sides, sources_of
from tests.data import ROOT
from tests.market import BTC, MS, S, Script
from tests.recovering import BTC as RECOVERING
from tests.recovering import Life, config
from tests.watched import Watched, buys


def scored(watched: Watched) -> None:
    """Fifty blocks of labels of a model of the direction, in a regime, and a curve that has points."""
    slot = watched.models.slot("m")
    chance = np.random.default_rng(1)
    book = slot.books[0] = Scorebook(Target("direction", S), 100 * MS, 1.0)
    for at, (prediction, label) in enumerate(chance.normal(size=(2000, 2)).tolist()):
        told = (at, at, prediction, math.copysign(1.0, label), np.zeros(1), at, 1.0, 0.5, label, 3, label)
        book.update(Matured(*told))
    assert slot.curves is not None
    slot.curves._spans["count"] = slot.curves._spans["var_p"] = slot.curves._spans["var_y"] = 1


def traded() -> Watched:
    """A run in which each metric has a value: a fill, a refusal, a rejection."""
    watched = Watched(buys(1_000), with_contest=True)

    def on_fill(_: object, ctx: object) -> None:
        order, cancel = getattr(ctx, "order"), getattr(ctx, "cancel")  # noqa: B009 - a Context by duck
        order("ETHUSDT", 1, 10**9)
        order("BTCUSDT", 1, 1_000, price=20_000, post_only=True)
        cancel(order("BTCUSDT", 1, 1_000, price=9_000))

    watched.script.on["fill"] = on_fill
    watched.make_ready()
    watched.pass_time(200 * MS)
    engine, paper = watched.engine, PaperSettings(calibration=CalibrationSettings())
    engine.calibration = Calibration(engine.instruments, paper, engine._state, engine.emit, engine.schedule)
    engine.calibration.shares[0] = engine.calibration.estimate(0, hour=0)
    engine.calibration.ghosts.fates[0].said = 1
    scored(watched)
    watched.runner.measured("v", 3 * MS)
    watched.runner.drain(1)
    watched.view.remembered = lambda: KEPT
    watched.view.side = lambda: [SIDE]
    watched.view.shard = lambda: SHARD
    return watched


SIDE: dict[str, Any] = {
    "stream": "funding",
    "state": "good",
    "reason": "",
    "observations": 3,
    "values": {"rate": 1.0},
    "event_ns": 1,
    "available_ns": 2,
    "age_s": 1.5,
    "quality": 0.9,
    "payloads": 4,
    "received": 5,
    "accepted": 3,
    "rejected": {"range": 2},
    "failures": 1,
    "failure": "",
    "last_refusal": "range: rate",
    "unstored": 0,
}
"""A side stream as ``Sides.plain`` gives it; a test below holds its keys to that."""


SHARD: dict[str, Any] = {
    "shard": "shard-0-of-2",
    "owned": True,
    "token": 3,
    "lease_seconds": 0.5,
    "hop": Latency(),
    "venues": {"v": {"waiting": 2, "unacknowledged": 7, "claims_total": 1}},
}
"""As ``Shard.plain`` gives it; a test of shards holds its keys to that."""

KEPT: dict[str, Any] = {
    "journal": {
        "session": 3,
        "entries": 10,
        "bytes": 4_000,
        "unsynced_bytes": 100,
        "longest_sync_ms": 2.5,
        "snapshots": 2,
        "snapshot_bytes": 900,
        "snapshot_age_s": 7.5,
        "longest_freeze_ms": 40.0,
        "failed": 1,
    },
    "recovery": {"inputs": 12, "facts": 30, "seconds": 0.25, "away_s": 60.0},
    "blackbox": {"packed": 1, "failed": 0, "last": "x.ptb"},
}
"""As ``remembered`` gives it; a test below holds its keys to that."""


def test_what_is_remembered_has_the_keys_that_are_measured(tmp_path: Path) -> None:
    first = Life(tmp_path)
    first.live(5)
    first.killed(tmp_path / "second")
    life = Life(tmp_path / "second")
    told = remembered(life.keeper, life.past, life.now_ns)
    assert {name: set(values) for name, values in told.items() if name != "recovery"} == {
        name: set(values) for name, values in KEPT.items() if name != "recovery"
    }
    assert set(KEPT["recovery"]) <= set(told["recovery"])
    assert told["recovery"]["away_s"] == 1.0 and told["journal"]["session"] == 2
    assert told["journal"]["snapshot_age_s"] is None
    assert remembered(None, None, 0) == {}
    life.stop()


def test_a_side_stream_has_the_keys_that_are_measured(tmp_path: Path) -> None:
    section = {"name": "funding", "source": "file", "path": "x", "format": "jsonl", "fields": {"rate": {"path": "$.r"}}}
    settings = config(side=[section])
    engine = build_engine(settings, [RECOVERING], inline_training=False).engine
    runner = Runner(engine, Bus(), Clock(), lambda entry: None)
    sides = Sides(settings, sources_of(settings, {}), runner, tmp_path)
    assert set(sides.plain()[0]) == set(SIDE)


def page(watched: Watched) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = Exporter().render(measure(watched.view)).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_of_the_table_is_measured_and_nothing_else() -> None:
    watched = traded()
    snapshot = measure(watched.view)
    told = set(snapshot.values) | set(snapshot.histograms)
    assert told <= {metric.name for metric in TABLE}
    assert {metric.name for metric in TABLE} - told == set()


def test_every_sample_has_the_labels_of_the_table() -> None:
    snapshot = measure(traded().view)
    for metric in TABLE:
        for labels, value in snapshot.values.get(metric.name, ()):
            assert len(labels) == len(metric.labels), metric.name
            assert isinstance(value, float), metric.name


def test_the_table_keeps_the_rules_of_names() -> None:
    names = [metric.name for metric in TABLE]
    assert len(set(names)) == len(names)
    for metric in TABLE:
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert set(metric.labels) <= set(LABELS), metric.name
        assert metric.help.endswith("."), metric.name
        assert not metric.name.endswith(("_ms", "_us", "_ns", "_percent")), "base units only"


def test_the_page_says_what_happened() -> None:
    watched = traded()
    values = page(watched)
    assert values["papertape_ready", frozenset()] == 1
    assert values["papertape_orders_sent_total", frozenset()] >= 1
    assert values["papertape_digest", frozenset()] == int(watched.engine.digest[:13], 16)
    assert values["papertape_session", frozenset()] == 3
    assert values["papertape_journal_fsync_seconds", frozenset()] == 0.0025
    assert values["papertape_fills_total", frozenset({("strategy", "s")})] == 1
    assert values["papertape_book_price", frozenset({("symbol", BTC.name), ("side", "bid")})] == 100.0
    assert values["papertape_position", frozenset({("strategy", "s"), ("symbol", BTC.name)})] == 1.0
    assert values["papertape_venue_round_trip_seconds", frozenset({("venue", "v")})] == 0.003
    assert values["papertape_round_trip_seconds_count", frozenset()] == 1
    assert values["papertape_tick_to_decision_seconds_count", frozenset()] == 2
    assert values["papertape_tick_to_decision_seconds_bucket", frozenset({("le", "+Inf")})] == 2


def test_a_snapshot_does_not_change_afterwards() -> None:
    watched = Watched(Script())
    before = measure(watched.view)
    rendered = before.values["batches_total"], before.histograms["tick_to_decision_seconds"].count
    watched.make_ready()
    assert (before.values["batches_total"], before.histograms["tick_to_decision_seconds"].count) == rendered


def test_buckets_run_up_and_hold_what_they_say() -> None:
    latency = Latency()
    for ns in (500, 1_500, 3_000_000, 10**11):
        latency.observe(ns)
    text = Exporter().render(Snapshot({}, {"tick_to_order_seconds": latency})).decode()
    samples = [
        sample
        for family in text_string_to_metric_families(text)
        if family.name == "papertape_tick_to_order_seconds"
        for sample in family.samples
    ]
    buckets = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert len(buckets) == len(BOUNDS_NS) + 1
    assert list(buckets.values()) == sorted(buckets.values())
    assert (buckets["1.024e-06"], buckets["2.048e-06"], buckets["8.589934592"], buckets["+Inf"]) == (1, 2, 3, 4)
    total = next(sample.value for sample in samples if sample.name.endswith("_sum"))
    assert total == (500 + 1_500 + 3_000_000 + 10**11) / 1e9


def test_the_written_page_of_metrics_is_the_table() -> None:
    assert (ROOT / "deploy" / "METRICS.md").read_text() == markdown(), (
        "write it anew: python -m engine.live.metrics > deploy/METRICS.md"
    )


def test_an_exporter_without_a_snapshot_has_nothing_to_tell() -> None:
    registry = CollectorRegistry()
    registry.register(Exporter())
    families = [family for family in registry.collect() if isinstance(family, GaugeMetricFamily)]
    assert [family for family in families if family.name.startswith(PREFIX)] == []
