"""``[paper.impact]``: what an order finds beyond the display, and how far from the middle a market order may trade."""

from __future__ import annotations

from pydantic import Field

from engine.core.venue.impact import ImpactSettings
from engine.live.config_section import Section
from engine.live.durations import Duration


class ImpactSection(Section):
    """The square-root law (see core/venue/impact.py); ``python -m engine.research.impact_fit TAPE`` fits it.

    ``protection_bps`` holds also where the law is off.
    """

    enabled: bool = False
    scale: float = Field(default=1.0, ge=0, le=1000)
    decay: Duration = Field(default=500_000_000, gt=0)
    decay_quarters: int = Field(default=2, ge=1, le=8)
    window: Duration = Field(default=600_000_000_000, gt=0)
    memory: int = Field(default=64, ge=1, le=4096)
    most_per_mille: int = Field(default=100, ge=0, le=1000)
    protection_bps: int = Field(default=0, ge=0, le=9_999)


def impact_settings(section: ImpactSection) -> ImpactSettings:
    """The section in the core's words."""
    return ImpactSettings(
        enabled=section.enabled,
        scale=section.scale,
        decay_ns=section.decay,
        decay_quarters=section.decay_quarters,
        window_ns=section.window,
        memory=section.memory,
        most_per_mille=section.most_per_mille,
        protection_bps=section.protection_bps,
    )
