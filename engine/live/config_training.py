"""``[training]``: what the trainings beside the run may take of the machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engine.live.config_journal import Size
from engine.live.config_section import Section
from engine.live.training_settings import TrainingSettings


class TrainingSection(Section):
    """``workers``: processes that train at the same time; a model waits for a free one.

    ``memory``: what each may allocate, 0B for no bound; a training that wants more fails, and the run goes on.
    ``priority``: ``idle`` trains in the time that nothing else wants, ``low`` takes a small share always.
    """

    workers: int = Field(default=1, ge=1, le=64)
    memory: Size = Field(default=4 << 30, json_schema_extra={"default": "4GiB"})
    priority: Literal["idle", "low"] = "low"

    def settings(self) -> TrainingSettings:
        """The section in the words of the training."""
        return TrainingSettings(self.workers, self.memory or None, self.priority == "idle")
