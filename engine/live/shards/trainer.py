"""The role trainer: serves the stream of jobs, any number of them at once on any number of machines.

A job belongs to the trainer that read it as long as that one says every few seconds that it is at it; after a lease
without a word another one claims it. Only models that the own configuration names are trained: a name in a job decides
what code runs.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from engine.learn.contract import ModelError
from engine.learn.jobs import TrainJob
from engine.learn.trainer import TrainingFailed, Worker
from engine.live.config import AppConfig
from engine.live.shards.jobs import BadJob, content_name, decode_job
from engine.live.shards.link import AWAY, Link
from engine.live.shards.names import Keys, owner_name
from engine.live.shards.rights import admitted

log = structlog.get_logger("papertape.trainer")

GROUP: Final = "trainers"
BLOCK_MS: Final = 1_000
KEPT_S: Final = 3_600
"""How long a result waits in Redis for its engine."""

AGAIN_S: Final = 1.0


class Trainer:
    """Takes one job after the other until cancelled."""

    def __init__(self, config: AppConfig) -> None:
        self.done = 0
        self.failed = 0
        self._uses = {section.use for section in config.model}
        self._link = Link(config.redis.url)
        self._keys = Keys.of(config)
        self._lease_ms = config.redis.lease // 1_000_000
        self._me = owner_name()
        self._settings = config.training.settings()
        self._worker: Worker | None = None

    async def run(self) -> None:
        """Serve; while Redis is away, wait for it."""
        is_made = False
        while True:
            try:
                if not is_made:
                    await self._make_group()
                    is_made = True
                for number, fields in await self._next():
                    await self._serve(number, dict(zip(fields[::2], fields[1::2], strict=True)))
            except AWAY as error:
                log.warning("redis is away", error=str(error))
                is_made = False
                await asyncio.sleep(AGAIN_S)

    async def close(self) -> None:
        """End the process that trains, and hang up."""
        if self._worker is not None:
            await asyncio.to_thread(self._worker.stop)
        await self._link.close()

    async def _make_group(self) -> None:
        try:
            await self._link.do("XGROUP", "CREATE", self._keys.jobs, GROUP, "0", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _next(self) -> list[Any]:
        """One job: of a trainer that died, or a new one."""
        claimed = await self._link.do("XAUTOCLAIM", self._keys.jobs, GROUP, self._me, self._lease_ms, "0-0", "COUNT", 1)
        if claimed[1]:
            log.info("took over a job", id=claimed[1][0][0].decode())
            return list(claimed[1])
        words = ("XREADGROUP", "GROUP", GROUP, self._me, "COUNT", 1, "BLOCK", BLOCK_MS)
        answer = await self._link.do(
            *words, "STREAMS", self._keys.jobs, ">", timeout_s=self._link.timeout_s + BLOCK_MS / 1000
        )
        return list(answer[0][1]) if answer else []

    async def _serve(self, number: bytes, fields: dict[bytes, bytes]) -> None:
        """Train one job, tell what came of it, and only then let it go."""
        body, name = fields.get(b"body", b""), fields.get(b"name", b"").decode(errors="replace")
        working = asyncio.create_task(self._still_at(number))
        try:
            payload, word = await self._train(body, name)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        if payload:
            await self._link.do("SET", self._keys.payload(word), payload, "EX", KEPT_S)
        await self._link.do("SET", self._keys.done(name), word, "EX", KEPT_S)
        await self._link.do("XACK", self._keys.jobs, GROUP, number)
        await self._link.do("XDEL", self._keys.jobs, number)

    async def _train(self, body: bytes, name: str) -> tuple[bytes, str]:
        """A payload and its name, or nothing and why, with an exclamation mark."""
        try:
            if content_name(body) != name:
                raise BadJob(f"expected a job whose content is {name}, found {content_name(body)}")
            job = decode_job(body)
            if job.settings.use not in self._uses:
                raise BadJob(f"expected a model of {', '.join(sorted(self._uses))}, found {job.settings.use!r}")
            payload = await self._fit(job)
        except (BadJob, ModelError) as error:
            self.failed += 1
            log.warning("training failed", job=name, error=str(error))
            return b"", f"!{type(error).__name__}: {error}"
        self.done += 1
        log.info("trained", model=job.settings.name, rows=len(job.times_ns), bytes=len(payload))
        return payload, content_name(payload)

    async def _fit(self, job: TrainJob) -> bytes:
        if self._worker is None:
            self._worker = await asyncio.to_thread(self._make_worker)
        try:
            made = await asyncio.to_thread(self._worker.fit, job, job.settings.retrain_timeout_ns / 1e9)
            return made[0]
        except TrainingFailed as error:
            if error.reason != "failed":
                self._worker = None
            raise

    def _make_worker(self) -> Worker:
        return Worker(self._settings.memory_bytes, idle=self._settings.idle)

    async def _still_at(self, number: bytes) -> None:
        """Keep the job ours: it counts as idle from the last claim on."""
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            try:
                await self._link.do("XCLAIM", self._keys.jobs, GROUP, self._me, 0, number, "JUSTID")
            except AWAY as error:
                log.warning("redis is away", error=str(error))


async def serve_trainer(config: AppConfig, run_s: float | None) -> None:
    """Train until a signal, or the end of the time.

    Raises:
        Refused: Redis will not have us.
    """
    await admitted(config)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if run_s is not None:
        loop.call_later(run_s, stop.set)
    trainer = Trainer(config)
    tasks = [asyncio.create_task(trainer.run()), asyncio.create_task(stop.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a trainer ends by an error only: a fault of ours that must be seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await trainer.close()
