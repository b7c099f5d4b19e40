"""Models inside the real engine: the same facts as outside, at any block size, and a signal that a strategy hears."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from engine import Context, Signal, Strategy
from engine.core.engine import Engine
from engine.core.events import (
    ASK,
    CLEAR,
    GAP,
    LAST,
    LEVEL,
    READY,
    SELL,
    TRADE,
    Batch,
    Command,
    Frames,
    ModelReady,
    rows,
)
from engine.core.events import SEQUENCE as LOST_SEQUENCE
from engine.core.records import AnyFact, LabelScored, ModelSwapped, Note, Record, RetrainRequested
from engine.core.settings import EngineSettings
from engine.core.strategy import Config
from engine.learn.models import Models
from engine.learn.trainer import fit
from tests.frames import MS, SECOND, walk
from tests.learning import INSTRUMENTS, drive, settings


class Listen(Strategy[Config]):
    """Notes every signal."""

    def on_signal(self, signal: Signal, ctx: Context) -> None:
        ctx.note(heard=signal.id)


def as_batch(frames: Frames) -> list[Batch]:
    """One batch a frame: a snapshot, then what changed of five levels a side, and trades."""
    batches: list[Batch] = []
    shown: dict[tuple[int, int], int] = {}
    for number, frame in enumerate(frames):
        now = {
            (flag, int(price)): int(size)
            for flag, side in ((0, "bid"), (ASK, "ask"))
            for price, size in zip(frame[side], frame[f"{side}_size"], strict=True)
        }
        changes = [(LEVEL, flag, price, 0) for flag, price in shown if (flag, price) not in now]
        changes += [
            (LEVEL, flag, price, size) for (flag, price), size in now.items() if shown.get((flag, price)) != size
        ]
        for flag, name in ((0, "buy"), (SELL, "sell")):
            if frame[f"{name}s"]:
                changes.append((TRADE, flag, int(frame["last_price"]), int(frame[f"{name}_size"])))
        if number == 0:
            changes = [(CLEAR, 0, 0, 0), *changes, (READY, 0, 0, 0)]
        batch = rows(len(changes))
        for i, (kind, flags, price, size) in enumerate(changes):
            batch[i] = (kind, flags, 0, 0, price, size, 0, int(frame["recv_ns"]), number + 1)
        batch["flags"][-1] |= LAST
        batches.append(batch)
        shown = now
    return batches


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    return as_batch(walk(2500, seed=11))


def run(
    batches: list[Batch], models: Models, block: int, tapped: list[Frames] | None = None
) -> tuple[list[Record], str]:
    tap = None if tapped is None else (lambda frames: tapped.append(frames.copy()))
    engine = Engine(INSTRUMENTS, {"listen": lambda: Listen(Config())}, EngineSettings(), models, tap)
    start = int(batches[0]["recv_ns"][0])
    records = engine.process(Command(start, "start"))
    for at in range(0, len(batches), block):
        records += engine.process(np.concatenate(batches[at : at + block]))
    records += engine.process(Command(int(batches[-1]["recv_ns"][0]) + SECOND, "stop"))
    return records, engine.digest


def told(records: list[Record]) -> list[tuple[int, AnyFact]]:
    return [(one.ns, one.fact) for one in records if isinstance(one.fact, Signal | LabelScored | ModelSwapped)]


def test_the_same_digest_at_any_block_size_and_the_same_facts_as_outside(batches: list[Batch]) -> None:
    make = [settings(), settings("mlp", name="net", min_rows=60, hidden=(8,), epochs=2, retrain_every_ns=6 * SECOND)]
    tapped: list[Frames] = []
    records, digest = run(batches, Models(INSTRUMENTS, make, inline_delay_ns=100 * MS), 1, tapped)
    assert run(batches, Models(INSTRUMENTS, make, inline_delay_ns=100 * MS), 64)[1] == digest
    assert run(batches, Models(INSTRUMENTS, make, inline_delay_ns=100 * MS), 65_536)[1] == digest
    outside = drive(Models(INSTRUMENTS, make, inline_delay_ns=100 * MS), np.concatenate(tapped))
    inside = told(records)
    last = outside[-1][0]
    kinds = (Signal, LabelScored, ModelSwapped)
    assert [one for one in inside if one[0] <= last] == [one for one in outside if isinstance(one[1], kinds)]
    assert {type(fact) for _, fact in inside} == set(kinds)


def test_signals_reach_a_strategy_and_a_gap_silences_them(batches: list[Batch]) -> None:
    gap = rows(1)
    cut = len(batches) // 2
    gap[0] = (GAP, LAST, 0, LOST_SEQUENCE, 0, 0, 0, int(batches[cut]["recv_ns"][0]), 0)
    records, _ = run([*batches[:cut], gap, *batches[cut:]], Models(INSTRUMENTS, [settings()]), 7)
    heard = [one.fact.fields["heard"] for one in records if isinstance(one.fact, Note)]
    signals = [(one.ns, one.fact.id) for one in records if isinstance(one.fact, Signal)]
    assert heard == [id_ for _, id_ in signals] and len(heard) > 50
    assert all(ns <= int(gap["recv_ns"][0]) for ns, _ in signals)


def test_a_network_trained_beside_the_run_is_swapped_in_without_a_missed_sample(batches: list[Batch]) -> None:
    make = [settings("mlp", min_rows=60, hidden=(8,), epochs=2, retrain_every_ns=5 * SECOND)]
    models = Models(INSTRUMENTS, make)
    engine = Engine(INSTRUMENTS, {}, EngineSettings(), models)
    records: list[Record] = []
    for batch in batches:
        new = engine.process(batch)
        for one in new:
            if isinstance(one.fact, RetrainRequested):
                payload = fit(models.job(one.fact.model))
                version = hashlib.sha256(payload).hexdigest()
                new = new + engine.process(ModelReady(engine.now_ns, one.fact.model, version, payload))
        records += new
    swaps = [one for one in records if isinstance(one.fact, ModelSwapped)]
    signals = [one.ns for one in records if isinstance(one.fact, Signal)]
    assert len(swaps) >= 3 and set(np.diff(signals).tolist()) == {100 * MS}
