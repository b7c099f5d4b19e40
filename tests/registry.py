"""A run with trainings and a contest in virtual time, whose models end up in a registry."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np

from engine.core.engine import Engine
from engine.core.events import Command, ModelReady
from engine.core.records import Record, RetrainRequested
from engine.core.settings import EngineSettings
from engine.learn.contest import ContestSettings
from engine.learn.jobs import TrainJob
from engine.learn.models import Models
from engine.learn.trainer import fit
from engine.live.registry.registry import Registry
from engine.live.registry.store import content_name
from tests.frames import SECOND, walk
from tests.learning import INSTRUMENTS, settings
from tests.unit.test_learn_in_engine import as_batch


def job(name: str = "m", use: str = "tests.learning:Middle", seed: int = 1, rows: int = 8, **changes: Any) -> TrainJob:
    """A small window with labels that follow from the seed."""
    chance = np.random.default_rng(seed)
    times_ns = np.arange(1, rows + 1, dtype=np.int64) * SECOND
    x = chance.normal(size=(rows, 2)).astype(np.float32)
    return TrainJob(settings(use, name=name, **changes), "f" * 64, ("a", "b"), times_ns, x, x[:, 0].astype(float), seed)


def store(registry: Registry, job: TrainJob, version: str, payload: bytes, seconds: float) -> None:
    """Keep a training whose rows are at hand."""
    registry.store(job, job.seen, version, payload, seconds)


def models() -> Models:
    """Two that learn from each label, in a contest, and a network that is trained."""
    net = settings("mlp", name="net", min_rows=60, hidden=(8,), epochs=2, retrain_every_ns=5 * SECOND)
    contest = ContestSettings(name="best", symbol="sim:X", champion="flat", challengers=("line",), horizon_ns=SECOND)
    return Models(
        INSTRUMENTS, [settings("zero", name="flat"), settings("clipped-linear", name="line"), net], contests=[contest]
    )


def short_run(folder: Path, steps: int = 2000) -> list[Record]:
    """Run, store, promote and roll back; the registry is in ``folder/models``. The facts."""

    async def run() -> list[Record]:
        made = models()
        registry = Registry(folder / "models")
        registry.enter(made)
        engine = Engine(INSTRUMENTS, {}, EngineSettings(), made)
        records: list[Record] = []

        def heard(new: list[Record]) -> list[Record]:
            registry.heard(new)
            records.extend(new)
            return new

        for batch in as_batch(walk(steps, seed=11)):
            for one in heard(engine.process(batch)):
                if isinstance(one.fact, RetrainRequested):
                    asked = made.job(one.fact.model)
                    payload = fit(asked)
                    version = content_name(payload)
                    store(registry, asked, version, payload, 0.5)
                    heard(engine.process(ModelReady(engine.now_ns, "net", version, payload)))
        heard(engine.process(Command(engine.now_ns, "promote", {"contest": "best", "model": "line"})))
        heard(engine.process(Command(engine.now_ns, "rollback", {"contest": "best"})))
        await registry.close()
        return records

    return asyncio.run(run())
