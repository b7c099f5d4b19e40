"""Which rules say where the paper venue's resting orders stand."""

from __future__ import annotations

import msgspec

from engine.core.queue_models import MODELS


class UnknownQueueModel(ValueError):
    """A name that is no queue model; the text names those that are."""


class QueueSettings(msgspec.Struct, frozen=True):
    """``model`` decides an order's life; ``twins`` are followed beside it, and cost about 0.01 µs each a level change.

    ``twin_grace_ns``: how long the twins of a filled order live on.

    >>> QueueSettings(model="power4")
    Traceback (most recent call last):
    engine.core.queue_settings.UnknownQueueModel: expected a queue model among touch, through, print, risk_averse, \
proportional, power2, power3, log, log2; found 'power4'
    """

    model: str = "risk_averse"
    twins: tuple[str, ...] = MODELS
    twin_grace_ns: int = 1_000_000_000

    def __post_init__(self) -> None:
        for name in (self.model, *self.twins):
            if name not in MODELS:
                raise UnknownQueueModel(f"expected a queue model among {', '.join(MODELS)}; found {name!r}")
