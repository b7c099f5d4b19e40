"""Training beside the loop: a window is lent to a process of low priority, a model comes back as an input."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from engine.learn.contract import ModelError, model_class
from engine.learn.jobs import LentJob, Seen, TrainJob
from engine.learn.models import Models
from engine.learn.trainer import REASONS, TrainingFailed, Worker
from engine.learn.window import WindowLost
from engine.live.registry.registry import Registry
from engine.live.registry.store import NO_MODEL
from engine.live.shared_windows import SharedWindows
from engine.live.training_settings import TrainingSettings

log = structlog.get_logger("papertape.training")

Deliver = Callable[[str, str, bytes], None]
"""Takes a model's name, the version (SHA-256 of the payload) and the payload."""

PATIENCE: Final = 0.9
"""Of ``retrain_timeout``: a training that takes longer is ended before the model gives it up and asks for another."""


NOTHING: Final = Seen(0, 0, 0, 0, "")

DEFAULTS: Final = TrainingSettings()

FAILURES: Final = (*REASONS, "disk")
"""Why no model came of a training."""


class Training:
    """Hands windows to the trainer and stores what it gives, by content, before anyone hears of it.

    A failed training is delivered as an empty payload, so that the model knows that its request has ended.
    ``elsewhere`` trains in place of processes of our own.
    """

    def __init__(
        self,
        models: Models,
        registry: Registry,
        room: Callable[[], Awaitable[None]],
        deliver: Deliver,
        elsewhere: Callable[[TrainJob], Awaitable[bytes]] | None = None,
        settings: TrainingSettings = DEFAULTS,
    ) -> None:
        self.started = 0
        self.late = 0
        self.failures: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}  # of each model's last training that came back, waiting included
        self._models = models
        self._registry = registry
        self._room = room
        self._deliver = deliver
        self._elsewhere = elsewhere
        self._settings = settings
        self._windows = SharedWindows(models if elsewhere is None else None)
        self._places = asyncio.Semaphore(settings.workers)
        self._threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="training")
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._is_closed = False
        self._held: list[str] | None = None

    @property
    def running(self) -> int:
        """Trainings that have not come back yet."""
        return len(self._tasks)

    @property
    def failed(self) -> int:
        """Trainings of which no model came."""
        return self.failures.total()

    def progress(self) -> dict[str, float]:
        """Of each model in training, how much of it is done, 0 to 1, as far as the training tells."""
        return {name: self._models.slot(name).window.progress for name in sorted(self._tasks.values())}

    def hold(self) -> None:
        """Keep what is asked for from here on until ``release``; what is under way goes on."""
        self._held = self._held or []

    def release(self) -> None:
        """Start what was asked for since ``hold``, and what comes from here on at once."""
        held, self._held = self._held, None
        for model in held or ():
            self.start(model)

    def start(self, model: str) -> None:
        """Train a model on its window as of now; returns at once."""
        if self._held is not None:
            self._held.append(model)
            return
        self.started += 1
        work = self._train(self._models.lend(model), time.monotonic())
        task = asyncio.get_running_loop().create_task(work, name=f"train {model}")
        self._tasks[task] = model
        task.add_done_callback(self._tasks.pop)

    async def warm(self) -> None:
        """Start a trainer's process before the first window needs it."""
        if self._elsewhere is None and not self._workers:
            self._idle.append(await self._hire())

    async def close(self) -> None:
        """Give up what is being trained."""
        self._is_closed = True
        for worker in self._workers:
            worker.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)
        for worker in self._workers:  # one that was being started meanwhile
            worker.stop()
        self._windows.close()

    async def _train(self, job: LentJob, asked: float) -> None:
        model, payload, seen = job.settings.name, b"", NOTHING
        try:
            payload, seen = await self._fit(job, asked)
        except ModelError as error:
            reason = error.reason if isinstance(error, TrainingFailed) else "failed"
            log.warning("training failed", model=model, reason=reason, error=str(error))
            self.failures[reason] += 1
        version = hashlib.sha256(payload).hexdigest()
        try:
            await asyncio.to_thread(self._registry.store, job, seen, version, payload, time.monotonic() - asked)
        except OSError as error:  # a model that is not on disk must not be used: no replay could have it
            log.warning("model cannot be stored", model=model, error=str(error))
            self.failures["disk"] += 1
            version, payload = NO_MODEL, b""
        if payload:
            await asyncio.to_thread(model_class(job.settings.use).prepare, payload, job.features)
        self._watch(job, time.monotonic() - asked)
        await self._room()
        self._deliver(model, version, payload)

    def _watch(self, job: LentJob, took_s: float) -> None:
        """Say so when trainings take longer than the time between them."""
        settings = job.settings
        self.seconds[settings.name] = took_s
        every_s = settings.retrain_every_ns / 1e9
        if 0.0 < every_s < took_s:
            self.late += 1
            log.warning(
                "training cannot keep up",
                model=settings.name,
                took_s=round(took_s, 1),
                every_s=every_s,
                advice="a longer retrain_every, fewer window_rows or epochs, or more training.workers",
            )

    async def _fit(self, job: LentJob, asked: float) -> tuple[bytes, Seen]:
        """The payload, by whoever trains, and of what rows it was made; raises ``ModelError``."""
        if self._elsewhere is not None:
            whole = await asyncio.to_thread(self._copied, job)
            return await self._elsewhere(whole), await asyncio.to_thread(lambda: whole.seen)
        limit_s = PATIENCE * job.settings.retrain_timeout_ns / 1e9
        async with self._places:
            left_s = limit_s - (time.monotonic() - asked)
            if left_s <= 0.0:
                raise TrainingFailed(
                    "hung",
                    f"model {job.settings.name}: expected a free trainer within {limit_s:g} s, found none: other "
                    "trainings take too long; more training.workers, or a longer retrain_every for some",
                )
            worker = self._idle.pop() if self._idle else await self._hire()
            work: TrainJob | LentJob = job
            if not job.lent.name:
                work = await asyncio.to_thread(self._copied, job)
            try:
                made = await asyncio.get_running_loop().run_in_executor(self._threads, worker.fit, work, left_s)
            except TrainingFailed as error:
                if error.reason == "failed":
                    self._idle.append(worker)
                else:
                    self._workers.remove(worker)
                raise
            self._idle.append(worker)
            return made

    async def _hire(self) -> Worker:
        worker = await asyncio.to_thread(self._make_worker)
        self._workers.append(worker)
        if self._is_closed:
            worker.stop()
        return worker

    def _make_worker(self) -> Worker:
        return Worker(self._settings.memory_bytes, idle=self._settings.idle)

    def _copied(self, job: LentJob) -> TrainJob:
        try:
            return job.with_rows(self._models.slot(job.settings.name).window.copy(job.lent))
        except WindowLost as error:
            raise TrainingFailed("failed", f"model {job.settings.name}: {error}") from error
