"""``[paper.queue]``: which rule says where the paper venue's resting orders stand, and which run beside it."""

from __future__ import annotations

from pydantic import Field, field_validator

from engine.core.queues.queue_settings import QueueSettings, UnknownQueueModel
from engine.live.config_section import Section
from engine.live.durations import Duration

_USUAL = QueueSettings()


class QueueSection(Section):
    """``model`` decides an order's life; ``twins`` (all of them without the key) are followed for the profit band.

    ``twin_grace``: how long the twins of a filled order live on.
    """

    model: str = _USUAL.model
    twins: list[str] | None = None
    twin_grace: Duration = Field(default=_USUAL.twin_grace_ns, gt=0)

    @field_validator("model", "twins")
    @classmethod
    def _models_exist(cls, told: str | list[str] | None) -> str | list[str] | None:
        try:
            QueueSettings(model=told) if isinstance(told, str) else QueueSettings(twins=tuple(told or ()))
        except UnknownQueueModel as error:
            raise ValueError(str(error).replace("; found", ", found")) from error
        return told


def queue_settings(section: QueueSection) -> QueueSettings:
    """The section in the core's words.

    >>> queue_settings(QueueSection.model_validate({"model": "power2", "twins": ["touch"]})).twins
    ('touch',)

    Raises:
        UnknownQueueModel: a name that is none.
    """
    twins = _USUAL.twins if section.twins is None else tuple(section.twins)
    return QueueSettings(model=section.model, twins=twins, twin_grace_ns=section.twin_grace)
