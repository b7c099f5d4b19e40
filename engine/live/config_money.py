"""The money of ``[paper]``: fees by venue, margin, borrowing, in words that the core's settings understand."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from pydantic import Field, model_validator

from engine.core.borrow import BorrowSettings
from engine.core.fee_schedules import schedule
from engine.core.fees import AUTO, FeeSettings, VenueFees
from engine.core.margin import MarginSettings, MarginTier, TierTable
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


class TierSection(Section):
    """One maintenance tier: from a position value of ``above`` on, in the currency of profit."""

    above: Money = Field(ge=0)
    rate: Money = Field(ge=0, lt=1)
    max_leverage: Money = Field(default=Decimal(0), ge=0)


class MarginSection(Section):
    """Margin of contracts; see engine/core/margin.py. Symbols by their full name, ``venue:SYMBOL``."""

    mode: str = Field(default="none", pattern="^(none|cross|isolated)$")
    leverage: Money = Field(default=Decimal(1), gt=0)
    leverages: dict[str, Money] = Field(default={})
    tiers: list[TierSection] = Field(default=[TierSection(above=Decimal(0), rate=Decimal("0.005"))])
    tables: dict[str, list[TierSection]] = Field(default={})
    liquidation_fee: Money = Field(default=Decimal(0), ge=0, lt=1)
    call_at: Money = Field(default=Decimal("0.8"), gt=0, le=1)

    @model_validator(mode="after")
    def _tiers_rise(self) -> MarginSection:
        try:
            for tiers in (self.tiers, *self.tables.values()):
                TierTable(_tiers(tiers))
        except ValueError as error:
            raise ValueError(str(error)) from error
        if any(leverage <= 0 for leverage in self.leverages.values()):
            raise ValueError("expected leverages above 0, found one of 0 or less")
        return self


class BorrowSection(Section):
    """``hourly``: by currency, the interest of an hour as a fraction of the debt."""

    hourly: dict[str, Money] = Field(default={})


def _tiers(sections: Sequence[TierSection]) -> tuple[MarginTier, ...]:
    return tuple(MarginTier(**section.model_dump()) for section in sections)


def margin_settings(section: MarginSection) -> MarginSettings:
    """The section in the core's words."""
    plain = {name: getattr(section, name) for name in ("mode", "leverage", "leverages", "liquidation_fee", "call_at")}
    tables = {name: _tiers(tiers) for name, tiers in section.tables.items()}
    return MarginSettings(**plain, tiers=_tiers(section.tiers), tables=tables)


def borrow_settings(section: BorrowSection) -> BorrowSettings:
    """The section in the core's words."""
    return BorrowSettings(hourly=dict(section.hourly))
