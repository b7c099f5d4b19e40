"""Training jobs as bytes, and an engine's end of the stream of jobs.

A job is safetensors (https://huggingface.co/docs/safetensors): the arrays of a ``TrainJob``, and its settings as JSON
in the metadata. Nothing that comes from Redis is unpickled. A job's name is the SHA-256 of its bytes, and equal jobs
give equal models: one that is asked for or done twice does no harm. A model comes back by the SHA-256 of its content.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
import structlog

from engine.learn.contract import ModelError, ModelSettings
from engine.learn.jobs import TrainJob
from engine.live.redis_fence import Fence
from engine.live.shards.link import AWAY, Link, StaleOwner
from engine.live.shards.names import Keys

log = structlog.get_logger("papertape.jobs")

KEPT_JOBS: Final = 256
LOOK_S: Final = 0.2
META: Final = "job"
PARENT: Final = "parent"

Arrays = dict[str, npt.NDArray[Any]]

_encoder = msgspec.json.Encoder(decimal_format="number")
DTYPES: Final = {"times_ns": "int64", "x": "float32", "y": "float64", "ends_ns": "int64", "weights": "float64"}


class BadJob(ValueError):
    """Bytes that are no job of ours; the text says what was expected."""


class _Told(msgspec.Struct, frozen=True):
    settings: ModelSettings
    features: str
    names: tuple[str, ...]
    seed: str
    kept: int = 0


def encode_job(job: TrainJob) -> bytes:
    """A job as safetensors."""
    arrays: Arrays = {name: array for name in DTYPES if (array := getattr(job, name)) is not None}
    told = _Told(job.settings, job.features, job.names, str(job.seed), job.kept)
    if job.parent:
        arrays[PARENT] = np.frombuffer(job.parent, np.uint8)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(arrays, metadata={META: _encoder.encode(told).decode()})


def decode_job(data: bytes) -> TrainJob:
    """Read a job.

    Raises:
        BadJob: it is none.
    """
    try:
        arrays: Arrays = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        text = json.loads(data[8 : 8 + length])["__metadata__"][META]
        told = msgspec.json.decode(text, type=_Told)
        seed = int(told.seed)
    except (safetensors.SafetensorError, msgspec.DecodeError, ValueError, KeyError, TypeError) as error:
        raise BadJob(f"expected a training job as safetensors, found {type(error).__name__}: {error}") from error
    parent = arrays.pop(PARENT, np.zeros(0, np.uint8))
    found = {name: str(array.dtype) for name, array in arrays.items()}
    needed = {name: DTYPES[name] for name in ("times_ns", "x", "y")}
    if not needed.items() <= found.items() <= DTYPES.items():
        raise BadJob(f"expected arrays {DTYPES}, found {found}")
    count = len(arrays["times_ns"])
    if not 0 <= told.kept <= count or parent.dtype != np.uint8:
        raise BadJob(f"expected at most {count} kept rows and a parent of bytes, found {told.kept}, {parent.dtype}")
    if any(len(array) != count for array in arrays.values()) or arrays["x"].shape[1:] != (len(told.names),):
        raise BadJob(f"expected {count} rows of {len(told.names)} features in every array, found others")
    return TrainJob(
        settings=told.settings,
        features=told.features,
        names=told.names,
        times_ns=arrays["times_ns"],
        x=arrays["x"],
        y=arrays["y"],
        seed=seed,
        ends_ns=arrays.get("ends_ns"),
        weights=arrays.get("weights"),
        kept=told.kept,
        parent=parent.tobytes(),
    )


def content_name(data: bytes) -> str:
    """The SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


class RemoteFit:
    """Has jobs trained by whoever serves the stream; one call a job, any number at once."""

    def __init__(self, link: Link, owner: Fence, keys: Keys) -> None:
        self._link = link
        self._owner = owner
        self._keys = keys

    async def __call__(self, job: TrainJob) -> bytes:
        """The model's payload.

        Raises:
            ModelError: the training failed, nobody brought it in ``retrain_timeout``, or the shard is another's now.
        """
        timeout_s = job.settings.retrain_timeout_ns / 1e9
        try:
            async with asyncio.timeout(timeout_s):
                return await self._fit(job)
        except StaleOwner as error:
            raise ModelError(f"model {job.settings.name}: {error}") from error
        except TimeoutError as error:
            raise ModelError(
                f"model {job.settings.name}: expected a trainer to bring it within {timeout_s:g} s, found none: is a "
                "papertape run --role trainer at work?"
            ) from error

    async def _fit(self, job: TrainJob) -> bytes:
        body = await asyncio.to_thread(encode_job, job)
        name = content_name(body)
        is_asked = False
        while True:
            try:
                if not is_asked:
                    words = ("XADD", self._keys.jobs, "MAXLEN", "~", KEPT_JOBS, "*", "name", name, "body", body)
                    await self._link.fenced(self._owner, [words])
                    is_asked = True
                word = await self._link.do("GET", self._keys.done(name))
                if word is not None:
                    if word.startswith(b"!"):
                        raise ModelError(word[1:].decode(errors="replace"))
                    payload = await self._link.do("GET", self._keys.payload(word.decode()))
                    if payload is not None and content_name(payload) == word.decode():
                        return bytes(payload)
                    raise ModelError(
                        f"model {job.settings.name}: expected content {word.decode()}, found other or none"
                    )
            except AWAY as error:
                log.warning("redis is away; the training waits", model=job.settings.name, error=str(error))
                is_asked = False  # a Redis that lost its data lost the job
            await asyncio.sleep(LOOK_S)
