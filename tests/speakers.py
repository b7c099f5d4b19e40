"""A model for contests in tests: it says noise, loudly, so that who follows it trades and pays."""

from __future__ import annotations

from collections.abc import Sequence

from engine.features.set import Vector
from engine.learn.contract import Model, ModelSettings


class Loud(Model):
    """A pseudo-random number up to 20 bps either way, the same for all at the same sample."""

    features = "standard"

    def __init__(self, settings: ModelSettings, names: Sequence[str]) -> None:
        super().__init__(settings, names)
        self._state = 1

    def predict_one(self, x: Vector) -> float | None:
        del x
        return (self._state >> 16) % 41 - 20.0

    def observe_one(self, x: Vector) -> None:
        del x
        self._state = (self._state * 1_103_515_245 + 12_345) % (1 << 31)
