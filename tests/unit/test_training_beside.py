"""The trainer's process: what becomes of a job whose training dies, hangs, wants too much or gives nonsense."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog

from engine.core.events import ModelReady
from engine.core.records import ModelRefused, ModelSwapped
from engine.learn.jobs import LentJob, TrainJob
from engine.learn.models import Models
from engine.learn.networks import session
from engine.learn.trainer import NICENESS, TrainingFailed, Worker, fit
from engine.live.registry.registry import Registry
from engine.live.registry.store import NO_MODEL, model_path
from engine.live.shared_windows import SharedWindows
from engine.live.training import Training
from engine.live.training_settings import TrainingSettings
from tests.frames import SECOND
from tests.learning import INSTRUMENTS, settings
from tests.unit.test_learn_mlp import FEATURES, planted

MEMORY = 2 << 30
PATIENCE_S = 60.0


def models_of(folder: Path, *words: str, timeout_s: float = PATIENCE_S, rows: int = 40) -> Models:
    """One misbehaving model with a window that is full."""
    options = {"words": list(words), "counter": str(folder / "words")}
    changes = {"window_rows": 64, "min_rows": 8, "retrain_timeout_ns": round(timeout_s * SECOND)}
    models = Models(INSTRUMENTS, [settings("tests.misbehaving:Misbehaving", options=options, **changes)])
    window = models.slot("m").window
    for at in range(rows):
        window.add(at, np.full(window.width, float(at)), float(at))
    return models


class Beside:
    """A ``Training`` whose deliveries go to the models at once, as the bus would do it."""

    def __init__(self, models: Models, folder: Path, workers: int = 1) -> None:
        self.models = models
        self.told: list[ModelSwapped | ModelRefused] = []
        self.heard = asyncio.Event()
        self.training = Training(
            models,
            Registry(folder),
            self.room,
            self.deliver,
            settings=TrainingSettings(workers=workers, memory_bytes=MEMORY),
        )

    async def __aenter__(self) -> Beside:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.training.close()

    async def room(self) -> None:
        return None

    def deliver(self, model: str, version: str, payload: bytes) -> None:
        for fact in self.models.swap(ModelReady(1, model, version, payload)):
            assert isinstance(fact, ModelSwapped | ModelRefused)
            self.told.append(fact)
        self.heard.set()

    async def train(self) -> ModelSwapped | ModelRefused:
        self.heard.clear()
        self.training.start("m")
        async with asyncio.timeout(PATIENCE_S):
            await self.heard.wait()
            while self.training.running:
                await asyncio.sleep(0)
        return self.told[-1]


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(MEMORY)
    yield made
    made.stop()


def job_of(models: Models) -> TrainJob:
    return models.job("m")


def test_a_worker_trains_one_job_after_the_other_at_the_lowest_priority(worker: Worker, tmp_path: Path) -> None:
    models = models_of(tmp_path, "good")
    assert worker.fit(job_of(models), PATIENCE_S) == worker.fit(job_of(models), PATIENCE_S)
    assert worker.fit(job_of(models), PATIENCE_S) == (b'{"value": 40.0}', job_of(models).seen)
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) == NICENESS


def test_a_worker_reads_a_lent_window_where_it_lies(worker: Worker, tmp_path: Path) -> None:
    models = models_of(tmp_path, "good")
    shared = SharedWindows(models)
    job: LentJob = models.lend("m")
    assert job.lent.name
    before = job_of(models).seen
    for at in range(40, 50):
        models.slot("m").window.add(at, np.zeros(models.slot("m").window.width), 0.0)
    assert worker.fit(job, PATIENCE_S) == (b'{"value": 40.0}', before), "the rows as they were when they were lent"
    for at in range(50, 150):
        models.slot("m").window.add(at, np.zeros(models.slot("m").window.width), 0.0)
    with pytest.raises(TrainingFailed, match="newer ones came") as failed:
        worker.fit(job, PATIENCE_S)
    assert failed.value.reason == "failed"
    shared.close()
    assert models.slot("m").window.rows().times_ns.tolist() == list(range(86, 150))


@pytest.mark.parametrize(
    ("word", "reason", "text"),
    [
        ("killed", "died", "killed by SIGKILL, which the system also sends where memory runs out"),
        ("hangs", "hung", "its process was killed"),
        ("memory", "memory", r"within 2048 MiB \(training.memory\), found that it wants more"),
        ("raises", "failed", "ZeroDivisionError: diverged"),
    ],
)
def test_each_way_of_failing_is_told_in_words(
    worker: Worker, tmp_path: Path, word: str, reason: str, text: str
) -> None:
    with pytest.raises(TrainingFailed, match=text) as failed:
        worker.fit(job_of(models_of(tmp_path, word)), 2.0 if word == "hangs" else PATIENCE_S)
    assert failed.value.reason == reason and str(failed.value).startswith("model m: ")


def test_stopping_a_worker_ends_the_wait_for_it(worker: Worker, tmp_path: Path) -> None:
    job, errors = job_of(models_of(tmp_path, "hangs")), []

    def wait() -> None:
        try:
            worker.fit(job, PATIENCE_S)
        except TrainingFailed as error:
            errors.append(error.reason)

    waiting = threading.Thread(target=wait)
    waiting.start()
    worker.stop()
    waiting.join(PATIENCE_S)
    assert errors == ["died"]


def test_whatever_becomes_of_a_training_the_last_good_model_goes_on_and_the_next_one_works(tmp_path: Path) -> None:
    words = ("good", "killed", "hangs", "memory", "raises", "nan", "truncated", "good")
    models = models_of(tmp_path, *words, timeout_s=5.0)

    async def run() -> None:
        async with Beside(models, tmp_path / "models") as beside:
            first = await beside.train()
            assert isinstance(first, ModelSwapped)
            for _ in words[1:-1]:
                said = await beside.train()
                assert isinstance(said, ModelRefused), said
                assert models.slot("m").model.predict_one(np.zeros(1)) == 40.0
                assert models.slot("m").version == first.version
            last = await beside.train()
            assert isinstance(last, ModelSwapped)
            failures = beside.training.failures
            assert failures == {"died": 1, "hung": 1, "memory": 1, "failed": 1}
            assert (beside.training.started, beside.training.failed, beside.training.running) == (8, 4, 0)

    with structlog.testing.capture_logs() as lines:
        asyncio.run(run())
    assert [line["reason"] for line in lines if line["event"] == "training failed"] == [
        "died",
        "hung",
        "memory",
        "failed",
    ]
    assert models.summary()[0]["swaps"] == 2 and models.summary()[0]["refused"] == 6
    assert model_path(tmp_path / "models", models.slot("m").version).read_bytes() == b'{"value": 40.0}'


def test_how_far_a_training_is_can_be_seen_and_closing_gives_it_up(tmp_path: Path) -> None:
    models = models_of(tmp_path, "hangs")

    async def run() -> None:
        async with Beside(models, tmp_path) as beside:
            beside.training.start("m")
            async with asyncio.timeout(PATIENCE_S):
                while beside.training.progress() != {"m": 0.25}:
                    await asyncio.sleep(0.01)
        assert beside.training.running == 0 and beside.told == []

    asyncio.run(run())
    assert models.slot("m").window.name == "" and len(models.slot("m").window) == 40


def test_a_training_that_finds_no_free_trainer_in_time_is_given_up(tmp_path: Path) -> None:
    models = models_of(tmp_path, "hangs", timeout_s=2.0)

    async def run() -> None:
        async with Beside(models, tmp_path) as beside:
            beside.training.start("m")
            said = await beside.train()
            assert isinstance(said, ModelRefused)
            assert beside.training.failures == {"hung": 2}

    asyncio.run(run())


def test_a_model_that_the_disk_does_not_take_is_not_used(tmp_path: Path) -> None:
    models = models_of(tmp_path, "good")
    (tmp_path / "models").write_text("a file where a folder should be")

    async def run() -> None:
        async with Beside(models, tmp_path / "models") as beside:
            said = await beside.train()
            assert isinstance(said, ModelRefused) and said.version == NO_MODEL
            assert beside.training.failures == {"disk": 1}

    asyncio.run(run())


def test_trainings_that_take_longer_than_the_time_between_them_are_told(tmp_path: Path) -> None:
    options = {"words": ["good"], "counter": str(tmp_path / "words")}
    often = settings("tests.misbehaving:Misbehaving", options=options, retrain_every_ns=1, min_rows=8)
    models = Models(INSTRUMENTS, [often])
    models.slot("m").window.add(1, np.zeros(models.slot("m").window.width), 1.0)

    async def run() -> int:
        async with Beside(models, tmp_path) as beside:
            await beside.train()
            return beside.training.late

    with structlog.testing.capture_logs() as lines:
        assert asyncio.run(run()) == 1
    assert [line["model"] for line in lines if line["event"] == "training cannot keep up"] == ["m"]


def test_a_session_that_was_opened_ahead_is_used_once(tmp_path: Path) -> None:
    """The ahead-made session answers as the one that a swap makes itself (tests of the networks compare to torch)."""
    payload = fit(planted(rows=400))
    models = Models(INSTRUMENTS, [settings("mlp", hidden=(32,))])
    session.open_ahead(payload, FEATURES.hash)
    session.open_ahead(payload[:50], FEATURES.hash)
    assert len(session._ahead) == 1
    version = hashlib.sha256(payload).hexdigest()
    answers = []
    for _ in range(2):
        (fact,) = models.swap(ModelReady(1, "m", version, payload))
        assert isinstance(fact, ModelSwapped) and session._ahead == {}
        answers.append(models.slot("m").model.predict_one(np.ones(len(FEATURES.names))))
    assert answers[0] == answers[1] is not None
