"""Training beside the loop: a window goes to a process of low priority, a model comes back as an input."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor

import structlog

from engine.learn.contract import ModelError, TrainJob
from engine.learn.models import Models
from engine.learn.trainer import fit, make_pool
from engine.live.registry.registry import Registry
from engine.live.registry.store import NO_MODEL

log = structlog.get_logger("papertape.training")

Deliver = Callable[[str, str, bytes], None]
"""Takes a model's name, the version (SHA-256 of the payload) and the payload."""


class Training:
    """Hands windows to the trainer and stores what it gives, by content, before anyone hears of it.

    A failed training is delivered as an empty payload, so that the model knows that its request has ended.
    ``elsewhere`` trains in place of an own process.
    """

    def __init__(
        self,
        models: Models,
        registry: Registry,
        room: Callable[[], Awaitable[None]],
        deliver: Deliver,
        elsewhere: Callable[[TrainJob], Awaitable[bytes]] | None = None,
    ) -> None:
        self.started = 0
        self.failed = 0
        self._models = models
        self._registry = registry
        self._room = room
        self._deliver = deliver
        self._elsewhere = elsewhere
        self._pool: ProcessPoolExecutor | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Trainings that have not come back yet."""
        return len(self._tasks)

    def start(self, model: str) -> None:
        """Train a model on its window as of now; returns at once."""
        self.started += 1
        task = asyncio.get_running_loop().create_task(self._train(model), name=f"train {model}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def warm(self) -> None:
        """Start the trainer's process before the first window needs it."""
        if self._pool is None and self._elsewhere is None:
            self._pool = make_pool()
            self._pool.submit(_nothing)

    async def close(self) -> None:
        """Give up what is being trained."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._pool is not None:
            for process in list(getattr(self._pool, "_processes", {}).values()):
                process.terminate()
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _train(self, model: str) -> None:
        job = self._models.job(model)
        started = time.monotonic()
        self.warm()
        loop = asyncio.get_running_loop()
        try:
            if self._elsewhere is not None:
                payload = await self._elsewhere(job)
            else:
                payload = await loop.run_in_executor(self._pool, fit, job)
        except BrokenExecutor as error:
            log.warning("training process died", model=model, error=str(error))
            self.failed += 1
            self._pool, payload = None, b""
        except ModelError as error:
            log.warning("training failed", model=model, error=str(error))
            self.failed += 1
            payload = b""
        version = hashlib.sha256(payload).hexdigest()
        try:
            await asyncio.to_thread(self._registry.store, job, version, payload, time.monotonic() - started)
        except OSError as error:  # a model that is not on disk must not be used: no replay could have it
            log.warning("model cannot be stored", model=model, error=str(error))
            self.failed += 1
            version, payload = NO_MODEL, b""
        await self._room()
        self._deliver(model, version, payload)


def _nothing() -> None:
    """What a new process does first: import."""
