"""Which rules say where the paper venue's resting orders stand."""

from __future__ import annotations

import msgspec

from engine.core.queues.queue_models import MODELS

AUTO = "auto"
BEST = "fitted"
"""What ``auto`` is: the best rule at each feed speed that was measured (table in engine/README.md), so that a feed's
speed need not be known."""


class UnknownQueueModel(ValueError):
    """A name that is no queue model; the text names those that are."""


class QueueSettings(msgspec.Struct, frozen=True):
    """``model``, or what ``auto`` stands for, decides an order's life; ``twins`` are followed beside it.

    Each costs about 0.01 µs a level change and order at that level.

    ``twin_grace_ns``: how long the twins of a filled order live on.

    >>> QueueSettings().rule
    'fitted'
    >>> QueueSettings(model="power4")
    Traceback (most recent call last):
    engine.core.queues.queue_settings.UnknownQueueModel: expected a queue model among auto, touch, through, print, \
risk_averse, proportional, power2, power3, log, log2, fitted; found 'power4'
    """

    model: str = AUTO
    twins: tuple[str, ...] = MODELS
    twin_grace_ns: int = 1_000_000_000

    def __post_init__(self) -> None:
        for name in (self.rule, *self.twins):
            if name == "fifo":
                raise UnknownQueueModel(
                    "expected a queue model that level sizes and trades can feed; found 'fifo', which needs single "
                    "orders: papertape fidelity follows them on recordings that have them"
                )
            if name not in MODELS:
                names = ", ".join((AUTO, *MODELS))
                raise UnknownQueueModel(f"expected a queue model among {names}; found {name!r}")

    @property
    def rule(self) -> str:
        """The name of the rule that decides."""
        return BEST if self.model == AUTO else self.model
