"""``[paper.fees.NAME]``: how a venue charges, in words that the core's settings understand."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field, model_validator

from engine.core.fee_schedules import schedule
from engine.core.fees import AUTO, FeeSettings, VenueFees
from engine.live.config_section import Money, Section


class VenueFeesSection(Section):
    """A venue's fees by a schedule of engine/core/fee_schedules.py; without one the plain rates of ``[paper]`` apply.

    ``tier`` is a name of the schedule, or ``auto``: by the run's own rolling volume, to which ``volume`` US dollars of
    the day before its first fill are added. ``pay_in``: ``settle``, ``received`` (a spot purchase pays from what it
    brought) or ``token``; empty values are the schedule's own.
    """

    schedule: str = ""
    tier: str = AUTO
    volume: Money = Field(default=Decimal(0), ge=0)
    pay_in: str = Field(default="", pattern="^(|settle|received|token)$")
    token: str = ""
    token_discount: Money | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _names_exist(self) -> VenueFeesSection:
        try:
            known = schedule(self.schedule) if self.schedule else None
            if self.tier != AUTO and known is not None:
                known.tier(self.tier)
        except LookupError as error:
            raise ValueError(str(error)) from error
        if self.tier != AUTO and known is None:
            raise ValueError(f"expected a schedule beside the tier, found tier {self.tier!r} alone")
        if self.pay_in == "token" and not (self.token or (known is not None and known.token)):
            raise ValueError("expected the name of the token, as pay_in is token and the schedule has none, found none")
        return self


def fee_settings(venues: dict[str, VenueFeesSection]) -> FeeSettings:
    """The sections in the core's words."""
    return FeeSettings({name: VenueFees(**section.model_dump()) for name, section in venues.items()})
