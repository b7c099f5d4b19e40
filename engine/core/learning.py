"""The port through which models reach the engine; the layer above implements it.

The engine knows no model. It hands over what the market looked like at the end of each frame, asks at the moments that
the implementation names, and turns what comes back into records and signals for the strategies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.core.events import Frames, Judged, ModelReady, Observed
from engine.core.records import AnyFact, ModelRefused
from engine.core.types import NEVER_NS


class Learning(Protocol):
    """All models of a run, as the engine sees them. Engine time only; no clock, chance or file."""

    def next_due_ns(self) -> int:
        """The engine time at which ``due`` must be called next; ``NEVER_NS`` when there is nothing to wait for."""
        ...

    def absorb(self, frames: Frames) -> None:
        """Take the frames since the last call, oldest first, all at or before the current engine time.

        The array is the engine's own and is written again afterwards: copy what must be kept.
        A frame without ``FRAME_READY`` means the book is in doubt: labels that span it are void.
        """
        ...

    def due(self, now_ns: int) -> Sequence[AnyFact]:
        """Sample, score matured labels, learn, predict: what happened, in order (``Signal``, ``LabelScored`` …)."""
        ...

    def swap(self, ready: ModelReady) -> Sequence[AnyFact]:
        """Take a trained model (``ModelSwapped``) or say why not (``ModelRefused``)."""
        ...

    def hear(self, item: Observed | Judged) -> None:
        """A side stream said something; what is read from now on may use it, and nothing earlier."""
        ...

    def promote(self, contest: str, model: str | None) -> Sequence[AnyFact]:
        """Make a model the champion of a contest, or (None) bring the predecessor back; raises ``ValueError``."""
        ...

    def retrain(self, model: str) -> None:
        """Have a model trained as soon as it has the rows; raises ``ValueError``."""
        ...


class NoLearning:
    """A run without models."""

    def next_due_ns(self) -> int:
        return NEVER_NS

    def absorb(self, frames: Frames) -> None:
        del frames

    def due(self, now_ns: int) -> Sequence[AnyFact]:
        del now_ns
        return ()

    def swap(self, ready: ModelReady) -> Sequence[AnyFact]:
        return (ModelRefused(ready.model, ready.version, "the run has no such model"),)

    def hear(self, item: Observed | Judged) -> None:
        del item

    def promote(self, contest: str, model: str | None) -> Sequence[AnyFact]:
        del model
        raise ValueError(f"contest: expected a run with models, found none for {contest!r}")

    def retrain(self, model: str) -> None:
        raise ValueError(f"model: expected a run with models, found none for {model!r}")
