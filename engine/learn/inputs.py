"""What one model sees: the shared features of the run, prepared for this model alone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from engine.features.set import FeatureSet, Vector
from engine.learn.prepare import BOUND, EVERY, SETTLED_AFTER, WINDOW, Preparation, input_names
from engine.learn.reduce import Codes


class Inputs:
    """A feature set behind a preparation and, where ``reduce`` names one, a reduction, with its names and its hash.

    Raises:
        ValueError: see ``Preparation`` and ``Codes``.

    >>> Inputs(FeatureSet(ticks=[1], features=["spread_bps"]), "rank", masks=True).names
    ('spread_bps', 'spread_bps_missing')
    """

    def __init__(
        self,
        features: FeatureSet,
        prepare: str = "none",
        *,
        masks: bool = False,
        reduce: str = "none",
        components: int = 4,
        reduce_keep: bool = False,
    ) -> None:
        self.features = features
        codes = None
        if reduce != "none":
            names = input_names(features.names, masks=masks)
            codes = Codes(names, reduce, components=components, keep=reduce_keep)
        self.preparation = Preparation(features.names, prepare, masks=masks, reducer=codes)
        self.names = self.preparation.names
        self._raw = features.vector()

    @property
    def hash(self) -> str:
        """That of the feature set where nothing is prepared; else over it and how it is prepared and reduced."""
        method, reducer = self.preparation.method, self.preparation.reducer
        if method == "none":
            return self.features.hash
        meaning: list[Any] = [self.features.hash, method, list(self.names), BOUND, WINDOW, EVERY, SETTLED_AFTER]
        if reducer is not None:
            meaning.append(reducer.meaning)
        return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()

    @property
    def regime(self) -> int:
        """Which regime the row read last belongs to, where a map tells it; -1: none is told."""
        reducer = self.preparation.reducer
        return -1 if reducer is None else reducer.regime

    def vector(self) -> Vector:
        """A zeroed row of the right length."""
        return np.zeros(len(self.names))

    def frame_ns(self, symbol: int) -> int:
        """Engine time of a symbol's last frame; 0 before the first."""
        return self.features.frame_ns(symbol)

    def read(self, symbol: int, now_ns: int, out: Vector) -> bool:
        """A symbol's inputs as of ``now_ns``; False while features or codes are not warm.

        A preparation and a reduction learn from each row that is read, after it was made: a sample is read once.
        """
        if self.preparation.method == "none":
            return self.features.read(symbol, now_ns, out)
        if not self.features.read(symbol, now_ns, self._raw):
            return False
        out[:] = self.preparation.take(self._raw)
        return self.preparation.known

    def save(self) -> dict[str, Any]:
        """The state of the preparation as plain values; the features are saved once for all models."""
        return {} if self.preparation.method == "none" else self.preparation.save()

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave."""
        if state:
            self.preparation.load(state)
