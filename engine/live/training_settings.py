"""What trainings beside the loop may take of the machine."""

from __future__ import annotations

import msgspec


class TrainingSettings(msgspec.Struct, frozen=True):
    """Processes at a time, bytes of memory for each (None: all there is), and whether they get left-over time only."""

    workers: int = 1
    memory_bytes: int | None = None
    idle: bool = False
