"""Fewer numbers from many: the codes of ``engine.features.latent`` in the place of a model's prepared inputs.

A row is encoded by what the rows before it taught, and only then learned from. Until ``WARM`` rows were learned there
are no codes, and a model whose inputs they are is shown no sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.features import autoencoder, latent
from engine.features.latent import Latent
from engine.features.set import Vector
from engine.learn.contract import ModelError
from engine.learn.scorebook import REGIMES

REDUCTIONS: Final = ("none", "pca", "map", "autoencoder")
"""``pca``: principal components; ``map``: the cell of a self-organising map; ``autoencoder``: codes of a network."""

_MAP_COMPONENTS = 2  # the plane that the map starts on


class Codes:
    """The codes of rows of named inputs, one of ``REDUCTIONS`` but ``none``; a ``Reducer`` for ``Preparation``.

    ``components``: of ``pca`` how many, of ``autoencoder`` how many codes, of ``map`` how many cells, each of which is
    a regime. An error follows them: how much of a row they miss. ``keep``: the inputs come first, unchanged. Weights
    of ``autoencoder`` come from ``engine.learn.autoencoder.fit_autoencoder`` and are given to ``take``.

    Raises:
        ValueError: another method, fewer than two inputs, or a number of components that cannot be.

    >>> Codes(["a", "b", "c"], "pca", components=2).names
    ('component_1', 'component_2', 'component_error')
    >>> Codes(["a", "b"], "map", keep=True).names
    ('a', 'b', 'map_row', 'map_column', 'map_error')
    >>> Codes(["a", "b"], "map", components=9)
    Traceback (most recent call last):
    ValueError: components: expected 2 to 8 cells of a map, as scores are kept for 8 regimes, found 9
    """

    def __init__(self, names: Sequence[str], method: str, *, components: int = 4, keep: bool = False) -> None:
        width = len(names)
        if method not in REDUCTIONS[1:]:
            raise ValueError(f"reduce: expected one of {', '.join(REDUCTIONS)}, found {method!r}")
        if width < 2:
            raise ValueError(f"reduce: expected at least 2 inputs to reduce, found {width}")
        if method == "map" and not 2 <= components <= REGIMES:
            raise ValueError(
                f"components: expected 2 to {REGIMES} cells of a map, as scores are kept for {REGIMES} regimes, "
                f"found {components}"
            )
        if method != "map" and not 1 <= components <= width:
            raise ValueError(f"components: expected 1 to {width}, the number of inputs, found {components}")
        self.method = method
        self.regime = -1
        """The cell of the row reduced last; -1 where there is none."""
        self._kept = width if keep else 0
        parts = {
            "pca": {"components": components, "cells": 0, "codes": 0},
            "map": {"components": _MAP_COMPONENTS, "cells": components, "codes": 0},
            "autoencoder": {"components": 1, "cells": 0, "codes": components},
        }
        self.latent = Latent(width, **parts[method])
        # The codes come last; components that only the map needs are nobody's input.
        self._first = 0 if method == "pca" else parts[method]["components"] + 1
        self._codes: Vector = self.latent.vector()
        self.names: tuple[str, ...] = (*names[: self._kept], *self.latent.names[self._first :])

    @property
    def meaning(self) -> list[Any]:
        """What decides how the numbers come about, as plain values: the hash of the inputs has it."""
        own = self.latent
        learned = [latent.HALF_LIFE, autoencoder.BOUND, latent.WARM, latent.MAP_SAMPLES]
        learned += [latent.MAP_RATE, latent.MAP_RATE_FLOOR, latent.MAP_RADIUS, latent.MAP_RADIUS_FLOOR]
        return [latent.VERSION, self.method, own.components, own.cells, own.codes, self._kept, own.width, learned]

    def reduce(self, x: Vector, out: Vector) -> bool:
        """Write what ``x`` comes to; False while too little was learned to say it. Nothing that was learned changes."""
        self.regime = self.latent.encode(0, x, self._codes)
        out[: self._kept] = x[: self._kept]
        codes = self._codes[self._first :]
        out[self._kept :] = codes
        return bool(codes[0] == codes[0])

    def learn(self, x: Vector) -> None:
        """Take one row, after it was reduced."""
        self.latent.learn(0, x)

    def take(self, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
        """Reduce by these tensors of an autoencoder from now on.

        Raises:
            ValueError: tensors that are missing, misshapen or not finite; the old ones stay.
        """
        self.latent.load(weights)

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"meaning": self.meaning, "latent": self.latent.save()}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what ``save`` gave.

        Raises:
            ModelError: it was saved by one with other settings; nothing changes.
        """
        if state["meaning"] != self.meaning:
            raise ModelError(
                f"saved reduction: expected {self.meaning}, found {state['meaning']}: saved with other settings of "
                "reduce, components or reduce_keep; start without it"
            )
        self.latent.restore(state["latent"])
