"""A model that does in its trainings what the script in its options says: one word each, the last one for ever."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from engine.features.set import Vector
from engine.learn import progress
from engine.learn.contract import Model, ModelError, ModelSettings, read_options
from engine.learn.jobs import TrainJob
from tests.options import Script


class Misbehaving(Model):
    """Says what its last good training said: the number of its rows."""

    trains: ClassVar[bool] = True

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        read_options(settings, Script)
        self.value: float | None = None

    def predict_one(self, x: Vector) -> float | None:
        return self.value

    @classmethod
    def fit(cls, job: TrainJob) -> bytes:
        options = read_options(job.settings, Script)
        return act(options.next_word(), job)

    def swap(self, payload: bytes, features: str) -> None:
        try:
            value = float(json.loads(payload)["value"])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"expected a whole payload, found {len(payload)} bytes: {error}") from error
        if not np.isfinite(value):
            raise ModelError(f"expected finite weights, found {value}")
        self.value = value

    def save(self) -> dict[str, Any]:
        return {"value": self.value}

    def load(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


def act(word: str, job: TrainJob) -> bytes:
    """One training."""
    if word == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "hangs":
        progress.tell(0.25)
        while True:
            time.sleep(60.0)
    if word == "memory":
        return np.zeros(1 << 34).tobytes()  # 128 GiB, were it allowed
    if word == "raises":
        raise ZeroDivisionError("diverged")
    good = json.dumps({"value": float(len(job.y))}).encode()
    return {"nan": b'{"value": NaN}', "truncated": good[: len(good) // 2]}.get(word, good)
