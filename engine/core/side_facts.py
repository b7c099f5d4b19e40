"""What became of a side stream, told as a fact."""

from __future__ import annotations

from engine.core.order_facts import Fact


class SideChanged(Fact, frozen=True, tag=True):
    """From here on a side stream is ``good``, ``stale`` (its values are missing) or ``quarantined`` (the same).

    ``quality`` from 0 to 1: how its validation thought of its rows lately.
    """

    stream: str
    state: str
    reason: str
    quality: float
