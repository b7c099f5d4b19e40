"""``[blackbox]``: what is kept of an incident: how much of the time before it, how large, how many."""

from __future__ import annotations

from pydantic import Field

from engine.live.config_journal import Size
from engine.live.config_section import Section
from engine.live.durations import Duration


class BlackBoxSection(Section):
    """A strategy that raised, a limit that closed positions, a start that was refused: each is packed as one file.

    ``window``: a box begins with the newest snapshot that is at least so much older than the incident, or with the
    oldest there is. ``most``: bytes of one; tapes and then the journal are left out where it would be larger. ``keep``:
    the oldest go when there are more.
    """

    enabled: bool = True
    window: Duration = Field(default=30 * 10**9, ge=0, json_schema_extra={"type": "string", "default": "30s"})
    most: Size = Field(default=128 << 20, ge=1 << 20, json_schema_extra={"default": "128MiB"})
    keep: int = Field(default=10, ge=1, le=1000)
