"""The money of ``[paper]``: fees by venue, margin, borrowing, shares, in words that the core's settings understand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from datetime import date as Date  # noqa: N812 - a section has a key of that name
from decimal import Decimal
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from engine.core.account.borrow import BorrowSettings
from engine.core.account.corporate import CorporateAction, EquitySettings
from engine.core.account.fee_schedules import schedule
from engine.core.account.fees import AUTO, FeeSettings, VenueFees
from engine.core.account.margin import MarginSettings, MarginTier, TierTable
from engine.core.account.settlement import DAY_NS
from engine.live.config_section import Money, Section


class VenueFeesSection(Section):
    """A venue's fees by a schedule of engine/core/account/fee_schedules.py; without one the rates of ``[paper]`` apply.

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
    """Margin of contracts; see engine/core/account/margin.py. Symbols by their full name, ``venue:SYMBOL``."""

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


When = Annotated[Date | datetime, Field(union_mode="left_to_right")]
"""A day, or a time with its zone."""


class CorporateActionSection(Section):
    """One ``[[paper.corporate_action]]``: ``date`` is a day (its start in UTC) or a time with its zone."""

    date: When
    symbol: str
    kind: str = Field(pattern="^(dividend|split)$")
    value: Money = Field(gt=0)
    pay_date: When | None = None

    @field_validator("date", "pay_date")
    @classmethod
    def _has_a_zone(cls, value: datetime | Date | None) -> datetime | Date | None:
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError(f"expected a day, or a time with its zone as 2024-06-10T13:30:00Z, found {value}")
        return value


class EquitiesSection(Section):
    """Shares; see engine/core/account/corporate.py. ``settlement_days`` by venue or symbol, ``short_fee`` a year."""

    settlement_days: dict[str, Annotated[int, Field(ge=0, le=30)]] = Field(default={})
    holidays: list[Date] = Field(default=[])
    short_fee: dict[str, Annotated[Money, Field(ge=0)]] = Field(default={})
    unsettled_buys: bool = False


def equity_settings(section: EquitiesSection, actions: Sequence[CorporateActionSection]) -> EquitySettings:
    """The sections in the core's words."""
    return EquitySettings(
        actions=tuple(
            CorporateAction(
                ns=_instant(one.date),
                symbol=one.symbol,
                kind=one.kind,
                value=one.value,
                pay_ns=_instant(one.pay_date) if one.pay_date is not None else 0,
            )
            for one in actions
        ),
        settlement_days=dict(section.settlement_days),
        holidays=frozenset(_instant(day) // DAY_NS for day in section.holidays),
        short_fee=dict(section.short_fee),
        unsettled_buys=section.unsettled_buys,
    )


def _instant(when: datetime | Date) -> int:
    """Nanoseconds UTC of a time with its zone, or of the start of a day in UTC.

    >>> _instant(Date(1970, 1, 2)), _instant(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    (86400000000000, 1000000000)
    """
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day, tzinfo=UTC)
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
