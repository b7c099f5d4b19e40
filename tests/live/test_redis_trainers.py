"""Trainers on one Redis: jobs as safe bytes, models by content, a dead trainer's job done by another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.learn.contract import ModelError, ModelSettings
from engine.learn.jobs import TrainJob
from engine.learn.models import Models
from engine.live.config import AppConfig, parse_config
from engine.live.shards.jobs import BadJob, RemoteFit, content_name, decode_job, encode_job
from engine.live.shards.lease import Lease
from engine.live.shards.link import Link
from engine.live.shards.names import Keys
from engine.live.shards.trainer import GROUP, Trainer
from engine.research.shards_rig import Server
from tests.learning import INSTRUMENTS
from tests.learning import settings as learning_settings
from tests.live.test_redis_shards import server

__all__ = ["server"]  # the fixture

USE = "tests.learning:Middle"


def job(**changes: Any) -> TrainJob:
    chance = np.random.default_rng(1)
    settings: dict[str, Any] = {"name": "m", "symbol": "v:X", "use": USE, "options": {"a": 0.25, "b": ["c"]}}
    return TrainJob(
        settings=ModelSettings(**settings | changes),
        features="f" * 64,
        names=("a", "b"),
        times_ns=np.arange(10, dtype=np.int64),
        x=chance.normal(size=(10, 2)).astype(np.float32),
        y=chance.normal(size=10),
        seed=2**70,
        weights=np.ones(10),
    )


def config(server: Server) -> AppConfig:
    told = {"name": "m", "use": USE}, {"name": "u", "use": "tests.learning:Unfit"}
    redis = {"url": f"redis://127.0.0.1:{server.port}/0", "lease": "600ms"}
    return parse_config({"run": {"name": "r"}, "redis": redis, "model": list(told)}, "test")


@asynccontextmanager
async def training(server: Server) -> AsyncIterator[Trainer]:
    trainer = Trainer(config(server))
    task = asyncio.create_task(trainer.run())
    try:
        yield trainer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await trainer.close()


@asynccontextmanager
async def remote(server: Server) -> AsyncIterator[tuple[RemoteFit, Link, Keys]]:
    settings = config(server)
    link, keys = Link(settings.redis.url), Keys.of(settings)
    lease = Lease(link, keys, "shard-0-of-1", "me", 60_000)
    await lease.acquire(patience_s=0.0)
    yield RemoteFit(link, lease, keys), link, keys
    await link.close()


def test_a_job_is_read_as_it_was_written() -> None:
    before = job()
    after = decode_job(encode_job(before))
    assert after.settings == before.settings
    assert (after.features, after.names, after.seed, after.ends_ns) == (before.features, before.names, 2**70, None)
    for name in ("times_ns", "x", "y", "weights"):
        assert np.array_equal(getattr(after, name), getattr(before, name))
    assert encode_job(after) == encode_job(before)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04K\x01.",
        encode_job(job())[:-8],
        encode_job(job()).replace(b'\\"seed\\"', b'\\"sown\\"'),
        encode_job(msgspec.structs.replace(job(), names=("a",))),
        encode_job(msgspec.structs.replace(job(), y=np.ones(9))),
        encode_job(msgspec.structs.replace(job(), y=np.ones(10, np.float32))),
    ],
)
def test_other_bytes_are_no_job(data: bytes) -> None:
    with pytest.raises(BadJob):
        decode_job(data)


async def test_a_trainer_gives_what_an_own_process_would(server: Server) -> None:
    async with remote(server) as (fit, link, keys), training(server) as trainer:
        payload, again = await asyncio.gather(fit(job()), fit(job()))
        assert payload == again == repr(float(job().y.mean())).encode()
        assert await link.do("GET", keys.payload(content_name(payload))) == payload
        with pytest.raises(ModelError, match="not today"):
            await fit(job(use="tests.learning:Unfit"))
        with pytest.raises(ModelError, match=r"expected a model of tests.learning:Middle, .*found 'os:system'"):
            await fit(job(use="os:system"))
        while await link.do("XLEN", keys.jobs):
            await asyncio.sleep(0.05)
        assert trainer.failed == 2


async def test_a_dead_trainers_job_is_done_by_another(server: Server) -> None:
    async with remote(server) as (fit, link, keys):
        asked = asyncio.create_task(fit(job()))
        await link.do("XGROUP", "CREATE", keys.jobs, GROUP, "0", "MKSTREAM")
        while not await link.do("XREADGROUP", "GROUP", GROUP, "dead", "COUNT", 1, "STREAMS", keys.jobs, ">"):
            await asyncio.sleep(0.05)
        async with training(server):
            async with asyncio.timeout(60):
                assert await asked == repr(float(job().y.mean())).encode()


async def test_without_a_trainer_a_training_fails_in_its_time(server: Server) -> None:
    async with remote(server) as (fit, _, _):
        with pytest.raises(ModelError, match="is a papertape run --role trainer at work"):
            await fit(job(retrain_timeout_ns=500_000_000))


async def test_a_model_is_stored_before_anyone_hears_of_it(server: Server, tmp_path: Path) -> None:
    from engine.live.registry.registry import Registry
    from engine.live.registry.store import model_path
    from engine.live.training import Training

    heard: list[tuple[str, str, bytes]] = []

    models = Models(INSTRUMENTS, [learning_settings(USE)])
    window = models.slot("m").window
    for at in range(10):
        window.add(at, np.full(window.width, 1.0), float(at))

    async def room() -> None:
        return

    def deliver(model: str, version: str, payload: bytes) -> None:
        assert model_path(tmp_path, version).read_bytes() == payload
        heard.append((model, version, payload))

    async with remote(server) as (fit, _, _), training(server):
        beside = Training(models, Registry(tmp_path), room, deliver, fit)
        beside.start("m")
        async with asyncio.timeout(60):
            while not heard:
                await asyncio.sleep(0.05)
        await beside.close()
    assert heard[0][1] == content_name(heard[0][2]) and heard[0][2] == b"4.5"
